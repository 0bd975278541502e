"""Faces: find them, crop them, and say where their lips are. (`tracking` follows them through a video.)

Images are (height, width, 3) BGR uint8. Points are (x, y) in pixels from the picture's top left corner, pixel i
covering [i, i + 1). Boxes are (x1, y1, x2, y2) in the same units.
"""

import collections
import contextlib
import functools
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from .cli import UserError, quiet_stderr, signals_put_off

STYLES = ("lipgan_keras", "dlib")

# MTCNN looks for faces of 20 pixels and more in pictures reduced to this many pixels on their longer side. The
# second size is tried where the first shows no face. (Reducing is faster, and its landmarks are the steadier ones.)
# A larger `min_face_size` must not be used instead: mtcnn 1.0 then makes its pyramid too deep and finds nothing.
WORKING_SIZES = (240, 640)

# Crops; see `crop_box`
MIDDLE, SIDE = 0.28, 2.4
DLIB_MIDDLE, DLIB_SIDE = np.array([0.222, 0.466]), 1.124


@dataclass
class Face:
    """A face.

    Attributes:
        box: (4,) float32, MTCNN's x1, y1, x2, y2.
        landmarks: (5, 2) float32: eye, eye, nose, mouth corner, mouth corner; of each pair the left one in the
            picture (of a frontal face) comes first.
        score: 0..1.
    """

    box: np.ndarray
    landmarks: np.ndarray
    score: float


# ---------------------------------------------------------------------------------------------------------------------
# Detection


def detect(images: Sequence[np.ndarray]) -> list[list[Face]]:
    """Find the faces in pictures with MTCNN (Zhang et al. 2016, https://arxiv.org/abs/1604.02878).

    Give many pictures of one size at a time, which is several times as fast as one by one.

    Args:
        images: (height, width, 3) BGR uint8 each.

    Returns:
        For each picture its faces, in no particular order.

    Raises:
        UserError: mtcnn is not installed, or Keras does not run on TensorFlow.
    """
    found: list[list[Face]] = [[] for _ in images]
    for size in WORKING_SIZES:
        groups = collections.defaultdict(list)
        for i, image in enumerate(images):
            # No second look at a picture that would not be larger in it.
            if not found[i] and (size == WORKING_SIZES[0] or max(image.shape[:2]) > WORKING_SIZES[0]):
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
    if min(images[0].shape[:2]) < 20:
        return [[] for _ in images]
    scales = np.array([width / images[0].shape[1], height / images[0].shape[0]], np.float32)
    rows = _mtcnn().detect_faces(
        [cv2.cvtColor(image, cv2.COLOR_BGR2RGB) for image in images],
        box_format="xyxy",
        output_type="numpy",
        fit_to_image=False,
    )
    found: list[list[Face]] = [[] for _ in images]
    for row in np.asarray(rows, np.float32).reshape(-1, 16):  # picture, box, score, five x, five y
        box = row[1:5].reshape(2, 2) * scales
        landmarks = row[6:16].reshape(2, 5).T * scales
        if np.all(box[1] > box[0]):
            found[int(row[0])].append(Face(box.ravel(), landmarks, float(row[5])))
    return found


@functools.cache
def _mtcnn():
    from .backend import BACKEND

    if BACKEND != "tensorflow":
        raise UserError("face detection (mtcnn) needs Keras on TensorFlow; set KERAS_BACKEND=tensorflow for this step")
    try:
        with signals_put_off(), quiet_stderr():
            import mtcnn
            import tensorflow

            with contextlib.suppress(RuntimeError):  # TensorFlow runs already, with the threads that it has
                tensorflow.config.threading.set_intra_op_parallelism_threads(_threads)
                tensorflow.config.threading.set_inter_op_parallelism_threads(_threads)
            return mtcnn.MTCNN()
    except ImportError as error:
        raise UserError(f"face detection needs {error.name}; run: pip install mtcnn tensorflow") from error


_threads = 0  # as many as TensorFlow likes


