"""Frames of an image or video, with their times."""

import collections
import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..utils.errors import UserError
from . import demux, probe
from .converter import Converter, deinterlaced
from .image_file import read_still, webp_frames
from .probe import file_kind


@dataclass
class Frame:
    """One image: `image` (height, width, 3) BGR uint8, shown from `time` for `duration` seconds."""

    image: np.ndarray
    time: float
    duration: float


def read_image(path: str | os.PathLike) -> np.ndarray:
    """Read a still, or the first frame of a video, as (height, width, 3) BGR uint8.

    16-bit and grey images become 8-bit BGR, transparent ones are laid over white, EXIF rotation is applied.

    Raises:
        UserError: as `probe`.
    """
    if file_kind(path) != "still":
        return next(read_frames(path)).image
    return read_still(path)


def read_frames(
    path: str | os.PathLike,
    start: float = 0.0,
    exact: bool = True,
    damage: list[tuple[float, float]] | None = None,
) -> Iterator[Frame]:
    """Decode a video frame by frame; only one frame is held. A still gives one frame at time 0.

    Rotation and mirroring flags are applied. Colours are converted with the stream's own matrix and range; where
    none is given, with BT.709 from 720 lines up and BT.601 below (the custom of players), limited range. HDR (PQ, HLG)
    becomes BT.709. Interlaced frames are made whole. Frames with an alpha channel are laid over white. Where the size
    changes on the way, all frames are fitted into the largest, see `probe.probe`. Missing times are filled in at the
    average rate; clocks that start anew or jump are mended (`clock.Clock`), so that times rise.

    Args:
        path: an image or a video file.
        start: seconds; frames before `start` less half a frame are left out, by seeking where the format can.
        exact: False converts colours by swscale's quick way, as OpenCV's VideoCapture does: about 1 grey level darker,
            with blocky colours. For comparison with figures that were got so.
        damage: is given (from, to), in seconds, of each part whose frames are broken and left out; the frame before
            stands meanwhile. None: such a part is an error.

    Raises:
        UserError: as `probe`; in mid-stream, with the second at which the image breaks.
    """
    kind = file_kind(path)
    if kind == "still":
        if start <= probe.STILL_SECONDS / 2:
            yield Frame(read_still(path), 0.0, probe.STILL_SECONDS)
        return
    if kind == "webp":
        for time, duration, image in webp_frames(path):
            if time >= start - duration / 2:
                yield Frame(image, time, duration)
        return
    earliest = float("-inf")
    if start > 0:
        with demux.open_media(path) as (_, stream):
            earliest = start - 0.5 / demux.frame_rate(stream)
    with demux.open_at(path, earliest) as (container, stream):
        converter = Converter(exact, probe.largest(path, container))
        yield from _frames(path, container, stream, earliest, converter, damage)


def damaged(path: str | os.PathLike, damage: list[tuple[float, float]]) -> str | None:
    """One line that says what the `damage` of `read_frames` is; None: there is none."""
    if not damage:
        return None
    parts = ", ".join(f"from {begin:.2f} to {end:.2f} s" for begin, end in damage[:3])
    more = f", and in {len(damage) - 3} places more" if len(damage) > 3 else ""
    return f"{path}: its picture is damaged {parts}{more}, which is not used; copy the file again"


def read_frames_reversed(path: str | os.PathLike, chunk: int = 64, end: float = float("inf")) -> Iterator[Frame]:
    """The frames of `read_frames` before `end` seconds, the last one first, in bounded memory.

    Decodes piece by piece from the end and holds at most `chunk` frames, or about 256 MB of them. Where a format
    cannot seek, each piece costs decoding from the beginning.
    """
    info = probe.probe(path)
    chunk = max(4, min(chunk, 2**28 // (info.width * info.height * 3)))
    end = min(end, info.duration + 1)  # the last frame may be shown for longer than is said
    while True:
        start = min(end, info.duration) - 0.75 * chunk / info.fps
        held: collections.deque[Frame] = collections.deque(maxlen=chunk)
        count = 0
        for frame in read_frames(path, start, damage=[]):
            if frame.time >= end - 1e-6:
                break
            held.append(frame)
            count += 1
        if held:
            end = held[0].time
        else:  # for how long there is nothing, a file may say as it likes: go to what there is
            before = demux.last_before(path, start) if file_kind(path) == "video" and start > 0 else None
            end = start if before is None else min(start, before + 1 / info.fps)
        while held:
            yield held.pop()
        if start <= 0 and count <= chunk:
            return


def sample_frames(
    path: str | os.PathLike, count: int = 8, start: float = 0.0, end: float = float("inf")
) -> Iterator[Frame]:
    """At most `count` frames spread over the file from `start` to `end` seconds, fast: keyframes where they lie close
    enough.

    Their durations are nominal. A still gives its one frame.
    """
    info = probe.probe(path)
    step = (min(end, info.duration) - start) / count
    if file_kind(path) != "video":
        due = start
        for frame in read_frames(path, start):
            if frame.time + frame.duration > due and frame.time < end:
                yield frame
                due = max(due + step, frame.time)
        return
    converter, last = Converter(shape=(info.height, info.width)), -1.0
    for moment in start + np.arange(count) * step:
        with demux.open_at(path, moment) as (container, stream):
            for time, _, decoded in deinterlaced(demux.timed_frames(path, container, stream, [])):
                if time >= end:
                    return
                if time > last and time >= max(moment - step / 2, start - 0.5 / info.fps):
                    last = time
                    yield Frame(converter(decoded), time, 1 / info.fps)
                    break


def _frames(path, container, stream, earliest: float, converter: Converter, damage) -> Iterator[Frame]:
    waiting, length = None, None
    nothing = True
    for time, lasts, decoded in deinterlaced(demux.timed_frames(path, container, stream, damage)):
        nothing, length = False, lasts
        if waiting is not None:
            waiting.duration = time - waiting.time
            yield waiting
        waiting = Frame(converter(decoded), time, 0.0) if time >= earliest else None
    if waiting is not None:
        waiting.duration = length or 1 / demux.frame_rate(stream)
        yield waiting
    elif nothing:
        raise UserError(f"{path}: {demux.UNREADABLE}")
