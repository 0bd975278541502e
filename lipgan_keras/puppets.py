"""Talking-face clips of our own: the mouth of a face photo, moved by a speech-like sound.

Talking-face data sets cannot be downloaded without an agreement, so that tests, newcomers and the demo have these
instead: real MP4 files in the LRS2 layout, with the mouth's true opening and width beside each.

The sound is synthesised after the source-filter model (Fant, Acoustic Theory of Speech Production, 1960; the glottal
pulse is that of Klatt and Klatt, JASA 87(2), 1990): the mouth's opening sets the first formant, spreading and
rounding the second and third. Real speech can be given instead; its energy and formant bands then move the mouth.

    python -m lipgan_keras.puppets --out data/puppets --clips 20 --seed 1
"""

import collections
import concurrent.futures
import contextlib
import copy
import dataclasses
import functools
import importlib.util
import itertools
import json
import math
import multiprocessing
import os
import shutil
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import librosa
import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import gaussian_filter1d
from scipy.signal import fftconvolve, resample
from tqdm import tqdm

from . import audio, augment, cli, faces, people, tracking
from .cli import UserError
from .people import Place, fall

FPS = 25.0
FRAME_SIZE = 256
_VERSION = 2  # of the clips; others are made anew
_CLEAR = "clear 3"  # the way in which clear ones are drawn
_GRINS = 0.7  # share of the clear ones' crops that have pictures with a grin, one for each
_EVERY = 3  # frames

# ------------------------------------------------------------------------------------------------------------ sound

_CONTROL = 80  # samples between two values of the synthesiser's controls: 5 ms
_FFT = 512


@dataclasses.dataclass(frozen=True)
class _Phone:
    opening: float  # target of the mouth's opening; below 0 presses the lips together
    width: float  # -1 rounded .. 1 spread
    seconds: tuple[float, float]  # shortest and longest duration
    voice: float = 0.0  # amplitude of the glottal source
    noise: float = 0.0  # amplitude of the friction noise
    centre: float = 4000.0  # of the noise, Hz
    bandwidth: float = 1000.0
    nasal: float = 0.0  # share of the sound that takes the nose


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
class _Speaker:
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
    tilt: float = 0.0  # decibel an octave about 1 kHz
    lowest: float = 0.0  # Hz that the microphone hears, to `highest`
    highest: float = 8000.0
    echo: float = 0.0  # loudness and seconds of the room's
    echo_seconds: float = 0.1

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> "_Speaker":
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
        if self == _Speaker():
            return 1.0
        tilt = 10 ** (self.tilt / 20 * np.log2(np.maximum(frequency, 100) / 1000))
        low = 1 / (1 + (self.lowest / np.maximum(frequency, 1)) ** 4)
        return tilt * low / (1 + (frequency / self.highest) ** 12)

    def in_room(self, wave, rng):
        if not self.echo:
            return wave
        time = np.arange(round(4 * self.echo_seconds * audio.SAMPLE_RATE)) / audio.SAMPLE_RATE
        tail = rng.standard_normal(len(time)) * np.exp(-time / self.echo_seconds) * (time > 0.005)
        tail *= self.echo / max(np.sqrt((tail**2).sum()), 1e-9)
        return wave + fftconvolve(wave, tail)[: len(wave)]


