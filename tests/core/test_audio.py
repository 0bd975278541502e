"""The audio front ends against the original's output, and which sound a frame hears."""

import numpy as np
import pytest

from helpers.checks import GOLDEN
from lipgan_keras import audio
from lipgan_keras.config import FIRST_STEP_SECONDS, SAMPLE_RATE, STEPS_PER_SECOND, WINDOW_SHAPE
from lipgan_keras.media import audio_file


@pytest.fixture(scope="module")
def golden():
    return np.load(GOLDEN / "audio_bbaf2n.npz")


@pytest.mark.parametrize("kind", ["mel", "mfcc"])
def test_features_agree_with_the_original(golden, kind):
    wave = audio_file.load_audio(GOLDEN / "bbaf2n.wav")
    computed = audio.features(wave, kind)
    assert computed.dtype == np.float32 and computed.shape == golden[kind].shape
    np.testing.assert_allclose(computed, golden[kind], rtol=0, atol=1e-5)


@pytest.mark.parametrize("samples", [0, 1, 150, 399, 400, 401, 799, 801])
def test_short_and_silent_waves(samples):
    rng = np.random.default_rng(0)
    for wave in (np.zeros(samples, np.float32), rng.uniform(-0.5, 0.5, samples).astype(np.float32)):
        mel, mfcc = audio.melspectrogram(wave), audio.mfcc(wave)
        assert mel.shape[0] == 80 and mel.shape[1] >= 1 and np.isfinite(mel).all()
        assert mfcc.shape[0] == 12 and mfcc.shape[1] >= 1 and np.isfinite(mfcc).all()
    assert np.all(audio.melspectrogram(np.zeros(samples)) == -4)


def test_mfcc_is_finite_where_speech_meets_digital_silence(golden):
    wave = audio_file.load_audio(GOLDEN / "bbaf2n.wav")
    wave[16000:32000] = 0
    mfcc = audio.mfcc(wave)
    assert np.isfinite(mfcc).all()
    np.testing.assert_allclose(mfcc[:, :97], golden["mfcc"][:, :97], atol=1e-5)  # and nothing else moves


@pytest.mark.parametrize("kind, rows, length", [("mel", 80, 27), ("mfcc", 12, 35)])
def test_windows_start_where_the_formulas_say(kind, rows, length):
    steps = np.tile(np.arange(400, dtype=np.float32) + 5, (rows, 1))
    for seconds in (0.5, 1.0, 1.02, 1.2345, 2.5, 25.5 / 29.97):
        first = round(80 * seconds) - 13 if kind == "mel" else round(100 * (seconds - 0.0125)) - 17
        window = audio.window(steps, seconds, kind)
        assert window.shape == (rows, length) == WINDOW_SHAPE[kind] and window.dtype == np.float32
        np.testing.assert_array_equal(window, steps[:, first : first + length])


@pytest.mark.parametrize("kind", ["mel", "mfcc"])
def test_windows_beyond_the_sound_hear_silence(kind):
    wave = np.random.default_rng(1).uniform(-0.5, 0.5, 16000)
    features = audio.features(wave, kind)
    silence = audio.features(np.zeros(8000), kind)[:, :1]
    half = WINDOW_SHAPE[kind][1] // 2
    start = audio.window(features, FIRST_STEP_SECONDS[kind], kind)
    np.testing.assert_array_equal(start[:, :half], np.repeat(silence, half, axis=1))
    np.testing.assert_array_equal(start[:, half:], features[:, : half + 1])
    for seconds in (-5.0, 60.0):
        np.testing.assert_array_equal(audio.window(features, seconds, kind), np.repeat(silence, 2 * half + 1, axis=1))
    stacked = audio.windows(features, [0.0, 0.5], kind)
    assert stacked.shape == (2, *WINDOW_SHAPE[kind], 1)
    np.testing.assert_array_equal(stacked[1, :, :, 0], audio.window(features, 0.5, kind))
    assert audio.windows(features, [], kind).shape == (0, *WINDOW_SHAPE[kind], 1)


