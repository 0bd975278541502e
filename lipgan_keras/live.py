"""A photo that speaks along with a sound as it comes in, as in a call without a camera.

    arecord -q -t raw -f S16_LE -r 16000 -c 1 --buffer-time=80000 | \\
        python -m lipgan_keras.live --face photo.jpg --audio - --sink - | ffplay -i -

A picture needs the sound of half a window after it; it is shown DUE seconds after that has come in, evenly. What would
come more than LATE seconds after it is left out, so that no delay adds up; sound is never left out.

A thread reads the sound, another one makes the pictures, the main thread shows them; at most one picture waits.
"""

import collections
import contextlib
import dataclasses
import itertools
import math
import os
import queue
import select
import signal
import stat
import statistics
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from av import VideoFrame
from av.video.reformatter import VideoReformatter

from . import __version__, cli, video
from . import audio as sounds
from .cli import UserError

FPS = 25
RATE = sounds.SAMPLE_RATE
DUE, LATE = 0.08, 0.15  # seconds after half a window
FOURIER_FRAME = {"mel": 800, "mfcc": 400}  # samples that one step of a window hears
SLOWEST = 0.2  # seconds without a picture after which the newest one is made even if it will be late
LONGEST = 1.0  # seconds without a picture after which an old one is better than none
COSTS = 15  # frames whose median time says how long the next one takes
KEPT = 10.0  # seconds of sound that is held
PATIENCE = 0.5  # seconds without sound after which silence is heard
MEMORY = 5.0  # seconds of arrivals by which the clock goes
BACKLOG = 2.0  # seconds of sound that may have waited in the pipe, which is what a pipe holds
REPEATS = 5  # frames of raw video that are made up for at once
MAX_SIDE = 1280  # pixels of a picture
FACE_FRAMES = 250  # of a video, in which a face is looked for


@dataclasses.dataclass
class Summary:
    """What was shown.

    Attributes:
        sink: where.
        seconds: of sound.
        shown, dropped: frames that were shown, and those left out because they would have come too late.
        latency: {milliseconds: frames}, from the sound in the middle of a frame until the frame was given out.
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
            f"{self.sink}: {self.seconds:.2f} s, {self.shown} frames, {self.dropped} left out as late; {self.engine}; "
            f"latency: median {self.median_ms:.0f} ms, worst {self.worst_ms:.0f} ms, limit {1000 * self.limit:.0f} ms"
        )
        if self.dropped > self.shown / 2:
            text += "\nthis computer is too slow for every frame; other programs, or a smaller model?"
        return text


# ---------------------------------------------------------------------------------------------------------------------
# Sound in


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
        """Wait at most `timeout` seconds until `count` samples are there or the sound has ended: whether one is so.

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
        return sounds.windows_of(held, [seconds - first / RATE], kind)

    def blocks(self) -> Iterator[np.ndarray]:
        """All of the sound, piece by piece, once, waiting for it (with `record`)."""
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


# ---------------------------------------------------------------------------------------------------------------------
# When


class Schedule:
    """Which sound a frame hears, and when it is to be shown, by the model's configuration. All in seconds of sound.

    Attributes:
        wait: from the middle of a frame to the end of what its window is centred on and after, that is half a window,
            and more for a model that hears later sound.
        limit: from the middle of a frame until it is shown, at most.
    """

    def __init__(self, config):
        self.config = config
        self.half = sounds.WINDOW_SHAPE[config.audio][1] / sounds.STEPS_PER_SECOND[config.audio] / 2
        # "released" windows lie differently to frames, the same way every 5 frames (16 steps).
        later = max(self.centre(k) - self.middle(k) for k in range(5))
        self.wait = self.half + max(0.0, later)
        self.limit = self.wait + LATE

    def middle(self, k: int) -> float:
        return (k + 0.5) / FPS

    def centre(self, k: int) -> float:
        """The moment on which the window of frame k is centred."""
        return sounds.window_centre(k / FPS, (k + 1) / FPS, self.config.alignment, self.config.audio_offset_ms)

    def samples(self, k: int) -> int:
        """How much sound there must be for the window of frame k to be what it is in the whole sound."""
        return math.ceil((self.centre(k) + self.half) * RATE + 1e-3) + FOURIER_FRAME[self.config.audio] // 2

    def due(self, k: int) -> float:
        return self.middle(k) + self.wait + DUE

    def latest(self, k: int) -> float:
        return self.middle(k) + self.limit


