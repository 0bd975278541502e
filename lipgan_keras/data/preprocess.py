"""What preprocess.py does: videos -> folders of face crops, sound and landmarks that `clip_folder` reads.

A video `<root>/main/<video>/<clip>.mp4` becomes the folder `<out>/main/<video>/<clip>/`:
    N.jpg           the face crop at time N/25 s: that of the source frame nearest in time; no number where no face was
                    found; but see landmarks.npz
    audio.wav       16 kHz mono, 16 bit; sample 0 is the container's time 0
    mels.npz        `spec` (80,T) float32
    landmarks.npz   for each N.jpg: `frames` (n,) its number, `landmarks` (n,5,2) in crop pixels, `box` (n,4) x1 y1 x2
                    y2 of the crop in the image (which is turned where its face lies on its side), `time` and `duration`
                    (n,) seconds of the source frame; and `img_size`, and `steady`, 1 where `crop_box` was given that
                    style. (Last images of duration 0, which puppets have, are not shown: they only serve as
                    identity frames.)
The folder appears under its name when it is complete. Several runs may share `<out>`: see `claims`.
"""

import collections
import contextlib
import functools
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from .. import audio
from ..config import FPS
from ..face import cropping, detector, looks, tracking
from ..face.tracking import Tracked
from ..media import audio_file, probe, video_reader
from ..media.video_reader import Frame
from ..utils import errors, files, kinds, npz, processes, tables, terminal
from ..utils.errors import UserError
from . import claims, pack
from .preprocess_config import PreprocessConfig

MAX_DISTANCE = 0.06  # seconds; a grid point further than this from any source frame (a freeze, a hole) has no image
JPEG_QUALITY = 95
SPLITS = frozenset(("train", "trainval", "val", "test"))  # names of folders of LRW and LRS3
MADE_BEFORE, BUSY = "was made before", "another run is making it"  # why a clip is not made, where nothing is wrong
VIDEO_SUFFIXES = frozenset(
    [".3gp", ".asf", ".avi", ".dv", ".f4v", ".flv", ".m2ts", ".m2v", ".m4v", ".mkv", ".mov", ".mp4", ".mpe", ".mpeg"]
    + [".mpg", ".mts", ".mxf", ".ogv", ".qt", ".ts", ".vob", ".webm", ".wmv"]
)


class Partly(str):
    """What is said of a clip that was made, but for a part of its video."""


def preprocess(options: PreprocessConfig, before_packing: Callable[[], int] | None = None) -> int:
    """Preprocess videos, then pack clips, each if `options` name them; prints summaries.

    Args:
        before_packing: is called between the two, and returns how many clips failed.

    Returns:
        How many clips failed.

    Raises:
        UserError: an output that cannot be written to, no videos, no clips, or not one clip that worked.
    """
    options = kinds.checked(options)
    if options.pack:  # said before hours of work
        files.check_outfile(options.pack, suffix=None, mark=pack.is_pack)
        files.check_writable(os.path.dirname(options.pack) or ".")
    left, failed = preprocess_videos(options) if options.videos_data_root else (0, 0)
    if before_packing:
        failed += before_packing()
    if options.pack and left:
        raise UserError(f"{options.pack}: {left} clips are being made by another run; pack them when it has ended")
    if options.pack:
        pack_clips(options)
    return failed


