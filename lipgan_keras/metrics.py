"""Measures of results, as functions of arrays."""

import numpy as np


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
