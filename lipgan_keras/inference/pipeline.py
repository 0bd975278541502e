"""Iterators that run side by side, each in a thread of its own, with bounded queues between them.

    with Stages() as stages:
        frames = stages.run("read", read(path), ahead=16)
        mouths = stages.run("generate", generate(frames), ahead=16)
        for mouth in mouths:
            ...

An error in a stage is raised where its items are taken, and so in all stages after it. Leaving the block, for whatever
reason, stops every stage at its next item and waits for it, after Ctrl-C and where `until` said so not for long.
"""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

_END = object()
HASTE = 0.2  # seconds that a stage is waited for after Ctrl-C, or a stop
_POLL = 0.05  # seconds between looks at whether to stop, of a stage that waits


class _Stopped(Exception):
    """The block was left; raised inside a stage that waits."""


class Stages:
    """The stages of one pipeline.

    Attributes:
        seconds: {name: time that the stage spent working, waiting for other stages left out}; where one stage calls
            libraries with threads of their own this is not processor time.
        stopped: whether `until` of a stage ended it.
    """

    def __init__(self):
        self.seconds: dict[str, float] = {}
        self.stopped = False
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._waited = threading.local()

    def run(
        self, name: str, items: Iterable[Item], ahead: int, until: Callable[[], bool] | None = None
    ) -> Iterator[Item]:
        """Take `items` in a thread, at most `ahead` of them before they are asked for.

        `until` is asked while an item is waited for: there are no more once it says so.
        """
        passing: queue.Queue = queue.Queue(max(1, ahead))
        thread = threading.Thread(target=self._work, args=(name, items, passing), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()
        return self._take(passing, until)

    @contextlib.contextmanager
    def working(self, name: str) -> Iterator[None]:
        """Count the time in here, less what is spent waiting for stages, as that of `name`."""
        begin, waited = time.perf_counter(), self._waiting()
        try:
            yield
        finally:
            busy = time.perf_counter() - begin - (self._waiting() - waited)
            self.seconds[name] = self.seconds.get(name, 0.0) + busy

    def _waiting(self) -> float:
        return getattr(self._waited, "seconds", 0.0)

    def _wait(self, attempt, *item, until=None):
        """Call it, a queue's put or get, until it succeeds, the block is left, or `until` says so."""
        begin = time.perf_counter()
        try:
            while True:
                if until and until():
                    self.stopped = True
                    raise _Stopped
                with contextlib.suppress(queue.Full, queue.Empty):
                    return attempt(*item, timeout=_POLL)
                if self._stop.is_set():
                    raise _Stopped
        finally:
            self._waited.seconds = self._waiting() + time.perf_counter() - begin

    def _work(self, name, items, passing):
        failure = None
        try:
            iterator = iter(items)
            try:
                while not self._stop.is_set():
                    with self.working(name):
                        item = next(iterator, _END)
                    if item is _END:
                        break
                    self._wait(passing.put, (item, None))
            finally:
                if hasattr(iterator, "close"):
                    iterator.close()  # the files that it has open
        except BaseException as error:  # noqa: BLE001 - raised where the items are taken
            failure = error
        with contextlib.suppress(_Stopped):
            self._wait(passing.put, (_END, failure))

    def _take(self, passing, until):
        while True:
            try:
                item, failure = self._wait(passing.get, until=until)
            except _Stopped:
                if until and self.stopped:
                    return
                raise
            if failure is not None:
                raise failure
            if item is _END:
                return
            yield item

    def __enter__(self):
        return self

    def __exit__(self, kind, *_) -> None:
        self._stop.set()
        # Ctrl-C does not wait for what cannot be stopped, such as a network that is being compiled.
        hasty = self.stopped or (kind is not None and issubclass(kind, KeyboardInterrupt))
        end = time.monotonic() + HASTE
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()) if hasty else None)
