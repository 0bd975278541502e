"""Audio as it comes in: from a pipe, or from a file in its own time."""

import collections
import os
import select
import stat
import threading
import time
from collections.abc import Iterator

import numpy as np

from .. import audio
from ..config import SAMPLE_RATE
from ..utils.errors import UserError

RATE = SAMPLE_RATE
KEPT = 10.0  # seconds of audio that is held
PATIENCE = 0.5  # seconds without audio after which silence is heard
MEMORY = 5.0  # seconds of arrivals by which the clock goes
BACKLOG = 2.0  # seconds of audio that may have waited in the pipe, which is what a pipe holds


class LiveSound:
    """Sound as it comes in, and the clock that goes by it: sample n came in at `origin` + n / RATE.

    Sound comes in pieces; the clock counts from when a piece's first sample came. The earliest of the last MEMORY
    seconds counts: pieces are late by chance, and the clocks of two machines drift apart.

    Attributes:
        received: samples, made-up silence included.
        origin: of time.monotonic(); None before the first piece.
        ended: whether no more sound will come.
        missed: samples of made-up silence.
    """

    def __init__(self, record: bool = False):
        self.received, self.missed = 0, 0
        self.origin: float | None = None
        self.ended = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()
        self._held = np.zeros(0, np.float32)
        self._first = 0  # the number of the first sample held
        self._arrivals: collections.deque[tuple[float, float]] = collections.deque()
        self._stalled = False
        self._record: collections.deque[np.ndarray] | None = collections.deque() if record else None

    def append(self, samples: np.ndarray, now: float) -> None:
        """Add (n,) float32 in [-1, 1] that came in at `now`."""
        with self._changed:
            self._arrivals.append((now, now - self.received / RATE))
            while self._arrivals[0][0] < now - MEMORY:
                self._arrivals.popleft()
            self.origin = min(origin for _, origin in self._arrivals)
            self._stalled = False
            self._add(samples)

    def end(self, error: BaseException | None = None) -> None:
        """No more will come; `error` is raised where it is waited for."""
        with self._changed:
            self.ended, self._error = True, error
            self._changed.notify_all()

    def wait(self, count: int, timeout: float) -> bool:
        """Wait at most `timeout` seconds until `count` samples are there or the audio has ended: whether one is so.

        Where sound stays away for PATIENCE, the clock goes on from there with silence, so that the mouth rests.
        """
        with self._changed:
            enough = self._changed.wait_for(lambda: self.ended or self.received >= count, timeout)
            if not enough and self.origin is not None:
                now = time.monotonic()
                missing = int((now - self.origin) * RATE) - self.received
                if not self._stalled and missing > PATIENCE * RATE:
                    self._stalled = True
                    self._arrivals.clear()
                    self.origin = now - self.received / RATE
                elif self._stalled and missing > 0:
                    self.missed += missing
                    self._add(np.zeros(missing, np.float32))
                    enough = self.received >= count
            if self._error is not None:
                raise self._error
            return enough

    def window(self, seconds: float, kind: str) -> np.ndarray:
        """The network's input around a moment, (1, 80, 27, 1) or (1, 12, 35, 1): that of `audio.windows`."""
        with self._changed:
            held, first = self._held, self._first
        return audio.windows_of(held, [seconds - first / RATE], kind)

    def blocks(self) -> Iterator[np.ndarray]:
        """All of the audio, piece by piece, once, waiting for it (with `record`)."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._record or self.ended)
                if not self._record:
                    return
                blocks = list(self._record)
                self._record.clear()
            yield np.concatenate(blocks)

    def _add(self, samples):
        self.received += len(samples)
        self._held = np.concatenate([self._held, samples])
        if self._record is not None:
            self._record.append(samples)
        # By whole seconds, which are whole steps of every front end.
        surplus = int(len(self._held) / RATE - KEPT) * RATE
        if surplus > 0:
            self._held, self._first = self._held[surplus:], self._first + surplus
        self._changed.notify_all()


def read_pcm(descriptor: int, sound: LiveSound, ready: threading.Event, closed: threading.Event) -> None:
    """Read 16 kHz signed 16-bit little-endian mono until its end, into `sound`.

    A source that goes on while nobody listens, as a microphone does, is read at once and as fast as it comes. One
    that waits (a file, a full pipe) is read from `ready` on, in its own time.
    """
    waits = _waits(descriptor)
    if waits:
        ready.wait()
    ahead = 0.0 if waits else BACKLOG
    started, odd = None, b""
    try:
        while not closed.is_set():
            if started is not None and (pause := started + sound.received / RATE - ahead - time.monotonic()) > 0:
                closed.wait(pause)
                continue
            data = os.read(descriptor, 1 << 16)
            now = time.monotonic()
            if not data:
                break
            started = now if started is None else started
            data = odd + data
            odd = data[len(data) & ~1 :]
            sound.append(np.frombuffer(data[: len(data) & ~1], "<i2") / np.float32(32768), now)
        sound.end()
    except OSError as error:
        sound.end(UserError(f"--audio -: cannot be read ({error.strerror}); pipe 16 kHz signed 16-bit PCM in"))


def _waits(descriptor) -> bool:
    """Whether a source has all the time in the world: a file, a pipe that is full, or all written and closed."""
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return True
    try:
        import fcntl
        import termios

        waiting = np.zeros(1, np.int32)
        fcntl.ioctl(descriptor, termios.FIONREAD, waiting)
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        hung_up = any(events & select.POLLHUP for _, events in poll.poll(0))
    except (ImportError, AttributeError, OSError):
        return False
    return hung_up or int(waiting[0]) > 60000  # a pipe takes 65536 bytes


def play(wave: np.ndarray, sound: LiveSound, ready: threading.Event, closed: threading.Event) -> None:
    """Feed `sound` with (n,) float32 from `ready` on as a microphone would, 20 ms at a time."""
    ready.wait()
    started, piece = time.monotonic(), RATE // 50
    for first in range(0, len(wave), piece):
        samples = wave[first : first + piece]
        if closed.wait(max(0.0, started + (first + len(samples)) / RATE - time.monotonic())):
            break
        sound.append(samples, time.monotonic())
    sound.end()
