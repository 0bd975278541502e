"""The picture of media files: its stream, the places to seek to, and its frames with their times."""

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
import numpy as np

from ..utils.errors import UserError
from .clock import Clock
from .container import MOST_PIXELS, open_container

UNREADABLE = "its picture cannot be decoded; is the file damaged? Convert it to MP4 (H.264) and try again"
_AT_THE_END = 2  # broken frames at the very end are those of a recording switched off
_NEAR_THE_END = 2.0  # seconds before the end that a file declares, in which there is to be a packet
_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # decoders that see the second, hidden picture


@contextlib.contextmanager
def open_media(path) -> Iterator[tuple[Any, Any]]:
    """The container and its video stream."""
    with open_container(path, wanted="a picture or a video") as container:
        cover = 0x400  # AV_DISPOSITION_ATTACHED_PIC, of an album
        streams = [s for s in container.streams.video if not s.disposition.value & cover]
        if not streams:
            found = "sound only" if container.streams.audio else "no picture stream"
            raise UserError(f"{path}: holds {found}; name a picture or a video file")
        streams = [s for s in streams if s.codec_context is not None]
        if not streams:
            raise UserError(f"{path}: its picture is coded in a way unknown here; convert it to MP4 (H.264)")
        stream = max(streams, key=lambda s: s.width * s.height)
        if stream.width * stream.height > MOST_PIXELS:
            raise UserError(
                f"{path}: is {stream.width}x{stream.height} pixels, more than are read here; make it smaller"
            )
        stream.codec_context.options = {"max_pixels": str(MOST_PIXELS)}  # of frames that are larger than is said
        stream.thread_type = "AUTO"
        yield container, stream


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


def end_of_frames(path, container, stream) -> float:
    """The end of the last frame, in seconds on the file's clock."""
    clock = Clock(path, container)
    if clock.joined:
        return clock.end
    declared = None
    if stream.duration:
        declared = float(clock.seconds((stream.start_time or 0) + stream.duration, stream.time_base))
    elif container.duration and not container.streams.audio:
        declared = container.duration / av.time_base
    if declared is not None and _is_near(path, declared):
        return declared
    # Not said anywhere, or of the audio, or wrong
    return max((until for _, until in _packet_times(path)), default=0.0)


def last_before(path, seconds: float) -> float | None:
    """The time of the last packet before that second; None: there is none. Reads the file, and decodes nothing."""
    return max((begin for begin, _ in _packet_times(path) if begin < seconds), default=None)


def _packet_times(path) -> Iterator[tuple[float, float]]:
    """From when until when, in seconds, each packet of the picture is shown. Those without a time follow the others."""
    end = 0.0
    with open_media(path) as (container, stream), contextlib.suppress(av.error.FFmpegError):
        clock, step = Clock(path, container), Fraction(1 / frame_rate(stream))
        for packet in container.demux(stream):
            clock.mend(packet)
            if packet.pts is not None:
                begin = clock.seconds(packet.pts, packet.time_base)
                length = (packet.duration or 0) * packet.time_base or step
                yield float(begin), float(begin + length)
                end = max(end, float(begin + length))
            elif packet.size:
                yield end, end + float(step)
                end += float(step)


def _is_near(path, end: float) -> bool:
    """Whether there is a frame shortly before that second. A header may say any number."""
    with open_media(path) as (container, stream):
        if "mp4" in container.format.name:  # its index lists every frame
            return True
        clock = Clock(path, container)
        try:
            container.seek(clock.stamp(max(0.0, end - _NEAR_THE_END), stream.time_base), stream=stream)
            last = max((p.pts for p in container.demux(stream) if p.pts is not None), default=None)
        except av.error.FFmpegError:
            return False
        return last is not None and float(clock.seconds(last, stream.time_base)) > end - _NEAR_THE_END


@contextlib.contextmanager
def open_at(path, seconds: float) -> Iterator[tuple[Any, Any]]:
    """`open_media`, at a keyframe shown at or before `seconds`; at the beginning where the format cannot do better."""
    with open_media(path) as (container, stream):
        clock = Clock(path, container)
        if seconds <= 0 or (not clock.joined and _seek(container, stream, seconds, clock)):
            yield container, stream
            return
    with open_media(path) as opened:  # seeking to time 0 would miss the first frames of some formats
        yield opened


