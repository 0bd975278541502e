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
from . import mtcnn_finder

# The child gets our sys.path, as lipgan_keras may be found in the script's folder alone.
START = "import sys; sys.path[:] = sys.argv[2:]; from lipgan_keras.face import mtcnn_process; mtcnn_process.serve()"
LENGTH = struct.Struct("<Q")
# Keras and TensorFlow import these where they are installed; MTCNN does not use them. See docs/benchmarks.md.
UNUSED = ("sklearn", "pandas", "jax", "matplotlib", "IPython")


class MtcnnProcess:
    """A started process. Calls from several threads take turns. It ends when this process ends, or soon after.

    Args:
        openvino: which of the two ways of `find` is loaded before it is asked for.
    """

    def __init__(self, openvino: bool = False):
        # It has no use for a GPU: MTCNN runs on the CPU.
        env = os.environ | {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1"}
        with processes.uninterrupted():
            self._process = subprocess.Popen(
                [sys.executable, "-c", START, str(int(openvino)), *sys.path],
                env=env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        self._lock = threading.Lock()
        self._ended = False

    def find(self, images: Sequence[np.ndarray], openvino: bool) -> np.ndarray | None:
        """`mtcnn_finder.find` there.

        Returns:
            What that returns; None: the process has died, and will not find anything any more.
        """
        with self._lock:
            if self._ended:
                return None
            try:
                _write(self._process.stdin, np.stack(images), np.array(openvino))
                return _read(self._process.stdout)
            except (OSError, EOFError):
                self._end()
                return None
            except BaseException:  # such as Ctrl-C: an answer is left that nobody waits for
                self._end()
                raise

    def _end(self):
        self._ended = True
        self._process.kill()
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                stream.close()
        self._process.wait()


def serve() -> None:
    """What the process does: find faces, until nobody asks any more. It ends without tidying up, amid imports too."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # libraries may print
    asked: queue.SimpleQueue = queue.SimpleQueue()

    def listen():
        try:
            while True:
                asked.put((_read(sys.stdin.buffer), bool(_read(sys.stdin.buffer))))
        finally:
            os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    leave_out()
    try:
        mtcnn_finder.load(sys.argv[1] == "1")
        while True:
            images, openvino = asked.get()
            _write(answers, mtcnn_finder.find(list(images), openvino))
    finally:
        os._exit(1)


def leave_out() -> None:
    """Let imports of UNUSED fail, as if they were not installed."""
    for name in UNUSED:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]


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
