"""How the mouth moves, and what moves that should not."""

import cv2
import numpy as np

from ...face import cropping
from . import register as metrics_register
from .position import face_unit
from .register import Frames, largest, register

JAW = 0.25, 0.75, 0.8  # centre below the mouth, half width and half height of what speech may move, in `face_unit`s


_SPURIOUS = "mean |(g[t] - g[t-1]) - (s[t] - s[t-1])| of result g and source s, in grey, outside mouth and jaw"


@register("spurious_motion", "Spurious motion", "grey levels", "lower", (0, 510), _SPURIOUS, needs_truth=False)
def spurious_motion(frames: Frames) -> np.ndarray:
    """Movement that the result has and the source has not, or the other way round, outside mouth and jaw: (n,) 0..510.

    The mean absolute difference of the two images' temporal differences, in grey levels. Measured in the crop where
    there are crops only; in whole images around the face too, in a square of twice the crop's side, at the crop's
    scale, at the later frame's box. Left out is what speech may move: an ellipse around mouth, chin and cheeks (JAW).
    Codecs give some to any result: encoding two real clips anew gave 0.2 and 0.8, shaking them by a pixel 1.2 and 2.7.
    NaN for the first frame, which has none before it.
    """
    return frames.once("spurious_motion", _spurious_motion)


@register(
    "spurious_motion_worst",
    "Spurious motion, worst frame",
    "grey levels",
    "lower",
    (0, 510),
    _SPURIOUS + "; the largest of all frames",
    reduce=largest,
    needs_truth=False,
)
def spurious_motion_worst(frames: Frames) -> np.ndarray:
    """`spurious_motion`, of which the video's value is the largest."""
    return spurious_motion(frames)


def _spurious_motion(frames):
    margin = metrics_register.SIZE // 2 if frames.has_full_images else 0
    size = metrics_register.SIZE + 2 * margin
    values = [np.nan] * min(len(frames), 1)
    for i in range(1, len(frames)):
        weight = ~_jaw(frames.landmarks[i] + margin, size)
        if frames.has_full_images:
            half = (frames.boxes[i][2:] - frames.boxes[i][:2]) / 2
            box = frames.boxes[i] + np.concatenate([-half, half])
            weight &= _within(frames.full_truth[i].shape, box, size)
            full = frames.full_truth, frames.full_generated
            pairs = [[cropping.extract(images[j], box, size) for j in (i - 1, i)] for images in full]
        else:
            pairs = [crops[i - 1 : i + 1] for crops in (frames.truth, frames.generated)]
        then, now = ([cv2.cvtColor(pair[j], cv2.COLOR_BGR2GRAY).astype("float32") for pair in pairs] for j in (0, 1))
        differences = np.abs((now[1] - then[1]) - (now[0] - then[0]))[weight]
        values.append(float(differences.mean()) if len(differences) else np.nan)
    return np.array(values)


@register(
    "mouth_flicker",
    "Flicker of the mouth",
    "grey levels",
    None,
    (-1020, 1020),
    "mean |g[t] - 2 g[t-1] + g[t-2]| of result g inside the lips, in grey, less that of the truth",
)
def mouth_flicker(frames: Frames) -> np.ndarray:
    """How much more the result's lips flicker from frame to frame than the true ones: (n,) grey levels.

    The second difference over time is 0 for what stays and for what changes evenly. It is large for what goes to and
    fro. Its mean size inside the lips is taken, weighted by the lip mask of the middle frame, and that of the true
    frames is subtracted. Above 0 the result flickers; below 0 it moves more evenly than a mouth does. Truth that
    is shown at a lower frame rate stands still between its frames, which counts as flicker of it. NaN for the first two
    frames.
    """
    values = np.full(len(frames), np.nan)
    if len(frames) < 3:
        return values
    sizes = []
    for crops in (frames.generated, frames.truth):
        grey = np.stack([cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY) for crop in crops]).astype("float32")
        sizes.append(np.abs(grey[2:] - 2 * grey[1:-1] + grey[:-2]))
    weights = frames.masks[1:-1]
    total = np.maximum(weights.sum(axis=(1, 2)), 1e-6)
    values[2:] = (weights * (sizes[0] - sizes[1])).sum(axis=(1, 2)) / total
    return values


def _jaw(points, size):
    """(size,size) bool: what speech may move."""
    below, wide, high = (share * face_unit(points) for share in JAW)
    mouth, eyes = points[3:].mean(0), points[:2].mean(0)
    down = (mouth - eyes) / max(float(np.hypot(*(mouth - eyes))), 1e-6)
    at = np.arange(size) + 0.5
    x, y = np.meshgrid(at, at)
    x, y = x - (mouth + below * down)[0], y - (mouth + below * down)[1]
    return ((x * down[1] - y * down[0]) / wide) ** 2 + ((x * down[0] + y * down[1]) / high) ** 2 <= 1


def _within(shape, box, size):
    """(size,size) bool: which pixels of a crop lie in the image."""
    x, y = (box[i] + (np.arange(size) + 0.5) * ((box[i + 2] - box[i]) / size) for i in (0, 1))
    return ((y >= 0) & (y < shape[0]))[:, None] & ((x >= 0) & (x < shape[1]))


@register(
    "opening_correlation",
    "Correlation of the opening",
    "",
    "higher",
    (-1, 1),
    "Pearson's, of `aperture.mouth_aperture` in generated and true frames",
    per="video",
)
def opening_correlation(truth: np.ndarray, generated: np.ndarray) -> float:
    """Pearson's correlation of (n,) openings by `aperture.mouth_aperture`, of the same frames.

    0 where the generated mouth does not move at all, as it tells nothing then; NaN where the true one does not.
    """
    found, truth = np.asarray(generated, "float64"), np.asarray(truth, "float64")
    known = ~(np.isnan(found) | np.isnan(truth))
    found, truth = found[known], truth[known]
    if len(truth) < 2 or np.ptp(truth) < 1e-9:
        return float("nan")
    return float(np.corrcoef(found, truth)[0, 1]) if np.ptp(found) > 1e-9 else 0.0


@register(
    "murmur",
    "Murmur under music",
    "",
    "lower",
    (0, None),
    "deviation of `aperture.mouth_aperture` under music without speech / under the clip's speech",
    per="video",
)
def murmur(music: np.ndarray, speech: np.ndarray) -> float:
    """How much the mouth moves to music: the ratio of the standard deviations of its opening; NaN if it never moves.

    Args:
        music, speech: (n,) `aperture.mouth_aperture` of the same frames, generated under music alone and under the
            clip's own audio.
    """
    moved = float(np.std(speech))
    return float(np.std(music)) / moved if moved > 1e-9 else float("nan")