def limit_threads(threads: int) -> None:
    """Let the detector use that many processor threads; to be called before the first detection."""
    global _threads
    _threads = threads


def select(faces: Sequence[Face]) -> Face | None:
    """The largest face, or None."""
    return max(faces, key=area, default=None)


def area(face: Face) -> float:
    """Of its box, in square pixels."""
    return float(np.prod(face.box[2:] - face.box[:2]))


# ---------------------------------------------------------------------------------------------------------------------
# Crops


def crop_box(face: Face, style: str = "lipgan_keras", pads: Sequence[float] = (0, 0, 0, 0)) -> np.ndarray:
    """The part of the picture that goes into the network.

    "lipgan_keras": a square from above the brows to below the chin. Its unit u is the distance from the middle of the
    eyes to that of the mouth, or 1.14 times the distance between the eyes where that is more: facing the camera the
    two agree, turning shortens the second, nodding the first. (Landmarks, not the box, as they are steadier.) The
    square's middle lies MIDDLE u above the middle of the mouth, along the line from the eyes, so that the lower half
    holds the lips and room above them; its side is SIDE u. On 735 frames of nine speakers dlib's 68-point predictor
    puts the chin inside all crops, 5 to 15 % (median 11 %) of the side above the lower edge.

    "dlib": imitates the rectangle of dlib's frontal HOG detector, on which the original's models were trained. Its
    side is DLIB_SIDE times the width of MTCNN's box, its middle DLIB_MIDDLE of the way from the eyes to the mouth.
    benchmarks/dlib_crop.py fitted the three numbers to the same frames: mean intersection over union with dlib's
    rectangle 0.857, least 0.73; 0.850 for each speaker under the fit to the others.

    Args:
        face: box and landmarks.
        style: one of STYLES.
        pads: top, bottom, left, right in pixels of the picture; positive grows the box on that side.

    Returns:
        (4,) float64; may reach beyond the picture.
    """
    landmarks = np.asarray(face.landmarks, np.float64)
    eyes, mouth = landmarks[:2].mean(0), landmarks[3:].mean(0)
    axis = mouth - eyes
    if style == "lipgan_keras":
        length = max(np.hypot(*axis), 1e-6)
        unit = max(length, 1.14 * np.hypot(*(landmarks[1] - landmarks[0])))
        middle = mouth - MIDDLE * unit * axis / length
        half = SIDE * unit / 2
    elif style == "dlib":
        middle = eyes + DLIB_MIDDLE * axis
        half = DLIB_SIDE * (face.box[2] - face.box[0]) / 2
    else:
        raise ValueError(f"crop style {style!r}; known are {STYLES}")
    top, bottom, left, right = pads
    box = np.concatenate([middle - half, middle + half]) + (-left, -top, right, bottom)
    if not np.all(box[2:] - box[:2] >= 4):
        raise UserError(f"--pads {' '.join(map(str, pads))}: leaves nothing of the face; use smaller numbers")
    return box


