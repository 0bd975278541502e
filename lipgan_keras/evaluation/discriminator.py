"""What a discriminator of ours says of a video."""

import os

import numpy as np

from ..config import MOUTH_SIZE
from ..data import clip_folder
from ..face import cropping, regions
from . import jobs
from .metrics import sound


class ReferenceDiscriminator:
    """A discriminator of ours.

    Args:
        path: a checkpoint that holds one; the lip-sync discriminator where it holds it, else the contrastive one.

    Raises:
        UserError: it holds none, or cannot be read.
    """

    BATCH = 32

    def __init__(self, path: str | os.PathLike):
        from ..inference import models as inference_models
        from ..utils.backend import keras

        models, self.config = inference_models.load_discriminators(path)
        if "sync" in models:
            self.name, self.model, self.frames = "sync", models["sync"], self.config.sync_frames
        else:
            model = models["discriminator"]  # its towers end in these layers, the face's first
            towers = [model.get_layer(f"flatten_{n}").output for n in (1, 2)]
            self.name, self.model, self.frames = "discriminator", keras.Model(model.inputs, towers), 1

    def embed(self, runs: list[tuple[np.ndarray, np.ndarray]]) -> list[np.ndarray]:
        """Two (n,d) float32 arrays of unit vectors, of images and sounds."""
        inputs = [np.stack(x) for x in zip(*runs, strict=True)]
        inputs = [np.pad(x, [(0, self.BATCH - len(x))] + [(0, 0)] * (x.ndim - 1)) for x in inputs]  # compiled once
        found = [np.asarray(x, "float32")[: len(runs)] for x in self.model.predict_on_batch(inputs)]
        return [x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9) for x in found]


class SyncScorer:
    """What a judge thinks of one video, given its frames at FPS one after another."""

    def __init__(self, judge: ReferenceDiscriminator):
        self.judge, self.config = judge, judge.config
        self.run, self.waiting, self.firsts = [], [], []  # the last frames, what is to be embedded, and all runs
        self.embedded = [], []

    def add(self, number: int, crop: np.ndarray, points: np.ndarray, window: np.ndarray) -> None:
        """Hear a frame.

        Args:
            number: its own; a gap in the numbers or a cut ends a run of frames.
            crop: (S,S,3) uint8, with S of the discriminator's configuration.
            points: (5,2), the landmarks in it.
            window: (80,27,1) or (12,35,1), the audio of its time.
        """
        if self.run and (number != self.run[-1][0] + 1 or clip_folder.is_cut(self.run[-1][1], crop)):
            self.run = []
        self.run = [*self.run, (number, crop, points, window)][-self.judge.frames :]
        if len(self.run) < self.judge.frames:
            return
        numbers, crops, points, windows = zip(*self.run, strict=True)
        if self.judge.name == "sync":
            box = regions.mouth_box(np.stack(points))
            matrices = cropping.crop_matrices(box, len(crop), MOUTH_SIZE)
            pair = cropping.mouths_of(np.stack(crops), *matrices), np.concatenate(windows, axis=-1)
        else:
            pair = crops[0].astype("float32") / 255, windows[0]
        self.firsts.append(numbers[0])
        self.waiting.append(pair)
        if len(self.waiting) == ReferenceDiscriminator.BATCH:
            self._embed()

    def _embed(self):
        if self.waiting:
            for kept, new in zip(self.embedded, self.judge.embed(self.waiting), strict=True):
                kept.append(new)
        self.waiting = []

    def accuracy(self) -> float:
        """How often the video's own audio fits a run of frames better than the same sound at another time.

        Each run is compared under its own audio with itself under that of every other run NEAREST to FURTHEST frames
        before or after it. The share of comparisons that its own audio wins, ties by half: 0.5 is a guess, and what is
        lost in pauses and steady vowels, where sounds are alike, keeps even the truth from 1. NaN: too short.
        """
        self._embed()
        if not self.firsts:
            return float("nan")
        return share_in_sync(np.array(self.firsts), *(np.concatenate(x) for x in self.embedded))


def share_in_sync(firsts: np.ndarray, images: np.ndarray, sounds: np.ndarray) -> float:
    """The figure of `SyncScorer.accuracy`, of unit vectors (n,d) of runs that begin at frames `firsts` (n,), rising."""
    place = np.full(firsts[-1] - firsts[0] + 1 + 2 * jobs.FURTHEST, -1)  # of the run that begins at each frame
    place[firsts - firsts[0] + jobs.FURTHEST] = np.arange(len(firsts))
    others = []
    for shift in range(jobs.NEAREST, jobs.FURTHEST + 1):
        for way in (-shift, shift):
            heard = place[firsts - firsts[0] + jobs.FURTHEST + way]
            others.append(np.where(heard >= 0, (images * sounds[heard]).sum(axis=1), np.nan))
    return sound.share_in_sync((images * sounds).sum(axis=1), np.stack(others, axis=1))
