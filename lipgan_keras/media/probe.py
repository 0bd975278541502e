"""What a file is: the content decides, not the name."""

import itertools
import os
import struct
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from ..utils import files
from ..utils.errors import UserError
from ..utils.files import regular
from . import demux
from .image_file import HEIC, is_animated, read_still, webp_frames

STILL_SECONDS = 1 / 25  # how long the one frame of a still lasts
KEYFRAMES = 24  # that are looked at for their size
_GROWING = {"matroska", "webm", "ivf", "flv", "mpegts"}  # formats in which pictures change their size


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


def probe(path: str | os.PathLike) -> VideoInfo:
    """Say what a file holds. The content decides, not the name; the first frame is decoded.

    Raises:
        UserError: no such file, a folder, an empty or a text file, no image in it, cut off, or damaged.
    """
    kind = file_kind(path)
    if kind == "still":
        height, width = read_still(path).shape[:2]
        return VideoInfo(width, height, 1 / STILL_SECONDS, STILL_SECONDS, True, False, Fraction(1))
    if kind == "webp":
        frames = [(time, duration) for time, duration, _ in webp_frames(path)]
        height, width = next(webp_frames(path))[2].shape[:2]
        end = sum(frames[-1])
        return VideoInfo(width, height, len(frames) / end, end, False, False, Fraction(1))
    with demux.open_media(path) as (container, stream):
        first = next(demux.timed_frames(path, container, stream), None)
        if first is None:
            raise UserError(f"{path}: {demux.UNREADABLE}")
        height, width = largest(path, container) or _upright(first[2])
        ratio = demux.pixel_aspect_ratio(stream)
        if demux.upright_turn(first[2])[0]:
            ratio = 1 / ratio
        fps = demux.frame_rate(stream)
        duration = demux.end_of_frames(path, container, stream)
        return VideoInfo(width, height, fps, duration, False, bool(container.streams.audio), ratio)


def largest(path, container) -> tuple[int, int] | None:
    """(height, width) as displayed of the largest of `KEYFRAMES` frames spread over a video, of the formats in which
    calls are recorded, whose pictures grow and shrink with the line. None: another format.
    """
    if not _GROWING & set(container.format.name.split(",")):
        return None
    return _largest(path)


@files.known_by_file
def _largest(path):
    with demux.open_media(path) as (container, keyframes):
        keyframes.codec_context.skip_frame = "NONKEY"
        return max(map(_upright, _spread(path, container, keyframes)), key=np.prod, default=None)


def _spread(path, container, stream):
    """Keyframes: the first ones, and then some all over the video."""
    found = demux.timed_frames(path, container, stream, [])
    for _, _, frame in itertools.islice(found, KEYFRAMES):
        yield frame
    if next(found, None) is None or not container.duration:
        return
    for moment in np.linspace(0, container.duration / 1e6, KEYFRAMES, endpoint=False)[1:]:
        with demux.open_at(path, float(moment)) as (again, keyframes):
            keyframes.codec_context.skip_frame = "NONKEY"
            for _, _, frame in itertools.islice(demux.timed_frames(path, again, keyframes, []), 1):
                yield frame


def _upright(frame):
    return (frame.width, frame.height) if demux.upright_turn(frame)[0] else (frame.height, frame.width)


def file_kind(path) -> str:
    """ "still", "webp" (an animated WebP, which PyAV cannot read) or "video"; refuses what cannot be any of them."""
    path = Path(path)
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:  # on which OpenCV crashes
        raise UserError(f"{path}: its name is not UTF-8; rename it") from None
    if path.is_dir():
        raise UserError(f"{path}: is a folder; name a picture or a video file")
    try:
        with open(regular(path), "rb") as file:
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
        return "video" if is_animated(path) else "still"
    if head[:8] == b"\x89PNG\r\n\x1a\n" and is_animated(path):
        return "video"
    if head[4:8] == b"ftyp" and b"avis" in head[8:64]:  # an AVIF sequence
        return "video"
    if cv2.haveImageReader(str(path)):
        return "still"
    if head[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1"):
        if HEIC:
            return "still"
        raise UserError(
            f"{path}: is a HEIC picture, which needs a package more: pip install pillow-heif; or convert it to JPEG"
        )
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
