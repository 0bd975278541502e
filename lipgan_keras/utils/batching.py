"""Any number of samples through a network of a fixed batch size."""

from collections.abc import Callable

import numpy as np


def run_in_batches(
    run: Callable[[list[np.ndarray]], np.ndarray], faces: np.ndarray, sound: np.ndarray, batch_size: int
) -> np.ndarray:
    """What `run` makes of [faces, sound], always given `batch_size` samples: the last batch is filled up with zeros."""
    outputs = []
    for i in range(0, len(faces), batch_size):
        batch = [array[i : i + batch_size] for array in (faces, sound)]
        count = len(batch[0])
        if count < batch_size:
            batch = [np.pad(array, [(0, batch_size - count)] + [(0, 0)] * 3) for array in batch]
        outputs.append(run(batch)[:count])
    return np.concatenate(outputs)
