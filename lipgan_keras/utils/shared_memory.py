"""Memory that processes share."""

import mmap
import os
import tempfile
import weakref
from multiprocessing import reduction

import numpy as np


class SharedMemory:
    """Bytes, zero at first, that the processes which it is handed to at their start share. What is not written to takes
    no memory. `bytes` is a view of them, (size,) uint8.
    """

    def __init__(self, size: int):
        try:
            descriptor = os.memfd_create("lipgan_keras")
        except (AttributeError, OSError):  # Linux has it
            with tempfile.TemporaryFile() as file:
                descriptor = os.dup(file.fileno())
        os.ftruncate(descriptor, max(1, size))
        self._map(descriptor, size)

    def _map(self, descriptor, size):
        self.size, self._descriptor = size, descriptor
        weakref.finalize(self, os.close, descriptor)
        self.bytes = np.frombuffer(mmap.mmap(descriptor, max(1, size)), np.uint8)[:size]

    def __getstate__(self):
        return reduction.DupFd(self._descriptor), self.size

    def __setstate__(self, state):
        self._map(state[0].detach(), state[1])
