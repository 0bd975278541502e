"""How faces are looked for: at which turn of the picture, and how small.

The detector knows upright faces, tilted by up to about 45 degrees. In a face that stands on its head it often sees
another one, whose mouth is the forehead. So where no sure face is upright, the picture is tried at all four turns.
A turn counts quarters, clockwise, by which the picture must be turned for its faces to be upright.
"""

import itertools
import math
import os
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..media import video_reader
from . import detector
from .detector import Face

SURE = 6.0  # likeness from which on no turn need be tried; two of three upright faces have it, 1 of 100 others
LIKELY = 3.5  # of faces that a picture may be turned for
AHEAD = 1.0  # by which those must be the likelier ones
PROBES = (6, 48)  # frames, spread over a video, that are tried where its first one is not sure
BATCH = 12
TRIED = 4  # of these frames, at all turns
SMALL_FACE = 32  # pixels; what is narrower holds hardly a mouth


def likeness(face: Face) -> float:
    """How much a find is like an upright face: the log-odds of its score, less what its landmarks have amiss.

    That is a nose that lies near the mouth or the eyes, or far aside, eyes that are one above the other, a tilt of
    over 45 degrees. Faces of nine clips and a photo, tilted by up to 45 degrees, have 1.2 to 11.5, 6.8 in the median.
    Mouths that are seen in their foreheads, and the like, at other turns have -10.7 to 6.1, 1.4 in the median.
    """
    points = np.asarray(face.landmarks, np.float64)
    eyes, mouth = points[:2].mean(0), points[3:].mean(0)
    length = max(float(np.hypot(*(mouth - eyes))), 1e-6)
    down = (mouth - eyes) / length
    across = np.array([down[1], -down[0]])
    along, aside = (float((points[2] - eyes) @ axis) / length for axis in (down, across))
    apart = float((points[1] - points[0]) @ across) / length
    amiss = max(0, along - 0.6) + max(0, 0.38 - along) + max(0, abs(aside) - 0.25) + max(0, 0.75 - apart)
    amiss += max(0, abs(math.degrees(math.atan2(down[0], down[1]))) - 45) / 50
    score = min(max(face.score, 1e-5), 1 - 1e-5)
    return math.log(score / (1 - score)) - 10 * amiss


def turned(image: np.ndarray, turn: int) -> np.ndarray:
    """The image (H,W,3), turned by so many quarters clockwise."""
    return np.ascontiguousarray(np.rot90(image, -turn)) if turn % 4 else image


def turned_back(face: Face, turn: int, size: tuple[int, int]) -> Face:
    """A face found in the turned image, as it lies in the image itself, whose height and width are `size`.

    The first eye stays the one that is left in the turned image.
    """
    height, width = size
    if turn % 4 == 0:
        return face
    matrix, offset = {
        1: ([[0, 1], [-1, 0]], (0, height)),
        2: ([[-1, 0], [0, -1]], (width, height)),
        3: ([[0, -1], [1, 0]], (width, 0)),
    }[turn % 4]
    landmarks, corners = (
        (points @ np.transpose(matrix) + offset).astype(np.float32)
        for points in (face.landmarks, face.box.reshape(2, 2))
    )
    return replace(face, box=np.concatenate([corners.min(0), corners.max(0)]), landmarks=landmarks)


def detect(images: Sequence[np.ndarray], turn: int = 0, small: bool = False) -> list[list[Face]]:
    """`detector.detect` in turned images: the faces as they lie in the images themselves.

    Args:
        images: (height, width, 3) BGR uint8 each.
        turn: of all of them.
        small: look on for the small faces beside large ones, down to SMALL_FACE pixels; slower.
    """
    tried = [turned(image, turn) for image in images]
    found = detector.detect(tried)
    for size in _fine_sizes(images) if small else ():
        for faces, finer in zip(found, detector.detect_at(tried, size), strict=True):
            faces += [face for face in finer if likeness(face) >= LIKELY and not any(_meet(face, f) for f in faces)]
    return [
        [turned_back(face, turn, image.shape[:2]) for face in faces] for image, faces in zip(images, found, strict=True)
    ]


def _fine_sizes(images) -> list[int]:
    """Working sizes: the detector's last one, and the one at which a small face has the width that it can see."""
    longest = max((max(image.shape[:2]) for image in images), default=0)
    coarse, fine = detector.WORKING_SIZES
    finest = round(longest * detector.SMALLEST / SMALL_FACE)
    return [fine] * (longest > coarse) + [finest] * (finest > fine)


def _meet(one, other) -> bool:
    """Whether boxes overlap, so that both finds are one face."""
    first, last = np.maximum(one.box[:2], other.box[:2]), np.minimum(one.box[2:], other.box[2:])
    return bool((last > first).all())


def find_turn(images: Sequence[np.ndarray], finely: bool = True) -> int | None:
    """The turn of some images of one file; None: they show no face. Without a likelier one it is 0.

    `finely`: look for small faces at every turn, and not at 0 alone; slower.
    """
    upright = detector.detect(images)
    if _sure(upright):
        return 0
    # Those that show anything first
    order = sorted(range(len(images)), key=lambda i: not upright[i])[:TRIED]
    likely = np.zeros((4, len(order)))
    for turn in range(4):
        tried = [turned(images[i], turn) for i in order]
        sizes = detector.WORKING_SIZES[: 2 if finely else 1]
        looks = [detector.detect_at(tried, size) for size in sizes] if turn else [[upright[i] for i in order]]
        for i, faces in enumerate(zip(*looks, strict=True)):
            likely[turn, i] = max((likeness(face) for face in itertools.chain(*faces)), default=0.0)
    likely = np.maximum(likely, 0)
    sums, seen = likely.sum(1), int((likely > 0).any(0).sum())
    best = int(sums.argmax())
    enough = (likely[best] >= LIKELY).sum() >= max(1, seen / 2)
    if enough and sums[best] > sums[0] + AHEAD * seen:
        return best
    return 0 if any(upright) else None


def turn_of(
    path: str | os.PathLike, start: float = 0.0, end: float = math.inf, probes: Sequence[int] = PROBES
) -> int | None:
    """The turn of a video or a still; None: no frame of those that were tried shows a face.

    Args:
        path: any file that `video_reader.sample_frames` reads.
        start, end: seconds of it.
        probes: frames that are tried, spread over it; the next number of them where those before show no face.

    Raises:
        UserError: as `video_reader.sample_frames`.
    """
    first = [frame.image for frame in video_reader.sample_frames(path, 1, start, end)]
    if first and _sure(detector.detect(first)):
        return 0
    for count in probes:
        frames = video_reader.sample_frames(path, count, start, end)
        while images := [frame.image for frame in itertools.islice(frames, BATCH)]:
            turn = find_turn(images, finely=count == probes[0])
            if turn is not None:
                return turn
    return None


def _sure(found) -> bool:
    return any(likeness(face) >= SURE for faces in found for face in faces)
