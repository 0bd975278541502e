"""The identity frame for a face in a video: one of the same person, in the same pose, whose mouth rests.

A generator that moves the identity frame's pixels leaves a mouth open that is open there. So with the frame itself, as
the original takes it, a person who speaks in the video would go on mouthing what they said. In its training the
identity frame is any other of the clip.
"""

import dataclasses
from typing import NamedTuple

import cv2
import numpy as np

from ..config import lower_half
from ..face import cropping
from ..face.aperture import mouth_aperture
from ..face.tracking import TrackedFace

MOST, MOST_TRACKS = 4, 8  # frames of a track that are kept, and tracks
# How far eyes and nose are apart in two crops, as a share of the side: up to ALIKE it is the same pose, beyond FAR the
# one frame is of no use for the other.
ALIKE, FAR = 0.03, 0.08
# Nor is it beyond these: the ratio of the sizes, and grey levels between the upper halves, which another person or
# another light changes.
SIZE, LIGHT = 1.25, 20.0
# In units of `mouth_aperture`: what a pose as different as the whole side would cost; by how much a mouth must be more
# shut for its frame to be taken in place of another that is used.
POSE, BETTER = 2.0, 0.05
BLURRED = 0.7  # of another frame's detail: less of it is a blur, in which a mouth looks shut
MARGIN = 0.25  # of the box, that is kept around it
COVERED = 0.5  # a face of less strength is covered, or was a moment ago, or is at an edge or an end of what shows it


class Seen(NamedTuple):
    """A face in a frame.

    Attributes:
        image: (H,W,3) uint8, the frame, or the part of it about the face.
        face: where it is in the image.
        crop: (S,S,3) uint8, of the face.
    """

    image: np.ndarray
    face: TrackedFace
    crop: np.ndarray


class Look(NamedTuple):
    """What a face looks like but for its mouth.

    Attributes:
        pose: (3,2) float32, eyes and nose as shares of the crop's side.
        side: of the crop, pixels of the image.
        upper: (h,w,3) float32, the upper half of the crop, small.
    """

    pose: np.ndarray
    side: float
    upper: np.ndarray

    def apart(self, other: "Look") -> float:
        """How far eyes and nose are apart; infinite where one is of no use for the other."""
        ratio = max(self.side, other.side) / max(min(self.side, other.side), 1e-6)
        if ratio > SIZE or np.abs(self.upper - other.upper).mean() > LIGHT:
            return np.inf
        return float(np.hypot(*(self.pose - other.pose).T).max())


class Reference(NamedTuple):
    """A frame that is kept.

    Attributes:
        seen: the face, in a part of the frame.
        look: of the face.
        opening: of the mouth, see `mouth_aperture`.
        detail: of the face above the mouth.
    """

    seen: Seen
    look: Look
    opening: float
    detail: float


class References:
    """Of each track some frames whose mouth rests, from those that were looked at."""

    def __init__(self):
        self._tracks: dict[int, list[Reference]] = {}  # the one that was used last comes last

    def look(self, seen: Seen) -> None:
        """Keep the frame if its mouth is more shut than in those that are kept of this look, or sharper.

        A face that comes in or is covered, or whose mouth is beyond the image's edge, is not kept. When something comes
        before a face or goes away, all are forgotten: a hand that was there from the first frame on looks like a mouth
        that rests.
        """
        kept, look = self._tracks.pop(seen.face.track, []), _look(seen)
        if seen.face.strength < COVERED:
            kept = []
        if seen.face.strength == 1 and _inside(seen):
            opening, detail = _mouth(seen)
            alike = [one for one in kept if one.look.apart(look) <= ALIKE]
            shut = all(opening < one.opening - BETTER and detail >= BLURRED * one.detail for one in alike)
            if shut or all(BLURRED * detail > one.detail for one in alike):  # a blur's opening tells nothing
                others = [one for one in kept if one.look.apart(look) > ALIKE]
                kept = [Reference(_part(seen), look, opening, detail), *others]
                if len(kept) > MOST:
                    del kept[1]  # longest unused
        self._tracks[seen.face.track] = kept
        for track in list(self._tracks)[:-MOST_TRACKS]:
            del self._tracks[track]

    def __call__(self, seen: Seen) -> Seen:
        """The face that the generator is to move; the frame's own where no other is alike."""
        kept, look = self._tracks.get(seen.face.track, []), _look(seen)
        apart = {number: one.look.apart(look) for number, one in enumerate(kept)}
        fit = [number for number in apart if apart[number] <= FAR]
        if not fit:
            return seen
        last = len(kept) - 1
        best = min(fit, key=lambda n: kept[n].opening + POSE * apart[n] + BETTER * (n != last))
        kept.append(kept.pop(best))
        return kept[-1].seen


def _look(seen) -> Look:
    _, face, crop = seen
    upper = cv2.resize(crop[: lower_half(len(crop))], (16, 8), interpolation=cv2.INTER_AREA).astype(np.float32)
    pose = cropping.to_crop(face.face.landmarks[:3], face.box, 1, face.angle)
    return Look(pose, float(np.max(face.box[2:] - face.box[:2])), upper)


def _mouth(seen) -> tuple[float, float]:
    """How open a mouth is, and how much detail the face has above it."""
    _, face, crop = seen
    landmarks = cropping.to_crop(face.face.landmarks, face.box, len(crop), face.angle)
    upper = cv2.cvtColor(crop[: lower_half(len(crop))], cv2.COLOR_BGR2GRAY)  # an open mouth has detail of its own
    return float(mouth_aperture(crop[None], landmarks[None])[0]), float(cv2.Laplacian(upper, cv2.CV_32F).std())


def _inside(seen) -> bool:
    """Whether the face's mouth, and as much below it as it is wide, lies in the image."""
    left, right = seen.face.face.landmarks[3:]
    reach = np.hypot(*(right - left))
    middle, size = (left + right) / 2, np.array(seen.image.shape[1::-1])
    return bool((middle >= reach).all() and (middle <= size - reach).all())


def _part(seen) -> Seen:
    """The face in the part of the image about it: a video's frames are too large to keep."""
    image, face, _ = seen
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
    return seen._replace(image=part, face=dataclasses.replace(face, face=found, box=face.box - np.tile(first, 2)))
