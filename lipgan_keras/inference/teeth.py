"""The teeth of a photo that smiles: its own stay where they are while the mouth opens below them.

Upper teeth do not move with the jaw, and a crop hangs on eyes and nose, so that they have one place in it. A generator
has them grey where the lip that it moves leaves them. Where it painted the inside of a mouth, or moved a tooth to,
and the photo shows a tooth, the photo's own pixels stay.

Of a video this is not done: its mouth moves itself, and so teeth would come and go with what it said.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from ..face import cropping
from .latest import Latest

# Of the distance of the mouth's corners
ABOVE, BELOW = 0.25, 0.5  # where teeth are looked for, from the line between the corners
WIDTH = 0.35  # of a row of teeth at least: the shine on a lip is narrower
GAP = 0.06  # between two teeth, and into shadows
ROW = 0.26  # height of the upper row; below it may be the lower one, which goes with the jaw

# Logarithms of ratios to the middle colour about the mouth. Teeth are less red than skin and lips, whatever the
# light's colour, and hardly darker.
PALE = 0.45  # blue to red, as a share of the palest pixels'
BRIGHT = -0.18  # green
WHITE = -0.45  # blue to red itself; below it may be the shine on a lip, or the light of a yellow lamp
REDDER, DARKER, LIP = 0.12, 0.2, 0.12  # the lip above them, and as far as it is asked

# Shares of a pixel: none of it, and surely, inside of the mouth. Lips that meet leave the edge of a moved tooth.
PAINTED = 0.4, 0.6
MOVED = 0.55, 0.75


class Teeth(NamedTuple):
    """Upper teeth in a crop: (h,w,3) uint8 pixels, how surely each is a tooth, (h,w) float32 in 0..1, and where."""

    pixels: np.ndarray
    weight: np.ndarray
    rows: slice
    columns: slice


class OwnTeeth:
    """OwnTeeth()(image, face, crop, motion): a generated crop with the face's own upper teeth, for stills.

    Where the generator painted the inside of the mouth, or moved a tooth to, and the image shows an upper tooth, the
    image's pixel stays.

    Args:
        image: (H,W,3) uint8, the frame; the same object again and again.
        face: a `tracking.TrackedFace`; the same object again and again.
        crop: (kS,kS,3) uint8, k whole, what was generated at the face's box and angle.
        motion: (S,S,3) float32, see `motion.with_motion`; None: nothing is done.

    Returns:
        (kS,kS,3) uint8, a new array where something is done.
    """

    def __init__(self):
        self._seen = Latest(seen)

    def __call__(self, image: np.ndarray, face, crop: np.ndarray, motion: np.ndarray | None) -> np.ndarray:
        if motion is None:
            return crop
        teeth = self._seen(image, face, len(crop) // len(motion), len(motion))
        if teeth is None:
            return crop
        result, at = crop.copy(), (teeth.rows, teeth.columns)
        motion = cv2.resize(motion, crop.shape[1::-1], interpolation=cv2.INTER_LINEAR)[at]
        inside = np.maximum(_ramp(1 - motion[..., 2], PAINTED), _ramp(_moved(teeth.weight, motion, len(crop)), MOVED))
        weight = (teeth.weight * inside)[..., None]
        result[at] = np.rint(crop[at] + weight * (teeth.pixels.astype(np.float32) - crop[at]))
        return result


def seen(image: np.ndarray, face, times: int, size: int) -> Teeth | None:
    """The upper teeth in the crop of a face; None where none are seen.

    Args:
        image: (H,W,3) uint8.
        face: a `tracking.TrackedFace`: landmarks, box and angle are used.
        times, size: the crop is `times` as large as `size`, the generator's.
    """
    size *= times
    crop = cropping.extract(image, face.box, size, face.angle)
    points = cropping.to_crop(face.face.landmarks, face.box, size, face.angle)
    left, right = sorted(points[3:5], key=lambda point: point[0])
    width = float(np.hypot(*(right - left)))
    middle = (left[1] + right[1]) / 2
    rows = _span(middle - ABOVE * width, middle + BELOW * width, size)
    columns = _span(left[0], right[0], size)
    pixels = crop[rows, columns]
    if width < 8 or not pixels.size:
        return None
    blue, green, red = np.moveaxis(np.log(np.maximum(pixels, 1, dtype=np.float32)), -1, 0)
    pale, bright = blue - red, green - np.median(green)
    white = pale > WHITE
    pale -= np.median(pale)
    palest = np.percentile(pale, 98)
    likely = white & (pale > PALE * palest) & (bright > BRIGHT)
    weight = _upper_row(likely, pale, bright, width)
    return None if weight is None else Teeth(pixels, weight, rows, columns)


def _moved(weight, motion, size):
    """How far each pixel shows a tooth that the generator moved there."""
    y, x = np.indices(weight.shape, dtype=np.float32)
    x += motion[..., 0] * np.float32(size / 8)
    y += motion[..., 1] * np.float32(size / 8)
    return motion[..., 2] * cv2.remap(weight, x, y, cv2.INTER_LINEAR)


def _upper_row(likely, pale, bright, width):
    """(h,w) float32 in 0..1: of the pieces that may be teeth the widest one below a lip, and of it the upper row; None
    where there is none.
    """
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(likely.astype(np.uint8), connectivity=8)
    for number in sorted(range(1, count), key=lambda n: -boxes[n, cv2.CC_STAT_WIDTH]):
        left, top, wide, high, _ = boxes[number]
        piece = labels == number
        # What touches an edge is a beard, or skin.
        inside = 0 < left < piece.shape[1] - wide and 0 < top < len(piece) - high
        if inside and wide >= WIDTH * width and _below_a_lip(piece, pale, bright, width):
            gap = 2 * round(GAP * width / 2) + 1
            whole = cv2.morphologyEx(piece.astype(np.float32), cv2.MORPH_CLOSE, np.ones((gap, gap), np.uint8))
            first = np.where(piece.any(axis=0), piece.argmax(axis=0), len(piece))
            # The shine on a lip may hang on a tooth.
            reach = min(ROW * width, 1.4 * float(np.median(piece.sum(axis=0)[piece.any(axis=0)])))
            depth = (np.arange(len(piece))[:, None] - first) / reach
            soft = cv2.GaussianBlur(whole, (0, 0), max(0.5, width / 60))
            return soft * np.clip(4 - 4 * depth, 0, 1).astype(np.float32)
    return None


def _below_a_lip(piece, pale, bright, width):
    """Whether what lies above is redder and darker by as much as a lip or its shadow is; skin is not."""
    above = np.zeros_like(piece)
    for rows in range(1, max(2, round(LIP * width)) + 1):
        above[:-rows] |= piece[rows:]
    above &= ~piece
    return all(
        np.median(values[piece]) - np.median(values[above]) > least
        for values, least in ((pale, REDDER), (bright, DARKER))
    )


def _span(first, last, size):
    return slice(int(np.clip(round(first), 0, size)), int(np.clip(round(last), 0, size)))


def _ramp(value, limits):
    low, high = limits
    x = np.clip((value - low) / (high - low), 0, 1)
    return (x * x * (3 - 2 * x)).astype(np.float32)
