"""Parts of a face crop: the lips, the mouth, and the lower half that is hidden from the generator."""

import numpy as np

from ..config import OWN_CROPS, lower_half


def ramp(x: np.ndarray | float) -> np.ndarray:
    """0 below 0, 1 above 1, and 3 x^2 - 2 x^3 between."""
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def between(value: np.ndarray | float, bounds: tuple[float, float]) -> np.ndarray:
    """Of the way from the first bound to the second, 0..1, as `ramp` goes."""
    return ramp((value - bounds[0]) / (bounds[1] - bounds[0]))


def mouth_width(landmarks: np.ndarray) -> np.ndarray:
    """How far the mouth's corners are apart; of a turned face, at least how far nose and mouth are.

    Args:
        landmarks: (..., 5, 2).

    Returns:
        (...), in the landmarks' unit.
    """
    nose, left, right = np.moveaxis(np.asarray(landmarks)[..., 2:, :], -2, 0)
    apart, from_nose = (np.hypot(*np.moveaxis(way, -1, 0)) for way in (right - left, (left + right) / 2 - nose))
    return np.maximum(apart, from_nose)


def bounds(mask: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of all that is not 0 in a (H,W) mask; empty where all is."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return tuple(slice(int(at[0]), int(at[-1]) + 1) if len(at) else slice(0) for at in (rows, columns))


def lip_mask(landmarks: np.ndarray, size: int = 96) -> np.ndarray:
    """A soft mask of the lips, closed or open.

    An ellipse along the line of the mouth's corners, 1.3 times as wide as they are apart and 0.7 times as high as
    that, shifted towards the chin by a quarter of its height, as mouths open downwards. Where the face is turned and
    the corners come close together, the distance of nose and mouth bounds the width from below and that of eyes and
    mouth the height, and the line turns to lie across the face, whatever the order of the corners.

    Args:
        landmarks: (5, 2), or (n, 5, 2) of n crops, in pixels of the crop.
        size: of the crop.

    Returns:
        (size, size) or (n, size, size) float32 in 0..1: 1 around the lips, falling off smoothly to 0.
    """
    points = np.asarray(landmarks, np.float32)
    if points.ndim == 2:
        return lip_mask(points[None], size)[0]
    middle = (points[:, 3] + points[:, 4]) / 2
    along, down = points[:, 4] - points[:, 3], middle - (points[:, 0] + points[:, 1]) / 2
    apart, length = np.hypot(*along.T), np.hypot(*down.T)
    across = np.stack([down[:, 1], -down[:, 0]], 1)
    along = np.where((along * across).sum(1, keepdims=True) < 0, -along, along)
    along = along + across * np.maximum(0, 0.5 - apart / np.maximum(length, 1e-9))[:, None]
    norm = np.hypot(*along.T)[:, None]
    along = np.where(norm > 0, along / np.maximum(norm, 1e-9), np.float32([1, 0]))
    below = np.stack([-along[:, 1], along[:, 0]], 1)
    width = 1.3 * np.maximum(mouth_width(points), 1.0)
    height = 0.7 * np.maximum(width, 0.85 * length)
    middle = middle + 0.25 * height[:, None] * below
    reach = 1.25 * np.maximum(width, height)[:, None] / 2  # all is 0 further away
    first, last = (np.clip(edge, 0, size).astype(int) for edge in (middle - reach, middle + reach + 1))
    at = (first[:, None] + np.arange((last - first).max(initial=0))[:, None]).astype(np.float32) + 0.5 - middle[:, None]
    x, y = at[:, None, :, 0], at[:, :, None, 1]
    along, below = (2 * along / width[:, None])[..., None, None], (2 * below / height[:, None])[..., None, None]
    p = x * along[:, 0] + y * along[:, 1]
    q = x * below[:, 0] + y * below[:, 1]
    near = ramp((1.25 - np.sqrt(p * p + q * q)) * 2)
    masks = np.zeros((len(points), size, size), np.float32)
    for mask, part, (left, top), (right, bottom) in zip(masks, near, first.tolist(), last.tolist(), strict=True):
        mask[top:bottom, left:right] = part[: bottom - top, : right - left]
    return masks


def default_landmarks(size: int = 96, style: str = "lipgan_keras") -> np.ndarray:
    """(5, 2) float32: where the landmarks lie on average in crops of a style, for data that comes without them."""
    return np.array(_MEAN_LANDMARKS[style], np.float32) * size


_MEAN_LANDMARKS = {
    **dict.fromkeys(OWN_CROPS, [[0.32, 0.21], [0.68, 0.21], [0.5, 0.41], [0.355, 0.615], [0.645, 0.615]]),
    "dlib": [[0.295, 0.275], [0.705, 0.275], [0.5, 0.505], [0.335, 0.75], [0.665, 0.75]],
}


def mouth_box(landmarks: np.ndarray) -> np.ndarray:
    """The square around mouth and upper chin, one for a run of frames, so that only the mouth moves in it.

    Args:
        landmarks: (5, 2), or (n, 5, 2) of n frames, in pixels of the crop; or (m, n, 5, 2) of m runs.

    Returns:
        (4,) or (m, 4) float32 x1, y1, x2, y2; its side is 1.2 times the distance of eyes and mouth.
    """
    points = np.asarray(landmarks, np.float32)
    points = points.reshape(-1, *points.shape[-3:]) if points.ndim > 2 else points[None, None]
    points = points.mean(axis=1)
    eyes, mouth = points[:, :2].mean(axis=1), points[:, 3:].mean(axis=1)
    down, across = mouth - eyes, points[:, 4] - points[:, 3]
    half = 0.6 * np.maximum(np.maximum(np.hypot(*down.T), np.hypot(*across.T)), 1.0)[:, None]
    centre = mouth + 0.15 * down
    boxes = np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)
    return boxes if np.ndim(landmarks) == 4 else boxes[0]


def without_lower_half(crops: np.ndarray) -> np.ndarray:
    """What the generator may see of the frames that it is to make (paper, section 4.1): the upper half.

    Args:
        crops: (..., H, W, 3) of any dtype.

    Returns:
        A copy whose lower half, rows H // 2 and below, is 0.
    """
    masked = crops.copy()
    masked[..., lower_half(masked.shape[-3]) :, :, :] = 0
    return masked


def assemble(identity: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The generator's face input and its target, from two uint8 crops (96,96,3).

    Returns:
        ((96,96,6), (96,96,3)) float32 in 0..1; rows 48: of the target's copy in the input are 0.
    """
    target = target.astype("float32") / 255
    return np.concatenate([identity.astype("float32") / 255, without_lower_half(target)], axis=-1), target
