"""Face detection with MTCNN. (`tracking` follows faces through a video.)

Images are (height, width, 3) BGR uint8. Points are (x, y) in pixels from the image's top left corner, pixel i
covering [i, i + 1). Boxes are (x1, y1, x2, y2) in the same units.
"""

import collections
import contextlib
import functools
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ..utils.errors import UserError
from ..utils.files import quiet_stderr
from ..utils.processes import signals_put_off
from . import mtcnn_openvino

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


def expect_many() -> None:
    """Let OpenVINO run the networks from now on. It takes a second once, and halves the time of each image.

    Its results differ in roundings. So a command says it at its start or never, and no clip depends on those before.
    """
    _asked["openvino"] = True


def detect(images: Sequence[np.ndarray]) -> list[list[Face]]:
    """Find the faces in images with MTCNN (Zhang et al. 2016, https://arxiv.org/abs/1604.02878).

    Give many images of one size at a time, which is several times as fast as one by one.

    Args:
        images: (height, width, 3) BGR uint8 each.

    Returns:
        For each image its faces, in no particular order.

    Raises:
        UserError: mtcnn is not installed, or Keras does not run on TensorFlow.
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
    rows = _mtcnn(_asked["openvino"]).detect_faces(
        [cv2.cvtColor(image, cv2.COLOR_BGR2RGB) for image in images],
        box_format="xyxy",
        output_type="numpy",
        fit_to_image=False,
    )
    found: list[list[Face]] = [[] for _ in images]
    for row in np.asarray(rows, np.float32).reshape(-1, 16):  # image, box, score, five x, five y
        box = row[1:5].reshape(2, 2) * scales
        landmarks = row[6:16].reshape(2, 5).T * scales
        if np.all(box[1] > box[0]):
            found[int(row[0])].append(Face(box.ravel(), landmarks, float(row[5])))
    return found


@functools.cache
def _mtcnn(openvino=False):
    from ..utils import backend

    if backend.BACKEND != "tensorflow":
        raise UserError("face detection (mtcnn) needs Keras on TensorFlow; set KERAS_BACKEND=tensorflow for this step")
    try:
        with signals_put_off(), quiet_stderr():
            import mtcnn

            found = mtcnn.MTCNN()
            if openvino:
                with contextlib.suppress(Exception):  # TensorFlow goes on
                    mtcnn_openvino.take_over(found)
            return found
    except ImportError as error:
        raise UserError(f"face detection needs {error.name}; run: pip install mtcnn tensorflow") from error


def select(faces: Sequence[Face]) -> Face | None:
    """The largest face, or None."""
    return max(faces, key=area, default=None)


def area(face: Face) -> float:
    """Of its box, in square pixels."""
    return float(np.prod(face.box[2:] - face.box[:2]))
