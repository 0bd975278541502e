"""Talking-face clips of our own: the mouth of a face photo, moved by a speech-like sound.

Talking-face data sets cannot be downloaded without an agreement, so that tests, newcomers and the demo have these
instead: real MP4 files in the LRS2 layout, with the mouth's true opening and width beside each.

The sound is synthesised after the source-filter model (Fant, Acoustic Theory of Speech Production, 1960; the glottal
pulse is that of Klatt and Klatt, JASA 87(2), 1990): the mouth's opening sets the first formant, spreading and
rounding the second and third. Real speech can be given instead; its energy and formant bands then move the mouth.

    python -m lipgan_keras.puppets --out data/puppets --clips 20 --seed 1
"""

import concurrent.futures
import contextlib
import copy
import dataclasses
import importlib.util
import itertools
import json
import math
import multiprocessing
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import librosa
import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import gaussian_filter1d
from tqdm import tqdm

from . import audio, cli
from .cli import UserError

FPS = 25.0
FRAME_SIZE = 256

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
    [_Phone(0.10, 0.35, (0.07, 0.14), noise=0.5, centre=6000, bandwidth=1200)],  # s
    [_Phone(0.18, -0.55, (0.07, 0.14), noise=0.5, centre=3200, bandwidth=800)],  # sh
    [_Phone(0.18, 0.2, (0.05, 0.09), voice=0.6, nasal=0.8)],  # n
    [_Phone(0.30, 0.1, (0.05, 0.08), voice=0.8)],  # l
    [_Phone(0.08, -1.0, (0.06, 0.10), voice=0.7)],  # w
]


