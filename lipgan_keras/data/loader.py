"""Batches of a dataset, made ahead by threads, or by processes that share what they have decoded.

Threads are enough for a CPU. They hold each other up where Python's lock goes round: two make some 1.6 times what one
does, and more make less. A GPU can take more, so that there are processes for it.
"""

import concurrent.futures
import gc
import multiprocessing
import signal
from collections import deque
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from ..utils import processes as utils_processes
from ..utils.errors import UserError
from ..utils.shared_memory import SharedMemory

if TYPE_CHECKING:
    from .dataset import Dataset


THREADS, PROCESSES = 2, 8  # at most, where nobody says how many
AHEAD = 2  # batches a worker, ready or in work
ALIGNED = 64  # bytes, of an array in a block


class Loader:
    """Batches `start`, `start` + 1, ... of a dataset, without end, made ahead and given in order.

    A context manager: on the way out it ends the workers, and raises what kept it from making a batch, which the code
    that took the batches may have wrapped (TensorFlow gives the text of an error only).

    Args:
        workers: how many; None: one a core, at most THREADS or PROCESSES.
        processes: of their own, for which the dataset has to be `shared`; else they are threads of this one.
    """

    def __init__(self, data: "Dataset", start: int = 0, workers: int | None = None, processes: bool = False):
        self.data = data
        self.next = start
        self.error = None
        self.workers = workers or max(1, min(PROCESSES if processes else THREADS, utils_processes.cores()))
        self.waiting = deque()
        if processes:
            first = data.batch(start)[0]  # tells how large they are; and what is wrong is said here
            self.blocks = Blocks(first, AHEAD * self.workers)
            context = multiprocessing.get_context("spawn")  # Keras's backends do not survive a fork
            begin = _begin, (data, self.blocks, self.workers)
            self.pool = concurrent.futures.ProcessPoolExecutor(self.workers, context, *begin)
        else:
            self.blocks = None
            self.pool = concurrent.futures.ThreadPoolExecutor(self.workers, "batches")

    def __iter__(self) -> Iterator[tuple[dict[str, np.ndarray]]]:
        try:
            while True:
                self._fill()
                future, block = self.waiting.popleft()
                batch = future.result()
                if self.blocks:
                    # A copy, as backends may go on to read what they were given.
                    batch = ({name: view.copy() for name, view in self.blocks.views(block).items()},)
                    self.free.append(block)
                yield batch
        except BrokenProcessPool as error:
            self.error = UserError("a process that makes batches died, perhaps out of memory; use fewer: --num_workers")
            raise self.error from error
        except Exception as error:
            self.error = error
            raise

    def _fill(self):
        while len(self.waiting) < AHEAD * self.workers:
            block = self.free.pop() if self.blocks else None
            work = (_make, self.next, block) if self.blocks else (self.data.batch, self.next)
            with utils_processes.uninterrupted():  # processes start here, and Ctrl-C is this one's to handle
                self.waiting.append((self.pool.submit(*work), block))
            self.next += 1

    def __enter__(self):
        # Threads whose small matrix products are each spread over all cores wait for one another most of the time.
        self.limits = threadpool_limits(1, "blas")
        # What is there by now stays: looking it through again and again would take the threads a tenth of their time.
        gc.freeze()
        if self.blocks:
            self.free = list(range(AHEAD * self.workers))
            try:
                self._fill()
            except BaseException:
                self.__exit__(None, None, None)
                raise
        return self

    def __exit__(self, kind, value, traceback):
        error = self.error  # before the workers end, which whoever waits for a batch takes for one
        gc.unfreeze()
        self.limits.restore_original_limits()
        # The generator itself cannot be closed: a thread of TensorFlow's may be in it.
        if self.blocks:
            for process in list((self.pool._processes or {}).values()):
                process.terminate()
        self.pool.shutdown(wait=False, cancel_futures=True)
        if error is not None and isinstance(value, Exception):
            raise error from None


class Blocks:
    """Room for some batches that are like one, in memory that processes share."""

    def __init__(self, batch: dict[str, np.ndarray], count: int):
        self.layout, self.size = [], 0
        for name, array in batch.items():
            self.layout.append((name, array.shape, array.dtype, self.size))
            self.size += -(-array.nbytes // ALIGNED) * ALIGNED
        self.memory = SharedMemory(self.size * count)

    def views(self, block: int) -> dict[str, np.ndarray]:
        """The arrays of a block, by name."""
        room = self.memory.bytes[block * self.size :][: self.size]
        return {name: np.ndarray(shape, dtype, room.data, at) for name, shape, dtype, at in self.layout}


_worker = {}


def _begin(data, blocks, workers):
    utils_processes.start_worker(1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # there is nothing to tidy up
    threadpool_limits(1, "blas")
    data.share_budget(workers)
    _worker.update(data=data, blocks=blocks)
    gc.freeze()


def _make(number, block):
    (batch,) = _worker["data"].batch(number)
    for name, room in _worker["blocks"].views(block).items():
        room[...] = batch[name]