def preprocess_videos(options: PreprocessConfig) -> tuple[int, int]:
    """Preprocess every video that `options` name, and print a summary.

    Returns:
        How many clips another run is making, and how many failed or are of a part of their video.

    Raises:
        UserError: no videos, an output folder that cannot be written to, or not one clip that worked.
    """
    jobs = share(find_videos(options.videos_data_root, options.split, options.filelists), options.shard)
    out = Path(options.final_data_root)
    files.check_writable(out)
    todo, done, failures, partly, busy = [], 0, [], [], []
    for source, name in jobs:
        target = out / name
        state = finished(target, options.img_size, options.crop)
        if state == "finished":
            continue
        if state:
            failures.append((source, state))
        else:
            todo.append((source, target))
    skipped = len(jobs) - len(todo) - len(failures)
    claims.free_left(out / name for _, name in jobs)

    workers = max(1, min(options.num_workers, len(todo), os.cpu_count() or 1))
    with (
        tqdm(total=len(jobs), initial=len(jobs) - len(todo), unit="clip", dynamic_ncols=True) as bar,
        contextlib.closing(_run(todo, options.img_size, options.crop, workers)) as results,
    ):
        for source, reason in results:
            if reason in (MADE_BEFORE, BUSY):
                busy.append(source)
            elif isinstance(reason, Partly):
                done += 1
                partly.append(reason)
                bar.write(terminal.printable(reason), file=sys.stderr)
            elif reason:
                failures.append((source, reason))
                bar.write(terminal.printable(_with_source(source, reason)), file=sys.stderr)
            else:
                done += 1
            bar.update()

    targets = dict(todo)
    left = sum(finished(targets[source], options.img_size, options.crop) != "finished" for source in busy)
    skipped += len(busy) - left
    others = f", {left} being made by another run" if left else ""
    of_parts = f" ({len(partly)} of damaged videos, without what is broken)" if partly else ""
    terminal.say(f"{done} clips done{of_parts}, {skipped} skipped (done before), {len(failures)} failed{others}")
    terminal.say(*(f"  in part: {one}" for one in sorted(partly)), error=True)
    terminal.say(*(f"  failed: {_with_source(*failure)}" for failure in sorted(failures)), error=True)
    if failures and not (done or skipped or left):
        raise UserError(
            f"{options.videos_data_root}: none of its {len(jobs)} videos could be used; see the reasons above"
        )
    return left, len(failures) + len(partly)


def _with_source(source, reason):
    """A reason that names the video."""
    return reason if str(source) in reason else f"{source}: {reason}"


def pack_clips(options: PreprocessConfig) -> None:
    """Write what preprocess.py --pack names, and say how large it is.

    Raises:
        UserError: no clips, or too many.
    """
    root = options.final_data_root
    if not os.path.isdir(root):
        raise UserError(f"{root}: no such folder; give the folder that preprocess.py wrote")
    folders = pack.clip_folders(root)
    if options.filelists:
        lists = [pack.read_list(Path(options.filelists) / name) for name in ("train.txt", "val.txt")]
        names = set().union(*(names for names in lists if names))
        folders = [folder for folder in folders if _is_named(folder, names)]
        if not folders:
            raise UserError(
                f"{options.filelists}: its train.txt and val.txt name none of the clips below {root}; preprocess them "
                "first"
            )
    size = pack.write(root, folders, options.pack, int(options.pack_mb * 1e6))
    terminal.say(f"{options.pack}: {len(folders)} clips, {size / 1e6:.1f} MB")


def _is_named(folder, names):
    """Whether lists name a clip, or what it was made of."""
    made = (folder / pack.SOURCE).is_file()
    return pack.is_named(folder, names) or (made and pack.is_named(Path(pack.source_in(folder)), names))


def share(jobs: Sequence[Any], shard: tuple[int, int] | None) -> list[Any]:
    """The share (i, n) of jobs: each n-th one, so that those of long folders are spread; None: all."""
    if shard is None:
        return list(jobs)
    index, count = shard
    if not 0 <= index < count:
        raise UserError(f"--shard {index}/{count}: is not I/N, with I from 0 to N-1")
    return list(jobs[index::count])


