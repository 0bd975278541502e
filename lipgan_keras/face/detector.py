"""Face detection with MTCNN. (`tracking` follows faces through a video.)

Images are (height, width, 3) BGR uint8. Points are (x, y) in pixels from the image's top left corner, pixel i
covering [i, i + 1). Boxes are (x1, y1, x2, y2) in the same units.
"""

import collections
import contextlib
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ..utils.errors import UserError
from . import mtcnn_finder
from .mtcnn_process import MtcnnProcess

# MTCNN looks for faces of 20 pixels and more in images reduced to this many pixels on their longer side. The
# second size is tried where the first shows no face. (Reducing is faster, and its landmarks are the steadier ones.)
# A larger `min_face_size` must not be used instead: mtcnn 1.0 then makes its pyramid too deep and finds nothing.
WORKING_SIZES = (240, 640)
SMALLEST = 20  # pixels


@dataclass
class Face:
    """A face.

    Attributes:
        box: (4,) float32, MTCNN's x1, y1, x2, y2.
        landmarks: (5, 2) float32: eye, eye, nose, mouth corner, mouth corner; of each pair the left one in the
            image (of a frontal face) comes first.
        score: 0..1.
    """

    box: np.ndarray
    landmarks: np.ndarray
    score: float


_asked = {"openvino": False}
_started: list[MtcnnProcess] = []  # one at most
_starting = threading.Lock()


def expect_many() -> None:
    """Let OpenVINO run the networks from now on. It takes a second once, and halves the time of each image.

    Its results differ in roundings. So a command says it at its start or never, and no clip depends on those before.
    """
    _asked["openvino"] = True


def start_process(openvino: bool = False) -> None:
    """Load the detector in a process of its own, where it finds the faces from then on.

    Loading takes most of the time that a command needs to start. So a command says it first, and loads all else
    meanwhile. A process that has loaded TensorFlow needs no other.

    Args:
        openvino: whether `expect_many` will be said; it may be wrong.
    """
    with _starting:
        if not _started and "tensorflow" not in sys.modules:
            with contextlib.suppress(OSError):  # this process finds them
                _started.append(MtcnnProcess(openvino))


def detect(images: Sequence[np.ndarray]) -> list[list[Face]]:
    """Find the faces in images with MTCNN (Zhang et al. 2016, https://arxiv.org/abs/1604.02878).

    Give many images of one size at a time, which is several times as fast as one by one.

    Args:
        images: (height, width, 3) BGR uint8 each.

    Returns:
        For each image its faces, in no particular order.

    Raises:
        UserError: mtcnn or TensorFlow is not installed, or cannot be loaded.
    """
    coarse, fine = WORKING_SIZES
    found = detect_at(images, coarse)
    # No second look at an image that would not be larger in it.
    again = [i for i, image in enumerate(images) if not found[i] and max(image.shape[:2]) > coarse]
    for i, faces in zip(again, detect_at([images[i] for i in again], fine), strict=True):
        found[i] = faces
    return found


def detect_at(images: Sequence[np.ndarray], size: int) -> list[list[Face]]:
    """`detect`, with one look at images that are reduced to `size` pixels on their longer side."""
    found: list[list[Face]] = [[] for _ in images]
    groups = collections.defaultdict(list)
    for i, image in enumerate(images):
        groups[image.shape].append(i)
    for indices in groups.values():
        for i, faces in zip(indices, _detect([images[i] for i in indices], size), strict=True):
            found[i] = faces
    return found


def _detect(images, size) -> list[list[Face]]:
    height, width = images[0].shape[:2]
    scale = min(1.0, size / max(height, width))
    if scale < 1:
        reduced = (max(1, round(width * scale)), max(1, round(height * scale)))
        images = [cv2.resize(image, reduced, interpolation=cv2.INTER_AREA) for image in images]
    if min(images[0].shape[:2]) < SMALLEST:
        return [[] for _ in images]
    scales = np.array([width / images[0].shape[1], height / images[0].shape[0]], np.float32)
    found: list[list[Face]] = [[] for _ in images]
    for row in _rows(images):
        box = row[1:5].reshape(2, 2) * scales
        landmarks = row[6:16].reshape(2, 5).T * scales
        if np.all(box[1] > box[0]):
            found[int(row[0])].append(Face(box.ravel(), landmarks, float(row[5])))
    return found


def _rows(images):
    openvino = _asked["openvino"]
    for _ in range(2):  # a process may have been killed
        process = _process(openvino)
        if process is None:
            return mtcnn_finder.find(images, openvino)
        rows = process.find(images, openvino)
        if rows is not None:
            return rows
        with _starting, contextlib.suppress(ValueError):  # another thread may have seen it, too
            _started.remove(process)
    if lack := mtcnn_finder.missing():
        raise UserError(lack)
    raise UserError(
        "face detection: its process, which runs TensorFlow, has died twice; free memory, or set "
        "KERAS_BACKEND=tensorflow to see why"
    )


def _process(openvino):
    """The process that finds faces; None: this one does."""
    with _starting:
        if not _started:
            from ..utils import backend

            if backend.BACKEND == "tensorflow":
                return None
            _started.append(MtcnnProcess(openvino))  # mtcnn is written for TensorFlow
        return _started[0]


def select(faces: Sequence[Face]) -> Face | None:
    """The largest face, or None."""
    return max(faces, key=area, default=None)


def area(face: Face) -> float:
    """Of its box, in square pixels."""
    return float(np.prod(face.box[2:] - face.box[:2]))
