"""Pictures and videos: frames in with their times, H.264 and AAC in MP4 out.

Images are BGR uint8 arrays of shape (height, width, 3). Times are seconds on the container's clock, whose 0 is the
container's start time, so that picture and sound of one file share one clock.
"""

import collections
import contextlib
import errno
import itertools
import os
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.logging
import cv2
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from .cli import UserError, quiet_stderr

av.logging.set_level(None)  # what goes wrong is raised, or mended here

STILL_SECONDS = 1 / 25  # how long the one frame of a still lasts

# ffmpeg's numbers for matrix coefficients (ITU-T H.273) to swscale's names, which differ between 470BG and 170M
_MATRICES = {1: "ITU709", 4: "FCC", 5: "ITU601", 6: "ITU601", 7: "SMPTE240M", 9: "BT2020", 10: "BT2020"}
_FULL_RANGE = 2  # AVCOL_RANGE_JPEG
_ACCURATE = int(Interpolation.BILINEAR) | 0x2000 | 0x40000  # with full horizontal chroma, and accurate rounding
# Play lists reach nothing but files. (Not `options`, which also go to the streams: PyAV before 18 may crash on those.)
_LOCAL = {"protocol_whitelist": "file"}
_AAC_RATES = (7350, 8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
_AAC_FRAME = 1024
_CLOCK = 90000  # ticks a second of the written picture track
_UNREADABLE = "its picture cannot be decoded; is the file damaged? Convert it to MP4 (H.264) and try again"


@dataclass
class Frame:
    """One picture: `image` (height, width, 3) BGR uint8, shown from `time` for `duration` seconds."""

    image: np.ndarray
    time: float
    duration: float


@dataclass
class VideoInfo:
    """What `probe` finds.

    `width` and `height` are pixels as displayed, that is after rotation; `fps` is the average rate (of a still:
    1 / STILL_SECONDS); `duration` is the end of the last frame in seconds; `sample_aspect_ratio` is the width of a
    pixel over its height.
    """

    width: int
    height: int
    fps: float
    duration: float
    is_still: bool
    has_audio: bool
    sample_aspect_ratio: Fraction


# ---------------------------------------------------------------------------------------------------------------------
# What a file is


def probe(path: str | os.PathLike) -> VideoInfo:
    """Say what a file holds. The content decides, not the name; the first frame is decoded.

    Raises:
        UserError: no such file, a folder, an empty or a text file, no picture in it, cut off, or damaged.
    """
    kind = _kind(path)
    if kind == "still":
        height, width = read_image(path).shape[:2]
        return VideoInfo(width, height, 1 / STILL_SECONDS, STILL_SECONDS, True, False, Fraction(1))
    if kind == "webp":
        frames = [(time, duration) for time, duration, _ in _webp_frames(path)]
        height, width = next(_webp_frames(path))[2].shape[:2]
        end = sum(frames[-1])
        return VideoInfo(width, height, len(frames) / end, end, False, False, Fraction(1))
    with _open(path) as (container, stream):
        first = next(_pictures(path, container, stream), None)
        if first is None:
            raise UserError(f"{path}: {_UNREADABLE}")
        width, height = first[2].width, first[2].height
        ratio = _sample_aspect_ratio(stream)
        if _orientation(first[2])[0]:
            width, height, ratio = height, width, 1 / ratio
        fps = _rate(stream)
        duration = _picture_end(path, container, stream, fps)
        return VideoInfo(width, height, fps, duration, False, bool(container.streams.audio), ratio)


def _kind(path) -> str:
    """ "still", "webp" (an animated WebP, which PyAV cannot read) or "video"; refuses what cannot be any of them."""
    path = Path(path)
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:  # on which OpenCV crashes
        raise UserError(f"{path}: its name is not UTF-8; rename it") from None
    if path.is_dir():
        raise UserError(f"{path}: is a folder; name a picture or a video file")
    try:
        with open(path, "rb") as file:
            head = file.read(4096)
            size = os.fstat(file.fileno()).st_size
            if _is_boxes(head):
                _check_boxes(path, file, size)
            elif (missing := _declared_size(head) - size) > 1:
                raise UserError(f"{path}: is cut off, {missing} of its bytes are missing; copy or download it again")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; check the name") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None
    if not head:
        raise UserError(f"{path}: is empty; name a picture or a video file")
    if head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and len(head) > 20 and head[20] & 2:
        return "webp"
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return "video" if _has_two_frames(path) else "still"
    if head[:8] == b"\x89PNG\r\n\x1a\n" and _png_is_animated(path):
        return "video"
    if head[4:8] == b"ftyp" and b"avis" in head[8:64]:  # an AVIF sequence
        return "video"
    if cv2.haveImageReader(str(path)):
        return "still"
    if head[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1"):
        raise UserError(f"{path}: is a HEIC picture, which cannot be read here; convert it to JPEG")
    if _is_text(head):
        raise UserError(f"{path}: is a text file; name a picture or a video file")
    return "video"


def _is_text(head: bytes) -> bool:
    # Looked at first because ffmpeg takes some text files for play lists and subtitles.
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # not merely a character cut in two
            return False
        text = head[: error.start].decode("utf-8")
    return not any(ord(c) < 32 and c not in "\t\n\r\f\x1b" for c in text)


def _is_boxes(head: bytes) -> bool:
    return head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"skip", b"pnot", b"styp")


def _check_boxes(path, file, size: int) -> None:
    """See that the top-level boxes of an MP4 (ISO/IEC 14496-12, 4.2) are all there."""
    position, kinds = 0, set()
    while position + 8 <= size:
        file.seek(position)
        header = file.read(16)
        length, kind = struct.unpack(">I4s", header[:8])
        if length == 1 and len(header) == 16:
            length = struct.unpack(">Q", header[8:])[0]
        elif length == 0:  # to the end of the file
            length = size - position
        if length < 8:
            break  # padding or rubbish after the last box
        kinds.add(kind)
        if position + length > size and kind in (b"mdat", b"moov", b"moof", b"ftyp", b"meta"):
            missing = position + length - size
            raise UserError(f"{path}: is cut off, {missing} of its bytes are missing; copy or download it again")
        position += length
    if not kinds & {b"moov", b"meta"}:
        raise UserError(f"{path}: is cut off, its index (moov) is missing; copy, download or record it again")


def _declared_size(head: bytes) -> int:
    """How long an AVI, WebP (RIFF), Matroska or WebM (EBML, RFC 8794) file says to be; 0 where it does not say."""
    if head[:4] == b"RIFF" and len(head) >= 8:
        size = struct.unpack("<I", head[4:8])[0]
        return 8 + size if size < 0xFFFFFF00 else 0  # written before the size was known
    if head[:4] != b"\x1aE\xdf\xa3":
        return 0

    def number(at):  # the place after a variable-size integer, and its value
        length = 9 - head[at].bit_length()
        value = int.from_bytes(head[at : at + length], "big") - (1 << 7 * length)
        return at + length, None if value == (1 << 7 * length) - 1 else value

    try:
        at, length = number(4)
        segment = at + length
        if head[segment : segment + 4] != b"\x18S\x80g":
            return 0
        at, length = number(segment + 4)
        return at + length if length is not None else 0
    except (IndexError, TypeError):
        return 0


def _has_two_frames(path) -> bool:
    with _open(path) as (container, stream):
        packets = (packet for packet in container.demux(stream) if packet.size)
        return sum(1 for _, packet in zip(range(2), packets, strict=False)) == 2


def _png_is_animated(path) -> bool:
    """Whether an animation control chunk, of more than one frame, comes before the image data (PNG 3rd edition)."""
    with open(path, "rb") as file:
        file.seek(8)
        while len(header := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", header)
            if kind == b"acTL":
                return struct.unpack(">I", file.read(4).ljust(4, b"\0"))[0] > 1
            if kind in (b"IDAT", b"IEND"):
                return False
            file.seek(length + 4, os.SEEK_CUR)
    return False


# ---------------------------------------------------------------------------------------------------------------------
# Stills


def read_image(path: str | os.PathLike) -> np.ndarray:
    """Read a still, or the first frame of a video, as (height, width, 3) BGR uint8.

    16-bit and grey pictures become 8-bit BGR, transparent ones are laid over white, EXIF rotation is applied.

    Raises:
        UserError: as `probe`.
    """
    if _kind(path) != "still":
        return next(read_frames(path)).image
    with quiet_stderr():  # libpng and others complain there, besides returning nothing
        image = _decode_still(np.fromfile(path, np.uint8))
    if image is None:
        raise UserError(f"{path}: is a damaged picture; copy or download it again")
    return image


def _decode_still(data: np.ndarray) -> np.ndarray | None:
    try:
        raw = cv2.imdecode(data, cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
        if raw is not None and raw.ndim == 3 and raw.shape[2] == 4:
            image = _over_white(raw)
            upright = cv2.imdecode(data, cv2.IMREAD_COLOR)  # only this one heeds EXIF
            return _like(image, cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION), upright)
        return cv2.imdecode(data, cv2.IMREAD_COLOR)
    except cv2.error:
        return None


def _over_white(image: np.ndarray) -> np.ndarray:
    """Lay BGRA, uint8 or uint16, over white: (height, width, 3) uint8."""
    scale = 255 / np.iinfo(image.dtype).max
    colour, alpha = image[..., :3].astype(np.float32) * scale, image[..., 3:].astype(np.float32) * (scale / 255)
    return np.rint(255 + (colour - 255) * alpha).astype(np.uint8)


def _like(image: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Turn `image` the way that `before` became `after`, one of the eight EXIF orientations."""
    for transposed in (False, True):
        for flips in ((), (0,), (1,), (0, 1)):
            if np.array_equal(np.flip(_transpose(before, transposed), flips), after):
                return np.ascontiguousarray(np.flip(_transpose(image, transposed), flips))
    return image


def _transpose(image, transposed):
    return image.swapaxes(0, 1) if transposed else image


# ---------------------------------------------------------------------------------------------------------------------
# Reading frames


def read_frames(path: str | os.PathLike, start: float = 0.0, exact: bool = True) -> Iterator[Frame]:
    """Decode a video frame by frame; only one frame is held. A still gives one frame at time 0.

    Rotation and mirroring flags are applied. Colours are converted with the stream's own matrix and range; where
    none is given, with BT.709 from 720 lines up and BT.601 below (the custom of players), limited range. Frames with
    an alpha channel are laid over white. A frame whose size differs from the first one's is scaled to it. Missing
    times are filled in at the average rate, times that run backwards are mended so that they rise.

    Args:
        path: a picture or a video file.
        start: seconds; frames before `start` less half a frame are left out, by seeking where the format can.
        exact: False converts colours by swscale's quick way, as OpenCV's VideoCapture does: about 1 grey level darker,
            with blocky colours. For comparison with figures that were got so.

    Raises:
        UserError: as `probe`; in mid-stream, with the second at which the picture breaks.
    """
    kind = _kind(path)
    if kind == "still":
        if start <= STILL_SECONDS / 2:
            yield Frame(read_image(path), 0.0, STILL_SECONDS)
        return
    if kind == "webp":
        for time, duration, image in _webp_frames(path):
            if time >= start - duration / 2:
                yield Frame(image, time, duration)
        return
    earliest = float("-inf")
    if start > 0:
        with _open(path) as (_, stream):
            earliest = start - 0.5 / _rate(stream)
    with _open_at(path, earliest) as (container, stream):
        yield from _frames(path, container, stream, earliest, exact)


def read_frames_reversed(path: str | os.PathLike, chunk: int = 64, end: float = float("inf")) -> Iterator[Frame]:
    """The frames of `read_frames` before `end` seconds, the last one first, in bounded memory.

    Decodes piece by piece from the end and holds at most `chunk` frames, or about 256 MB of them. Where a format
    cannot seek, each piece costs decoding from the beginning.
    """
    info = probe(path)
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
    info = probe(path)
    step = (min(end, info.duration) - start) / count
    if _kind(path) != "video":
        due = start
        for frame in read_frames(path, start):
            if frame.time + frame.duration > due and frame.time < end:
                yield frame
                due = max(due + step, frame.time)
        return
    converter, last = _Converter(), -1.0
    for moment in start + np.arange(count) * step:
        with _open_at(path, moment) as (container, stream):
            for time, _, picture in _pictures(path, container, stream):
                if time >= end:
                    return
                if time > last and time >= max(moment - step / 2, start - 0.5 / info.fps):
                    last = time
                    yield Frame(converter(picture), time, 1 / info.fps)
                    break


@contextlib.contextmanager
def _open(path) -> Iterator[tuple[Any, Any]]:
    """The container and its picture stream."""
    try:
        # "file:" so that no name is taken for an address
        container = av.open(f"file:{os.fspath(path)}", container_options=_LOCAL, metadata_errors="ignore")
    except (av.error.FFmpegError, OSError) as error:
        raise UserError(
            f"{path}: is not a picture or a video that can be read ({error.strerror}); "
            "is it complete? Convert it to MP4 (H.264) and try again"
        ) from None
    with container:
        cover = 0x400  # AV_DISPOSITION_ATTACHED_PIC, of an album
        streams = [s for s in container.streams.video if not s.disposition.value & cover]
        if not streams:
            found = "sound only" if container.streams.audio else "no picture stream"
            raise UserError(f"{path}: holds {found}; name a picture or a video file")
        streams = [s for s in streams if s.codec_context is not None]
        if not streams:
            raise UserError(f"{path}: its picture is coded in a way unknown here; convert it to MP4 (H.264)")
        stream = max(streams, key=lambda s: s.width * s.height)
        stream.thread_type = "AUTO"
        yield container, stream


def _origin(container, stream) -> Fraction:
    """The container's start time, in seconds of its streams' time stamps."""
    if container.start_time is not None:
        return Fraction(container.start_time, av.time_base)
    return (stream.start_time or 0) * stream.time_base


def _rate(stream) -> float:
    for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate):
        if rate and 0 < rate <= 1000:
            return float(rate)
    return 25.0


def _sample_aspect_ratio(stream) -> Fraction:
    for ratio in (stream.sample_aspect_ratio, stream.codec_context.sample_aspect_ratio):
        if ratio and ratio > 0:
            return Fraction(ratio)
    return Fraction(1)


def _picture_end(path, container, stream, fps: float) -> float:
    """The end of the last frame, in seconds on the container's clock."""
    origin = _origin(container, stream)
    if stream.duration:
        return float(((stream.start_time or 0) + stream.duration) * stream.time_base - origin)
    if container.duration and not container.streams.audio:
        return container.duration / av.time_base
    end = 0.0  # not said anywhere, or of the sound: look through all packets, which needs no decoding
    with _open(path) as (again, picture_stream), contextlib.suppress(av.error.FFmpegError):
        for packet in again.demux(picture_stream):
            if packet.pts is not None:
                length = (packet.duration or 0) * packet.time_base or Fraction(1 / fps)
                end = max(end, float(packet.pts * packet.time_base + length - origin))
            elif packet.size:
                end += 1 / fps
    return end


@contextlib.contextmanager
def _open_at(path, seconds: float) -> Iterator[tuple[Any, Any]]:
    """`_open`, at a keyframe shown at or before `seconds`; at the beginning where the format cannot do better."""
    with _open(path) as (container, stream):
        if seconds <= 0 or _seek(container, stream, seconds):
            yield container, stream
            return
    with _open(path) as opened:  # seeking to time 0 would miss the first frames of some formats
        yield opened


def _seek(container, stream, seconds: float) -> bool:
    origin = _origin(container, stream)
    # In a program stream not every frame has a time stamp; after a seek it takes a while until all are right.
    for back in (2, 4, 16) if container.format.name == "mpeg" else (0, 1, 4, 16):
        if back >= seconds:
            break
        offset = int((seconds - back + float(origin)) / stream.time_base)
        try:
            container.seek(offset, stream=stream)
            # Seeking goes by decoding time or by guess: see where it got.
            packets = (p for p in container.demux(stream) if p.is_keyframe and p.pts is not None)
            packet = next(packets, None)
            if packet is not None and packet.pts * packet.time_base - origin <= seconds:
                container.seek(offset, stream=stream)
                return True
        except av.error.FFmpegError:
            break
    return False


def _pictures(path, container, stream) -> Iterator[tuple[float, float | None, Any]]:
    """Decode from where the container stands: (time, own duration if known, av.VideoFrame), times rising.

    Nothing comes before the first complete picture: a cut that starts between keyframes gives grey smears.
    """
    origin, step = _origin(container, stream), 1 / _rate(stream)
    last, shift, broken = None, 0.0, 0
    for picture in _decoded(container, stream):
        if picture is None or picture.is_corrupt:
            broken += last is not None
            continue
        if last is None and not (picture.key_frame or int(picture.pict_type) in (0, 1)):  # neither unknown nor intra
            continue
        if broken:
            break
        stamp = picture.pts if picture.pts is not None else picture.dts
        if stamp is not None:
            time = float(stamp * picture.time_base - origin) + shift
        elif last is None:
            time = 0.0
        else:
            time = last + step
        if last is not None and time <= last:
            if last - time > 0.5:  # the clock starts anew: go on from here
                shift += last + step - time
                time = last + step
            else:
                time = last + 0.001
        yield time, float(picture.duration * picture.time_base) if picture.duration else None, picture
        last = time
    if broken > 2 or (broken and picture is not None and not picture.is_corrupt):
        # Up to two broken pictures at the very end are those of a recording switched off, and left out.
        raise UserError(
            f"{path}: its picture breaks at {last + step:.2f} s, the file is damaged there; "
            "copy it again, or cut the part before and use that"
        )


def _decoded(container, stream) -> Iterator[Any]:
    """Frames in order, and None for a packet that cannot be read or decoded."""
    packets, errors = container.demux(stream), 0
    while errors < 300:
        try:
            packet = next(packets, None)
            if packet is None:
                return
            pictures = packet.decode()
        except av.error.EOFError:
            return
        except av.error.FFmpegError:
            errors += 1
            pictures = [None]
        yield from pictures


def _frames(path, container, stream, earliest: float, exact: bool) -> Iterator[Frame]:
    converter, waiting, length = _Converter(exact), None, None
    nothing = True
    for time, lasts, picture in _pictures(path, container, stream):
        nothing, length = False, lasts
        if waiting is not None:
            waiting.duration = time - waiting.time
            yield waiting
        waiting = Frame(converter(picture), time, 0.0) if time >= earliest else None
    if waiting is not None:
        waiting.duration = length or 1 / _rate(stream)
        yield waiting
    elif nothing:
        raise UserError(f"{path}: {_UNREADABLE}")


class _Converter:
    """av.VideoFrame to upright BGR arrays, all of the first one's size."""

    def __init__(self, exact: bool = True):
        self._reformatter = VideoReformatter()
        self._interpolation = _ACCURATE if exact else int(Interpolation.BILINEAR)
        self._shape = None

    def __call__(self, picture) -> np.ndarray:
        transparent = picture.format.has_palette or any(c.is_alpha for c in picture.format.components)
        wanted = "bgra" if transparent else "bgr24"
        if picture.format.is_rgb or picture.format.has_palette:
            colours = {}
        else:
            custom = "ITU709" if picture.height >= 720 else "ITU601"
            full = picture.color_range == _FULL_RANGE or picture.format.name.startswith("yuvj")
            grey = len(picture.format.components) == 1 and picture.color_range == 0  # swscale knows what is usual
            matrix = _MATRICES.get(int(picture.colorspace), custom)
            colours = {
                "src_colorspace": matrix,
                # Means nothing to BGR, but PyAV before 17 ignores the others where this one is the same.
                "dst_colorspace": "ITU601" if matrix == "ITU709" else "ITU709",
                "src_color_range": None if grey else "JPEG" if full else "MPEG",
                "dst_color_range": "JPEG",
            }
        image = self._reformatter.reformat(
            picture, format=wanted, interpolation=self._interpolation, **colours
        ).to_ndarray()
        if transparent:
            image = _over_white(image) if image[..., 3].min() < 255 else np.ascontiguousarray(image[..., :3])
        transposed, flips = _orientation(picture)
        if transposed or flips:
            image = np.ascontiguousarray(np.flip(_transpose(image, transposed), flips))
        if self._shape is None:
            self._shape = image.shape
        if image.shape != self._shape:
            shrinks = image.size > np.prod(self._shape)
            image = cv2.resize(image, self._shape[1::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        return image


def _orientation(picture) -> tuple[bool, tuple[int, ...]]:
    """How to turn a picture upright: whether to transpose it, then the axes to flip.

    The display matrix (ISO/IEC 14496-12, 6.2.2) takes a pixel (x, y) to (a x + c y, b x + d y); it is taken for the
    nearest of the eight turns and mirrorings.
    """
    for i in range(len(picture.side_data)):
        data = picture.side_data[i]
        if data.type.name == "DISPLAYMATRIX":
            a, b, _, c, d = np.frombuffer(bytes(data), np.int32, 5)
            if abs(int(a)) + abs(int(d)) >= abs(int(b)) + abs(int(c)):
                return False, tuple(axis for axis, sign in ((0, d), (1, a)) if sign < 0)
            return True, tuple(axis for axis, sign in ((0, b), (1, c)) if sign < 0)
    return False, ()


def _webp_frames(path) -> Iterator[tuple[float, float, np.ndarray]]:
    """(time, duration, image) of an animated WebP, of which OpenCV reads 32 frames at a time."""
    time, first = 0.0, 0
    while True:
        try:
            with quiet_stderr():
                read, animation = cv2.imreadanimation(os.fspath(path), start=first, count=32)
        except (cv2.error, AttributeError):
            read = False
        if not read or not len(animation.frames):
            break
        for image, milliseconds in zip(animation.frames, np.ravel(animation.durations), strict=False):
            duration = max(float(milliseconds), 10.0) / 1000  # 0 means as fast as possible
            yield time, duration, _over_white(image) if image.shape[2] == 4 else image
            time += duration
        first += len(animation.frames)
    if first == 0:
        raise UserError(f"{path}: this animated WebP cannot be read; convert it to MP4 (H.264)")


# ---------------------------------------------------------------------------------------------------------------------
# Writing


class VideoWriter:
    """Write H.264 (yuv420p, BT.709) and AAC into an MP4 that browsers play, its index in front.

    A context manager. Sound goes in along with the pictures. The file is written at `path` directly; give it a
    temporary name (`cli.replacing`) where a half-written file would hurt.

    Args:
        path: the MP4 file.
        width, height: of the pictures; odd ones are padded by repeating the last column or row.
        fps: the nominal rate, for rate control and for frames written without a duration.
        audio: a file with sound, or (wave, rate): float array (n,) or (n, 1, 2 or 6 channels) in -1..1 at `rate` Hz,
            or an iterator of mono pieces (n,), taken as they are needed, about 0.1 s ahead of the picture.
            Its own rate and channels are kept where AAC has them (of a file's more than two, 5.1 stays, others become
            stereo). The sound starts at time 0 of its file's clock; gaps in it become silence.
        max_seconds: the sound is cut here.
        sample_aspect_ratio: width of a pixel over its height.
        duration: the sound is cut or padded with silence to last this many seconds; without it, it keeps its length.
        crf: x264's quality, smaller is better.
        metadata: tags of the file, such as "title" and "comment".

    Raises:
        UserError: no such audio file, or no sound in it.
        OSError: the file cannot be written (no space left, ...), with its name.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        width: int,
        height: int,
        fps: float,
        audio: str | os.PathLike | tuple[np.ndarray | Iterator[np.ndarray], int] | None = None,
        max_seconds: float | None = None,
        sample_aspect_ratio: Fraction | float = 1,
        duration: float | None = None,
        crf: float = 18,
        metadata: dict[str, str] | None = None,
    ):
        self.path = os.fspath(path)
        self._size = width, height
        self._step = 1 / fps
        self._last = -1
        self._durations: dict[int, int] = {}
        self._reformatter = VideoReformatter()
        self._sound = None
        if audio is not None:
            end = min((s for s in (max_seconds, duration) if s is not None), default=None)
            self._sound = _Sound(audio, end, duration is not None)
        try:
            with self._errors():
                self._container = av.open(f"file:{self.path}", "w", format="mp4", options={"movflags": "+faststart"})
                self._container.metadata.update(metadata or {})
                self._open_streams(width + width % 2, height + height % 2, fps, crf, Fraction(sample_aspect_ratio))
                self._container.start_encoding()  # opens the file
        except BaseException:
            self._abandon()
            raise

    def _open_streams(self, width, height, fps, crf, ratio):
        rate = Fraction(fps).limit_denominator(1001)
        # No B-frames: MP4 keeps durations in decoding order, so that with them the last frame's would be another's.
        options = {"crf": str(crf), "preset": "fast", "bf": "0"}
        self._video = self._container.add_stream("libx264", rate=rate, options=options)
        context = self._video.codec_context
        context.width, context.height, context.pix_fmt = width, height, "yuv420p"
        context.time_base = self._video.time_base = Fraction(1, _CLOCK)
        context.sample_aspect_ratio = ratio.limit_denominator(1000)
        context.colorspace = context.color_primaries = context.color_trc = 1  # BT.709
        context.color_range = 1  # limited
        self._audio = None
        if self._sound:
            self._audio = self._container.add_stream("aac", rate=self._sound.rate, layout=self._sound.layout)
            self._audio.codec_context.bit_rate = 96000 * self._sound.channels

    def write(self, image: np.ndarray, time: float, duration: float | None = None) -> None:
        """Add a frame.

        Args:
            image: (height, width, 3) BGR uint8.
            time: seconds, later than the frame before. Kept to 1/90000 s.
            duration: seconds; it counts for the last frame, others last until the next one. Default: 1 / fps.
        """
        width, height = self._size
        if image.shape != (height, width, 3):
            raise ValueError(f"a frame of shape {image.shape} in a video of {(height, width, 3)}")
        if height % 2 or width % 2:
            image = cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        picture = self._reformatter.reformat(
            av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "bgr24"),
            format="yuv420p",
            interpolation=_ACCURATE,
            dst_colorspace="ITU709",
            src_color_range="JPEG",
            dst_color_range="MPEG",
        )
        picture.colorspace, picture.color_range = 1, 1
        picture.pts = max(round(time * _CLOCK), self._last + 1)
        picture.time_base = Fraction(1, _CLOCK)
        self._last = picture.pts
        self._durations[picture.pts] = max(1, round((self._step if duration is None else duration) * _CLOCK))
        with self._errors():
            self._mux_video(picture)
            if self._audio:
                self._mux_audio(picture.pts / _CLOCK)

    def _mux_video(self, picture):
        for packet in self._video.encode(picture):
            packet.duration = self._durations.pop(packet.pts, packet.duration)
            self._container.mux(packet)

    def _mux_audio(self, until):
        for frame in self._sound.frames(until):
            self._container.mux(self._audio.encode(frame))

    def cut_sound(self, seconds: float) -> None:
        """End the sound earlier than was said at first; what is written already stays."""
        if self._sound:
            self._sound.cut(seconds)

    def close(self) -> None:
        """Finish the file."""
        with self._errors():
            self._mux_video(None)
            if self._audio:
                self._mux_audio(float("inf"))
                self._container.mux(self._audio.encode(None))
            self._container.close()
        if self._sound:
            self._sound.close()

    def _abandon(self):
        with contextlib.suppress(Exception):
            self._container.close()
        if self._sound:
            self._sound.close()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace) -> None:
        if kind is not None:
            self._abandon()
            return
        try:
            self.close()
        except BaseException:
            self._abandon()
            raise

    @contextlib.contextmanager
    def _errors(self):
        try:
            yield
        except av.error.FFmpegError as error:
            code = error.errno if error.errno in errno.errorcode else errno.EIO
            raise OSError(code, error.strerror, self.path) from None


class _Sound:
    """The sound of a file or an array, from time 0 on, as frames for the AAC encoder."""

    def __init__(self, audio, end: float | None, pad: bool):
        self._opened = contextlib.ExitStack()
        if isinstance(audio, tuple):
            wave, self._source_rate = audio[0], int(audio[1])
            if isinstance(wave, Iterator):
                self.channels = 1
                self._blocks = (np.asarray(block, np.float32)[None] for block in wave)
            else:
                wave = np.asarray(wave, np.float32)
                wave = wave[None] if wave.ndim == 1 else wave.T
                self.channels = len(wave)
                if self.channels not in (1, 2, 6):
                    raise ValueError(f"a wave of {self.channels} channels; 1, 2 and 6 can be written")
                self._blocks = (wave[:, i : i + 65536] for i in range(0, wave.shape[1], 65536))
        else:
            container, stream = self._opened.enter_context(_open_sound(audio))
            self._source_rate = stream.codec_context.sample_rate
            self.channels = stream.codec_context.layout.nb_channels
        if self.channels not in (1, 2, 6):
            self.channels = 2
        self.layout = {1: "mono", 2: "stereo", 6: "5.1"}[self.channels]
        self.rate = min((r for r in _AAC_RATES if r >= self._source_rate), default=_AAC_RATES[-1])
        if not isinstance(audio, tuple):
            blocks = _sound_blocks(container, stream, self.layout, self._source_rate)
            first = next(blocks, None)
            if first is None:
                self.close()
                raise UserError(f"{audio}: its sound cannot be decoded; convert it to WAV and try again")
            self._blocks = itertools.chain([first], blocks)
        self._left = sys.maxsize if end is None else round(end * self.rate)
        self._pad = pad
        self._position = 0
        self._queue = self._encodable()

    def frames(self, until: float) -> Iterator[Any]:
        """The next frames, up to the one that holds second `until`."""
        while self._position <= until * self.rate:
            frame = next(self._queue, None)
            if frame is None:
                return
            self._position += frame.samples
            yield frame

    def cut(self, seconds):
        """No sound after this moment, or after what was taken already."""
        self._left = min(self._left, max(0, round(seconds * self.rate) - self._position))

    def close(self):
        self._opened.close()

    def _encodable(self):
        silence = itertools.repeat(np.zeros((self.channels, _AAC_FRAME), np.float32)) if self._pad else ()
        blocks = itertools.chain(self._resampled(), silence)
        pending = np.zeros((self.channels, 0), np.float32)
        position = 0
        while self._left > 0:
            block = next(blocks, None) if pending.shape[1] < min(_AAC_FRAME, self._left) else pending[:, :0]
            if block is None and not pending.shape[1]:
                return
            if block is not None:
                pending = np.concatenate([pending, block], axis=1)
                if pending.shape[1] < min(_AAC_FRAME, self._left):
                    continue
            samples = pending[:, : min(_AAC_FRAME, self._left)]
            pending = pending[:, samples.shape[1] :]
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), "fltp", self.layout)
            frame.sample_rate, frame.time_base, frame.pts = self.rate, Fraction(1, self.rate), position
            position += samples.shape[1]
            self._left -= samples.shape[1]
            yield frame

    def _resampled(self):
        if self._source_rate == self.rate:
            yield from self._blocks
            return
        resampler = av.AudioResampler("fltp", self.layout, self.rate)
        position = 0
        for block in self._blocks:
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), "fltp", self.layout)
            frame.sample_rate, frame.time_base = self._source_rate, Fraction(1, self._source_rate)
            frame.pts = position
            position += block.shape[1]
            yield from (out.to_ndarray() for out in resampler.resample(frame))
        yield from (out.to_ndarray() for out in resampler.resample(None))


@contextlib.contextmanager
def _open_sound(path) -> Iterator[tuple[Any, Any]]:
    try:
        container = av.open(f"file:{os.fspath(path)}", container_options=_LOCAL, metadata_errors="ignore")
    except (av.error.FFmpegError, OSError) as error:
        what = "no such file; check the name" if isinstance(error, FileNotFoundError) else None
        raise UserError(f"{path}: {what or 'holds no sound that can be read; convert it to WAV'}") from None
    with container:
        if not container.streams.audio:
            raise UserError(f"{path}: has no sound; name a file with an audio track")
        yield container, container.streams.best("audio")  # the one that `audio.load_audio` hears


def _sound_blocks(container, stream, layout, rate) -> Iterator[np.ndarray]:
    """Float blocks (channels, n) that follow on each other from time 0 of the container's clock."""
    origin, position, started = _origin(container, stream), 0, False
    resampler, setup = None, None
    for frame in _decoded(container, stream):
        if frame is None:
            continue
        if setup != (frame.format.name, frame.layout.name, frame.sample_rate):  # may change in mid-stream
            setup = (frame.format.name, frame.layout.name, frame.sample_rate)
            resampler = av.AudioResampler("fltp", layout, rate)
        time = None if frame.pts is None else float(frame.pts * frame.time_base - origin)
        frame.pts = None  # the resampler is to count samples only
        for out in resampler.resample(frame):
            block = out.to_ndarray()
            missing = 0 if time is None else round(time * rate) - position
            time = None
            if started and abs(missing) <= 0.05 * rate:
                missing = 0
            started = True
            while missing > 0:
                silence = np.zeros((len(block), min(missing, rate)), np.float32)
                missing -= silence.shape[1]
                position += silence.shape[1]
                yield silence
            block = block[:, -missing:] if missing else block
            position += block.shape[1]
            if block.shape[1]:
                yield block
