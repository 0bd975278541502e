"""Put a generated mouth into its frame: through a soft mask, in the frame's colours, as sharp as the frame.

The mask is made from the landmarks of that frame. What it is measured by, and images: docs/compositing.md.

Images are (H, W, 3) BGR uint8. Points are (x, y), pixel i covers [i, i + 1); boxes are (x1, y1, x2, y2).
"""

from functools import partial

import cv2
import numpy as np

from ..face.regions import ramp
from .latest import Latest

REGIONS = ("mouth", "jaw", "face")
DEFAULT_REGION = "jaw"

# Shapes, about the middle of the mouth, in distances of eyes and mouth: the centre below it, half the height, half the
# width facing the camera, and where in 0..1 of the way outwards the mask begins to fade
SHAPES = {"mouth": (0.10, 0.50, 0.56, 0.58), "jaw": (0.24, 0.68, 0.63, 0.66)}
TAPER = 0.3  # of the width, at the lower end
LIPS = 0.08, 0.36, 0.26  # centre below the middle of the mouth, half width and height of an ellipse
UPPER, UPPER_FADE = -0.28, 0.12  # above the upper lip, in the same unit
RADIUS = 0.85  # of the head, taken as a cylinder, in the same unit
OUTLINE = 66.0  # degrees from the line of sight, on that cylinder, that the mask keeps to

# Of the crop's side
TOP = 0.5 + 1.5 / 96  # the generator copies what is above 0.5, and its first new rows show a line
TOP_FADE, EDGE, EDGE_FADE = 0.04, 0.015, 0.05

NOSE = 2.5  # tangent of the yaw for each distance of the eyes that the nose is beside them
LIMIT, FADE = 45.0, 15.0  # degrees; up to 45 a generated mouth is nearer to the true one than that of another frame

UNLIKE = 20.0  # grey levels by which a rim pixel may differ from the others before it counts half
ALIKE = 7.0  # grey levels within which the source's own detail fits the new image
BAND = 1.8  # crop pixels; finer than that is detail
MAX_GAIN = 2.0


