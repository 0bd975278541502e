"""Measures by networks of others, whose files the user gives: see `evaluation.given`."""

import cv2
import numpy as np

from ..given import Given
from . import register as metrics_register
from .register import Frames, register

# Where ArcFace (Deng et al. 2019) has eyes, nose and corners of the mouth in its 112 pixels
ARCFACE = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]])


@register(
    "lpips",
    "LPIPS",
    "",
    "lower",
    (0, None),
    "Zhang et al. 2018, of the face crop, by the network that --lpips names",
    given="lpips",
)
def lpips(frames: Frames, network: Given) -> np.ndarray:
    """Perceptual distance of each crop from the true one: (n,), 0 where equal (Zhang et al. 2018, arXiv 1801.03924)."""
    size = (network.size, network.size)
    pair = [
        np.stack([cv2.resize(crop, size, interpolation=cv2.INTER_LINEAR) for crop in crops])
        for crops in (frames.truth, frames.generated)
    ]
    return network(*pair)[:, 0].astype("float64")


@register(
    "identity_similarity",
    "Identity",
    "",
    "higher",
    (-1, 1),
    "cosine of ArcFace's embeddings (Deng et al. 2019) of the true and the generated face, by the network that "
    "--arcface names",
    needs_truth=False,
    given="arcface",
)
def identity_similarity(frames: Frames, network: Given) -> np.ndarray:
    """Whether it is still the same person (Deng et al. 2019, arXiv 1801.07698): (n,) in -1..1.

    Both faces are cut as ArcFace wants them, by the landmarks of the true frame: of the whole images where they are
    there, else of the crops, which are narrower, so that their edge is repeated.
    """
    sides = [(frames.truth, frames.full_truth), (frames.generated, frames.full_generated)]
    one, other = (
        network(np.stack([_cut(crops[i], full, frames, i, network.size) for i in range(len(frames))])).astype("float64")
        for crops, full in sides
    )
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return (one * other).sum(axis=1) / np.maximum(norms, 1e-12)


def _cut(crop, full, frames, i, size):
    image, points = crop, np.float64(frames.landmarks[i])
    if frames.has_full_images:
        x1, y1, x2, y2 = np.float64(frames.boxes[i])
        image, points = full[i], points * [x2 - x1, y2 - y1] / metrics_register.SIZE + [x1, y1]
    matrix = _similarity(points, ARCFACE * size / 112)
    return cv2.warpAffine(image, matrix, (size, size), borderMode=cv2.BORDER_REPLICATE)


def _similarity(points, places):
    """(2,3) that turns, scales and moves points onto places, by least squares over all of them; as complex numbers
    z the places are a z + b.
    """
    z, w = (one @ [1, 1j] for one in (points, places))
    a = np.vdot(z - z.mean(), w - w.mean()) / max(np.vdot(z - z.mean(), z - z.mean()).real, 1e-12)
    b = w.mean() - a * z.mean()
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])
