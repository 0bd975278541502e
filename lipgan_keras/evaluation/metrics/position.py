"""Where the mouth is: landmark distances."""

import numpy as np

from . import register as metrics_register
from .register import Frames, register

FACE_WIDTH = (
    1.88  # from ear to ear by dlib's points 0 and 16, in `face_unit`s (54 frames of nine speakers, deviation 0.09)
)


def face_unit(points):
    """The face's size, (..., 5, 2) landmarks -> (...): see `cropping.crop_box`."""
    points = np.asarray(points, "float64")
    down = points[..., 3:, :].mean(-2) - points[..., :2, :].mean(-2)
    across = points[..., 1, :] - points[..., 0, :]
    length, apart = (np.hypot(*np.moveaxis(way, -1, 0)) for way in (down, across))
    return np.maximum(np.maximum(length, 1.14 * apart), 1e-6)


def face_width(landmarks: np.ndarray) -> np.ndarray:
    """From ear to ear, by the five landmarks: (..., 5, 2) -> (...), in their unit."""
    return FACE_WIDTH * face_unit(landmarks)


def _no_68() -> str | None:
    from ...face import landmarks68

    return landmarks68.available()


def _no_five() -> str | None:
    from ...face import mtcnn_finder

    return mtcnn_finder.missing()


_LMD = "Chen et al. 2018, mean distance of the mouth's points (dlib's 48 to 67), not aligned first"
_LMD_5 = "as LMD with MTCNN's two mouth corners; not comparable with LMD"


@register("lmd", "LMD (68 points)", "px", "lower", (0, None), _LMD, missing=_no_68)
def lmd(frames: Frames) -> np.ndarray:
    """Mean distance of the 20 mouth points of generated and true frames: (n,) pixels of the 96-pixel crop.

    After Chen et al. 2018, https://arxiv.org/abs/1803.10404. The points are compared where they lie, not brought to a
    common mean first: both crops are cut at the same place, and a mouth in the wrong place is an error. Encoding real
    clips anew gives 0.25, a frozen mouth 2.

    Raises:
        UserError: `missing` says why.
    """
    return frames.once("lmd", _lmd)


@register("lmd_normalised", "LMD (68 points) / face width", "", "lower", (0, None), _LMD, missing=_no_68)
def lmd_normalised(frames: Frames) -> np.ndarray:
    """`lmd` over `face_width` of the true frame: (n,)."""
    return lmd(frames) / face_width(frames.landmarks)


@register("lmd_5", "LMD (mouth corners)", "px", "lower", (0, None), _LMD_5, missing=_no_five)
def lmd_5(frames: Frames) -> np.ndarray:
    """Mean distance of the two mouth corners that MTCNN finds in generated and true crops: (n,) crop pixels.

    For want of the 68 points. Corners tell the width of a mouth and hardly its opening. NaN where it finds no face.
    """
    return frames.once("lmd_5", _lmd_5)


@register("lmd_5_normalised", "LMD (mouth corners) / face width", "", "lower", (0, None), _LMD_5, missing=_no_five)
def lmd_5_normalised(frames: Frames) -> np.ndarray:
    """`lmd_5` over `face_width` of the true frame: (n,)."""
    return lmd_5(frames) / face_width(frames.landmarks)


def _lmd(frames):
    from ...face import landmarks68

    if frames.has_full_images:
        sides = frames.boxes[:, 2] - frames.boxes[:, 0]
        points = frames.landmarks * (sides / metrics_register.SIZE)[:, None, None] + frames.boxes[:, None, :2]
        pairs, scales = zip(frames.full_truth, frames.full_generated, strict=True), metrics_register.SIZE / sides
    else:
        points, scales = frames.landmarks, np.ones(len(frames))
        pairs = zip(frames.truth, frames.generated, strict=True)
    found = [[landmarks68.mouth(image, five) for image in pair] for pair, five in zip(pairs, points, strict=True)]
    return _distances(found) * scales


def _lmd_5(frames):
    from ...face import landmarks68

    return _distances(np.stack([landmarks68.corners(crops) for crops in (frames.truth, frames.generated)], axis=1))


def _distances(points):
    """(n,2,k,2) -> (n,) mean distances of two sets of points."""
    truth, generated = np.moveaxis(np.asarray(points, "float64"), 1, 0)
    return np.hypot(*np.moveaxis(generated - truth, -1, 0)).mean(axis=-1)
