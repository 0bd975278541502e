"""Measures of results, as functions of arrays, and the register of those that evaluation prints.

`METRICS` holds them by name. Those measured frame by frame take a `Frames`, a run of consecutive frames of a pair of
videos, so that long videos need little memory; `Metric.reduce` makes the video's value of all their values.
"""

import dataclasses
import importlib
from collections.abc import Callable, Sequence

import cv2
import numpy as np

from . import faces

_MOUTH = 48  # pixels of a side of the mouth patch

SIZE = 96  # of the crops that are compared; landmarks, masks and distances are in their pixels
MOST_PSNR = 100.0  # dB, in place of infinity; a single grey level in a crop is 92.5
WINDOW = 11  # pixels, SSIM's
FACE_WIDTH = 1.88  # from ear to ear by dlib's points 0 and 16, in `_unit`s (54 frames of nine speakers, deviation 0.09)
JAW = 0.25, 0.75, 0.8  # centre below the mouth, half width and half height of what speech may move, in `_unit`s
LARGEST = 384  # pixels of a side at which native crops are compared


def lip_mae(mask: np.ndarray, truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Mean absolute error inside the lips, sum(m |e|) / sum(m).

    Args:
        mask: (n,H,W) soft lip masks in 0..1 (`faces.lip_mask`).
        truth, prediction: (n,H,W,3) floats in 0..1.

    Returns:
        (n,) floats, an error for each picture in the unit of the pictures; NaN where a mask is empty.
    """
    error = np.abs(truth.astype("float64") - prediction).mean(axis=-1)
    weight = mask.sum(axis=(1, 2), dtype="float64")
    return (mask * error).sum(axis=(1, 2)) / np.where(weight > 0, weight, np.nan)


def pose(points: np.ndarray, onto: np.ndarray) -> np.ndarray:
    """(2,3) float64, the similarity that moves eyes and nose, of (5,2) landmarks, onto those of another picture.

    For a frozen mouth that follows the head.
    """
    return cv2.estimateAffinePartial2D(np.float32(points[:3]), np.float32(onto[:3]), method=cv2.LMEDS)[0]


def bootstrap_interval(
    values: np.ndarray, groups: np.ndarray | None = None, level: float = 0.95, draws: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of a mean (Efron 1979).

    Args:
        values: (n,) floats.
        groups: (n,) labels, such as the clip of each frame: whole groups are drawn, since frames of a clip are alike.
    """
    values = np.asarray(values, "float64")
    groups = np.arange(len(values)) if groups is None else np.asarray(groups)
    _, index = np.unique(groups, return_inverse=True)
    sums, counts = np.bincount(index, values), np.bincount(index)
    drawn = np.random.default_rng(seed).integers(len(sums), size=(draws, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def sharpness(images: np.ndarray, masks: np.ndarray, sigma: float = 1.5) -> np.ndarray:
    """Fine detail inside masks: the root mean square of what a Gaussian blur takes away from the grey picture.

    To be compared between pictures of one size, such as a frame before and after its mouth was replaced.

    Args:
        images: (n,H,W,3) uint8 BGR.
        masks: (n,H,W) weights, 0 or more.
        sigma: of the blur in pixels; detail is what is finer.

    Returns:
        (n,) floats in grey levels; NaN where a mask is empty.
    """
    values = []
    for image, mask in zip(images, np.asarray(masks, "float64"), strict=True):
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype("float64")
        fine = grey - cv2.GaussianBlur(grey, (0, 0), sigma)
        weight = mask.sum()
        values.append(((mask * fine * fine).sum() / (weight if weight > 0 else np.nan)) ** 0.5)
    return np.array(values)


def mouth_opening(crops: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """How far the mouth is open, judged by how dark the darkest fifth of the mouth region is.

    Red tells best, since lips are red and the inside of a mouth is not. It has no unit and depends on the face: use it
    to correlate, within one clip. On puppets its correlation with the true opening is 0.91 (0.87 to 0.94, eight clips).

    Args:
        crops: (n,H,W,3) uint8 BGR.
        landmarks: (n,5,2) in crop pixels.

    Returns:
        (n,) floats; larger is wider open, 0 where the mouth region is as light as the face.
    """
    openings = []
    for crop, points in zip(crops, np.asarray(landmarks, "float64"), strict=True):
        nose, left, right = points[2:]
        middle, along = (left + right) / 2, right - left
        apart = max(float(np.hypot(*along)), 1e-6)
        unit = max(apart, float(np.hypot(*(middle - nose)))) * 1.6 / _MOUTH  # crop pixels for one of the patch
        along = along / apart
        below = np.array([-along[1], along[0]])
        corner = middle - unit * _MOUTH * (0.5 * along + 0.35 * below)
        matrix = np.column_stack([along * unit, below * unit, corner])
        patch = cv2.warpAffine(
            crop,
            matrix,
            (_MOUTH, _MOUTH),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        red = patch[..., 2].astype("float64")
        mouth = np.sort(red[8:36, 10:38], axis=None)
        openings.append(1 - mouth[: len(mouth) // 5].mean() / max(float(np.median(red)), 1.0))
    return np.array(openings)


def mouth_openings_seen(seen: Sequence[tuple]) -> np.ndarray:
    """(n,) `mouth_opening` of what `tracking.follow` gives: frames, and the face in each."""
    crops = np.stack([faces.extract(frame.image, one.box) for frame, one in seen])
    return mouth_opening(crops, np.stack([faces.to_crop(one.face.landmarks, one.box) for _, one in seen]))


# ---------------------------------------------------------------------------------------------------------------------
# The register


@dataclasses.dataclass
class Frames:
    """n consecutive frames of a pair of videos: a chunk.

    After a gap, such as a frame without a face, a new chunk begins. Movement needs the frame before: where a chunk goes
    on without a gap, its first frame is the last one of the chunk before, and its first values are left out.

    Attributes:
        truth: (n,96,96,3) uint8 BGR, crops of the true frames, or of the source's where there is no truth.
        generated: the same of the result, cut at the same boxes.
        landmarks: (n,5,2) float32 of the true frames, in crop pixels.
        masks: (n,96,96) float32 in 0..1, lip masks of the true frames (`faces.lip_mask`).
        full_truth, full_generated: n whole pictures each, (H,W,3) uint8 of one size; None where there are crops only.
        boxes: (n,4) where in the pictures the crops were cut (upright), or None.
    """

    truth: np.ndarray
    generated: np.ndarray
    landmarks: np.ndarray
    masks: np.ndarray
    full_truth: Sequence[np.ndarray] | None = None
    full_generated: Sequence[np.ndarray] | None = None
    boxes: np.ndarray | None = None
    known: dict = dataclasses.field(default_factory=dict, repr=False)  # what several measures need

    def __len__(self) -> int:
        return len(self.truth)

    @property
    def has_pictures(self) -> bool:
        return self.full_truth is not None and self.full_generated is not None and self.boxes is not None

    def once(self, name: str, make: Callable[["Frames"], np.ndarray]) -> np.ndarray:
        """`make(self)`, computed once."""
        if name not in self.known:
            self.known[name] = make(self)
        return self.known[name]


def mean(values: np.ndarray) -> float:
    """Of the values that are not NaN; NaN where there are none."""
    values = np.asarray(values, "float64")
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else float("nan")


def largest(values: np.ndarray) -> float:
    """Of the values that are not NaN; NaN where there are none."""
    values = np.asarray(values, "float64")
    values = values[~np.isnan(values)]
    return float(values.max()) if len(values) else float("nan")


@dataclasses.dataclass
class Metric:
    """A measure.

    Attributes:
        name: key in `METRICS`, in results.json and results.csv.
        title: for people.
        unit: "" for a pure number.
        better: "higher", "lower", or None where neither is.
        range: least and largest possible value; None where there is no bound.
        source: where the definition comes from, or the formula.
        per: "frame": fn(frames: Frames) -> (n,) floats, NaN where it is not defined; `reduce` makes the video's value
            of those of all its frames. "video": fn takes what its docstring says. "set": so too, of all videos.
        fn: computes it.
        reduce: (N,) -> float.
        needs_truth: False where `Frames.truth` may be a source whose mouth says something else.
        missing: () -> why it cannot be measured here and what to do, or None.
    """

    name: str
    title: str
    unit: str
    better: str | None
    range: tuple[float | None, float | None]
    source: str
    per: str
    fn: Callable
    reduce: Callable[[np.ndarray], float] = mean
    needs_truth: bool = True
    missing: Callable[[], str | None] = lambda: None

    def describe(self) -> dict:
        """What results.json says of it."""
        shown = {name: getattr(self, name) for name in ("title", "unit", "better", "source")}
        return shown | {"range": list(self.range)}


METRICS: dict[str, Metric] = {}


def register(
    name: str, title: str, unit: str, better: str | None, range: tuple, source: str, per: str = "frame", **more
):
    """A decorator: puts `Metric(name, ...)` with the function into `METRICS`."""

    def add(fn):
        assert name not in METRICS and per in ("frame", "video", "set") and better in ("higher", "lower", None), name
        METRICS[name] = Metric(name, title, unit, better, range, source, per, fn, **more)
        return fn

    return add


# ---------------------------------------------------------------------------------------------------------------------
# Errors of pictures


@register("psnr", "PSNR", "dB", "higher", (0, MOST_PSNR), "10 log10(255^2 / mean squared error) of the face crop")
def psnr(frames: Frames) -> np.ndarray:
    """Peak signal-to-noise ratio of each crop, all channels together: (n,) dB, MOST_PSNR at most (equal pictures)."""
    return np.array([_psnr(a, b) for a, b in zip(frames.truth, frames.generated, strict=True)])


@register("psnr_mouth", "PSNR, mouth", "dB", "higher", (0, MOST_PSNR), "PSNR inside the square around mouth and chin")
def psnr_mouth(frames: Frames) -> np.ndarray:
    """`psnr` inside `faces.mouth_box` of each true frame, in whole pixels: (n,) dB; NaN where that is off the crop."""
    return np.array([_psnr(a, b) for a, b in _mouths(frames)])


def _psnr(truth, generated):
    if not truth.size:
        return np.nan
    error = np.mean((truth.astype("float64") - generated) ** 2)
    return min(MOST_PSNR, 10 * np.log10(255**2 / error)) if error else MOST_PSNR


@register("ssim", "SSIM", "", "higher", (-1, 1), "Wang et al. 2004, of the face crop (scikit-image)")
def ssim(frames: Frames) -> np.ndarray:
    """Structural similarity of each crop, mean over the channels: (n,) in -1..1.

    Wang et al. 2004, https://doi.org/10.1109/TIP.2003.819861, with their window: 11 x 11, Gaussian of 1.5 pixels.
    """
    return np.array([_ssim(a, b) for a, b in zip(frames.truth, frames.generated, strict=True)])


@register("ssim_mouth", "SSIM, mouth", "", "higher", (-1, 1), "SSIM inside the square around mouth and chin")
def ssim_mouth(frames: Frames) -> np.ndarray:
    """`ssim` inside `faces.mouth_box` of each true frame: (n,); NaN where fewer than 11 x 11 pixels of it are there."""
    return np.array([_ssim(a, b) for a, b in _mouths(frames)])


def _ssim(truth, generated):
    from skimage.metrics import structural_similarity

    if min(truth.shape[:2]) < WINDOW:
        return np.nan
    return structural_similarity(
        truth, generated, channel_axis=-1, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )


def _mouths(frames):
    """The mouth's square, of both."""
    for truth, generated, points in zip(frames.truth, frames.generated, frames.landmarks, strict=True):
        x1, y1, x2, y2 = np.clip(np.rint(faces.mouth_box(points)), 0, SIZE).astype(int)
        yield truth[y1:y2, x1:x2], generated[y1:y2, x1:x2]


@register("lip_mae", "Lip error", "", "lower", (0, 1), "sum(m |e|) / sum(m), m the lip mask, e in 0..1")
def lip_error(frames: Frames) -> np.ndarray:
    """`lip_mae` of each crop: (n,) in 0..1."""
    return lip_mae(frames.masks, frames.truth / 255, frames.generated / 255)


@register("lip_share", "Share of the lips in the error", "", None, (0, 1), "sum(m |e|) / sum(|e|), m the lip mask")
def lip_share(frames: Frames) -> np.ndarray:
    """How much of the L1 error of a crop lies in the lip mask: (n,) in 0..1, NaN where the crops are equal.

    An error spread evenly over the crop gives the mask's share of it, some 0.08.
    """
    error = np.abs(frames.truth.astype("float64") - frames.generated).mean(axis=-1)
    whole = error.sum(axis=(1, 2))
    return (frames.masks * error).sum(axis=(1, 2)) / np.where(whole > 0, whole, np.nan)


@register(
    "sharpness_ratio",
    "Sharpness of the mouth",
    "",
    None,
    (0, None),
    "root mean square of detail finer than 1.5 crop pixels in the lip mask, generated / true; 1: as sharp",
    needs_truth=False,
)
def sharpness_ratio(frames: Frames) -> np.ndarray:
    """`sharpness` of the generated mouth over that of the true one: (n,), NaN where there is no mask or no detail.

    From whole pictures it is measured at their own resolution (a crop of up to LARGEST pixels), with a blur as wide on
    the face as in the crop: so a mouth made at 96 pixels is found softer than the face around it.
    """
    ratios = []
    for i, points in enumerate(frames.landmarks):
        size = SIZE
        if frames.has_pictures:
            box = frames.boxes[i]
            size = int(np.clip(round(float(box[2] - box[0])), SIZE, LARGEST))
            pair = [faces.extract(full[i], box, size) for full in (frames.full_generated, frames.full_truth)]
            mask = faces.lip_mask(points * (size / SIZE), size)
        else:
            pair, mask = [frames.generated[i], frames.truth[i]], frames.masks[i]
        inside = np.argwhere(mask > 0)
        if not len(inside):
            ratios.append(np.nan)
            continue
        sigma = 1.5 * size / SIZE
        reach = int(np.ceil(4 * sigma))  # of the blur
        y1, x1 = np.maximum(inside.min(0) - reach, 0)
        y2, x2 = inside.max(0) + reach + 1
        generated, truth = sharpness([picture[y1:y2, x1:x2] for picture in pair], [mask[y1:y2, x1:x2]] * 2, sigma)
        ratios.append(generated / truth if truth > 0 else np.nan)
    return np.array(ratios)


# ---------------------------------------------------------------------------------------------------------------------
# Where the mouth is


def _unit(points):
    """The face's size, (..., 5, 2) landmarks -> (...): see `faces.crop_box`."""
    points = np.asarray(points, "float64")
    down = points[..., 3:, :].mean(-2) - points[..., :2, :].mean(-2)
    across = points[..., 1, :] - points[..., 0, :]
    length, apart = (np.hypot(*np.moveaxis(way, -1, 0)) for way in (down, across))
    return np.maximum(np.maximum(length, 1.14 * apart), 1e-6)


def face_width(landmarks: np.ndarray) -> np.ndarray:
    """From ear to ear, by the five landmarks: (..., 5, 2) -> (...), in their unit."""
    return FACE_WIDTH * _unit(landmarks)


def _no_68() -> str | None:
    return importlib.import_module(".landmarks", __package__).available()


def _no_five() -> str | None:
    from .backend import BACKEND

    return None if BACKEND == "tensorflow" else "MTCNN needs Keras on TensorFlow; set KERAS_BACKEND=tensorflow"


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
    """`lmd` in `face_width`s of the true frame: (n,)."""
    return lmd(frames) / face_width(frames.landmarks)


@register("lmd_5", "LMD (mouth corners)", "px", "lower", (0, None), _LMD_5, missing=_no_five)
def lmd_5(frames: Frames) -> np.ndarray:
    """Mean distance of the two mouth corners that MTCNN finds in generated and true crops: (n,) crop pixels.

    For want of the 68 points. Corners tell the width of a mouth and hardly its opening. NaN where it finds no face.
    """
    return frames.once("lmd_5", _lmd_5)


@register("lmd_5_normalised", "LMD (mouth corners) / face width", "", "lower", (0, None), _LMD_5, missing=_no_five)
def lmd_5_normalised(frames: Frames) -> np.ndarray:
    """`lmd_5` in `face_width`s of the true frame: (n,)."""
    return lmd_5(frames) / face_width(frames.landmarks)


def _lmd(frames):
    from . import landmarks

    if frames.has_pictures:
        sides = frames.boxes[:, 2] - frames.boxes[:, 0]
        points = frames.landmarks * (sides / SIZE)[:, None, None] + frames.boxes[:, None, :2]
        pairs, scales = zip(frames.full_truth, frames.full_generated, strict=True), SIZE / sides
    else:
        points, scales = frames.landmarks, np.ones(len(frames))
        pairs = zip(frames.truth, frames.generated, strict=True)
    found = [[landmarks.mouth(picture, five) for picture in pair] for pair, five in zip(pairs, points, strict=True)]
    return _distances(found) * scales


def _lmd_5(frames):
    from . import landmarks

    return _distances(np.stack([landmarks.corners(crops) for crops in (frames.truth, frames.generated)], axis=1))


def _distances(points):
    """(n,2,k,2) -> (n,) mean distances of two sets of points."""
    truth, generated = np.moveaxis(np.asarray(points, "float64"), 1, 0)
    return np.hypot(*np.moveaxis(generated - truth, -1, 0)).mean(axis=-1)


# ---------------------------------------------------------------------------------------------------------------------
# Movement

_SPURIOUS = "mean |(g[t] - g[t-1]) - (s[t] - s[t-1])| of result g and source s, in grey, outside mouth and jaw"


@register("spurious_motion", "Spurious motion", "grey levels", "lower", (0, 510), _SPURIOUS, needs_truth=False)
def spurious_motion(frames: Frames) -> np.ndarray:
    """Movement that the result has and the source has not, or the other way round, outside mouth and jaw: (n,) 0..510.

    The mean absolute difference of the two pictures' temporal differences, in grey levels. Measured in the crop where
    there are crops only; in whole pictures around the face too, in a square of twice the crop's side, at the crop's
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
    margin = SIZE // 2 if frames.has_pictures else 0
    size = SIZE + 2 * margin
    values = [np.nan] * min(len(frames), 1)
    for i in range(1, len(frames)):
        weight = ~_jaw(frames.landmarks[i] + margin, size)
        if frames.has_pictures:
            half = (frames.boxes[i][2:] - frames.boxes[i][:2]) / 2
            box = frames.boxes[i] + np.concatenate([-half, half])
            weight &= _within(frames.full_truth[i].shape, box, size)
            full = frames.full_truth, frames.full_generated
            pairs = [[faces.extract(pictures[j], box, size) for j in (i - 1, i)] for pictures in full]
        else:
            pairs = [crops[i - 1 : i + 1] for crops in (frames.truth, frames.generated)]
        then, now = ([cv2.cvtColor(pair[j], cv2.COLOR_BGR2GRAY).astype("float32") for pair in pairs] for j in (0, 1))
        differences = np.abs((now[1] - then[1]) - (now[0] - then[0]))[weight]
        values.append(float(differences.mean()) if len(differences) else np.nan)
    return np.array(values)


def _jaw(points, size):
    """(size,size) bool: what speech may move."""
    below, wide, high = (share * _unit(points) for share in JAW)
    mouth, eyes = points[3:].mean(0), points[:2].mean(0)
    down = (mouth - eyes) / max(float(np.hypot(*(mouth - eyes))), 1e-6)
    at = np.arange(size) + 0.5
    x, y = np.meshgrid(at, at)
    x, y = x - (mouth + below * down)[0], y - (mouth + below * down)[1]
    return ((x * down[1] - y * down[0]) / wide) ** 2 + ((x * down[0] + y * down[1]) / high) ** 2 <= 1


def _within(shape, box, size):
    """(size,size) bool: which pixels of a crop lie in the picture."""
    x, y = (box[i] + (np.arange(size) + 0.5) * ((box[i + 2] - box[i]) / size) for i in (0, 1))
    return ((y >= 0) & (y < shape[0]))[:, None] & ((x >= 0) & (x < shape[1]))


@register(
    "opening_correlation",
    "Correlation of the opening",
    "",
    "higher",
    (-1, 1),
    "Pearson's, of `mouth_opening` in generated and true frames",
    per="video",
)
def opening_correlation(truth: np.ndarray, generated: np.ndarray) -> float:
    """Pearson's correlation of (n,) openings by `mouth_opening`, of the same frames.

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
    "deviation of `mouth_opening` under music without speech / under the clip's speech",
    per="video",
)
def murmur(music: np.ndarray, speech: np.ndarray) -> float:
    """How much the mouth moves to music: the ratio of the standard deviations of its opening; NaN if it never moves.

    Args:
        music, speech: (n,) `mouth_opening` of the same frames, generated under music alone and under the clip's own
            sound.
    """
    moved = float(np.std(speech))
    return float(np.std(music)) / moved if moved > 1e-9 else float("nan")


# ---------------------------------------------------------------------------------------------------------------------
# Sound


def error_ratio(right: np.ndarray, wrong: np.ndarray) -> float:
    """mean(wrong) / mean(right) of (n,) lip errors of the same frames under the right sound and a wrong one.

    1: the sound does not matter. NaN where there are none, or no error under the right sound.
    """
    base = mean(right)
    return mean(wrong) / base if base > 0 else float("nan")


for _name, _title in {
    "sensitivity_3": "3 frames off",
    "sensitivity_5": "5 frames off",
    "sensitivity_10": "10 frames off",
    "sensitivity_other": "another clip's",
}.items():
    register(
        _name,
        f"Sound sensitivity, {_title}",
        "",
        "higher",
        (0, None),
        f"lip error under wrong sound ({_title}) / under the right one; 1: deaf",
        per="video",
    )(error_ratio)


def ratio_interval(
    numerator: np.ndarray,
    denominator: np.ndarray,
    groups: np.ndarray | None = None,
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """sum(numerator) / sum(denominator) and its percentile bootstrap interval: ratio, low, high.

    Args:
        numerator, denominator: (n,) floats that belong together, such as lip errors under wrong and right sound: they
            are drawn together.
        groups: (n,) labels, such as the clip of each frame: whole groups are drawn.
    """
    pairs = np.stack([np.asarray(numerator, "float64"), np.asarray(denominator, "float64")])
    groups = np.arange(pairs.shape[1]) if groups is None else np.asarray(groups)
    known = ~np.isnan(pairs).any(axis=0)
    if not known.any():
        return (float("nan"),) * 3
    pairs, groups = pairs[:, known], groups[known]
    _, index = np.unique(groups, return_inverse=True)
    above, below = (np.bincount(index, row) for row in pairs)
    drawn = np.random.default_rng(seed).integers(len(above), size=(draws, len(above)))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = above[drawn].sum(axis=1) / below[drawn].sum(axis=1)
        ratio = above.sum() / below.sum()
    low, high = np.quantile(ratios, [(1 - level) / 2, (1 + level) / 2])
    return float(ratio), float(low), float(high)


@register(
    "sync_accuracy",
    "Accuracy of our sync discriminator",
    "",
    "higher",
    (0, 1),
    "share of runs that it finds more in sync with their sound than with one at least 3 frames away",
    per="video",
    needs_truth=False,
)
def share_in_sync(own: np.ndarray, others: np.ndarray) -> float:
    """How often the discriminator prefers a run's own sound; 0.5 is chance.

    Args:
        own: (n,) scores with the sound of the run's moment; higher is more in sync.
        others: (n,) or (n,k) scores of the same runs with sound at least 3 frames away. Ties count half.
    """
    own = np.asarray(own, "float64")
    others = np.asarray(others, "float64").reshape(len(own), -1)
    return mean((np.sign(own[:, None] - others).ravel() + 1) / 2)


_LSE = "Prajwal et al. 2020 (Wav2Lip), by SyncNet of Chung & Zisserman 2016"


@register("lse_d", "LSE-D", "", "lower", (0, None), _LSE, per="video", needs_truth=False)
def lse_d(distances: np.ndarray) -> float:
    """The least of the 31 mean distances of mouths and sounds, offsets -15..15."""
    return float(np.min(distances))


@register("lse_c", "LSE-C", "", "higher", (0, None), _LSE, per="video", needs_truth=False)
def lse_c(distances: np.ndarray) -> float:
    """The median of the 31 mean distances less the least."""
    return float(np.median(distances) - np.min(distances))


@register(
    "av_offset",
    "Audio-video offset",
    "frames",
    None,
    (-15, 15),
    "15 - argmin of SyncNet's 31 mean distances (25 fps)",
    per="video",
    needs_truth=False,
)
def av_offset(distances: np.ndarray) -> float:
    """15 less the place of the least of the 31 mean distances, in frames of 1/25 s."""
    return float(15 - int(np.argmin(distances)))


@register(
    "fid",
    "FID",
    "",
    "lower",
    (0, None),
    "Heusel et al. 2017, on Keras's InceptionV3; see lipgan_keras/fid.py",
    per="set",
    needs_truth=False,
)
def frechet(truth, generated) -> float:
    """`fid.fid` of two `fid.Statistics`."""
    from .fid import fid

    return fid(truth, generated)
