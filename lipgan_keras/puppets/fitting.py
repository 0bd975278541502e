"""Fits a 3D face model to a photo by landmarks: pose, size, identity and expression.

dlib's 68 landmarks tell the shape of the mouth and the jaw. Where dlib is not installed, MTCNN's five tell pose, size
and the mouth's width. The rest is then the average person's.

Points are (x, y) in pixels. Pixel centres are at whole numbers.
"""

import dataclasses

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.optimize import least_squares

from ..face import detector, landmarks68
from ..utils.errors import UserError
from . import face_model
from .face_model import FaceModel

WORST = 4.0  # error in % of the face's width; a fit above it is refused; people looking ahead have 1 to 2
_IDENTITIES = 40  # more of them would fit a photo's noise
_PRIOR = 0.4  # of identity: cost of a standard deviation, relative to 1/60 of the face's width
_USE = 0.8, 0.3  # cost of a whole expression: of the mouth, of eyes and brows
_AHEAD = np.array([3.0, 3.0])  # cost of a radian of yaw and of pitch
_AHEAD_FIVE = np.array([3.0, 25.0])  # five points hardly separate a pitch from a short nose
_JAW_LINE = 0.35  # weight of the jaw line: its landmarks slide along it
_MOUTH = 1.3


@dataclasses.dataclass(frozen=True)
class Fit:
    """A model fitted to a photo: vertex v is at `scale` * R v, y reversed, plus `shift`.

    Attributes:
        scale: pixels for a unit of the model.
        angles: (3,) radians: yaw, pitch, roll.
        shift: (2,) pixels.
        identity: (n,) factors.
        expression: name -> factor, of the face in the photo.
        landmarks: (68, 2), as seen in the photo; without dlib the model's own.
        five: (5, 2), MTCNN's.
        seen: whether dlib found the 68.
        error: mean distance of the landmarks from the model's, in % of the face's width.
        width: of the face, pixels.
    """

    scale: float
    angles: np.ndarray
    shift: np.ndarray
    identity: np.ndarray
    expression: dict[str, float]
    landmarks: np.ndarray
    five: np.ndarray
    seen: bool
    error: float
    width: float

    @property
    def rotation(self) -> np.ndarray:
        """(3, 3), of the model in the photo."""
        return rotation(self.angles)

    def project(self, points: np.ndarray) -> np.ndarray:
        """Points of the model (n, 3), in the photo (n, 3): x and y in pixels, y down, z towards the viewer."""
        turned = points @ self.rotation.T * self.scale
        turned[:, 1] *= -1
        turned[:, :2] += self.shift
        return turned

    def scaled(self, factor: float) -> "Fit":
        """The fit to the photo enlarged by `factor`."""
        middle = (factor - 1) / 2  # of the first pixel
        landmarks, five, shift = (p * factor + middle for p in (self.landmarks, self.five, self.shift))
        size, width = self.scale * factor, self.width * factor
        return dataclasses.replace(self, scale=size, width=width, landmarks=landmarks, five=five, shift=shift)


def rotation(angles: np.ndarray) -> np.ndarray:
    """The rotation (3, 3) of yaw, pitch and roll in radians. Positive angles turn a face to the image's right, down,
    and its top to the left.
    """
    (a, b, c), (d, e, f) = np.cos(angles), np.sin(angles)
    yaw = np.array([[a, 0, d], [0, 1, 0], [-d, 0, a]])
    pitch = np.array([[1, 0, 0], [0, b, -e], [0, e, b]])
    roll = np.array([[c, -f, 0], [f, c, 0], [0, 0, 1]])
    return roll @ pitch @ yaw


def five_of(landmarks: np.ndarray) -> np.ndarray:
    """Five landmarks (5, n) like MTCNN's, from the 68 (68, n): eyes, tip of the nose, corners of the mouth."""
    eyes = [landmarks[eye].mean(0) for eye in face_model.EYES]
    return np.stack([*eyes, landmarks[face_model.NOSE_TIP], *landmarks[list(face_model.CORNERS)]])


