"""Decoded images and features of clips, kept within a budget of memory."""

import itertools
import threading

import numpy as np

from ..utils.shared_memory import SharedMemory
from .clip_folder import Clip


class Cache:
    """Keeps what `get` loads until a budget of bytes is spent; later keys are loaded each time."""

    def __init__(self, budget: int):
        self.budget = self.left = budget
        self.items = {}
        self.lock = threading.Lock()

    def get(self, key, load):
        item = self.items.get(key)
        if item is None:
            item = load()
            with self.lock:
                if key not in self.items and item.nbytes <= self.left:
                    self.left -= item.nbytes
                    self.items[key] = item
        return item

    def __getstate__(self):
        return self.budget

    def __setstate__(self, budget):
        self.__init__(budget)


class FrameCache:
    """Decoded images of clips, which all threads share, and processes if it is `shared`.

    Args:
        clips: theirs.
        size: side in pixels to which they are brought.
        budget: bytes; those for which there is no room are decoded each time.
        shared: whether it is to be handed to processes.
    """

    def __init__(self, clips: list["Clip"], size: int, budget: int, shared: bool = False):
        self.clips, self.size = clips, size
        *self.firsts, frames = itertools.accumulate((len(clip.frames) for clip in clips), initial=0)
        self.count = min(frames, int(budget) // (3 * size**2 + 1))
        needed = self.count * (3 * size**2 + 1)
        self.memory = SharedMemory(needed) if shared else None
        self._divide(np.zeros(needed, np.uint8) if self.memory is None else self.memory.bytes)

    def _divide(self, memory):
        """Images, and which of them are there."""
        self.images = memory[self.count :].reshape(self.count, self.size, self.size, 3)
        self.there = memory[: self.count].data

    def __getstate__(self):
        return {name: value for name, value in self.__dict__.items() if name not in ("images", "there")}

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._divide(self.memory.bytes)

    def run(self, clip: int, first: int, count: int) -> np.ndarray:
        """(count,size,size,3) uint8 BGR; not to be written to."""
        at = self.firsts[clip] + first
        if at + count > self.count:
            return np.stack([self.clips[clip].image(i, self.size) for i in range(first, first + count)])
        for i in range(count):
            if not self.there[at + i]:  # those that decode the same one at once do no harm
                self.images[at + i] = self.clips[clip].image(first + i, self.size)
                self.there[at + i] = 1
        return self.images[at : at + count]
