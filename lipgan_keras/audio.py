"""The two audio front ends of LipGAN. `media.audio_file` loads sounds.

Both front ends are the original's (K R et al. 2019), measured on its output: a mel spectrogram of 80 steps a second,
and HTK-style MFCC (The HTK Book 3.4, sections 5.2 to 5.6) of 100. `windows` cuts the pieces around moments, and
`WindowClock` says which moment is a frame's, for training, inference and evaluation alike.
"""

import dataclasses
import functools
from collections.abc import Callable

import librosa
import numpy as np
import scipy  # its parts are loaded when they are used

from .config import ALIGNMENTS, FIRST_STEP_SECONDS, SAMPLE_RATE, STEPS_PER_SECOND, WINDOW_SHAPE, ModelConfig

PRE_EMPHASIS = 0.97
MEL_FFT, MEL_HOP, MEL_HZ = 800, 200, (55, 7600)
RELEASED = {"released": 0.0, "released_training": 0.32}  # seconds before the frame that its window begins
MFCC_FRAME, MFCC_SHIFT, MFCC_FFT, MFCC_HZ = 400, 160, 512, (300, 3700)


def melspectrogram(wave: np.ndarray) -> np.ndarray:
    """Mel spectrogram in LipGAN's scale.

    Args:
        wave: (n,) 16 kHz mono in [-1, 1]; one shorter than a frame is continued with silence.

    Returns:
        float32 (80, T), T = 1 + n // 200, in [-4, 4]; step k is centred at 12.5 k ms. Digital silence is -4.
    """
    emphasised = _pre_emphasis(_at_least(wave, MEL_FFT))
    spectrum = np.abs(librosa.stft(emphasised, n_fft=MEL_FFT, hop_length=MEL_HOP, pad_mode="reflect"))
    decibel = 20 * np.log10(np.maximum(1e-5, mel_filters() @ spectrum)) - 20
    return np.clip(8 * (decibel + 100) / 100 - 4, -4, 4).astype(np.float32)


@functools.cache
def mel_filters() -> "scipy.sparse.csr_array":
    """(80, 401). Sparse: 2 % of it is not 0, and BLAS's threads would get in the way of those that make batches."""
    filters = librosa.filters.mel(sr=SAMPLE_RATE, n_fft=MEL_FFT, n_mels=80, fmin=MEL_HZ[0], fmax=MEL_HZ[1])
    return scipy.sparse.csr_array(filters)


def mfcc(wave: np.ndarray) -> np.ndarray:
    """Mel-frequency cepstral coefficients 1 to 12, HTK style.

    Args:
        wave: (n,) 16 kHz mono in [-1, 1]; one shorter than a frame is continued with silence.

    Returns:
        float32 (12, T), T = 1 + (n - 400) // 160; step k is centred at 10 k + 12.5 ms. Always finite.
    """
    wave = _at_least(wave, MFCC_FRAME)
    if np.abs(wave).max() <= 1:
        wave = wave * 2.0**15
    frames = librosa.util.frame(_pre_emphasis(wave), frame_length=MFCC_FRAME, hop_length=MFCC_SHIFT)  # (400, T)
    spectrum = np.abs(np.fft.rfft(frames * np.hamming(MFCC_FRAME)[:, None], MFCC_FFT, axis=0))
    energy = np.maximum(htk_filters() @ spectrum, np.finfo(np.float64).eps)  # silence would be log(0)
    n = np.arange(1, 13)[:, None]
    cepstrum = scipy.fft.dct(np.log(energy), axis=0, norm="ortho")[1:13]
    return ((1 + 11 * np.sin(np.pi * n / 22)) * cepstrum).astype(np.float32)


