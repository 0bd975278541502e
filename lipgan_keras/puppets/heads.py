"""Clips of 3D heads: photos whose mouths a face model moves, by the phones of their speech."""

import dataclasses
import functools
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..face import cropping, smoothing
from . import fitting, photos
from .face_model import FaceModel
from .fitting import Fit
from .head import Head
from .recast import MadeUp
from .speech import FPS
from .utterance import Utterance

# How far speech opens a jaw and draws the lips apart: as the widest mouths of GRID's speakers, 8 to 9 % of the face's
# width.
_JAW, _DRAWN = 0.62, 0.8
# Of a smile, at rest: between these limits each. The upper teeth show, the lower ones hardly.
_SMILE = {"smile": (0.6, 1.0), "upper_up": (0.45, 0.95), "lower_down": (0.25, 0.55), "jaw": (0.0, 0.12)}
_SHUT = 1 / 3  # share of the smiles whose lips are shut, but where speech parts them
_WIDE_OPEN = 0.11  # of the face's width: an opening of 1


@dataclasses.dataclass(frozen=True)
class Crops:
    """What a clip of crops holds.

    Attributes:
        images: (size, size, 3) uint8 BGR each.
        landmarks: (n, 5, 2) in pixels of the crops.
        boxes: (n, 4) of the crops in frame or photo.
        truth: arrays to keep beside the clip.
    """

    images: Sequence[np.ndarray]
    landmarks: np.ndarray
    boxes: np.ndarray
    truth: dict[str, np.ndarray]


@dataclasses.dataclass
class HeadLook:
    """A photo and how the model lies on it; small enough to be handed to processes.

    Attributes:
        name: the clips' folder.
        photo: (H, W, 3) uint8 BGR.
        fit: of the model.
        path: of the model.
    """

    name: str
    photo: np.ndarray
    fit: Fit
    path: str

    @classmethod
    def load(cls, photo: str | os.PathLike, path: str | os.PathLike) -> "HeadLook":
        """The largest face of a photo; of a video, of the frame with the lips shut most.

        Raises:
            UserError: no face, one that the model does not fit, no such model, or a file that cannot be read.
        """
        file = Path(photo)
        model = load_model(os.fspath(path))
        image, face = photos.find_face(file)
        fit = fitting.fit_photo(image, model, np.asarray(face.landmarks, float) - 0.5, str(file))
        return cls("_".join(file.stem.split()), image, fit, os.fspath(path))


@functools.lru_cache(maxsize=2)
def load_model(path: str) -> FaceModel:
    return FaceModel.load(path)


_heads: dict[tuple, Head] = {}  # the last one that this process made


def _head(look, size) -> Head:
    key = look.name, look.path, size
    if key not in _heads:
        _heads.clear()
        _heads[key] = Head(look.photo, look.fit, load_model(look.path), size)
    return _heads[key]


