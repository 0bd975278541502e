import json

import cv2
import h5py
import numpy as np
import pytest
import scipy.linalg

from lipgan_keras.evaluation import fid
from lipgan_keras.evaluation.metrics import register
from lipgan_keras.utils.errors import UserError


def statistics(features):
    result = fid.Statistics(features.shape[1])
    result.update(features)
    return result


def normal(d=6, seed=0):
    """A mean and a covariance."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(d, d))
    return rng.normal(size=d), root @ root.T


def test_equal_distributions_are_at_no_distance():
    mean, covariance = normal()
    assert fid.frechet_distance(mean, covariance, mean, covariance) == pytest.approx(0, abs=1e-9)


def test_distance_of_means_and_of_deviations():
    """With equal covariances |m1 - m2|^2; of independent features the sum of (s1 - s2)^2 is added."""
    mean, covariance = normal()
    assert fid.frechet_distance(mean, covariance, mean + 0.5, covariance) == pytest.approx(6 * 0.25)
    s1, s2 = np.array([1.0, 2.0, 0.5]), np.array([3.0, 2.0, 1.0])
    m1, m2 = np.zeros(3), np.array([0.0, 2.0, 0.0])
    assert fid.frechet_distance(m1, np.diag(s1**2), m2, np.diag(s2**2)) == pytest.approx(4 + 4 + 0 + 0.25)


def test_distance_is_that_of_the_matrix_root():
    (m1, c1), (m2, c2) = normal(seed=1), normal(seed=2)
    expected = np.sum((m1 - m2) ** 2) + np.trace(c1 + c2 - 2 * scipy.linalg.sqrtm(c1 @ c2).real)
    assert fid.frechet_distance(m1, c1, m2, c2) == pytest.approx(expected)
    assert fid.frechet_distance(m2, c2, m1, c1) == pytest.approx(expected)


def test_distance_of_singular_covariances():
    """Of two lines at a right angle: no root of their product but 0."""
    c1, c2 = np.diag([4.0, 0, 0]), np.diag([0, 9.0, 0])
    assert fid.frechet_distance(np.zeros(3), c1, np.zeros(3), c2) == pytest.approx(13)
    assert fid.frechet_distance(np.zeros(3), c1, np.zeros(3), c1) == pytest.approx(0, abs=1e-9)


def test_statistics_in_parts():
    features = np.random.default_rng(0).normal(5, 2, (101, 7)).astype("float32")
    whole, one, other = fid.Statistics(7), fid.Statistics(7), fid.Statistics(7)
    for part in np.split(features, [1, 1, 20, 50]):  # one of them is empty
        whole.update(part)
    one.update(features[:30]), other.update(features[30:])
    one.merge(other)
    one.merge(fid.Statistics(7))
    for found in (whole, one):
        assert found.n == 101
        np.testing.assert_allclose(found.mean, features.mean(axis=0), rtol=1e-6)
        np.testing.assert_allclose(
            found.covariance, np.cov(features.astype("float64"), rowvar=False), rtol=1e-9, atol=1e-12
        )


def test_statistics_far_from_zero():
    """A sum of squares would lose all digits of these."""
    features = 1e6 + np.random.default_rng(0).normal(0, 1e-3, (50, 3))
    found = fid.Statistics(3)
    for part in np.split(features, 10):
        found.update(part)
    np.testing.assert_allclose(found.covariance, np.cov(features, rowvar=False), rtol=1e-3, atol=1e-9)


def test_fid_grows_with_the_difference():
    features = np.random.default_rng(0).normal(size=(400, 5))
    distances = [fid.fid(statistics(features), statistics(features * (1 + d) + d)) for d in (0, 0.1, 0.3, 1)]
    assert distances[0] == pytest.approx(0, abs=1e-9) and np.all(np.diff(distances) > 0)
    assert register.METRICS["fid"].fn(statistics(features), statistics(features + 2)) == pytest.approx(20)


def test_too_few_images():
    one = statistics(np.ones((1, 4)))
    assert np.isnan(
        fid.fid(one, statistics(np.eye(4)[:2]))
    ) and "two pictures on each side, there are 1" in fid.warning(2, 1)
    with pytest.raises(ValueError):
        one.covariance  # noqa: B018
    assert "2048 pictures, too few" in fid.warning(5000, fid.FEATURES) and fid.warning(5000, fid.FEATURES + 1) is None


# ---------------------------------------------------------------------------------------------------------------------
# The network


@pytest.fixture
def small(monkeypatch):
    """In place of InceptionV3, which takes seconds to build: a small network with its inputs and outputs."""
    from lipgan_keras.utils.backend import keras

    def build(weights="imagenet", include_top=True, pooling=None, input_shape=None, name="small", filters=fid.FEATURES):
        assert weights is None and not include_top and pooling == "avg" and input_shape == (299, 299, 3)
        image = keras.Input(input_shape)
        x = keras.layers.AveragePooling2D(23, name="reduce")(image)
        x = keras.layers.Conv2D(filters, 3, activation="relu", name="see")(x)
        return keras.Model(
            image, keras.layers.GlobalAveragePooling2D()(keras.layers.BatchNormalization(name="norm")(x)), name=name
        )

    monkeypatch.setattr(keras.applications, "InceptionV3", build)
    monkeypatch.setattr(fid, "BATCH", 2)
    return lambda **more: build(None, False, "avg", (299, 299, 3), **more)


def test_features(small, tmp_path):
    network = small()
    network.save_weights(tmp_path / "small.weights.h5")
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, shape).astype("uint8") for shape in ((96, 96, 3), (299, 299, 3), (600, 400, 3))]
    found = fid.Inception(tmp_path / "small.weights.h5")(images)
    assert found.shape == (3, fid.FEATURES) and found.std() > 0
    rgb = [cv2.resize(image, (299, 299), interpolation=cv2.INTER_LINEAR)[..., ::-1] / 127.5 - 1 for image in images[:2]]
    np.testing.assert_allclose(found[:2], network.predict_on_batch(np.stack(rgb).astype("float32")), atol=1e-5)
    assert fid.Inception(tmp_path / "small.weights.h5")([]).shape == (0, fid.FEATURES)


def test_bad_weights_are_named(small, tmp_path):
    """Weights of another network, or not all of them, are never taken for the right ones."""
    small(filters=8).save_weights(tmp_path / "other.weights.h5")
    small().save_weights(tmp_path / "part.weights.h5")
    with h5py.File(tmp_path / "part.weights.h5", "a") as file:
        del file["layers/conv2d" if "conv2d" in file["layers"] else "layers/see"]
    (tmp_path / "text.h5").write_text(json.dumps("not HDF5"))
    (tmp_path / "cut.h5").write_bytes((tmp_path / "other.weights.h5").read_bytes()[:5000])
    with h5py.File(tmp_path / "empty.h5", "w"):
        pass
    (tmp_path / "weights.pth").write_bytes(b"")
    words = {
        "other.weights.h5": "not InceptionV3",
        "part.weights.h5": "not InceptionV3",
        "empty.h5": "not InceptionV3",
        "text.h5": "not an HDF5",
        "cut.h5": "not an HDF5",
        "weights.pth": "not named .h5",
        "gone.h5": "no such file",
    }
    for name, word in words.items():
        with pytest.raises(UserError, match=f"{name}.*{word}.*; give Keras's inception_v3") as caught:
            fid.Inception(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_weights_that_keras_passes_over_are_missed(small, tmp_path, monkeypatch):
    network = small()
    network.save_weights(tmp_path / "small.weights.h5")
    monkeypatch.setattr(type(network), "load_weights", lambda *arguments: None)
    with pytest.raises(UserError, match="not InceptionV3"):
        fid.Inception(tmp_path / "small.weights.h5")
