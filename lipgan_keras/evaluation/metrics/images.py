"""Errors of images."""

import cv2
import numpy as np

from ...data.scoring import lip_mae
from ...face import cropping, regions
from . import register as metrics_register
from .register import Frames, register

MOST_PSNR = 100.0  # dB, in place of infinity; a single grey level in a crop is 92.5
WINDOW = 11  # pixels, SSIM's
LARGEST = 384  # pixels of a side at which native crops are compared


def sharpness(images: np.ndarray, masks: np.ndarray, sigma: float = 1.5) -> np.ndarray:
    """Fine detail inside masks: the root mean square of what a Gaussian blur takes away from the grey image.

    To be compared between images of one size, such as a frame before and after its mouth was replaced.

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


@register("psnr", "PSNR", "dB", "higher", (0, MOST_PSNR), "10 log10(255^2 / mean squared error) of the face crop")
def psnr(frames: Frames) -> np.ndarray:
    """Peak signal-to-noise ratio of each crop, all channels together: (n,) dB, MOST_PSNR at most (equal images)."""
    return np.array([_psnr(a, b) for a, b in zip(frames.truth, frames.generated, strict=True)])


@register("psnr_mouth", "PSNR, mouth", "dB", "higher", (0, MOST_PSNR), "PSNR inside the square around mouth and chin")
def psnr_mouth(frames: Frames) -> np.ndarray:
    """`psnr` inside `regions.mouth_box` of each true frame, in whole pixels: (n,) dB; NaN if it is off the crop."""
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
    """`ssim` inside `regions.mouth_box` of each true frame: (n,); NaN where under 11 x 11 pixels of it are there."""
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
        x1, y1, x2, y2 = np.clip(np.rint(regions.mouth_box(points)), 0, metrics_register.SIZE).astype(int)
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

    From whole images it is measured at their own resolution (a crop of up to LARGEST pixels), with a blur as wide on
    the face as in the crop: so a mouth made at 96 pixels is found softer than the face around it.
    """
    ratios = []
    for i, points in enumerate(frames.landmarks):
        size = metrics_register.SIZE
        if frames.has_full_images:
            box = frames.boxes[i]
            size = int(np.clip(round(float(box[2] - box[0])), metrics_register.SIZE, LARGEST))
            pair = [cropping.extract(full[i], box, size) for full in (frames.full_generated, frames.full_truth)]
            mask = regions.lip_mask(points * (size / metrics_register.SIZE), size)
        else:
            pair, mask = [frames.generated[i], frames.truth[i]], frames.masks[i]
        inside = np.argwhere(mask > 0)
        if not len(inside):
            ratios.append(np.nan)
            continue
        sigma = 1.5 * size / metrics_register.SIZE
        reach = int(np.ceil(4 * sigma))  # of the blur
        y1, x1 = np.maximum(inside.min(0) - reach, 0)
        y2, x2 = inside.max(0) + reach + 1
        generated, truth = sharpness([crop[y1:y2, x1:x2] for crop in pair], [mask[y1:y2, x1:x2]] * 2, sigma)
        ratios.append(generated / truth if truth > 0 else np.nan)
    return np.array(ratios)
