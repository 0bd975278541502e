"""Media files opened by PyAV: their streams, clock and places to seek to."""

import contextlib
import os
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
import av.logging
import numpy as np

from ..utils.errors import UserError

av.logging.set_level(None)  # what goes wrong is raised, or mended here
# Play lists reach nothing but files. (Not `options`, which also go to the streams: PyAV before 18 may crash on those.)
LOCAL_ONLY = {"protocol_whitelist": "file"}
UNREADABLE = "its picture cannot be decoded; is the file damaged? Convert it to MP4 (H.264) and try again"


@contextlib.contextmanager
def open_media(path) -> Iterator[tuple[Any, Any]]:
    """The container and its video stream."""
    try:
        # "file:" so that no name is taken for an address
        container = av.open(f"file:{os.fspath(path)}", container_options=LOCAL_ONLY, metadata_errors="ignore")
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


def clock_origin(container, stream) -> Fraction:
    """The container's start time, in seconds of its streams' time stamps."""
    if container.start_time is not None:
        return Fraction(container.start_time, av.time_base)
    return (stream.start_time or 0) * stream.time_base


def frame_rate(stream) -> float:
    for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate):
        if rate and 0 < rate <= 1000:
            return float(rate)
    return 25.0


def pixel_aspect_ratio(stream) -> Fraction:
    for ratio in (stream.sample_aspect_ratio, stream.codec_context.sample_aspect_ratio):
        if ratio and ratio > 0:
            return Fraction(ratio)
    return Fraction(1)


def end_of_frames(path, container, stream, fps: float) -> float:
    """The end of the last frame, in seconds on the container's clock."""
    origin = clock_origin(container, stream)
    if stream.duration:
        return float(((stream.start_time or 0) + stream.duration) * stream.time_base - origin)
    if container.duration and not container.streams.audio:
        return container.duration / av.time_base
    end = 0.0  # not said anywhere, or of the audio: look through all packets, which needs no decoding
    with open_media(path) as (again, video_stream), contextlib.suppress(av.error.FFmpegError):
        for packet in again.demux(video_stream):
            if packet.pts is not None:
                length = (packet.duration or 0) * packet.time_base or Fraction(1 / fps)
                end = max(end, float(packet.pts * packet.time_base + length - origin))
            elif packet.size:
                end += 1 / fps
    return end


@contextlib.contextmanager
def open_at(path, seconds: float) -> Iterator[tuple[Any, Any]]:
    """`open_media`, at a keyframe shown at or before `seconds`; at the beginning where the format cannot do better."""
    with open_media(path) as (container, stream):
        if seconds <= 0 or _seek(container, stream, seconds):
            yield container, stream
            return
    with open_media(path) as opened:  # seeking to time 0 would miss the first frames of some formats
        yield opened


def _seek(container, stream, seconds: float) -> bool:
    origin = clock_origin(container, stream)
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


def timed_frames(path, container, stream) -> Iterator[tuple[float, float | None, Any]]:
    """Decode from where the container stands: (time, own duration if known, av.VideoFrame), times rising.

    Nothing comes before the first complete frame: a cut that starts between keyframes gives grey smears.
    """
    origin, step = clock_origin(container, stream), 1 / frame_rate(stream)
    last, shift, broken = None, 0.0, 0
    for frame in decoded_frames(container, stream):
        if frame is None or frame.is_corrupt:
            broken += last is not None
            continue
        if last is None and not (frame.key_frame or int(frame.pict_type) in (0, 1)):  # neither unknown nor intra
            continue
        if broken:
            break
        stamp = frame.pts if frame.pts is not None else frame.dts
        if stamp is not None:
            time = float(stamp * frame.time_base - origin) + shift
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
        yield time, float(frame.duration * frame.time_base) if frame.duration else None, frame
        last = time
    if broken > 2 or (broken and frame is not None and not frame.is_corrupt):
        # Up to two broken frames at the very end are those of a recording switched off, and left out.
        raise UserError(
            f"{path}: its picture breaks at {last + step:.2f} s, the file is damaged there; "
            "copy it again, or cut the part before and use that"
        )


def decoded_frames(container, stream) -> Iterator[Any]:
    """Frames in order, and None for a packet that cannot be read or decoded."""
    packets, errors = container.demux(stream), 0
    while errors < 300:
        try:
            packet = next(packets, None)
            if packet is None:
                return
            frames = packet.decode()
        except av.error.EOFError:
            return
        except av.error.FFmpegError:
            errors += 1
            frames = [None]
        yield from frames


def upright_turn(frame) -> tuple[bool, tuple[int, ...]]:
    """How to turn a frame upright: whether to transpose it, then the axes to flip.

    The display matrix (ISO/IEC 14496-12, 6.2.2) takes a pixel (x, y) to (a x + c y, b x + d y); it is taken for the
    nearest of the eight turns and mirrorings.
    """
    for i in range(len(frame.side_data)):
        data = frame.side_data[i]
        if data.type.name == "DISPLAYMATRIX":
            a, b, _, c, d = np.frombuffer(bytes(data), np.int32, 5)
            if abs(int(a)) + abs(int(d)) >= abs(int(b)) + abs(int(c)):
                return False, tuple(axis for axis, sign in ((0, d), (1, a)) if sign < 0)
            return True, tuple(axis for axis, sign in ((0, b), (1, c)) if sign < 0)
    return False, ()
