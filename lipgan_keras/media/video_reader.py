"""Frames of an image or video, with their times."""

import collections
import os
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from ..utils.errors import UserError
from . import demux, probe
from .image_file import over_white, read_still, transpose, webp_frames
from .probe import file_kind

# ffmpeg's numbers for matrix coefficients (ITU-T H.273) to swscale's names, which differ between 470BG and 170M
_MATRICES = {1: "ITU709", 4: "FCC", 5: "ITU601", 6: "ITU601", 7: "SMPTE240M", 9: "BT2020", 10: "BT2020"}
_FULL_RANGE = 2  # AVCOL_RANGE_JPEG
ACCURATE = int(Interpolation.BILINEAR) | 0x2000 | 0x40000  # with full horizontal chroma, and accurate rounding


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


def read_frames(path: str | os.PathLike, start: float = 0.0, exact: bool = True) -> Iterator[Frame]:
    """Decode a video frame by frame; only one frame is held. A still gives one frame at time 0.

    Rotation and mirroring flags are applied. Colours are converted with the stream's own matrix and range; where
    none is given, with BT.709 from 720 lines up and BT.601 below (the custom of players), limited range. Frames with
    an alpha channel are laid over white. A frame whose size differs from the first one's is scaled to it. Missing
    times are filled in at the average rate, times that run backwards are mended so that they rise.

    Args:
        path: an image or a video file.
        start: seconds; frames before `start` less half a frame are left out, by seeking where the format can.
        exact: False converts colours by swscale's quick way, as OpenCV's VideoCapture does: about 1 grey level darker,
            with blocky colours. For comparison with figures that were got so.

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
        yield from _frames(path, container, stream, earliest, exact)


def read_frames_reversed(path: str | os.PathLike, chunk: int = 64, end: float = float("inf")) -> Iterator[Frame]:
    """The frames of `read_frames` before `end` seconds, the last one first, in bounded memory.

    Decodes piece by piece from the end and holds at most `chunk` frames, or about 256 MB of them. Where a format
    cannot seek, each piece costs decoding from the beginning.
    """
    info = probe.probe(path)
    chunk = max(4, min(chunk, 2**28 // (info.width * info.height * 3)))
    while True:
        start = min(end, info.duration) - 0.75 * chunk / info.fps
        held: collections.deque[Frame] = collections.deque(maxlen=chunk)
        count = 0
        for frame in read_frames(path, start):
            if frame.time >= end - 1e-6:
                break
            held.append(frame)
            count += 1
        end = held[0].time if held else start
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
    converter, last = _Converter(), -1.0
    for moment in start + np.arange(count) * step:
        with demux.open_at(path, moment) as (container, stream):
            for time, _, decoded in demux.timed_frames(path, container, stream):
                if time >= end:
                    return
                if time > last and time >= max(moment - step / 2, start - 0.5 / info.fps):
                    last = time
                    yield Frame(converter(decoded), time, 1 / info.fps)
                    break


def _frames(path, container, stream, earliest: float, exact: bool) -> Iterator[Frame]:
    converter, waiting, length = _Converter(exact), None, None
    nothing = True
    for time, lasts, decoded in demux.timed_frames(path, container, stream):
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


class _Converter:
    """av.VideoFrame to upright BGR arrays, all of the first one's size."""

    def __init__(self, exact: bool = True):
        self._reformatter = VideoReformatter()
        self._interpolation = ACCURATE if exact else int(Interpolation.BILINEAR)
        self._shape = None

    def __call__(self, frame) -> np.ndarray:
        transparent = frame.format.has_palette or any(c.is_alpha for c in frame.format.components)
        wanted = "bgra" if transparent else "bgr24"
        if frame.format.is_rgb or frame.format.has_palette:
            colours = {}
        else:
            custom = "ITU709" if frame.height >= 720 else "ITU601"
            full = frame.color_range == _FULL_RANGE or frame.format.name.startswith("yuvj")
            grey = len(frame.format.components) == 1 and frame.color_range == 0  # swscale knows what is usual
            matrix = _MATRICES.get(int(frame.colorspace), custom)
            colours = {
                "src_colorspace": matrix,
                # Means nothing to BGR, but PyAV before 17 ignores the others where this one is the same.
                "dst_colorspace": "ITU601" if matrix == "ITU709" else "ITU709",
                "src_color_range": None if grey else "JPEG" if full else "MPEG",
                "dst_color_range": "JPEG",
            }
        image = self._reformatter.reformat(
            frame, format=wanted, interpolation=self._interpolation, **colours
        ).to_ndarray()
        if transparent:
            image = over_white(image) if image[..., 3].min() < 255 else np.ascontiguousarray(image[..., :3])
        transposed, flips = demux.upright_turn(frame)
        if transposed or flips:
            image = np.ascontiguousarray(np.flip(transpose(image, transposed), flips))
        if self._shape is None:
            self._shape = image.shape
        if image.shape != self._shape:
            shrinks = image.size > np.prod(self._shape)
            image = cv2.resize(image, self._shape[1::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        return image
