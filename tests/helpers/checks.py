"""Folders of the project, what bad input must end in, and a batch to run a network on."""

from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
GOLDEN = TESTS / "golden"


def assert_one_line(result, *words):
    """Bad input: exit code 2, and one line on stderr that holds `words`."""
    lines = result.stderr.strip().splitlines()
    assert result.returncode == 2, result.stderr
    assert len(lines) == 1, result.stderr
    for word in words:
        assert str(word) in lines[0], lines[0]


def noise_batch(size, seed=0, kind=(80, 27, 1)):
    """Faces, audio and targets of uniform and normal noise."""
    rng = np.random.default_rng(seed)
    targets = rng.random((size, 96, 96, 3), "float32")
    masked = targets.copy()
    masked[:, 48:] = 0
    faces = np.concatenate([rng.random((size, 96, 96, 3), "float32"), masked], axis=-1)
    return faces, rng.standard_normal((size, *kind), "float32"), targets