def _seek(container, stream, seconds: float, clock: Clock) -> bool:
    # In a program stream not every frame has a time stamp; after a seek it takes a while until all are right.
    for back in (2, 4, 16) if container.format.name == "mpeg" else (0, 1, 4, 16):
        if back >= seconds:
            break
        offset = clock.stamp(seconds - back, stream.time_base)
        try:
            container.seek(offset, stream=stream)
            # Seeking goes by decoding time or by guess: see where it got.
            packets = (p for p in container.demux(stream) if p.is_keyframe and p.pts is not None)
            packet = next(packets, None)
            if packet is not None and clock.seconds(packet.pts, packet.time_base) <= seconds:
                container.seek(offset, stream=stream)
                return True
        except av.error.FFmpegError:
            break
    return False


def timed_frames(
    path, container, stream, damage: list[tuple[float, float]] | None = None
) -> Iterator[tuple[float, float | None, Any]]:
    """Decode from where the container stands: (time, own duration if known, av.VideoFrame), times rising.

    Nothing comes before the first keyframe: a cut that starts between keyframes gives grey smears. The keyframe itself
    need not be shown: an edit list may begin after it.

    Args:
        damage: is given (from, to), in seconds, of each part of which the frames are broken; what is whole goes on at
            the next keyframe. None: the first such part is an error.

    Raises:
        UserError: without `damage`, with the second at which the picture breaks.
    """
    clock, step = Clock(path, container), 1 / frame_rate(stream)
    last, shift, broken, frame = None, 0.0, 0, None
    for frame, keyframe in decoded_frames(container, stream, clock):
        if frame is None or frame.is_corrupt:
            broken += last is not None
            continue
        intra = frame.key_frame or int(frame.pict_type) in (0, 1)  # unknown, or intra
        if last is None and not intra and (keyframe is None or frame.pts is None or frame.pts < keyframe):
            continue
        time, shift = _time(clock, frame, last, shift, step)
        if broken:
            if damage is None:
                break
            if not frame.key_frame:  # what goes on from a broken frame is smeared
                broken += 1
                continue
            damage.append((last + step, time))
            broken = 0
        yield time, float(frame.duration * frame.time_base) if frame.duration else None, frame
        last = time
    if broken > _AT_THE_END or (broken and frame is not None and not frame.is_corrupt):
        if damage is None:
            raise UserError(
                f"{path}: its picture breaks at {last + step:.2f} s, the file is damaged there; "
                "copy it again, or cut the part before and use that"
            )
        damage.append((last + step, last + step * (1 + broken)))


def _time(clock, frame, last, shift, step):
    """Seconds on the file's clock, later than the frame before, and by how much that clock is shifted from now on."""
    stamp = frame.pts if frame.pts is not None else frame.dts
    if stamp is None:
        return (0.0 if last is None else last + step), shift
    time = float(clock.seconds(stamp, frame.time_base)) + shift
    if last is None or time > last:
        return time, shift
    if last - time > clock.BACK:  # the picture alone starts anew: go on from here
        return last + step, shift + last + step - time
    return last + 0.001, shift


def decoded_frames(container, stream, clock: Clock) -> Iterator[tuple[Any, int | None]]:
    """Frames in order, None for a packet that cannot be read or decoded; and the time stamp of the first keyframe's
    packet.
    """
    packets, errors, key = container.demux(stream), 0, None
    decoder = _decoder(stream)
    while errors < 300:
        try:
            packet = next(packets, None)
            if packet is None:
                return
            clock.mend(packet)
            if key is None and packet.is_keyframe:
                key = packet.pts
            frames = decoder(packet)
        except av.error.EOFError:
            return
        except av.error.FFmpegError:
            errors += 1
            frames = [None]
        for frame in frames:
            yield frame, key


def _decoder(stream):
    """What makes frames of a packet. FFmpeg's own decoders of VP8 and VP9 do not see alpha."""
    name = _ALPHA.get(stream.codec_context.name) if stream.type == "video" else None
    if name not in av.codecs_available or stream.metadata.get("alpha_mode") != "1":
        return lambda packet: packet.decode()
    context = av.CodecContext.create(name, "r")
    context.extradata = stream.codec_context.extradata
    context.options = {"max_pixels": str(MOST_PIXELS)}

    def decode(packet):
        frames = context.decode(packet if packet.size else None)
        for frame in frames:
            if frame.time_base is None:
                frame.time_base = stream.time_base
        return frames

    return decode


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