def extract(image: np.ndarray, box: Sequence[float], size: int = 96, angle: float = 0.0) -> np.ndarray:
    """Cut `box` out of a picture and scale it: (size, size, 3) uint8.

    The box counts to fractions of a pixel. Every output pixel is the mean over its area; beyond the picture its
    edge is repeated.

    Args:
        angle: radians by which the box is turned about its middle first, from x towards y (clockwise as seen): a head
            tilted by as much comes out upright.
    """
    x1, y1, x2, y2 = (float(v) for v in box)
    fine = max(1, int(np.ceil(max(x2 - x1, y2 - y1) / size)))  # samples a pixel, each way
    step = (x2 - x1) / (size * fine), (y2 - y1) / (size * fine)
    # Sample j is the picture at x1 + (j + 1/2) step; cv2 counts from pixel centres.
    matrix = np.array([[step[0], 0, x1 + step[0] / 2 - 0.5], [0, step[1], y1 + step[1] / 2 - 0.5]])
    if angle:
        matrix = _turn(np.array([x1 + x2 - 1, y1 + y2 - 1]) / 2, angle) @ np.vstack([matrix, (0, 0, 1)])
    samples = cv2.warpAffine(
        image,
        matrix,
        (size * fine, size * fine),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return cv2.resize(samples, (size, size), interpolation=cv2.INTER_AREA) if fine > 1 else samples


def to_crop(points: np.ndarray, box: Sequence[float], size: int = 96, angle: float = 0.0) -> np.ndarray:
    """Points (..., 2) of the picture in pixels of the crop that `extract` makes: float32."""
    box, points = np.asarray(box, np.float64), np.asarray(points)
    if angle:
        turn = _turn((box[:2] + box[2:]) / 2, -angle)
        points = points @ turn[:, :2].T + turn[:, 2]
    return ((points - box[:2]) * (size / (box[2:] - box[:2]))).astype(np.float32)


def _turn(middle, angle) -> np.ndarray:
    """(2, 3) matrix that turns points about `middle`, from x towards y."""
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.column_stack([rotation, middle - rotation @ middle])


def ramp(x: np.ndarray | float) -> np.ndarray:
    """0 below 0, 1 above 1, and 3 x^2 - 2 x^3 between."""
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def lip_mask(landmarks: np.ndarray, size: int = 96) -> np.ndarray:
    """A soft mask of the lips, closed or open.

    An ellipse along the line of the mouth's corners, 1.3 times as wide as they are apart and 0.7 times as high as
    that, shifted towards the chin by a quarter of its height, as mouths open downwards. Where the face is turned and
    the corners come close together, the distance of nose and mouth bounds the width from below and that of eyes and
    mouth the height, and the line turns to lie across the face, whatever the order of the corners.

    Args:
        landmarks: (5, 2), or (n, 5, 2) of n crops, in pixels of the crop.
        size: of the crop.

    Returns:
        (size, size) or (n, size, size) float32 in 0..1: 1 around the lips, falling off smoothly to 0.
    """
    points = np.asarray(landmarks, np.float32)
    if points.ndim == 2:
        return lip_mask(points[None], size)[0]
    middle = (points[:, 3] + points[:, 4]) / 2
    along, down = points[:, 4] - points[:, 3], middle - (points[:, 0] + points[:, 1]) / 2
    apart, length = np.hypot(*along.T), np.hypot(*down.T)
    across = np.stack([down[:, 1], -down[:, 0]], 1)
    along = np.where((along * across).sum(1, keepdims=True) < 0, -along, along)
    along = along + across * np.maximum(0, 0.5 - apart / np.maximum(length, 1e-9))[:, None]
    norm = np.hypot(*along.T)[:, None]
    along = np.where(norm > 0, along / np.maximum(norm, 1e-9), np.float32([1, 0]))
    below = np.stack([-along[:, 1], along[:, 0]], 1)
    width = 1.3 * np.maximum(np.maximum(apart, np.hypot(*(middle - points[:, 2]).T)), 1.0)
    height = 0.7 * np.maximum(width, 0.85 * length)
    middle = middle + 0.25 * height[:, None] * below
    reach = 1.25 * np.maximum(width, height)[:, None] / 2  # all is 0 further away
    first, last = (np.clip(edge, 0, size).astype(int) for edge in (middle - reach, middle + reach + 1))
    at = (first[:, None] + np.arange((last - first).max(initial=0))[:, None]).astype(np.float32) + 0.5 - middle[:, None]
    x, y = at[:, None, :, 0], at[:, :, None, 1]
    along, below = (2 * along / width[:, None])[..., None, None], (2 * below / height[:, None])[..., None, None]
    p = x * along[:, 0] + y * along[:, 1]
    q = x * below[:, 0] + y * below[:, 1]
    near = ramp((1.25 - np.sqrt(p * p + q * q)) * 2)
    masks = np.zeros((len(points), size, size), np.float32)
    for mask, part, (left, top), (right, bottom) in zip(masks, near, first.tolist(), last.tolist(), strict=True):
        mask[top:bottom, left:right] = part[: bottom - top, : right - left]
    return masks


def default_landmarks(size: int = 96, style: str = "lipgan_keras") -> np.ndarray:
    """(5, 2) float32: where the landmarks lie on average in crops of a style, for data that comes without them."""
    return np.array(_MEAN_LANDMARKS[style], np.float32) * size


_MEAN_LANDMARKS = {
    "lipgan_keras": [[0.32, 0.21], [0.68, 0.21], [0.5, 0.41], [0.355, 0.615], [0.645, 0.615]],
    "dlib": [[0.295, 0.275], [0.705, 0.275], [0.5, 0.505], [0.335, 0.75], [0.665, 0.75]],
}


def mouth_box(landmarks: np.ndarray) -> np.ndarray:
    """The square around mouth and upper chin, one for a run of frames, so that only the mouth moves in it.

    Args:
        landmarks: (5, 2), or (n, 5, 2) of n frames, in pixels of the crop; or (m, n, 5, 2) of m runs.

    Returns:
        (4,) or (m, 4) float32 x1, y1, x2, y2; its side is 1.2 times the distance of eyes and mouth.
    """
    points = np.asarray(landmarks, np.float32)
    points = points.reshape(-1, *points.shape[-3:]) if points.ndim > 2 else points[None, None]
    points = points.mean(axis=1)
    eyes, mouth = points[:, :2].mean(axis=1), points[:, 3:].mean(axis=1)
    down, across = mouth - eyes, points[:, 4] - points[:, 3]
    half = 0.6 * np.maximum(np.maximum(np.hypot(*down.T), np.hypot(*across.T)), 1.0)[:, None]
    centre = mouth + 0.15 * down
    boxes = np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)
    return boxes if np.ndim(landmarks) == 4 else boxes[0]


