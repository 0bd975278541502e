"""Made-up people: one face photo becomes many faces, in other light and before other cameras.

`Person` changes shape and colours of a photo once. `camera.Pose` moves the head in time. `camera.Camera` degrades the
images. Each is drawn from a random generator, and keeps what it drew in `numbers`.

Face coordinates (u, v): (0, 0) is between the eyes. v goes down to 1 in the middle of the mouth, u goes to the image's
right. The eyes are near u = -0.44 and 0.44, the chin is near v = 1.75.
"""

import math

import cv2
import numpy as np
from scipy.interpolate import PchipInterpolator

from ..face.regions import ramp

# Skin from dark to pale: BGR of a cheek in soft light, in the order of the individual typology angle (Chardon, Cretois,
# Hourseau 1991). Colours between two neighbours are drawn as well.
SKINS = np.array(
    [[48, 66, 104], [66, 92, 140], [92, 126, 176], [120, 154, 200], [146, 174, 214], [170, 190, 226]], float
)
NOISE_FIELD = 384  # side of a camera's noise field; each frame cuts its noise from it, larger frames repeat it


def fall(distance: np.ndarray | float) -> np.ndarray:
    """1 up to distance 0, then smoothly down to 0 at distance 1."""
    return 1 - ramp(distance)


class Axes:
    """The map between face coordinates and the pixels of a photo. Pixel centres are at whole numbers.

    Args:
        landmarks: (5, 2): eye, eye, nose, mouth corner, mouth corner.
    """

    def __init__(self, landmarks: np.ndarray):
        points = np.asarray(landmarks, float)
        self._set(points[:2].mean(0), points[3:].mean(0) - points[:2].mean(0))

    @classmethod
    def along(cls, origin: np.ndarray, down: np.ndarray) -> "Axes":
        """Axes with the eyes' middle at `origin` and the mouth's at `origin` + `down`, (2,) each."""
        axes = cls.__new__(cls)
        axes._set(origin, down)
        return axes

    def _set(self, origin, down):
        self.origin = origin
        self.unit = max(float(np.hypot(*down)), 1e-6)
        down = down / self.unit
        self.matrix = np.array([[down[1], down[0]], [-down[0], down[1]]]) * self.unit  # columns: along u, along v
        self._inverse = np.linalg.inv(self.matrix)

    def to_face(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 2) in pixels -> (u, v)."""
        return (points - self.origin) @ self._inverse.T

    def to_photo(self, points: np.ndarray) -> np.ndarray:
        """(u, v) -> points (..., 2) in pixels."""
        return points @ self.matrix.T + self.origin

    def grid(self, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """u and v of every pixel of an image of this shape, float32 (H, W) each."""
        x = np.arange(shape[1], dtype=np.float32) - np.float32(self.origin[0])
        y = np.arange(shape[0], dtype=np.float32)[:, None] - np.float32(self.origin[1])
        u, v = (np.float32(a) * x + np.float32(b) * y for a, b in self._inverse)
        return u, v


def depth(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """How far a face stands out, in units of face coordinates: a smooth mound, 0 around the head, with a nose."""
    mound = 0.75 * fall(np.sqrt((u / 1.35) ** 2 + ((v - 0.5) / 1.9) ** 2))
    return mound + 0.2 * np.exp(-((u / 0.2) ** 2) - ((v - 0.55) / 0.3) ** 2)


class Person:
    """Another person: a smooth change of the face's shape, of the colours of skin, lips and the rest, and of the light.

    Args:
        rng: decides.
        smiling: most people smile, more or less. Their lips are paler than without, and mostly thinner.
    """

    _ROWS = np.array([-2.0, -0.9, 0.0, 0.55, 1.0, 1.75, 3.0])  # v where widths and heights are drawn

    def __init__(self, rng: np.random.Generator, smiling: bool = False):
        def normal(deviation, size=None):  # never an outlier
            return np.clip(rng.normal(0, 1, size), -1.8, 1.8) * np.asarray(deviation)

        angle = rng.uniform(0, 2 * math.pi)
        self.numbers = {
            # Shape: from the new face to the photo's, so a positive width makes the face narrower
            "widths": np.append(normal([0, 0.05, 0.05, 0.06, 0.07, 0.10]), 0.0).tolist(),
            "heights": normal([0, 0.07, 0, 0.045, 0.035, 0.11, 0.04]).tolist(),
            "mouth_width": float(normal(0.10)),
            "lip_thickness": float(normal(0.20)),
            "eyes": float(normal(0.09)),
            "nose": float(normal(0.12)),
            "waves": normal(0.012, 8).tolist(),  # nobody is symmetrical
            # Colour
            "skin": float(rng.uniform(0, len(SKINS) - 1)) if rng.random() < 0.75 else None,  # else the photo's own
            "tint": normal([0.06, 0.03, 0.06]).tolist(),
            "lips": normal([0.12, 0.10, 0.08]).tolist(),
            "rest": normal(0.3, 3).tolist(),
            "rest_mix": float(rng.uniform(0, 0.6)),
            "rest_weights": rng.dirichlet(np.ones(3), 3).tolist(),
            # Light
            "gamma": float(normal(0.22)),
            "contrast": float(normal(0.10)),
            "saturation": float(rng.uniform(0.0, 0.4) if rng.random() < 0.1 else rng.uniform(0.7, 1.15)),
            "light": [math.cos(angle), math.sin(angle), float(abs(normal(0.28)))],
            "light_tint": normal(0.07, 3).tolist(),
            # How far the corners rise
            "smile": float(rng.uniform(-0.02, 0.11)) if smiling and rng.random() < 0.6 else 0.0,
            # Added to lip_thickness, which is as often thicker
            "lip_thinness": float(rng.uniform(0, 0.6)) if smiling else 0.0,
            "lip_paleness": float(rng.uniform(0, 0.8)) if smiling else 0.0,  # share of the skin's hue in theirs
        }
        self._rows = np.linspace(self._ROWS[0], self._ROWS[-1], 501)
        self._curves = [PchipInterpolator(self._ROWS, self.numbers[name])(self._rows) for name in ("widths", "heights")]

    def bent(self, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The point of the photo's face that a point of the new face comes from, in face coordinates."""
        n = self.numbers
        rows, (widths, heights) = self._rows, self._curves
        near = fall((np.abs(u) - 1.0) / 1.3)
        a, b, c, d, e, f, g, h = n["waves"]
        new_u = u * (1 + np.interp(v, rows, widths) * near)
        new_u = new_u + near * (a * np.sin(2.1 * v + 9 * b) + c * np.sin(3 * u + 9 * d))
        new_v = v + near * (np.interp(v, rows, heights) + e * np.sin(2.4 * u + 9 * f) + g * np.sin(3 * v + 9 * h))
        u, v = new_u, new_v
        mouth = np.exp(-((u / 0.75) ** 2) - ((v - 1) / 0.4) ** 2)
        lips = np.exp(-((u / 0.6) ** 2) - ((v - 1) / 0.2) ** 2)
        nose = np.exp(-((u / 0.3) ** 2) - ((v - 0.5) / 0.3) ** 2)
        # A smile widens the mouth
        new_u = u * (1 + (n["mouth_width"] - 1.5 * n["smile"]) * mouth + n["nose"] * nose)
        corners = (u / 0.4) ** 2 * np.exp(-((u / 0.6) ** 4) - ((v - 1) / 0.35) ** 2)
        new_v = v + (v - 1) * (n["lip_thickness"] + n["lip_thinness"]) * lips + n["smile"] * corners
        for side in (-0.44, 0.44):
            eye = n["eyes"] * np.exp(-(((u - side) / 0.25) ** 2) - (v / 0.22) ** 2)
            new_u, new_v = new_u + (u - side) * eye, new_v + v * eye
        return new_u, new_v

    def moved(self, points: np.ndarray) -> np.ndarray:
        """The places in the new face of points (n, 2) of the photo's face, in face coordinates."""
        points = np.asarray(points, float)
        found = points.copy()
        for _ in range(40):
            found = found + 0.8 * (points - np.stack(self.bent(*found.T), 1))
        return found

    def shape(
        self, photo: np.ndarray, axes: Axes, placed: Axes | None = None, border: int = cv2.BORDER_REFLECT
    ) -> np.ndarray:
        """The photo with the new face's shape, (H, W, 3) uint8.

        Args:
            axes: of its face.
            placed: axes of the new face; None: those of the photo's face.
            border: cv2's border mode beyond the photo.
        """
        height, width = photo.shape[:2]
        step = 4  # pixels between two computed places; this is enough, as the change is smooth
        u, v = (placed or axes).grid((height + 2 * step, width + 2 * step))
        coarse = self.bent(u[::step, ::step], v[::step, ::step])
        # Sample i of the coarse grid is pixel 4 i.
        matrix = np.array([[step, 0, 0], [0, step, 0]], float)
        u, v = (cv2.warpAffine(np.float32(c), matrix, (width, height)) for c in coarse)
        x, y = (axes.matrix[i, 0] * u + axes.matrix[i, 1] * v + axes.origin[i] for i in range(2))
        return cv2.remap(photo, np.float32(x), np.float32(y), cv2.INTER_CUBIC, borderMode=border)

    def colour(self, photo: np.ndarray, axes: Axes) -> np.ndarray:
        """The photo with the new colours and light, (H, W, 3) uint8."""
        return Complexion(self.numbers, photo, axes).apply(photo, axes)


