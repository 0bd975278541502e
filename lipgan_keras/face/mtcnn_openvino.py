"""MTCNN's three networks in OpenVINO: half of TensorFlow's time on a CPU, the same but for roundings."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from ..utils import openvino_core

INPUTS = ((None, None, None, 3), (None, 24, 24, 3), (None, 48, 48, 3))  # of the networks: NHWC, RGB float32
THREADS = 1  # the networks are small; what else is done meanwhile needs the other cores


class _Output(np.ndarray):
    """As the stages of MTCNN take it: an array that can be asked for itself."""

    def numpy(self) -> np.ndarray:
        return self


def load() -> Any:
    """An `mtcnn.MTCNN` whose networks OpenVINO runs. It takes a second.

    Raises:
        Exception: it cannot be had, whatever the reason.
    """
    import mtcnn
    import tensorflow as tf
    from mtcnn.stages import StageONet, StagePNet, StageRNet

    class Proposals(StagePNet):
        """The first stage, given images as a tensor: it would convert them again for each size."""

        def __call__(self, images_normalized, **others):
            return super().__call__(images_normalized=tf.constant(images_normalized), **others)

    detector = mtcnn.MTCNN([Proposals, StageRNet, StageONet])
    for stage, shape in zip(detector.stages, INPUTS, strict=True):
        stage._model = _compiled(stage._model, shape)
    return detector


def _compiled(network, shape) -> Callable:
    """A function like a network of MTCNN's, which several threads may call."""
    import tensorflow as tf

    ov = openvino_core.import_openvino()
    traced = tf.function(lambda x: tuple(network(x)), input_signature=[tf.TensorSpec(shape, tf.float32)])
    request = openvino_core.infer_request(ov.convert_model(traced), "f32", THREADS)
    lock = threading.Lock()

    def run(x):
        if not len(x):
            return network(x)  # TensorFlow's error tells MTCNN that there is no face
        if isinstance(x, tf.Tensor):
            x = memoryview(x)  # its `numpy()` would copy it
        with lock:
            request.infer([np.ascontiguousarray(x, np.float32)], share_inputs=True)
            count = len(request.model_outputs)
            return [np.array(request.get_output_tensor(i).data).view(_Output) for i in range(count)]

    return run
