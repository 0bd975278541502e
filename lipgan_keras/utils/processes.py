"""Independent pieces of work, such as one video each, spread over processes."""

import concurrent.futures
import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from typing import Any

# TensorFlow and OpenVINO read these when they are imported.
THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
_ends_amid_imports = False
_tidied = 0  # blocks of `tidied` that are under way
_tidied_lock = threading.Lock()
DIED = "the process that worked on it died (damaged file, or out of memory); make it anew, or use fewer --num_workers"


def run(work: Callable[[Any], Any], jobs: Iterable[Any], workers: int, here: bool = False) -> Iterator[tuple[Any, Any]]:
    """Yield (job, work(job)) as they end; (job, None) where the process that did it was killed.

    Args:
        work: a function of a module, or a `functools.partial` of one, that never returns None. What it raises ends all
            processes, and is raised here.
        jobs: each distinct; like `work` and its results, to be pickled between the processes of this program.
        workers: processes.
        here: do it in this process if there would be but one; if that dies, so does all.
    """
    waiting = list(jobs)
    workers = max(1, min(workers, len(waiting)))
    if here and workers == 1:
        for job in waiting:
            yield job, work(job)
        return
    while waiting:
        ended = set()
        threads = max(1, cores() // workers)
        context = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
        pool = concurrent.futures.ProcessPoolExecutor(workers, context, initializer=start_worker, initargs=(threads,))
        try:
            futures = {}
            with uninterrupted(), contextlib.suppress(BrokenProcessPool):
                for number, job in enumerate(waiting):
                    futures[pool.submit(_guarded, work, job)] = number
            for future in concurrent.futures.as_completed(futures):
                with contextlib.suppress(BrokenProcessPool):
                    result = future.result()
                    ended.add(futures[future])
                    yield waiting[futures[future]], result
        except BaseException:  # Ctrl-C, or the caller wants no more: do not finish what is under way
            for process in list((pool._processes or {}).values()):
                process.terminate()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        # Work that kills its process takes the pool along: go on one at a time. Of a single worker the first that is
        # lost is the one.
        waiting = [job for number, job in enumerate(waiting) if number not in ended]
        if waiting and workers == 1:
            yield waiting.pop(0), None
        workers = 1


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _guarded(work, job):
    try:
        return work(job)
    except SystemExit:
        os._exit(143)  # the pool would take it for a result, and go on


def start_worker(threads: int) -> None:
    """What a process does first: it ends with its parent, quietly, and uses so many threads."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    end_amid_imports()
    # What goes wrong is returned. A worker that is ended while it waits for work would print how it died.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    # If the parent is killed, end at once, rather than write into the folders of the run that takes over.
    threading.Thread(target=_follow_parent, daemon=True).start()
    os.environ |= dict.fromkeys(THREADS, str(threads))
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    import cv2

    cv2.setNumThreads(threads)


def _follow_parent():
    multiprocessing.parent_process().join()
    os._exit(1)


def end_amid_imports() -> None:
    """Let a signal amid an import end this process at once, unless something is to be tidied up.

    For our commands and their processes; of a program that imports the package nobody knows what it has to tidy up.
    """
    global _ends_amid_imports
    _ends_amid_imports = True


@contextlib.contextmanager
def tidied() -> Iterator[None]:
    """Say that the end of the block removes what may not stay, so that a signal is to wait for it."""
    global _tidied
    with _tidied_lock:
        _tidied += 1
    try:
        yield
    finally:
        with _tidied_lock:
            _tidied -= 1


@contextlib.contextmanager
def signals_put_off() -> Iterator[None]:
    """Do not raise amid the imports of large libraries: what Ctrl-C and SIGTERM raise there is lost, or crashes.

    A command that has nothing to tidy up ends at once. Everything else heeds them at the end of the block.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came = []

    def heard(number, frame):
        if _ends_amid_imports and not _tidied and not multiprocessing.active_children():
            os._exit(128 + number)
        came.append(number)

    numbers = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, heard) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Put off Ctrl-C; processes started in here never see it: it is their parent's to handle."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
