"""Faces: find, follow, crop, paste back.

Images are (height, width, 3) BGR uint8. Points are (x, y) in pixels from the picture's top left corner, pixel i
covering [i, i + 1). Boxes are (x1, y1, x2, y2) in the same units.
"""

import bisect
import collections
import contextlib
import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from .cli import UserError, quiet_stderr
from .video import Frame

STYLES = ("lipgan_keras", "dlib")

# MTCNN looks for faces of 20 pixels and more in pictures reduced to this many pixels on their longer side. The
# second size is tried where the first shows no face. (Reducing is faster, and its landmarks are the steadier ones.)
# A larger `min_face_size` must not be used instead: mtcnn 1.0 then makes its pyramid too deep and finds nothing.
WORKING_SIZES = (240, 640)

# Crops; see `crop_box`
MIDDLE, SIDE = 0.28, 2.4
DLIB_MIDDLE, DLIB_SIDE = np.array([0.222, 0.466]), 1.124

# Following one person
PATIENCE = 12  # frames without that person after which another one may be taken
REACH = 0.6  # how far a face may move between frames, in face widths
# Smoothing in time, in frames
SMOOTH_FRAMES = 4
SMOOTH_SIGMA = 2.0


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


@dataclass
class Tracked:
    """A frame with the followed face and its crop box (4,), both smoothed in time, or None where it is not seen."""

    frame: Frame
    face: Face | None
    box: np.ndarray | None

    @property
    def record(self) -> "Record":
        return Record(self.frame.time, self.face, self.box)


@dataclass
class Record:
    """`Tracked` without the picture: small enough to keep for a whole video."""

    time: float
    face: Face | None
    box: np.ndarray | None


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
            for i, faces in zip(indices, _detect([images[i] for i in indices], size)):
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
        with quiet_stderr():
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
    return max(faces, key=_area, default=None)


def _area(face: Face) -> float:
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


