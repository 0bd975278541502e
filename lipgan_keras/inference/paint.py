"""Painted teeth: coloured as teeth are in the light on the face, and not mixed with lips.

The decoder `warp` mixes what it paints with the pixels that it moves. Where its mask is half sure of a tooth, a lip
shows through. And it gives the teeth of all people much the same grey, which looks lilac in yellow light. But teeth and
skin lie in one light: whatever it is, teeth are less red and less yellow than skin, by much the same.
"""

from __future__ import annotations

import cv2
import numpy as np

from ..face.regions import between, bounds, mouth_width

# Skin is measured from eye to eye, and between these two heights: shares of the way from the eyes down to the mouth.
SKIN = 0.45, 0.8
# The rectangle of the upper teeth, from the middle of the mouth, in units of its width: beside, above and below. All
# that is nearer than the first number counts in full, and nothing that is farther than the second.
BESIDE, ABOVE, BELOW = (0.32, 0.42), (0.15, 0.25), (0.12, 0.22)
# How wide a row of teeth is, in the same unit. What is as narrow as the first number is a spot.
ROW = 0.1, 0.25

# Less red (a*) and less yellow (b*) than skin, in CIE L*a*b*: see benchmarks/tooth_colour.py.
OFFSET = 10.7, 9.2
# In white light teeth keep so much of both.
LEAST = 2.0, 4.0
# Paint is no tooth at the first number, and surely one at the second: how much less red than skin it is, its lightness
# as a share of the skin's, and how much of the pixel is painted.
LESS_RED, LIGHT, PAINTED = (2.0, 7.0), (0.5, 0.75), (0.2, 0.45)
# Teeth are light on dark skin, too: darker skin counts as if it had this L*.
LIGHT_SKIN = 60.0
# Blur of the edges, in pixels of the generator; and a factor, as a blurred row of few pixels is nowhere sure.
SIGMA, GAIN = 0.6, 1.3


def recoloured(
    made: np.ndarray, shifted: np.ndarray, mask: np.ndarray, landmarks: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """A generated crop and its mask, with upper teeth in the light's colour that hide what was moved there.

    Args:
        made: (S,S,3) float32 in 0..255, what the generator made.
        shifted: (h,S,3) float32 in 0..255, the identity frame's pixels as they were moved there, in the last h rows.
        mask: (h,S) float32 in 0..1, how much of each pixel is moved; the rest is painted.
        landmarks: (5,2) float32, of the face, pixels of the crop.

    Returns:
        The crop, and (h,S) float32, the mask, lower where teeth are painted. Without teeth: what was given.
    """
    top, middle = len(made) - len(mask), landmarks[3:].mean(axis=0)
    width = max(float(mouth_width(landmarks)), 1.0)
    place = _place(mask.shape, width, middle - (0, top))
    at, skin = bounds(place), skin_of(made, landmarks)
    place = place[at]
    if skin is None or not place.size:
        return made, mask
    shifted, painted = shifted[at], 1 - mask[at]
    crop = made[top:][at]
    paint = shifted + (crop - shifted) / np.maximum(painted, PAINTED[0])[..., None]
    lab = to_lab(np.clip(paint, 0, 255, out=paint))
    tooth = _tooth(lab, painted, skin, width) * place
    if not tooth.any():
        return made, mask
    colour = np.minimum(skin[1:], np.maximum(skin[1:] - OFFSET, LEAST))  # never more than skin's, as in blue light
    lab[..., 1:] += tooth[..., None] * (colour - lab[..., 1:])
    lab[..., 0] += tooth * np.minimum(max(skin[0], LIGHT_SKIN) - lab[..., 0], 0)  # hardly known paint may be too light
    tooth_paint = cv2.cvtColor(lab, cv2.COLOR_LAB2BGR) * np.float32(255)
    more = np.maximum(tooth - painted, 0)
    made, mask = made.copy(), mask.copy()
    made[top:][at] += more[..., None] * (tooth_paint - shifted)
    made[top:][at] += (painted * (tooth > 0))[..., None] * (tooth_paint - paint)
    mask[at] -= more
    return made, mask


def skin_of(crop: np.ndarray, landmarks: np.ndarray) -> np.ndarray | None:
    """The colour of the skin in the middle of a face.

    Args:
        crop: (S,S,3) float32 in 0..255, BGR.
        landmarks: (5,2) float32, of the face, pixels of the crop.

    Returns:
        (3,) float32, L* in 0..100, a* and b*; None where the face is too small or too dark to tell.
    """
    eyes, mouth = landmarks[:2].mean(axis=0), landmarks[3:].mean(axis=0)
    down, across = eyes[1] + (mouth[1] - eyes[1]) * np.array(SKIN), np.sort(landmarks[:2, 0])
    pixels = crop[tuple(slice(*np.clip(np.rint(edges), 0, len(crop)).astype(int)) for edges in (down, across))]
    if not pixels.size:
        return None
    skin = np.median(to_lab(np.clip(pixels, 0, 255)).reshape(-1, 3), axis=0)
    return skin if skin[0] > 1 else None


def to_lab(pixels: np.ndarray) -> np.ndarray:
    """(H,W,3) float32: L*, a* and b* of BGR pixels in 0..255."""
    return cv2.cvtColor(np.float32(pixels) / np.float32(255), cv2.COLOR_BGR2LAB)


def _place(shape, width, middle):
    """(h,S) float32 in 0..1: how much each pixel counts, 0 outside the rectangle of the teeth."""
    x, y = ((np.arange(count) + 0.5 - start) / width for count, start in zip(shape[::-1], middle, strict=True))
    rows = between(-y, ABOVE[::-1]) * between(y, BELOW[::-1])
    return np.outer(rows, between(np.abs(x), BESIDE[::-1])).astype(np.float32)


def _tooth(lab, painted, skin, width):
    """(r,c) float32 in 0..1: how surely what is painted is a tooth."""
    tooth = between(skin[1] - lab[..., 1], LESS_RED) * between(lab[..., 0] / max(skin[0], LIGHT_SKIN), LIGHT)
    tooth = cv2.GaussianBlur(np.float32(tooth * between(painted, PAINTED)), (0, 0), SIGMA)
    # The blur reaches pixels of which little is painted: their paint is little known.
    tooth = np.minimum(GAIN * tooth, 1) * between(painted, (0, PAINTED[0])).astype(np.float32)
    return tooth * between(tooth.max(axis=0).sum() / width, ROW)
