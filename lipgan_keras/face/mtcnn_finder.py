"""MTCNN (Zhang et al. 2016, https://arxiv.org/abs/1604.02878) of the package mtcnn, in this process."""

import contextlib
import functools
import importlib.util
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from ..utils.errors import UserError
from ..utils.files import quiet_stderr
from ..utils.processes import signals_put_off
from . import mtcnn_openvino

NEEDED = ("mtcnn", "tensorflow")
INSTALL = f"pip install {' '.join(NEEDED)}"


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


@functools.cache
def load(openvino: bool) -> Any:
    """An `mtcnn.MTCNN`. Keras has to run on TensorFlow in this process.

    Args:
        openvino: whether OpenVINO runs the networks, if it can.

    Raises:
        UserError: mtcnn or TensorFlow is not installed.
    """
    try:
        with signals_put_off(), quiet_stderr():
            import mtcnn

            if openvino:
                with contextlib.suppress(Exception):  # TensorFlow runs them
                    return mtcnn_openvino.load()
            return mtcnn.MTCNN()
    except ImportError as error:
        raise UserError(f"face detection needs {error.name}; run: {INSTALL}") from error


def missing() -> str | None:
    """What keeps faces from being found, in words; None: nothing that is known."""
    for name in NEEDED:
        with contextlib.suppress(ImportError):
            if importlib.util.find_spec(name):
                continue
        return f"face detection needs {name}; run: {INSTALL}"
    return None