@functools.cache
def htk_filters() -> "scipy.sparse.csr_array":
    """40 triangles of height 1, equally spaced on HTK's mel scale from 300 to 3700 Hz: (40, 257)."""
    lowest, highest = 1127 * np.log(1 + np.array(MFCC_HZ) / 700)
    mel = np.linspace(lowest, highest, 42)
    edges = 700 * (np.exp(mel / 1127) - 1)
    frequencies = np.linspace(0, SAMPLE_RATE / 2, MFCC_FFT // 2 + 1)
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (frequencies - low) / (centre - low), (high - frequencies) / (high - centre)
    return scipy.sparse.csr_array(np.clip(np.minimum(rising, falling), 0, None))


def _pre_emphasis(wave: np.ndarray) -> np.ndarray:
    return np.append(wave[:1], wave[1:] - PRE_EMPHASIS * wave[:-1])


def _at_least(wave: np.ndarray, samples: int) -> np.ndarray:
    wave = np.asarray(wave, np.float64)
    return np.pad(wave, (0, max(0, samples - len(wave))))


def features(wave: np.ndarray, kind: str) -> np.ndarray:
    """`melspectrogram(wave)` for kind "mel", `mfcc(wave)` for kind "mfcc"."""
    return {"mel": melspectrogram, "mfcc": mfcc}[kind](wave)


@functools.cache
def _silence(kind: str) -> np.ndarray:
    """The features of one step of digital silence, (80, 1) or (12, 1)."""
    return features(np.zeros(MEL_FFT), kind)[:, :1]


def windows(features: np.ndarray, times, kind: str) -> np.ndarray:
    """The features around each of N moments: what the network hears for video frames whose middles are there.

    Args:
        features: (80, T) mel or (12, T) MFCC of the whole audio.
        times: N moments in seconds, on the audio's clock; they may lie outside it.
        kind: "mel" or "mfcc".

    Returns:
        float32 (N, 80, 27, 1) or (N, 12, 35, 1), as the network takes them; steps outside the audio are those of
        digital silence.
    """
    rows, length = WINDOW_SHAPE[kind]
    if features.shape[0] != rows:
        raise ValueError(f"{kind} features have {rows} rows, these {features.shape[0]}")
    index = first_step(times, kind)[:, None] + np.arange(length)  # (N, length)
    inside = (index >= 0) & (index < features.shape[1])
    heard = np.empty((rows, *index.shape), np.float32)
    heard[:] = _silence(kind)[:, :, None]
    heard[:, inside] = features[:, index[inside]]
    return np.ascontiguousarray(heard.transpose(1, 0, 2)[..., None])


def first_step(times, kind: str) -> np.ndarray:
    """The first step of the window around each of N moments: int64 (N,)."""
    steps = STEPS_PER_SECOND[kind] * (np.asarray(times, np.float64).reshape(-1) - FIRST_STEP_SECONDS[kind])
    # Halves go up; 1e-6 so that a float error just under a half cannot choose the step.
    return np.floor(steps + 0.5 + 1e-6).astype(np.int64) - WINDOW_SHAPE[kind][1] // 2


def windows_of(
    wave: np.ndarray, times, kind: str, change: Callable[[np.ndarray], np.ndarray] | None = None
) -> np.ndarray:
    """`windows(features(wave, kind), times, kind)`, from only the stretch of the audio that the windows need.

    Args:
        wave: (n,) 16 kHz mono in [-1, 1].
        times: N moments, seconds; near one another, as all that lies between them is computed too.
        kind: "mel" or "mfcc".
        change: is given that stretch (m,), continued with zeros where it reaches beyond the audio, and returns what
            is to be heard instead, (m,) in [-1, 1].

    Returns:
        float32 (N, 80, 27, 1) or (N, 12, 35, 1). At the ends of the audio they hold what `features` gives of it as it
        is after the change, and digital silence beyond: noise ends where the audio does, as in a noisy file.
    """
    times = np.asarray(times, np.float64).reshape(-1)
    first = first_step(times, kind)
    if not len(first):
        return np.empty((0, *WINDOW_SHAPE[kind], 1), np.float32)
    hop = SAMPLE_RATE // STEPS_PER_SECOND[kind]
    # Whole steps, with so many to spare that the stretch's own ends are not heard (and that the first window lies
    # beyond the steps of a stretch that `features` had to lengthen).
    begin, end = hop * (int(first.min()) - 5), hop * (int(first.max()) + WINDOW_SHAPE[kind][1] + 2)
    stretch = wave[max(0, begin) : max(0, end)]
    if change is not None:
        before = min(max(0, -begin), end - begin)
        after = end - begin - before - len(stretch)
        stretch = change(np.pad(stretch, (before, after)))[before : before + len(stretch)]
    return windows(features(stretch, kind), times - max(0, begin) / SAMPLE_RATE, kind)


@dataclasses.dataclass(frozen=True)
class WindowClock:
    """Says which piece of the audio a frame hears: all of training, inference and evaluation ask it.

    A window is centred on one moment of the frame's display time. Frames are given by arrays of one shape, or numbers,
    of seconds on the audio's clock: when each appears (`starts`) and when the next one replaces it (`ends`).

    Attributes:
        kind: front end, "mel" or "mfcc".
        alignment: "centred", the middle of the frame's time. "released", as the released mel code does in inference: a
            window starts at step int(80 start). "released_training", as in its training: 8 frames of 25 earlier.
        offset_ms: added to that moment, milliseconds; positive hears a later piece.
    """

    kind: str = "mel"
    alignment: str = "centred"
    offset_ms: float = 0.0

    @classmethod
    def of(cls, config: ModelConfig) -> "WindowClock":
        """The clock of a model's configuration."""
        return cls(config.audio, config.alignment, config.audio_offset_ms)

    def centres(self, starts: np.ndarray | float, ends: np.ndarray | float) -> np.ndarray:
        """The moment on which each frame's window is centred: seconds, float64, of the shape of `starts`.

        Raises:
            ValueError: there is no such alignment.
        """
        starts = np.asarray(starts, np.float64)
        if self.alignment == "centred":
            centres = (starts + ends) / 2
        elif self.alignment in RELEASED:
            begin = np.floor(STEPS_PER_SECOND["mel"] * (starts - RELEASED[self.alignment]) + 1e-6)
            centres = (begin + 13) / STEPS_PER_SECOND["mel"]
        else:
            raise ValueError(f"alignment is one of {ALIGNMENTS}, not {self.alignment!r}")
        return centres + self.offset_ms / 1000

    def windows(self, features: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """`windows` of N frames, from the features of the whole audio: float32 (N, 80, 27, 1) or (N, 12, 35, 1)."""
        return windows(features, self.centres(starts, ends), self.kind)

    def windows_of(self, wave: np.ndarray, starts: np.ndarray, ends: np.ndarray, change=None) -> np.ndarray:
        """`windows_of` N frames, from the waveform: float32 (N, 80, 27, 1) or (N, 12, 35, 1)."""
        return windows_of(wave, self.centres(starts, ends), self.kind, change)


def __getattr__(name):
    # The one thing that the core hands on from a wing, for people's scripts.
    if name == "load_audio":
        from .media.audio_file import load_audio

        return load_audio
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
