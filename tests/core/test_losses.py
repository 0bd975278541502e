"""The losses against values worked out by hand, and the lip mask's part in them."""

import numpy as np
import pytest

from lipgan_keras import losses
from lipgan_keras.face import regions
from lipgan_keras.utils.backend import keras

ops = keras.ops


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    targets, predictions = rng.random((2, 5, 96, 96, 3), dtype="float32")
    masks = np.stack([regions.lip_mask(regions.default_landmarks() + shift, 96) for shift in range(5)])[..., None]
    return targets, predictions, masks


def test_weight_one_is_the_plain_mae_to_the_last_bit(images):
    targets, predictions, masks = images
    plain = losses.mean_absolute_error(targets, predictions)
    assert float(losses.lip_weighted_mae(targets, predictions, masks, 1.0)) == float(plain)


@pytest.mark.parametrize("weight", [0.0, 0.5, 6.0, 100.0])
def test_the_weighted_mean(images, weight):
    targets, predictions, masks = (x.astype("float64") for x in images)
    weights = np.broadcast_to(masks * weight + (1 - masks), targets.shape)
    expected = np.average(np.abs(targets - predictions), weights=weights)
    assert float(losses.lip_weighted_mae(*images, weight)) == pytest.approx(expected, rel=1e-5)


def test_an_error_in_the_lips_counts_by_their_weight():
    masks = np.zeros((1, 8, 8, 1), "float32")
    masks[0, 6:, 2:6] = 1  # 8 of 64 pixels
    targets = np.zeros((1, 8, 8, 3), "float32")
    inside, outside = targets + masks, targets + (1 - masks)
    assert float(losses.lip_weighted_mae(targets, inside, masks, 7.0)) == pytest.approx(7 * 8 / (7 * 8 + 56))
    assert float(losses.lip_weighted_mae(targets, outside, masks, 7.0)) == pytest.approx(56 / (7 * 8 + 56))


def test_the_two_parts_sum_to_the_mae(images):
    lips, rest = losses.lip_parts(*images)
    assert float(lips) + float(rest) == pytest.approx(float(losses.mean_absolute_error(*images[:2])), rel=1e-6)
    assert float(lips) == pytest.approx(float((images[2] * np.abs(images[0] - images[1])).mean()), rel=1e-5)


def test_matching():
    mouths = np.eye(2, 3, dtype="float32")
    sounds = np.array([[1, 0, 0], [0, 1, 0], [0.6, 0.8, 0]], "float32")
    relation = np.array([[1, -1, -1], [0, 1, -1]], "float32")
    t = losses.TEMPERATURE
    first = -np.log(np.exp(1 / t) / (np.exp(1 / t) + 1 + np.exp(0.6 / t)))
    second = -np.log(np.exp(1 / t) / (np.exp(1 / t) + np.exp(0.8 / t)))
    assert float(losses.matching(mouths, sounds, relation)) == pytest.approx((first + second) / 2, rel=1e-4)
    wrong = float(losses.matching(mouths, sounds[::-1].copy(), relation))
    assert wrong > (first + second) / 2 + 1
    alone = np.array([[1, 0, 0], [0, 1, 0]], "float32")  # nothing to be told from
    assert float(losses.matching(mouths, sounds, alone)) == pytest.approx(0, abs=1e-6)


def test_hinge():
    weights = np.array([3.0, 1.0], "float32").reshape(1, 1, 2, 1)
    real, fake = (np.array(x, "float32").reshape(1, 1, 2, 1) for x in ([2.0, 0.5], [-2.0, 0.5]))
    assert float(losses.hinge_discriminator(real, fake, weights)) == pytest.approx((3 * 0 + 1 * (0.5 + 1.5)) / 4)
    assert float(losses.hinge_generator(fake, weights)) == pytest.approx(-(3 * -2.0 + 0.5) / 4)