def fit_photo(
    photo: np.ndarray, model: FaceModel, five: np.ndarray | None = None, name: str = "photo", worst: float = WORST
) -> Fit:
    """Fit the model to the largest face of a photo.

    Args:
        photo: (H, W, 3) uint8 BGR.
        model: of a face.
        five: (5, 2) landmarks as MTCNN gives them; None: MTCNN finds them.
        name: of the photo, for messages.
        worst: largest error that is accepted, in % of the face's width.

    Raises:
        UserError: no face in the photo, or the model does not fit it.
    """
    if five is None:
        face = detector.select(detector.detect([photo])[0])
        if face is None:
            raise UserError(f"{name}: no face found; give a photo of one person looking at the camera")
        five = np.asarray(face.landmarks, float) - 0.5
    five = np.asarray(five, float)
    points = None
    if landmarks68.available() is None:
        points = landmarks68.Landmarks68()(photo, landmarks68.rectangle(five + 0.5)) - 0.5
    fit = fit_points(model, five, points)
    if not fit.error <= worst:
        raise UserError(
            f"{name}: a face that the model does not fit (error {fit.error:.1f} %); "
            "give a photo of one person looking at the camera"
        )
    return fit


def fit_points(model: FaceModel, five: np.ndarray, points: np.ndarray | None = None) -> Fit:
    """Fit the model to landmarks.

    Args:
        five: (5, 2), MTCNN's.
        points: (68, 2), dlib's; None: not known.
    """
    seen = points is not None
    target = np.asarray(points if seen else five, float)
    shapes = face_model.MOUTH_SHAPES + face_model.OTHER_SHAPES if seen else ()
    names = [side for shape in shapes for side in face_model.sides(shape, model.expression)]
    count = min(_IDENTITIES if seen else 5, len(model.identity))
    own = [model.neutral, *model.identity[:count], *(model.expression[name] for name in names)]
    own = np.array([shape[model.landmarks] for shape in own], float)  # of the 68 landmarks
    basis = own if seen else np.array([five_of(shape) for shape in own])  # of the landmarks that are fitted
    scale = float(np.hypot(*(five[1] - five[0]))) / np.ptp(five_of(own[0])[:2, 0])
    unit = scale * np.ptp(own[0, :17, 0]) / 60
    problem = _Problem(basis, target, scale, unit, count, _costs(names, count), _weights(seen))
    problem.ahead = _AHEAD if seen else _AHEAD_FIVE
    found = problem.solve(five)
    size, angles, shift = found[0] * scale, found[1:4], found[4:6] * unit
    width = float(size * np.ptp((own[0] + np.tensordot(found[6:], own[1:], 1))[:17, 0]))
    error = 100 * float(np.hypot(*(problem.posed(found) - target).T).mean()) / width
    identity, expression = found[6 : 6 + count], dict(zip(names, found[6 + count :].tolist(), strict=True))
    fit = Fit(size, angles, shift, identity, expression, target, five, seen, error, width)
    if seen:
        return fit
    return dataclasses.replace(fit, landmarks=fit.project(own[0] + np.tensordot(found[6:], own[1:], 1))[:, :2])


def _costs(names, count):
    """The cost of each factor at 1: identities first, then expressions."""
    use = [_USE[name.split("_")[0] in face_model.OTHER_SHAPES] for name in names]
    return np.array([*[_PRIOR] * count, *use])


def _weights(seen):
    weights = np.ones(68 if seen else 5)
    if seen:
        weights[:17], weights[48:] = _JAW_LINE, _MOUTH
    return weights


