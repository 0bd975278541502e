"""The face's own detail for a generated crop, from the image that it was cut out of.

A generator with the decoder `warp` moves pixels of the identity frame. What it moved in 96 or 192 pixels is moved again
at the size at which the face is seen: skin, beard and lips stay as sharp as they were.
What it painted stays as it is, but for teeth, see `paint`. At the corners of the mouth paint is too dark, so moved
pixels take its place there. A photo's own teeth are in `teeth`.
"""

import functools
import math
from collections.abc import Callable, Sequence

import cv2
import numpy as np

from ..config import lower_half
from ..face import cropping
from ..face.regions import between
from . import paint
from . import teeth as own_teeth
from .blend import face_axes
from .latest import Latest
from .motion import moved

LARGEST = 8  # times the generator's side

# Distances from the middle of the mouth, in halves of its width. Across the face paint shows in full up to the first of
# CORNERS, and not at all from the second on. Down the face this rule holds in full up to the first of BELOW, and not at
# all from the second on.
CORNERS = 0.6, 1.0
BELOW = 0.7, 1.2


def cropper(region: str, box: Sequence[float] | None, still: bool) -> Callable:
    """`crop_of` for one run, with what it keeps from frame to frame.

    With the region "face" what the generator made stays, as in the original. In a box that the user gives nobody looked
    for a mouth. The teeth of a video would come and go.
    """
    fitted = region != "face"
    return functools.partial(
        crop_of,
        cut=Latest(large_and_small),
        teeth=Latest(own_teeth.seen) if fitted and still else None,
        mouth_known=fitted and not box,
    )


def crop_of(
    image: np.ndarray,
    face,
    made: np.ndarray,
    motion: np.ndarray | None,
    cut: Callable | None = None,
    teeth: Callable | None = None,
    mouth_known: bool = True,
    origin: tuple | None = None,
) -> np.ndarray:
    """The generated crop, as large as the face where the generator says how it moved the face's pixels.

    Args:
        image: (H,W,3) uint8, the frame.
        face: a `tracking.TrackedFace`: landmarks, box and angle are used.
        made: (S,S,3) float32 in 0..1, what the generator made of the crop at `box` and `angle`.
        motion: (S,S,3) float32, see `motion.with_motion`; or None.
        cut: in place of `large_and_small`, such as a `Latest` of it.
        teeth: what finds the face's own teeth, such as a `Latest` of `teeth.seen`; None: they stay as generated.
        mouth_known: whether it is known where the mouth is. Then its corners are moved pixels, even where they were
            painted, and its painted teeth are recoloured, see `paint`.
        origin: the image and the face in it whose pixels are moved, see `reference`; None: the frame's own.

    Returns:
        (kS,kS,3) uint8, k whole.
    """
    size = len(made)
    result = made * np.float32(255)
    if motion is not None:
        times = max(1, min(LARGEST, math.ceil(float(np.max(face.box[2:] - face.box[:2])) / size - 0.1)))
        below = lower_half(size)
        first = below - 2  # above the lower half nothing is generated
        large, small = (cut or large_and_small)(*(origin or (image, face)), times, size)
        grown, small = motion[first:], moved(small, motion[first:], first)
        stays = np.ones(grown.shape[:2], np.float32)
        if mouth_known:
            landmarks = cropping.to_crop(face.face.landmarks, face.box, size, face.angle)
            result, mask = paint.recoloured(result, small, grown[..., 2], landmarks)
            grown = np.dstack([grown[..., :2], mask])
            stays[below - first :] = _stays_painted(landmarks, size)[below:]
            result[first:] = small + stays[..., None] * (result[first:] - small)
        if times > 1:
            grown, stays = (_enlarged(part, times, cv2.INTER_LINEAR) for part in (grown, stays))
            own = moved(large, grown, times * first)
            own -= _enlarged(small, times, cv2.INTER_CUBIC)
            share = 1 - stays * (1 - grown[..., 2])
            own *= cv2.merge([share] * 3)  # numpy is slow with a last axis of 3 that is spread
            result = _enlarged(result, times, cv2.INTER_CUBIC)
            result[times * below :] += own[times * (below - first) :]
        if teeth and (seen := teeth(image, face, times, size)):
            seen.keep(result, grown, times * first)
    return np.clip(np.rint(result, out=result), 0, 255, out=result).astype(np.uint8)


def large_and_small(image: np.ndarray, face, times: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The crop of a face, `times` as large as the generator's `size`, and as large."""
    large = cropping.extract(image, face.box, times * size, face.angle)
    return large, cv2.resize(large, (size, size), interpolation=cv2.INTER_AREA)


def _stays_painted(landmarks, size):
    """(S,S) float32 in 0..1: how much of what is painted stays; 0 at the corners of the mouth."""
    _, middle, across, down, _ = face_axes(landmarks)
    apart = np.abs((landmarks[4] - landmarks[3]) @ across)
    half = max(apart, np.hypot(*(middle - landmarks[2])), 1.0) / 2  # the mouth's width as in `lip_mask`
    at = np.arange(size) + 0.5
    x, y = at - middle[0], (at - middle[1])[:, None]
    beside = between(np.abs(x * across[0] + y * across[1]) / half, CORNERS)
    return np.float32(1 - beside * between(np.abs(x * down[0] + y * down[1]) / half, BELOW[::-1]))


def _enlarged(image, times, how):
    return cv2.resize(image, None, fx=times, fy=times, interpolation=how)