def frame_count(samples: int) -> int:
    """Frames of so much sound, as many as `LipSync.run` makes of it."""
    return max(1, round(samples / RATE * FPS))


# ---------------------------------------------------------------------------------------------------------------------
# Frames out


class Mp4:
    """Frames and sound into a file; a frame left out lets the one before it last longer."""

    def __init__(self, path, width: int, height: int, sound: LiveSound, stop: threading.Event):
        from .lipsync import COMMENT

        self._path, self._size, self._sound, self._comment = path, (width, height), sound, COMMENT
        self._rest = self._last = None

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            temporary = stack.enter_context(cli.replacing(self._path))
            source = (self._sound.blocks(), RATE)
            writer = video.VideoWriter(temporary, *self._size, FPS, audio=source, metadata={"comment": self._comment})
            self._writer = stack.enter_context(writer)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error):
        return self._stack.__exit__(*error)

    def start(self, rest: np.ndarray) -> None:
        self._rest = rest
        # Sound that came before the model was loaded is written now, as that takes longer than there is for a frame.
        before = self._sound.received / RATE - 1
        if before > 0:
            self._writer.write(rest, 0.0)
            self._writer.write(rest, before)

    def show(self, k: int, image: np.ndarray) -> None:
        if self._last is None and k > 0:
            self._writer.write(self._rest, max(0.0, (k - 1) / FPS))
        end = (k + 1) / FPS
        if self._sound.ended:  # amid the last frame, perhaps
            end = min(end, self._sound.received / RATE)
        self._writer.write(image, k / FPS, end - k / FPS)
        self._last = k, image

    def idle(self) -> None:
        pass

    def finish(self, seconds: float) -> None:
        """End picture and sound there."""
        k, image = self._last or (-1, self._rest)
        if seconds - (k + 1) / FPS > 1e-3:
            self._writer.write(image, (k + 1) / FPS, seconds - (k + 1) / FPS)
        self._writer.cut_sound(seconds)


class Y4m:
    """YUV4MPEG2 on a file descriptor: raw 4:2:0 pictures with a header, which players and FFmpeg read as they come.

    Of a constant rate: a frame left out is the one before it once more. While the reader is slow that waits.
    """

    def __init__(self, descriptor: int, width: int, height: int, sound: LiveSound, stop: threading.Event):
        self._descriptor, self._stop = descriptor, stop
        self._padding = height % 2, width % 2
        self._reformatter = VideoReformatter()
        # The format does not say it: the custom of players.
        self._matrix = "ITU709" if height >= 720 else "ITU601"
        self._header = (
            f"YUV4MPEG2 W{width + width % 2} H{height + height % 2} F{FPS}:1 Ip A1:1 C420mpeg2 XCOLORRANGE=LIMITED "
            f"XSYNTHETIC=lipgan_keras-{__version__}\n"
        )
        self._next = self._last = None
        self._slow = False

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def start(self, rest: np.ndarray) -> None:
        self._write(self._header.encode())

    def show(self, k: int, image: np.ndarray) -> None:
        down, right = self._padding
        if down or right:
            image = cv2.copyMakeBorder(image, 0, down, 0, right, cv2.BORDER_REPLICATE)
        picture = self._reformatter.reformat(
            VideoFrame.from_ndarray(np.ascontiguousarray(image), "bgr24"),
            format="yuv420p",
            dst_colorspace=self._matrix,
            src_color_range="JPEG",
            dst_color_range="MPEG",
        )
        data = b"FRAME\n" + picture.to_ndarray().tobytes()
        self._next = k if self._next is None else self._next
        for _ in range(0 if self._slow else min(REPEATS, k - self._next)):
            self._write(self._last)
            self._next += 1
        begin = time.monotonic()
        self._write(data)
        self._slow = time.monotonic() - begin > 1 / FPS
        self._last = data
        self._next += 1

    def idle(self) -> None:
        pass

    def finish(self, seconds: float) -> None:
        pass

    def _write(self, data):
        data = memoryview(data)
        try:
            while data and not self._stop.is_set():
                # Pieces that a pipe takes at once, so that Ctrl-C is heeded while nobody reads.
                if select.select([], [self._descriptor], [], 0.1)[1]:
                    data = data[os.write(self._descriptor, data[: select.PIPE_BUF]) :]
        except BrokenPipeError:  # the player was closed
            self._stop.set()


