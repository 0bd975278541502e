"""Windows of many changed sounds at once."""

import numpy as np
import pytest

from lipgan_keras import audio
from lipgan_keras.data import mel_bank
from lipgan_keras.data.mel_bank import MelBank


@pytest.mark.slow
def test_windows_of_many_sounds_are_those_of_each():
    """Up to 1e-4: louder, softer, clipped and with noise, at the ends of the sound and beyond,
    and whatever was asked for before.
    """
    rng = np.random.default_rng(0)
    waves = [
        (rng.uniform(-0.9, 0.9, n) * (np.arange(n) % 9000 > 3000)).astype(np.float32)
        for n in (48000, 16123, 900, 1, 48000, 70000)
    ]
    waves[4] *= 1e-3
    waves += [np.zeros(32000, np.float32), np.zeros(0, np.float32)]
    # Stretches begin 598 samples from one another in the two functions.
    hum = 0.1 * np.sin(2 * np.pi * np.arange(80000) / 598).astype(np.float32)
    cases = [
        (wave, start, gain, noisy)
        for wave in waves
        for start in (-9.0, -0.325, -0.3, -0.01, 0.0, 0.37, *(len(wave) / 16000 + t for t in (-0.2, 0.0, 0.16)), 3.2)
        for gain, noisy in ((1.0, False), (0.25, False), (2.0, False), (0.5, True))
    ]
    order = rng.permutation(len(cases))
    cases = [cases[i] for i in order]
    times = np.array([start + np.arange(5) / 25 + rng.uniform(0, 0.005) for _, start, _, _ in cases])
    gains, noisy = [gain for _, _, gain, _ in cases], [noisy for *_, noisy in cases]

    def changed(stretch, gain, noisy):
        return np.clip(gain * stretch + (hum[: len(stretch)] if noisy else 0), -1, 1)

    def hear(some, stretches):
        return np.stack([changed(stretch, gains[i], noisy[i]) for i, stretch in zip(some, stretches, strict=False)])

    banks = {id(wave): MelBank(wave) for wave in waves}
    heard = mel_bank.changed_windows([banks[id(wave)] for wave, *_ in cases], times, gains, noisy, hear)
    assert heard.shape == (len(cases), 80, 27, 5) and heard.dtype == np.float32
    for (wave, _, gain, more), moments, window in zip(cases, times, heard, strict=True):
        expected = audio.windows_of(wave, moments, "mel", lambda s, g=gain, m=more: changed(s, g, m))
        np.testing.assert_allclose(np.moveaxis(window, -1, 0)[..., None], expected, rtol=0, atol=1e-4)
        if not more:  # and those of the whole sound, changed
            whole = audio.windows(audio.features(changed(wave, gain, False), "mel"), moments, "mel")
            np.testing.assert_allclose(expected, whole, rtol=0, atol=1e-5)
    alone = [
        mel_bank.changed_windows([MelBank(wave)], moments[None], [gain], [False], hear)[0]
        for (wave, _, gain, more), moments in zip(cases, times, strict=True)
        if not more and gain <= 1
    ]
    kept = [window for (_, _, gain, more), window in zip(cases, heard, strict=True) if not more and gain <= 1]
    np.testing.assert_array_equal(alone, kept)
    sixteen = [(np.rint(wave * 32767)).astype(np.int16) for wave in waves]
    one, other = (
        mel_bank.changed_windows(
            [MelBank(wave) for wave in of],
            np.full((8, 1), 0.4),
            [2.0] * 8,
            [False] * 8,
            lambda _, s: np.clip(2 * s, -1, 1),
        )
        for of in (sixteen, [(wave / 32768).astype(np.float32) for wave in sixteen])
    )
    np.testing.assert_array_equal(one, other)
    out = np.zeros((0, 80, 27, 5), np.float32)
    assert mel_bank.changed_windows([], np.zeros((0, 5)), [], [], hear, out) is out