class Composer:
    """Composer(region, sharpen, still)(image, face, crop): the image with the generated crop's mouth in it.

    Args:
        region: "mouth" takes the lips and a margin, "jaw" mouth and chin. Both are feathered, follow the head's roll,
            narrow on the far side of a turned face, and are brought to the colours around them. "face" is the
            original LipGAN's: all of the crop, hard edges, nothing matched.
        sharpen: 1 brings the fine detail to the source's strength, 0 leaves the crop as it is.
        still: one object `image` and one `face` come again and again, unchanged: what does not hang on the crop is
            computed once.
        keep: (H,W) float32 in 0..1 of the images' size, how much of the image stays whatever lies there; None: 0.
    """

    def __init__(
        self,
        region: str = DEFAULT_REGION,
        sharpen: float = 1.0,
        still: bool = False,
        keep: np.ndarray | None = None,
    ):
        if region not in REGIONS:
            raise ValueError(f"region {region!r}; known are {REGIONS}")
        self.region = region
        self.sharpen = sharpen
        self.keep = keep
        self._place = Latest(lambda image, face: _Place(self, image, face)) if still else partial(_Place, self)

    def __call__(self, image: np.ndarray, face, crop: np.ndarray) -> np.ndarray:
        """
        Args:
            image: (H,W,3) uint8.
            face: a `tracking.TrackedFace`: face.landmarks, box, angle and strength are used.
            crop: (S,S,3) uint8, what the generator made of the crop at `box` and `angle`.

        Returns:
            A new (H,W,3) uint8, bit-equal to `image` where `mask` is 0.
        """
        place = self._place(image, face)
        result = image.copy()
        if not place.shape.size or place.strength <= 0:
            return result
        to_crop = _to_crop(face, len(crop))
        new = _warp(crop, to_crop, place.box)
        if self.region != "face":
            new += _colour_field(place.old, new, place.shape)
            if self.sharpen > 0:
                new = _detailed(place, new, float(np.hypot(*to_crop[:, 0])), self.sharpen)
        new -= place.old
        new *= place.weight
        new += place.old
        x1, y1, x2, y2 = place.box
        result[y1:y2, x1:x2] = np.rint(np.clip(new, 0, 255, out=new), out=new)
        return result

    def mask(self, shape: tuple[int, int], face) -> tuple[tuple[int, int, int, int], np.ndarray]:
        """How much of the new image shows.

        Args:
            shape: (H, W) of the image.
            face: as above.

        Returns:
            The box in whole pixels outside of which it is 0 (may be empty), and (h,w) float32 in 0..1 inside of it.
        """
        box, weight, _ = self._shapes(shape, face)
        return box, weight * np.float32(self._strength(face))

    def _strength(self, face) -> float:
        return float(face.strength) * turned(face.face.landmarks)

    def _shapes(self, shape, face):
        """Box, mask at full strength, and lips."""
        crop = _to_crop(face, 1)
        corners = cv2.transform(
            np.array([[[0, 0], [1, 0], [1, 1], [0, 1]]], np.float64), cv2.invertAffineTransform(crop)
        )
        first, last = corners[0].min(0), corners[0].max(0)
        if self.region != "face":
            head = _Head(face.face.landmarks, self.region)
            extents = head.corners()
            first, last = np.maximum(first, extents.min(0)), np.minimum(last, extents.max(0))
        limit = np.array(shape[1::-1])
        x1, y1 = np.clip(np.floor(first), 0, limit).astype(int)
        x2, y2 = np.clip(np.ceil(last), 0, limit).astype(int)
        box = int(x1), int(y1), max(int(x1), int(x2)), max(int(y1), int(y2))
        x = np.arange(box[0], box[2], dtype=np.float32) + 0.5
        y = np.arange(box[1], box[3], dtype=np.float32)[:, None] + 0.5
        u, v = ((a * x + (b * y + c)).astype(np.float32) for a, b, c in crop)
        if self.region == "face":
            return box, ((u >= 0) & (u < 1) & (v >= 0) & (v < 1)).astype(np.float32), None
        weight, lips = head.draw(x, y)
        weight *= ramp((v - TOP) / TOP_FADE)
        weight *= ramp((np.minimum(np.minimum(u, 1 - u), 1 - v) - EDGE) / EDGE_FADE)
        return box, weight, lips


class _Place:
    """What of a new mouth's place in an image does not hang on the mouth; nobody changes it."""

    def __init__(self, composer, image, face):
        self.box, self.shape, self.lips = composer._shapes(image.shape[:2], face)
        self.strength = composer._strength(face)
        x1, y1, x2, y2 = self.box
        self.old = image[y1:y2, x1:x2].astype(np.float32)
        weight = self.strength * self.shape
        if composer.keep is not None:
            weight = weight * (1 - composer.keep[y1:y2, x1:x2])
        self.weight = _three(weight) if weight.size else None
        self._smooth: dict[float, np.ndarray] = {}

    def smooth(self, sigma):
        """The old image without its detail."""
        if sigma not in self._smooth:
            self._smooth[sigma] = cv2.GaussianBlur(self.old, (0, 0), sigma)
        return self._smooth[sigma]


