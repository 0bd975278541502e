"""The face's own detail for a generated crop, from the image that it was cut out of.

A generator with the decoder `warp` moves pixels of the identity frame, which is the frame itself. What it moved in 96
or 192 pixels is moved again at the size at which the face is seen: skin, beard and lips stay as sharp as they were.
What it painted stays as it is; of teeth see `teeth`.
"""

import math
from collections.abc import Callable

import cv2
import numpy as np

from ..config import lower_half
from ..face import cropping
from .motion import moved

LARGEST = 8  # times the generator's side


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
        face: a `tracking.TrackedFace`: box and angle are used.
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
        first = lower_half(size) - 2  # above the lower half nothing is generated
        grown = motion[first:]
        if times > 1:
            large, small = (cut or large_and_small)(image, face, times, size)
            grown = _enlarged(motion[first:], times, cv2.INTER_LINEAR)
            own = moved(large, grown, times * first)
            own -= _enlarged(moved(small, motion[first:], first), times, cv2.INTER_CUBIC)
            own *= cv2.merge([grown[..., 2]] * 3)  # numpy is slow with a last axis of 3 that is spread
            result = _enlarged(result, times, cv2.INTER_CUBIC)
            result[times * (first + 2) :] += own[times * 2 :]
        if teeth and (seen := teeth(image, face, times, size)):
            seen.keep(result, grown, times * first)
    return np.clip(np.rint(result, out=result), 0, 255, out=result).astype(np.uint8)


def large_and_small(image: np.ndarray, face, times: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The crop of a face, `times` as large as the generator's `size`, and as large."""
    large = cropping.extract(image, face.box, times * size, face.angle)
    return large, cv2.resize(large, (size, size), interpolation=cv2.INTER_AREA)


def _enlarged(image, times, how):
    return cv2.resize(image, None, fx=times, fy=times, interpolation=how)
