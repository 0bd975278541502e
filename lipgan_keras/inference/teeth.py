"""The teeth of a photo that smiles: its own stay where they are while the mouth opens below them.

Upper teeth do not move with the jaw, and a crop hangs on eyes and nose, so that they have one place in it. A generator
has them grey where the lip that it moves leaves them. So a pixel of the photo stays if it shows an upper tooth, and if
the generator painted it or moved a tooth there. Lips that the generator moves over teeth hide them.

Of a video this is not done: its mouth moves itself, and so teeth would come and go with what it said.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from ..face import cropping
from ..face.regions import between, bounds
from .motion import moved

FINE = 384  # side of the crop in which teeth are looked for: the same for all faces, so that all are judged alike

# Of the distance of the mouth's corners
ABOVE, BELOW = 0.25, 0.5  # where teeth are looked for, from the line between the corners
WIDTH, HEIGHT = 0.35, 0.055  # of a row of teeth at least: the shine on a lip is smaller
ASIDE = 0.12  # to both sides of the middle it reaches at least as far; a cigarette does not
LOWEST = 0.2  # below the line between the corners: a row begins above
ROW = 0.26  # the upper row is no higher; below it may be the lower one, which goes with the jaw
GAP = 0.06  # between two teeth, and into shadows
LIP = 0.12  # so far above and below a row of teeth a lip is looked for
CORNER = 0.22  # so far beside it the dark of the mouth is

# Logarithms of ratios to the middle colour about the mouth. Teeth are less red than that, and hardly darker.
PALE = 0.45  # blue to red, as a share of the palest pixels'
BRIGHT = -0.18  # green
# The lip above them is redder, and darker, but not as dark as the mouth above lower teeth.
REDDER = 0.12
DARKER = 0.2, 1.3
DARK = -0.25, -0.06  # green, of a tenth of the corners; than the lip below: beside the shine on a lip is the lip
DARKEST_LIP = -0.6  # green
# Of the colour itself: blue to red. Below it may be the shine on a lip, or the light of a yellow lamp.
WHITE = -0.45

# How much of a pixel is painted, or a moved tooth: up to the first share the generator's pixel stays, from the second
# on the photo's. MOVED is higher, as lips that meet leave the edge of a tooth.
PAINTED = 0.4, 0.6
MOVED = 0.55, 0.75


class Teeth(NamedTuple):
    """The upper teeth in a crop.

    Attributes:
        crop: (kS,kS,3) uint8, the face's own.
        weight: (kS,kS) float32 in 0..1, how surely each pixel is a tooth's.
        rows, columns: where it is not 0.
    """

    crop: np.ndarray
    weight: np.ndarray
    rows: slice
    columns: slice

    def keep(self, made: np.ndarray, motion: np.ndarray, top: int) -> None:
        """Put the teeth into a generated crop: where the generator painted a tooth's pixel or moved a tooth there.

        Args:
            made: (kS,kS,3) float32 in 0..255, changed in place.
            motion: (kS-top,kS,3) float32, see `motion.with_motion`, of the rows from `top` on.
        """
        first = max(top, self.rows.start)
        if first >= self.rows.stop:
            return
        at = slice(first, self.rows.stop), self.columns
        motion = motion[first - top : self.rows.stop - top, self.columns]
        here = moved(self.weight, motion, first, self.columns.start, cv2.INTER_LINEAR) * motion[..., 2]
        inside = np.maximum(between(1 - motion[..., 2], PAINTED), between(here, MOVED))
        made[at] += (self.weight[at] * inside)[..., None] * (self.crop[at] - made[at])


def seen(image: np.ndarray, face, times: int, size: int) -> Teeth | None:
    """The upper teeth in the crop of a face; None where none are seen.

    Args:
        image: (H,W,3) uint8.
        face: a `tracking.TrackedFace`: landmarks, box and angle are used.
        times, size: the crop is `times` as large as `size`, the generator's.
    """
    found = _weight(
        cropping.extract(image, face.box, FINE, face.angle),
        cropping.to_crop(face.face.landmarks[3:5], face.box, FINE, face.angle),
    )
    if found is None:
        return None
    size *= times
    weight = cv2.resize(found, (size, size), interpolation=cv2.INTER_AREA)
    return Teeth(cropping.extract(image, face.box, size, face.angle), weight, *bounds(weight))


def _weight(crop, corners):
    """(FINE,FINE) float32 in 0..1: how surely each pixel is an upper tooth's; None where none are seen."""
    left, right = sorted(corners, key=lambda point: point[0])
    width, middle = float(np.hypot(*(right - left))), (left + right) / 2
    rows = _span(middle[1] - ABOVE * width, middle[1] + BELOW * width)
    columns = _span(left[0], right[0])
    pixels = crop[rows, columns]
    if not pixels.size:
        return None
    blue, green, red = np.moveaxis(np.log(np.maximum(pixels, 1, dtype=np.float32)), -1, 0)
    pale, bright = blue - red, green - np.median(green)
    white = pale > WHITE
    pale -= np.median(pale)
    likely = white & (pale > PALE * np.percentile(pale, 98)) & (bright > BRIGHT)
    row = _upper_row(likely, pale, bright, width, middle[0] - columns.start)
    if row is None:
        return None
    weight = np.zeros((FINE, FINE), np.float32)
    weight[rows, columns] = row
    return weight