def extract(image: np.ndarray, box: Sequence[float], size: int = 96) -> np.ndarray:
    """Cut `box` out of a picture and scale it: (size, size, 3) uint8.

    The box counts to fractions of a pixel. Every output pixel is the mean over its area; beyond the picture its
    edge is repeated.
    """
    x1, y1, x2, y2 = (float(v) for v in box)
    fine = max(1, int(np.ceil(max(x2 - x1, y2 - y1) / size)))  # samples a pixel, each way
    step = (x2 - x1) / (size * fine), (y2 - y1) / (size * fine)
    # Sample j is the picture at x1 + (j + 1/2) step; cv2 counts from pixel centres.
    matrix = np.array([[step[0], 0, x1 + step[0] / 2 - 0.5], [0, step[1], y1 + step[1] / 2 - 0.5]])
    samples = cv2.warpAffine(
        image,
        matrix,
        (size * fine, size * fine),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return cv2.resize(samples, (size, size), interpolation=cv2.INTER_AREA) if fine > 1 else samples


def to_crop(points: np.ndarray, box: Sequence[float], size: int = 96) -> np.ndarray:
    """Points (..., 2) of the picture in pixels of the crop that `extract` makes: float32."""
    box = np.asarray(box, np.float64)
    return ((np.asarray(points) - box[:2]) * (size / (box[2:] - box[:2]))).astype(np.float32)


def paste(
    image: np.ndarray, box: Sequence[float], crop: np.ndarray, whole: bool = False, feather: float = 0.2
) -> np.ndarray:
    """Blend a crop back into the picture at `box`.

    The network only redraws the lower half, so only that is blended in: fully from the middle down, fading out over
    the eighth above it and towards the other sides. Outside the box no bit changes.

    Args:
        image: (height, width, 3) uint8; not changed.
        box: as given to `extract`.
        crop: (size, size, 3) uint8.
        whole: blend in the upper half too.
        feather: width of the fade at the left and right edges, in box widths; at the lower edge, where the chin is
            near, 0.4 times that.

    Returns:
        A new picture.
    """
    x1, y1, x2, y2 = (float(v) for v in box)
    above = y1 if whole else y1 + 0.375 * (y2 - y1)
    left, top = max(0, int(np.floor(x1))), max(0, int(np.floor(above)))
    right, bottom = min(image.shape[1], int(np.ceil(x2))), min(image.shape[0], int(np.ceil(y2)))
    result = image.copy()
    if right <= left or bottom <= top:
        return result
    size = np.array(crop.shape[1::-1])
    scale = size / (x2 - x1, y2 - y1)
    # The crop at the centre of picture pixel i, counted from pixel centres on both sides
    offset = (np.array([left, top]) + 0.5 - (x1, y1)) * scale - 0.5
    matrix = np.array([[scale[0], 0, offset[0]], [0, scale[1], offset[1]]])
    area = (right - left, bottom - top)
    if scale.max() > 1:  # the crop is the finer one: average it first
        crop = cv2.GaussianBlur(crop, (0, 0), 0.4 * float(scale.max()))
    new = cv2.warpAffine(
        crop, matrix, area, flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
    )
    u = (np.arange(left, right) + 0.5 - x1) / (x2 - x1)
    v = (np.arange(top, bottom) + 0.5 - y1) / (y2 - y1)
    across = _ramp(u / feather) * _ramp((1 - u) / feather)
    down = _ramp((1 - v) / (0.4 * feather)) * (_ramp(v / feather) if whole else _ramp((v - 0.375) / 0.125))
    weight = (down[:, None] * across).astype(np.float32)[..., None]
    old = result[top:bottom, left:right]
    result[top:bottom, left:right] = np.rint(old + weight * (new.astype(np.float32) - old)).astype(np.uint8)
    return result


def _ramp(x):
    """0 below 0, 1 above 1, smooth between."""
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def lip_mask(landmarks: np.ndarray, size: int = 96) -> np.ndarray:
    """A soft mask of the lips, closed or open.

    An ellipse along the line of the mouth's corners, 1.3 times as wide as they are apart and 0.7 times as high as
    that, shifted towards the chin by a quarter of its height, as mouths open downwards. Where the face is turned and
    the corners come close together, the distance of nose and mouth bounds the width from below and that of eyes and
    mouth the height, and the line turns to lie across the face, whatever the order of the corners.

    Args:
        landmarks: (5, 2), in pixels of the crop.
        size: of the crop.

    Returns:
        (size, size) float32 in 0..1: 1 around the lips, falling off smoothly to 0.
    """
    points = np.asarray(landmarks, np.float32)
    middle = (points[3] + points[4]) / 2
    along, down = points[4] - points[3], middle - (points[0] + points[1]) / 2
    apart, length = float(np.hypot(*along)), float(np.hypot(*down))
    across = np.array([down[1], -down[0]], np.float32)
    if along @ across < 0:
        along = -along
    if apart < 0.5 * length:
        along = along + across * (0.5 - apart / length)
    along = along / np.hypot(*along) if along.any() else np.array([1, 0], np.float32)
    below = np.array([-along[1], along[0]])
    width = 1.3 * max(apart, float(np.hypot(*(middle - points[2]))), 1.0)
    height = 0.7 * max(width, 0.85 * length)
    middle = middle + 0.25 * height * below
    mask = np.zeros((size, size), np.float32)
    reach = 1.25 * max(width, height) / 2  # all is 0 further away
    first, last = np.clip([middle - reach, middle + reach + 1], 0, size).astype(int)
    x, y = (np.arange(a, b, dtype=np.float32) + 0.5 - m for a, b, m in zip(first, last, middle, strict=True))
    y = y[:, None]
    p = (x * along[0] + y * along[1]) * (2 / width)
    q = (x * below[0] + y * below[1]) * (2 / height)
    mask[first[1] : last[1], first[0] : last[0]] = _ramp((1.25 - np.sqrt(p * p + q * q)) * 2)
    return mask


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
        landmarks: (5, 2), or (n, 5, 2) of n frames, in pixels of the crop.

    Returns:
        (4,) float32 x1, y1, x2, y2; its side is 1.2 times the distance of eyes and mouth.
    """
    points = np.asarray(landmarks, np.float32).reshape(-1, 5, 2).mean(axis=0)
    eyes, mouth = points[:2].mean(axis=0), points[3:].mean(axis=0)
    down = mouth - eyes
    half = 0.6 * max(float(np.hypot(*down)), float(np.hypot(*(points[4] - points[3]))), 1.0)
    centre = mouth + 0.15 * down
    return np.concatenate([centre - half, centre + half]).astype(np.float32)


def crop_matrices(box: Sequence[float], size: int, out: int, blur: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Cropping and scaling as two matrix products, which a gradient passes: `rows @ picture @ columns.T`.

    Args:
        box: x1, y1, x2, y2 in pixels of a square picture of side `size`; what lies beyond repeats the edge.
        out: side of the result.
        blur: half the base of the triangle, pixels, where the scale does not make it larger; 1 is interpolation.

    Returns:
        rows, columns: (out, size) float32, each row a triangle that sums to 1: linear interpolation, or where the
        picture is reduced a mean over the pixels that a new one covers.
    """
    x1, y1, x2, y2 = (float(v) for v in box)
    matrices = []
    for first, last in ((y1, y2), (x1, x2)):
        step = (last - first) / out
        at = np.clip(first + (np.arange(out) + 0.5) * step, 0.5, size - 0.5)
        distance = np.abs(at[:, None] - (np.arange(size) + 0.5)) / max(blur, step, 1.0)
        weights = np.maximum(0, 1 - distance)
        matrices.append((weights / weights.sum(axis=1, keepdims=True)).astype(np.float32))
    return matrices[0], matrices[1]


# ---------------------------------------------------------------------------------------------------------------------
# Following one person through a video


def track(
    frames: Iterable[Frame], style: str = "lipgan_keras", pads: Sequence[float] = (0, 0, 0, 0), batch_size: int = 16
) -> Iterator[Tracked]:
    """Follow one person: every frame comes out, in order, with its face and crop box or None.

    The largest face is followed, then the one nearest to it from frame to frame. When it is not
    seen for PATIENCE frames, or the picture changes, the largest face is taken anew. Landmarks and box are smoothed
    with a Gaussian centred on each frame, but not across a jump of the face. Holds batch_size + 2 * SMOOTH_FRAMES
    frames at most.

    Args:
        frames: as `video.read_frames` gives them.
        style, pads: of `crop_box`.
        batch_size: frames per call of the detector.
    """
    waiting: collections.deque[Tracked] = collections.deque()
    window: collections.deque[tuple[int, Face | None]] = collections.deque(maxlen=2 * SMOOTH_FRAMES + 1)
    follower = _Follower()
    frames = iter(frames)
    while batch := list(itertools.islice(frames, batch_size)):
        for frame, faces in zip(batch, detect([frame.image for frame in batch])):
            waiting.append(Tracked(frame, None, None))
            window.append(follower.next(frame.image, faces))
            if len(waiting) > SMOOTH_FRAMES:
                yield _finish(waiting.popleft(), window, len(window) - 1 - SMOOTH_FRAMES, style, pads)
    for left in range(len(waiting), 0, -1):
        yield _finish(waiting.popleft(), window, len(window) - left, style, pads)


class _Follower:
    """Picks the face to follow and numbers the stretches without a jump."""

    def __init__(self):
        self.face: Face | None = None
        self.lost = 0
        self.stretch = 0
        self.thumbnail: np.ndarray | None = None
        self.changes: collections.deque[float] = collections.deque(maxlen=8)

    def next(self, image: np.ndarray, faces: list[Face]) -> tuple[int, Face | None]:
        changed = self._changed(image)
        chosen, jumped = None, False
        if self.face is not None:
            near = [(distance, face) for face in faces if (distance := _distance(self.face, face)) < REACH]
            if near:
                distance, chosen = min(near, key=lambda pair: pair[0])
                jumped = distance > (0.06 if changed else 0.25)
        if chosen is None and (self.face is None or changed or self.lost >= PATIENCE):
            chosen, jumped = select(faces), True
        if chosen is None:
            self.lost += 1
            if changed:
                self.face = None  # another scene: whoever comes next
        else:
            self.stretch += jumped
            self.face, self.lost = chosen, 0
        return self.stretch, chosen

    def _changed(self, image) -> bool:
        """Whether the whole picture changed much more than it did lately, as at a cut."""
        thumbnail = cv2.cvtColor(cv2.resize(image, (32, 32), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY)
        thumbnail = thumbnail.astype(np.float32)
        if self.thumbnail is None:
            self.thumbnail = thumbnail
            return False
        change = float(np.abs(thumbnail - self.thumbnail).mean())
        usual = float(np.median(self.changes)) if self.changes else 0.0
        self.thumbnail = thumbnail
        self.changes.append(change)
        return change > max(12.0, 3 * usual)


def _distance(a: Face, b: Face) -> float:
    """How far apart two faces are, in widths of the first; far if their sizes do not fit."""
    ratio = np.sqrt(_area(b) / _area(a))
    if not 1 / 1.6 < ratio < 1.6:
        return float("inf")
    return float(np.hypot(*(a.landmarks.mean(0) - b.landmarks.mean(0))) / (a.box[2] - a.box[0]))


def _finish(tracked: Tracked, window, index: int, style, pads) -> Tracked:
    """Smooth entry `index` of the window with its neighbours of the same stretch."""
    stretch, face = window[index]
    if face is None:
        return tracked
    near = [
        (np.exp(-0.5 * ((i - index) / SMOOTH_SIGMA) ** 2), other)
        for i, (number, other) in enumerate(window)
        if other is not None and number == stretch and abs(i - index) <= SMOOTH_FRAMES
    ]
    weights = np.array([weight for weight, _ in near]) / sum(weight for weight, _ in near)
    smooth = replace(
        face,
        box=np.tensordot(weights, [other.box for _, other in near], 1).astype(np.float32),
        landmarks=np.tensordot(weights, [other.landmarks for _, other in near], 1).astype(np.float32),
    )
    return Tracked(tracked.frame, smooth, crop_box(smooth, style, pads))


def retrace(frames: Iterable[Frame], records: Sequence[Record]) -> Iterator[Tracked]:
    """`track` for frames that were tracked before, in any order: takes the record nearest in time.

    Args:
        frames: of the same video.
        records: `Tracked.record` of all its frames, times rising.
    """
    times = [record.time for record in records]
    for frame in frames:
        i = bisect.bisect_left(times, frame.time)
        nearest = min(records[max(0, i - 1) : i + 1], key=lambda record: abs(record.time - frame.time))
        yield Tracked(frame, nearest.face, nearest.box)