def find_videos(root: str | os.PathLike, split: str, filelists: str | os.PathLike | None) -> list[tuple[Path, Path]]:
    """[(video file, its folder in the output, relative)], sorted.

    With a list file `<filelists>/<split>.txt` of `<video>/<clip>` lines (a second column is ignored) those clips,
    looked for below `<root>/<split>`, `<root>/main` and `<root>`, as LRS2 is laid out. Else, but for train, the videos
    below folders of its name, as LRW (WORD/test/) and LRS3 (test/<video>/) have them; where there is none, every video.

    Raises:
        UserError: no such folder or list, no video, or folders of other splits alone.
    """
    root = Path(root)
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; give the folder that holds the videos")
    if filelists is None and Path("filelists", f"{split}.txt").is_file():
        filelists = "filelists"
    if filelists is not None:
        return _listed_videos(root, Path(filelists) / f"{split}.txt", split)
    paths = sorted(p for p in root.rglob("*") if p.suffix.lower() in VIDEO_SUFFIXES and not p.name.startswith("."))
    paths = [p for p in paths if p.is_file()]
    if not paths:
        raise UserError(f"{root}: holds no video file; give the folder that holds the videos")
    if split != "train":  # that is the default, also of data that know no splits
        named = [p for p in paths if split in p.relative_to(root).parts[:-1]]
        sides = SPLITS.intersection(part for p in paths for part in p.relative_to(root).parts[:-1])
        if sides and not named:
            raise UserError(f"{root}: has no folder {split}, but {', '.join(sorted(sides))}; choose one of these")
        paths = named or paths
    names = [p.relative_to(root).with_suffix("") for p in paths]
    # Each clip needs a folder of its own: where two videos differ in the suffix only, or one bears the name of
    # a folder of others, the suffix stays.
    count = collections.Counter(names)
    taken = {name for name, times in count.items() if times > 1} | {folder for name in count for folder in name.parents}
    return [(p, p.relative_to(root) if name in taken else name) for p, name in zip(paths, names, strict=True)]


def _listed_videos(root, path, split):
    found = tables.lines(path, "a list of <video>/<clip> lines", "check --filelists, --split")
    lines = [line[0] for line in found]
    if not lines:
        raise UserError(f"{path}: is empty; it should hold <video>/<clip> lines")
    for line in lines:
        if Path(line).is_absolute() or ".." in Path(line).parts:
            raise UserError(f"{path}: {line} leads out of the data root; its lines should be <video>/<clip>")
    jobs = []
    lines = [line.removesuffix(".mp4").strip("/") for line in lines]
    for line in dict.fromkeys(lines):
        for folder in (split, "main", "."):  # LRS2's `pretrain` is a folder too, its other splits are lists of `main`
            found = [root / folder / (line + suffix) for suffix in (".mp4", *sorted(VIDEO_SUFFIXES), "")]
            source = next((p for p in found if os.path.isfile(p)), None)  # of names of any length
            if source:
                break
        else:  # reported as a failure, like any other bad video
            source, folder = root / "main" / f"{line}.mp4", "main"
        jobs.append((source, Path(folder) / line))
    return jobs


def finished(target: Path, img_size: int, crop: str = PreprocessConfig.crop) -> str | None:
    """ "finished", None if the clip is still to be done, or why it cannot be."""
    if not target.exists():
        return None
    try:
        saved, _ = npz.read(target / "landmarks.npz", ["img_size"], ["steady"], kinds="fiub")
        size, steady = int(saved["img_size"].item()), bool(saved.get("steady", np.False_).item())
    except ValueError:  # UserError is one, and what is no single number
        return f"{target}: is there, but not made by this program; choose another --final_data_root"
    if size != img_size:
        return f"{target}: was preprocessed with --img_size {size}; choose another --final_data_root"
    if steady != (crop == "steady"):
        other = "steady" if steady else "lipgan_keras"
        return f"{target}: was preprocessed with --crop {other}; choose another --final_data_root, or the same crop"
    return "finished"


def _run(todo, img_size, crop, workers) -> Iterator[tuple[Path, str | None]]:
    """Preprocess in parallel; yields (video, None or the reason why it failed) as they end."""
    for (source, _), reason in run_claimed(functools.partial(_work, img_size, crop), todo, workers):
        yield source, reason or None


def run_claimed(
    work: Callable[[tuple], Any], jobs: list[tuple], workers: int, here: bool = False
) -> Iterator[tuple[tuple, Any]]:
    """`processes.run` for jobs that begin with a source and the folder that is made of it, under a claim.

    Of a process that was killed the result is what happened, and its claim is freed.
    """
    try:
        with contextlib.closing(processes.run(work, jobs, workers, here)) as results:
            for job, result in results:
                if result is None:
                    claims.free_left([job[1]])
                    result = f"{job[0]}: {processes.DIED}"
                yield job, result
    finally:
        claims.free_left(job[1] for job in jobs)  # a worker that is ended amid taking a claim leaves it


def _work(img_size, crop, job):
    return preprocess_clip(*job, img_size, crop) or ""