class _Head:
    """Where mask `region` lies in the image, by the landmarks."""

    def __init__(self, landmarks, region):
        _, self.mouth, self.across, self.down, length = face_axes(landmarks)
        self.unit = max(length, 1.14 * float(np.abs((landmarks[1] - landmarks[0]) @ self.across)), 1e-3)
        self.centre, self.high, self.wide, self.solid = SHAPES[region]
        # The sides of the mask on the cylinder, seen turned: the far one goes no further than OUTLINE.
        side = np.arcsin(self.wide / RADIUS)
        angle = np.radians(np.clip(yaw(landmarks), -75, 75))
        outline = np.radians(OUTLINE)
        self.right = RADIUS * (np.sin(np.clip(angle + side, -outline, outline)) - np.sin(angle))
        self.left = RADIUS * (np.sin(angle) - np.sin(np.clip(angle - side, -outline, outline)))
        self.right, self.left = (max(float(half), 0.05) for half in (self.right, self.left))

    def corners(self):
        along = self.across * self.unit, self.down * self.unit
        rows = (UPPER, self.centre + self.high)
        return np.array([self.mouth + p * along[0] + q * along[1] for p in (-self.left, self.right) for q in rows])

    def draw(self, x, y):
        """The mask and the lips, 0..1, at points of the image."""
        x, y = (x - self.mouth[0]) / self.unit, (y - self.mouth[1]) / self.unit
        p = (x * self.across[0] + y * self.across[1]).astype(np.float32)
        q = (x * self.down[0] + y * self.down[1]).astype(np.float32)
        p /= np.where(p < 0, np.float32(self.left), np.float32(self.right))
        lips = np.square(p * np.float32(self.wide / LIPS[1])) + np.square((q - LIPS[0]) * (1 / LIPS[2]))
        upper = ramp((q - UPPER) / UPPER_FADE)
        q = (q - self.centre) / self.high
        # Below the centre an ellipse that narrows as jaws do, above it straight sides
        p /= 1 - TAPER * np.clip(q, 0, 1)
        distance = np.sqrt(p * p + np.square(np.maximum(q, 0)))
        return ramp((1 - distance) / (1 - self.solid)) * upper, ramp((2 - lips) / 1.2)


def yaw(landmarks: np.ndarray) -> float:
    """How far a face is turned sideways, by how far the nose lies beside the line from the eyes to the mouth.

    Args:
        landmarks: (5, 2), as `detector.Face` has them.

    Returns:
        Degrees, -90..90: 0 faces the camera, positive is turned to the right in the image. On six 3D heads right to
        4 degrees in the median up to 45 (benchmarks/turned.py).
    """
    landmarks = np.asarray(landmarks, np.float64)
    eyes, _, across, _, _ = face_axes(landmarks)
    apart = float((landmarks[1] - landmarks[0]) @ across)
    return float(np.degrees(np.arctan2(NOSE * ((landmarks[2] - eyes) @ across), max(apart, 1e-6))))


def turned(landmarks: np.ndarray) -> float:
    """How far the model may be trusted with a face turned that much: 1 up to LIMIT - FADE degrees of yaw,
    0 from LIMIT on.
    """
    return float(ramp((LIMIT - abs(yaw(landmarks))) / FADE))


def face_axes(landmarks):
    """Middles of eyes and mouth, unit vectors across and down the face, distance of the two middles."""
    landmarks = np.asarray(landmarks, np.float64)
    eyes, mouth = landmarks[:2].mean(0), landmarks[3:].mean(0)
    down = mouth - eyes
    length = float(np.hypot(*down))
    down = down / length if length > 1e-6 else np.array([0.0, 1.0])
    return eyes, mouth, np.array([down[1], -down[0]]), down, length


def _to_crop(face, size) -> np.ndarray:
    """(2,3) that takes points of the image to the crop of side `size`."""
    box = np.asarray(face.box, np.float64)
    middle, scale = (box[:2] + box[2:]) / 2, size / (box[2:] - box[:2])
    cos, sin = np.cos(face.angle), np.sin(face.angle)
    matrix = scale[:, None] * np.array([[cos, sin], [-sin, cos]])
    return np.column_stack([matrix, size / 2 - matrix @ middle])


def _warp(crop, to_crop, area) -> np.ndarray:
    """The crop as it lies in `area` of the image: float32."""
    x1, y1, x2, y2 = area
    # cv2 counts from pixel centres on both sides.
    offset = to_crop @ (x1 + 0.5, y1 + 0.5, 1.0) - 0.5
    scale = float(np.abs(np.linalg.det(to_crop[:, :2]))) ** 0.5
    if scale > 1:  # the crop is the finer one: average it first
        crop = cv2.GaussianBlur(crop, (0, 0), 0.4 * scale)
    return cv2.warpAffine(
        crop.astype(np.float32),
        np.column_stack([to_crop[:, :2], offset]),
        (x2 - x1, y2 - y1),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )


