"""Mouth landmarks for the landmark distance: dlib's 68 points, and for want of them MTCNN's mouth corners.

The 68 points need two packages that the rest of the project does not (requirements-eval.txt): dlib-bin, and
face_recognition_models, which carries the model file `shape_predictor_68_face_landmarks.dat`.

Licence: that file was trained on the iBUG 300-W data, whose licence excludes commercial use; its author says that it
therefore cannot be used in a commercial product (https://github.com/davisking/dlib-models).

Images are (H, W, 3) BGR uint8; points are (x, y), pixel i covers [i, i + 1).
"""

import functools
import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from ..utils.errors import UserError
from . import cropping, detector

FILE = "shape_predictor_68_face_landmarks.dat"
INSTALL = "run: pip install -r requirements-eval.txt"
MOUTH = slice(48, 68)  # outer lips, then inner, of the 68
# Of each point of a face the one that a mirror shows there: jaw, brows, nose, eyes, outer and inner lips.
MIRRORED = np.array(
    [*range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, *range(35, 30, -1), 45, 44, 43, 42, 47, 46, 39, 38, 37]
    + [36, 41, 40, *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), 67, 66, 65]
)

SMALL = 192  # pixels: smaller faces are enlarged first
LARGEST_SCALE = 4
MARGIN = 0.5  # of the rectangle's side, that the predictor sees around it
PADDING = 24  # pixels around a crop for MTCNN
BATCH = 32


def available() -> str | None:
    """Why the 68 points cannot be had here and what to do; None where they can."""
    try:
        if importlib.util.find_spec("dlib") is None:
            return f"dlib is not installed; {INSTALL}"
        model_file()
    except UserError as error:
        return str(error)
    return None


def model_file() -> Path:
    """The model file in the package face_recognition_models.

    The package is not imported: it needs pkg_resources, which new versions of setuptools have no more.

    Raises:
        UserError: the package is not installed, or has no such file.
    """
    spec = importlib.util.find_spec("face_recognition_models")
    if spec is None:
        raise UserError(f"face_recognition_models is not installed; {INSTALL}")
    for folder in spec.submodule_search_locations or ():
        path = Path(folder) / "models" / FILE
        if path.is_file():
            return path
    raise UserError(f"face_recognition_models: holds no {FILE}; install it anew")


class Landmarks68:
    """dlib's predictor (Kazemi & Sullivan 2014) of the 68 points of iBUG 300-W.

    It wants the rectangle of dlib's frontal detector, and gets one made of five landmarks: on 54 frames of nine
    speakers the mouth then is 0.24 pixels of a 96-pixel crop, in the mean, from where it is with dlib's own
    rectangle, as far as when that one is moved by 2 pixels. On a 96-pixel crop it is 0.50 pixels from that in the
    image, on the crop enlarged by 4 (bicubic) 0.34, by 3 0.35, by 2 0.39: crops are enlarged.

    Args:
        path: of a model file, instead of that in face_recognition_models.

    Raises:
        UserError: a package is missing, or the file is not such a model.
    """

    def __init__(self, path: str | os.PathLike | None = None):
        try:
            import dlib
        except ImportError as error:
            raise UserError(f"dlib is not installed; {INSTALL}") from error
        path = model_file() if path is None else Path(path)
        if not path.is_file():
            raise UserError(f"{path}: no such file; name {FILE}")
        try:
            self._predictor = dlib.shape_predictor(str(path))
        except RuntimeError as error:
            raise UserError(f"{path}: is not a model of dlib's shape predictor; name {FILE}") from error
        self._rectangle = dlib.rectangle

    def __call__(self, image: np.ndarray, box: Sequence[float]) -> np.ndarray:
        """(68,2) float64 points of the face in `box`, a rectangle as of dlib's frontal detector (`rectangle`)."""
        box = np.asarray(box, np.float64)
        side = float(np.max(box[2:] - box[:2]))
        # Only what the predictor may look at, since colours are swapped and small faces enlarged.
        height, width = image.shape[:2]
        first = np.clip(np.floor(box[:2] - MARGIN * side), 0, [width - 1, height - 1]).astype(int)
        last = np.clip(np.ceil(box[2:] + MARGIN * side), first + 1, [width, height]).astype(int)
        part = np.ascontiguousarray(image[first[1] : last[1], first[0] : last[0], ::-1])
        scale = int(np.clip(np.ceil(SMALL / max(side, 1)), 1, LARGEST_SCALE))
        if scale > 1:
            part = cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        x1, y1, x2, y2 = np.rint((box.reshape(2, 2) - first) * scale).astype(int).ravel().tolist()
        shape = self._predictor(part, self._rectangle(x1, y1, x2 - 1, y2 - 1))
        return (np.array([(p.x, p.y) for p in shape.parts()], np.float64) + 0.5) / scale + first


def rectangle(landmarks: np.ndarray) -> np.ndarray:
    """(4,) x1, y1, x2, y2: dlib's frontal rectangle by five landmarks (5,2), as in the crop style "dlib"."""
    points = np.asarray(landmarks, np.float64)
    eyes, mouth = points[:2].mean(0), points[3:].mean(0)
    half = max(np.hypot(*(mouth - eyes)), 1.14 * np.hypot(*(points[1] - points[0])), 1.0) / 0.475 / 2
    middle = eyes + cropping.DLIB_MIDDLE * (mouth - eyes)
    return np.concatenate([middle - half, middle + half])


@functools.cache
def _landmarks68() -> Landmarks68:
    return Landmarks68()


def mouth(image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """(20,2) float64: the mouth among dlib's 68 points, in pixels of `image`.

    Args:
        image: an image or a crop.
        landmarks: (5,2), which tell where the face is. To compare images, give the same to both.

    Raises:
        UserError: see `available`.
    """
    return _landmarks68()(image, rectangle(landmarks))[MOUTH]


def corners(crops: np.ndarray) -> np.ndarray:
    """MTCNN's mouth corners in crops (n,S,S,3): (n,2,2) float64 pixels, NaN where it finds no face.

    On crops of nine speakers it found all faces; corners were 0.55 pixels of 96 from those tracked in the video.

    Raises:
        UserError: see `detector.detect`.
    """
    # With a border, as faces that fill the image are found less exactly.
    padded = [cv2.copyMakeBorder(crop, *[PADDING] * 4, cv2.BORDER_REPLICATE) for crop in crops]
    found = [face for i in range(0, len(padded), BATCH) for face in detector.detect(padded[i : i + BATCH])]
    chosen = [detector.select(seen) for seen in found]
    nothing = np.full((2, 2), np.nan)
    points = [nothing if face is None else face.landmarks[3:].astype(np.float64) - PADDING for face in chosen]
    return np.array(points).reshape(-1, 2, 2)
