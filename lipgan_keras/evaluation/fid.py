"""FID, the Frechet distance of InceptionV3 features (Heusel et al. 2017, https://arxiv.org/abs/1706.08500).

The weights are a file that the user gives: those of Keras's InceptionV3 on ImageNet without its top,
`inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5`, or any `.weights.h5` of
`keras.applications.InceptionV3(include_top=False, pooling="avg")`.

They are other weights than those of the original FID (the TensorFlow graph of 2015, which pytorch-fid has too), and
images are enlarged by another rule. So these numbers compare sets with each other; do not put them beside published
ones.

Images are (H, W, 3) BGR uint8.
"""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import scipy.linalg

from ..utils import files, h5
from ..utils.errors import UserError

FILE = "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5"
SIDE = 299  # pixels, the network's input
FEATURES = 2048
BATCH = 32


class Inception:
    """InceptionV3 up to its last pooling.

    Args:
        weights: path of the weights, see above.

    Raises:
        UserError: no such file, or not the weights of this network.
    """

    def __init__(self, weights: str | os.PathLike):
        path = Path(files.regular(weights))
        advice = f"give Keras's {FILE}"
        if not path.is_file():
            raise UserError(f"{path}: no such file; {advice}")
        if path.suffix != ".h5":
            raise UserError(f"{path}: is not named .h5; {advice}")
        from ..utils.backend import keras

        with h5.opened(path, advice) as file:  # before the network is built, which takes a while
            for dataset in h5.arrays(file):
                h5.numbers(dataset, path, advice)
        try:
            self._model = keras.applications.InceptionV3(
                include_top=False, pooling="avg", weights=None, input_shape=(SIDE, SIDE, 3), name="inception_v3"
            )
            # Keras passes over what it finds no weights for; then this stays.
            for variable in self._model.variables:
                variable.assign(np.full(variable.shape, np.nan, np.float32))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._model.load_weights(str(path))
            if any(np.isnan(keras.ops.convert_to_numpy(variable)).any() for variable in self._model.variables):
                raise ValueError("weights are missing")
        except Exception as error:  # of many kinds, from deep within Keras
            raise UserError(f"{path}: is not InceptionV3 without its top; {advice}") from error

    def __call__(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """(n,2048) float32 features of n images of any sizes, each squeezed to 299 x 299 (bilinear)."""
        found = np.empty((len(images), FEATURES), np.float32)
        for first in range(0, len(images), BATCH):
            part = images[first : first + BATCH]
            batch = np.zeros((BATCH, SIDE, SIDE, 3), np.float32)  # filled up, so that the model is compiled once
            for i, image in enumerate(part):
                shrinks = image.shape[0] > SIDE and image.shape[1] > SIDE
                sized = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
                batch[i] = sized[..., ::-1]
            found[first : first + len(part)] = np.asarray(self._model.predict_on_batch(batch / 127.5 - 1))[: len(part)]
        return found


class Statistics:
    """Mean and covariance of features that come in parts (Chan, Golub & LeVeque 1983), in float64.

    Attributes:
        n: features so far.
        mean: (d,).
    """

    def __init__(self, size: int = FEATURES):
        self.n = 0
        self.mean = np.zeros(size)
        self._scatter = np.zeros((size, size))  # sum of products of deviations from the mean

    def update(self, features: np.ndarray) -> None:
        """Take in (m,d) features."""
        features = np.asarray(features, np.float64)
        if len(features):
            middle = features.mean(axis=0)
            self._join(len(features), middle, (features - middle).T @ (features - middle))

    def merge(self, other: "Statistics") -> None:
        """Take in what another one has seen."""
        if other.n:
            self._join(other.n, other.mean, other._scatter)

    def _join(self, n, middle, scatter):
        total, apart = self.n + n, middle - self.mean
        self._scatter += scatter + np.outer(apart, apart) * (self.n * n / total)
        self.mean = self.mean + apart * (n / total)
        self.n = total

    @property
    def covariance(self) -> np.ndarray:
        """(d,d), of n - 1 degrees of freedom.

        Raises:
            ValueError: fewer than two features.
        """
        if self.n < 2:
            raise ValueError("a covariance needs two pictures")
        return self._scatter / (self.n - 1)


def frechet_distance(mean1: np.ndarray, covariance1: np.ndarray, mean2: np.ndarray, covariance2: np.ndarray) -> float:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)), of two normal distributions (Dowson & Landau 1982).

    The trace of the root is the sum of the roots of the eigenvalues of C1^(1/2) C2 C1^(1/2), which is symmetric:
    nothing imaginary has to be cut off, and singular covariances are no matter.

    Args:
        mean1, mean2: (d,).
        covariance1, covariance2: (d,d).
    """
    values, vectors = scipy.linalg.eigh(covariance1)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    between = scipy.linalg.eigvalsh(root @ covariance2 @ root)
    apart = np.asarray(mean1, np.float64) - mean2
    distance = apart @ apart + np.trace(covariance1) + np.trace(covariance2) - 2 * np.sqrt(np.maximum(between, 0)).sum()
    return max(float(distance), 0.0)


def fid(truth: Statistics, generated: Statistics) -> float:
    """FID of two sets of images; NaN where one has fewer than two. What to say of it, says `warning`."""
    if min(truth.n, generated.n) < 2:
        return float("nan")
    return frechet_distance(truth.mean, truth.covariance, generated.mean, generated.covariance)


def warning(*counts: int) -> str | None:
    """What to say of a FID of sets of so many images; None where there are enough of them."""
    fewest = min(counts)
    if fewest < 2:
        return f"FID needs two pictures on each side, there are {fewest}; give more videos"
    if fewest > FEATURES:
        return None
    return (
        f"FID of {fewest} pictures, too few for a covariance of {FEATURES} features ({FEATURES + 1} at least, 10000 "
        "are usual): it comes out too large; compare it only between sets of as many pictures"
    )
