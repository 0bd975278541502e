"""Levels of audio, mixing, and coloured noise."""

import numpy as np

from ..config import SAMPLE_RATE


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
    scale = mixing_factor(rms, noise_rms, snr_db)
    noise = noise if len(noise) == len(speech) else np.resize(noise, len(speech))
    return np.clip(speech + np.float32(scale) * noise, -1, 1).astype(np.float32)


def mixing_factor(rms, noise_rms, snr_db):
    """By which to multiply noise of a level beside speech of a level."""
    return rms / max(noise_rms, 1e-9) * 10 ** (-snr_db / 20)


def coloured_noise(seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Noise from white to brown that swells and fades: float32 (n,) 16 kHz, peak 1."""
    samples = max(1, round(seconds * SAMPLE_RATE))
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    frequency = np.fft.rfftfreq(samples, 1 / SAMPLE_RATE)
    spectrum *= (np.maximum(frequency, 50) / 50) ** -rng.uniform(0, 1) * (frequency > 50)
    swell = rng.uniform(0.3, 1, 3 + int(seconds))  # about one value a second
    swell = np.interp(np.linspace(0, len(swell) - 1, samples), np.arange(len(swell)), swell)
    return normalised(np.fft.irfft(spectrum, samples) * swell)


def normalised(wave):
    return (wave / max(np.abs(wave).max(), 1e-9)).astype(np.float32)