def _upper_row(likely, pale, bright, width, middle):
    """(h,w) float32 in 0..1: the topmost of the pieces that may be a row of teeth below a lip; None where there is
    none.
    """
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(likely.astype(np.uint8), connectivity=8)
    for number in sorted(range(1, count), key=lambda n: boxes[n, cv2.CC_STAT_TOP]):
        left, top, wide, high, _ = boxes[number]
        piece = labels == number
        # What touches an edge is a beard, or skin.
        inside = 0 < left < piece.shape[1] - wide and 0 < top < len(piece) - high
        across = left < middle - ASIDE * width and middle + ASIDE * width < left + wide
        if not (inside and across and wide >= WIDTH * width and top < (ABOVE + LOWEST) * width):
            continue
        if not (_below_a_lip(piece, pale, bright, width) and _between_corners(piece, bright, width)):
            continue
        heights = piece.sum(axis=0)
        height = float(np.median(heights[heights > 0]))
        if height < HEIGHT * width:
            continue
        gap = 2 * round(GAP * width / 2) + 1
        whole = cv2.morphologyEx(piece.astype(np.float32), cv2.MORPH_CLOSE, np.ones((gap, gap), np.uint8))
        first = np.where(piece.any(axis=0), piece.argmax(axis=0), len(piece))
        # The shine on a lip may hang on a tooth.
        depth = (np.arange(len(piece))[:, None] - first) / min(ROW * width, 1.4 * height)
        soft = cv2.GaussianBlur(whole, (0, 0), max(0.5, width / 60))
        return soft * np.clip(4 - 4 * depth, 0, 1).astype(np.float32)
    return None


def _below_a_lip(piece, pale, bright, width):
    """Whether what lies above is redder and darker by as much as a lip or its shadow is; skin is not."""
    above = _next_to(piece[::-1], width)[::-1]
    redder, darker = (np.median(values[piece]) - np.median(values[above]) for values in (pale, bright))
    return redder > REDDER and DARKER[0] < darker < DARKER[1]


def _between_corners(piece, bright, width):
    """Whether the mouth is dark on both sides of the piece, at the height of its ends: darker than the lip below."""
    reach, columns = round(CORNER * width), np.flatnonzero(piece.any(axis=0))
    lip = max(float(np.median(bright[_next_to(piece, width)])), DARKEST_LIP)  # or the dark of the mouth
    dark = min(DARK[0], lip + DARK[1])
    for end, beside in (
        (columns[:5], slice(max(0, columns[0] - reach), columns[0])),
        (columns[-5:], slice(columns[-1] + 1, columns[-1] + 1 + reach)),
    ):
        rows = np.flatnonzero(piece[:, end].any(axis=1))
        if np.percentile(bright[rows[0] : rows[-1] + 1, beside], 10) > dark:
            return False
    return True


def _next_to(piece, width):
    """(h,w) bool: what lies so far below a piece as a lip is looked for."""
    rows = max(2, round(LIP * width))
    grown = cv2.dilate(piece.astype(np.uint8), np.ones((rows + 1, 1), np.uint8), anchor=(0, rows))
    return (grown > 0) & ~piece


def _span(first, last):
    return slice(*np.clip(np.rint([first, last]), 0, FINE).astype(int))
