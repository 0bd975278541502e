"""Measures of results, as functions of arrays."""

import cv2
import numpy as np

_MOUTH = 48  # pixels of a side of the mouth patch


def lip_mae(mask: np.ndarray, truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Mean absolute error inside the lips, sum(m |e|) / sum(m).

    Args:
        mask: (n,H,W) soft lip masks in 0..1 (`faces.lip_mask`).
        truth, prediction: (n,H,W,3) floats in 0..1.

    Returns:
        (n,) floats, an error for each picture in the unit of the pictures; NaN where a mask is empty.
    """
    error = np.abs(truth.astype("float64") - prediction).mean(axis=-1)
    weight = mask.sum(axis=(1, 2), dtype="float64")
    return (mask * error).sum(axis=(1, 2)) / np.where(weight > 0, weight, np.nan)


def pose(points: np.ndarray, onto: np.ndarray) -> np.ndarray:
    """(2,3) float64, the similarity that moves eyes and nose, of (5,2) landmarks, onto those of another picture.

    For a frozen mouth that follows the head.
    """
    return cv2.estimateAffinePartial2D(np.float32(points[:3]), np.float32(onto[:3]), method=cv2.LMEDS)[0]


def bootstrap_interval(
    values: np.ndarray, groups: np.ndarray | None = None, level: float = 0.95, draws: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of a mean (Efron 1979).

    Args:
        values: (n,) floats.
        groups: (n,) labels, such as the clip of each frame: whole groups are drawn, since frames of a clip are alike.
    """
    values = np.asarray(values, "float64")
    groups = np.arange(len(values)) if groups is None else np.asarray(groups)
    _, index = np.unique(groups, return_inverse=True)
    sums, counts = np.bincount(index, values), np.bincount(index)
    drawn = np.random.default_rng(seed).integers(len(sums), size=(draws, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def sharpness(images: np.ndarray, masks: np.ndarray, sigma: float = 1.5) -> np.ndarray:
    """Fine detail inside masks: the root mean square of what a Gaussian blur takes away from the grey picture.

    To be compared between pictures of one size, such as a frame before and after its mouth was replaced.

    Args:
        images: (n,H,W,3) uint8 BGR.
        masks: (n,H,W) weights, 0 or more.
        sigma: of the blur in pixels; detail is what is finer.

    Returns:
        (n,) floats in grey levels; NaN where a mask is empty.
    """
    values = []
    for image, mask in zip(images, np.asarray(masks, "float64"), strict=True):
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype("float64")
        fine = grey - cv2.GaussianBlur(grey, (0, 0), sigma)
        weight = mask.sum()
        values.append(((mask * fine * fine).sum() / (weight if weight > 0 else np.nan)) ** 0.5)
    return np.array(values)


def mouth_opening(crops: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """How far the mouth is open, judged by how dark the darkest fifth of the mouth region is.

    Red tells best, since lips are red and the inside of a mouth is not. It has no unit and depends on the face: use it to
    correlate, within one clip. On puppets its correlation with the true opening is 0.91 (0.87 to 0.94, eight clips).

    Args:
        crops: (n,H,W,3) uint8 BGR.
        landmarks: (n,5,2) in crop pixels.

    Returns:
        (n,) floats; larger is wider open, 0 where the mouth region is as light as the face.
    """
    openings = []
    for crop, points in zip(crops, np.asarray(landmarks, "float64"), strict=True):
        nose, left, right = points[2:]
        middle, along = (left + right) / 2, right - left
        apart = max(float(np.hypot(*along)), 1e-6)
        unit = max(apart, float(np.hypot(*(middle - nose)))) * 1.6 / _MOUTH  # crop pixels for one of the patch
        along = along / apart
        below = np.array([-along[1], along[0]])
        corner = middle - unit * _MOUTH * (0.5 * along + 0.35 * below)
        matrix = np.column_stack([along * unit, below * unit, corner])
        patch = cv2.warpAffine(
            crop, matrix, (_MOUTH, _MOUTH), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
        )
        red = patch[..., 2].astype("float64")
        mouth = np.sort(red[8:36, 10:38], axis=None)
        openings.append(1 - mouth[: len(mouth) // 5].mean() / max(float(np.median(red)), 1.0))
    return np.array(openings)