def crop_matrices(
    box: Sequence[float] | np.ndarray,
    size: int,
    out: int,
    blur: float | np.ndarray = 1.0,
    bend: Sequence[Sequence[float]] | np.ndarray = ((0, 0), (0, 0)),
) -> tuple[np.ndarray, np.ndarray]:
    """Cropping and scaling as two matrix products, which a gradient passes: `rows @ picture @ columns.T`.

    Args:
        box: x1, y1, x2, y2 in pixels of a square picture of side `size`; what lies beyond repeats the edge.
        out: side of the result.
        blur: half the base of the triangle, pixels, where the scale does not make it larger; 1 is interpolation.
        bend: for rows and for columns (b, phase): the scale varies along them between 1 - b and 1 + b, as one period of
            a cosine from that phase on; b is below 1.

    Returns:
        rows, columns: (out, size) float32, (n, out, size) for n boxes, blurs and bends; each row a triangle that sums
            to 1: linear interpolation, or where the picture is reduced a mean over the pixels that a new one covers.
    """
    box, bend = np.asarray(box, np.float64), np.asarray(bend, np.float64)
    first, last = box[..., [1, 0], None], box[..., [3, 2], None]  # (..., 2, 1), of rows and of columns
    b, phase = bend[..., :1], bend[..., 1:]
    along = (np.arange(out) + 0.5) / out
    bent = along + b / (2 * np.pi) * (np.sin(2 * np.pi * along + phase) - np.sin(phase))
    at = np.clip(first + bent * (last - first), 0.5, size - 0.5)[..., None].astype(np.float32)
    reach = np.maximum(np.maximum(np.asarray(blur)[..., None, None], (last - first) / out), 1.0)[..., None].astype(
        np.float32
    )
    weights = at - (np.arange(size, dtype=np.float32) + 0.5)
    np.abs(weights, out=weights)
    weights /= -reach
    weights += 1
    np.maximum(weights, 0, out=weights)
    weights /= weights.sum(axis=-1, keepdims=True)
    return weights[..., 0, :, :], weights[..., 1, :, :]
