"""Random changes of training audio: louder, softer, noisier, and in another voice."""

import functools
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import librosa
import numpy as np

from .. import audio
from ..media import audio_file
from ..utils.errors import UserError
from .music import music
from .noise import coloured_noise, level, mixing_factor

NAMES = ("gain", "noise", "voice")
GAIN_DB = (-12.0, 6.0)
FORMANTS = 0.2  # octaves by which formants are shifted at most
TONE = 0.25  # standard deviation of the slowest wave of a tone; 3 decibels
SNR_DB = (0.0, 20.0)
PIECES, PIECE_SECONDS = 24, 8.0  # of synthesised music
COLOURED = 6  # pieces of noise besides
FILE_SECONDS = 60.0  # are used of each file of a noise folder, fewer where there are many
FOLDER_SECONDS = 16000.0  # of all files together: 1 GiB
MOST_FILES = 4000


@dataclass(frozen=True)
class Change:
    """A draw of `Sound`: called with a stretch of audio and the level of its clip it gives what is heard instead.

    Attributes:
        gain: factor.
        piece, piece_level: noise and its root mean square; None: none is added.
        at: 0..1, where in the piece the noise begins: stretches of one length get the same.
        snr_db: of speech over noise.
        formants: factor by which formants are higher.
        tone: (80,) float32, what is added to the mel bands; None: nothing. Formants and tone are heard in mel windows
            alone, see `speak`.
    """

    gain: float
    piece: np.ndarray | None = None
    piece_level: float = 0.0
    at: float = 0.0
    snr_db: float = 0.0
    formants: float = 1.0
    tone: np.ndarray | None = None

    @property
    def noisy(self) -> bool:
        return self.piece is not None

    def __call__(self, wave: np.ndarray, rms: float) -> np.ndarray:
        """(n,) in [-1, 1] and the level (root mean square) of the speech in its whole clip -> float32 (n,),
        clipped to [-1, 1].
        """
        return hear([self], np.array(wave, np.float32)[None], [rms])[0]


def hear(changes: Sequence[Change], stretches: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """Change stretches of audio in place.

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
            scales[i] = mixing_factor(change.gain * levels[i], max(change.piece_level, rms), change.snr_db)
        noise *= scales[noisy, None].astype(np.float32)
        if len(noisy) == count:
            stretches += noise
        else:
            stretches[noisy] += noise
    return np.clip(stretches, -1, 1, out=stretches)


def speak(changes: Sequence[Change], windows: np.ndarray) -> np.ndarray:
    """Change the voices in mel windows in place: formants and tone.

    Formants that are higher by one factor are those of a shorter vocal tract (Jaitly and Hinton 2013).

    Args:
        changes: n.
        windows: (n, 80, 27, T) float32 in -4..4.

    Returns:
        The windows, clipped to -4..4.
    """
    hertz = _band_centres()
    for window, change in zip(windows, changes, strict=True):
        if change.formants != 1:
            at = np.interp(hertz / change.formants, hertz, np.arange(80.0))
            below = np.minimum(at.astype(int), 78)
            part = np.float32(at - below)[:, None, None]
            window[...] = window[below] + part * (window[below + 1] - window[below])
        if change.tone is not None:
            np.clip(window + change.tone[:, None, None], -4, 4, out=window)
    return windows


@functools.cache
def _band_centres():
    """(80,) Hz, of `audio.mel_filters`."""
    return librosa.mel_frequencies(82, fmin=audio.MEL_HZ[0], fmax=audio.MEL_HZ[1])[1:-1]


class Sound:
    """Changes of audio: "gain", evenly in GAIN_DB, for every second sample "noise", at an SNR evenly in SNR_DB, and
    "voice", another vocal tract in another room.

    Noise is music, synthesised when it is first needed, now and then coloured noise, or else what is in a folder.
    Quieter parts of a piece stay quieter, so that the SNR is what was drawn or, there, better.

    Args:
        names: those of NAMES that are wanted; those for images are ignored.
        noise_dir: folder of audio files, anywhere below it; anything that `audio_file.load_audio` reads.
        seed: decides the synthesised pieces.

    Raises:
        UserError: no such folder, or none of its files has sound.
    """

    def __init__(self, names: Collection[str], noise_dir: str | os.PathLike | None = None, seed: int = 0):
        self.gain, self.noise, self.voice = (name in names for name in NAMES)
        self.seed = seed
        self.files = None if noise_dir is None else _files(noise_dir)
        self.count = PIECES + COLOURED if self.files is None else len(self.files)
        self._pieces = {}  # number -> (wave, its level); threads that make the same one at once do no harm
        if self.files is not None and not any(self._piece(number)[1] for number in range(self.count)):
            raise UserError(f"{noise_dir}: none of its files holds sound; give a folder of music or noise")

    def changes(self, rng: np.random.Generator, count: int) -> list[Change]:
        """So many draws of the changes, each for all sound of a sample."""
        drawn = []
        numbers = rng.random((count, 5)).tolist()
        voices = self._voices(rng, count) if self.voice else [{}] * count
        for (gain, noise, number, at, snr), voice in zip(numbers, voices, strict=True):
            gain = 10 ** ((GAIN_DB[0] + (GAIN_DB[1] - GAIN_DB[0]) * gain) / 20) if self.gain else 1.0
            if not self.noise or noise < 0.5:
                drawn.append(Change(gain, **voice))
                continue
            number = int(number * self.count)
            while not self._piece(number)[1]:  # a file without audio
                number = (number + 1) % self.count
            snr_db = SNR_DB[0] + (SNR_DB[1] - SNR_DB[0]) * snr
            drawn.append(Change(gain, *self._piece(number), at, snr_db, **voice))
        return drawn

    @staticmethod
    def _voices(rng, count):
        """Formants, and a tone of four slow waves over the bands: so do rooms and microphones sound."""
        formants = 2 ** rng.uniform(-FORMANTS, FORMANTS, count)
        waves = np.arange(1, 5)
        bands = np.cos(np.pi * waves[:, None] * np.linspace(0, 1, 80))
        tones = (rng.normal(0, TONE / np.sqrt(waves), (count, 4)) @ bands).astype(np.float32)
        return [{"formants": factor, "tone": tone} for factor, tone in zip(formants.tolist(), tones, strict=True)]

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
            return audio_file.load_audio(self.files[number], min(FILE_SECONDS, FOLDER_SECONDS / self.count))
        except UserError:
            return np.zeros(0, np.float32)


def _files(folder):
    """The files below a folder, sorted; evenly thinned out to MOST_FILES."""
    if not os.path.isdir(folder):
        raise UserError(f"{folder}: no such folder; give one with sound files")
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    return files[:: max(1, -(-len(files) // MOST_FILES))]
