"""A photo that speaks along with a sound as it comes in, as in a call without a camera.

    arecord -q -t raw -f S16_LE -r 16000 -c 1 --buffer-time=80000 | \\
        python -m lipgan_keras.live --face photo.jpg --audio - --sink - | ffplay -i -

A frame needs the audio of half a window after it; it is shown DUE seconds after that has come in, evenly. What would
come more than LATE seconds after it is left out, so that no delay adds up; sound is never left out.

A thread reads the audio, another one makes the frames, the main thread shows them; at most one frame waits.
"""

import collections
import contextlib
import dataclasses
import os
import queue
import signal
import statistics
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..inference.blend import DEFAULT_REGION
from ..inference.portrait import Head
from ..inference.source import load_speech
from ..utils import files, terminal
from ..utils.errors import UserError
from . import schedule as live_schedule
from . import sound as live_sound
from .schedule import Schedule, frame_count
from .sinks import Mp4, Window, Y4m, open_window, raw_stdout
from .sound import LiveSound, play, read_pcm

SLOWEST = 0.2  # seconds without a frame after which the newest one is made even if it will be late
LONGEST = 1.0  # seconds without a frame after which an old one is better than none
COSTS = 15  # frames whose median time says how long the next one takes


@dataclasses.dataclass
class Summary:
    """What was shown.

    Attributes:
        sink: where.
        seconds: of audio.
        shown, dropped: frames that were shown, and those left out because they would have come too late.
        latency: {milliseconds: frames}, from the audio in the middle of a frame until the frame was given out.
        limit: the latency in seconds beyond which frames are left out.
        engine: what ran the generator.
    """

    sink: str
    limit: float
    engine: str
    seconds: float = 0.0
    shown: int = 0
    dropped: int = 0
    latency: collections.Counter = dataclasses.field(default_factory=collections.Counter)

    @property
    def median_ms(self) -> float:
        """Median latency in milliseconds."""
        return statistics.median(self.latency.elements()) if self.latency else 0.0

    @property
    def worst_ms(self) -> float:
        """Longest latency in milliseconds."""
        return max(self.latency, default=0.0)

    def __str__(self) -> str:
        text = (
            f"{terminal.printable(self.sink)}: {self.seconds:.2f} s, {self.shown} frames, {self.dropped} left out as "
            f"late; {self.engine}; latency: median {self.median_ms:.0f} ms, worst {self.worst_ms:.0f} ms, limit "
            f"{1000 * self.limit:.0f} ms"
        )
        if self.dropped > self.shown / 2:
            text += "\nthis computer is too slow for every frame; other programs, or a smaller model?"
        return text


def live(
    checkpoint_path: str | os.PathLike | None,
    face: str | os.PathLike,
    audio: str | os.PathLike,
    sink: str | os.PathLike = "window",
    pads: Sequence[float] = (0, 0, 0, 0),
    box: Sequence[float] | None = None,
    region: str = DEFAULT_REGION,
    sharpen: float = 1.0,
    engine: str = "auto",
    audio_offset_ms: float | None = None,
    label: bool = False,
    stop: threading.Event | None = None,
) -> Summary:
    """Let a photo speak along with a sound until it ends, Ctrl-C, or `stop`.

    Args:
        checkpoint_path: a generator's; None: the one that ships.
        face: image, or a video whose first frame with a face is taken.
        audio: "-": raw 16 kHz signed 16-bit little-endian mono PCM on standard input; or a file, played in its time.
        sink: "window", "-" (YUV4MPEG2 on standard output), or an MP4 file.
        pads: top, bottom, left, right: pixels by which the face crop grows on each side.
        box: top, bottom, left, right of the face in pixels, in place of looking for it.
        region, sharpen: of `blend.Composer`.
        engine, audio_offset_ms: of `engine.load`.
        label: write on the frame that it is synthetic.
        stop: ends the show when it is set.

    Raises:
        UserError: an input that cannot be used, no face, no audio, or no such sink.
    """
    stop = stop or threading.Event()
    ready, closed = threading.Event(), threading.Event()
    sound = LiveSound(record=sink not in ("-", "window"))
    with contextlib.ExitStack() as stack:
        stack.callback(sound.end)
        stack.callback(ready.set)
        stack.callback(closed.set)
        output = _check_sink(sink, stack, face, audio, checkpoint_path)
        # Before all that takes long: a microphone does not wait.
        threading.Thread(target=_source(audio), args=(sound, ready, closed), daemon=True).start()
        head = Head(checkpoint_path, face, pads, box, region, sharpen, engine, audio_offset_ms, label)
        height, width = head.image.shape[:2]
        output = stack.enter_context(output(width, height, sound, stop))
        show = Show(sound, Schedule(head.config), head, output, str(sink), stop)
        output.start(head.rest)
        _announce(head, show)
        stack.enter_context(_interruptible(stop))
        ready.set()
        summary = show.run()
        if not sound.received:
            raise UserError(f"--audio {audio}: no sound came; send 16 kHz signed 16-bit mono PCM")
        if sound.missed:
            print(
                f"sound stayed away for {sound.missed / live_sound.RATE:.1f} s, silence in its place", file=sys.stderr
            )
        return summary


def _announce(head, show):
    height, width = head.image.shape[:2]
    terminal.say(
        f"{head.name}, {width}x{height} pixels, {live_schedule.FPS} frames/s; a picture comes "
        f"{1000 * (show.schedule.wait + live_schedule.DUE):.0f} ms after its sound; Ctrl-C ends it",
        error=True,
    )


