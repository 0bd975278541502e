"""Speech-like audio with a known mouth, synthesised after the source-filter model."""

import dataclasses
import math

import librosa
import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import fftconvolve

from ..config import SAMPLE_RATE

FPS = 25.0


_CONTROL = 80  # samples between two values of the synthesiser's controls: 5 ms
_FFT = 512


@dataclasses.dataclass(frozen=True)
class _Phone:
    opening: float  # target of the mouth aperture; below 0 presses the lips together
    width: float  # -1 rounded .. 1 spread
    seconds: tuple[float, float]  # shortest and longest duration
    voice: float = 0.0  # amplitude of the glottal source
    noise: float = 0.0  # amplitude of the friction noise
    centre: float = 4000.0  # of the noise, Hz
    bandwidth: float = 1000.0
    nasal: float = 0.0  # share of the sound that goes through the nose


_VOWELS = [
    _Phone(1.10, 0.00, (0.09, 0.24), voice=1.0),  # father
    _Phone(0.95, 0.45, (0.09, 0.22), voice=1.0),  # cat
    _Phone(0.65, 0.65, (0.08, 0.18), voice=1.0),  # bed
    _Phone(0.30, 1.00, (0.08, 0.22), voice=0.9),  # see
    _Phone(0.75, -0.60, (0.09, 0.22), voice=1.0),  # thought
    _Phone(0.30, -1.00, (0.08, 0.20), voice=0.9),  # boot
    _Phone(0.50, 0.00, (0.05, 0.10), voice=0.8),  # the
]
_CONSONANTS = [
    [_Phone(-0.4, 0.0, (0.07, 0.11)), _Phone(0.1, 0.0, (0.012, 0.03), noise=0.5, centre=900, bandwidth=700)],  # p
    [_Phone(-0.4, 0.0, (0.06, 0.10), voice=0.25, nasal=1.0)],  # b
    [_Phone(-0.4, 0.0, (0.07, 0.12), voice=0.6, nasal=1.0)],  # m
    [_Phone(0.0, 0.1, (0.07, 0.12), noise=0.12, centre=5500, bandwidth=2500)],  # f
    [_Phone(0.0, 0.1, (0.05, 0.09), voice=0.4, noise=0.06, centre=5500, bandwidth=2500)],  # v
    [_Phone(0.12, 0.3, (0.05, 0.08)), _Phone(0.2, 0.2, (0.012, 0.03), noise=0.7, centre=4500, bandwidth=1200)],  # t
    [_Phone(0.2, 0.1, (0.05, 0.08)), _Phone(0.3, 0.1, (0.015, 0.04), noise=0.6, centre=1900, bandwidth=500)],  # k
    [_Phone(0.16, 0.45, (0.07, 0.14), noise=0.5, centre=6000, bandwidth=1200)],  # s
    [_Phone(0.18, -0.55, (0.07, 0.14), noise=0.5, centre=3200, bandwidth=800)],  # sh
    [_Phone(0.18, 0.2, (0.05, 0.09), voice=0.6, nasal=0.8)],  # n
    [_Phone(0.30, 0.1, (0.05, 0.08), voice=0.8)],  # l
    [_Phone(0.08, -1.0, (0.06, 0.10), voice=0.7)],  # w
]


@dataclasses.dataclass(frozen=True)
class _Voice:
    """Ranges and properties of a made-up voice, its room and its microphone."""

    tract: tuple[float, float] = (0.9, 1.18)
    pitch: tuple[float, float] = (90.0, 230.0)
    tempo: tuple[float, float] = (0.85, 1.25)
    melody: float = 1.0
    pause: tuple[float, float] = (0.12, 0.5)
    damping: float = 1.0  # of the formants
    breath: float = 0.01
    whisper: float = 0.0
    friction: float = 1.0
    level: tuple[float, float] = (0.3, 0.9)
    room_noise: float = -2.5
    tilt: float = 0.0  # decibels per octave, around 1 kHz
    lowest: float = 0.0  # Hz; the microphone records from here to `highest`
    highest: float = 8000.0
    echo: float = 0.0  # loudness of the room's echo; its seconds follow
    echo_seconds: float = 0.1

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> "_Voice":
        whisper = rng.random() < 0.04
        telephone = rng.random() < 0.12
        pitch = 75 * 2 ** rng.uniform(0, 1.9)
        return cls(
            tract=(0.84, 1.26),
            pitch=(pitch, 1.05 * pitch),
            tempo=(0.72, 1.45),
            melody=rng.uniform(0.3, 2.0),
            pause=(0.1, rng.uniform(0.3, 1.0)),
            damping=2 ** rng.uniform(-0.4, 0.8),
            breath=rng.uniform(0.08, 0.15) if whisper else 10 ** rng.uniform(-2.5, -1.2),
            whisper=float(whisper),
            friction=2 ** rng.uniform(-1.2, 1),
            level=(0.08, 0.95),
            room_noise=-2.2,
            tilt=rng.uniform(-6, 3),
            lowest=rng.uniform(200, 350) if telephone else rng.uniform(0, 120),
            highest=rng.uniform(3200, 4000) if telephone else rng.uniform(5500, 8000),
            echo=rng.uniform(0, 0.5) if rng.random() < 0.4 else 0.0,
            echo_seconds=rng.uniform(0.04, 0.25),
        )

    def heard(self, frequency):
        """Gain of the microphone."""
        if self == _Voice():
            return 1.0
        tilt = 10 ** (self.tilt / 20 * np.log2(np.maximum(frequency, 100) / 1000))
        low = 1 / (1 + (self.lowest / np.maximum(frequency, 1)) ** 4)
        return tilt * low / (1 + (frequency / self.highest) ** 12)

    def in_room(self, wave, rng):
        if not self.echo:
            return wave
        time = np.arange(round(4 * self.echo_seconds * SAMPLE_RATE)) / SAMPLE_RATE
        tail = rng.standard_normal(len(time)) * np.exp(-time / self.echo_seconds) * (time > 0.005)
        tail *= self.echo / max(np.sqrt((tail**2).sum()), 1e-9)
        return wave + fftconvolve(wave, tail)[: len(wave)]