def test_a_click_is_in_the_middle_of_its_window():
    wave = np.zeros(32000, np.float32)
    wave[16000] = 1.0
    for kind in ("mel", "mfcc"):
        window = audio.window(audio.features(wave, kind), 1.0, kind)
        loud = np.flatnonzero(np.abs(window - audio.window(audio.features(wave * 0, kind), 1.0, kind)).max(0) > 0.1)
        assert abs(loud.mean() - window.shape[1] // 2) <= 0.5


def test_window_centre():
    assert audio.window_centre(1.0, 1.04, "centred") == pytest.approx(1.02)
    assert audio.window_centre(1.0, 1.04, "centred", 100) == pytest.approx(1.12)
    steps = np.tile(np.arange(2000, dtype=np.float32), (80, 1))
    for fps in (25, 30, 29.97, 24):
        for frame in range(9, 300):
            centre = audio.window_centre(frame / fps, (frame + 1) / fps, "released")
            assert audio.window(steps, centre, "mel")[0, 0] == int(frame * 80 / fps + 1e-6)
    centre = audio.window_centre(2.0, 2.04, "released", -320)
    assert audio.window(steps, centre, "mel")[0, 0] == 160 - 26  # 25.6 steps earlier
    with pytest.raises(ValueError, match="released"):
        audio.window_centre(0, 1, "center")


@pytest.mark.parametrize("kind", ["mel", "mfcc"])
def test_windows_take_what_the_formula_says_to_the_last_bit(kind):
    rng = np.random.default_rng(0)
    rows, length = WINDOW_SHAPE[kind]
    for steps, dtype in ((300, np.float32), (5, np.float64), (0, np.float32)):
        features = rng.standard_normal((rows, steps)).astype(dtype)
        times = rng.uniform(-1, 5, 50)
        silence = audio.features(np.zeros(8000), kind)[:, 0]
        for time, heard in zip(times, audio.windows(features, times, kind), strict=True):
            rate = STEPS_PER_SECOND[kind] * (time - FIRST_STEP_SECONDS[kind])
            first = int(np.floor(rate + 0.5 + 1e-6)) - length // 2
            expected = [features[:, k] if 0 <= k < steps else silence for k in range(first, first + length)]
            np.testing.assert_array_equal(heard[:, :, 0], np.stack(expected, axis=1).astype(np.float32))


@pytest.mark.parametrize("kind", ["mel", "mfcc"])
@pytest.mark.parametrize("samples", [32000, 16123, 12345, 900, 799, 401, 1])
def test_windows_of_a_stretch_are_those_of_the_whole_sound(kind, samples):
    rng = np.random.default_rng(samples)
    wave = (rng.uniform(-0.5, 0.5, samples) * (np.arange(samples) % 9000 > 3000)).astype(np.float32)
    features = audio.features(wave, kind)
    seconds = samples / SAMPLE_RATE
    for start in [*np.arange(-0.5, seconds + 0.6, 0.037), -60.0, 60.0]:
        for times in ([start], start + np.arange(5) / 25, start + np.array([0.3, 0.0, 0.9])):
            computed = audio.windows_of(wave, times, kind)
            assert computed.dtype == np.float32
            np.testing.assert_allclose(computed, audio.windows(features, times, kind), rtol=0, atol=1e-5)
    assert audio.windows_of(wave, [], kind).shape == (0, *WINDOW_SHAPE[kind], 1)


@pytest.mark.parametrize("kind", ["mel", "mfcc"])
def test_windows_of_changed_sound(kind):
    rng = np.random.default_rng(0)
    wave = rng.uniform(-0.5, 0.5, 32000).astype(np.float32)
    times = 1.0 + np.arange(5) / 25
    # What the change does to the samples is heard, and in the middle of a sound that is all that differs.
    computed = audio.windows_of(wave, times, kind, lambda stretch: 0.1 * stretch)
    expected = audio.windows(audio.features(0.1 * wave, kind), times, kind)
    np.testing.assert_allclose(computed, expected, rtol=0, atol=1e-5)

    # It is given the sound's own samples, with silence before and after; stretches of one span are of one length.
    lengths = set()
    for start in (-9.0, -0.8, -0.2, 0.0, 1.0, 1.9, 2.3, 9.0):
        given = []
        heard = audio.windows_of(wave, start + np.arange(5) / 25, kind, lambda s, to=given: to.append(s) or s)
        padded = np.concatenate([np.zeros(160000), wave, np.zeros(160000)]).astype(np.float32)
        lengths.add(len(given[0]))
        expected = audio.windows(audio.features(padded, kind), 10 + start + np.arange(5) / 25, kind)
        np.testing.assert_allclose(heard, expected, rtol=0, atol=1e-5)
        if given[0].any():
            within = np.flatnonzero(given[0])
            piece = given[0][within[0] : within[-1] + 1]
            at = np.flatnonzero(wave == piece[0])[0]
            np.testing.assert_array_equal(piece, wave[at : at + len(piece)])
    assert max(lengths) - min(lengths) <= 200

    # Noise goes on where the sound has ended.
    silent = audio.windows_of(wave, [5.0], kind)
    noisy = audio.windows_of(wave, [5.0], kind, lambda stretch: stretch + 0.1 * np.sin(np.arange(len(stretch))))
    assert np.abs(noisy - silent).max(axis=(0, 1, 3)).min() > 0.5
