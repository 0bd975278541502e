"""Sound: load anything that PyAV decodes as 16 kHz mono, and the two audio front ends of LipGAN.

Both front ends are the original's (K R et al. 2019), measured on its output: a mel spectrogram of 80 steps a second,
and HTK-style MFCC (The HTK Book 3.4, sections 5.2 to 5.6) of 100 steps a second. `window` cuts the piece that
belongs to a moment; preprocessing, training and inference all use it, so that they cannot disagree about time.
"""

import functools
import io
import math
import os
import wave as wave_file
from collections.abc import Callable, Sequence

import av
import av.logging
import librosa
import numpy as np
import scipy.fft
import scipy.sparse

from .cli import UserError, replacing

SAMPLE_RATE = 16000
WINDOW_SHAPE = {"mel": (80, 27), "mfcc": (12, 35)}
STEPS_PER_SECOND = {"mel": 80, "mfcc": 100}
FIRST_STEP_SECONDS = {"mel": 0.0, "mfcc": 0.0125}  # the centre of step 0

_PRE_EMPHASIS = 0.97
_MEL_FFT, _MEL_HOP = 800, 200
_MFCC_FRAME, _MFCC_SHIFT, _MFCC_FFT = 400, 160, 512
_LONGEST_PADDING = 0.15  # seconds; AAC fills up its last frame, and only MP4 says where the sound ends in it
_LARGEST_GAP = 0.05  # seconds; smaller deviations of a stream's timestamps are rounding or jitter, not silence

# Errors reach the user as one UserError line. Any level but None lets decoder threads wait for the lock of Python that
# the thread that closes the file holds, for ever.
av.logging.set_level(None)


def load_audio(
    path: str | os.PathLike, max_seconds: float | None = None, data: bytes | memoryview | None = None
) -> np.ndarray:
    """Decode the sound of a media file on the container's clock.

    Sample 0 is the container's start (the start of its earliest stream): sound that starts later is preceded by
    silence, and gaps of over 50 ms in the stream's timestamps become silence. Channels are averaged.

    Args:
        path: any audio or video file that PyAV decodes.
        max_seconds: stop after this many seconds.
        data: its bytes, where there is no such file; `path` is its name then.

    Returns:
        float32 (n,), 16 kHz mono in [-1, 1].

    Raises:
        UserError: no such file, not a media file, no audio stream in it, or no sound could be decoded.
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
    if data is None and not os.path.isfile(path):
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
        with open(path, "rb") as file, wave_file.open(file) as header:
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


def melspectrogram(wave: np.ndarray) -> np.ndarray:
    """Mel spectrogram in LipGAN's scale.

    Args:
        wave: (n,) 16 kHz mono in [-1, 1]; one shorter than a frame is continued with silence.

    Returns:
        float32 (80, T), T = 1 + n // 200, in [-4, 4]; step k is centred at 12.5 k ms. Digital silence is -4.
    """
    emphasised = _pre_emphasis(_at_least(wave, _MEL_FFT))
    spectrum = np.abs(librosa.stft(emphasised, n_fft=_MEL_FFT, hop_length=_MEL_HOP, pad_mode="reflect"))
    decibel = 20 * np.log10(np.maximum(1e-5, _mel_filters() @ spectrum)) - 20
    return np.clip(8 * (decibel + 100) / 100 - 4, -4, 4).astype(np.float32)


# What is needed besides the steps of a window, so that every step is a frame of the sound.
_BEFORE, _AFTER = _MEL_FFT // 2 + 1, _MEL_FFT // 2
_AT_ONCE = 768  # steps, so that what is between stays in the processor's cache
_BAND = 10  # filters that are applied together


def mel_steps(stretches: np.ndarray) -> np.ndarray:
    """Steps of `melspectrogram` before they are clipped, of many stretches of sound, in single precision.

    Args:
        stretches: (n, m) float32; m = 801 + 200 (k - 1): k frames of 800 samples, and one sample before them.

    Returns:
        float32 (n, 80, k). Sound that is louder by d decibel is 0.08 d more, from well below -4 on.
    """
    count, steps = len(stretches), (stretches.shape[1] - _MEL_FFT - 1) // _MEL_HOP + 1
    result = np.empty((count, 80, steps), np.float32)
    some = max(1, _AT_ONCE // steps)
    for i in range(0, count, some):
        emphasised = stretches[i : i + some, 1:] - np.float32(_PRE_EMPHASIS) * stretches[i : i + some, :-1]
        frames = np.lib.stride_tricks.sliding_window_view(emphasised, _MEL_FFT, axis=1)[:, ::_MEL_HOP]
        spectrum = np.abs(scipy.fft.rfft(frames * _mel_window())).reshape(-1, _MEL_FFT // 2 + 1)
        energy = np.empty((80, len(spectrum)), np.float32)
        for at, first, last, filters in _bands():
            np.matmul(filters, spectrum[:, first:last].T, out=energy[at : at + _BAND])
        np.maximum(energy, 1e-5, out=energy)
        np.log10(energy, out=energy)
        energy *= 1.6
        energy += 2.4  # 8 (20 log10(x) - 20 + 100) / 100 - 4
        result[i : i + some] = energy.reshape(80, -1, steps).transpose(1, 0, 2)
    return result


@functools.cache
def _mel_window():
    return librosa.filters.get_window("hann", _MEL_FFT, fftbins=True).astype(np.float32)


@functools.cache
def _bands() -> list[tuple]:
    """The filters in groups of _BAND:
    (number of the first, first and last frequency that they hear, (10, n) float32).
    """
    filters, bands = _mel_filters().toarray().astype(np.float32), []
    for at in range(0, 80, _BAND):
        heard = np.flatnonzero(filters[at : at + _BAND].any(axis=0))
        first, last = int(heard[0]), int(heard[-1]) + 1
        bands.append((at, first, last, np.ascontiguousarray(filters[at : at + _BAND, first:last])))
    return bands


@functools.cache
def _mel_filters() -> scipy.sparse.csr_array:
    """(80, 401). Sparse: 2 % of it is not 0, and BLAS's threads would get in the way of those that make batches."""
    filters = librosa.filters.mel(sr=SAMPLE_RATE, n_fft=_MEL_FFT, n_mels=80, fmin=55, fmax=7600)
    return scipy.sparse.csr_array(filters)


