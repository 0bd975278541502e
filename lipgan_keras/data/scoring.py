"""Scores that training and evaluation share: the lip error, and telling synced from unsynced."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from ..config import ModelConfig
from ..utils.errors import UserError
from . import dataset
from .clip_folder import Clip
from .dataset import Dataset

if TYPE_CHECKING:
    from ..utils.backend import keras


def lip_mae(mask: np.ndarray, truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Mean absolute error inside the lips, sum(m |e|) / sum(m).

    Args:
        mask: (n,H,W) soft lip masks in 0..1 (`regions.lip_mask`).
        truth, prediction: (n,H,W,3) floats in 0..1.

    Returns:
        (n,) floats, an error for each image in the unit of the images; NaN where a mask is empty.
    """
    error = np.abs(truth.astype("float64") - prediction).mean(axis=-1)
    weight = mask.sum(axis=(1, 2), dtype="float64")
    return (mask * error).sum(axis=(1, 2)) / np.where(weight > 0, weight, np.nan)


def spread(total: int, count: int) -> np.ndarray:
    """At most `count` of the numbers below `total`, evenly spread, each once."""
    return np.unique(np.linspace(0, total - 1, min(count, total)).astype(int))


CHUNK = 64  # runs at a time


@dataclasses.dataclass
class Scores:
    """Scores of `n` synced and `n` unsynced pairs; higher is more in sync.

    Attributes:
        synced, unsynced: {network: (n,) float}.
        runs: (n,3) int, the clip, the first frame of the mouths, and that of the unsynced sound.
    """

    synced: dict[str, np.ndarray]
    unsynced: dict[str, np.ndarray]
    runs: np.ndarray


@dataclasses.dataclass
class Pairs:
    """Up to `CHUNK` synced pairs and as many unsynced ones, of the same frames.

    Attributes:
        runs: see `Scores`.
        mouths: (n,48,48,3T) float32 in 0..1.
        images: (n,96,96,3) uint8, the middle frame of each run.
        sounds: of the synced pairs and of the unsynced, each (n,T,80,27,1) or (n,T,12,35,1) float32.
    """

    runs: np.ndarray
    mouths: np.ndarray
    images: np.ndarray
    sounds: tuple[np.ndarray, np.ndarray]


def draw(data: Dataset, count: int, seed: int = 0, progress: bool = False) -> Iterator[Pairs]:
    """Pairs of real frames, evenly spread over the clips of `data`, which is of `pairs_of`.

    Args:
        count: runs at most, each of which gives a synced and an unsynced pair.

    Raises:
        UserError: no clip is long enough.
    """
    rng = np.random.default_rng([seed, 3])
    chosen = spread(len(data), count)
    runs = [(int(data.clip_of[i]), int(data.frame_of[i])) for i in chosen]
    runs = [(clip, first, data.shifted(clip, first, rng)) for clip, first in runs if data.is_whole(clip, first)]
    far = [abs(data.clips[clip].frames[a] - data.clips[clip].frames[b]) >= dataset.SAME_SOUND for clip, a, b in runs]
    runs = [run for run, enough in zip(runs, far, strict=True) if enough]
    if not runs:
        raise UserError("no held-out clip is long enough for a pair that is out of sync; hold out others")
    for start in tqdm(range(0, len(runs), CHUNK), "pairs", disable=not progress, leave=False, delay=1):
        chunk = runs[start : start + CHUNK]
        mouths, synced = zip(*(data.sync_sample(clip, a, rng) for clip, a, _ in chunk), strict=True)
        images = [data.image(clip, a + data.frames // 2) for clip, a, _ in chunk]
        unsynced = [data.heard(clip, b, rng) for clip, _, b in chunk]
        yield Pairs(np.array(chunk), np.stack(mouths), np.stack(images), (np.stack(synced), np.stack(unsynced)))


def score(models: dict[str, keras.Model], drawn: Iterable[Pairs]) -> Scores:
    """Score pairs.

    Args:
        models: "sync" and "discriminator", or one of them; the latter sees the middle frame of each run alone.
        drawn: of `draw`.
    """
    names = [name for name in ("sync", "discriminator") if name in models]
    scores, runs = [{name: [] for name in names} for _ in range(2)], []
    for pairs in drawn:
        runs.append(pairs.runs)
        for found, sounds in zip(scores, pairs.sounds, strict=True):
            if "sync" in names:
                heard = np.moveaxis(sounds[..., 0], 1, -1)
                found["sync"].append(_predict(models["sync"], pairs.mouths, heard, _cosine))
            if "discriminator" in names:
                images, sound = pairs.images.astype("float32") / 255, sounds[:, sounds.shape[1] // 2]
                found["discriminator"].append(_predict(models["discriminator"], images, sound, _nearness))
    synced, unsynced = ({name: np.concatenate(found[name]) for name in names} for found in scores)
    return Scores(synced, unsynced, np.concatenate(runs))


def pairs_of(clips: list[Clip], config: ModelConfig, models: dict, seed: int) -> Dataset:
    """The data of `draw`; the contrastive discriminator alone needs no runs of several frames."""
    if "sync" not in models:
        config = dataclasses.replace(config, sync_frames=1)
    return Dataset(clips, config, 2, seed, generator=False, sync=True)


def _predict(model, images, sounds, finish):
    missing = [(0, CHUNK - len(images))]  # filled up, so that the model is compiled once
    inputs = [np.pad(x, missing + [(0, 0)] * (x.ndim - 1)) for x in (images, sounds)]
    return finish(model.predict_on_batch(inputs))[: len(images)]


def _cosine(embeddings):
    return (np.asarray(embeddings[0]) * np.asarray(embeddings[1])).sum(axis=-1)


def _nearness(distance):
    return -np.asarray(distance)[:, 0]


def best_threshold(synced: np.ndarray, unsynced: np.ndarray) -> float:
    """The score from which on a pair is best called synced: it errs least often on these, balanced, pairs."""
    values = np.sort(np.concatenate([synced, unsynced]))
    cuts = np.concatenate([values[:1] - 1, (values[1:] + values[:-1]) / 2, values[-1:] + 1])
    misses = np.searchsorted(np.sort(synced), cuts) / len(synced)  # synced below the cut
    alarms = 1 - np.searchsorted(np.sort(unsynced), cuts) / len(unsynced)
    return float(cuts[np.argmin(misses + alarms)])


def accuracy(synced: np.ndarray, unsynced: np.ndarray, threshold: float) -> float:
    """The share of right calls, 0..1, of as many synced as unsynced pairs."""
    return float((np.mean(synced > threshold) + np.mean(unsynced <= threshold)) / 2)


def held_out_accuracy(training: Scores, held_out: Scores, which: np.ndarray | slice = slice(None)) -> dict[str, float]:
    """{network: accuracy on `held_out`, or `which` of its runs}, with the thresholds that are best on `training`."""
    found = {}
    for name, synced in training.synced.items():
        threshold = best_threshold(synced, training.unsynced[name])
        found[name] = accuracy(held_out.synced[name][which], held_out.unsynced[name][which], threshold)
    return found
