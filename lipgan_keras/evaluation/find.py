"""Which videos or clips the flags of evaluate.py name."""

import collections
import dataclasses
import functools
import os
from pathlib import Path

from tqdm import tqdm

from ..data import pack
from ..utils import errors, tables
from ..utils.errors import UserError
from ..utils.terminal import say
from . import kept
from .config import ORDERS
from .jobs import Job


def paired_jobs(options, out) -> list[Job]:
    """Jobs for two folders of videos."""
    truth, generated = _videos(options.truth, out), _videos(options.generated, out)
    if not generated:
        raise UserError(f"{options.generated}: holds no video; give the folder of the results")
    if not truth:
        raise UserError(f"{options.truth}: holds no video; give the folder of the true videos")
    jobs = []
    for name in sorted({*truth, *generated}):
        found, problem = [], None
        for videos, folder in ((truth, options.truth), (generated, options.generated)):
            paths = videos.get(name, [])
            found.append(paths[0] if paths else None)
            if not paths:
                problem = f"{folder}: holds no video of that name; a pair has the same name in both folders"
            elif len(paths) > 1:
                problem = f"{folder}: holds {len(paths)} videos of that name; leave one of them there"
        jobs.append(Job(name, *found, problem=problem))
    return jobs


def _videos(folder, out) -> dict[str, list[Path]]:
    """{path below the folder, without suffix: files}; nothing of what lies in these or other results of evaluate.py."""
    from ..data import preprocess

    if not os.path.isdir(folder):
        raise UserError(f"{folder}: is no folder; give one that holds videos")
    found = collections.defaultdict(list)
    inside = out.resolve() if out.resolve() != Path(folder).resolve() else None

    @functools.cache
    def holds_results(parent):
        return all((parent / name).is_file() for name in ("results.json", "results.csv"))

    for path in sorted(Path(folder).rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        ours = inside is not None and path.resolve().is_relative_to(inside)
        between = [parent for parent in path.parents if Path(folder) in parent.parents]
        ours |= any(
            parent.name == "videos" and holds_results(parent.parent)
            for parent in between
            if parent.parent != Path(folder)
        )
        if path.suffix.lower() in preprocess.VIDEO_SUFFIXES and path.is_file() and not hidden and not ours:
            found[path.relative_to(folder).with_suffix("").as_posix()].append(path)
    return found


def held_out_jobs(options) -> tuple[list[Job], str]:
    """Jobs for the clips that training held out, and for those that a list names but are not there.

    Also says, and prints, which clips these are and why.
    """
    from ..data import clip_folder, splits
    from ..inference import models

    config = models.read_config(options.checkpoint)
    stored, state = models.read_split(options.checkpoint), models.read_training(options.checkpoint)
    lists = options.filelists or (None if stored or options.split else (state or {}).get("filelists"))
    broken = {}
    clips = clip_folder.find_clips(options.data_root, config.audio, broken=broken if stored or lists else None)
    training, held_out, why = splits.to_measure(
        clips, options.checkpoint, stored, state, options.filelists, split=options.split
    )
    say(f"{options.data_root}: measures {why}")
    if not held_out:
        raise UserError(f"{options.data_root}: no clip is held out; give --filelists with a val.txt, or --split all")
    root, others = Path(options.data_root), held_out if len(held_out) > 1 else held_out + training
    jobs = []
    for i, clip in enumerate(held_out):
        following = [others[(i + 1 + k) % len(others)] for k in range(len(others))]
        other = next((other.folder for other in following if not _same_sound(other, clip)), None)
        jobs.append(Job(_name(clip.folder, root), clip=clip.folder, other=other))
    if stored and not lists:
        aside = any(clip.name in stored["held_out"] for clip in held_out)  # others are not measured
        for folder, reason in broken.items():
            if not aside or clip_folder.name_of(folder, root) in stored["held_out"]:
                jobs.append(Job(_name(folder, root), problem=reason))
    listed = Path(lists or "", f"{options.split or 'val'}.txt")
    if lists and listed.is_file():
        there = {name for clip in held_out for name in pack.names_of(clip.folder)}
        for name in sorted(pack.read_list(listed)):
            if name not in there:
                problem = (
                    f"{root}: holds no such clip with sound and {clip_folder.MIN_FRAMES} frames, but {listed} "
                    "names it; preprocess it"
                )
                reasons = [reason for folder, reason in broken.items() if pack.is_named(folder, {name})]
                jobs.append(Job(_safe(name), problem=reasons[0] if reasons else problem))
    return jobs, why


def _same_sound(one, other) -> bool:
    """Whether two clips are one, or copies that say the same, such as one mirrored or spoken by another face."""
    if one.source == other.source:
        return True
    if one.folder == other.folder or not (one.has_sound and other.has_sound):
        return one.folder == other.folder
    return one.read(one.sound_file) == other.read(other.sound_file)


def _name(folder, root):
    name = folder.relative_to(root).as_posix()
    return name if name != "." else folder.resolve().name


def _safe(name):
    """A name that leads nowhere but below a folder."""
    return "/".join(part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")) or "unnamed"


def dubbed_jobs(options, out) -> list[Job]:
    """Jobs for the lines of a list in Wav2Lip's format. `clip` is the audio's file, until the video is there."""
    if not os.path.isdir(options.data_root):
        raise UserError(
            f"{options.data_root}: no such folder; give the one that the paths in {options.filelist} start from"
        )
    lines = tables.lines(options.filelist, "a list", "give a text file in UTF-8")
    if not lines:
        raise UserError(f"{options.filelist}: is empty; its lines are to be <clip of the sound> <clip of the face>")
    jobs = []
    for number, line in enumerate(lines, 1):
        line = line if options.order == ORDERS[0] else line[::-1]
        if len(line) != 2:
            raise UserError(
                f"{options.filelist}: line {number} has {len(line)} words; it is to be <clip of the sound> <clip "
                "of the face>"
            )
        heard, seen = (_clip_file(options.data_root, word) for word in line)
        problem = next(
            (
                f"{path}: no such file; line {number} of {options.filelist} names it"
                for path in (heard, seen)
                if not os.path.isfile(path)  # of names of any length
            ),
            None,
        )
        name = f"{number:05d}_" + "_".join(
            _safe(word.removesuffix(".mp4")).replace("/", "-") for word in reversed(line)
        )
        job = Job(name[:150], truth=seen, other=heard, problem=problem)
        jobs.append(dataclasses.replace(job, generated=job.place(out, ".mp4")))
    return jobs


def _clip_file(root, word) -> Path:
    path = Path(root, word.lstrip("/"))
    return path if os.path.isfile(path) else Path(f"{path}.mp4")


def dub(options, jobs, out) -> list[Job]:
    """Make the videos of `dubbed_jobs` that are not there yet."""
    from ..lipsync import LipSync

    lipsync, done = None, []
    for job in tqdm(jobs, "videos", unit="video", dynamic_ncols=True):
        if job.problem is None:
            note, key = (
                job.place(out, ".made.json"),
                kept.key_of("made", options.audio_offset_ms, options.checkpoint, job.truth, job.other),
            )
            if not job.generated.is_file() or kept.read(note).get("key") != key:
                lipsync = lipsync or LipSync(options.checkpoint, audio_offset_ms=options.audio_offset_ms)
                try:
                    lipsync.run(job.truth, job.other, job.generated)
                except Exception as error:  # noqa: BLE001 - one bad pair never stops the others
                    job = dataclasses.replace(job, problem=errors.describe(error, job.truth))
                else:
                    kept.write(note, {"key": key})
        done.append(job)
    return done
