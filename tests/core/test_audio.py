"""The audio front ends against the original's output, and which sound a frame hears."""

import numpy as np
import pytest

from helpers.checks import GOLDEN
from lipgan_keras import audio
from lipgan_keras.audio import WindowClock
from lipgan_keras.config import FIRST_STEP_SECONDS, SAMPLE_RATE, STEPS_PER_SECOND, WINDOW_SHAPE, ModelConfig
from lipgan_keras.media import audio_file


@pytest.fixture(scope="module")
def golden():
    return np.load(GOLDEN / "audio_bbaf2n.npz")


@pytest.mark.parametrize("kind", ["mel", "mfcc"])
@pytest.mark.slow
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
        window = audio.windows(steps, [seconds], kind)[0, :, :, 0]
        assert window.shape == (rows, length) == WINDOW_SHAPE[kind] and window.dtype == np.float32
        np.testing.assert_array_equal(window, steps[:, first : first + length])


@pytest.mark.parametrize("kind", ["mel", "mfcc"])
def test_windows_beyond_the_sound_hear_silence(kind):
    wave = np.random.default_rng(1).uniform(-0.5, 0.5, 16000)
    features = audio.features(wave, kind)
    silence = audio.features(np.zeros(8000), kind)[:, :1]
    half = WINDOW_SHAPE[kind][1] // 2
    start, early, late = audio.windows(features, [FIRST_STEP_SECONDS[kind], -5.0, 60.0], kind)[..., 0]
    np.testing.assert_array_equal(start[:, :half], np.repeat(silence, half, axis=1))
    np.testing.assert_array_equal(start[:, half:], features[:, : half + 1])
    for beyond in (early, late):
        np.testing.assert_array_equal(beyond, np.repeat(silence, 2 * half + 1, axis=1))
    assert audio.windows(features, [0.0, 0.5], kind).shape == (2, *WINDOW_SHAPE[kind], 1)
    assert audio.windows(features, [], kind).shape == (0, *WINDOW_SHAPE[kind], 1)


def test_a_click_is_in_the_middle_of_its_window():
    wave = np.zeros(32000, np.float32)
    wave[16000] = 1.0
    for kind in ("mel", "mfcc"):
        window, silent = (audio.windows(audio.features(w, kind), [1.0], kind)[0, :, :, 0] for w in (wave, wave * 0))
        loud = np.flatnonzero(np.abs(window - silent).max(0) > 0.1)
        assert abs(loud.mean() - window.shape[1] // 2) <= 0.5


def test_the_clock_says_which_moment_a_frame_hears():
    assert WindowClock().centres(1.0, 1.04) == pytest.approx(1.02)
    assert WindowClock(offset_ms=100).centres(1.0, 1.04) == pytest.approx(1.12)
    steps = np.tile(np.arange(2000, dtype=np.float32), (80, 1))
    released = WindowClock("mel", "released")
    frames = np.arange(9, 300)
    for fps in (25, 30, 29.97, 24):
        heard = released.windows(steps, frames / fps, (frames + 1) / fps)
        np.testing.assert_array_equal(heard[:, 0, 0, 0], (frames * 80 / fps + 1e-6).astype(int))
    earlier = WindowClock.of(ModelConfig(alignment="released").with_audio_offset(-320))
    assert earlier == WindowClock("mel", "released", -320)
    assert earlier.windows(steps, 2.0, 2.04)[0, 0, 0, 0] == 160 - 26  # 25.6 steps earlier
    # In training 8 frames earlier than in inference, at 25 a second: as a centred one with that offset.
    training = WindowClock("mel", "released_training").windows(steps, frames / 25, (frames + 1) / 25)
    np.testing.assert_array_equal(training[:, 0, 0, 0], np.floor(80 * (frames - 8) / 25 + 1e-6))
    shifted = WindowClock("mel", offset_ms=-183.75).windows(steps, frames / 25, (frames + 1) / 25)
    np.testing.assert_array_equal(training, shifted)
    with pytest.raises(ValueError, match="released"):
        WindowClock("mel", "center").centres(0, 1)

    # The waveform and its features give the same, changed or not.
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, 32000)
    for clock in (released, earlier, WindowClock("mfcc", offset_ms=7)):
        starts = 0.8 + np.arange(6).reshape(2, 3) / 25
        assert clock.centres(starts, starts + 0.04).shape == (2, 3)
        expected = clock.windows(audio.features(0.1 * wave, clock.kind), starts, starts + 0.04)
        computed = clock.windows_of(wave, starts, starts + 0.04, lambda stretch: 0.1 * stretch)
        np.testing.assert_allclose(computed, expected, rtol=0, atol=1e-5)
        assert len(expected) == 6


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

    # It is given the sound's own samples, with silence before and after; stretches of one span are of one length. At
    # the ends the changed sound is heard as any other of its length.
    features, lengths = audio.features(0.1 * wave, kind), set()
    for start in (-9.0, -0.8, -0.2, 0.0, 1.0, 1.9, 2.3, 9.0):
        given, times = [], start + np.arange(5) / 25
        heard = audio.windows_of(wave, times, kind, lambda s, to=given: to.append(s) or 0.1 * s)
        lengths.add(len(given[0]))
        np.testing.assert_allclose(heard, audio.windows(features, times, kind), rtol=0, atol=1e-5)
        if given[0].any():
            within = np.flatnonzero(given[0])
            piece = given[0][within[0] : within[-1] + 1]
            at = np.flatnonzero(wave == piece[0])[0]
            np.testing.assert_array_equal(piece, wave[at : at + len(piece)])
    assert max(lengths) - min(lengths) <= 200

    # Noise ends where the sound does, as in a file.
    silent = audio.windows_of(wave, [5.0], kind)
    noisy = audio.windows_of(wave, [5.0], kind, lambda stretch: stretch + 0.1 * np.sin(np.arange(len(stretch))))
    np.testing.assert_array_equal(noisy, silent)
