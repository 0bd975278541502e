"""Where a head is, and the camera that films it."""

import dataclasses
import math
from collections.abc import Sequence

import cv2
import numpy as np

from . import person


@dataclasses.dataclass(frozen=True)
class Place:
    """How a head is held in one frame.

    Attributes:
        shift: of the face from the frame's middle, pixels.
        angle: degrees clockwise.
        zoom: horizontal and vertical.
        turn: degrees, to the image's right and down; up to some 20.
    """

    shift: Sequence[float] = (0.0, 0.0)
    angle: float = 0.0
    zoom: Sequence[float] = (1.0, 1.0)
    turn: Sequence[float] = (0.0, 0.0)


@dataclasses.dataclass
class Pose:
    """How a head is held, frame by frame: each value of a `Place`, as (frames, ...)."""

    shift: np.ndarray
    angle: np.ndarray
    zoom: np.ndarray
    turn: np.ndarray

    def __getitem__(self, frame: int) -> Place:
        return Place(self.shift[frame], self.angle[frame], self.zoom[frame], self.turn[frame])

    @classmethod
    def drawn(cls, frames: int, fps: float, size: int, rng: np.random.Generator) -> "Pose":
        """A head that moves slowly about a pose of its own, by much or hardly at all."""
        time = np.arange(frames) / fps
        liveliness = 2.0 ** rng.uniform(-3, 0)

        def slow(amount):
            rates, phases = rng.uniform(0.08, 0.8, 3), rng.random(3)
            return liveliness * amount / 1.7 * np.sin(2 * np.pi * (rates * time[:, None] + phases)).sum(1)

        shift = rng.uniform(-0.05, 0.05, 2) * size + np.stack([slow(0.03 * size), slow(0.02 * size)], 1)
        angle = np.clip(rng.normal(0, 3), -8, 8) + slow(5.0)
        zoom = rng.uniform(0.85, 1.12) * rng.uniform(0.97, 1.03, 2) * (1 + slow(0.04))[:, None]
        yaw, pitch = np.clip(rng.normal(0, [6, 3]), [-14, -6], [14, 6])
        turn = np.stack([yaw + slow(8.0), pitch + slow(5.0)], 1)
        return cls(shift, angle, zoom, turn)


class Camera:
    """What a camera does to a face's image: lower resolution, blur, noise, and JPEG's losses.

    A part of a frame may be filmed alone. If it begins at multiples of 16 pixels, it comes out as in the whole frame,
    except a few pixels at its border.

    Args:
        rng: decides.
        good: less is lost. All losses but JPEG's are also rarer.
    """

    def __init__(self, rng: np.random.Generator, good: bool = False):
        often, much, worst = (0.3, 0.4, 60) if good else (1.0, 1.0, 25)
        self.numbers = {
            "reduced": float(rng.uniform(*((1.04, 1.48) if good else (1.1, 2.2))))
            if rng.random() < 0.4 * often
            else 1.0,
            "blur": much * float(rng.uniform(0.3, 1.3)) if rng.random() < 0.4 * often else 0.0,
            "noise": much * float(rng.uniform(1, 7)) if rng.random() < 0.6 * often else 0.0,
            "noise_grain": float(rng.uniform(0.0, 0.9)),
            "quality": int(rng.integers(worst, 90)) if rng.random() < 0.6 else None,
            "seed": int(rng.integers(2**31)),
        }
        self._field = None

    def __call__(self, image: np.ndarray, number: int, left: int = 0, top: int = 0) -> np.ndarray:
        """Frame `number`, or its part that begins at (left, top), as a new image: (H, W, 3) BGR uint8."""
        n = self.numbers
        height, width = image.shape[:2]
        if n["reduced"] > 1:
            factor = n["reduced"]
            first = [math.floor(left / factor), math.floor(top / factor)]
            size = [math.ceil((left + width) / factor) - first[0], math.ceil((top + height) / factor) - first[1]]
            matrix = np.array([[factor, 0, 0], [0, factor, 0]])
            matrix[:, 2] = (np.array(first) + 0.5) * factor - 0.5 - (left, top)
            image = cv2.GaussianBlur(image, (0, 0), 0.4 * factor)
            flags = {"borderMode": cv2.BORDER_REPLICATE}
            image = cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, **flags)
            image = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_CUBIC, **flags)
        if n["blur"]:
            image = cv2.GaussianBlur(image, (0, 0), n["blur"])
        if n["noise"]:
            at = np.random.default_rng([n["seed"], number]).integers(0, person.NOISE_FIELD, 2)
            image = cv2.add(image, self._noise(at[0] + left, at[1] + top, width, height), dtype=cv2.CV_8U)
        if n["quality"]:
            _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, n["quality"]])
            image = cv2.imdecode(data, cv2.IMREAD_COLOR)
        return image

    def _noise(self, left, top, width, height):
        if self._field is None:
            rng = np.random.default_rng(self.numbers["seed"])
            field = rng.standard_normal((person.NOISE_FIELD, person.NOISE_FIELD, 3), np.float32)
            grain = self.numbers["noise_grain"]
            if grain > 0.3:
                field = cv2.GaussianBlur(field, (0, 0), grain, borderType=cv2.BORDER_REPLICATE)
            field += 0.7 * field.mean(2, keepdims=True)
            self._field = np.rint(field * (self.numbers["noise"] / field.std())).astype(np.int16)
            self._field = np.tile(self._field, (2, 2, 1))
        left, top = left % person.NOISE_FIELD, top % person.NOISE_FIELD
        if max(width, height) <= person.NOISE_FIELD:
            return self._field[top : top + height, left : left + width]
        rows, columns = (
            np.arange(top, top + height) % person.NOISE_FIELD,
            np.arange(left, left + width) % person.NOISE_FIELD,
        )
        return self._field[rows[:, None], columns]
