"""Quiet speech is heard louder; noise and silence are not, and normal speech is as it was."""

import numpy as np
import pytest

from helpers.checks import GOLDEN
from lipgan_keras.inference import loudness
from lipgan_keras.media import audio_file


@pytest.fixture(scope="module")
def speech():
    return audio_file.load_audio(GOLDEN / "bbaf2n.wav")


def test_normal_speech_is_the_same_object(speech):
    assert loudness.raised(speech) is speech
    quieter = speech * np.float32(0.4)
    assert loudness.raised(quieter) is quieter


@pytest.mark.parametrize("decibel", [-20, -30, -40])
def test_quiet_speech_is_raised_to_one_level(speech, decibel):
    quiet = speech * np.float32(10 ** (decibel / 20))
    once = loudness.raised(quiet)
    gain = loudness.gain_of(quiet)
    assert gain == pytest.approx(loudness.gain_of(speech * np.float32(0.1)) - 20 - decibel, abs=0.2)
    np.testing.assert_allclose(once, quiet * 10 ** (gain / 20), rtol=1e-5)
    assert loudness.gain_of(once) < 0.1 and once.dtype == np.float32 and np.abs(once).max() < 0.5
    # Pauses around the speech do not count.
    assert loudness.gain_of(np.pad(quiet, len(quiet))) == pytest.approx(gain, abs=1.5)


def test_noise_and_silence_stay(speech):
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(48000).astype(np.float32)
    hum = np.sin(2 * np.pi * 50 / 16000 * np.arange(48000)).astype(np.float32)
    room = np.convolve(noise, np.full(40, 0.16), "same").astype(np.float32)
    for quiet in (noise, room, hum, np.zeros(48000, np.float32)):
        for level in (1e-3, 1e-4):
            assert loudness.raised(quiet * np.float32(level)) is not None
            assert loudness.gain_of(quiet * np.float32(level)) == 0
    for length in (0, 1, 100, 320, 321):
        assert len(loudness.raised(np.zeros(length, np.float32))) == length
    # Nor where it would be raised with the speech in it
    assert loudness.gain_of(speech[:48000] * np.float32(0.003) + 3e-3 * noise[: len(speech[:48000])]) < 3


def test_at_most_so_much(speech):
    assert loudness.gain_of(speech * np.float32(1e-4)) <= loudness.MOST