class HeadTake:
    """One clip of a 3D head before it is written.

    Args:
        look: whose photo.
        sound: what it says.
        rng: decides how the head moves, and who it is.
        varied: move the head more.
        size: of the frames, pixels.
        made_up: make a person up; of crops alone.
        smiles: it speaks with a smile, that shows its teeth or not.
    """

    fps = FPS

    def __init__(
        self,
        look: HeadLook,
        sound: Utterance,
        rng: np.random.Generator,
        varied: bool,
        size: int,
        made_up: bool,
        smiles: bool = False,
    ):
        self.head = _head(look, size)
        self.size, self.wave = size, sound.wave
        amount = {"jaw": _JAW, "lower_down": _DRAWN, "upper_up": _DRAWN}
        curves = {name: curve * np.float32(amount.get(name, 1.0)) for name, curve in sound.controls.items()}
        smile = {name: float(rng.uniform(*limits)) for name, limits in _SMILE.items()} if smiles else {}
        if smiles:
            if rng.spawn(1)[0].random() < _SHUT:  # a child's draw: the head moves as it would with the other smile
                smile = {name: value if name == "smile" else 0.0 for name, value in smile.items()}
            curves |= _smiling(curves, smile)
        self.controls = [dict(zip(curves, map(float, row), strict=True)) for row in zip(*curves.values(), strict=True)]
        frames = len(self.controls)
        self.turns = _turns(frames, rng, 1.0 if varied else 0.3)
        self.made_up = MadeUp(rng) if made_up else None
        if self.made_up is not None:
            self.made_up.listens = False
        self.numbers = {} if self.made_up is None else {"made_up": self.made_up.numbers}
        self.numbers |= {"smile": smile} if smiles else {}
        self.opening = sound.opening

    def frame(self, i: int) -> np.ndarray:
        """(size, size, 3) uint8 BGR."""
        return self.head.render(self.controls[i], self.turns[i])

    def truth(self) -> dict[str, np.ndarray]:
        """What there is to see in `frame`, frame by frame; see `Head.truth`. Masks are packed bits."""
        return self._arrays([self.head.truth(*at) for at in zip(self.controls, self.turns, strict=True)])

    def _arrays(self, rows):
        arrays = {key: np.array([row[key] for row in rows]) for key in rows[0]}
        corners = arrays["landmarks68"][:, [48, 54]] + 0.5
        return {
            "opening": np.clip(arrays["aperture"] / _WIDE_OPEN, 0, 1).astype(np.float32),
            "width": arrays["width"].astype(np.float32),
            "aperture": arrays["aperture"].astype(np.float32),
            "protrusion": arrays["protrusion"].astype(np.float32),
            "fps": self.fps,
            "corners": corners.astype(np.float32),
            "landmarks": (arrays["landmarks"] + 0.5).astype(np.float32),
            "landmarks68": (arrays["landmarks68"] + 0.5).astype(np.float32),
            "lips": np.packbits(arrays["lips"], axis=-1),
            "teeth": np.packbits(arrays["teeth"], axis=-1),
        }

    def crops(self, img_size: int) -> Crops:
        """Those of all frames, and their truth in pixels of the crops."""
        seen = [self.head.landmarks(*at) for at in zip(self.controls, self.turns, strict=True)]
        five = smoothing.smoothed(np.array([points for _, points in seen]) + 0.5)
        boxes = [cropping.landmarks_box(points) for points in smoothing.steadied(five)]
        at = zip(self.controls, self.turns, boxes, strict=True)
        drawn = [self.head.render_with_truth(controls, turn, box, img_size) for controls, turn, box in at]
        images = [image for image, _ in drawn]
        landmarks = np.stack([cropping.to_crop(p, box, img_size) for p, box in zip(five, boxes, strict=True)])
        truth = self._arrays([row for _, row in drawn])
        if self.made_up is not None:
            points = np.concatenate([landmarks, truth["landmarks68"]], axis=1)
            masks = [np.uint8(255) * np.stack([row["lips"], row["teeth"]], axis=-1) for _, row in drawn]
            images, points, masks = self.made_up.frames(images, points, masks)
            landmarks, marks = points[:, :5], points[:, 5:]
            truth |= {"landmarks": landmarks, "landmarks68": marks, "corners": marks[:, [48, 54]]}
            lips, teeth = np.moveaxis(np.array(masks) >= 128, -1, 0)
            truth |= {"lips": np.packbits(lips, axis=-1), "teeth": np.packbits(teeth, axis=-1)}
            self.wave = self.made_up.say(self.wave)
        return Crops(images, landmarks, np.array(boxes), truth)


def _smiling(curves, smile) -> dict[str, np.ndarray]:
    """The curves that a smile changes. Lips that meet hide the teeth, and rounded lips smile less."""
    meet = np.maximum(curves["close"], curves["roll_lower"])
    less = (1 - 0.5 * np.maximum(curves["pucker"], curves["funnel"])) * (1 - 0.25 * meet)
    parted = {name: smile[name] * less * (1 - meet) for name in ("upper_up", "lower_down", "jaw")}
    changed = {name: np.maximum(curves[name], value) for name, value in parted.items()}
    return changed | {"smile": smile["smile"] * less}


def _turns(frames, rng, liveliness):
    """(frames, 3) degrees of yaw, pitch and roll: a head that moves slowly about a pose of its own."""
    time = np.arange(frames) / FPS
    amounts = np.array([7.0, 4.0, 3.0]) * liveliness * rng.uniform(0.2, 1.0)
    pose = np.clip(rng.normal(0, 1, 3), -2, 2) * np.array([8.0, 3.0, 2.0]) * liveliness
    rates, phases = rng.uniform(0.08, 0.6, (2, 3)), rng.random((2, 3))
    moves = np.sin(2 * np.pi * (rates * time[:, None, None] + phases)).sum(1) / 1.4
    return pose + amounts * moves
