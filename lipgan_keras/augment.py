"""Random changes of training samples: faces mirrored, moved and recoloured, sound made louder, softer and noisier.

Music drowns the voice in many videos, and a generator that never heard any murmurs along with it. `music` composes as
much as training needs.
"""

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import scipy.signal

from . import audio, faces
from .cli import UserError

NAMES = ("flip", "crop", "colour", "blur", "gain", "noise")

# ---------------------------------------------------------------------------------------------------------- pictures

ZOOM = 1.12  # at most
# At most, in sides of the picture. Upwards less: lips begin 0.03 below the middle row, and the generator sees what is
# above it.
SHIFT, SHIFT_UP = 0.04, 0.02
OWN_SHIFT, OWN_ZOOM = 0.025, 0.025  # likewise, of the identity frame against the others
# At most, of the box around a mouth, in its sides; and by how much one part of it is stretched and another squeezed
BOX_SHIFT, BOX_ZOOM, BEND = 0.06, 0.2, 0.35
BLUR = 5 / 96  # reach of the widest blur, likewise
AT_ONCE = 16  # runs of pictures, so that what is between stays in the processor's cache


@dataclass
class Picture:
    """One draw of the changes, for all pictures of a sample.

    "flip" mirrors half of the samples. "crop" enlarges up to ZOOM times and shifts by up to SHIFT, SHIFT_UP upwards, by
    cutting out whole pixels; at the edges the picture is continued with its last ones. The identity frame is moved a
    little on its own: a crop follows the mouth's corners, so that where the eyes are would tell how open the mouth is.
    "colour" changes brightness, contrast and tint. "blur" is for the mouths that the lip-sync discriminator learns
    from, half of which are softened: it is to judge generated ones, whose blur must not count. Those mouths vary more,
    so that few people stand for many: with "crop" they are also stretched unevenly, with "colour" their colours are
    mixed.

    Attributes:
        size: of the pictures, pixels.
        flip: whether they are mirrored.
        side, left, top: of the part that fills the new picture.
        own: side, left and top of the identity frame's.
        table: (1,256,3) uint8, what becomes of each value of a colour; None: itself.
        jitter: (4,) in -1..1, how the box around the mouth moves and grows.
        bend: (2,2), for `faces.crop_matrices`.
        blur: pixels over which to spread each, 1 for none; for the same.
        mix: (3,3) float32, by which to multiply a colour.
    """

    size: int
    flip: bool
    side: int
    left: int
    top: int
    own: tuple[int, int, int]
    table: np.ndarray | None
    jitter: np.ndarray
    bend: np.ndarray
    blur: float
    mix: np.ndarray

    @staticmethod
    def draw(rng: np.random.Generator, count: int, size: int, names: Collection[str]) -> list["Picture"]:
        """So many draws at once.

        Args:
            rng: decides.
            size: of the pictures, pixels.
            names: those of NAMES that are wanted; the others are left undone, and those for sound ignored.
        """
        crop, colour, far, up = "crop" in names, "colour" in names, round(SHIFT * size), round(SHIFT_UP * size)
        flips = rng.random(count) < (0.5 if "flip" in names else 0)
        sides = np.rint(size / rng.uniform(1, ZOOM if crop else 1, count)).astype(int)
        shifts = rng.integers([-far, -far], [far, up], (count, 2), endpoint=True) * crop
        corners = (size - sides)[:, None] // 2 + shifts
        lefts, tops = corners.T.tolist()
        owns = np.rint(rng.uniform(-1, 1, (count, 3)) * size * crop * [OWN_ZOOM, OWN_SHIFT, OWN_SHIFT]).astype(int)
        # A frame that is smaller than its picture would show its border.
        owns[:, 0] = np.minimum(sides + owns[:, 0], size)
        owns[:, 1:] += corners + (sides - owns[:, 0])[:, None] // 2
        owns = [tuple(own) for own in owns.tolist()]
        jitters = rng.uniform(-1, 1, (count, 4)) * crop
        bends = rng.uniform([-BEND, 0], [BEND, 2 * np.pi], (count, 2, 2)) * crop
        tables = [None] * count
        mixes = np.broadcast_to(np.eye(3, dtype=np.float32), (count, 3, 3))
        if colour:
            gammas = 2 ** rng.uniform(-0.35, 0.35, (count, 1, 1, 1))
            gains = rng.uniform(0.85, 1.1, (count, 1, 1, 1)) * rng.uniform(0.94, 1.06, (count, 1, 1, 3))
            tables = 255 * (np.arange(256) / 255)[:, None] ** gammas * gains
            tables = np.clip(np.rint(tables), 0, 255).astype(np.uint8)
            parts = rng.random((count, 1, 1))
            mixes = parts * rng.dirichlet(np.ones(3), (count, 3)).transpose(0, 2, 1) + (1 - parts) * np.eye(3)
            mixes = mixes.astype(np.float32)
        blurs = np.where(rng.random(count) < 0.5, rng.uniform(1.0, max(1.0, BLUR * size), count), 1.0)
        blurs = (blurs if "blur" in names else np.ones(count)).tolist()
        drawn = (flips.tolist(), sides.tolist(), lefts, tops, owns, tables, jitters, bends, blurs, mixes)
        return [Picture(size, *one) for one in zip(*drawn, strict=True)]

    def apply(self, image: np.ndarray, identity: bool = False) -> np.ndarray:
        """A changed picture, (size,size,3) uint8 BGR like `image`; `image` itself where nothing was drawn.

        Args:
            identity: whether it is the identity frame.
        """
        if self.flip:
            image = cv2.flip(image, 1)
        side, left, top = self.own if identity else (self.side, self.left, self.top)
        if (side, left, top) != (self.size, 0, 0):
            far = round(SHIFT * self.size) + round(OWN_SHIFT * self.size) + 1
            image = cv2.copyMakeBorder(image, far, far, far, far, cv2.BORDER_REPLICATE)
            image = image[top + far : top + far + side, left + far : left + far + side]
            # Cubic, as linear interpolation would take a quarter of the finest detail from the target.
            image = cv2.resize(image, (self.size, self.size), interpolation=cv2.INTER_CUBIC)
        return image if self.table is None else cv2.LUT(image, self.table)

    def points(self, landmarks: np.ndarray) -> np.ndarray:
        """Landmarks (...,5,2) where `apply` moves them, float32; in picture order again after a flip."""
        landmarks = np.asarray(landmarks, np.float32)
        if self.flip:
            landmarks = landmarks[..., [1, 0, 2, 4, 3], :] * np.float32([-1, 1]) + np.float32([self.size, 0])
        return (landmarks - np.float32([self.left, self.top])) * np.float32(self.size / self.side)


