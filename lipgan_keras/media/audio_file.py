"""Audio files: anything that PyAV decodes as 16 kHz mono, and WAV and FLAC out."""

import io
import math
import os
import wave as wave_file

import av
import av.logging
import librosa
import numpy as np

from ..config import SAMPLE_RATE
from ..utils.errors import UserError
from ..utils.files import regular, replacing

_LONGEST_PADDING = 0.15  # seconds; AAC fills up its last frame, and only MP4 says where the audio ends in it
_LARGEST_GAP = 0.05  # seconds; smaller deviations of a stream's timestamps are rounding or jitter, not silence

# Errors reach the user as one UserError line. Any level but None lets decoder threads wait for the lock of Python that
# the thread that closes the file holds, for ever.
av.logging.set_level(None)


def load_audio(
    path: str | os.PathLike, max_seconds: float | None = None, data: bytes | memoryview | None = None
) -> np.ndarray:
    """Decode the audio of a media file on the container's clock.

    Sample 0 is the container's start (the start of its earliest stream): sound that starts later is preceded by
    silence, and gaps of over 50 ms in the stream's timestamps become silence. Channels are averaged.

    Args:
        path: any audio or video file that PyAV decodes.
        max_seconds: stop after this many seconds.
        data: its bytes, where there is no such file; `path` is its name then.

    Returns:
        float32 (n,), 16 kHz mono in [-1, 1].

    Raises:
        UserError: no such file, not a media file, no audio stream in it, or no audio could be decoded.
    """
    limit = math.inf if max_seconds is None else max_seconds
    pieces = []  # [start in seconds, sample rate, mono chunks, number of samples], each piece without gaps
    with _open(path, data) as container:
        stream = container.streams.best("audio")
        if stream is None:
            raise UserError(f"{path}: has no audio stream; give a file with sound")
        if stream.codec_context is None:
            raise UserError(f"{path}: its sound is coded in a way unknown here; convert it to WAV or MP4 (AAC)")
        stream.thread_type = "AUTO"
        if container.start_time is not None:
            origin = container.start_time / av.time_base
        else:
            origin = float((stream.start_time or 0) * stream.time_base)
        declared = math.inf
        if "mp4" in container.format.name and stream.duration:
            declared = float(((stream.start_time or 0) + stream.duration) * stream.time_base) - origin
        for frame in _decode(container, stream):
            end = pieces[-1][0] + pieces[-1][3] / pieces[-1][1] if pieces else 0.0
            start = end if frame.pts is None else float(frame.pts * frame.time_base) - origin
            if start >= limit:
                break
            if not pieces or abs(start - end) > _LARGEST_GAP or frame.sample_rate != pieces[-1][1]:
                pieces.append([start, frame.sample_rate, [], 0])
            chunk = _mono(frame)
            pieces[-1][2].append(chunk)
            pieces[-1][3] += len(chunk)

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


def _open(path, data):
    if data is None and not os.path.isfile(regular(path)):
        raise UserError(f"{path}: no such file; check the path")
    try:
        # "file:" and the whitelist: names with colons are files, and no playlist reaches the network. (The whitelist is
        # not given as `options`, which also go to the streams: PyAV before 18 may crash on those.)
        local = {"protocol_whitelist": "file"}
        source = f"file:{os.fspath(path)}" if data is None else io.BytesIO(data)
        return av.open(source, container_options=local, metadata_errors="replace")
    except OSError as error:
        if isinstance(error, PermissionError):
            raise UserError(f"{path}: may not be read; check its permissions") from error
        raise UserError(f"{path}: is not an audio or video file; give a file with sound") from error
    except av.error.FFmpegError as error:
        raise UserError(f"{path}: is not an audio or video file; give a file with sound") from error


def _decode(container, stream):
    """Frames of one stream; damaged packets are passed over, and a damaged end ends it."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
            if packet is None:
                return
        except av.error.FFmpegError:
            return
        try:
            yield from packet.decode()
        except av.error.FFmpegError:
            continue


def _mono(frame: av.AudioFrame) -> np.ndarray:
    samples = frame.to_ndarray()  # (channels, n), or (1, n * channels) where the format is packed
    if not frame.format.is_planar:
        samples = samples.reshape(-1, len(frame.layout.channels)).T
    if samples.dtype == np.uint8:
        samples = (samples.astype(np.float32) - 128) / 128
    elif np.issubdtype(samples.dtype, np.integer):
        samples = samples / np.float32(-float(np.iinfo(samples.dtype).min))
    return np.nan_to_num(samples.astype(np.float32).mean(axis=0), posinf=1, neginf=-1)


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
    with _open(path, None) as source, av.open(file, "w", format="flac") as container:
        stream = source.streams.best("audio")
        if stream is None or stream.codec_context is None or stream.format.name not in ("s16", "s16p"):
            return None
        output = container.add_stream("flac", stream.rate, layout=stream.layout.name)
        output.format = "s16"
        try:
            for frame in _decode(source, stream):
                frame.pts = None
                container.mux(output.encode(frame))
            container.mux(output.encode(None))
        except av.error.FFmpegError:  # more channels than FLAC has
            return None
    return file.getvalue()
