"""A quick look at the files of clips before a training: what cannot be read is counted, and passed over later.

A look at images sees their first and last bytes, as decoding hundreds of thousands would take hours. What it has seen
of a folder is kept, so that the next start of a run is quick. No batch depends on it: what is broken inside is found
when it is decoded, and takes the same way (see `dataset`).
"""

import concurrent.futures
import json
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from tqdm import tqdm

from ..utils import files, jsontext, kinds, npz
from ..utils.errors import UserError
from . import jpegs
from .clip_folder import AGAIN, Clip

FILE = "looked_through.json"  # {folder: [its time, how many images it has, those that are broken]}
SEEN = dict[str, tuple[int, int, list[int]]]
SECONDS = 120.0  # after which the rest is left to the next start
THREADS = 8  # discs answer many at once
REPAIR = "delete its folder and run preprocess.py again"


def hearable(clips: Sequence[Clip], broken: dict[Path, str]) -> list[Clip]:
    """Clips whose sound or features begin as such; `broken` takes in the folders of the others, and why."""
    fine = []
    for clip in clips:
        try:
            _check_sound(clip)
            fine.append(clip)
        except UserError as error:
            broken[clip.folder] = str(error)
    return fine


def _check_sound(clip):
    with npz.errors(clip.folder, AGAIN):
        if clip.sound_file:
            path, start = clip.folder / clip.sound_file, {"audio.wav": b"RIFF", "audio.flac": b"fLaC"}[clip.sound_file]
            if clip.packed is not None:
                head = bytes(clip.packed[clip.sound_file][: len(start)])
            else:
                with open(files.regular(path), "rb") as file:
                    head = file.read(len(start))
            if head not in (start, b"RF64", b"RIFX"):
                raise UserError(f"{path}: is no sound; {AGAIN}")
        if clip.has_mel and clip.packed is None:
            npz.names(clip.folder / "mels.npz", ["spec"], advice=AGAIN)


def look_through(
    clips: Sequence[Clip], place: str | os.PathLike | None = None, seconds: float = SECONDS, progress: bool = True
) -> tuple[dict[int, list[int]], int]:
    """Which images cannot be whole.

    Args:
        place: folder that keeps what has been seen; None: nothing is kept.
        seconds: after which no further clip is looked at.

    Returns:
        {number of a clip: numbers of its images, counted from 0}, without clips that have none; and how many clips were
        looked at, now or before.

    Raises:
        UserError: the folder holds another file of that name.
    """
    note = None if place is None else Path(place) / FILE
    known, found, seen, until = _known(note), {}, {}, time.monotonic() + seconds
    with concurrent.futures.ThreadPoolExecutor(THREADS, "looking") as pool:
        for number, clip in enumerate(
            tqdm(clips, "looking through", unit="clip", disable=not progress, leave=False, delay=1)
        ):
            state = [0 if clip.packed is not None else os.stat(clip.folder).st_mtime_ns, len(clip.frames)]
            key = os.path.abspath(clip.folder)
            if known.get(key, [])[:2] == state:
                seen[key] = known[key]
            elif time.monotonic() < until:
                whole = _whole(clip, pool)
                seen[key] = [*state, [int(n) for n, good in zip(clip.frames, whole, strict=True) if not good]]
            broken = set(seen.get(key, [0, 0, []])[2])
            if places := [i for i, n in enumerate(clip.frames.tolist()) if n in broken]:
                found[number] = places
    if note is not None and seen != known:
        with files.replacing(note) as temporary:
            temporary.write_text(json.dumps(known | seen), encoding="utf-8")
    return found, len(seen)


def _known(note) -> SEEN:
    if note is None or not os.path.lexists(note):
        return {}
    try:
        found = jsontext.read(note)
    except ValueError:
        found = None
    if not kinds.is_of(found, SEEN):
        raise UserError(f"{note}: does not say which clips were looked through; remove it, or choose another --logdir")
    return found


def _whole(clip, pool) -> Iterable[bool]:
    if clip.packed is not None:
        return [jpegs.is_closed(clip.packed[f"{number}.jpg"]) for number in clip.frames]
    return list(pool.map(jpegs.looks_whole, [clip.folder / f"{number}.jpg" for number in clip.frames]))