def preprocess_clip(source: Path, target: Path, img_size: int, crop: str = PreprocessConfig.crop) -> str | None:
    """Make one clip's folder; returns None, or the reason why it was not made: MADE_BEFORE, BUSY, or what is wrong."""
    return make_once(source, target, img_size, crop, lambda folder: _write(source, folder, img_size, crop))


def make_once(source: Path, target: Path, img_size: int, crop: str, write: Callable[[Path], str | None]) -> str | None:
    """`preprocess_clip`, where `write` fills the folder, and returns None or why there is nothing to fill it with."""
    partial = None
    try:
        with claims.claim(target) as partial:
            if finished(target, img_size, crop) == "finished":
                return MADE_BEFORE
            if partial is None:
                return BUSY
            reason = write(partial)
            if reason is None or isinstance(reason, Partly):
                os.rename(partial, target)
            return reason
    except Exception as error:  # noqa: BLE001 - one bad video never stops the run
        # Where this process stood still for so long that another one took over, its folder is gone.
        if isinstance(error, OSError) and finished(target, img_size, crop) == "finished":
            return MADE_BEFORE
        if isinstance(error, OSError) and (error.filename is None or str(partial) in str(error.filename)):
            error.filename = target  # in place of a hidden folder
        return errors.describe(error, source)


def _write(source, folder, img_size, crop):
    """Fill a clip's folder; returns None, a `Partly`, or the reason why there is nothing to fill it with."""
    probe.probe(source)  # says best what is wrong with a file
    detector.expect_many()
    write_sound(folder, audio_file.load_audio(source))
    saved, damage = [], []
    for number, tracked in on_grid(tracking.track(_upright(source, damage), crop)):
        frame = tracked.frame
        for one in tracked.faces:
            write_jpeg(folder / f"{number}.jpg", cropping.extract(frame.image, one.box, img_size))
            points = cropping.to_crop(one.face.landmarks, one.box, img_size)
            saved.append((number, points, one.box, frame.time, frame.duration))
    if not saved:
        return f"{source}: no face found in any frame"
    names = ("frames", "landmarks", "box", "time", "duration")
    arrays = {name: np.array(column) for name, column in zip(names, zip(*saved, strict=True), strict=True)}
    np.savez(folder / "landmarks.npz", img_size=img_size, steady=np.uint8(crop == "steady"), **arrays)
    found = video_reader.damaged(source, damage)
    return Partly(found) if found else None


def _upright(source, damage) -> Iterator[Frame]:
    """The frames of a video, turned where its faces lie on their side or stand on their head."""
    turn = looks.turn_of(source, probes=looks.PROBES[:1]) or 0
    for frame in video_reader.read_frames(source, damage=damage):
        yield Frame(looks.turned(frame.image, turn), frame.time, frame.duration)


def on_grid(tracked: Iterable[Tracked]) -> Iterator[tuple[int, Tracked]]:
    """(N, frame) for each N/25 s that the video covers: the frame nearest in time, if it is within 60 ms."""
    before, number = None, 0
    for after in tracked:
        if before is not None:
            until = (before.frame.time + after.frame.time) / 2
            while number / FPS <= until + 1e-6:
                if abs(number / FPS - before.frame.time) <= MAX_DISTANCE:
                    yield number, before
                number += 1
        before = after
    if before is not None:
        while number / FPS < before.frame.time + before.frame.duration - 1e-3:
            if abs(number / FPS - before.frame.time) <= MAX_DISTANCE:
                yield number, before
            number += 1


def write_sound(folder: Path, wave: np.ndarray) -> None:
    """A clip's audio.wav, of (n,) in [-1, 1], and mels.npz of what that file holds, which is rounded."""
    audio_file.save_wav(folder / "audio.wav", wave)
    np.savez(folder / "mels.npz", spec=audio.melspectrogram(audio_file.load_audio(folder / "audio.wav")))


def write_jpeg(path: Path, image: np.ndarray) -> None:
    """As crops are saved: (H, W, 3) uint8 BGR."""
    ok, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not ok:
        raise UserError(f"{path}: the picture cannot be encoded")
    path.write_bytes(data)
