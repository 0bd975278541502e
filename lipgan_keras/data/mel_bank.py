"""Mel windows of many changed stretches of audio, at a fraction of the time of one by one."""

import functools
import math
from collections.abc import Callable, Sequence

import librosa
import numpy as np
import scipy  # its parts are loaded when they are used

from .. import audio
from ..audio import first_step, mel_filters
from ..config import WINDOW_SHAPE
from . import noise

_HALF = audio.MEL_FFT // 2  # of a frame
# Samples before the middle of a stretch's first step: of its frame, one for the pre-emphasis, and another that is
# mirrored where the audio ends with this step.
_BEFORE = _HALF + 2
_FLOOR = -5.6  # of a step in digital silence, not clipped
_AT_ONCE = 768  # steps, so that what is between stays in the processor's cache
_BAND = 10  # filters that are applied together


def mel_steps(stretches: np.ndarray, firsts: Sequence[int], lengths: Sequence[int]) -> np.ndarray:
    """Steps of `audio.melspectrogram` before they are clipped, of stretches of many sounds, in single precision.

    Args:
        stretches: (n, m) float32; m = 802 + 200 (k - 1): k frames of 800 samples, and two samples before them. Samples
            outside the audio do not count, and are overwritten.
        firsts: n numbers of the first of those k steps in its audio; may lie outside the audio.
        lengths: samples of the n sounds.

    Returns:
        float32 (n, 80, k). Sound that is louder by d decibel is 0.08 d more, from well below -4 on. Steps outside the
        sound are below -4.
    """
    count, steps = len(stretches), (stretches.shape[1] - _BEFORE - _HALF) // audio.MEL_HOP + 1
    result = np.empty((count, 80, steps), np.float32)
    places = [_BEFORE - audio.MEL_HOP * int(first) for first in firsts]  # of each sound's first sample
    for stretch, place, length in zip(stretches, places, lengths, strict=True):
        stretch[: max(0, place)] = 0
        stretch[max(0, place + length) :] = 0
    some = max(1, _AT_ONCE // steps)
    for i in range(0, count, some):
        emphasised = stretches[i : i + some, 1:] - np.float32(audio.PRE_EMPHASIS) * stretches[i : i + some, :-1]
        for row, place, length in zip(emphasised, places[i : i + some], lengths[i : i + some], strict=True):
            _mirror(row, place - 1, place - 1 + max(length, audio.MEL_FFT) - 1)
        frames = np.lib.stride_tricks.sliding_window_view(emphasised[:, 1:], audio.MEL_FFT, axis=1)
        frames = frames[:, :: audio.MEL_HOP]
        spectrum = np.abs(scipy.fft.rfft(frames * _mel_window())).reshape(-1, audio.MEL_FFT // 2 + 1)
        energy = np.empty((80, len(spectrum)), np.float32)
        for at, first, last, filters in _bands():
            np.matmul(filters, spectrum[:, first:last].T, out=energy[at : at + _BAND])
        np.maximum(energy, 1e-5, out=energy)
        np.log10(energy, out=energy)
        energy *= 1.6
        energy += 2.4  # 8 (20 log10(x) - 20 + 100) / 100 - 4
        result[i : i + some] = energy.reshape(80, -1, steps).transpose(1, 0, 2)
    for one, first, length in zip(result, firsts, lengths, strict=True):
        one[:, : max(0, -first)] = _FLOOR
        one[:, max(0, max(length, audio.MEL_FFT) // audio.MEL_HOP + 1 - first) :] = _FLOOR
    return result


def _mirror(stretch, first, last):
    """Continue a sound, whose first and last sample lie at these places of a stretch or outside it, by half a frame at
    either end, as `audio.melspectrogram` does.
    """
    count = min(_HALF, first, len(stretch) - 1 - first)
    if count > 0:
        stretch[first - count : first] = stretch[first + 1 : first + 1 + count][::-1]
    count = min(_HALF, last, len(stretch) - 1 - last)
    if count > 0:
        stretch[last + 1 : last + 1 + count] = stretch[last - count : last][::-1]


@functools.cache
def _mel_window():
    return librosa.filters.get_window("hann", audio.MEL_FFT, fftbins=True).astype(np.float32)


@functools.cache
def _bands() -> list[tuple]:
    """The filters in groups of _BAND:
    (number of the first, first and last frequency that they hear, (10, n) float32).
    """
    filters, bands = mel_filters().toarray().astype(np.float32), []
    for at in range(0, 80, _BAND):
        heard = np.flatnonzero(filters[at : at + _BAND].any(axis=0))
        first, last = int(heard[0]), int(heard[-1]) + 1
        bands.append((at, first, last, np.ascontiguousarray(filters[at : at + _BAND, first:last])))
    return bands


class MelBank:
    """A sound, and its mel spectrogram before clipping, continued with silence: for `changed_windows`.

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
        self.level = float(self.unit) * noise.level(wave) if level is None else level
        self.nbytes = self.wave.nbytes + 80 * 4 * (1 + len(wave) // audio.MEL_HOP + 2 * self.BLOCK)
        self._blocks = {}

    def stretch(self, first: int, out: np.ndarray) -> None:
        """Write the samples that the steps from `first` on are made of into zeros."""
        begin = audio.MEL_HOP * first - _BEFORE
        inside = self.wave[max(0, begin) : max(0, begin + len(out))]
        at = max(0, -begin)
        np.multiply(inside, self.unit, out=out[at : at + len(inside)])

    def is_louder_than(self, level: float, first: int, steps: int) -> bool:
        """Whether a sample that those steps are made of is above `level`."""
        begin = audio.MEL_HOP * first - _BEFORE
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
            self._blocks[number] = mel_steps(stretch, [number * self.BLOCK], [len(self.wave)])[0]
        return self._blocks[number]


def _length(steps):
    """Samples of a stretch of so many steps."""
    return audio.MEL_HOP * (steps - 1) + _BEFORE + _HALF


def changed_windows(
    banks: Sequence[MelBank],
    times: np.ndarray,
    gains: Sequence[float],
    noisy: Sequence[bool],
    hear: Callable[[list[int], np.ndarray], np.ndarray],
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Mel windows of many sounds, each changed in its own way: those of `audio.windows_of`, in a fraction of the time.

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
    first = first_step(times, "mel").reshape(count, frames)
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
        steps[some] = mel_steps(hear(some, stretches), begin[some], [len(banks[i].wave) for i in some])
    np.clip(steps, -4, 4, out=steps)
    heard = np.empty((count, 80, length, frames), np.float32) if out is None else out
    for t in range(frames):
        for offset in np.unique(offsets[:, t]).tolist():
            these = np.flatnonzero(offsets[:, t] == offset)
            heard[these, :, :, t] = steps[these, :, offset : offset + length]
    return heard
