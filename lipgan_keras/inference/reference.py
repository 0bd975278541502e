"""The identity frame for a face in a video: one of the same person, in the same pose, whose mouth rests.

A generator that moves the identity frame's pixels leaves a mouth open that is open there. So with the frame itself, as
the original takes it, a person who speaks in the video would go on mouthing what they said. In its training the
identity frame is any other of the clip.
"""

import dataclasses
from typing import NamedTuple

import numpy as np

from ..config import IMG_SIZE
from ..face import cropping
from ..face.aperture import mouth_aperture

MOST, MOST_PEOPLE = 6, 64  # frames of a person that are kept, and people
# How far eyes and nose are apart in two crops, as a share of the side: up to ALIKE it is the same pose, beyond FAR the
# one frame is of no use for the other.
ALIKE, FAR = 0.03, 0.08
# In units of `mouth_aperture`: what a pose as different as the whole side would cost; by how much a mouth must be more
# shut for its frame to be taken in place of another that is used.
POSE, BETTER = 2.0, 0.05
MARGIN = 0.25  # of the box, that is kept around it


class Reference(NamedTuple):
    """A frame that is kept.

    Attributes:
        image: (h,w,3) uint8, the part of the frame about the face.
        face: a `tracking.TrackedFace` in that part.
        pose: (3,2) float32, eyes and nose as shares of the crop's side.
        opening: of the mouth, see `mouth_aperture`.
    """

    image: np.ndarray
    face: "object"
    pose: np.ndarray
    opening: float


class References:
    """Of each person some frames whose mouth rests, from those that were looked at."""

    def __init__(self):
        self._people: dict[int, list[Reference]] = {}
        self._used: dict[int, Reference] = {}

    def look(self, image: np.ndarray, face) -> None:
        """Keep the frame if its mouth is more shut than in those that are kept of this pose.

        Args:
            image: (H,W,3) uint8.
            face: a `tracking.TrackedFace`.
        """
        pose = _pose(face)
        kept = self._people.pop(face.track, [])
        alike = [one for one in kept if _apart(one.pose, pose) <= ALIKE]
        opening = _opening(image, face)
        if all(opening < one.opening - BETTER for one in alike):
            kept = [one for one in kept if all(one is not other for other in alike)][1 - MOST :]
            kept.append(Reference(*_part(image, face), pose, opening))
        self._people[face.track] = kept
        for track in list(self._people)[:-MOST_PEOPLE]:
            del self._people[track]
            self._used.pop(track, None)

    def __call__(self, image: np.ndarray, face) -> tuple[np.ndarray, object]:
        """The image and the face in it that the generator is to move; the frame's own where no other is alike."""
        pose, used = _pose(face), self._used.get(face.track)
        fit = [one for one in self._people.get(face.track, []) if _apart(one.pose, pose) <= FAR]
        if not fit:
            return image, face
        best = min(fit, key=lambda one: one.opening + POSE * _apart(one.pose, pose) + BETTER * (one is not used))
        self._used[face.track] = best
        return best.image, best.face


def _pose(face):
    return cropping.to_crop(face.face.landmarks[:3], face.box, 1, face.angle)


def _apart(one, other) -> float:
    return float(np.hypot(*(one - other).T).max())


def _opening(image, face) -> float:
    crop = cropping.extract(image, face.box, IMG_SIZE, face.angle)
    landmarks = cropping.to_crop(face.face.landmarks, face.box, IMG_SIZE, face.angle)
    return float(mouth_aperture(crop[None], landmarks[None])[0])


def _part(image, face) -> tuple[np.ndarray, object]:
    """The part of an image about a face, and the face in it: a video's frames are too large to keep."""
    margin = MARGIN * (face.box[2:] - face.box[:2])
    size = np.array(image.shape[1::-1])
    first = np.clip(np.floor(face.box[:2] - margin), 0, size - 1).astype(int)
    last = np.clip(np.ceil(face.box[2:] + margin).astype(int), first + 1, size)
    found = dataclasses.replace(
        face.face,
        box=(face.face.box - np.tile(first, 2)).astype(np.float32),
        landmarks=(face.face.landmarks - first).astype(np.float32),
    )
    part = image[first[1] : last[1], first[0] : last[0]].copy()
    return part, dataclasses.replace(face, face=found, box=face.box - np.tile(first, 2))