def mouth_boxes(pictures: Sequence[Picture], boxes: np.ndarray) -> np.ndarray:
    """Other boxes (n,4) near those of `faces.mouth_box`, for the mouths that the lip-sync discriminator learns from."""
    centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    jitter = np.stack([picture.jitter for picture in pictures])
    centre = centre + 2 * BOX_SHIFT * half * jitter[:, :2]
    half = half * (1 + BOX_ZOOM * jitter[:, 2:])
    return np.concatenate([centre - half, centre + half], axis=1)


def mouths(pictures: Sequence[Picture], runs: Sequence[np.ndarray], boxes: np.ndarray, side: int) -> np.ndarray:
    """Cut the mouths out of runs of pictures as they are before `apply`, changed and in other colours; grey stays grey.

    What `apply` moves is folded into the cut, so that each pixel is interpolated once.

    Args:
        pictures: a draw for each of n runs.
        runs: n of T pictures, (T,size,size,3) uint8.
        boxes: (n,4) of `faces.mouth_box`, for the landmarks that `points` moved.
        side: of the mouths.

    Returns:
        (n,side,side,3T) float32 in 0..1.
    """
    size, count = pictures[0].size, len(runs[0])
    scale = np.array([picture.side / size for picture in pictures])
    boxes = mouth_boxes(pictures, boxes) * scale[:, None] + np.array([(p.left, p.top) * 2 for p in pictures])
    flip = np.array([picture.flip for picture in pictures])
    boxes[flip] = (np.array([size, 0, size, 0]) - boxes[flip] * [1, -1, 1, -1])[:, [2, 1, 0, 3]]
    blurs, bends = (
        np.array([picture.blur for picture in pictures]) * scale,
        np.stack([picture.bend for picture in pictures]),
    )
    rows, columns = faces.crop_matrices(boxes, size, side, blurs, bends)
    columns[flip] = columns[flip, ::-1]
    mixes = np.stack([picture.mix for picture in pictures])
    # What is seen at all: (n,) first and last row and column
    edges = []
    for matrices in (rows, columns):
        seen = matrices.any(axis=1)
        edges.append((seen.argmax(axis=1), size - seen[:, ::-1].argmax(axis=1)))
    (top, bottom), (left, right) = edges

    out = np.empty((len(runs), side, side, 3 * count), np.float32)
    order = np.argsort(bottom - top + right - left)  # runs of like size together, as they are cut out in one size
    for at in range(0, len(order), AT_ONCE):
        some = order[at : at + AT_ONCE]
        height, width = int((bottom - top)[some].max()), int((right - left)[some].max())
        y, x = np.minimum(top[some], size - height), np.minimum(left[some], size - width)
        seen = np.empty((len(some), count * height, width, 3), np.uint8)
        for part, i, y1, x1 in zip(seen, some.tolist(), y.tolist(), x.tolist(), strict=True):
            run = runs[i][:, y1 : y1 + height, x1 : x1 + width].reshape(part.shape)
            if pictures[i].table is None:
                part[...] = run
            else:
                cv2.LUT(run, pictures[i].table, part)
        down = _parts(rows[some], y, height) * np.float32(1 / 255)
        across = _parts(columns[some], x, width)
        cut = down[:, None] @ seen.reshape(-1, count, height, 3 * width).astype(np.float32)  # (n,T,side,3w)
        cut = cut.reshape(-1, count, side, width, 3).transpose(0, 3, 2, 1, 4).reshape(len(some), width, -1)
        # Columns, then rows
        cut = (across @ cut).reshape(len(some), side * side, 3 * count) @ _each(mixes[some], count)
        out[some] = cut.reshape(-1, side, side, 3 * count).transpose(0, 2, 1, 3)
    return out


