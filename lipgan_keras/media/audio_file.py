"""Audio files: anything that PyAV decodes as 16 kHz mono, and WAV and FLAC out."""

import io
import math
import os
import wave as wave_file

import av
import librosa
import numpy as np

from ..config import SAMPLE_RATE
from ..utils.errors import UserError
from ..utils.files import regular, replacing
from ..utils.terminal import say
from . import downmix
from .clock import Clock
from .container import open_container
from .demux import decoded_frames

_LONGEST_PADDING = 0.15  # seconds; AAC fills up its last frame, and only MP4 says where the audio ends in it
_LARGEST_GAP = 0.05  # seconds; smaller deviations of a stream's timestamps are rounding or jitter, not silence
LONGEST = 4 * 3600  # seconds of sound that are held at once; a file may declare any time


def load_audio(
    path: str | os.PathLike, max_seconds: float | None = None, data: bytes | memoryview | None = None
) -> np.ndarray:
    """Decode the audio of a media file on the container's clock.

    Sample 0 is the container's start (the start of its earliest stream): sound that starts later is preceded by
    silence, and gaps of over 50 ms in the stream's timestamps become silence. Channels are averaged; where they cancel
    each other, one is heard, and a line on standard error says so.

    Args:
        path: any audio or video file that PyAV decodes.
        max_seconds: stop after this many seconds.
        data: its bytes, where there is no such file; `path` is its name then.

    Returns:
        float32 (n,), 16 kHz mono in [-1, 1].

    Raises:
        UserError: no such file, not a media file, no audio stream in it, or no audio could be decoded.
    """
    pieces, declared, meter = _pieces(path, data, max_seconds, None)
    if meter.channel is not None:
        say(meter.note(path), error=True)
        pieces, declared, _ = _pieces(path, data, max_seconds, meter.channel)
    sound = [(round(start * SAMPLE_RATE), _resample(np.concatenate(chunks), rate)) for start, rate, chunks, _ in pieces]
    length = max((first + len(piece) for first, piece in sound), default=0)
    if length <= 0:
        raise UserError(f"{path}: no sound could be decoded from its audio stream; give another file")
    if 0 < length / SAMPLE_RATE - declared < _LONGEST_PADDING:
        length = max(1, round(declared * SAMPLE_RATE))
    if max_seconds is not None:
        length = min(length, round(max_seconds * SAMPLE_RATE))
    wave = np.zeros(length, np.float32)
    for first, piece in sound:
        piece = piece[max(0, -first) : max(0, length - first)]
        first = max(0, first)
        wave[first : first + len(piece)] = piece
    return wave


def _pieces(path, data, max_seconds, channel):
    """[[start in seconds, sample rate, mono chunks, number of samples]], each piece without gaps; the end that an MP4
    declares, in seconds; and a `ChannelMeter` that heard all of it.
    """
    limit = LONGEST if max_seconds is None else min(max_seconds, LONGEST)
    pieces, declared, meter = [], math.inf, downmix.ChannelMeter()
    with open_container(path, data, "a file with sound") as container:
        stream = container.streams.best("audio")
        if stream is None:
            raise UserError(f"{path}: has no audio stream; give a file with sound")
        if stream.codec_context is None:
            raise UserError(f"{path}: its sound is coded in a way unknown here; convert it to WAV or MP4 (AAC)")
        stream.thread_type = "AUTO"
        clock = Clock(path, container, data is not None)
        if "mp4" in container.format.name and stream.duration:
            declared = float(clock.seconds((stream.start_time or 0) + stream.duration, stream.time_base))
        for frame, _ in decoded_frames(container, stream, clock):
            if frame is None:  # damaged
                continue
            end = pieces[-1][0] + pieces[-1][3] / pieces[-1][1] if pieces else 0.0
            start = end if frame.pts is None else float(clock.seconds(frame.pts, frame.time_base))
            if start >= limit:
                if max_seconds is None:
                    raise UserError(f"{path}: lasts longer than {LONGEST / 3600:g} hours; cut it into parts")
                break
            if not pieces or abs(start - end) > _LARGEST_GAP or frame.sample_rate != pieces[-1][1]:
                pieces.append([start, frame.sample_rate, [], 0])
            channels = _channels(frame)
            meter.add(channels)
            chunk = np.nan_to_num(downmix.mono(channels, channel), posinf=1, neginf=-1)
            pieces[-1][2].append(chunk)
            pieces[-1][3] += len(chunk)
    return pieces, declared, meter


def _channels(frame: av.AudioFrame) -> np.ndarray:
    """(channels, n) float32."""
    samples = frame.to_ndarray()  # (channels, n), or (1, n * channels) where the format is packed
    if not frame.format.is_planar:
        samples = samples.reshape(-1, len(frame.layout.channels)).T
    if samples.dtype == np.uint8:
        samples = (samples.astype(np.float32) - 128) / 128
    elif np.issubdtype(samples.dtype, np.integer):
        samples = samples / np.float32(-float(np.iinfo(samples.dtype).min))
    return samples.astype(np.float32)


def _resample(wave: np.ndarray, rate: int) -> np.ndarray:
    if rate != SAMPLE_RATE:
        wave = librosa.resample(wave, orig_sr=rate, target_sr=SAMPLE_RATE, res_type="soxr_hq")
    return np.clip(wave, -1, 1).astype(np.float32)


def save_wav(path: str | os.PathLike, wave: np.ndarray, sample_rate: int = SAMPLE_RATE) -> None:
    """Write mono float samples in [-1, 1] as a 16-bit PCM WAV file.

    Raises:
        UserError: the folder cannot be written to.
    """
    samples = np.clip(np.rint(np.asarray(wave, np.float64) * 32768), -32768, 32767).astype("<i2")
    with replacing(path) as temporary, wave_file.open(str(temporary), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(samples.tobytes())


def pcm(path: str | os.PathLike) -> np.ndarray | None:
    """The samples of a file of `save_wav` (16 kHz, mono, 16 bit) where they lie in it, memory-mapped: int16 (n,), those
    of `load_audio` times 32768. None: it is of another kind, or there are none.
    """
    try:
        with open(regular(path), "rb") as file, wave_file.open(file) as header:
            kind = header.getnchannels(), header.getsampwidth(), header.getframerate()
            if kind == (1, 2, SAMPLE_RATE) and header.getnframes():
                return np.memmap(path, "<i2", "r", file.tell(), (header.getnframes(),))
    except (OSError, EOFError, ValueError, wave_file.Error):
        pass
    return None


def flac(path: str | os.PathLike) -> bytes | None:
    """A sound file of 16-bit samples as a FLAC file, without loss, at its own rate; None: it cannot be one.

    Raises:
        UserError: see `load_audio`.
    """
    file = io.BytesIO()
    with open_container(path) as source, av.open(file, "w", format="flac") as container:
        stream = source.streams.best("audio")
        if stream is None or stream.codec_context is None or stream.format.name not in ("s16", "s16p"):
            return None
        output = container.add_stream("flac", stream.rate, layout=stream.layout.name)
        output.format = "s16"
        try:
            for frame, _ in decoded_frames(source, stream, Clock(path, source)):
                if frame is None:
                    continue
                frame.pts = None
                container.mux(output.encode(frame))
            container.mux(output.encode(None))
        except av.error.FFmpegError:  # more channels than FLAC has
            return None
    return file.getvalue()
