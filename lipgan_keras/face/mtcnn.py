"""MTCNN (Zhang et al. 2016, https://arxiv.org/abs/1604.02878) of the package mtcnn, in this process."""

import contextlib
import functools
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from ..utils.errors import UserError
from ..utils.files import quiet_stderr
from ..utils.processes import signals_put_off
from . import mtcnn_openvino

INSTALL = "pip install mtcnn tensorflow"


def find(images: Sequence[np.ndarray], openvino: bool) -> np.ndarray:
    """Find faces in images of one size, looked at as they are.

    Args:
        images: (height, width, 3) BGR uint8 each.
        openvino: whether OpenVINO runs the networks.

    Returns:
        (faces, 16) float32: number of the image, box (x1, y1, x2, y2), score, five x, five y.

    Raises:
        UserError: as `load`.
    """
    rows = load(openvino).detect_faces(
        [cv2.cvtColor(image, cv2.COLOR_BGR2RGB) for image in images],
        box_format="xyxy",
        output_type="numpy",
        fit_to_image=False,
    )
    return np.asarray(rows, np.float32).reshape(-1, 16)


def backend() -> str:
    """What Keras runs on in this process."""
    from ..utils import backend

    return backend.BACKEND


@functools.cache
def load(openvino: bool = False) -> Any:
    """An `mtcnn.MTCNN`.

    Raises:
        UserError: mtcnn or TensorFlow is not installed, or Keras does not run on TensorFlow.
    """
    if backend() != "tensorflow":
        raise UserError(
            f"face detection cannot start TensorFlow in a process of its own; run: {INSTALL}, or set "
            "KERAS_BACKEND=tensorflow for this step"
        )
    try:
        with signals_put_off(), quiet_stderr():
            import mtcnn

            if openvino:
                with contextlib.suppress(Exception):  # TensorFlow runs them
                    return mtcnn_openvino.load()
            return mtcnn.MTCNN()
    except ImportError as error:
        raise UserError(f"face detection needs {error.name}; run: {INSTALL}") from error