class Complexion:
    """A person's colours and light, for one photo or for all frames of a clip.

    Args:
        numbers: of a `Person`.
        photo: (H, W, 3) uint8 BGR; its cheeks tell how to reach the new colours.
        axes: of its face.
    """

    def __init__(self, numbers: dict, photo: np.ndarray, axes: Axes):
        self.numbers = numbers
        small, lab, u, v = self._halved(photo, axes)
        cheeks = (np.abs(np.abs(u) - 0.5) < 0.14) & (np.abs(v - 0.6) < 0.16)
        self._cheek_lab = np.median(lab[cheeks], axis=0) if cheeks.any() else lab.mean((0, 1))
        cheek = np.median(small[cheeks], axis=0) if cheeks.any() else small.mean((0, 1))
        target = cheek
        if numbers["skin"] is not None:
            target = [np.interp(numbers["skin"], np.arange(len(SKINS)), SKINS[:, c]) for c in range(3)]
        self._target, cheek = np.clip(target * np.exp(numbers["tint"]), 12, 243), np.clip(cheek, 12, 243)
        # A power of each channel takes the cheek to its new colour, and leaves black and white as they are. If the
        # colour is too far away for the power alone, a gain does the rest.
        self._powers = np.clip(np.log(self._target / 255) / np.log(cheek / 255), 0.5, 1.7)
        self._gains = self._target / (255 * (cheek / 255) ** self._powers)
        self._power = 2.0 ** numbers["gamma"]
        if cheeks.any():  # the face stays visible under any light
            lit = self._lit(photo, axes, None)
            bright = np.clip(np.median(lit[::2, ::2][cheeks]) / 255, 0.05, 0.95)
            self._power = np.log(np.clip(bright**self._power, 0.24, 0.85)) / np.log(bright)

    def apply(self, photo: np.ndarray, axes: Axes, texture: np.ndarray | None = None) -> np.ndarray:
        """A photo of the same face in the same light, with the new colours and light, (H, W, 3) uint8.

        Args:
            texture: (H, W, 3) float32, a factor for the skin, but not for the lips.
        """
        result = self._lit(photo, axes, texture)
        return cv2.LUT(result, np.rint(255 * (np.arange(256) / 255) ** self._power).astype(np.uint8))

    @staticmethod
    def _halved(photo, axes):
        """The photo, its L*a*b* and its face coordinates at half the resolution."""
        half = (photo.shape[1] + 1) // 2, (photo.shape[0] + 1) // 2
        u, v = (cv2.resize(values, half) for values in axes.grid(photo.shape))
        small = cv2.resize(photo, half, interpolation=cv2.INTER_AREA)
        return small, cv2.cvtColor(small, cv2.COLOR_BGR2LAB).astype(np.float32), u, v

    def _masks(self, lab, u, v, shape, axes):
        """Masks of skin and lips, (H, W, 1) each. Skin is the face, and what near it has the cheeks' colour. Lips are
        around the mouth and redder.
        """
        cheek_lab = self._cheek_lab
        apart = np.hypot(lab[..., 1] - cheek_lab[1], lab[..., 2] - cheek_lab[2])
        skin = fall((apart - 12) / 12) * fall((np.hypot(u / 1.3, (v - 0.8) / 2.0) - 0.8) / 0.5)
        skin = skin * ramp((lab[..., 0] - 0.30 * cheek_lab[0]) / (0.35 * cheek_lab[0]))
        skin = np.maximum(skin, fall((np.hypot(u / 0.9, (v - 0.55) / 1.2) - 0.72) / 0.3))
        about_mouth = fall((np.hypot(u / 0.62, (v - 1.02) / 0.36) - 0.75) / 0.25)
        lips = about_mouth * ramp((lab[..., 1] - cheek_lab[1] - 2) / 8)
        skin, lips = (cv2.GaussianBlur(mask, (0, 0), 0.01 * axes.unit + 0.5) for mask in (skin, lips))
        full = shape[1::-1]
        return (cv2.resize(mask, full, interpolation=cv2.INTER_LINEAR)[..., None] for mask in (skin, lips))

    def _lit(self, photo, axes, texture):
        n = self.numbers
        _, lab, u, v = self._halved(photo, axes)
        skin, lips = self._masks(lab, u, v, photo.shape, axes)
        new_skin = _changed(photo, self._powers, self._gains)
        mix = n["rest_mix"] * np.array(n["rest_weights"]) + (1 - n["rest_mix"]) * np.eye(3)
        result = _changed(photo, 2.0 ** np.array(n["rest"])) @ np.float32(mix)
        lip_gains = np.exp(np.clip(n["lips"], [-0.2, -0.2, -0.08], 0.15)).astype(np.float32)
        grey = np.float32([0.114, 0.587, 0.299])
        if n["lip_paleness"]:
            pale = np.float32(self._target / (self._target @ grey)) * (new_skin @ grey)[..., None]
            new_skin += (pale - new_skin) * (np.float32(n["lip_paleness"]) * lips)
        if texture is not None:
            new_skin *= 1 + (texture - 1) * (1 - lips)
        result += (new_skin * (1 + (lip_gains - 1) * lips) - result) * skin

        # Contrast and saturation, and light from one side, as on a round head.
        saturation, contrast = np.float32(n["saturation"]), np.float32(math.exp(n["contrast"]))
        saturate = (saturation * np.eye(3, dtype=np.float32) + (1 - saturation) * grey) * contrast
        result = cv2.transform(result, np.column_stack([saturate, np.full(3, 128 * (1 - contrast))]))
        x, y, strength = n["light"]
        side = np.tanh(0.9 * (x * u + y * (v - 0.6) * 0.6))
        gain = np.exp(side[..., None] * (strength + np.array(n["light_tint"])) - 0.4 * strength).astype(np.float32)
        result = np.clip(result * cv2.resize(gain, photo.shape[1::-1], interpolation=cv2.INTER_LINEAR), 0, 255)
        return np.rint(result).astype(np.uint8)


def _changed(photo, powers, gains=1.0):
    """Each channel to a power, times a gain, float32."""
    table = 255 * (np.arange(256) / 255)[:, None] ** np.asarray(powers) * gains
    return cv2.LUT(photo, np.rint(table.clip(0, 255)).astype(np.uint8)[None]).astype(np.float32)
