"""Bootstrap intervals."""

import numpy as np


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


def ratio_interval(
    numerator: np.ndarray,
    denominator: np.ndarray,
    groups: np.ndarray | None = None,
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """sum(numerator) / sum(denominator) and its percentile bootstrap interval: ratio, low, high.

    Args:
        numerator, denominator: (n,) floats that belong together, such as lip errors under wrong and right audio: they
            are drawn together.
        groups: (n,) labels, such as the clip of each frame: whole groups are drawn.
    """
    pairs = np.stack([np.asarray(numerator, "float64"), np.asarray(denominator, "float64")])
    groups = np.arange(pairs.shape[1]) if groups is None else np.asarray(groups)
    known = ~np.isnan(pairs).any(axis=0)
    if not known.any():
        return (float("nan"),) * 3
    pairs, groups = pairs[:, known], groups[known]
    _, index = np.unique(groups, return_inverse=True)
    above, below = (np.bincount(index, row) for row in pairs)
    drawn = np.random.default_rng(seed).integers(len(above), size=(draws, len(above)))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = above[drawn].sum(axis=1) / below[drawn].sum(axis=1)
        ratio = above.sum() / below.sum()
    low, high = np.quantile(ratios, [(1 - level) / 2, (1 + level) / 2])
    return float(ratio), float(low), float(high)
