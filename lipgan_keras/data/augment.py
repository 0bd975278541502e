"""Random changes of training images: mirrored, moved and recoloured."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ..face import cropping

USUAL = ("flip", "crop", "colour", "blur", "gain", "noise")  # of the recipes that augment
NAMES = (*USUAL, "upper", "voice")
UPPER = 0.9  # share of the samples whose upper half is another frame's, with "upper"

ZOOM = 1.12  # at most
# At most, in sides of the image. Upwards less: lips begin 0.03 below the middle row, and the generator sees what is
# above it.
SHIFT, SHIFT_UP = 0.04, 0.02
OWN_SHIFT, OWN_ZOOM = 0.025, 0.025  # likewise, of the identity frame against the others
# At most, of the box around a mouth, in its sides; and by how much one part of it is stretched and another squeezed
BOX_SHIFT, BOX_ZOOM, BEND = 0.06, 0.2, 0.35
BLUR = 5 / 96  # reach of the widest blur, likewise
AT_ONCE = 16  # runs of images, so that what is between stays in the processor's cache


@dataclass
class ImageChange:
    """One draw of the changes, for all images of a sample.

    "flip" mirrors half of the samples. "crop" enlarges up to ZOOM times and shifts by up to SHIFT, SHIFT_UP upwards, by
    cutting out whole pixels; at the edges the image is continued with its last ones. The identity frame is moved a
    little on its own: a crop follows the mouth's corners, so that where the eyes are would tell how open the mouth is.
    "colour" changes brightness, contrast and tint. "blur" is for the mouths that the lip-sync discriminator learns
    from, half of which are softened: it is to judge generated ones, whose blur must not count. Those mouths vary more,
    so that few people stand for many: with "crop" they are also stretched unevenly, with "colour" their colours are
    mixed. "upper" is not drawn here but in `dataset`, which has the clip's other frames.

    Attributes:
        size: of the images, pixels.
        flip: whether they are mirrored.
        side, left, top: of the part that fills the new image.
        own: side, left and top of the identity frame's.
        table: (1,256,3) uint8, what becomes of each value of a colour; None: itself.
        jitter: (4,) in -1..1, how the box around the mouth moves and grows.
        bend: (2,2), for `cropping.crop_matrices`.
        blur: pixels over which to spread each, 1 for none; for the same.
        mix: (3,3) float32, by which to multiply a colour.
    """

    size: int
    flip: bool
    side: int
    left: int
    top: int
    own: tuple[int, int, int]
    table: np.ndarray | None
    jitter: np.ndarray
    bend: np.ndarray
    blur: float
    mix: np.ndarray

    @staticmethod
    def draw(rng: np.random.Generator, count: int, size: int, names: Collection[str]) -> list["ImageChange"]:
        """So many draws at once.

        Args:
            rng: decides.
            size: of the images, pixels.
            names: those of NAMES that are wanted; the others are left undone, and those for sound ignored.
        """
        crop, colour, far, up = "crop" in names, "colour" in names, round(SHIFT * size), round(SHIFT_UP * size)
        flips = rng.random(count) < (0.5 if "flip" in names else 0)
        sides = np.rint(size / rng.uniform(1, ZOOM if crop else 1, count)).astype(int)
        shifts = rng.integers([-far, -far], [far, up], (count, 2), endpoint=True) * crop
        corners = (size - sides)[:, None] // 2 + shifts
        lefts, tops = corners.T.tolist()
        owns = np.rint(rng.uniform(-1, 1, (count, 3)) * size * crop * [OWN_ZOOM, OWN_SHIFT, OWN_SHIFT]).astype(int)
        # A frame that is smaller than its image would show its border.
        owns[:, 0] = np.minimum(sides + owns[:, 0], size)
        owns[:, 1:] += corners + (sides - owns[:, 0])[:, None] // 2
        owns = [tuple(own) for own in owns.tolist()]
        jitters = rng.uniform(-1, 1, (count, 4)) * crop
        bends = rng.uniform([-BEND, 0], [BEND, 2 * np.pi], (count, 2, 2)) * crop
        tables = [None] * count
        mixes = np.broadcast_to(np.eye(3, dtype=np.float32), (count, 3, 3))
        if colour:
            gammas = 2 ** rng.uniform(-0.35, 0.35, (count, 1, 1, 1))
            gains = rng.uniform(0.85, 1.1, (count, 1, 1, 1)) * rng.uniform(0.94, 1.06, (count, 1, 1, 3))
            tables = 255 * (np.arange(256) / 255)[:, None] ** gammas * gains
            tables = np.clip(np.rint(tables), 0, 255).astype(np.uint8)
            parts = rng.random((count, 1, 1))
            mixes = parts * rng.dirichlet(np.ones(3), (count, 3)).transpose(0, 2, 1) + (1 - parts) * np.eye(3)
            mixes = mixes.astype(np.float32)
        blurs = np.where(rng.random(count) < 0.5, rng.uniform(1.0, max(1.0, BLUR * size), count), 1.0)
        blurs = (blurs if "blur" in names else np.ones(count)).tolist()
        drawn = (flips.tolist(), sides.tolist(), lefts, tops, owns, tables, jitters, bends, blurs, mixes)
        return [ImageChange(size, *one) for one in zip(*drawn, strict=True)]

    def apply(self, image: np.ndarray, identity: bool = False) -> np.ndarray:
        """A changed image, (size,size,3) uint8 BGR like `image`; `image` itself where nothing was drawn.

        Args:
            identity: whether it is the identity frame.
        """
        if self.flip:
            image = cv2.flip(image, 1)
        side, left, top = self.own if identity else (self.side, self.left, self.top)
        if (side, left, top) != (self.size, 0, 0):
            far = round(SHIFT * self.size) + round(OWN_SHIFT * self.size) + 1
            image = cv2.copyMakeBorder(image, far, far, far, far, cv2.BORDER_REPLICATE)
            image = image[top + far : top + far + side, left + far : left + far + side]
            # Cubic, as linear interpolation would take a quarter of the finest detail from the target.
            image = cv2.resize(image, (self.size, self.size), interpolation=cv2.INTER_CUBIC)
        return image if self.table is None else cv2.LUT(image, self.table)

    def points(self, landmarks: np.ndarray) -> np.ndarray:
        """Landmarks (...,5,2) where `apply` moves them, float32; in image order again after a flip."""
        landmarks = np.asarray(landmarks, np.float32)
        if self.flip:
            landmarks = landmarks[..., [1, 0, 2, 4, 3], :] * np.float32([-1, 1]) + np.float32([self.size, 0])
        return (landmarks - np.float32([self.left, self.top])) * np.float32(self.size / self.side)


def mouth_boxes(changes: Sequence[ImageChange], boxes: np.ndarray) -> np.ndarray:
    """Boxes (n,4) near those of `regions.mouth_box`, for the mouths that the lip-sync discriminator learns from."""
    centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    jitter = np.stack([change.jitter for change in changes])
    centre = centre + 2 * BOX_SHIFT * half * jitter[:, :2]
    half = half * (1 + BOX_ZOOM * jitter[:, 2:])
    return np.concatenate([centre - half, centre + half], axis=1)


def mouths(changes: Sequence[ImageChange], runs: Sequence[np.ndarray], boxes: np.ndarray, side: int) -> np.ndarray:
    """Cut the mouths out of runs of images as they are before `apply`, changed and in other colours; grey stays grey.

    What `apply` moves is folded into the cut, so that each pixel is interpolated once.

    Args:
        changes: a draw for each of n runs.
        runs: n of T images, (T,size,size,3) uint8.
        boxes: (n,4) of `regions.mouth_box`, for the landmarks that `points` moved.
        side: of the mouths.

    Returns:
        (n,side,side,3T) float32 in 0..1.
    """
    size, count = changes[0].size, len(runs[0])
    scale = np.array([change.side / size for change in changes])
    boxes = mouth_boxes(changes, boxes) * scale[:, None] + np.array([(p.left, p.top) * 2 for p in changes])
    flip = np.array([change.flip for change in changes])
    boxes[flip] = (np.array([size, 0, size, 0]) - boxes[flip] * [1, -1, 1, -1])[:, [2, 1, 0, 3]]
    blurs, bends = (
        np.array([change.blur for change in changes]) * scale,
        np.stack([change.bend for change in changes]),
    )
    rows, columns = cropping.crop_matrices(boxes, size, side, blurs, bends)
    columns[flip] = columns[flip, ::-1]
    mixes = np.stack([change.mix for change in changes])
    # What is seen at all: (n,) first and last row and column
    edges = []
    for matrices in (rows, columns):
        seen = matrices.any(axis=1)
        edges.append((seen.argmax(axis=1), size - seen[:, ::-1].argmax(axis=1)))
    (top, bottom), (left, right) = edges

    out = np.empty((len(runs), side, side, 3 * count), np.float32)
    order = np.argsort(bottom - top + right - left)  # runs of like size together, as they are cut out in one size
    for at in range(0, len(order), AT_ONCE):
        some = order[at : at + AT_ONCE]
        height, width = int((bottom - top)[some].max()), int((right - left)[some].max())
        y, x = np.minimum(top[some], size - height), np.minimum(left[some], size - width)
        seen = np.empty((len(some), count * height, width, 3), np.uint8)
        for part, i, y1, x1 in zip(seen, some.tolist(), y.tolist(), x.tolist(), strict=True):
            run = runs[i][:, y1 : y1 + height, x1 : x1 + width].reshape(part.shape)
            if changes[i].table is None:
                part[...] = run
            else:
                cv2.LUT(run, changes[i].table, part)
        down = _parts(rows[some], y, height) * np.float32(1 / 255)
        across = _parts(columns[some], x, width)
        cut = down[:, None] @ seen.reshape(-1, count, height, 3 * width).astype(np.float32)  # (n,T,side,3w)
        cut = cut.reshape(-1, count, side, width, 3).transpose(0, 3, 2, 1, 4).reshape(len(some), width, -1)
        # Columns, then rows
        cut = (across @ cut).reshape(len(some), side * side, 3 * count) @ _each(mixes[some], count)
        out[some] = cut.reshape(-1, side, side, 3 * count).transpose(0, 2, 1, 3)
    return out


def _parts(matrices, first, count):
    """(n,side,count) columns of (n,side,size), from the n `first` on."""
    return np.take_along_axis(matrices, (first[:, None] + np.arange(count))[:, None], axis=2)


def _each(mixes, count):
    """(n,3T,3T) that multiply each of T colours by the (n,3,3)."""
    blocks = np.eye(count, dtype=np.float32)[:, None, :, None] * mixes[:, None, :, None, :]
    return blocks.reshape(-1, 3 * count, 3 * count)
