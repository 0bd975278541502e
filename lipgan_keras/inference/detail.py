"""The face's own detail for a generated crop, from the image that it was cut out of.

A generator with the decoder `warp` moves pixels of the identity frame, which is the frame itself. What it moved in 96
or 192 pixels is moved again at the size at which the face is seen: skin, beard and lips stay as sharp as they were.
What it painted stays as it is, but for the corners of the mouth, where paint is dark and the lips that meet there are
the face's; of teeth see `teeth`.
"""

import math
from collections.abc import Callable

import cv2
import numpy as np

from ..config import lower_half
from ..face import cropping
from ..face.regions import between
from .motion import moved

LARGEST = 8  # times the generator's side

# In halves of the mouth's width, from its middle: along the line of the corners what is painted stays up to the first,
# and is moved in its place from the second on. Away from the line this ends between these two.
CORNERS = 0.6, 1.0
ASIDE = 0.7, 1.2


def crop_of(
    image: np.ndarray,
    face,
    made: np.ndarray,
    motion: np.ndarray | None,
    cut: Callable | None = None,
    teeth: Callable | None = None,
) -> np.ndarray:
    """The generated crop, as large as the face where the generator says how it moved the face's pixels.

    Args:
        image: (H,W,3) uint8, the frame.
        face: a `tracking.TrackedFace`: landmarks, box and angle are used.
        made: (S,S,3) float32 in 0..1, what the generator made of the crop at `box` and `angle`.
        motion: (S,S,3) float32, see `motion.with_motion`; or None.
        cut: in place of `large_and_small`, such as a `Latest` of it.
        teeth: what finds the face's own teeth, such as a `Latest` of `teeth.seen`; None: they stay as generated.

    Returns:
        (kS,kS,3) uint8, k whole.
    """
    size = len(made)
    result = made * np.float32(255)
    if motion is not None:
        times = max(1, min(LARGEST, math.ceil(float(np.max(face.box[2:] - face.box[:2])) / size - 0.1)))
        below = lower_half(size)
        first = below - 2  # above the lower half nothing is generated
        large, small = (cut or large_and_small)(image, face, times, size)
        grown, small = motion[first:], moved(small, motion[first:], first)
        stays = _stays_painted(face, size)[first:]
        stays[: below - first] = 1
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


def _stays_painted(face, size):
    """(S,S) float32 in 0..1: how much of what is painted stays; 0 at the corners of the mouth."""
    nose, left, right = cropping.to_crop(face.face.landmarks[2:], face.box, size, face.angle)
    middle, apart = (left + right) / 2, max(float(np.hypot(*(right - left))), 1.0)
    half = max(apart, float(np.hypot(*(middle - nose)))) / 2  # as in `lip_mask`
    at = np.arange(size, dtype=np.float32) + np.float32(0.5)
    x, y = at - middle[0], (at - middle[1])[:, None]
    along, below = (right - left) / apart, (left - right)[::-1] * (1, -1) / apart
    corner = between(np.abs(x * along[0] + y * along[1]) / half, CORNERS)
    return np.float32(1 - corner * between(np.abs(x * below[0] + y * below[1]) / half, ASIDE[::-1]))


def _enlarged(image, times, how):
    return cv2.resize(image, None, fx=times, fy=times, interpolation=how)