class Window:
    """A window; closing it ends the show.

    Raises:
        UserError: there is no display.
    """

    def __init__(self, width: int, height: int, sound: LiveSound, stop: threading.Event):
        self._root = _open_window()
        self._root.title("lipgan_keras (synthetic)")
        self._root.protocol("WM_DELETE_WINDOW", stop.set)
        self._label = self._picture = None

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._root.destroy()

    def start(self, rest: np.ndarray) -> None:
        self.show(0, rest)

    def show(self, k: int, image: np.ndarray) -> None:
        import tkinter

        ppm = f"P6 {image.shape[1]} {image.shape[0]} 255\n".encode() + np.ascontiguousarray(image[..., ::-1]).tobytes()
        picture = tkinter.PhotoImage(master=self._root, data=ppm, format="PPM")
        if self._label is None:
            self._label = tkinter.Label(self._root, borderwidth=0)
            self._label.pack()
        self._label.configure(image=picture)
        self._picture = picture  # tkinter forgets pictures that nothing else holds
        self._root.update()

    def idle(self) -> None:
        self._root.update()

    def finish(self, seconds: float) -> None:
        pass


def _open_window():
    try:
        import tkinter

        return tkinter.Tk()
    except (ImportError, RuntimeError) as error:
        raise UserError("--sink window: needs tkinter (Debian: apt-get install python3-tk); or name a file") from error
    except Exception as error:  # tkinter.TclError, where tkinter is there
        raise UserError("--sink window: there is no display here; name a file, or - for standard output") from error


@contextlib.contextmanager
def _raw_stdout() -> Iterator[int]:
    """A descriptor of standard output for pictures alone; what is printed meanwhile goes to standard error."""
    sys.stdout.flush()
    descriptor = os.dup(1)
    os.dup2(2, 1)
    try:
        yield descriptor
    finally:
        sys.stdout.flush()
        os.dup2(descriptor, 1)
        os.close(descriptor)


# ---------------------------------------------------------------------------------------------------------------------
# All together


