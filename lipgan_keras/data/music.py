"""Made-up music, as much as training needs: a generator that never heard any murmurs along with it."""

from dataclasses import dataclass

import numpy as np
import scipy  # its parts are loaded when they are used

from ..config import SAMPLE_RATE
from .noise import level, normalised

_TABLE = 2048  # samples of one period


@dataclass(frozen=True)
class _Timbre:
    """An instrument: two spectra, a bright one that dies away and a mellow one that stays longer."""

    bright: float  # harmonic k has the amplitude k ** -bright ...
    mellow: float  # ... and k ** -mellow
    fade: float  # seconds until the bright one has fallen to 1/e
    hold: float  # likewise of both
    attack: float  # seconds
    odd: bool = False  # only odd harmonics
    vibrato: float = 0.0  # semitones
    detune: float = 0.0  # semitones between two voices; 0 is one voice
    formants: tuple[float, ...] = ()  # Hz


# Only roughly the instruments that they are called.
_TIMBRES = [
    _Timbre(bright=0.9, mellow=2.2, fade=0.15, hold=0.9, attack=0.004),  # piano
    _Timbre(bright=0.5, mellow=1.6, fade=0.10, hold=0.5, attack=0.003),  # guitar
    _Timbre(bright=1.0, mellow=1.3, fade=9.0, hold=9.0, attack=0.02),  # organ
    _Timbre(bright=1.0, mellow=1.1, fade=9.0, hold=9.0, attack=0.12, vibrato=0.12, detune=0.12),  # strings
    _Timbre(bright=2.2, mellow=2.6, fade=0.3, hold=4.0, attack=0.05, vibrato=0.2),  # flute
    _Timbre(bright=1.0, mellow=1.4, fade=0.5, hold=4.0, attack=0.03, odd=True, vibrato=0.05),  # clarinet
    _Timbre(bright=0.5, mellow=1.2, fade=0.4, hold=3.0, attack=0.04, vibrato=0.08),  # brass
    _Timbre(bright=0.6, mellow=1.0, fade=0.3, hold=2.0, attack=0.005, detune=0.2),  # synthesiser
    _Timbre(bright=0.3, mellow=1.5, fade=0.2, hold=1.2, attack=0.002, odd=True),  # bell
    _Timbre(0.8, 0.9, 9.0, 9.0, attack=0.1, vibrato=0.15, detune=0.2, formants=(700, 1150, 2700)),  # choir
]
_BASSES = [
    _Timbre(bright=1.0, mellow=2.0, fade=0.12, hold=0.7, attack=0.006),
    _Timbre(bright=0.8, mellow=1.2, fade=0.2, hold=2.0, attack=0.004, detune=0.1),
]
_SCALES = [(0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10)]  # major and minor, in semitones
_PROGRESSIONS = [(0, 4, 5, 3), (0, 5, 3, 4), (5, 3, 0, 4), (0, 3, 4, 4), (0, 3, 0, 4), (1, 4, 0, 0), (0, 6, 5, 4)]
# Sixteenths of a bar on which kick, snare and hi-hat fall.
_BEATS = [
    ((0, 8), (4, 12), range(0, 16, 2)),  # rock
    ((0, 4, 8, 12), (4, 12), range(2, 16, 4)),  # four on the floor
    ((0, 6, 10), (4, 12, 15), range(16)),  # funk
    ((0,), (8,), range(0, 16, 4)),  # half time
    ((0, 3, 8, 11), (6, 12), (0, 3, 4, 7, 8, 11, 12, 15)),  # shuffle
]


def music(seconds: float, rng: np.random.Generator) -> np.ndarray:
    """A piece of made-up music: chords, bass, melody and drums, or some of them, in key, tempo and timbres of its own.

    Args:
        seconds: its length.
        rng: composes and plays.

    Returns:
        float32 (n,), 16 kHz, at least one sample, peak at most 1.
    """
    samples = max(1, round(seconds * SAMPLE_RATE))
    beat = 60 / rng.uniform(65, 165)  # seconds
    bars = int(seconds / (4 * beat)) + 1
    scale = _SCALES[rng.integers(len(_SCALES))]
    key = int(rng.integers(12))
    chords = np.resize(_PROGRESSIONS[rng.integers(len(_PROGRESSIONS))], bars)
    parts = {"chords": rng.random() < 0.9, "bass": rng.random() < 0.8, "drums": rng.random() < 0.7}
    parts["melody"] = rng.random() < 0.8 or not parts["chords"]
    mixture = np.zeros(samples)
    for name, score in (("chords", _chords), ("bass", _bass), ("melody", _melody)):
        if parts[name]:
            timbre = rng.choice(_BASSES if name == "bass" else _TIMBRES)
            track = np.zeros(samples)
            for start, length, degree, loud in score(chords, rng):
                octave, step = divmod(degree, 7)
                frequency = 440 * 2 ** ((36 + key + 12 * octave + scale[step] - 69) / 12)
                start = beat * start + rng.uniform(0, 0.015)  # nobody plays exactly in time
                _add(track, start, loud * _note(frequency, beat * length, timbre, rng))
            mixture += rng.uniform(0.6, 1.4) * track / max(level(track), 1e-9)
    if parts["drums"]:
        track = _drums(samples, bars, beat, rng)
        mixture += rng.uniform(0.4, 1.2) * track / max(level(track), 1e-9)
    return normalised(_in_a_room(mixture, rng))


# A score yields (start, length, degree, loudness) of each note: in beats, and in steps of the scale above the key's
# note in the octave of 65 Hz.


