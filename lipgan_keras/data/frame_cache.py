"""Decoded images and features of clips, kept within a budget of memory; and what of them cannot be read."""

import itertools
import threading
from collections.abc import Iterable

import numpy as np

from ..utils.errors import UserError
from ..utils.shared_memory import SharedMemory
from .clip_folder import Clip

MOST_FRESH = 1024  # images that a thread decodes for nothing, at most
UNKNOWN, THERE, FINE, BROKEN = range(4)  # of an image: not yet read, kept, readable, not readable


class Unreadable(UserError):
    """An image that cannot be read, and that could before."""


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

    Attributes:
        there: of each image UNKNOWN, THERE, FINE or BROKEN.
        sounds: of each clip whether its sound can be read: UNKNOWN, FINE or BROKEN.
        trouble: what was wrong with the last one.
    """

    def __init__(self, clips: list["Clip"], size: int, budget: int, shared: bool = False):
        self.clips, self.size = clips, size
        *self.firsts, self.total = itertools.accumulate((len(clip.frames) for clip in clips), initial=0)
        self.count = min(self.total, int(budget) // (3 * size**2 + 1))
        needed = self.total + len(clips) + self.count * 3 * size**2
        self.memory = SharedMemory(needed) if shared else None
        self.trouble = "hardly an image can be read"
        self._divide(np.zeros(needed, np.uint8) if self.memory is None else self.memory.bytes)

    def _divide(self, memory):
        """The states of images and sounds, and the images that are kept."""
        states = self.total + len(self.clips)
        self.there, self.sounds = memory[: self.total].data, memory[self.total : states].data
        self.images = memory[states:].reshape(self.count, self.size, self.size, 3)
        self.fresh = threading.local()  # images that `can_read` has decoded and that are not kept

    def __getstate__(self):
        return {name: value for name, value in self.__dict__.items() if name not in MAPPED}

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._divide(self.memory.bytes)

    def forget(self) -> None:
        """Drop what `can_read` has decoded in this thread and nobody has asked for."""
        self.fresh.images = {}

    def can_read(self, clip: int, frame: int) -> bool:
        """Whether an image can be read; the first time it is decoded."""
        at = self.firsts[clip] + frame
        if self.there[at] == UNKNOWN:
            try:
                image = self._decoded(at, clip, frame)
            except UserError:
                pass  # which `_decoded` has noted
            else:
                if at >= self.count:
                    fresh = self.fresh.__dict__.setdefault("images", {})
                    if len(fresh) >= MOST_FRESH:
                        fresh.clear()
                    fresh[at] = image
        return self.there[at] != BROKEN

    def note_sound(self, clip: int, error: UserError | None) -> None:
        """Remember whether a clip's sound can be read: `error` says why not."""
        self.sounds[clip], self.trouble = (BROKEN, str(error)) if error else (FINE, self.trouble)

    def mark_broken(self, clip: int, frames: Iterable[int]) -> None:
        """Remember that images of a clip cannot be read."""
        for frame in frames:
            self.there[self.firsts[clip] + frame] = BROKEN

    def passed_over(self) -> str:
        """What is known to be unreadable, in words; nothing where all could be read so far."""
        images, sounds = (np.flatnonzero(np.asarray(states) == BROKEN) for states in (self.there, self.sounds))
        words = []
        if len(images):
            clip = int(np.searchsorted(self.firsts, images[0], "right")) - 1
            one = self.clips[clip].folder / f"{self.clips[clip].frames[images[0] - self.firsts[clip]]}.jpg"
            words.append(f"{len(images)} images could not be read, as {one}, and were passed over")
        if len(sounds):
            one = self.clips[sounds[0]].folder
            words.append(f"{len(sounds)} clips whose sound could not be read, as {one}, were passed over")
        return "; ".join(words)

    def run(self, clip: int, first: int, count: int) -> np.ndarray:
        """(count,size,size,3) uint8 BGR; not to be written to.

        Raises:
            UserError: one cannot be read.
        """
        at = self.firsts[clip] + first
        if at + count > self.count:
            fresh = self.fresh.__dict__.get("images", {})
            images = (fresh.pop(at + i, None) for i in range(count))
            found = [self._decoded(at + i, clip, first + i) if x is None else x for i, x in enumerate(images)]
            return np.stack(found)
        for i in range(count):
            if self.there[at + i] != THERE:  # those that decode the same one at once do no harm
                self._decoded(at + i, clip, first + i)
        return self.images[at : at + count]

    def _decoded(self, at, clip, frame):
        if self.there[at] == THERE:
            return self.images[at]
        try:
            image = self.clips[clip].image(frame, self.size)
        except UserError as error:
            self.there[at], self.trouble = BROKEN, str(error)
            raise Unreadable(str(error)) from error
        if at < self.count:
            self.images[at] = image
        self.there[at] = THERE if at < self.count else FINE
        return image


MAPPED = ("there", "sounds", "images", "fresh")  # of a `FrameCache`: views of its memory, and a thread's own