def synthesise_speech(
    seconds: float, rng: np.random.Generator, fps: float = FPS, varied: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Speech-like audio of one made-up speaker, and the mouth movements that make it.

    Args:
        seconds: length; rounded to whole video frames, at least one.
        rng: decides the speaker, the sequence of phones and their timing.
        fps: video frames a second.
        varied: draw from more kinds of speakers, rooms and microphones.

    Returns:
        wave: float32 (samples,), 16 kHz mono in [-1, 1].
        opening: float32 (frames,), 0 lips closed .. 1 wide open, in the middle of each frame.
        width: float32 (frames,), -1 rounded .. 0 neutral .. 1 spread.
    """
    frames = max(1, round(seconds * fps))
    samples = round(frames / fps * SAMPLE_RATE)
    steps = samples // _CONTROL + 2
    speaker = _Voice.drawn(rng) if varied else _Voice()
    track = _phone_tracks(steps, rng, speaker)
    tract = rng.uniform(*speaker.tract)  # vocal tract: long to short
    opening = np.clip(gaussian_filter1d(track["opening"], 7), 0, 1)  # lips move over some 35 ms
    width = np.clip(gaussian_filter1d(track["width"], 9), -1, 1)
    voice, noise, nasal = (gaussian_filter1d(track[name], 1.5) for name in ("voice", "noise", "nasal"))

    # Filters, (frequencies, steps): a cascade of resonators of unit gain at 0 Hz. F1 follows the aperture. F2 and F3
    # follow spreading and rounding. Wide-open vowels lie between.
    frequency = np.fft.rfftfreq(_FFT, 1 / SAMPLE_RATE)[:, None]
    first = 260 + 560 * opening * (1 - 0.15 * np.abs(width))
    second = 1400 * 2 ** (0.68 * width - 0.12 * opening)
    third = 2550 * 2 ** (0.18 * width)
    formants = [(first, 70), (second, 100), (third, 150), (3600.0, 220), (4600.0, 300)]
    damped = speaker.damping
    mouth = math.prod(_resonator(frequency, tract * centre, damped * width_) for centre, width_ in formants)
    nose = 0.5 * math.prod(_resonator(frequency, tract * c, b) for c, b in ((270.0, 80), (1100.0, 300), (2300.0, 500)))
    # Lips that are nearly shut let little out.
    through_mouth = voice * (1 - nasal) * (0.15 + 0.85 * np.sqrt(opening)) * (opening > 0.01)
    hiss = noise * np.exp(-0.5 * ((frequency - track["centre"]) / track["bandwidth"]) ** 2)

    length = (steps - 1) * _CONTROL
    glottis = _spectra(
        (1 - speaker.whisper) * _glottal_source(length, rng, speaker) + speaker.breath * rng.standard_normal(length)
    )
    friction = _spectra(0.25 * rng.standard_normal(length))
    spectra = glottis * (mouth * through_mouth + nose * voice * nasal) + speaker.friction * friction * hiss
    spectra = spectra * speaker.heard(frequency)
    wave = librosa.istft(spectra, hop_length=_CONTROL, n_fft=_FFT)
    wave = librosa.util.fix_length(wave, size=samples)
    wave = speaker.in_room(wave, rng)
    wave *= rng.uniform(*speaker.level) / max(np.abs(wave).max(), 1e-6)
    wave += 10 ** rng.uniform(-4, speaker.room_noise) * rng.standard_normal(samples)  # a room is never silent

    middles = (np.arange(frames) + 0.5) / fps * SAMPLE_RATE / _CONTROL
    at_frames = [np.interp(middles, np.arange(steps), values).astype(np.float32) for values in (opening, width)]
    return np.clip(wave, -1, 1).astype(np.float32), *at_frames


def _phone_tracks(steps, rng, speaker):
    """A random sequence of syllables and pauses, as piecewise constant controls: a dict of (steps,) arrays."""
    names = [field.name for field in dataclasses.fields(_Phone) if field.name != "seconds"]
    tempo = rng.uniform(*speaker.tempo)
    phones, filled = [(_Phone(0, 0, (0, 0)), rng.uniform(0.05, 0.3))], 0.0
    while filled * SAMPLE_RATE / _CONTROL < steps:
        phrase = []
        for _ in range(rng.integers(3, 10)):
            if rng.random() < 0.85:
                phrase += _CONSONANTS[rng.integers(len(_CONSONANTS))]
            phrase.append(_VOWELS[rng.integers(len(_VOWELS))])
            if rng.random() < 0.25:
                phrase += _CONSONANTS[rng.integers(len(_CONSONANTS))]
        phrase.append(_Phone(-0.1, 0, speaker.pause))
        for phone in phrase:
            varied = dataclasses.replace(
                phone,
                opening=phone.opening * rng.uniform(0.85, 1.1),
                width=phone.width * rng.uniform(0.85, 1.1),
                voice=phone.voice * rng.uniform(0.8, 1.1),
            )
            phones.append((varied, rng.uniform(*phone.seconds) * tempo))
        filled = sum(seconds for _, seconds in phones)
    ends = np.cumsum([seconds for _, seconds in phones]) * SAMPLE_RATE / _CONTROL
    index = np.searchsorted(ends, np.arange(steps), side="right").clip(max=len(phones) - 1)
    return {name: np.array([getattr(phone, name) for phone, _ in phones])[index] for name in names}


def _glottal_source(length, rng, speaker):
    """The derivative of the glottal flow: 2p - 3p^2/q in the open part q of each period, with jitter and melody."""
    time = np.arange(length) / SAMPLE_RATE
    melody = sum(
        rng.uniform(0.03, 0.08) * np.sin(2 * np.pi * (rate * time + rng.random())) for rate in rng.uniform(0.3, 2.5, 4)
    )
    jitter = gaussian_filter1d(rng.normal(0, 0.12, length), 80)
    pitch = rng.uniform(*speaker.pitch) * 2 ** (speaker.melody * melody + jitter)
    phase = np.cumsum(pitch) / SAMPLE_RATE % 1
    open_part = rng.uniform(0.5, 0.7)
    return np.where(phase < open_part, phase * (2 - 3 * phase / open_part), 0)


def _spectra(wave):
    return librosa.stft(wave, n_fft=_FFT, hop_length=_CONTROL)


def _resonator(frequency, centre, bandwidth):
    return centre**2 / (centre**2 - frequency**2 + 1j * bandwidth * frequency)


def articulation_from_speech(wave: np.ndarray, fps: float = FPS) -> tuple[np.ndarray, np.ndarray]:
    """Mouth movements for the speech in `wave`, estimated from energy and formant bands.

    The opening follows the level between 200 and 3000 Hz and the height of the first formant. The width follows the
    second formant. This is measured as the ratio of the bands above and below 1500 Hz, relative to the speaker's own
    middle.

    Args:
        wave: (samples,) 16 kHz mono.
        fps: video frames a second.

    Returns:
        opening, width: float32 (frames,), as in `synthesise_speech`; frames = samples / 16000 * fps, rounded, at
        least one.
    """
    frames = max(1, round(len(wave) / SAMPLE_RATE * fps))
    wave = np.pad(np.asarray(wave, np.float32), (0, max(0, _FFT - len(wave))))
    power = np.abs(librosa.stft(wave, n_fft=_FFT, hop_length=_CONTROL)) ** 2 + 1e-9
    frequency = np.fft.rfftfreq(_FFT, 1 / SAMPLE_RATE)

    def band(low, high):
        return power[(frequency >= low) & (frequency < high)].sum(0)

    level = 10 * np.log10(band(200, 3000))
    top = np.percentile(level, 95)
    bottom = max(np.percentile(level, 5), top - 35)
    loud = np.clip((level - bottom) / max(top - bottom, 6), 0, 1)
    if top < -50:  # nobody speaks
        loud = np.zeros_like(loud)
    first = np.log2(band(500, 1200) / band(200, 500))
    second = np.log2(band(1500, 2800) / band(500, 1300))
    voiced = loud > 0.5
    opening = loud**1.5 * (0.25 + 0.75 * _spread(first, voiced, 0, 1))
    width = loud * (2 * _spread(second, voiced, 0, 1) - 1)
    middles = (np.arange(frames) + 0.5) / fps * SAMPLE_RATE / _CONTROL

    def at_frames(values, low):
        smooth = gaussian_filter1d(values, 6)
        return np.clip(np.interp(middles, np.arange(len(smooth)), smooth), low, 1).astype(np.float32)

    return at_frames(opening / max(np.percentile(opening, 97), 0.3), 0), at_frames(width * 1.3, -1)


def _spread(values, where, low, high):
    """Map the 5th to 95th percentile of values[where] to low .. high."""
    if not where.any():
        return np.full(values.shape, (low + high) / 2)
    first, last = np.percentile(values[where], [5, 95])
    return low + (high - low) * np.clip((values - first) / max(last - first, 1e-6), 0, 1)