def live(
    checkpoint_path: str | os.PathLike | None,
    face: str | os.PathLike,
    audio: str | os.PathLike,
    sink: str | os.PathLike = "window",
    pads: Sequence[float] = (0, 0, 0, 0),
    box: Sequence[float] | None = None,
    region: str = "jaw",
    sharpen: float = 1.0,
    engine: str = "auto",
    audio_offset_ms: float | None = None,
    label: bool = False,
    stop: threading.Event | None = None,
) -> Summary:
    """Let a photo speak along with a sound until it ends, Ctrl-C, or `stop`.

    Args:
        checkpoint_path: a generator's; None: the one that ships.
        face: picture, or a video whose first frame with a face is taken.
        audio: "-": raw 16 kHz signed 16-bit little-endian mono PCM on standard input; or a file, played in its time.
        sink: "window", "-" (YUV4MPEG2 on standard output), or an MP4 file.
        pads: top, bottom, left, right: pixels by which the face crop grows on each side.
        box: top, bottom, left, right of the face in pixels, in place of looking for it.
        region, sharpen: of `composite.Composer`.
        engine, audio_offset_ms: of `engine.load`.
        label: write on the picture that it is synthetic.
        stop: ends the show when it is set.

    Raises:
        UserError: an input that cannot be used, no face, no sound, or no such sink.
    """
    stop = stop or threading.Event()
    ready, closed = threading.Event(), threading.Event()
    sound = LiveSound(record=sink not in ("-", "window"))
    with contextlib.ExitStack() as stack:
        stack.callback(sound.end)
        stack.callback(ready.set)
        stack.callback(closed.set)
        output = _check_sink(sink, stack, face, audio)
        # Before all that takes long: a microphone does not wait.
        threading.Thread(target=_source(audio), args=(sound, ready, closed), daemon=True).start()
        head = Head(checkpoint_path, face, pads, box, region, sharpen, engine, audio_offset_ms, label)
        height, width = head.image.shape[:2]
        output = stack.enter_context(output(width, height, sound, stop))
        show = Show(sound, Schedule(head.config), head, output, str(sink), stop)
        output.start(head.rest)
        print(
            f"{head.name}, {width}x{height} pixels, {FPS} frames/s; a picture comes "
            f"{1000 * (show.schedule.wait + DUE):.0f} ms after its sound; Ctrl-C ends it",
            file=sys.stderr,
        )
        stack.enter_context(_interruptible(stop))
        ready.set()
        summary = show.run()
        if not sound.received:
            raise UserError(f"--audio {audio}: no sound came; send 16 kHz signed 16-bit mono PCM")
        if sound.missed:
            print(f"sound stayed away for {sound.missed / RATE:.1f} s, silence in its place", file=sys.stderr)
        return summary


def _check_sink(sink, stack, face, audio):
    """A function that makes the sink; complains of what can be told before."""
    if sink == "window":
        _open_window().destroy()
        return Window
    if sink == "-":
        if os.isatty(1):
            raise UserError("--sink -: standard output is a terminal; pipe it into a player, such as | ffplay -i -")
        descriptor = stack.enter_context(_raw_stdout())
        return lambda *arguments: Y4m(descriptor, *arguments)
    path = Path(sink)
    if path.suffix.lower() != ".mp4":
        raise UserError(f'--sink {sink}: is neither "window", "-" nor an MP4 file; let its name end in .mp4')
    cli.check_outfile(path, face, audio)
    cli.check_writable(path.parent)
    return lambda *arguments: Mp4(path, *arguments)


def _source(audio):
    """A function that feeds a `LiveSound`."""
    if audio != "-":
        wave = sounds.load_audio(audio)
        return lambda *arguments: play(wave, *arguments)
    if sys.stdin is None or sys.stdin.closed:
        raise UserError("--audio -: standard input is closed; pipe 16 kHz signed 16-bit mono PCM in")
    if sys.stdin.isatty():
        raise UserError("--audio -: standard input is a terminal; pipe 16 kHz signed 16-bit mono PCM in")
    descriptor = sys.stdin.fileno()
    return lambda *arguments: read_pcm(descriptor, *arguments)