def _colour_field(old, new, shape) -> np.ndarray:
    """(h,w,3), what to add to `new` so that it meets `old` in the rim of the mask, the same smooth field inside.

    It is a mean of the rim's differences, weighted by nearness. Pixels that differ unlike the rest of the rim, such as
    background that the new chin lies on, hardly count. Done on a few pixels: it is smooth.
    """
    height, width = shape.shape
    factor = max(1.0, max(height, width) / 32)
    small = max(1, round(width / factor)), max(1, round(height / factor))
    difference = cv2.resize(old - new, small, interpolation=cv2.INTER_AREA)
    rim = cv2.resize(shape, small, interpolation=cv2.INTER_AREA)[..., None]
    rim = rim * (1 - rim) + 1e-6
    mean = (rim * difference).sum((0, 1)) / rim.sum()
    for _ in range(3):
        unlike = np.square(difference - mean).mean(-1, keepdims=True)
        weight = rim / (1 + unlike / UNLIKE**2)
        mean = (weight * difference).sum((0, 1)) / weight.sum()
    stacked = np.concatenate([weight * (difference - mean), weight], axis=-1)
    stacked = cv2.GaussianBlur(stacked, (0, 0), 5, borderType=cv2.BORDER_CONSTANT)
    field = mean + stacked[..., :3] / (stacked[..., 3:] + 1e-5)
    return cv2.resize(field.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)


def _detailed(place, new, scale, sharpen) -> np.ndarray:
    """`new` with as much fine detail as what was in its place.

    Where both look the same but for the detail, as skin does that has not moved, it is the source's own. Elsewhere,
    and on the lips, the source's would be a ghost of the old mouth: there the new image's is raised, MAX_GAIN times
    at most, until the mask has the source's gradients.
    """
    shape, lips = place.shape, place.lips
    sigma = max(BAND / scale, 0.8)
    old_base, new_base = place.smooth(sigma), cv2.GaussianBlur(new, (0, 0), sigma)
    old_fine, own = place.old - old_base, new - new_base
    unlike = cv2.GaussianBlur(_mean_square(old_base - new_base), (0, 0), sigma)
    kept = _three(min(sharpen, 1.0) * (1 - lips) * cv2.exp(unlike * (-1 / ALIKE**2)))
    others = kept * old_fine
    own -= np.multiply(kept, own, out=kept)
    # gain: the gradients of others + gain * own are as strong as those of old_fine
    a = b = c = 0.0
    grey = [cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) for image in (own, others, old_fine)]
    for rows, columns in ((slice(1, None), slice(-1)), (slice(-1), slice(1, None))):
        own_slope, others_slope, old_slope = (p[1:, 1:] - p[rows, columns] for p in grey)
        weighted = shape[1:, 1:] * own_slope
        a, b = a + _dot(weighted, own_slope), b + _dot(weighted, others_slope)
        c += _dot(shape[1:, 1:] * (others_slope - old_slope), others_slope + old_slope)
    gain = (-b + np.sqrt(max(b * b - a * c, 0.0))) / max(a, 1e-6)
    more = (float(np.clip(gain, 1, MAX_GAIN)) - 1) * sharpen
    # Brightness alone: colours would speckle.
    own += _three(np.float32(more) * grey[0])
    own += others
    own += new_base
    return own


def _three(channel) -> np.ndarray:
    """(h,w,3) float32 of one channel; numpy is slow with a last axis of 3 that is spread."""
    return cv2.merge([np.asarray(channel, np.float32)] * 3)


def _mean_square(image) -> np.ndarray:
    """(h,w): over the channels."""
    return cv2.transform(cv2.multiply(image, image), np.full((1, 3), 1 / 3))


def _dot(a, b) -> float:
    return float(np.vdot(a, b))