def mfcc(wave: np.ndarray) -> np.ndarray:
    """Mel-frequency cepstral coefficients 1 to 12, HTK style.

    Args:
        wave: (n,) 16 kHz mono in [-1, 1]; one shorter than a frame is continued with silence.

    Returns:
        float32 (12, T), T = 1 + (n - 400) // 160; step k is centred at 10 k + 12.5 ms. Always finite.
    """
    wave = _at_least(wave, _MFCC_FRAME)
    if np.abs(wave).max() <= 1:
        wave = wave * 2.0**15
    frames = librosa.util.frame(_pre_emphasis(wave), frame_length=_MFCC_FRAME, hop_length=_MFCC_SHIFT)  # (400, T)
    spectrum = np.abs(np.fft.rfft(frames * np.hamming(_MFCC_FRAME)[:, None], _MFCC_FFT, axis=0))
    energy = np.maximum(_htk_filters() @ spectrum, np.finfo(np.float64).eps)  # silence would be log(0)
    n = np.arange(1, 13)[:, None]
    cepstrum = scipy.fft.dct(np.log(energy), axis=0, norm="ortho")[1:13]
    return ((1 + 11 * np.sin(np.pi * n / 22)) * cepstrum).astype(np.float32)


@functools.cache
def _htk_filters() -> scipy.sparse.csr_array:
    """40 triangles of height 1, equally spaced on HTK's mel scale from 300 to 3700 Hz: (40, 257)."""
    mel = np.linspace(*(1127 * np.log(1 + np.array([300, 3700]) / 700)), 42)
    edges = 700 * (np.exp(mel / 1127) - 1)
    frequencies = np.linspace(0, SAMPLE_RATE / 2, _MFCC_FFT // 2 + 1)
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (frequencies - low) / (centre - low), (high - frequencies) / (high - centre)
    return scipy.sparse.csr_array(np.clip(np.minimum(rising, falling), 0, None))


def _pre_emphasis(wave: np.ndarray) -> np.ndarray:
    return np.append(wave[:1], wave[1:] - _PRE_EMPHASIS * wave[:-1])


def _at_least(wave: np.ndarray, samples: int) -> np.ndarray:
    wave = np.asarray(wave, np.float64)
    return np.pad(wave, (0, max(0, samples - len(wave))))


def features(wave: np.ndarray, kind: str) -> np.ndarray:
    """`melspectrogram(wave)` for kind "mel", `mfcc(wave)` for kind "mfcc"."""
    return {"mel": melspectrogram, "mfcc": mfcc}[kind](wave)


@functools.cache
def _silence(kind: str) -> np.ndarray:
    """The features of one step of digital silence, (80, 1) or (12, 1)."""
    return features(np.zeros(_MEL_FFT), kind)[:, :1]


def window(features: np.ndarray, seconds: float, kind: str) -> np.ndarray:
    """The features around one moment: what the network hears for a video frame whose middle is there.

    Args:
        features: (80, T) mel or (12, T) MFCC of the whole sound.
        seconds: the moment, on the sound's clock; may lie outside the sound.
        kind: "mel" or "mfcc".

    Returns:
        float32 (80, 27) or (12, 35); steps outside the sound are those of digital silence.
    """
    return windows(features, [seconds], kind)[0, :, :, 0]


def windows(features: np.ndarray, times, kind: str) -> np.ndarray:
    """`window` for each of N moments, as the network's input: float32 (N, 80, 27, 1) or (N, 12, 35, 1)."""
    rows, length = WINDOW_SHAPE[kind]
    if features.shape[0] != rows:
        raise ValueError(f"{kind} features have {rows} rows, these {features.shape[0]}")
    index = _first_step(times, kind)[:, None] + np.arange(length)  # (N, length)
    inside = (index >= 0) & (index < features.shape[1])
    heard = np.empty((rows, *index.shape), np.float32)
    heard[:] = _silence(kind)[:, :, None]
    heard[:, inside] = features[:, index[inside]]
    return np.ascontiguousarray(heard.transpose(1, 0, 2)[..., None])


def _first_step(times, kind: str) -> np.ndarray:
    """The first step of the window around each of N moments: int64 (N,)."""
    steps = STEPS_PER_SECOND[kind] * (np.asarray(times, np.float64).reshape(-1) - FIRST_STEP_SECONDS[kind])
    # Halves go up; 1e-6 so that a float error just under a half cannot choose the step.
    return np.floor(steps + 0.5 + 1e-6).astype(np.int64) - WINDOW_SHAPE[kind][1] // 2


def windows_of(
    wave: np.ndarray, times, kind: str, change: Callable[[np.ndarray], np.ndarray] | None = None
) -> np.ndarray:
    """`windows(features(wave, kind), times, kind)`, from only the stretch of the sound that the windows need.

    Args:
        wave: (n,) 16 kHz mono in [-1, 1].
        times: N moments, seconds; near one another, as all that lies between them is computed too.
        kind: "mel" or "mfcc".
        change: is given that stretch (m,), continued with zeros where it reaches beyond the sound, and returns what
            is to be heard instead, (m,) in [-1, 1]. Without it the ends of the sound are as in `features`: mirrored
            for "mel", and digital silence beyond.

    Returns:
        float32 (N, 80, 27, 1) or (N, 12, 35, 1).
    """
    times = np.asarray(times, np.float64).reshape(-1)
    first = _first_step(times, kind)
    if not len(first):
        return np.empty((0, *WINDOW_SHAPE[kind], 1), np.float32)
    hop = SAMPLE_RATE // STEPS_PER_SECOND[kind]
    # Whole steps, with so many to spare that the stretch's own ends are not heard (and that the first window lies
    # beyond the steps of a stretch that `features` had to lengthen).
    begin, end = hop * (int(first.min()) - 5), hop * (int(first.max()) + WINDOW_SHAPE[kind][1] + 2)
    stretch = wave[max(0, begin) : max(0, end)]
    if change is None:
        begin = max(0, begin)
    else:
        before = min(max(0, -begin), end - begin)
        stretch = change(np.pad(stretch, (before, end - begin - before - len(stretch))))
    return windows(features(stretch, kind), times - begin / SAMPLE_RATE, kind)


class MelBank:
    """A sound continued with silence, and its mel spectrogram before clipping: for `changed_windows`.

    The spectrogram is made where it is asked for, and in blocks, so that what is asked for before decides no bit of it.

    Args:
        wave: (n,) float32 in [-1, 1], or int16 of 32768 times that.
        level: root mean square of it in [-1, 1], if it is known.

    Attributes:
        level: root mean square.
        nbytes: memory that it takes in the end.
    """

    BLOCK = 32  # steps

    def __init__(self, wave: np.ndarray, level: float | None = None):
        self.wave = wave
        self.unit = np.float32(1 / 32768 if wave.dtype.kind == "i" else 1)
        if level is None:
            level = float(self.unit) * float(np.sqrt(np.mean(np.square(wave, dtype=np.float64)))) if len(wave) else 0.0
        self.level = level
        self.nbytes = self.wave.nbytes + 80 * 4 * (1 + len(wave) // _MEL_HOP + 2 * self.BLOCK)
        self._blocks = {}

    def stretch(self, first: int, out: np.ndarray) -> None:
        """Write the samples that the steps from `first` on are made of into zeros."""
        begin = _MEL_HOP * first - _BEFORE
        inside = self.wave[max(0, begin) : max(0, begin + len(out))]
        at = max(0, -begin)
        np.multiply(inside, self.unit, out=out[at : at + len(inside)])

    def is_louder_than(self, level: float, first: int, steps: int) -> bool:
        """Whether a sample that those steps are made of is above `level`."""
        begin = _MEL_HOP * first - _BEFORE
        inside = self.wave[max(0, begin) : max(0, begin + _length(steps))]
        return bool(len(inside)) and max(float(inside.max()), -float(inside.min())) * float(self.unit) > level

    def steps(self, first: int, out: np.ndarray) -> None:
        """Write the steps from `first` on into (80, k)."""
        last = first + out.shape[1]
        for number in range(first // self.BLOCK, -(-last // self.BLOCK)):
            start = number * self.BLOCK
            begin, end = max(first, start), min(last, start + self.BLOCK)
            out[:, begin - first : end - first] = self._block(number)[:, begin - start : end - start]

    def _block(self, number):
        if number not in self._blocks:
            stretch = np.zeros((1, _length(self.BLOCK)), np.float32)
            self.stretch(number * self.BLOCK, stretch[0])
            self._blocks[number] = mel_steps(stretch)[0]
        return self._blocks[number]


def _length(steps):
    """Samples that so many steps are made of, and the one before them."""
    return _MEL_HOP * (steps - 1) + _MEL_FFT + 1


def changed_windows(
    banks: Sequence[MelBank],
    times: np.ndarray,
    gains: Sequence[float],
    noisy: Sequence[bool],
    hear: Callable[[list[int], np.ndarray], np.ndarray],
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Mel windows of many sounds, each changed in its own way: what `windows_of` gives, at a fraction of the time.

    Args:
        banks: N sounds.
        times: (N, T), T moments of each, near one another.
        gains: N factors.
        noisy: of N, whether more is changed than the gain.
        hear: is given numbers k of sounds and a stretch of each, (k, m), and returns what is to be heard instead, the
            gain too.
        out: where to write the result.

    Returns:
        float32 (N, 80, 27, T).
    """
    count, frames = times.shape
    length = WINDOW_SHAPE["mel"][1]
    first = _first_step(times, "mel").reshape(count, frames)
    begin = first.min(axis=1, initial=first.max(initial=0))
    offsets = first - begin[:, None]
    span = int(offsets.max(initial=0)) + length
    steps = np.empty((count, 80, span), np.float32)
    changed = []
    for i, (bank, start, gain, more) in enumerate(zip(banks, begin.tolist(), gains, noisy, strict=True)):
        # What is only louder or softer is so in the logarithm too, unless it is clipped.
        if more or (gain > 1 and bank.is_louder_than(1 / gain, start, span)):
            changed.append(i)
        else:
            bank.steps(start, steps[i])
            steps[i] += np.float32(1.6 * math.log10(gain))
    for at in range(0, len(changed), 64):
        some = changed[at : at + 64]
        stretches = np.zeros((len(some), _length(span)), np.float32)
        for stretch, i in zip(stretches, some, strict=True):
            banks[i].stretch(int(begin[i]), stretch)
        steps[some] = mel_steps(hear(some, stretches))
    np.clip(steps, -4, 4, out=steps)
    heard = np.empty((count, 80, length, frames), np.float32) if out is None else out
    for t in range(frames):
        for offset in np.unique(offsets[:, t]).tolist():
            these = np.flatnonzero(offsets[:, t] == offset)
            heard[these, :, :, t] = steps[these, :, offset : offset + length]
    return heard


def window_centre(start: float, end: float, alignment: str, offset_ms: float = 0.0) -> float:
    """The moment on which to centre the window of a frame shown from `start` to `end` seconds.

    Args:
        start: when the frame appears, seconds.
        end: when the next one replaces it, seconds.
        alignment: "centred", the middle of the frame's time; or "released", what the inference of the released
            mel-spectrogram code does: its window starts at step int(80 start), so its middle is 13 steps later.
        offset_ms: added to it; positive hears a later piece of sound.
    """
    return float(window_centres(start, end, alignment, offset_ms))


def window_centres(starts: np.ndarray, ends: np.ndarray, alignment: str, offset_ms: float = 0.0) -> np.ndarray:
    """`window_centre` of many frames: arrays of one shape."""
    if alignment == "centred":
        centre = (np.asarray(starts) + ends) / 2
    elif alignment == "released":
        centre = (np.floor(STEPS_PER_SECOND["mel"] * np.asarray(starts) + 1e-6) + 13) / STEPS_PER_SECOND["mel"]
    else:
        raise ValueError(f'alignment is "centred" or "released", not {alignment!r}')
    return centre + offset_ms / 1000
