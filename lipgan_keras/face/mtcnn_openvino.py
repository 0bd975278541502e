"""MTCNN's three networks in OpenVINO: half of TensorFlow's time on a CPU, the same but for roundings."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from ..utils import openvino_core

INPUTS = ((None, None, None, 3), (None, 24, 24, 3), (None, 48, 48, 3))  # of the networks: NHWC, RGB float32
THREADS = 1  # the networks are small; what else is done meanwhile needs the other cores


def take_over(detector: Any) -> None:
    """Let OpenVINO run the networks of an `mtcnn.MTCNN` from now on. It takes a second.

    Raises:
        Exception: it cannot, whatever the reason; nothing has changed then.
    """
    stages = detector.stages
    runs = [_compiled(stage._model, shape) for stage, shape in zip(stages, INPUTS, strict=True)]
    for stage, run in zip(stages, runs, strict=True):
        stage._model = run


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
        with lock:
            request.infer([np.ascontiguousarray(x, np.float32)], share_inputs=True)
            # Copies, and tensors, as the stages of MTCNN ask for their `numpy()`.
            return [tf.constant(request.get_output_tensor(i).data) for i in range(len(request.model_outputs))]

    return run
