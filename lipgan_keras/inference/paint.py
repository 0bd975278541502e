"""Teeth that the generator painted: as pale as teeth are in the light on the face, and not mixed with lips.

The decoder `warp` mixes what it paints with the pixels that it moves. Where its mask is half sure of a tooth, a lip
shows through. And it gives the teeth of all people much the same grey, which looks lilac in yellow light. But teeth and
skin lie in one light: whatever it is, teeth are less red and less yellow than skin, by much the same.
"""

from __future__ import annotations

import cv2
import numpy as np

from ..face.regions import between

# Where skin is looked for: down the face, of the way from the eyes to the mouth; across, from eye to eye.
SKIN = 0.45, 0.8
# In units of the mouth's width. Teeth are looked for up to the first from its middle, and not from the second on. They
# count where their row is as wide as the second, and not where it is as narrow as the first: that is a spot.
ASIDE, ABOVE, BELOW = (0.32, 0.42), (0.25, 0.35), (0.12, 0.22)
ROW = 0.1, 0.25

# In CIE L*a*b*: by how much teeth are less red and less yellow than skin (benchmarks/tooth_colour.py), and the least
# that they have of both.
PALER, LEAST = (10.5, 9.5), (2.0, 4.0)
# Paint is no tooth up to the first, and is one from the second on: how much less red it is than skin; how light, as a
# share of skin; how much of the pixel is painted.
LESS_RED, LIGHT, PAINTED = (0.0, 5.0), (0.5, 0.75), (0.2, 0.45)
# Edges are smooth, in pixels of the generator. That makes a row of few pixels less sure; it is made surer by so much.
SMOOTH, SURER = 0.6, 1.3


def whitened(
    made: np.ndarray, shifted: np.ndarray, mask: np.ndarray, landmarks: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """A generated crop and its mask, with painted teeth that are pale and hide what was moved.

    Args:
        made: (S,S,3) float32 in 0..255, what the generator made; changed in place from the row S-h on.
        shifted: (h,S,3) float32 in 0..255, the identity frame's pixels as they were moved there, in the last h rows.
        mask: (h,S) float32 in 0..1, how much of each pixel is moved; the rest is painted.
        landmarks: (5,2) float32, of the face in the crop.

    Returns:
        `made`, and (h,S) float32, the mask, lower where teeth are painted.
    """
    top, middle = len(made) - len(mask), landmarks[3:].mean(axis=0)
    width = max(np.hypot(*(landmarks[4] - landmarks[3])), np.hypot(*(middle - landmarks[2])), 1.0)
    at, place = _place(mask.shape, width, middle - (0, top))
    skin = skin_of(made, landmarks)
    if skin is None or not place.size:
        return made, mask
    crop, shifted, painted = made[top:][at], shifted[at], 1 - mask[at]
    paint = shifted + (crop - shifted) / np.maximum(painted, PAINTED[0])[..., None]
    lab = cv2.cvtColor(np.clip(paint, 0, 255, out=paint) / np.float32(255), cv2.COLOR_BGR2LAB)
    tooth = _tooth(lab, painted, skin, width) * place
    if not tooth.any():
        return made, mask
    colour = np.minimum(skin[1:], np.maximum(skin[1:] - PALER, LEAST))  # in blue light skin has less than the least
    lab[..., 1:] += tooth[..., None] * (colour - lab[..., 1:])
    pale = cv2.cvtColor(lab, cv2.COLOR_LAB2BGR) * np.float32(255)
    more = np.maximum(tooth - painted, 0)
    crop += more[..., None] * (pale - shifted) + (painted * (tooth > 0))[..., None] * (pale - paint)
    mask = mask.copy()
    mask[at] -= more
    return made, mask


def skin_of(crop: np.ndarray, landmarks: np.ndarray) -> np.ndarray | None:
    """(3,) float32, L*, a* and b* in the middle of the face; None where it is too small or too dark to tell."""
    eyes, mouth = landmarks[:2].mean(axis=0), landmarks[3:].mean(axis=0)
    down, across = eyes[1] + (mouth[1] - eyes[1]) * np.array(SKIN), np.sort(landmarks[:2, 0])
    pixels = crop[tuple(slice(*np.clip(np.rint(edges), 0, len(crop)).astype(int)) for edges in (down, across))]
    if not pixels.size:
        return None
    lab = cv2.cvtColor(np.clip(pixels, 0, 255) / np.float32(255), cv2.COLOR_BGR2LAB)
    skin = np.median(lab.reshape(-1, 3), axis=0)
    return skin if skin[0] > 1 else None


def _place(shape, width, middle):
    """Rows and columns in which teeth are looked for, and (r,c) float32 in 0..1, how much they count there."""
    x, y = ((np.arange(count) + 0.5 - start) / width for count, start in zip(shape[::-1], middle, strict=True))
    rows = between(-y, ABOVE[::-1]) * between(y, BELOW[::-1])
    columns = between(np.abs(x), ASIDE[::-1])
    at = tuple(
        slice(*found[[0, -1]] + (0, 1)) if len(found := np.flatnonzero(line)) else slice(0) for line in (rows, columns)
    )
    return at, np.outer(rows[at[0]], columns[at[1]]).astype(np.float32)


def _tooth(lab, painted, skin, width):
    """(r,c) float32 in 0..1: how surely what is painted is a tooth."""
    tooth = between(skin[1] - lab[..., 1], LESS_RED) * between(lab[..., 0] / skin[0], LIGHT) * between(painted, PAINTED)
    tooth = np.minimum(SURER * cv2.GaussianBlur(tooth.astype(np.float32), (0, 0), SMOOTH), 1)
    return tooth * between(tooth.max(axis=0).sum() / width, ROW)