def _check_sink(sink, stack, *inputs):
    """A function that makes the sink; complains of what can be told before."""
    if sink == "window":
        open_window().destroy()
        return Window
    if sink == "-":
        if os.isatty(1):
            raise UserError("--sink -: standard output is a terminal; pipe it into a player, such as | ffplay -i -")
        descriptor = stack.enter_context(raw_stdout())
        return lambda *arguments: Y4m(descriptor, *arguments)
    path = Path(sink)
    if path.suffix.lower() != ".mp4":
        raise UserError(f'--sink {sink}: is neither "window", "-" nor an MP4 file; let its name end in .mp4')
    files.check_outfile(path, *inputs)
    files.check_writable(path.parent)
    return lambda *arguments: Mp4(path, *arguments)


def _source(audio):
    """A function that feeds a `LiveSound`."""
    if audio != "-":
        wave = load_speech(audio)
        return lambda *arguments: play(wave, *arguments)
    if sys.stdin is None or sys.stdin.closed:
        raise UserError("--audio -: standard input is closed; pipe 16 kHz signed 16-bit mono PCM in")
    if sys.stdin.isatty():
        raise UserError("--audio -: standard input is a terminal; pipe 16 kHz signed 16-bit mono PCM in")
    descriptor = sys.stdin.fileno()
    return lambda *arguments: read_pcm(descriptor, *arguments)


class Show:
    """Makes the frames of a sound as it comes in, and shows them when they are due."""

    def __init__(self, sound: LiveSound, schedule: Schedule, head, output, sink: str, stop: threading.Event):
        self.sound, self.schedule, self.head, self.output, self.stop = sound, schedule, head, output, stop
        self.summary = Summary(sink, schedule.limit, head.name)
        self._made: queue.Queue = queue.Queue(1)
        self._over = threading.Event()
        self._begin = self._shown_at = time.monotonic()
        self._skipped = 0
        self._show_cost = 0.0

    def run(self) -> Summary:
        """Show all until the audio ends or `stop` is set."""
        self._begin = self._shown_at = time.monotonic()
        maker = threading.Thread(target=self._make_all, daemon=True)
        maker.start()
        try:
            last, whole = self._show_all()
        finally:
            self._over.set()
            self.sound.end()
            maker.join()
        seconds = self.sound.received / live_sound.RATE
        self.summary.seconds = seconds if whole else min(seconds, (last + 1) / live_schedule.FPS)
        self.summary.dropped += self._skipped
        self.output.finish(self.summary.seconds)
        return self.summary

    def _show_all(self):
        """The number of the last frame shown, and whether it was the last one of all."""
        last, costs = 0, collections.deque([0.0] * 3, maxlen=COSTS)  # the first one counts little
        while not self.stop.is_set():
            try:
                item = self._made.get(timeout=0.04)
            except queue.Empty:
                self.output.idle()
                continue
            if item is None:
                return last, True
            if isinstance(item, BaseException):
                raise item
            k, image, forced = item
            if self.stop.wait(max(0.0, self._clock(self.schedule.due(k)) - self._show_cost - time.monotonic())):
                break
            if self._is_late(k, self._show_cost) and not forced and not self._is_slow(LONGEST):
                self.summary.dropped += 1
                continue
            begin = time.monotonic()
            self.output.show(k, image)
            self._shown_at = time.monotonic()
            costs.append(self._shown_at - begin)
            self._show_cost = statistics.median(costs)
            self.summary.latency[round(1000 * (self._shown_at - self._clock(self.schedule.middle(k))))] += 1
            self.summary.shown += 1
            last = k
        return last, False

    def _make_all(self):
        try:
            k, costs = 0, collections.deque([self.head.cost], maxlen=COSTS)
            while not self._over.is_set():
                if not self.sound.wait(self.schedule.samples(k), 0.02):
                    continue
                newest = self._newest(k)
                if newest is None:
                    break
                cost = statistics.median(costs) + self._show_cost
                while k <= newest and self._is_late(k, cost) and (k < newest or not self._is_slow()):
                    # What was said before the model was loaded could not be shown.
                    self._skipped += self._clock(self.schedule.latest(k)) > self._begin
                    k += 1
                if k > newest:
                    continue
                forced = self._is_late(k, cost)
                begin = time.monotonic()
                image = self.head(self.sound.window(self.schedule.centre(k), self.schedule.config.audio))
                costs.append(time.monotonic() - begin)
                self._put((k, image, forced))
                k += 1
            self._put(None)
        except BaseException as error:  # noqa: BLE001 - raised where frames are taken
            self._put(error)

    def _newest(self, k):
        """The last frame from k on whose sound is there, or None after the last one of all."""
        if self.sound.ended:
            last = frame_count(self.sound.received) - 1 if self.sound.received else -1
            return last if k <= last else None
        while self.schedule.samples(k + 1) <= self.sound.received:
            k += 1
        return k

    def _is_late(self, k, cost) -> bool:
        return time.monotonic() + cost > self._clock(self.schedule.latest(k))

    def _is_slow(self, seconds=SLOWEST) -> bool:
        # A computer that is too slow for the limit is to show something, as new as it can be.
        return time.monotonic() - self._shown_at > seconds

    def _clock(self, seconds):
        """The moment of time.monotonic() at which a second of the audio came in."""
        return self.sound.origin + seconds

    def _put(self, item):
        while not self._over.is_set():
            try:
                return self._made.put(item, timeout=0.1)
            except queue.Full:
                continue


@contextlib.contextmanager
def _interruptible(stop: threading.Event) -> Iterator[None]:
    """Ctrl-C and SIGTERM set `stop`, so that the file is finished; a second one breaks off."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupted(number, frame):
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, interrupted) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
