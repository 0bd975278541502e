import numpy as np
import pytest

from lipgan_keras import metrics


def test_lip_mae_is_the_weighted_mean():
    rng = np.random.default_rng(0)
    mask = rng.random((3, 8, 9), "float32")
    truth, prediction = rng.random((2, 3, 8, 9, 3), "float32")
    expected = [np.sum(m[..., None] * np.abs(t - p)) / (3 * m.sum()) for m, t, p in zip(mask, truth, prediction, strict=True)]
    assert metrics.lip_mae(mask, truth, prediction) == pytest.approx(expected, rel=1e-6)


def test_lip_mae_sees_the_lips_alone():
    mask = np.zeros((2, 4, 4))
    mask[0, 2:] = 0.5
    truth, prediction = np.zeros((2, 4, 4, 3)), np.zeros((2, 4, 4, 3))
    prediction[:, :2] = 1.0
    prediction[:, 2:] = 0.25
    error = metrics.lip_mae(mask, truth, prediction)
    assert error[0] == pytest.approx(0.25) and np.isnan(error[1])  # an empty mask has no error


def test_bootstrap_interval():
    rng = np.random.default_rng(0)
    values = rng.normal(3.0, 1.0, 400)
    low, high = metrics.bootstrap_interval(values)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)
    assert metrics.bootstrap_interval(values) == (low, high)
    narrow = metrics.bootstrap_interval(values, level=0.5)
    assert low < narrow[0] < narrow[1] < high


def test_frames_of_one_clip_are_drawn_together():
    """20 clips of 50 equal frames tell as much as 20 values, not as 1000."""
    clip = np.random.default_rng(0).normal(0.0, 1.0, 20)
    low, high = metrics.bootstrap_interval(np.repeat(clip, 50), np.repeat(np.arange(20), 50))
    one_by_one = metrics.bootstrap_interval(np.repeat(clip, 50))
    assert high - low == pytest.approx(2 * 1.96 * clip.std() / np.sqrt(20), rel=0.15)
    assert high - low > 5 * (one_by_one[1] - one_by_one[0])


def test_sharpness_is_the_strength_of_fine_detail():
    x = np.arange(96)
    waves = [128 + 40 * np.sin(2 * np.pi * x / period) for period in (4, 48)]  # fine, coarse
    images = np.stack([np.repeat(np.tile(wave, (96, 1))[..., None], 3, axis=-1) for wave in waves]).astype("uint8")
    masks = np.zeros((2, 96, 96))
    masks[:, 20:70, 20:70] = 1
    fine, coarse = metrics.sharpness(images, masks)
    assert fine == pytest.approx(40 / np.sqrt(2), rel=0.1) and coarse < 0.1 * fine
    half = images.copy()
    half[0, :20] = half[0, 70:] = 0  # not in the mask, but for the blur's reach
    assert metrics.sharpness(half[:1], masks[:1])[0] == pytest.approx(fine, rel=0.15)
    assert np.isnan(metrics.sharpness(images[:1], masks[:1] * 0)[0])
