"""What runs a generator: OpenVINO on a CPU, Keras on a GPU or by choice.

    engine = load("checkpoint.h5")
    images = engine(faces, windows)

OpenVINO is given a graph that is made from the Keras model once and kept in the user's cache folder; as long as that
fits, neither Keras nor its backend is loaded.
"""

import importlib.util
import os
import sys
import threading
from collections.abc import Callable

import numpy as np

from .. import checkpoints
from ..config import ModelConfig
from ..utils.batching import run_in_batches
from ..utils.errors import Unsupported, UserError
from ..utils.terminal import say
from . import motion, openvino_graph
from .options import BATCH_SIZE, ENGINES

GPU_DEVICES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")  # what Linux has for NVIDIA's, AMD's, and WSL's


class Engine:
    """A loaded generator. Calls from several threads take turns; other threads run on meanwhile.

    Attributes:
        config: what the checkpoint says of itself.
        name: what runs it, such as "OpenVINO bfloat16" or "Keras tensorflow (GPU)".
        batch_size: faces in one run.
    """

    def __init__(self, run: Callable[[list[np.ndarray]], np.ndarray], config: ModelConfig, name: str, batch_size: int):
        self.config = config
        self.name = name
        self.batch_size = batch_size
        self._run = run
        self._lock = threading.Lock()

    def __call__(self, faces: np.ndarray, sound: np.ndarray) -> np.ndarray:
        """Generate faces.

        Args:
            faces: (n,96,96,6) or (n,192,192,6) float32 in 0..1, any n, as `networks.build_generator` describes them.
            sound: (n,80,27,1) mel or (n,12,35,1) MFCC float32.

        Returns:
            (n,96,96,3) or (n,192,192,3) float32 in 0..1.
        """
        return self.generate(faces, sound)[0]

    def generate(self, faces: np.ndarray, sound: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """The same, and (n,96,96,3) or (n,192,192,3) float32, how the generator moved the identity frames' pixels (see
        `motion.with_motion`); None where it does not.
        """
        if not len(faces):
            return np.zeros((0, *faces.shape[1:3], 3), np.float32), None
        with self._lock:
            output = run_in_batches(self._run, faces, sound, self.batch_size)
        return output[..., :3], output[..., 3:] if output.shape[-1] > 3 else None


def load(
    checkpoint: str | os.PathLike,
    engine: str = "auto",
    batch_size: int = BATCH_SIZE,
    audio_offset_ms: float | None = None,
) -> Engine:
    """Load the generator of a checkpoint, of this project or of Keras 2.2.4.

    OpenVINO's graph is kept in the user's cache folder (on Linux `lipgan_keras/` in $XDG_CACHE_HOME or ~/.cache), the
    8 that were used last. It is made again when the checkpoint's content, the code that makes it, or the version of
    OpenVINO, Keras or this package changes, when it is damaged, and each time where that folder cannot be written.

    Args:
        engine: "openvino"; "keras", on any backend; "auto": "keras" where that sees a GPU, else "openvino" if it is
            installed. OpenVINO computes in bfloat16 where the CPU can, where that is within 0.02 of float32 on a fixed
            probe, and where it is the faster one (single pixels of strangers then differ by up to 0.010 with what
            ships, the mean pixel by 0.0005; encoding the video changes the mean pixel by more).
            With "auto", Keras runs a generator with a layer that the graph cannot have, and a line on stderr names it.
        batch_size: faces in one run; more than about 8 gains little on a CPU.
        audio_offset_ms: overrides the checkpoint's.

    Raises:
        UserError: no such engine, OpenVINO is asked for and missing or cannot run a layer, or what
            `checkpoints.load_generator` refuses.
    """
    if engine not in ENGINES:
        raise UserError(f"engine {engine!r} is unknown; choose one of {', '.join(ENGINES)}")
    config = checkpoints.read_config(checkpoint)
    asked = engine
    if engine == "auto":
        engine = "keras" if _sees_gpu() or not _has_openvino() else "openvino"
    if engine == "openvino":
        try:
            run, name = openvino_graph.load_compiled(checkpoint, config, batch_size)
        except Unsupported as error:
            if asked == "openvino":
                raise UserError(f"{checkpoint}: {error}; choose engine keras") from error
            say(f"{checkpoint}: {error}: Keras runs the generator", error=True)
            engine = "keras"
    if engine == "keras":
        model, config = checkpoints.load_generator(checkpoint)
        name = _keras_name()
        run = motion.with_motion(model).predict_on_batch
    return Engine(run, config.with_audio_offset(audio_offset_ms), name, batch_size)


def loads_keras(engine: str) -> bool:
    """Whether `load` may load Keras, as far as can be said without loading it."""
    return engine == "keras" or (engine == "auto" and (_may_see_gpu() or not _has_openvino()))


def _has_openvino():
    return importlib.util.find_spec("openvino") is not None


def _may_see_gpu():
    return sys.platform != "linux" or any(map(os.path.exists, GPU_DEVICES))


def _sees_gpu() -> bool:
    if not _may_see_gpu():  # the backend's import takes seconds
        return False
    from ..utils.backend import has_gpu

    return has_gpu()


def _keras_name():
    from ..utils import backend

    return f"Keras {backend.BACKEND}{' (GPU)' if _sees_gpu() else ''}"