class _Problem:
    """Least squares: points `basis` (1 + n, k, 3), the neutral ones and n shapes, are to meet `target` (k, 2).

    The unknowns are the size relative to `scale`, three angles, the shift in `unit`, and n factors.
    """

    def __init__(self, basis, target, scale, unit, identities, costs, weights):
        self.basis, self.target, self.scale, self.unit = basis, target, scale, unit
        self.ahead = _AHEAD
        self.identities, self.costs, self.weights = identities, costs, weights[:, None] / unit

    def _flat(self, points, turn, size):
        return (points @ turn.T)[..., :2] * [self.scale * size, -self.scale * size]

    def posed(self, p):
        """The points of the model for unknowns `p`, (k, 2) pixels."""
        shape = self.basis[0] + np.tensordot(p[6:], self.basis[1:], 1)
        return self._flat(shape, rotation(p[1:4]), p[0]) + p[4:6] * self.unit

    def _residuals(self, p):
        off = (self.posed(p) - self.target) * self.weights
        return np.concatenate([off.ravel(), self.costs * p[6:], self.ahead * p[1:3]])

    def _slopes(self, p):
        shape, turn = self.basis[0] + np.tensordot(p[6:], self.basis[1:], 1), rotation(p[1:4])
        columns = [self._flat(shape, turn, 1)]
        for i in range(3):
            columns.append(self._flat(shape, (rotation(p[1:4] + 1e-6 * np.eye(3)[i]) - turn) / 1e-6, p[0]))
        columns += [np.tile(self.unit * np.eye(2)[i], (len(shape), 1)) for i in range(2)]
        columns = np.concatenate([columns, self._flat(self.basis[1:], turn, p[0])]) * self.weights
        ahead = np.zeros((2, len(p)))
        ahead[[0, 1], [1, 2]] = self.ahead
        costs = np.hstack([np.zeros((len(self.costs), 6)), np.diag(self.costs)])
        return np.vstack([columns.reshape(len(p), -1).T, costs, ahead])

    def solve(self, five):
        """The unknowns that fit best."""
        start, along = np.zeros(5 + len(self.basis)), five[1] - five[0]
        # The solver would not turn an upside-down face round by itself, so the eyes give the roll to start with.
        start[0], start[3] = 1, -np.arctan2(along[1], along[0])
        start[4:6] = (self.target.mean(0) - self.posed(start).mean(0)) / self.unit
        first = 6 + self.identities
        start[first:] = 1e-2
        low, high = np.full(len(start), -np.inf), np.full(len(start), np.inf)
        low[0], low[first:], high[first:] = 0.2, 0, 1
        low[6:first], high[6:first] = -3, 3
        return least_squares(self._residuals, start, self._slopes, (low, high), max_nfev=80, x_scale="jac").x


def lip_line(photo: np.ndarray, fit: Fit) -> np.ndarray:
    """How far the line between the lips is below that of the landmarks, pixels, (9,) from corner to corner.

    The photo is darkest between shut lips. Landmarks are off by a pixel or two. Without this line a lip would take a
    piece of the other lip along.
    """
    points = fit.landmarks
    upper, lower = points[[60, *face_model.UPPER_RIM, 64]], points[[60, *face_model.LOWER_RIM, 64]]
    along = upper[-1] - upper[0]
    long = max(float(np.hypot(*along)), 1.0)
    below = np.array([-along[1], along[0]]) / long
    shares = np.linspace(0, 1, 9)
    line = np.stack([np.interp(shares, np.linspace(0, 1, 5), (upper + lower)[:, i] / 2) for i in range(2)], 1)
    gap = float(((lower - upper) @ below)[1:4].mean())
    if gap > 0.06 * fit.width:  # the lips are parted: there is no line
        return np.zeros(9)
    reach = 0.035 * fit.width
    depths = np.linspace(-reach, reach, 41)
    shares_fine = np.linspace(0.06, 0.94, 45)
    fine = np.stack([np.interp(shares_fine, shares, line[:, i]) for i in range(2)], 1)
    places = fine[:, None] + depths[:, None] * below
    grey = cv2.cvtColor(photo, cv2.COLOR_BGR2GRAY).astype(np.float32)
    patch = cv2.remap(grey, *np.float32(places.transpose(2, 0, 1)), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    dark = gaussian_filter1d(patch, 9, axis=1) - gaussian_filter1d(patch, 1.0, axis=1)
    dark = gaussian_filter1d(dark, 1.5, axis=0) / max(float(dark.std()), 1e-3) - (depths / reach) ** 2
    # The best path across the columns, by dynamic programming. A step costs its square.
    cost = 0.15 * (np.arange(41)[:, None] - np.arange(41)) ** 2
    best, back = dark[0], []
    for column in dark[1:]:
        options = best[None] - cost
        back.append(options.argmax(1))
        best = column + options.max(1)
    path = [int(best.argmax())]
    for step in reversed(back):
        path.append(int(step[path[-1]]))
    offsets = gaussian_filter1d(depths[path[::-1]], 2.0)
    return np.interp(shares, shares_fine, offsets) * np.clip(4 * np.minimum(shares, 1 - shares) + 0.3, 0, 1)
