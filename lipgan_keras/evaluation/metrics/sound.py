"""Whether the mouth fits the audio."""

import numpy as np

from .register import mean, register


def error_ratio(right: np.ndarray, wrong: np.ndarray) -> float:
    """mean(wrong) / mean(right) of (n,) lip errors of the same frames under the right audio and a wrong one.

    1: the audio does not matter. NaN where there are none, or no error under the right audio.
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


@register(
    "sync_preference",
    "Sync preference",
    "",
    "higher",
    (0, 1),
    "share of comparisons in which our discriminator prefers a run's own sound to the same 3 to 25 frames away",
    per="video",
    needs_truth=False,
)
def share_in_sync(own: np.ndarray, others: np.ndarray) -> float:
    """How often the discriminator prefers a run's own audio; 0.5 is chance.

    It was called sync accuracy, as is another measure: the share of right calls, in sync or not, on pairs of an image
    and a sound at the best threshold (`data.scoring.held_out_accuracy`), which judges a discriminator on real videos.

    Args:
        own: (n,) scores with the audio of the run's moment; higher is more in sync.
        others: (n,) or (n,k) scores of the same runs with audio at least 3 frames away. Ties count half.
    """
    own = np.asarray(own, "float64")
    others = np.asarray(others, "float64").reshape(len(own), -1)
    return mean((np.sign(own[:, None] - others).ravel() + 1) / 2)


_LSE = "Prajwal et al. 2020 (Wav2Lip), by SyncNet of Chung & Zisserman 2016"


@register("lse_d", "LSE-D", "", "lower", (0, None), _LSE, per="video", needs_truth=False)
def lse_d(distances: np.ndarray) -> float:
    """The least of SyncNet's 31 mean distances of mouths and audio, at offsets of -15 to 15 frames."""
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
    "Heusel et al. 2017, on Keras's InceptionV3; see lipgan_keras/evaluation/fid.py",
    per="set",
    needs_truth=False,
)
def frechet(truth, generated) -> float:
    """`fid.fid` of two `fid.Statistics`."""
    from ..fid import fid

    return fid(truth, generated)
