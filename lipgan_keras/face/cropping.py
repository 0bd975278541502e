"""Face crops: where they lie in an image, and cutting them out."""

from collections.abc import Sequence

import cv2
import numpy as np

from ..config import CROPS, OWN_CROPS
from ..utils.errors import UserError
from .detector import Face

# Crops; see `crop_box`
MIDDLE, SIDE = 0.28, 2.4
DLIB_MIDDLE, DLIB_SIDE = np.array([0.222, 0.466]), 1.124


def crop_box(face: Face, style: str = "lipgan_keras", pads: Sequence[float] = (0, 0, 0, 0)) -> np.ndarray:
    """The part of the image that goes into the network.

    "lipgan_keras": a square from above the brows to below the chin. Its unit u is the distance from the middle of the
    eyes to that of the mouth, or 1.14 times the distance between the eyes where that is more: facing the camera the
    two agree, turning shortens the second, nodding the first. (Landmarks, not the box, as they are steadier.) The
    square's middle lies MIDDLE u above the middle of the mouth, along the line from the eyes, so that the lower half
    holds the lips and room above them; its side is SIDE u. On 735 frames of nine speakers dlib's 68-point predictor
    puts the chin inside all crops, 5 to 15 % (median 11 %) of the side above the lower edge.

    "steady": the same square, of a face whose mouth lies where eyes and nose say, and not where the jaw has taken it
    (`smoothing.steady_face`, which whoever follows a face calls first): the upper half of "lipgan_keras" tells how open
    the mouth is.

    "dlib": imitates the rectangle of dlib's frontal HOG detector, on which the original's models were trained. Its
    side is DLIB_SIDE times the width of MTCNN's box, its middle DLIB_MIDDLE of the way from the eyes to the mouth.
    benchmarks/dlib_crop.py fitted the three numbers to the same frames: mean intersection over union with dlib's
    rectangle 0.857, least 0.73; 0.850 for each speaker under the fit to the others.

    Args:
        face: box and landmarks.
        style: one of CROPS.
        pads: top, bottom, left, right in pixels of the image; positive grows the box on that side.

    Returns:
        (4,) float64; may reach beyond the image.
    """
    landmarks = np.asarray(face.landmarks, np.float64)
    eyes, mouth = landmarks[:2].mean(0), landmarks[3:].mean(0)
    axis = mouth - eyes
    if style in OWN_CROPS:
        length = max(np.hypot(*axis), 1e-6)
        unit = max(length, 1.14 * np.hypot(*(landmarks[1] - landmarks[0])))
        middle = mouth - MIDDLE * unit * axis / length
        half = SIDE * unit / 2
    elif style == "dlib":
        middle = eyes + DLIB_MIDDLE * axis
        half = DLIB_SIDE * (face.box[2] - face.box[0]) / 2
    else:
        raise ValueError(f"crop style {style!r}; known are {CROPS}")
    top, bottom, left, right = pads
    box = np.concatenate([middle - half, middle + half]) + (-left, -top, right, bottom)
    if not np.all(box[2:] - box[:2] >= 4):
        raise UserError(f"--pads {' '.join(map(str, pads))}: leaves nothing of the face; use smaller numbers")
    return box


def landmarks_box(landmarks: np.ndarray) -> np.ndarray:
    """`crop_box` in one of our own styles, which go by the landmarks (5, 2) alone."""
    return crop_box(Face(np.zeros(4), landmarks, 1.0))


def extract(image: np.ndarray, box: Sequence[float], size: int = 96, angle: float = 0.0) -> np.ndarray:
    """Cut `box` out of an image and scale it: (size, size, 3) uint8.

    The box counts to fractions of a pixel. Every output pixel is the mean over its area; beyond the image its
    edge is repeated.

    Args:
        angle: radians by which the box is turned about its middle first, from x towards y (clockwise as seen): a head
            tilted by as much comes out upright.
    """
    x1, y1, x2, y2 = (float(v) for v in box)
    fine = max(1, int(np.ceil(max(x2 - x1, y2 - y1) / size)))  # samples a pixel, each way
    step = (x2 - x1) / (size * fine), (y2 - y1) / (size * fine)
    # Sample j is the image at x1 + (j + 1/2) step; cv2 counts from pixel centres.
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
    """Points (..., 2) of the image in pixels of the crop that `extract` makes: float32."""
    box, points = np.asarray(box, np.float64), np.asarray(points)
    if angle:
        turn = _turn((box[:2] + box[2:]) / 2, -angle)
        points = points @ turn[:, :2].T + turn[:, 2]
    return ((points - box[:2]) * (size / (box[2:] - box[:2]))).astype(np.float32)


def _turn(middle, angle) -> np.ndarray:
    """(2, 3) matrix that turns points about `middle`, from x towards y."""
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.column_stack([rotation, middle - rotation @ middle])


def crop_matrices(
    box: Sequence[float] | np.ndarray,
    size: int,
    out: int,
    blur: float | np.ndarray = 1.0,
    bend: Sequence[Sequence[float]] | np.ndarray = ((0, 0), (0, 0)),
) -> tuple[np.ndarray, np.ndarray]:
    """Cropping and scaling as two matrix products, which a gradient passes: `rows @ image @ columns.T`.

    Args:
        box: x1, y1, x2, y2 in pixels of a square image of side `size`; what lies beyond repeats the edge.
        out: side of the result.
        blur: half the base of the triangle, pixels, where the scale does not make it larger; 1 is interpolation.
        bend: for rows and for columns (b, phase): the scale varies along them between 1 - b and 1 + b, as one period of
            a cosine from that phase on; b is below 1.

    Returns:
        rows, columns: (out, size) float32, (n, out, size) for n boxes, blurs and bends; each row a triangle that sums
            to 1: linear interpolation, or where the image is reduced a mean over the pixels that a new one covers.
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


def mouths_of(crops: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Cut the mouths out of a run of uint8 crops (T,96,96,3), as `gan` does of generated ones: (48,48,3T) in 0..1."""
    t, height, width, channels = crops.shape
    x = rows @ (crops.reshape(t, height, width * channels).astype("float32") / 255)
    x = columns @ x.reshape(t, len(rows), width, channels)
    return np.moveaxis(x, 0, 2).reshape(len(rows), len(columns), t * channels)


def pose(points: np.ndarray, onto: np.ndarray) -> np.ndarray:
    """(2,3) float64, the similarity that moves eyes and nose, of (5,2) landmarks, onto those of another image.

    For a frozen mouth that follows the head.
    """
    return cv2.estimateAffinePartial2D(np.float32(points[:3]), np.float32(onto[:3]), method=cv2.LMEDS)[0]
