"""In which order a training goes through its frames."""

import threading
from collections.abc import Sequence

import numpy as np

BALANCES = ("frames", "speakers")  # what is drawn equally often

MIN_DISTANCE = 6  # frames between a target and its identity frame, as in the reference


class Order:
    """An endless order of frames, in epochs, of which each is shuffled anew.

    An epoch has as many places as there are frames. Balanced by frames, each frame comes once in it. Balanced by
    speakers, each speaker comes equally often, and goes through frames of his or hers one after the other: one of whom
    there is little is seen as much as one of whom there is much. Any place is known without those before it.

    Args:
        speakers: of each frame; None: balanced by frames.
        count: how many frames there are.
        seed: decides.
    """

    def __init__(self, count: int, seed: int, speakers: Sequence | None = None):
        self.count, self.seed = count, seed
        self.groups = None
        if speakers is not None:
            _, group_of = np.unique(np.asarray(speakers), return_inverse=True)
            by_group = np.argsort(group_of, kind="stable")
            self.groups = np.split(by_group, np.cumsum(np.bincount(group_of))[:-1])
        self._epochs, self._lock = {}, threading.Lock()

    def __getstate__(self):
        return self.__dict__ | {"_lock": None, "_epochs": {}}

    def __setstate__(self, state):
        self.__dict__.update(state, _lock=threading.Lock())

    def at(self, position: int, stream: int) -> int:
        """The number of the frame at a place of the order `stream`; each stream is another order."""
        epoch, index = divmod(position, self.count)
        with self._lock:
            if (epoch, stream) not in self._epochs:
                # Threads straddle the end of an epoch.
                kept = {k: order for k, order in self._epochs.items() if k[1] != stream or abs(k[0] - epoch) < 2}
                self._epochs = kept | {(epoch, stream): self._drawn(np.random.default_rng([self.seed, epoch, stream]))}
            return int(self._epochs[epoch, stream][index])

    def any(self, rng: np.random.Generator) -> int:
        """A random frame."""
        if self.groups is None:
            return int(rng.integers(self.count))
        group = self.groups[int(rng.integers(len(self.groups)))]
        return int(group[int(rng.integers(len(group)))])

    def _drawn(self, rng):
        if self.groups is None:
            return rng.permutation(self.count)
        rounds = -(-self.count // len(self.groups))
        columns = []
        for group in self.groups:
            times = -(-rounds // len(group))
            columns.append(np.concatenate([rng.permutation(group) for _ in range(times)])[:rounds])
        # In each round every speaker once, in another order.
        return rng.permuted(np.stack(columns, 1), axis=1).ravel()[: self.count]


def run_starts(numbers: np.ndarray, length: int, shown: int) -> np.ndarray:
    """Indices of the first frames of runs of `length` shown frames in a row that leave an identity frame."""
    if shown < length:
        return np.zeros(0, np.int64)
    first, last = numbers[: shown - length + 1], numbers[length - 1 : shown]
    identity = (first - numbers[0] >= MIN_DISTANCE) | (numbers[-1] - last >= MIN_DISTANCE)
    return np.flatnonzero((last - first == length - 1) & identity)


def longest_run(numbers: np.ndarray) -> int:
    """Of (n,) ascending numbers of frames, how many follow one another."""
    if not len(numbers):
        return 0
    return max(len(run) for run in np.split(numbers, np.flatnonzero(np.diff(numbers) != 1) + 1))
