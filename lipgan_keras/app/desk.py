"""The work of all visitors: one piece at a time, the others wait and know their place."""

import collections
import threading
import time
from collections.abc import Callable
from typing import Any

from ..utils.errors import UserError


class Job:
    """A piece of work.

    Attributes:
        stop: set it, and the work ends soon, with what is made.
        over: is set when it has ended.
        result, error: what it returned or raised; both None where it was stopped before its turn.
        done, total: frames so far, and in all; both 0 before the first one.
    """

    def __init__(self, work: Callable[["Job"], Any]):
        self.work = work
        self.stop, self.over = threading.Event(), threading.Event()
        self.result: Any = None
        self.error: BaseException | None = None
        self.done = self.total = 0
        self._first = 0.0

    def progress(self, done: int, total: int) -> None:
        """Say how far it is; to be given to `LipSync.run` as its `callback`."""
        if not self.done:
            self._first = time.monotonic()
        self.done, self.total = done, total

    @property
    def left(self) -> float | None:
        """Seconds that it will go on, about; None while that cannot be said."""
        if self.done < 2:
            return None
        return (time.monotonic() - self._first) / (self.done - 1) * (self.total - self.done)


class Desk:
    """Does jobs one after another, in a thread of its own.

    Args:
        waiting: jobs that may wait.
    """

    def __init__(self, waiting: int):
        self._most = waiting
        self._changed = threading.Condition()
        self._line: collections.deque[Job] = collections.deque()
        self._at_work: Job | None = None
        threading.Thread(target=self._work, name="desk", daemon=True).start()

    def join(self, work: Callable[[Job], Any]) -> Job:
        """Let a piece of work wait for its turn; `work` is given its `Job`.

        Raises:
            UserError: too many wait already.
        """
        with self._changed:
            if len(self._line) >= self._most + (self._at_work is None):
                raise UserError("So many others wait already that the line is full; try again in a few minutes")
            job = Job(work)
            self._line.append(job)
            self._changed.notify_all()
        return job

    def place(self, job: Job) -> int:
        """How many go before it; 0 where it is its turn, or it has ended."""
        with self._changed:
            return self._line.index(job) + (self._at_work is not None) if job in self._line else 0

    def end(self, job: Job) -> None:
        """Stop a job; one that waits never begins."""
        job.stop.set()
        with self._changed:
            if job in self._line:
                self._line.remove(job)
                job.over.set()

    def _work(self):
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._line)
                job = self._at_work = self._line.popleft()
            try:
                job.result = job.work(job)
            except BaseException as error:  # noqa: BLE001 - told to whoever waits for it
                job.error = error
            finally:
                with self._changed:
                    self._at_work = None
                job.over.set()
