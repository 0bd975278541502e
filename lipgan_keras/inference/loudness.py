"""Speech that was recorded far too quietly, brought to the level that the generator knows."""

import numpy as np

from ..audio import PRE_EMPHASIS
from ..config import SAMPLE_RATE

FRAME = SAMPLE_RATE // 50  # samples, 20 ms
QUIET = -42.0  # dB of full scale, after pre-emphasis: speech is raised to this level, and what is louder stays
MOST = 40.0  # dB
LOUD_PART = 20.0  # dB below the loudest frames, to which frames count as speech
STEADY = 8.0  # dB that speech is above the quietest frames at least; noise alone is by 2 to 5 dB
EACH = 3.0  # dB of gain for each dB above that
LEAST = -100.0  # dB, of silence


def raised(wave: np.ndarray) -> np.ndarray:
    """A waveform whose speech is no quieter than QUIET.

    The level is the mean power of the frames that hold speech: those within LOUD_PART of the loudest hundredth. One
    gain serves the whole file. It is never below 0 dB nor above MOST. It is 0 dB where the loud frames are hardly
    louder than the quiet ones: such a file is noise or hum, which says nothing however loud it is.

    Args:
        wave: float32 (n,), 16 kHz mono in [-1, 1].

    Returns:
        float32 (n,); the same object where no gain is needed.
    """
    gain = gain_of(wave)
    return wave if gain <= 0 else np.clip(wave * np.float32(10 ** (gain / 20)), -1, 1)


def gain_of(wave: np.ndarray) -> float:
    """dB, 0..MOST, by which `raised` raises a waveform (n,)."""
    heard = wave[1:] - np.float32(PRE_EMPHASIS) * wave[:-1]  # hum and rumble are not what the features hear
    frames = heard[: len(heard) // FRAME * FRAME].reshape(-1, FRAME)
    if not len(frames):
        return 0.0
    power = np.square(frames, dtype=np.float64).mean(1)
    levels = np.maximum(_decibel(power), LEAST)
    speech = levels >= np.percentile(levels, 99) - LOUD_PART
    level = float(_decibel(power[speech].mean()))
    above = level - float(np.percentile(levels, 10))
    return float(np.clip(min(QUIET - level, EACH * (above - STEADY)), 0, MOST))


def _decibel(power):
    return 10 * np.log10(np.maximum(power, 1e-20))