def synthesise_speech(
    seconds: float, rng: np.random.Generator, fps: float = FPS, varied: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A speech-like sound of one made-up speaker, with the mouth that makes it.

    Args:
        seconds: its length; rounded to whole video frames, at least one.
        rng: decides the speaker, the string of phones and their timing.
        fps: video frames a second.
        varied: draw from more kinds of speakers, rooms and microphones.

    Returns:
        wave: float32 (samples,), 16 kHz mono in [-1, 1].
        opening: float32 (frames,), 0 lips closed .. 1 wide open, in the middle of each frame.
        width: float32 (frames,), -1 rounded .. 0 neutral .. 1 spread.
    """
    frames = max(1, round(seconds * fps))
    samples = round(frames / fps * audio.SAMPLE_RATE)
    steps = samples // _CONTROL + 2
    speaker = _Speaker.drawn(rng) if varied else _Speaker()
    track = _phone_tracks(steps, rng, speaker)
    tract = rng.uniform(*speaker.tract)  # vocal tract: long to short
    opening = np.clip(gaussian_filter1d(track["opening"], 7), 0, 1)  # lips move over some 35 ms
    width = np.clip(gaussian_filter1d(track["width"], 9), -1, 1)
    voice, noise, nasal = (gaussian_filter1d(track[name], 1.5) for name in ("voice", "noise", "nasal"))

    # Filters, (frequencies, steps). A cascade of resonators of unit gain at 0 Hz; F1 follows the opening, F2 and F3
    # follow spreading and rounding; wide-open vowels lie between.
    frequency = np.fft.rfftfreq(_FFT, 1 / audio.SAMPLE_RATE)[:, None]
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

    middles = (np.arange(frames) + 0.5) / fps * audio.SAMPLE_RATE / _CONTROL
    at_frames = [np.interp(middles, np.arange(steps), values).astype(np.float32) for values in (opening, width)]
    return np.clip(wave, -1, 1).astype(np.float32), *at_frames


def _phone_tracks(steps, rng, speaker):
    """A random string of syllables and pauses as piecewise constant controls: a dict of (steps,) arrays."""
    names = [field.name for field in dataclasses.fields(_Phone) if field.name != "seconds"]
    tempo = rng.uniform(*speaker.tempo)
    phones, filled = [(_Phone(0, 0, (0, 0)), rng.uniform(0.05, 0.3))], 0.0
    while filled * audio.SAMPLE_RATE / _CONTROL < steps:
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
    ends = np.cumsum([seconds for _, seconds in phones]) * audio.SAMPLE_RATE / _CONTROL
    index = np.searchsorted(ends, np.arange(steps), side="right").clip(max=len(phones) - 1)
    return {name: np.array([getattr(phone, name) for phone, _ in phones])[index] for name in names}


def _glottal_source(length, rng, speaker):
    """The derivative of the glottal flow, 2p - 3p^2/q in the open part q of each period, with jitter and melody."""
    time = np.arange(length) / audio.SAMPLE_RATE
    melody = sum(
        rng.uniform(0.03, 0.08) * np.sin(2 * np.pi * (rate * time + rng.random())) for rate in rng.uniform(0.3, 2.5, 4)
    )
    jitter = gaussian_filter1d(rng.normal(0, 0.12, length), 80)
    pitch = rng.uniform(*speaker.pitch) * 2 ** (speaker.melody * melody + jitter)
    phase = np.cumsum(pitch) / audio.SAMPLE_RATE % 1
    open_part = rng.uniform(0.5, 0.7)
    return np.where(phase < open_part, phase * (2 - 3 * phase / open_part), 0)


def _spectra(wave):
    return librosa.stft(wave, n_fft=_FFT, hop_length=_CONTROL)


def _resonator(frequency, centre, bandwidth):
    return centre**2 / (centre**2 - frequency**2 + 1j * bandwidth * frequency)


def articulation_from_speech(wave: np.ndarray, fps: float = FPS) -> tuple[np.ndarray, np.ndarray]:
    """How a mouth moves that says `wave`, judged by energy and formant bands.

    Opening follows the level between 200 and 3000 Hz and the height of the first formant; width follows the second
    formant, as the ratio of the bands above and below 1500 Hz, relative to the speaker's own middle.

    Args:
        wave: (samples,) 16 kHz mono.
        fps: video frames a second.

    Returns:
        opening, width: float32 (frames,), as in `synthesise_speech`; frames = samples / 16000 * fps, rounded, at
        least one.
    """
    frames = max(1, round(len(wave) / audio.SAMPLE_RATE * fps))
    wave = np.pad(np.asarray(wave, np.float32), (0, max(0, _FFT - len(wave))))
    power = np.abs(librosa.stft(wave, n_fft=_FFT, hop_length=_CONTROL)) ** 2 + 1e-9
    frequency = np.fft.rfftfreq(_FFT, 1 / audio.SAMPLE_RATE)

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
    middles = (np.arange(frames) + 0.5) / fps * audio.SAMPLE_RATE / _CONTROL

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


@dataclasses.dataclass(frozen=True)
class _Sound:
    """What is heard in a clip, and how the mouth moves."""

    wave: np.ndarray
    opening: np.ndarray
    width: np.ndarray
    numbers: dict  # how it was made


def _draw_sound(seconds: float, speech: Sequence[np.ndarray], rng: np.random.Generator) -> _Sound:
    """Speech, synthesised or given, alone or with noise or music; music alone; or silence.
    Only speech moves the mouth.
    """
    frames = max(1, round(seconds * FPS))
    samples = round(frames / FPS * audio.SAMPLE_RATE)
    kind, chance = "synthesised", rng.random()
    if chance < 0.05:
        kind = "silence"
    elif chance < 0.11:
        kind = "music"
    elif chance < 0.45 and len(speech):
        kind = "speech"
    numbers = {"sound": kind}
    hush = (10 ** rng.uniform(-4.5, -2.5) * rng.standard_normal(samples)).astype(np.float32)
    if kind in ("silence", "music"):
        wave = hush
        if kind == "music":
            wave = hush + np.float32(rng.uniform(0.1, 0.9)) * librosa.util.fix_length(
                augment.music(seconds, rng), size=samples
            )
        elif rng.random() < 0.5:
            wave = hush + np.float32(10 ** rng.uniform(-3, -1)) * librosa.util.fix_length(
                augment.coloured_noise(seconds, rng), size=samples
            )
        still = np.zeros(frames, np.float32)
        return _Sound(np.clip(wave, -1, 1), still, still, numbers)
    # Now and then nobody speaks for a while, before or after.
    first, last = 0, frames
    if frames >= 50 and rng.random() < 0.25:
        first = int(rng.integers(0, frames // 2)) if rng.random() < 0.7 else 0
        last = int(rng.integers(first + 20, frames + 1))
    part = (last - first) / FPS
    if kind == "synthesised":
        said, *moves = synthesise_speech(part, rng, varied=True)
    else:
        said = _respoken(speech, round(part * audio.SAMPLE_RATE), rng)
        moves = articulation_from_speech(said)
    wave, (opening, width) = hush, np.zeros((2, frames), np.float32)
    start = round(first / FPS * audio.SAMPLE_RATE)
    wave[start : start + len(said)] += said[: samples - start]
    opening[first:last], width[first:last] = (m[: last - first] for m in moves)
    if rng.random() < 0.3:
        numbers["besides"] = "music" if rng.random() < 0.6 else "noise"
        make = augment.music if numbers["besides"] == "music" else augment.coloured_noise
        numbers["snr_db"] = float(rng.uniform(0, 20))
        wave = augment.mix(wave, make(seconds, rng), numbers["snr_db"], augment.level(said))
    return _Sound(np.clip(wave, -1, 1), opening, width, numbers)


def _respoken(speech, samples, rng):
    """Random pieces of given speech in a row, faster or slower (and higher or lower), through another microphone."""
    speed, tilt = 2 ** rng.uniform(-0.25, 0.25), rng.uniform(-3, 3)
    pieces, filled = [], 0
    while filled < samples:
        wave = speech[rng.integers(len(speech))]
        length = min(len(wave), round(rng.uniform(1.5, 6.0) * audio.SAMPLE_RATE))
        first = rng.integers(len(wave) - length + 1)
        piece = resample(wave[first : first + length], max(1, round(length / speed)))
        pieces += [piece * 0.1 / max(augment.level(piece), 1e-4), np.zeros(int(rng.integers(800, 6400)))]
        filled += len(pieces[-2]) + len(pieces[-1])
    wave = np.concatenate(pieces)[:samples]
    spectrum = np.fft.rfft(wave)
    spectrum *= 10 ** (tilt / 20 * np.log2(np.maximum(np.fft.rfftfreq(samples, 1 / audio.SAMPLE_RATE), 60) / 1000))
    wave = np.fft.irfft(spectrum, samples)
    return (wave * rng.uniform(0.1, 0.95) / max(np.abs(wave).max(), 1e-6)).astype(np.float32)


# ------------------------------------------------------------------------------------------------------------ faces

# All lengths of the mouth are in halves of its width, x along it from -1 to 1, y down from the line of its corners.
_GAP = 0.62  # between the lips in the middle, wide open: some 10 pixels of a 96 pixel crop
_JAW = 0.40  # how far the chin drops then
_FACE_HEIGHT = 0.5  # of the frame's
_RESOLUTION = 1.2  # pixels of the prepared photo for one of the frame
_CURVE = 801  # points of a lip's edge
# How MTCNN's corners of the mouth move: apart, in halves of the mouth's width, and down, for each of opening, spreading
# and rounding; measured on puppets.
_SEEN = np.array([[-0.02, 0.10, -0.15], [0.21, 0.0, 0.0]])


@dataclasses.dataclass(frozen=True)
class _Geometry:
    """Where the mouth is in a photo, in pixels."""

    box: tuple[float, float, float, float]  # of the face: x1, y1, x2, y2
    upper: list[tuple[float, float]]  # inner edge of the upper lip, corner to corner
    lower: list[tuple[float, float]]  # of the lower lip; the same where the lips are shut
    chin: float  # y of its lower edge
    landmarks: list[tuple[float, float]]  # eye, eye, nose, mouth corner, mouth corner, as MTCNN sees them
    rest_width: float = 1.0  # of the closed mouth, relative to the photo's: below 1 undoes a smile

    def mirrored(self, photo_width: int) -> "_Geometry":
        x1, y1, x2, y2 = self.box
        last = photo_width - 1
        upper, lower = ([(last - x, y) for x, y in reversed(points)] for points in (self.upper, self.lower))
        landmarks = [(last - x, y) for x, y in (self.landmarks[i] for i in (1, 0, 2, 4, 3))]
        return dataclasses.replace(
            self, box=(last - x2, y1, last - x1, y2), upper=upper, lower=lower, landmarks=landmarks
        )

    def moved(self, move: Callable[[np.ndarray], np.ndarray]) -> "_Geometry":
        """After a change of the photo that moves its points (n, 2) by `move`."""
        upper, lower, landmarks = (move(np.array(p, float)).tolist() for p in (self.upper, self.lower, self.landmarks))
        (x1, y1), (x2, y2), (_, chin) = move(
            np.array([self.box[:2], self.box[2:], [(upper[0][0] + upper[-1][0]) / 2, self.chin]], float)
        ).tolist()
        return dataclasses.replace(self, box=(x1, y1, x2, y2), upper=upper, lower=lower, chin=chin, landmarks=landmarks)


# The photos that ship with packages, measured by hand; boxes as MTCNN gives them.
_SHIPPED = {
    "grace_hopper": _Geometry(
        box=(178, 110, 351, 330),
        upper=[(228.8, 281), (238, 278.7), (246, 276.6), (254.7, 276), (261.3, 277.3), (266.3, 278.7), (273, 277.7),
               (281.3, 276), (291.3, 275.7), (299.7, 276.3), (309, 280.8)],
        lower=[(228.8, 281), (238, 281.7), (246, 279.6), (254.7, 279.2), (261.3, 280.3), (266.3, 281.2), (273, 280.3),
               (281.3, 279), (291.3, 278.7), (299.7, 279.3), (309, 280.8)],
        chin=328,
        landmarks=[(218.8, 189.6), (306.2, 185.4), (265.3, 237.7), (230.3, 276.8), (301.4, 271.8)],
    ),
    "astronaut": _Geometry(
        box=(182, 64, 265, 171),
        upper=[(203.8, 140), (209.7, 140.8), (216.3, 141.6), (224.7, 142.4), (233, 142), (238.8, 141), (244.6, 140.4)],
        lower=[(203.8, 140), (206.5, 143.4), (209.7, 146.2), (216.3, 149.4), (224.7, 150.8), (233, 149), (239.7, 145),
               (244.6, 140.4)],
        chin=178,
        landmarks=[(202.3, 98.2), (245.8, 101.2), (222.9, 126.2), (199.6, 137.1), (243.6, 139.6)],
        rest_width=0.9,
    ),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class _Mouth:
    """What shows where the lips part; lengths in halves of the mouth's width, colours BGR in soft light."""

    upper_teeth: float = 0.16  # how far they reach below the line of the closed lips
    lower_teeth: float = 0.10  # how far they reach above the lower lip
    teeth: tuple[float, float, float] = (176, 193, 208)
    tongue: tuple[float, float, float] = (78, 72, 150)
    dark: tuple[float, float, float] = (30, 24, 52)
    raised: float = 0.55  # how high the tongue lies in an open mouth, of its height
    drop: float = 0.30  # how far the corners come down with the jaw, of the gap
    arch: float = 0.12  # how far the upper lip rises, of the gap

    @classmethod
    def drawn(cls, rng: np.random.Generator, saturation: float, alike: bool = False) -> "_Mouth":
        """Anybody's, or, `alike`, one nearer to all others."""

        def within(low, high, likely):
            return rng.uniform(*(likely if alike else (low, high)))

        bright = within(0.75, 1.12, (0.95, 1.08))
        yellow = within(0.84, 1.0, (0.92, 1.0))

        def coloured(*bgr):
            grey = np.dot(bgr, [0.114, 0.587, 0.299])
            return tuple(grey + min(1.0, saturation) * (np.array(bgr) - grey))

        return cls(
            upper_teeth=within(0.05, 0.18, (0.13, 0.18)),
            lower_teeth=within(0.0, 0.12, (0.0, 0.05)),
            teeth=coloured(bright * 196 * yellow, bright * 200, bright * 208),
            tongue=coloured(*np.array([82, 78, 142]) * within(0.65, 1.15, (0.85, 1.05)) * rng.uniform(0.92, 1.08, 3)),
            dark=coloured(*np.array([30, 24, 52]) * within(0.5, 1.3, (0.7, 1.0))),
            raised=within(0.2, 0.65, (0.25, 0.45)),
            drop=within(0.15, 0.45, (0.2, 0.4)),
            arch=within(0.06, 0.20, (0.08, 0.16)),
        )


_STRAIGHT = Place()


class Puppet:
    """A face photo whose mouth moves.

    The photo is warped around the lips: the part above the lip line moves with the upper lip, the part below with
    lower lip, jaw and chin, and both are pulled together or apart sideways; what opens between is painted.

    Args:
        photo: (H, W, 3) BGR uint8.
        geometry: where face and mouth are; `load_puppet` finds it.
        name: the clips' folder.
        size: of the frames, which are square.
    """

    def __init__(self, photo: np.ndarray, geometry: _Geometry, name: str = "face", size: int = FRAME_SIZE):
        self.name, self.size = name, size
        self.photo, self.geometry = _prepare(photo, geometry, _RESOLUTION * _FACE_HEIGHT * size)
        self.mouth = _Mouth()
        self._fit()

    def _fit(self):
        """Derive what `render` needs from photo and geometry."""
        geometry = self.geometry
        x1, y1, x2, y2 = geometry.box
        self._face = np.array([(x1 + x2) / 2, (y1 + y2) / 2])
        upper, lower = np.array(geometry.upper), np.array(geometry.lower)
        middle, half = (upper[0] + upper[-1]) / 2, (upper[-1] - upper[0]) / 2
        # Mouth coordinates to the photo's, and back: similarities.
        axes = np.array([[half[0], -half[1]], [half[1], half[0]]])
        self._from_mouth = np.hstack([axes, middle[:, None]])
        inverse = np.linalg.inv(axes)
        self._to_mouth = np.hstack([inverse, -(inverse @ middle)[:, None]])

        self._x = np.linspace(-1, 1, _CURVE)
        self._upper, self._lower = (self._curve(points) for points in (upper, lower))
        self._lower = np.maximum(self._lower, self._upper)
        self._closed = self._upper + 0.35 * (self._lower - self._upper)
        self._chin = float(max(0.8, (geometry.chin - middle[1]) / np.hypot(*half)))
        self._axes = people.Axes(np.array(geometry.landmarks))
        self._depth = None  # of the photo's pixels, once it is needed

        # The light inside the mouth: that of the skin beside and below it, with half of its tint (skin itself is some
        # 1.4 times redder than grey).
        around = self._from_mouth @ np.array([[-0.8, 0.8, 0], [0.7, 0.7, 0.9], [1, 1, 1]])
        columns, rows = (around.astype(int).T.clip(0, np.array(self.photo.shape[1::-1]) - 1)).T
        skin = self.photo[rows, columns].mean(0) + 1
        tint = np.sqrt(skin / skin.mean() / np.array([0.75, 0.98, 1.27]))
        self._light = (np.clip((skin.mean() / 150) ** 0.9, 0.3, 1.2) * tint).astype(np.float32)

    def _curve(self, points):
        x, y = self._to_mouth @ np.vstack([points.T, np.ones(len(points))])
        smooth = gaussian_filter1d(PchipInterpolator(x, y)(self._x), 0.02 * _CURVE)
        return (smooth * (np.abs(self._x) < 1)).astype(np.float32)

    def mirrored(self) -> "Puppet":
        """The same face in a mirror: another look."""
        other = copy.copy(self)
        other.name = f"{self.name}_mirrored"
        other.photo = np.ascontiguousarray(self.photo[:, ::-1])
        other.geometry = self.geometry.mirrored(self.photo.shape[1])
        other._fit()
        return other

    def varied(self, rng: np.random.Generator) -> "Puppet":
        """The same face in slightly other light."""
        gamma = 2 ** rng.uniform(-0.25, 0.25)
        gain = rng.uniform(0.9, 1.08) * rng.uniform(0.96, 1.04, 3)
        table = 255 * (np.arange(256) / 255)[:, None] ** gamma * gain
        other = copy.copy(self)
        other.photo = cv2.LUT(self.photo, np.clip(np.rint(table), 0, 255).astype(np.uint8)[None])
        other._fit()
        return other

    def as_person(self, person: people.Person, rng: np.random.Generator, alike: bool = False) -> "Puppet":
        """Somebody else made of this face, with teeth and tongue of their own that `rng` draws; `alike`:
        that differ less.
        """
        other = copy.copy(self)
        axes = self._axes
        other.photo = person.shape(self.photo, axes)
        other.geometry = self.geometry.moved(lambda points: axes.to_photo(person.moved(axes.to_face(points))))
        other.photo = person.colour(other.photo, people.Axes(np.array(other.geometry.landmarks)))
        other.mouth = _Mouth.drawn(rng, person.numbers["saturation"], alike)
        other._fit()
        return other

    def grinning(
        self, person: people.Person, mouth: _Mouth, rng: np.random.Generator
    ) -> tuple["Puppet", dict[str, float]]:
        """`person` made of this face, with the lips off the teeth as in a photo, and what `rng` drew for that."""
        drawn = {
            "smile": person.numbers["smile"] + rng.uniform(0.03, 0.10),
            "lip_thinness": person.numbers["lip_thinness"] + rng.uniform(0.0, 0.3),
        }
        more = copy.copy(person)
        more.numbers = person.numbers | drawn
        other = self.as_person(more, rng)
        other.mouth = dataclasses.replace(
            mouth, upper_teeth=rng.uniform(0.3, 0.6), lower_teeth=0.0, drop=0.0, arch=rng.uniform(0.2, 0.5)
        )
        return other, drawn | {"upper_teeth": other.mouth.upper_teeth, "arch": other.mouth.arch}

    def _placed(self, place):
        """Frame pixels -> photo pixels: an affine map (2, 3)."""
        angle = math.radians(place.angle)
        linear = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
        linear = _RESOLUTION * linear / np.asarray(place.zoom)[:, None]
        centre = np.array([self.size / 2, self.size / 2]) + place.shift
        return np.hstack([linear, (self._face - linear @ centre)[:, None]])

    def _turned(self, place):
        """Photo pixels by which a point of depth 1 moves when the head turns."""
        right, down = np.sin(np.radians(place.turn))
        return self._axes.matrix @ np.array([right, down])

    def render(
        self,
        opening: float,
        width: float,
        place: Place = _STRAIGHT,
        window: tuple[int, int, int, int] | None = None,
    ) -> np.ndarray:
        """One frame.

        Args:
            opening: 0 lips closed .. 1 wide open.
            width: -1 rounded .. 0 neutral .. 1 spread.
            place: of the head.
            window: x1, y1, x2, y2 of the part that is wanted, within the frame; None: all of it.

        Returns:
            (size, size, 3) BGR uint8, or the window's part of it.
        """
        opening, width = float(opening), float(width)
        first_x, first_y, last_x, last_y = window or (0, 0, self.size, self.size)
        shape = last_x - first_x, last_y - first_y
        to_photo = self._placed(place)
        to_photo[:, 2] += to_photo[:, :2] @ (first_x, first_y)
        (a, b, c), (d, e, f) = to_photo.astype(np.float32)
        u, v = np.arange(shape[0], dtype=np.float32), np.arange(shape[1], dtype=np.float32)[:, None]
        photo_x, photo_y = a * u + b * v + c, d * u + e * v + f
        if any(place.turn):
            if self._depth is None:
                self._depth = people.depth(*self._axes.grid(self.photo.shape))
            flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            depth = cv2.warpAffine(self._depth, to_photo, shape, flags=flags)
            along_x, along_y = self._turned(place).astype(np.float32)
            photo_x -= along_x * depth
            photo_y -= along_y * depth

        # The part of the picture that the mouth moves, in mouth coordinates.
        far = self._chin + 1.1
        corners = self._from_mouth @ np.array([[-2.2, 2.2, -2.2, 2.2], [-1.0, -1.0, far, far], [1, 1, 1, 1]])
        corners = np.hstack([corners + offset[:, None] for offset in (0 * self._turned(place), self._turned(place))])
        corners = np.linalg.inv(to_photo[:, :2]) @ (corners - to_photo[:, 2:])
        (left, top), (right, bottom) = corners.min(1).astype(int), corners.max(1).astype(int) + 2
        left, right = (int(np.clip(v, 0, shape[0])) for v in (left, right))
        top, bottom = (int(np.clip(v, 0, shape[1])) for v in (top, bottom))
        part = np.s_[top:bottom, left:right]
        x, y = (g * photo_x[part] + h * photo_y[part] + i for g, h, i in self._to_mouth.astype(np.float32))
        source_x, source_y, upper, lower = self._warp(x, y, opening, width)
        photo_x[part], photo_y[part] = (
            g * source_x + h * source_y + i for g, h, i in self._from_mouth.astype(np.float32)
        )
        frame = cv2.remap(self.photo, photo_x, photo_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)

        painted = (np.abs(source_x) < 1) & (y > upper - 0.15) & (y < lower + 0.15)
        rows, columns = np.flatnonzero(painted.any(1)), np.flatnonzero(painted.any(0))
        if len(rows):
            inner = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            pixel = float(np.sqrt(abs(np.linalg.det(self._from_mouth[:, :2]) / np.linalg.det(to_photo[:, :2]))))
            gap = frame[part][inner]
            inside = (values[inner] for values in (source_x, y, upper, lower))
            gap[:] = self._paint(gap.astype(np.float32), *inside, opening, width, pixel)
        return frame

    def landmarks(self, opening: float, width: float, place: Place = _STRAIGHT) -> np.ndarray:
        """The five landmarks of what `render` makes, as MTCNN sees them: (5, 2) float64, pixels of the frame."""
        points = np.array(self.geometry.landmarks)
        wider, lower = _SEEN @ (opening, max(width, 0.0), max(-width, 0.0))
        mouth_x, mouth_y = self._to_mouth @ np.vstack([points[3:].T, np.ones(2)])
        mouth = np.stack([mouth_x * (self.geometry.rest_width + wider), mouth_y + lower, np.ones(2)])
        points[3:] = (self._from_mouth @ mouth).T
        return self._in_frame(points, place)

    def corners(self, opening: float, width: float, place: Place = _STRAIGHT) -> np.ndarray:
        """Where the corners of the mouth are in what `render` makes: (2, 2) float64, pixels of the frame."""
        scale, down = self._scale(opening, width), self.mouth.drop * _GAP * opening
        points = (self._from_mouth @ np.array([[-scale, scale], [down, down], [1, 1]])).T
        return self._in_frame(points, place)

    def _in_frame(self, points, place):
        """Points (n, 2) of the photo, its mouth moved, in pixels of the frame."""
        if any(place.turn):
            offset, there = self._turned(place), points
            for _ in range(4):  # where the depth is looked up, the point is already moved
                points = there + people.depth(*self._axes.to_face(points).T)[:, None] * offset
        to_photo = self._placed(place)
        return (points - to_photo[:, 2]) @ np.linalg.inv(to_photo[:, :2]).T + 0.5

    def _scale(self, opening, width):
        """Half of the mouth's width."""
        return self.geometry.rest_width * (1 + (0.16 if width > 0 else 0.27) * width) * (1 - 0.05 * opening)

    def _warp(self, x, y, opening, width):
        """Where each point comes from, and the inner edges of the lips above and below it."""
        rounded, spread = max(-width, 0.0), max(width, 0.0)
        scale = self._scale(opening, width)
        near = fall((np.abs(x) - scale) / 1.1) * fall((y - 0.5) / 1.0) * fall((-0.15 - y) / 0.55)  # nose stays
        source_x = x * (1 + (1 / scale - 1) * near)
        across = np.minimum(np.abs(source_x), 1)
        largest = _GAP * opening
        gap = largest * (1 - across * across) ** (0.7 - 0.2 * rounded)
        index = ((np.clip(source_x, -1, 1) + 1) * (0.5 * (_CURVE - 1)) + 0.5).astype(np.int32)
        closed, photo_upper, photo_lower = (curve[index] for curve in (self._closed, self._upper, self._lower))
        # A narrow or open mouth bends less than a wide, closed one, and the jaw takes the corners along.
        closed = closed * np.float32(min(1.0, scale) ** 1.5 * (1 - 0.4 * opening))
        fallen = self.mouth.drop * largest * (across * across) * fall(np.abs(source_x) - 1)
        upper = closed + fallen - self.mouth.arch * gap
        lower = upper + gap
        # Lips are thicker when rounded, thinner when spread or wide open.
        thinner = 1 / (1 + 0.25 * rounded - 0.12 * spread - 0.10 * opening) - 1
        thinner = thinner * fall((np.abs(source_x) - 0.6) / 0.8)
        over, under = np.maximum(upper - y, 0), np.maximum(y - lower, 0)
        above = np.minimum(y, upper) + (photo_upper - upper) * fall(over / 0.7) - thinner * over * fall(over / 0.6)
        lip = fall(under / 0.9)
        jaw = np.float32(-_JAW * opening) * np.exp(-((x / 1.5) ** 4))
        below = np.maximum(y, lower) + (lip * (photo_lower - lower) + (1 - lip) * jaw) * fall(y - self._chin)
        below += thinner * under * fall(under / 0.6)
        return source_x, np.where(y < (upper + lower) / 2, above, below), upper, lower

    def _paint(self, region, x, y, upper, lower, opening, width, pixel):
        """Paint the inside of the mouth, and the line between lips that touch."""
        mouth = self.mouth
        dark, tongue, teeth = (np.array(colour, np.float32) for colour in (mouth.dark, mouth.tongue, mouth.teeth))
        depth = np.maximum(lower - upper, 1e-3)
        down = np.clip((y - upper) / depth, 0, 1)
        colour = dark * (0.6 + 0.6 * down[..., None])
        bulge = fall((1 - mouth.raised * 0.6 - down) / 0.4) * fall((np.abs(x) - 0.3) / 0.45) * min(1.0, 1.6 * opening)
        colour = colour + (tongue - colour) * bulge[..., None]

        def bite(distance, reach, part):  # a row of teeth, `distance` from its edge, darker between two and aside
            between = 1 - 0.22 * np.exp(-((np.abs((np.abs(x) / 0.2) % 1 - 0.5) - 0.5) ** 2) / 0.012)
            row = np.clip(distance * pixel / 1.5 + 0.5, 0, 1) * (np.abs(x) < reach)
            return (part * row * between * (1 - 0.75 * (x / reach) ** 2))[..., None]

        # Teeth stand still while the upper lip moves, and those below go with the jaw. A narrow gap lets little light
        # in.
        light = np.clip(depth / 0.2, 0.55, 1) * np.clip((y - upper) / 0.1, 0.65, 1)
        light = light[..., None]
        low = mouth.lower_teeth * (1 - 0.6 * max(-width, 0.0)) * np.sqrt(np.maximum(0, 1 - (x / 0.75) ** 2))
        colour = colour + (0.82 * teeth * light - colour) * bite(y - (lower - low), 0.75, 0.75)
        high = 0.6 * self._closed.mean() + mouth.upper_teeth * (1 + 0.3 * width) * np.sqrt(
            np.maximum(0, 1 - (x / 0.9) ** 2)
        )
        colour = colour + (teeth * light - colour) * bite(high - y, 0.9, 0.92)
        colour = colour * self._light
        inside = np.clip((y - upper) * pixel / 1.5 + 0.25, 0, 1) * np.clip((lower - y) * pixel / 1.5 + 0.25, 0, 1)
        inside = inside * (np.abs(x) < 1)
        seam = np.exp(-(((y - (upper + lower) / 2) / 0.05) ** 2)) * np.maximum(0, 1 - x**2) ** 0.5
        seam = 0.45 * seam * np.clip(1 - depth / 0.1, 0, 1)
        region = region * (1 - seam[..., None])
        return np.clip(region + (colour - region) * inside[..., None] + 0.5, 0, 255).astype(np.uint8)


def _prepare(photo, geometry, face_height):
    """Photo and geometry with only the surroundings that a frame can show, the face `face_height` pixels high."""
    x1, y1, x2, y2 = geometry.box
    scale = face_height / (y2 - y1)
    reach = 1.4 * (y2 - y1)
    left, top = max(0, int((x1 + x2) / 2 - reach)), max(0, int((y1 + y2) / 2 - reach))
    piece = photo[top : int((y1 + y2) / 2 + reach) + 1, left : int((x1 + x2) / 2 + reach) + 1]
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    piece = cv2.resize(piece, None, fx=scale, fy=scale, interpolation=interpolation)

    def moved(points):  # pixel centres are at whole numbers
        return (points - (left, top) + 0.5) * scale - 0.5

    return piece, geometry.moved(moved)


def load_puppet(path: str | os.PathLike, name: str | None = None, size: int = FRAME_SIZE) -> Puppet:
    """The largest face of a photo. One with the lips closed and the face straight ahead works best.

    Args:
        path: any picture; those of `shipped_photos` need no face detector. Of a video, the frame with the lips shut
            most among the first 10 seconds.
        name: the clips' folder; default: the file's stem.
        size: of the frames.

    Raises:
        UserError: not a picture, or no face in it.
    """
    from . import video

    path = Path(path)
    name = name or "_".join(path.stem.split())
    if not video.probe(path).is_still:
        photo, face = shut_lips(path)
        return Puppet(photo, _find_mouth(photo, face.box, face.landmarks), name, size)
    photo = video.read_image(path)
    for shipped, file in shipped_photos().items():
        if path.samefile(file):
            return Puppet(photo, _SHIPPED[shipped], name, size)
    face = faces.select(faces.detect([photo])[0])
    if face is None:
        raise UserError(f"{path}: no face found; give a photo of one person looking at the camera")
    return Puppet(photo, _find_mouth(photo, face.box, face.landmarks), name, size)


def shut_lips(path: str | os.PathLike) -> tuple[np.ndarray, faces.Face]:
    """The frame of a video's first 10 seconds whose lips are shut most, BGR uint8, and the face in it.

    Raises:
        UserError: there is none, or the video cannot be read.
    """
    from . import metrics, video

    frames = itertools.takewhile(lambda frame: frame.time < 10, video.read_frames(path))
    seen = list(tracking.follow(frames))
    if not seen:
        raise UserError(f"{path}: no face found; give a video of one person looking at the camera")
    frame, one = seen[int(np.argmin(metrics.mouth_openings_seen(seen)))]
    return frame.image, one.face


def shipped_photos() -> dict[str, Path]:
    """The face photos that matplotlib and scikit-image bring along, as far as installed: name -> file."""
    files = {}
    with contextlib.suppress(ImportError):
        import matplotlib

        files["grace_hopper"] = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    skimage = importlib.util.find_spec("skimage")  # found, not imported: that takes a while
    if skimage is not None:
        files["astronaut"] = Path(skimage.origin).parent / "data" / "astronaut.png"
    return {name: file for name, file in files.items() if file.is_file()}


def _find_mouth(photo: np.ndarray, box, landmarks: np.ndarray) -> _Geometry:
    """The lip line: the darkest parabola near the line between the mouth's corners."""
    left, right = np.asarray(landmarks, float)[3:5]
    middle, half = (left + right) / 2, 1.1 * (right - left) / 2  # MTCNN's corners lie a little inside
    axes = np.array([[half[0], -half[1]], [half[1], half[0]]])
    x, y = np.linspace(-1, 1, 81), np.linspace(-1, 1, 101)
    u, v = np.einsum("ij,jkl->ikl", axes, np.stack(np.meshgrid(x, y))) + middle[:, None, None]
    grey = cv2.cvtColor(photo, cv2.COLOR_BGR2GRAY).astype(np.float32)
    blur = max(0.3, 0.02 * float(np.hypot(*half)))
    patch = cv2.remap(
        cv2.GaussianBlur(grey, (0, 0), blur), u.astype(np.float32), v.astype(np.float32), cv2.INTER_LINEAR
    )
    darkness = gaussian_filter1d(patch, 12, axis=0) - gaussian_filter1d(patch, 1.5, axis=0)
    inside = np.abs(x) < 0.85
    columns = np.flatnonzero(inside)

    def curve(offset, slope, bend):
        return offset + slope * x + bend * (1 - x**2)

    def score(parameters):
        rows = np.rint((curve(*parameters)[inside] + 1) * 50).astype(int).clip(0, 100)
        return darkness[rows, columns].mean() - 5 * np.abs(parameters).sum()  # in doubt, near the corners

    grid = itertools.product(np.linspace(-0.2, 0.2, 17), np.linspace(-0.1, 0.1, 5), np.linspace(-0.2, 0.4, 25))
    line = curve(*max(grid, key=score))
    border = 0.035 * np.sqrt(np.maximum(0, 1 - x**2))  # the dark line itself is painted anew
    upper, lower = ((axes @ np.stack([x, line + d]) + middle[:, None]).T for d in (-border, border))
    points = (np.asarray(landmarks, float) - 0.5).tolist()
    return _Geometry(tuple(float(v) for v in box), upper.tolist(), lower.tolist(), float(box[3]), points)


# ------------------------------------------------------------------------------------------------------------ clips


class _Take:
    """One clip before it is written: a person, a pose and a camera, drawn from `rng`, and a sound with its mouth.

    Args:
        varied: make up a person and a camera, and move the head more.
        clear: see `make_clips`.
        grins: whether there may be pictures of a grin, which only crops have.
    """

    def __init__(self, puppet, wave, opening, width, rng, fps=FPS, varied=False, clear=False, grins=False):
        self.wave, self.opening, self.width, self.fps = wave, np.float32(opening), np.float32(width), fps
        self.numbers, self.camera, self.grin = {}, None, None
        if varied:
            person, self.camera = people.Person(rng, smiling=clear), people.Camera(rng, good=clear)
            self.pose = people.Pose.drawn(len(opening), fps, puppet.size, rng)
            self.puppet = puppet.as_person(person, rng, alike=clear)
            mouth = {name: np.round(value, 4).tolist() for name, value in dataclasses.asdict(self.puppet.mouth).items()}
            self.numbers = {"person": person.numbers, "camera": self.camera.numbers, "mouth": mouth}
            if grins and rng.random() < _GRINS:
                grin, more = puppet.grinning(person, self.puppet.mouth, rng)
                self.grin = grin, rng.uniform(0.15, 0.65), rng.uniform(0.3, 1.0)
                self.numbers["grin"] = more | dict(zip(("opening", "width"), self.grin[1:], strict=True))
        else:
            self.puppet = puppet.varied(rng)
            self.pose = people.Pose(*_head_motion(len(opening), fps, puppet.size, rng), np.zeros((len(opening), 2)))

    def at(self, i):
        """What `Puppet.render` and its like take for frame i."""
        return self.opening[i], self.width[i], self.pose[i]

    def frame(self, i, window=None, grins=False):
        """`window` as of `Puppet.render`; `grins`: another picture of the head that is held so."""
        puppet, *at = (*self.grin, self.pose[i]) if grins else (self.puppet, *self.at(i))
        image = puppet.render(*at, window)
        number = i + len(self.opening) * grins  # its noise is its own
        return image if self.camera is None else self.camera(image, number, *(window or (0, 0))[:2])

    def truth(self) -> dict[str, np.ndarray]:
        """What is kept beside a clip."""
        numbers = range(len(self.opening))
        return {
            "opening": self.opening,
            "width": self.width,
            "fps": self.fps,
            "corners": np.float32([self.puppet.corners(*self.at(i)) for i in numbers]),
            "landmarks": np.float32([self.puppet.landmarks(*self.at(i)) for i in numbers]),
        }


def write_clip(
    path: str | os.PathLike,
    puppet: Puppet,
    wave: np.ndarray,
    opening: np.ndarray,
    width: np.ndarray,
    rng: np.random.Generator,
    fps: float = FPS,
    varied: bool = False,
    **note: str,
) -> None:
    """Write a puppet's clip as MP4 with sound, and beside it `<stem>.npz` with the truth.

    The .npz holds `opening` and `width`, float32 (frames,), `fps`, and in pixels of the frame `corners` of the mouth
    (frames, 2, 2) and `landmarks` (frames, 5, 2) as MTCNN would see them, float32. The MP4 is written last: where it
    is, the clip is whole.

    Args:
        path: the MP4 file; its folder is made.
        puppet: the face.
        wave: (samples,) 16 kHz mono in [-1, 1]; cut or padded to the frames.
        opening, width: (frames,).
        rng: decides the light and how the head moves.
        fps: frames a second.
        varied: make up another person of that face, filmed by a camera of its own; `drawn` in the .npz says in JSON
            what was drawn.
        note: further texts to keep in the .npz.

    Raises:
        UserError: the folder cannot be written to.
    """
    _write_video(path, _Take(puppet, wave, opening, width, rng, fps, varied), note)


def _write_video(path, take, note):
    from . import video

    frames, fps, size = len(take.opening), take.fps, take.puppet.size
    with cli.replacing(path) as temporary:
        with video.VideoWriter(
            temporary, size, size, fps, audio=(take.wave, audio.SAMPLE_RATE), duration=frames / fps
        ) as writer:
            for i in range(frames):
                writer.write(take.frame(i), i / fps, 1 / fps)
        with cli.replacing(Path(path).with_suffix(".npz")) as temporary_truth:
            np.savez(temporary_truth, **take.truth(), drawn=json.dumps(take.numbers), **note)


def _write_crops(folder, take, img_size, note):
    """What `preprocessing` would make of the clip, without encoding it and looking for its face again."""
    from . import preprocessing

    partial = folder.parent / f".{folder.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    truth = take.truth()
    smooth = tracking.smoothed(truth["landmarks"].astype(float))
    saved = collections.defaultdict(list)
    frames = len(smooth)
    grins = range(2, frames, _EVERY) if take.grin else ()
    grin = [take.grin[0].landmarks(*take.grin[1:], take.pose[i]) for i in grins]
    for number, (i, points) in enumerate(zip([*range(frames), *grins], [*smooth, *grin], strict=True)):
        box = faces.crop_box(faces.Face(np.zeros(4), points, 1.0))
        # The camera works in blocks of 16 pixels.
        x1, y1 = (np.floor(np.maximum(box[:2] - 8, 0) / 16) * 16).astype(int).tolist()
        x2, y2 = np.minimum(np.ceil((box[2:] + 8) / 16) * 16, take.puppet.size).astype(int).tolist()
        image = take.frame(i, (x1, y1, x2, y2), grins=number >= frames)
        preprocessing.write_jpeg(partial / f"{number}.jpg", faces.extract(image, box - (x1, y1, x1, y1), img_size))
        saved["landmarks"].append(faces.to_crop(points, box, img_size))
        saved["box"].append(box)
    wave = librosa.util.fix_length(take.wave, size=round(frames / take.fps * audio.SAMPLE_RATE))
    preprocessing.write_sound(partial, wave)
    numbers = np.arange(frames + len(grins))
    saved |= {"frames": numbers, "time": np.minimum(numbers, frames) / FPS, "duration": (numbers < frames) / FPS}
    np.savez(partial / "landmarks.npz", img_size=img_size, **saved, **note)
    with cli.replacing(folder.with_name(f"{folder.name}.npz")) as temporary:
        np.savez(temporary, **truth, drawn=json.dumps(take.numbers), **note)
    shutil.rmtree(folder, ignore_errors=True)
    os.rename(partial, folder)


def _head_motion(frames, fps, size, rng):
    """Slow random shift (frames, 2) in pixels, angle (frames,) in degrees and zoom (frames, 2) around a random pose."""
    time = np.arange(frames) / fps

    def slow(amount):
        rates, phases = rng.uniform(0.08, 0.7, 3), rng.random(3)
        return amount / 1.7 * np.sin(2 * np.pi * (rates * time[:, None] + phases)).sum(1)

    shift = rng.uniform(-0.025, 0.025, 2) * size + np.stack([slow(0.01 * size), slow(0.008 * size)], 1)
    angle = rng.uniform(-3, 3) + slow(2.0)
    zoom = rng.uniform(0.93, 1.07) * rng.uniform(0.97, 1.03, 2) * (1 + slow(0.012))[:, None]
    return shift, angle, zoom


@dataclasses.dataclass(frozen=True)
class _Job:
    path: Path  # the MP4, or the folder of crops
    puppet: Puppet
    seconds: float
    speech: list[str]
    seed: list[int]
    varied: bool
    clear: bool
    img_size: int | None  # of crops; None: a video
    note: str


def _make_clip(job: _Job) -> None:
    rng = np.random.default_rng(job.seed)
    if job.varied:
        sound = _draw_sound(job.seconds, [_load_speech(file) for file in job.speech], rng)
    elif job.speech:
        wave = _load_speech(job.speech[rng.integers(len(job.speech))])
        first = rng.integers(max(1, len(wave) - round(job.seconds * audio.SAMPLE_RATE) + 1))
        wave = wave[first : first + round(job.seconds * audio.SAMPLE_RATE)]
        sound = _Sound(wave, *articulation_from_speech(wave), {})
    else:
        sound = _Sound(*synthesise_speech(job.seconds, rng), {})
    grins = job.clear and job.img_size is not None
    take = _Take(
        job.puppet, sound.wave, sound.opening, sound.width, rng, varied=job.varied, clear=job.clear, grins=grins
    )
    take.numbers |= sound.numbers
    if job.img_size is None:
        _write_video(job.path, take, {"made_with": job.note})
    else:
        _write_crops(job.path, take, job.img_size, {"made_with": job.note})


@functools.lru_cache(maxsize=16)
def _load_speech(file):
    return audio.load_audio(file)


def make_clips(
    out: str | os.PathLike,
    clips: int,
    seed: int = 0,
    seconds: float = 6.0,
    photos: Sequence[str | os.PathLike] = (),
    speech: Sequence[str | os.PathLike] = (),
    num_workers: int = 1,
    mirror: bool = True,
    varied: bool = False,
    crops: bool = False,
    img_size: int = 96,
    clear: bool = False,
) -> list[Path]:
    """Make clips in the LRS2 layout: `out/main/<face>/<00001>.mp4` with `<00001>.npz` beside each.

    Every face gives two looks, itself and its mirror image, which take turns. Each clip depends on the seed and its
    own number only. Clips that are there and were made with the same settings are kept.

    Args:
        out: the data root.
        clips: how many in all.
        seed: of everything random.
        seconds: the length of each; without `varied`, pieces of real speech may be shorter where the file is.
        photos: of faces, or videos, of which the frame with the lips shut most is taken; none: those that ship with
            matplotlib and scikit-image.
        speech: files with speech to cut random pieces from; none: synthesised sound.
        num_workers: processes.
        mirror: whether to use the mirror images.
        varied: every clip shows another made-up person, filmed by a camera of its own, and one in nine has music or
            silence and a mouth at rest. With `speech`, a third of the clips uses it.
        crops: write the folders `out/main/<face>/<00001>/` that `preprocessing` would make of the clips instead, which
            is several times as fast and needs no face detector where the photos need none. The pictures are spared
            H.264, the sound AAC. Most of the `clear` have pictures with a grin besides, which no sound belongs to and
            only an identity frame can be.
        img_size: of the crops, pixels.
        clear: as `varied`, but many smile, lips are paler, most of them thinner, the cameras are better, and teeth and
            tongues differ less. What an identity frame with the lips shut does not tell, a generator gives as its
            median; here there is less of that.

    Returns:
        The MP4 files, or the folders.

    Raises:
        UserError: a photo without a face, speech without sound, or a folder that cannot be written to.
    """
    cli.check_writable(out)
    varied = varied or clear
    photos = list(photos) or list(shipped_photos().values())
    if not photos:
        raise UserError("no photo: neither matplotlib nor scikit-image is installed; give one with --photo")
    for file in speech:
        audio.load_audio(file, max_seconds=1)  # complain now rather than at the clip that uses it
    size = FRAME_SIZE * -(-img_size // 96) if crops else FRAME_SIZE
    puppets = {}
    for photo in photos[:clips]:
        puppet = load_puppet(photo, size=size)
        while puppet.name in puppets:
            puppet.name += "_2"
        puppets[puppet.name] = puppet
    looks = list(puppets.values()) + [puppet.mirrored() for puppet in puppets.values() if mirror]
    jobs, paths = [], []
    files = [os.fspath(file) for file in speech]
    known = [os.path.basename(file) for file in files]
    for clip in range(clips):
        look = looks[clip % len(looks)]
        path = Path(out) / "main" / look.name / f"{clip // len(looks) + 1:05d}{'' if crops else '.mp4'}"
        settings = [_VERSION, seed, clip, seconds, known, _CLEAR if clear else varied]
        note = json.dumps([*settings, img_size] if crops else settings)
        paths.append(path)
        if not _is_made(path, note, crops):
            side = img_size if crops else None
            jobs.append(_Job(path, look, seconds, files, [seed, clip], varied, clear, side, note))
    done = _run_jobs(jobs, min(num_workers, len(jobs)))
    for _ in tqdm(done, total=clips, initial=clips - len(jobs), unit="clip"):
        pass
    return paths


def _is_made(path, note, crops):
    if crops and path.exists():
        try:
            with np.load(path / "landmarks.npz") as saved:
                return str(saved["made_with"]) == note
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise UserError(f"{path}: is there, but no crops of a puppet; choose another --out") from error
    try:
        with np.load(path.with_suffix(".npz")) as truth:
            return path.is_file() and str(truth["made_with"]) == note
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return False


def _run_jobs(jobs, workers):
    """Yield after each clip."""
    if workers <= 1:
        yield from map(_make_clip, jobs)
        return
    # Spawned, since a fork of a process with threads may hang.
    context = multiprocessing.get_context("spawn")
    executor = concurrent.futures.ProcessPoolExecutor(workers, context, initializer=_start_worker)
    try:
        with cli.uninterrupted():
            futures = [executor.submit(_make_clip, job) for job in jobs]
        for future in concurrent.futures.as_completed(futures):
            yield future.result()
    except concurrent.futures.process.BrokenProcessPool as error:
        raise UserError("a process was ended from outside, perhaps for want of memory; lower --num_workers") from error
    finally:
        executor.shutdown(cancel_futures=True)  # after Ctrl-C too the clips under way are finished: seconds


def _start_worker():
    cv2.setNumThreads(1)


def main() -> None:
    parser = cli.ArgumentParser(prog="python -m lipgan_keras.puppets", description="Make talking-face clips.")
    parser.add_argument("--out", required=True, help="data root; clips go to OUT/main/<face>/<00001>.mp4")
    parser.add_argument("--clips", type=cli.integer(1), default=20, help="how many clips")
    parser.add_argument("--seed", type=cli.integer(0), default=0, help="of everything random")
    parser.add_argument("--seconds", type=cli.positive(), default=6.0, help="length of a clip")
    parser.add_argument(
        "--photo",
        nargs="+",
        default=[],
        help="face photos, or videos, whose frame with the lips shut most is taken (default: the photos that "
        "matplotlib and scikit-image bring)",
    )
    parser.add_argument("--speech", nargs="+", default=[], help="files with speech (default: synthesised sound)")
    parser.add_argument(
        "--varied",
        action="store_true",
        help="in every clip another made-up person, light, camera and voice; some with music or noise, or in silence",
    )
    parser.add_argument(
        "--clear",
        action="store_true",
        help="as --varied, but with smiles, thinner and paler lips, better cameras, and teeth and tongues that differ "
        "less",
    )
    parser.add_argument(
        "--crops",
        action="store_true",
        help="write the folders of crops that train.py reads, without videos and preprocess.py: several times as fast",
    )
    parser.add_argument("--img_size", type=cli.integer(16), default=96, help="side of the crops in pixels")
    parser.add_argument("--num_workers", type=cli.integer(1), default=os.cpu_count() or 1, help="processes")
    args = parser.parse_args()
    paths = make_clips(
        args.out,
        args.clips,
        args.seed,
        args.seconds,
        args.photo,
        args.speech,
        num_workers=args.num_workers,
        varied=args.varied,
        crops=args.crops,
        img_size=args.img_size,
        clear=args.clear,
    )
    print(f"{len(paths)} clips in {Path(args.out) / 'main'}")


if __name__ == "__main__":
    cli.run(main)
