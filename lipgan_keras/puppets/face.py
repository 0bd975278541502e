"""A face photo whose mouth moves. It is warped around the lips and painted between them."""

import copy
import dataclasses
import math
from collections.abc import Callable

import cv2
import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import gaussian_filter1d

from ..face.regions import bounds
from . import person as puppets_person
from .camera import Place
from .person import Axes, Person, fall

FRAME_SIZE = 256


# All lengths of the mouth are in halves of its width: x along it from -1 to 1, y down from the line of its corners.
_GAP = 0.62  # between the lips in the middle, wide open: some 10 pixels of a 96 pixel face crop
_JAW = 0.40  # how far the chin drops then
_FACE_HEIGHT = 0.5  # of the frame's
_RESOLUTION = 1.2  # pixels of the prepared photo for one of the frame
_CURVE = 801  # points of a lip's edge
# How MTCNN's corners of the mouth move apart (first row) and down (second row), for each of opening, spreading and
# rounding, in halves of the mouth's width. Measured on puppets.
_SEEN = np.array([[-0.02, 0.10, -0.15], [0.21, 0.0, 0.0]])


@dataclasses.dataclass(frozen=True)
class MouthGeometry:
    """Where the mouth is in a photo, in pixels."""

    box: tuple[float, float, float, float]  # of the face: x1, y1, x2, y2
    upper: list[tuple[float, float]]  # inner edge of the upper lip, corner to corner
    lower: list[tuple[float, float]]  # of the lower lip; equal to the upper edge where the lips are shut
    chin: float  # y of its lower edge
    landmarks: list[tuple[float, float]]  # eye, eye, nose, mouth corner, mouth corner, as MTCNN sees them
    rest_width: float = 1.0  # of the closed mouth, relative to the photo's: below 1 undoes a smile

    def mirrored(self, photo_width: int) -> "MouthGeometry":
        x1, y1, x2, y2 = self.box
        last = photo_width - 1
        upper, lower = ([(last - x, y) for x, y in reversed(points)] for points in (self.upper, self.lower))
        landmarks = [(last - x, y) for x, y in (self.landmarks[i] for i in (1, 0, 2, 4, 3))]
        return dataclasses.replace(
            self, box=(last - x2, y1, last - x1, y2), upper=upper, lower=lower, landmarks=landmarks
        )

    def moved(self, move: Callable[[np.ndarray], np.ndarray]) -> "MouthGeometry":
        """The geometry after a change of the photo: `move` takes points (n, 2) to their new places."""
        upper, lower, landmarks = (move(np.array(p, float)).tolist() for p in (self.upper, self.lower, self.landmarks))
        (x1, y1), (x2, y2), (_, chin) = move(
            np.array([self.box[:2], self.box[2:], [(upper[0][0] + upper[-1][0]) / 2, self.chin]], float)
        ).tolist()
        return dataclasses.replace(self, box=(x1, y1, x2, y2), upper=upper, lower=lower, chin=chin, landmarks=landmarks)


@dataclasses.dataclass(frozen=True)
class _Mouth:
    """What is seen between the lips. Lengths are in halves of the mouth's width, colours are BGR in soft light."""

    upper_teeth: float = 0.16  # how far they reach below the line of the closed lips
    lower_teeth: float = 0.10  # how far they reach above the lower lip
    teeth: tuple[float, float, float] = (176, 193, 208)
    tongue: tuple[float, float, float] = (78, 72, 150)
    dark: tuple[float, float, float] = (30, 24, 52)
    raised: float = 0.55  # how high the tongue lies in an open mouth, of its height
    drop: float = 0.30  # how far the corners come down with the jaw, of the gap
    arch: float = 0.12  # how far the upper lip rises, of the gap

    @classmethod
    def drawn(cls, rng: np.random.Generator, saturation: float, alike: bool = False) -> "_Mouth":
        """A random person's mouth. With `alike` the mouths differ less."""

        def within(low, high, likely):
            return rng.uniform(*(likely if alike else (low, high)))

        bright = within(0.75, 1.12, (0.95, 1.08))
        yellow = within(0.84, 1.0, (0.92, 1.0))

        def coloured(*bgr):
            grey = np.dot(bgr, [0.114, 0.587, 0.299])
            return tuple(grey + min(1.0, saturation) * (np.array(bgr) - grey))

        return cls(
            upper_teeth=within(0.05, 0.18, (0.13, 0.18)),
            lower_teeth=within(0.0, 0.12, (0.0, 0.05)),
            teeth=coloured(bright * 196 * yellow, bright * 200, bright * 208),
            tongue=coloured(*np.array([82, 78, 142]) * within(0.65, 1.15, (0.85, 1.05)) * rng.uniform(0.92, 1.08, 3)),
            dark=coloured(*np.array([30, 24, 52]) * within(0.5, 1.3, (0.7, 1.0))),
            raised=within(0.2, 0.65, (0.25, 0.45)),
            drop=within(0.15, 0.45, (0.2, 0.4)),
            arch=within(0.06, 0.20, (0.08, 0.16)),
        )