def _chords(chords, rng):
    held = rng.choice([4, 2, 1, 0.5])  # beats
    broken = rng.random() < 0.35
    lowest = rng.choice([7, 14])
    tones = [0, 2, 4, 6][: 4 if rng.random() < 0.2 else 3]
    for bar, root in enumerate(chords):
        if broken:
            step = min(held, 1)
            for i in range(int(4 / step)):
                yield 4 * bar + i * step, 2 * step, lowest + root + tones[i % len(tones)], rng.uniform(0.7, 1)
        else:
            for start in np.arange(0, 4, held):
                loud = rng.uniform(0.7, 1)
                for tone in tones:
                    yield 4 * bar + start, 0.95 * held, lowest + root + tone, loud


def _bass(chords, rng):
    step = rng.choice([0.5, 1, 2])
    for bar, root in enumerate(chords):
        for start in np.arange(0, 4, step):
            tone = root + (0 if start == 0 else int(rng.choice([0, 0, 4, 7])))
            yield 4 * bar + start, 0.9 * step, tone, rng.uniform(0.8, 1)


def _melody(chords, rng):
    at, tone, busy = 0.0, 21 + int(rng.integers(7)), rng.choice([0.5, 1.0])
    while at < 4 * len(chords):
        length = busy * rng.choice([0.5, 1, 1, 2])
        if rng.random() < 0.85:
            yield at, 0.95 * length, tone, rng.uniform(0.6, 1)
        tone = int(np.clip(tone + rng.integers(-2, 3), 17, 33))
        at += length


def _note(frequency, seconds, timbre, rng):
    """(n,) one note with its release, by two wavetables."""
    release = 0.08
    samples = int((seconds + release) * SAMPLE_RATE) + 1
    time = np.arange(samples) / SAMPLE_RATE
    number = np.arange(1, max(2, int(7500 / frequency) + 1))
    weight = np.where(number % 2 == 0, 0.05, 1.0) if timbre.odd else np.ones(len(number))
    if timbre.formants:
        weight = weight * (
            0.05 + sum(np.exp(-(((number * frequency - formant) / 250) ** 2)) for formant in timbre.formants)
        )
    bright, mellow = _table(weight * number**-timbre.bright, rng), _table(weight * number**-timbre.mellow, rng)
    envelope = np.exp(-time / timbre.hold) * np.minimum(1, time / timbre.attack)
    envelope *= np.clip((seconds + release - time) / release, 0, 1)
    fading = np.exp(-time / timbre.fade)
    cycles = frequency * time
    if timbre.vibrato:
        rate = rng.uniform(4.5, 6)
        cycles += frequency * timbre.vibrato / 12 * np.log(2) / (2 * np.pi * rate) * np.sin(2 * np.pi * rate * time)
    wave = 0
    for voice in (-0.5, 0.5) if timbre.detune else (0,):
        phase = cycles * 2 ** (voice * timbre.detune / 12) + rng.random()
        index = (phase * _TABLE).astype(np.int64) % _TABLE
        wave = wave + bright[index] * fading + mellow[index] * (1 - fading)
    return envelope * wave


def _table(amplitudes, rng):
    """One period of a tone with these harmonics, at unit level."""
    spectrum = np.zeros(_TABLE // 2 + 1, complex)
    amplitudes = amplitudes[: _TABLE // 2]
    spectrum[1 : len(amplitudes) + 1] = amplitudes * np.exp(2j * np.pi * rng.random(len(amplitudes)))
    period = np.fft.irfft(spectrum)
    return period / max(level(period), 1e-12)


def _drums(samples, bars, beat, rng):
    time = np.arange(int(0.25 * SAMPLE_RATE)) / SAMPLE_RATE
    hiss = np.diff(rng.standard_normal(len(time) + 1))  # without its low end
    kick = np.sin(2 * np.pi * (50 * time + 6 * (1 - np.exp(-time / 0.03)))) * np.exp(-time / rng.uniform(0.06, 0.15))
    rattle = rng.standard_normal(len(time)) * np.exp(-time / rng.uniform(0.04, 0.1))
    snare = 0.5 * np.sin(2 * np.pi * rng.uniform(160, 230) * time) * np.exp(-time / 0.06) + 0.4 * rattle
    hat = 0.2 * hiss * np.exp(-time / rng.uniform(0.015, 0.06))
    track = np.zeros(samples)
    pattern = _BEATS[rng.integers(len(_BEATS))]
    for bar in range(bars):
        for drum, places in zip((kick, snare, hat), pattern, strict=True):
            for place in places:
                if rng.random() < 0.95:
                    _add(track, beat * (4 * bar + place / 4), rng.uniform(0.7, 1) * drum)
    return track


def _add(track, start, sound):
    """Add a sound to a track in place, from `start` seconds on, as far as the track reaches."""
    first = round(start * SAMPLE_RATE)
    if first < len(track):
        track[first : first + len(sound)] += sound[: len(track) - first]


def _in_a_room(wave, rng):
    """With the reverberation of a room, and without what is below 50 Hz."""
    time = np.arange(int(0.5 * SAMPLE_RATE)) / SAMPLE_RATE
    echoes = rng.standard_normal(len(time)) * np.exp(-time / rng.uniform(0.05, 0.2))
    echoes *= rng.uniform(0.05, 0.5) / np.sqrt(np.sum(echoes**2))
    echoes[0] += 1
    high_pass = scipy.signal.butter(2, 50, "highpass", fs=SAMPLE_RATE, output="sos")
    return scipy.signal.sosfilt(high_pass, scipy.signal.fftconvolve(wave, echoes)[: len(wave)])