class Head:
    """A photo and the generator that makes it speak.

    Attributes:
        image: the photo, (H,W,3) BGR uint8, MAX_SIDE pixels at most.
        rest: the photo with its mouth as in silence.
        cost: seconds that a picture took.
        config, name: of the engine.
    """

    def __init__(self, checkpoint_path, face, pads, box, region, sharpen, engine, audio_offset_ms, label):
        from . import checkpoints, composite, faces, lipsync
        from . import engine as engines
        from .dataset import assemble

        video.probe(face)  # what can be said before anything is loaded
        checkpoint_path = checkpoints.or_shipped(checkpoint_path)
        crop_style = checkpoints.read_config(checkpoint_path).crop
        self.image, self._face = _find(face, crop_style, pads, box, upright=region != "face")
        self._engine = engines.load(checkpoint_path, engine, 1, audio_offset_ms)
        self.config, self.name = self._engine.config, self._engine.name
        self._composer = composite.Composer(region, sharpen)
        crop = faces.extract(self.image, self._face.box, self.config.img_size, self._face.angle)
        self._input = assemble(crop, crop)[0][None]
        if label:
            self.image = lipsync.labelled(self.image)
        silence = np.empty((sounds.WINDOW_SHAPE[self.config.audio][0], 0), np.float32)
        for _ in range(3):  # the first ones are slower
            begin = time.monotonic()
            self.rest = self(sounds.windows(silence, [0.0], self.config.audio))
            self.cost = time.monotonic() - begin

    def __call__(self, window: np.ndarray) -> np.ndarray:
        """The photo as it says a window (1, 80, 27, 1) or (1, 12, 35, 1)."""
        output = np.asarray(self._engine(self._input, window))[0]
        crop = np.clip(np.rint(output * 255), 0, 255).astype(np.uint8)
        return self._composer(self.image, self._face, crop)


def _find(path, style, pads, box, upright):
    """The photo, or the first frame of a video that has a face, and the face."""
    from . import tracking

    for frame in itertools.islice(video.read_frames(path), FACE_FRAMES):
        height, width = frame.image.shape[:2]
        scale = min(1.0, MAX_SIDE / max(height, width))
        scaled = [scale * side for side in pads]
        if scale < 1:
            size = max(1, round(width * scale)), max(1, round(height * scale))
            frame.image = cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA)
        if box is not None:
            tracking.check_box(box, width, height)
            found = tracking.fixed_box(iter([frame]), [scale * side for side in box], style, scaled)
        else:
            found = tracking.track(iter([frame]), style, scaled, upright=upright)
        for tracked in found:
            if tracked.faces:
                return frame.image, tracked.faces[0]
    raise UserError(f"{path}: no face found; give a picture of a face that looks at the camera, or its --box")


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
        """Show all until the sound ends or `stop` is set."""
        self._begin = self._shown_at = time.monotonic()
        maker = threading.Thread(target=self._make_all, daemon=True)
        maker.start()
        try:
            last, whole = self._show_all()
        finally:
            self._over.set()
            self.sound.end()
            maker.join()
        seconds = self.sound.received / RATE
        self.summary.seconds = seconds if whole else min(seconds, (last + 1) / FPS)
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
        """The moment of time.monotonic() at which a second of the sound came in."""
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


def main() -> None:
    parser = cli.ArgumentParser(
        prog="python -m lipgan_keras.live", description="Let a photo speak along with a sound as it comes in."
    )
    parser.add_argument(
        "--checkpoint_path", help="generator, of train.py or of the original LipGAN (default: the one that ships)"
    )
    parser.add_argument(
        "--face", type=cli.existing, required=True, help="picture of the face, or a video that shows one"
    )
    parser.add_argument(
        "--audio",
        default="-",
        help="-: raw 16 kHz signed 16-bit little-endian mono PCM on standard input; or a file, played in its time",
    )
    parser.add_argument(
        "--sink", default="window", help="window, an MP4 file, or - for raw video (YUV4MPEG2) on standard output"
    )
    cli.add_face_flags(parser)
    args = parser.parse_args()
    summary = live(
        args.checkpoint_path,
        args.face,
        args.audio,
        args.sink,
        args.pads,
        args.box,
        args.region,
        args.sharpen,
        args.engine,
        args.audio_offset_ms,
        args.label,
    )
    print(summary, file=sys.stderr if args.sink == "-" else sys.stdout)


if __name__ == "__main__":
    cli.run(main)