def _parts(matrices, first, count):
    """(n,side,count) columns of (n,side,size), from the n `first` on."""
    return np.take_along_axis(matrices, (first[:, None] + np.arange(count))[:, None], axis=2)


def _each(mixes, count):
    """(n,3T,3T) that multiply each of T colours by the (n,3,3)."""
    blocks = np.eye(count, dtype=np.float32)[:, None, :, None] * mixes[:, None, :, None, :]
    return blocks.reshape(-1, 3 * count, 3 * count)


# ------------------------------------------------------------------------------------------------------------- sound

GAIN_DB = (-12.0, 6.0)
SNR_DB = (0.0, 20.0)
PIECES, PIECE_SECONDS = 24, 8.0  # of synthesised music
COLOURED = 6  # pieces of noise besides
FILE_SECONDS = 60.0  # are used of each file of a noise folder, fewer where there are many
FOLDER_SECONDS = 16000.0  # of all files together: 1 GiB
MOST_FILES = 4000


def level(wave: np.ndarray) -> float:
    """Root mean square of a sound; 0 for none."""
    return float(np.sqrt(np.mean(np.square(wave, dtype=np.float64)))) if len(wave) else 0.0


def mix(
    speech: np.ndarray, noise: np.ndarray, snr_db: float, rms: float | None = None, noise_rms: float | None = None
) -> np.ndarray:
    """Add noise to speech at a signal-to-noise ratio.

    Args:
        speech: (n,) in [-1, 1].
        noise: (m,) at any level; repeated or cut to n.
        snr_db: of speech over noise, decibel.
        rms: level of the speech, where it is not that of this stretch (which may be a pause).
        noise_rms: likewise of the noise.

    Returns:
        float32 (n,), clipped to [-1, 1].
    """
    rms = level(speech) if rms is None else rms
    noise_rms = level(noise) if noise_rms is None else noise_rms
    scale = _factor(rms, noise_rms, snr_db)
    noise = noise if len(noise) == len(speech) else np.resize(noise, len(speech))
    return np.clip(speech + np.float32(scale) * noise, -1, 1).astype(np.float32)