def synthesise_speech(
    seconds: float, rng: np.random.Generator, fps: float = FPS
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A speech-like sound of one made-up speaker, with the mouth that makes it.

    Args:
        seconds: its length; rounded to whole video frames, at least one.
        rng: decides the speaker, the string of phones and their timing.
        fps: video frames a second.

    Returns:
        wave: float32 (samples,), 16 kHz mono in [-1, 1].
        opening: float32 (frames,), 0 lips closed .. 1 wide open, in the middle of each frame.
        width: float32 (frames,), -1 rounded .. 0 neutral .. 1 spread.
    """
    frames = max(1, round(seconds * fps))
    samples = round(frames / fps * audio.SAMPLE_RATE)
    steps = samples // _CONTROL + 2
    track = _phone_tracks(steps, rng)
    tract = rng.uniform(0.9, 1.18)  # vocal tract: long to short
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
    mouth = math.prod(_resonator(frequency, tract * centre, width_) for centre, width_ in formants)
    nose = 0.5 * math.prod(_resonator(frequency, tract * c, b) for c, b in ((270.0, 80), (1100.0, 300), (2300.0, 500)))
    # Lips that are nearly shut let little out.
    through_mouth = voice * (1 - nasal) * (0.15 + 0.85 * np.sqrt(opening)) * (opening > 0.01)
    hiss = noise * np.exp(-0.5 * ((frequency - track["centre"]) / track["bandwidth"]) ** 2)

    length = (steps - 1) * _CONTROL
    glottis = _spectra(_glottal_source(length, rng) + 0.01 * rng.standard_normal(length))
    friction = _spectra(0.25 * rng.standard_normal(length))
    spectra = glottis * (mouth * through_mouth + nose * voice * nasal) + friction * hiss
    wave = librosa.istft(spectra, hop_length=_CONTROL, n_fft=_FFT)
    wave = np.pad(wave, (0, max(0, samples - len(wave))))[:samples]
    wave *= rng.uniform(0.3, 0.9) / max(np.abs(wave).max(), 1e-6)
    wave += 10 ** rng.uniform(-4, -2.5) * rng.standard_normal(samples)  # a room is never silent

    middles = (np.arange(frames) + 0.5) / fps * audio.SAMPLE_RATE / _CONTROL
    at_frames = [np.interp(middles, np.arange(steps), values).astype(np.float32) for values in (opening, width)]
    return np.clip(wave, -1, 1).astype(np.float32), *at_frames


def _phone_tracks(steps, rng):
    """A random string of syllables and pauses as piecewise constant controls: a dict of (steps,) arrays."""
    names = [field.name for field in dataclasses.fields(_Phone) if field.name != "seconds"]
    tempo = rng.uniform(0.85, 1.25)
    phones, filled = [(_Phone(0, 0, (0, 0)), rng.uniform(0.05, 0.3))], 0.0
    while filled * audio.SAMPLE_RATE / _CONTROL < steps:
        phrase = []
        for _ in range(rng.integers(3, 10)):
            if rng.random() < 0.85:
                phrase += _CONSONANTS[rng.integers(len(_CONSONANTS))]
            phrase.append(_VOWELS[rng.integers(len(_VOWELS))])
            if rng.random() < 0.25:
                phrase += _CONSONANTS[rng.integers(len(_CONSONANTS))]
        phrase.append(_Phone(-0.1, 0, (0.12, 0.5)))  # a pause
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


def _glottal_source(length, rng):
    """The derivative of the glottal flow, 2p - 3p^2/q in the open part q of each period, with jitter and melody."""
    time = np.arange(length) / audio.SAMPLE_RATE
    melody = sum(
        rng.uniform(0.03, 0.08) * np.sin(2 * np.pi * (rate * time + rng.random())) for rate in rng.uniform(0.3, 2.5, 4)
    )
    jitter = gaussian_filter1d(rng.normal(0, 0.12, length), 80)
    pitch = rng.uniform(90, 230) * 2 ** (melody + jitter)
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


# ------------------------------------------------------------------------------------------------------------ faces

# All lengths of the mouth are in halves of its width, x along it from -1 to 1, y down from the line of its corners.
_GAP = 0.62  # between the lips in the middle, wide open: some 10 pixels of a 96 pixel crop
_JAW = 0.40  # how far the chin drops then
_FACE_HEIGHT = 0.5  # of the frame's
_RESOLUTION = 1.2  # pixels of the prepared photo for one of the frame


@dataclasses.dataclass(frozen=True)
class _Geometry:
    """Where the mouth is in a photo, in pixels."""

    box: tuple[float, float, float, float]  # of the face: x1, y1, x2, y2
    upper: list[tuple[float, float]]  # inner edge of the upper lip, corner to corner
    lower: list[tuple[float, float]]  # of the lower lip; the same where the lips are shut
    chin: float  # y of its lower edge
    rest_width: float = 1.0  # of the closed mouth, relative to the photo's: below 1 undoes a smile

    def mirrored(self, photo_width: int) -> "_Geometry":
        x1, y1, x2, y2 = self.box
        last = photo_width - 1
        flip = [[(last - x, y) for x, y in reversed(points)] for points in (self.upper, self.lower)]
        return dataclasses.replace(self, box=(last - x2, y1, last - x1, y2), upper=flip[0], lower=flip[1])


# The photos that ship with packages, measured by hand; boxes as MTCNN gives them.
_SHIPPED = {
    "grace_hopper": _Geometry(
        box=(178, 110, 351, 330),
        upper=[(228.8, 281), (238, 278.7), (246, 276.6), (254.7, 276), (261.3, 277.3), (266.3, 278.7), (273, 277.7),
               (281.3, 276), (291.3, 275.7), (299.7, 276.3), (309, 280.8)],
        lower=[(228.8, 281), (238, 281.7), (246, 279.6), (254.7, 279.2), (261.3, 280.3), (266.3, 281.2), (273, 280.3),
               (281.3, 279), (291.3, 278.7), (299.7, 279.3), (309, 280.8)],
        chin=328,
    ),
    "astronaut": _Geometry(
        box=(182, 64, 265, 171),
        upper=[(203.8, 140), (209.7, 140.8), (216.3, 141.6), (224.7, 142.4), (233, 142), (238.8, 141), (244.6, 140.4)],
        lower=[(203.8, 140), (206.5, 143.4), (209.7, 146.2), (216.3, 149.4), (224.7, 150.8), (233, 149), (239.7, 145),
               (244.6, 140.4)],
        chin=178,
        rest_width=0.9,
    ),
}  # fmt: skip


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

        self._x = np.linspace(-1, 1, 201)
        self._upper, self._lower = (self._curve(points) for points in (upper, lower))
        self._lower = np.maximum(self._lower, self._upper)
        self._closed = self._upper + 0.35 * (self._lower - self._upper)
        self._chin = float(max(0.8, (geometry.chin - middle[1]) / np.hypot(*half)))

        # The light inside the mouth: that of the skin beside and below it, with half of its tint (skin itself is some
        # 1.4 times redder than grey).
        around = self._from_mouth @ np.array([[-0.8, 0.8, 0], [0.7, 0.7, 0.9], [1, 1, 1]])
        columns, rows = (around.astype(int).T.clip(0, np.array(self.photo.shape[1::-1]) - 1)).T
        skin = self.photo[rows, columns].mean(0) + 1
        tint = np.sqrt(skin / skin.mean() / np.array([0.75, 0.98, 1.27]))
        self._light = (np.clip(skin.mean() / 150, 0.4, 1.2) * tint).astype(np.float32)

    def _curve(self, points):
        x, y = self._to_mouth @ np.vstack([points.T, np.ones(len(points))])
        return gaussian_filter1d(PchipInterpolator(x, y)(self._x), 4) * (np.abs(self._x) < 1)

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

    def render(
        self,
        opening: float,
        width: float,
        shift: tuple[float, float] = (0.0, 0.0),
        angle: float = 0.0,
        zoom: tuple[float, float] = (1.0, 1.0),
    ) -> np.ndarray:
        """One frame.

        Args:
            opening: 0 lips closed .. 1 wide open.
            width: -1 rounded .. 0 neutral .. 1 spread.
            shift: of the face from the frame's middle, pixels.
            angle: of the head, degrees clockwise.
            zoom: horizontal and vertical.

        Returns:
            (size, size, 3) BGR uint8.
        """
        opening, width, turn = float(opening), float(width), math.radians(angle)
        linear = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
        linear = _RESOLUTION * linear / np.asarray(zoom)[:, None]
        centre = np.array([self.size / 2, self.size / 2]) + shift
        to_photo = np.hstack([linear, (self._face - linear @ centre)[:, None]])
        frame = cv2.warpAffine(
            self.photo,
            to_photo,
            (self.size, self.size),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT,
        )

        # The part of the frame that the mouth moves, in mouth coordinates.
        far = self._chin + 1.1
        corners = self._from_mouth @ np.array([[-2.2, 2.2, -2.2, 2.2], [-1.2, -1.2, far, far], [1, 1, 1, 1]])
        corners = np.linalg.inv(linear) @ (corners - to_photo[:, 2:])
        (left, top), (right, bottom) = corners.min(1).astype(int), corners.max(1).astype(int) + 2
        left, top, right, bottom = (int(np.clip(v, 0, self.size)) for v in (left, top, right, bottom))
        u, v = np.arange(left, right, dtype=np.float32), np.arange(top, bottom, dtype=np.float32)[:, None]
        to_mouth = _compose(self._to_mouth, to_photo)
        x, y = (a * u + b * v + c for a, b, c in to_mouth.astype(np.float32))

        source_x, source_y, upper, lower, across = self._warp(x, y, opening, width)
        maps = [a * source_x + b * source_y + c for a, b, c in self._from_mouth.astype(np.float32)]
        region = cv2.remap(self.photo, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT).astype(np.float32)
        pixel = 1 / float(np.hypot(*to_mouth[:, 1]))  # pixels of the frame in a mouth unit
        frame[top:bottom, left:right] = self._paint(region, across, y, upper, lower, opening, width, pixel)
        return frame

    def _warp(self, x, y, opening, width):
        """Where each point comes from, and the inner edges of the lips above and below it."""
        scale = self.geometry.rest_width * (1 + (0.16 if width > 0 else 0.27) * width) * (1 - 0.05 * opening)
        near = _fall((np.abs(x) - scale) / 1.1) * _fall((y - 0.5) / 1.0) * _fall((-0.15 - y) / 0.55)  # nose stays
        source_x = x * (1 + (1 / scale - 1) * near)
        gap = _GAP * opening * np.maximum(0, 1 - source_x**2) ** 0.7
        closed, photo_upper, photo_lower = (
            np.interp(source_x, self._x, curve, 0, 0).astype(np.float32)
            for curve in (self._closed, self._upper, self._lower)
        )
        closed = closed * min(1.0, scale) ** 1.5  # a narrow mouth bends no more than a wide one
        upper, lower = closed - 0.12 * gap, closed + 0.88 * gap
        above = np.minimum(y, upper) + (photo_upper - upper) * _fall((upper - y) / 0.7)
        lip = _fall((y - lower) / 0.9)
        jaw = -_JAW * opening * np.exp(-((x / 1.5) ** 4))
        below = np.maximum(y, lower) + (lip * (photo_lower - lower) + (1 - lip) * jaw) * _fall(y - self._chin)
        return source_x, np.where(y < (upper + lower) / 2, above, below), upper, lower, source_x

    def _paint(self, region, x, y, upper, lower, opening, width, pixel):
        """Paint the inside of the mouth, and the line between lips that touch."""
        depth = np.maximum(lower - upper, 1e-3)
        down = np.clip((y - upper) / depth, 0, 1)
        dark = np.array([30, 24, 52], np.float32)
        tongue = np.array([78, 72, 150], np.float32)
        teeth = np.array([176, 193, 208], np.float32)
        colour = dark * (0.6 + 0.6 * down[..., None])
        bulge = _fall((0.85 - down) / 0.45) * _fall((np.abs(x) - 0.3) / 0.45) * min(1.0, 1.6 * opening)
        colour = colour + (tongue - colour) * bulge[..., None]
        edge = upper + 0.15 * np.sqrt(np.maximum(0, 1 - (x / 0.85) ** 2)) * (1 + 0.3 * width)
        bite = np.clip((edge - y) * pixel / 1.5 + 0.5, 0, 1) * (1 - 0.5 * x**2) * (np.abs(x) < 0.85)
        shadow = np.clip((y - upper) / 0.1, 0.65, 1)  # of the upper lip
        colour = (colour + (teeth * shadow[..., None] - colour) * (0.9 * bite)[..., None]) * self._light
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
        return [((x - left + 0.5) * scale - 0.5, (y - top + 0.5) * scale - 0.5) for x, y in points]

    (x1, y1), (x2, y2), (_, chin) = moved([(x1, y1), (x2, y2), (0, geometry.chin)])
    return piece, dataclasses.replace(
        geometry, box=(x1, y1, x2, y2), upper=moved(geometry.upper), lower=moved(geometry.lower), chin=chin
    )


def _fall(distance):
    """1 up to distance 0, then smoothly down to 0 at distance 1."""
    d = np.clip(distance, 0, 1)
    return 1 - d * d * (3 - 2 * d)


def _compose(outer, inner):
    """The affine map, (2, 3), that does `inner` and then `outer`."""
    return np.hstack([outer[:, :2] @ inner[:, :2], outer[:, :2] @ inner[:, 2:] + outer[:, 2:]])


def load_puppet(path: str | os.PathLike, name: str | None = None, size: int = FRAME_SIZE) -> Puppet:
    """The largest face of a photo. One with the lips closed and the face straight ahead works best.

    Args:
        path: any picture; those of `shipped_photos` need no face detector.
        name: the clips' folder; default: the file's stem.
        size: of the frames.

    Raises:
        UserError: not a picture, or no face in it.
    """
    from . import video

    path = Path(path)
    name = name or "_".join(path.stem.split())
    photo = video.read_image(path)
    for shipped, file in shipped_photos().items():
        if path.samefile(file):
            return Puppet(photo, _SHIPPED[shipped], name, size)
    from . import faces

    face = faces.select(faces.detect([photo])[0])
    if face is None:
        raise UserError(f"{path}: no face found; give a photo of one person looking at the camera")
    return Puppet(photo, _find_mouth(photo, face.box, face.landmarks), name, size)


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
    return _Geometry(tuple(float(v) for v in box), upper.tolist(), lower.tolist(), chin=float(box[3]))


# ------------------------------------------------------------------------------------------------------------ clips


def write_clip(
    path: str | os.PathLike,
    puppet: Puppet,
    wave: np.ndarray,
    opening: np.ndarray,
    width: np.ndarray,
    rng: np.random.Generator,
    fps: float = FPS,
    **note: str,
) -> None:
    """Write a puppet's clip as MP4 with sound, and beside it `<stem>.npz` with the truth.

    The .npz holds `opening` and `width`, float32 (frames,), and `fps`. The MP4 is written last: where it is, the
    clip is whole.

    Args:
        path: the MP4 file; its folder is made.
        puppet: the face.
        wave: (samples,) 16 kHz mono in [-1, 1]; cut or padded to the frames.
        opening, width: (frames,).
        rng: decides the light and how the head moves.
        fps: frames a second.
        note: further texts to keep in the .npz.

    Raises:
        UserError: the folder cannot be written to.
    """
    from . import video

    frames = len(opening)
    puppet = puppet.varied(rng)
    shift, angle, zoom = _head_motion(frames, fps, puppet.size, rng)
    with cli.replacing(path) as temporary:
        with video.VideoWriter(
            temporary, puppet.size, puppet.size, fps, audio=(wave, audio.SAMPLE_RATE), duration=frames / fps
        ) as writer:
            for i in range(frames):
                image = puppet.render(opening[i], width[i], shift[i], angle[i], zoom[i])
                writer.write(image, i / fps, 1 / fps)
        truth = Path(path).with_suffix(".npz")
        with cli.replacing(truth) as temporary_truth:
            np.savez(temporary_truth, opening=np.float32(opening), width=np.float32(width), fps=fps, **note)


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


def _make_clip(job) -> None:
    path, puppet, seconds, speech, seed, note = job
    rng = np.random.default_rng(seed)
    if speech:
        wave = audio.load_audio(speech[rng.integers(len(speech))])
        first = rng.integers(max(1, len(wave) - round(seconds * audio.SAMPLE_RATE) + 1))
        wave = wave[first : first + round(seconds * audio.SAMPLE_RATE)]
        opening, width = articulation_from_speech(wave)
    else:
        wave, opening, width = synthesise_speech(seconds, rng)
    write_clip(path, puppet, wave, opening, width, rng, made_with=note)


def make_clips(
    out: str | os.PathLike,
    clips: int,
    seed: int = 0,
    seconds: float = 6.0,
    photos: Sequence[str | os.PathLike] = (),
    speech: Sequence[str | os.PathLike] = (),
    num_workers: int = 1,
    mirror: bool = True,
) -> list[Path]:
    """Make clips in the LRS2 layout: `out/main/<face>/<00001>.mp4` with `<00001>.npz` beside each.

    Every face gives two looks, itself and its mirror image, which take turns. Each clip depends on the seed and its
    own number only. Clips that are there and were made with the same settings are kept.

    Args:
        out: the data root.
        clips: how many in all.
        seed: of everything random.
        seconds: the length of each; pieces of real speech may be shorter where the file is.
        photos: of faces; none: those that ship with matplotlib and scikit-image.
        speech: files with speech to cut random pieces from; none: synthesised sound.
        num_workers: processes.
        mirror: whether to use the mirror images.

    Returns:
        The MP4 files.

    Raises:
        UserError: a photo without a face, speech without sound, or a folder that cannot be written to.
    """
    cli.check_writable(out)
    photos = list(photos) or list(shipped_photos().values())
    if not photos:
        raise UserError("no photo: neither matplotlib nor scikit-image is installed; give one with --photo")
    for file in speech:
        audio.load_audio(file, max_seconds=1)  # complain now rather than at the clip that uses it
    puppets = {}
    for photo in photos[:clips]:
        puppet = load_puppet(photo)
        while puppet.name in puppets:
            puppet.name += "_2"
        puppets[puppet.name] = puppet
    looks = list(puppets.values()) + [puppet.mirrored() for puppet in puppets.values() if mirror]
    jobs, paths = [], []
    for clip in range(clips):
        look = looks[clip % len(looks)]
        path = Path(out) / "main" / look.name / f"{clip // len(looks) + 1:05d}.mp4"
        note = json.dumps([seed, clip, seconds, [os.path.basename(file) for file in speech]])
        paths.append(path)
        if not _is_made(path, note):
            jobs.append((path, look, seconds, [os.fspath(file) for file in speech], [seed, clip], note))
    done = _run_jobs(jobs, min(num_workers, len(jobs)))
    for _ in tqdm(done, total=clips, initial=clips - len(jobs), unit="clip"):
        pass
    return paths


def _is_made(path, note):
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
    parser.add_argument("--photo", nargs="+", default=[], help="face photos (default: matplotlib's and scikit-image's)")
    parser.add_argument("--speech", nargs="+", default=[], help="files with speech (default: synthesised sound)")
    parser.add_argument("--num_workers", type=cli.integer(1), default=os.cpu_count() or 1, help="processes")
    args = parser.parse_args()
    paths = make_clips(
        args.out, args.clips, args.seed, args.seconds, args.photo, args.speech, num_workers=args.num_workers
    )
    print(f"{len(paths)} clips in {Path(args.out) / 'main'}")


if __name__ == "__main__":
    cli.run(main)
