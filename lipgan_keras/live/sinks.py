"""Where live frames go: a window, an MP4 file, or raw video on standard output."""

import contextlib
import os
import select
import sys
import threading
import time
from collections.abc import Iterator

import cv2
import numpy as np
from av import VideoFrame
from av.video.reformatter import VideoReformatter

from .. import __version__
from ..inference.output import synthetic_writer
from ..utils import files
from ..utils.errors import UserError
from . import schedule
from . import sound as live_sound
from .sound import LiveSound

REPEATS = 5  # frames of raw video that are made up for at once


class Mp4:
    """Frames and audio into a file; a frame left out lets the one before it last longer."""

    def __init__(self, path, width: int, height: int, sound: LiveSound, stop: threading.Event):
        self._path, self._size, self._sound = path, (width, height), sound
        self._rest = self._last = None

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            temporary = stack.enter_context(files.replacing(self._path))
            source = (self._sound.blocks(), live_sound.RATE)
            writer = synthetic_writer(temporary, *self._size, schedule.FPS, audio=source)
            self._writer = stack.enter_context(writer)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error):
        return self._stack.__exit__(*error)

    def start(self, rest: np.ndarray) -> None:
        self._rest = rest
        # Sound that came before the model was loaded is written now, as that takes longer than there is for a frame.
        before = self._sound.received / live_sound.RATE - 1
        if before > 0:
            self._writer.write(rest, 0.0)
            self._writer.write(rest, before)

    def show(self, k: int, image: np.ndarray) -> None:
        if self._last is None and k > 0:
            self._writer.write(self._rest, max(0.0, (k - 1) / schedule.FPS))
        end = (k + 1) / schedule.FPS
        if self._sound.ended:  # amid the last frame, perhaps
            end = min(end, self._sound.received / live_sound.RATE)
        self._writer.write(image, k / schedule.FPS, end - k / schedule.FPS)
        self._last = k, image

    def idle(self) -> None:
        pass

    def finish(self, seconds: float) -> None:
        """End video and audio there."""
        k, image = self._last or (-1, self._rest)
        if seconds - (k + 1) / schedule.FPS > 1e-3:
            self._writer.write(image, (k + 1) / schedule.FPS, seconds - (k + 1) / schedule.FPS)
        self._writer.cut_sound(seconds)


class Y4m:
    """YUV4MPEG2 on a file descriptor: raw 4:2:0 frames with a header, which players and FFmpeg read as they come.

    Of a constant rate: a frame left out is the one before it once more. While the reader is slow that waits.
    """

    def __init__(self, descriptor: int, width: int, height: int, sound: LiveSound, stop: threading.Event):
        self._descriptor, self._stop = descriptor, stop
        self._padding = height % 2, width % 2
        self._reformatter = VideoReformatter()
        # The format does not say it: the custom of players.
        self._matrix = "ITU709" if height >= 720 else "ITU601"
        self._header = (
            f"YUV4MPEG2 W{width + width % 2} H{height + height % 2} F{schedule.FPS}:1 Ip A1:1 C420mpeg2 "
            f"XCOLORRANGE=LIMITED XSYNTHETIC=lipgan_keras-{__version__}\n"
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
        frame = self._reformatter.reformat(
            VideoFrame.from_ndarray(np.ascontiguousarray(image), "bgr24"),
            format="yuv420p",
            dst_colorspace=self._matrix,
            src_color_range="JPEG",
            dst_color_range="MPEG",
        )
        data = b"FRAME\n" + frame.to_ndarray().tobytes()
        self._next = k if self._next is None else self._next
        for _ in range(0 if self._slow else min(REPEATS, k - self._next)):
            self._write(self._last)
            self._next += 1
        begin = time.monotonic()
        self._write(data)
        self._slow = time.monotonic() - begin > 1 / schedule.FPS
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
        self._root = open_window()
        self._root.title("lipgan_keras (synthetic)")
        self._root.protocol("WM_DELETE_WINDOW", stop.set)
        self._label = self._photo = None

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._root.destroy()

    def start(self, rest: np.ndarray) -> None:
        self.show(0, rest)

    def show(self, k: int, image: np.ndarray) -> None:
        import tkinter

        ppm = f"P6 {image.shape[1]} {image.shape[0]} 255\n".encode() + np.ascontiguousarray(image[..., ::-1]).tobytes()
        photo = tkinter.PhotoImage(master=self._root, data=ppm, format="PPM")
        if self._label is None:
            self._label = tkinter.Label(self._root, borderwidth=0)
            self._label.pack()
        self._label.configure(image=photo)
        self._photo = photo  # tkinter forgets frames that nothing else holds
        self._root.update()

    def idle(self) -> None:
        self._root.update()

    def finish(self, seconds: float) -> None:
        pass


def open_window():
    try:
        import tkinter

        return tkinter.Tk()
    except (ImportError, RuntimeError) as error:
        raise UserError("--sink window: needs tkinter (Debian: apt-get install python3-tk); or name a file") from error
    except Exception as error:  # tkinter.TclError, where tkinter is there
        raise UserError("--sink window: there is no display here; name a file, or - for standard output") from error


@contextlib.contextmanager
def raw_stdout() -> Iterator[int]:
    """A descriptor of standard output for frames alone; what is printed meanwhile goes to standard error."""
    sys.stdout.flush()
    descriptor = os.dup(1)
    os.dup2(2, 1)
    try:
        yield descriptor
    finally:
        sys.stdout.flush()
        os.dup2(descriptor, 1)
        os.close(descriptor)
