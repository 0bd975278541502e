"""MTCNN in a process of its own, which loads TensorFlow while the command loads all else."""

import contextlib
import io
import os
import queue
import struct
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np

from ..utils import processes
from . import mtcnn

# It looks for packages where the command does, as this one may lie beside a script.
START = "import sys; sys.path[:] = sys.argv[1:]; from lipgan_keras.face import mtcnn_process; mtcnn_process.serve()"
LENGTH = struct.Struct("<Q")


class MtcnnProcess:
    """A started process. Calls from several threads take turns. It ends with this process, at the latest."""

    def __init__(self):
        # It has no use for a GPU: MTCNN runs on the CPU.
        env = os.environ | {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1"}
        with processes.uninterrupted():
            self._process = subprocess.Popen(
                [sys.executable, "-c", START, *sys.path],
                env=env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        self._lock = threading.Lock()

    def find(self, images: Sequence[np.ndarray], openvino: bool) -> np.ndarray | None:
        """`mtcnn.find` there.

        Returns:
            What that returns; None: the process has died, and this one had better find the faces itself.
        """
        with self._lock:
            try:
                _write(self._process.stdin, np.stack(images), np.array(openvino))
                return _read(self._process.stdout)
            except (OSError, EOFError):
                self.end()
                return None
            except BaseException:  # such as Ctrl-C: an answer is left that nobody waits for
                self.end()
                raise

    def end(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                stream.close()
        self._process.wait()


def serve() -> None:
    """What the process does: find faces, until nobody asks any more."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # libraries may print
    asked: queue.SimpleQueue = queue.SimpleQueue()

    def listen():
        with contextlib.suppress(EOFError):
            while True:
                asked.put((_read(sys.stdin.buffer), bool(_read(sys.stdin.buffer))))
        os._exit(0)  # amid imports, too

    threading.Thread(target=listen, daemon=True).start()
    mtcnn.load()
    while True:
        images, openvino = asked.get()
        _write(answers, mtcnn.find(list(images), openvino))


def _write(stream: BinaryIO, *arrays: np.ndarray) -> None:
    for array in arrays:
        content = io.BytesIO()
        np.save(content, array, allow_pickle=False)
        stream.write(LENGTH.pack(content.tell()))
        stream.write(content.getbuffer())
    stream.flush()


def _read(stream: BinaryIO) -> np.ndarray:
    """
    Raises:
        EOFError: the other side has ended.
    """
    (length,) = LENGTH.unpack(_exactly(stream, LENGTH.size))
    return np.load(io.BytesIO(_exactly(stream, length)), allow_pickle=False)


def _exactly(stream, length):
    content = stream.read(length)
    if len(content) < length:
        raise EOFError
    return content