def _factor(rms, noise_rms, snr_db):
    """By which to multiply noise of a level beside speech of a level."""
    return rms / max(noise_rms, 1e-9) * 10 ** (-snr_db / 20)


@dataclass(frozen=True)
class Change:
    """A draw of `Sound`: called with a stretch of sound and the level of its clip it gives what is heard instead.

    Attributes:
        gain: factor.
        piece, piece_level: noise and its root mean square; None: none is added.
        at: 0..1, where in the piece the noise begins: stretches of one length get the same.
        snr_db: of speech over noise.
    """

    gain: float
    piece: np.ndarray | None = None
    piece_level: float = 0.0
    at: float = 0.0
    snr_db: float = 0.0

    @property
    def noisy(self) -> bool:
        return self.piece is not None

    def __call__(self, wave: np.ndarray, rms: float) -> np.ndarray:
        """(n,) in [-1, 1] and the level (root mean square) of the speech in its whole clip -> float32 (n,),
        clipped to [-1, 1].
        """
        return hear([self], np.array(wave, np.float32)[None], [rms])[0]


def hear(changes: Sequence[Change], stretches: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """Change stretches of sound in place.

    Args:
        changes: n.
        stretches: (n, m) float32 in [-1, 1].
        levels: n root mean squares, of the speech in the whole clip of each.

    Returns:
        (n, m), clipped to [-1, 1].
    """
    count, samples = stretches.shape
    stretches *= np.array([[change.gain] for change in changes], np.float32)
    noisy = [i for i, change in enumerate(changes) if change.noisy]
    if noisy:
        noise = np.empty((len(noisy), samples), np.float32)
        for row, i in zip(noise, noisy, strict=True):
            change = changes[i]
            start = int(change.at * max(0, len(change.piece) - samples + 1))
            piece = change.piece[start : start + samples]
            row[...] = piece if len(piece) == samples else np.resize(piece, samples)
        own = np.sqrt(np.einsum("nm,nm->n", noise, noise) / samples)
        scales = np.zeros(count)
        for i, rms in zip(noisy, own.tolist(), strict=True):
            change = changes[i]
            scales[i] = _factor(change.gain * levels[i], max(change.piece_level, rms), change.snr_db)
        noise *= scales[noisy, None].astype(np.float32)
        if len(noisy) == count:
            stretches += noise
        else:
            stretches[noisy] += noise
    return np.clip(stretches, -1, 1, out=stretches)


class Sound:
    """Changes of sound: "gain", evenly in GAIN_DB, and for every second sample "noise", at an SNR evenly in SNR_DB.

    Noise is music, synthesised when it is first needed, now and then coloured noise, or else what is in a folder.
    Quieter parts of a piece stay quieter, so that the SNR is what was drawn or, there, better.

    Args:
        names: those of NAMES that are wanted; those for pictures are ignored.
        noise_dir: folder of sound files, anywhere below it; anything that `audio.load_audio` reads.
        seed: decides the synthesised pieces.

    Raises:
        UserError: no such folder, or none of its files has sound.
    """

    def __init__(self, names: Collection[str], noise_dir: str | os.PathLike | None = None, seed: int = 0):
        self.gain, self.noise = "gain" in names, "noise" in names
        self.seed = seed
        self.files = None if noise_dir is None else _files(noise_dir)
        self.count = PIECES + COLOURED if self.files is None else len(self.files)
        self._pieces = {}  # number -> (wave, its level); threads that make the same one at once do no harm
        if self.files is not None and not any(self._piece(number)[1] for number in range(self.count)):
            raise UserError(f"{noise_dir}: none of its files holds sound; give a folder of music or noise")

    def change(self, rng: np.random.Generator) -> Change | None:
        """One draw of the changes, for all sound of a sample; None where nothing was drawn."""
        change = self.changes(rng, 1)[0]
        return change if change.noisy or self.gain else None

    def changes(self, rng: np.random.Generator, count: int) -> list[Change]:
        """So many draws at once."""
        drawn = []
        for gain, noise, number, at, snr in rng.random((count, 5)).tolist():
            gain = 10 ** ((GAIN_DB[0] + (GAIN_DB[1] - GAIN_DB[0]) * gain) / 20) if self.gain else 1.0
            if not self.noise or noise < 0.5:
                drawn.append(Change(gain))
                continue
            number = int(number * self.count)
            while not self._piece(number)[1]:  # a file without sound
                number = (number + 1) % self.count
            drawn.append(Change(gain, *self._piece(number), at, SNR_DB[0] + (SNR_DB[1] - SNR_DB[0]) * snr))
        return drawn

    def _piece(self, number: int) -> tuple[np.ndarray, float]:
        if number not in self._pieces:
            piece = self._make(number)
            self._pieces[number] = piece, level(piece)
        return self._pieces[number]

    def _make(self, number):
        if self.files is None:
            make = music if number < PIECES else coloured_noise
            return make(PIECE_SECONDS, np.random.default_rng([self.seed, number]))
        try:
            return audio.load_audio(self.files[number], min(FILE_SECONDS, FOLDER_SECONDS / self.count))
        except UserError:
            return np.zeros(0, np.float32)


def _files(folder):
    """The files below a folder, sorted; evenly thinned out to MOST_FILES."""
    if not os.path.isdir(folder):
        raise UserError(f"{folder}: no such folder; give one with sound files")
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    return files[:: max(1, -(-len(files) // MOST_FILES))]


def coloured_noise(seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Noise from white to brown that swells and fades: float32 (n,) 16 kHz, peak 1."""
    samples = max(1, round(seconds * audio.SAMPLE_RATE))
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    frequency = np.fft.rfftfreq(samples, 1 / audio.SAMPLE_RATE)
    spectrum *= (np.maximum(frequency, 50) / 50) ** -rng.uniform(0, 1) * (frequency > 50)
    swell = rng.uniform(0.3, 1, 3 + int(seconds))  # about one value a second
    swell = np.interp(np.linspace(0, len(swell) - 1, samples), np.arange(len(swell)), swell)
    return _normalised(np.fft.irfft(spectrum, samples) * swell)


def _normalised(wave):
    return (wave / max(np.abs(wave).max(), 1e-9)).astype(np.float32)


# ------------------------------------------------------------------------------------------------------------- music

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
    samples = max(1, round(seconds * audio.SAMPLE_RATE))
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
    return _normalised(_in_a_room(mixture, rng))


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
    samples = int((seconds + release) * audio.SAMPLE_RATE) + 1
    time = np.arange(samples) / audio.SAMPLE_RATE
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
    time = np.arange(int(0.25 * audio.SAMPLE_RATE)) / audio.SAMPLE_RATE
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
    first = round(start * audio.SAMPLE_RATE)
    if first < len(track):
        track[first : first + len(sound)] += sound[: len(track) - first]


def _in_a_room(wave, rng):
    """With the reverberation of a room, and without what is below 50 Hz."""
    time = np.arange(int(0.5 * audio.SAMPLE_RATE)) / audio.SAMPLE_RATE
    echoes = rng.standard_normal(len(time)) * np.exp(-time / rng.uniform(0.05, 0.2))
    echoes *= rng.uniform(0.05, 0.5) / np.sqrt(np.sum(echoes**2))
    echoes[0] += 1
    high_pass = scipy.signal.butter(2, 50, "highpass", fs=audio.SAMPLE_RATE, output="sos")
    return scipy.signal.sosfilt(high_pass, scipy.signal.fftconvolve(wave, echoes)[: len(wave)])