_STRAIGHT = Place()


class Puppet:
    """A face photo whose mouth moves.

    The photo is warped around the lips. The part above the lip line moves with the upper lip. The part below moves with
    lower lip, jaw and chin. Both are also pulled together or apart sideways. What opens between them is painted.

    Args:
        photo: (H, W, 3) BGR uint8.
        geometry: where face and mouth are; `photos.load_puppet` finds it.
        name: the clips' folder.
        size: of the frames, which are square.
    """

    def __init__(self, photo: np.ndarray, geometry: MouthGeometry, name: str = "face", size: int = FRAME_SIZE):
        self.name, self.size = name, size
        self.photo, self.geometry = _prepare(photo, geometry, _RESOLUTION * _FACE_HEIGHT * size)
        self.mouth = _Mouth()
        self._fit()

    def _fit(self):
        """Derive what `render` needs from photo and geometry."""
        geometry = self.geometry
        x1, y1, x2, y2 = geometry.box
        self._face = np.array([(x1 + x2) / 2, (y1 + y2) / 2])
        upper, lower = np.array(geometry.upper), np.array(geometry.lower)
        middle, half = (upper[0] + upper[-1]) / 2, (upper[-1] - upper[0]) / 2
        # From mouth coordinates to the photo's, and back: both are similarities.
        axes = np.array([[half[0], -half[1]], [half[1], half[0]]])
        self._from_mouth = np.hstack([axes, middle[:, None]])
        inverse = np.linalg.inv(axes)
        self._to_mouth = np.hstack([inverse, -(inverse @ middle)[:, None]])

        self._x = np.linspace(-1, 1, _CURVE)
        self._upper, self._lower = (self._curve(points) for points in (upper, lower))
        self._lower = np.maximum(self._lower, self._upper)
        self._closed = self._upper + 0.35 * (self._lower - self._upper)
        self._chin = float(max(0.8, (geometry.chin - middle[1]) / np.hypot(*half)))
        self._axes = Axes(np.array(geometry.landmarks))
        self._depth = None  # of the photo's pixels, once it is needed

        # The light inside the mouth is that of the skin beside and below it, with half of its tint. (Skin itself is
        # some 1.4 times redder than grey.)
        around = self._from_mouth @ np.array([[-0.8, 0.8, 0], [0.7, 0.7, 0.9], [1, 1, 1]])
        columns, rows = (around.astype(int).T.clip(0, np.array(self.photo.shape[1::-1]) - 1)).T
        skin = self.photo[rows, columns].mean(0) + 1
        tint = np.sqrt(skin / skin.mean() / np.array([0.75, 0.98, 1.27]))
        self._light = (np.clip((skin.mean() / 150) ** 0.9, 0.3, 1.2) * tint).astype(np.float32)

    def _curve(self, points):
        x, y = self._to_mouth @ np.vstack([points.T, np.ones(len(points))])
        smooth = gaussian_filter1d(PchipInterpolator(x, y)(self._x), 0.02 * _CURVE)
        return (smooth * (np.abs(self._x) < 1)).astype(np.float32)

    def mirrored(self) -> "Puppet":
        """The same face in a mirror: another look."""
        other = copy.copy(self)
        other.name = f"{self.name}_mirrored"
        other.photo = np.ascontiguousarray(self.photo[:, ::-1])
        other.geometry = self.geometry.mirrored(self.photo.shape[1])
        other._fit()
        return other

    def varied(self, rng: np.random.Generator) -> "Puppet":
        """The same face in slightly other light."""
        gamma = 2 ** rng.uniform(-0.25, 0.25)
        gain = rng.uniform(0.9, 1.08) * rng.uniform(0.96, 1.04, 3)
        table = 255 * (np.arange(256) / 255)[:, None] ** gamma * gain
        other = copy.copy(self)
        other.photo = cv2.LUT(self.photo, np.clip(np.rint(table), 0, 255).astype(np.uint8)[None])
        other._fit()
        return other

    def as_person(self, person: Person, rng: np.random.Generator, alike: bool = False) -> "Puppet":
        """Another person made of this face. `rng` draws their teeth and tongue. With `alike` these differ less between
        people.
        """
        other = copy.copy(self)
        axes = self._axes
        other.photo = person.shape(self.photo, axes)
        other.geometry = self.geometry.moved(lambda points: axes.to_photo(person.moved(axes.to_face(points))))
        other.photo = person.colour(other.photo, Axes(np.array(other.geometry.landmarks)))
        other.mouth = _Mouth.drawn(rng, person.numbers["saturation"], alike)
        other._fit()
        return other

    def grinning(self, person: Person, mouth: _Mouth, rng: np.random.Generator) -> tuple["Puppet", dict[str, float]]:
        """`person` made of this face, showing the teeth as in a photo; and what `rng` drew for that."""
        drawn = {
            "smile": person.numbers["smile"] + rng.uniform(0.03, 0.10),
            "lip_thinness": person.numbers["lip_thinness"] + rng.uniform(0.0, 0.3),
        }
        more = copy.copy(person)
        more.numbers = person.numbers | drawn
        other = self.as_person(more, rng)
        other.mouth = dataclasses.replace(
            mouth, upper_teeth=rng.uniform(0.3, 0.6), lower_teeth=0.0, drop=0.0, arch=rng.uniform(0.2, 0.5)
        )
        return other, drawn | {"upper_teeth": other.mouth.upper_teeth, "arch": other.mouth.arch}

    def _placed(self, place):
        """Frame pixels -> photo pixels: an affine map (2, 3)."""
        angle = math.radians(place.angle)
        linear = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
        linear = _RESOLUTION * linear / np.asarray(place.zoom)[:, None]
        centre = np.array([self.size / 2, self.size / 2]) + place.shift
        return np.hstack([linear, (self._face - linear @ centre)[:, None]])

    def _turned(self, place):
        """By how many photo pixels a point of depth 1 moves when the head turns."""
        right, down = np.sin(np.radians(place.turn))
        return self._axes.matrix @ np.array([right, down])

    def render(
        self,
        opening: float,
        width: float,
        place: Place = _STRAIGHT,
        window: tuple[int, int, int, int] | None = None,
    ) -> np.ndarray:
        """One frame.

        Args:
            opening: 0 lips closed .. 1 wide open.
            width: -1 rounded .. 0 neutral .. 1 spread.
            place: of the head.
            window: x1, y1, x2, y2 of the wanted part of the frame; None: all of it.

        Returns:
            (size, size, 3) BGR uint8, or the window's part of it.
        """
        opening, width = float(opening), float(width)
        first_x, first_y, last_x, last_y = window or (0, 0, self.size, self.size)
        shape = last_x - first_x, last_y - first_y
        to_photo = self._placed(place)
        to_photo[:, 2] += to_photo[:, :2] @ (first_x, first_y)
        (a, b, c), (d, e, f) = to_photo.astype(np.float32)
        u, v = np.arange(shape[0], dtype=np.float32), np.arange(shape[1], dtype=np.float32)[:, None]
        photo_x, photo_y = a * u + b * v + c, d * u + e * v + f
        if any(place.turn):
            if self._depth is None:
                self._depth = puppets_person.depth(*self._axes.grid(self.photo.shape))
            flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            depth = cv2.warpAffine(self._depth, to_photo, shape, flags=flags)
            along_x, along_y = self._turned(place).astype(np.float32)
            photo_x -= along_x * depth
            photo_y -= along_y * depth

        # The part of the image that the mouth moves, in mouth coordinates.
        far = self._chin + 1.1
        corners = self._from_mouth @ np.array([[-2.2, 2.2, -2.2, 2.2], [-1.0, -1.0, far, far], [1, 1, 1, 1]])
        corners = np.hstack([corners + offset[:, None] for offset in (0 * self._turned(place), self._turned(place))])
        corners = np.linalg.inv(to_photo[:, :2]) @ (corners - to_photo[:, 2:])
        (left, top), (right, bottom) = corners.min(1).astype(int), corners.max(1).astype(int) + 2
        left, right = (int(np.clip(v, 0, shape[0])) for v in (left, right))
        top, bottom = (int(np.clip(v, 0, shape[1])) for v in (top, bottom))
        part = np.s_[top:bottom, left:right]
        x, y = (g * photo_x[part] + h * photo_y[part] + i for g, h, i in self._to_mouth.astype(np.float32))
        source_x, source_y, upper, lower = self._warp(x, y, opening, width)
        photo_x[part], photo_y[part] = (
            g * source_x + h * source_y + i for g, h, i in self._from_mouth.astype(np.float32)
        )
        frame = cv2.remap(self.photo, photo_x, photo_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)

        painted = (np.abs(source_x) < 1) & (y > upper - 0.15) & (y < lower + 0.15)
        inner = bounds(painted)
        if painted[inner].size:
            pixel = float(np.sqrt(abs(np.linalg.det(self._from_mouth[:, :2]) / np.linalg.det(to_photo[:, :2]))))
            gap = frame[part][inner]
            inside = (values[inner] for values in (source_x, y, upper, lower))
            gap[:] = self._paint(gap.astype(np.float32), *inside, opening, width, pixel)
        return frame

    def landmarks(self, opening: float, width: float, place: Place = _STRAIGHT) -> np.ndarray:
        """The five landmarks of what `render` makes, as MTCNN sees them: (5, 2) float64, pixels of the frame."""
        points = np.array(self.geometry.landmarks)
        wider, lower = _SEEN @ (opening, max(width, 0.0), max(-width, 0.0))
        mouth_x, mouth_y = self._to_mouth @ np.vstack([points[3:].T, np.ones(2)])
        mouth = np.stack([mouth_x * (self.geometry.rest_width + wider), mouth_y + lower, np.ones(2)])
        points[3:] = (self._from_mouth @ mouth).T
        return self._in_frame(points, place)

    def corners(self, opening: float, width: float, place: Place = _STRAIGHT) -> np.ndarray:
        """The corners of the mouth in what `render` makes: (2, 2) float64, pixels of the frame."""
        scale, down = self._scale(opening, width), self.mouth.drop * _GAP * opening
        points = (self._from_mouth @ np.array([[-scale, scale], [down, down], [1, 1]])).T
        return self._in_frame(points, place)

    def _in_frame(self, points, place):
        """Points (n, 2) of the photo, after its mouth has moved, in pixels of the frame."""
        if any(place.turn):
            offset, there = self._turned(place), points
            for _ in range(4):  # the depth is looked up at the moved point
                points = there + puppets_person.depth(*self._axes.to_face(points).T)[:, None] * offset
        to_photo = self._placed(place)
        return (points - to_photo[:, 2]) @ np.linalg.inv(to_photo[:, :2]).T + 0.5

    def _scale(self, opening, width):
        """Half of the mouth's width."""
        return self.geometry.rest_width * (1 + (0.16 if width > 0 else 0.27) * width) * (1 - 0.05 * opening)

    def _warp(self, x, y, opening, width):
        """Where each point comes from in the photo, and the inner edges of the lips above and below it."""
        rounded, spread = max(-width, 0.0), max(width, 0.0)
        scale = self._scale(opening, width)
        near = fall((np.abs(x) - scale) / 1.1) * fall((y - 0.5) / 1.0) * fall((-0.15 - y) / 0.55)  # nose stays
        source_x = x * (1 + (1 / scale - 1) * near)
        across = np.minimum(np.abs(source_x), 1)
        largest = _GAP * opening
        gap = largest * (1 - across * across) ** (0.7 - 0.2 * rounded)
        index = ((np.clip(source_x, -1, 1) + 1) * (0.5 * (_CURVE - 1)) + 0.5).astype(np.int32)
        closed, photo_upper, photo_lower = (curve[index] for curve in (self._closed, self._upper, self._lower))
        # A narrow or open mouth bends less than a wide, closed one, and the jaw takes the corners along.
        closed = closed * np.float32(min(1.0, scale) ** 1.5 * (1 - 0.4 * opening))
        fallen = self.mouth.drop * largest * (across * across) * fall(np.abs(source_x) - 1)
        upper = closed + fallen - self.mouth.arch * gap
        lower = upper + gap
        # Lips are thicker when rounded, thinner when spread or wide open.
        thinner = 1 / (1 + 0.25 * rounded - 0.12 * spread - 0.10 * opening) - 1
        thinner = thinner * fall((np.abs(source_x) - 0.6) / 0.8)
        over, under = np.maximum(upper - y, 0), np.maximum(y - lower, 0)
        above = np.minimum(y, upper) + (photo_upper - upper) * fall(over / 0.7) - thinner * over * fall(over / 0.6)
        lip = fall(under / 0.9)
        jaw = np.float32(-_JAW * opening) * np.exp(-((x / 1.5) ** 4))
        below = np.maximum(y, lower) + (lip * (photo_lower - lower) + (1 - lip) * jaw) * fall(y - self._chin)
        below += thinner * under * fall(under / 0.6)
        return source_x, np.where(y < (upper + lower) / 2, above, below), upper, lower

    def _paint(self, region, x, y, upper, lower, opening, width, pixel):
        """Paint the inside of the mouth, and the line between lips that touch."""
        mouth = self.mouth
        dark, tongue, teeth = (np.array(colour, np.float32) for colour in (mouth.dark, mouth.tongue, mouth.teeth))
        depth = np.maximum(lower - upper, 1e-3)
        down = np.clip((y - upper) / depth, 0, 1)
        colour = dark * (0.6 + 0.6 * down[..., None])
        bulge = fall((1 - mouth.raised * 0.6 - down) / 0.4) * fall((np.abs(x) - 0.3) / 0.45) * min(1.0, 1.6 * opening)
        colour = colour + (tongue - colour) * bulge[..., None]

        def bite(distance, reach, part):  # teeth: `distance` from the row's edge; darker between two, and at the sides
            between = 1 - 0.22 * np.exp(-((np.abs((np.abs(x) / 0.2) % 1 - 0.5) - 0.5) ** 2) / 0.012)
            row = np.clip(distance * pixel / 1.5 + 0.5, 0, 1) * (np.abs(x) < reach)
            return (part * row * between * (1 - 0.75 * (x / reach) ** 2))[..., None]

        # The upper teeth stand still while the upper lip moves. The lower teeth go with the jaw. A narrow gap lets
        # little light in.
        light = np.clip(depth / 0.2, 0.55, 1) * np.clip((y - upper) / 0.1, 0.65, 1)
        light = light[..., None]
        low = mouth.lower_teeth * (1 - 0.6 * max(-width, 0.0)) * np.sqrt(np.maximum(0, 1 - (x / 0.75) ** 2))
        colour = colour + (0.82 * teeth * light - colour) * bite(y - (lower - low), 0.75, 0.75)
        high = 0.6 * self._closed.mean() + mouth.upper_teeth * (1 + 0.3 * width) * np.sqrt(
            np.maximum(0, 1 - (x / 0.9) ** 2)
        )
        colour = colour + (teeth * light - colour) * bite(high - y, 0.9, 0.92)
        colour = colour * self._light
        inside = np.clip((y - upper) * pixel / 1.5 + 0.25, 0, 1) * np.clip((lower - y) * pixel / 1.5 + 0.25, 0, 1)
        inside = inside * (np.abs(x) < 1)
        seam = np.exp(-(((y - (upper + lower) / 2) / 0.05) ** 2)) * np.maximum(0, 1 - x**2) ** 0.5
        seam = 0.45 * seam * np.clip(1 - depth / 0.1, 0, 1)
        region = region * (1 - seam[..., None])
        return np.clip(region + (colour - region) * inside[..., None] + 0.5, 0, 255).astype(np.uint8)


def _prepare(photo, geometry, face_height):
    """The part of the photo that frames can show, and its geometry; the face becomes `face_height` pixels high."""
    x1, y1, x2, y2 = geometry.box
    scale = face_height / (y2 - y1)
    reach = 1.4 * (y2 - y1)
    left, top = max(0, int((x1 + x2) / 2 - reach)), max(0, int((y1 + y2) / 2 - reach))
    piece = photo[top : int((y1 + y2) / 2 + reach) + 1, left : int((x1 + x2) / 2 + reach) + 1]
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    piece = cv2.resize(piece, None, fx=scale, fy=scale, interpolation=interpolation)

    def moved(points):  # pixel centres are at whole numbers
        return (points - (left, top) + 0.5) * scale - 0.5

    return piece, geometry.moved(moved)
