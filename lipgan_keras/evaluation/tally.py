"""What is collected of a video, frame by frame."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..data import scoring
from ..face import aperture
from ..utils import files
from ..utils.errors import UserError
from . import fid, jobs, loaded
from .discriminator import SyncScorer
from .jobs import Job, Settings, finite, paired
from .metrics import movement, register
from .metrics.register import Frames


class VideoScores:
    """Collects the frames of one video, and finishes its record."""

    def __init__(self, settings: Settings, record: dict):
        self.settings, self.record = settings, record
        per_frame = [metric for metric in register.METRICS.values() if metric.per == "frame"]
        self.measured = [metric for metric in per_frame if metric.name in settings.metrics]
        self.values = {metric.name: [] for metric in self.measured}
        self.lip_errors, self.numbers = [], []
        self.openings = Openings() if "opening_correlation" in settings.metrics else None
        self.inception = (
            loaded.inception(settings.inception) if settings.inception and "fid" in settings.metrics else None
        )
        self.features = {"truth": [], "generated": []}
        self.listener = None
        if settings.sync_checkpoint and "sync_preference" in settings.metrics:
            self.listener = SyncScorer(loaded.judge(settings.sync_checkpoint))

    def add(self, frames: Frames, numbers: Sequence[int], overlap: int) -> None:
        """Count a chunk.

        Args:
            frames: consecutive ones.
            numbers: which frames of the result they are.
            overlap: so many of the first are the last of the chunk before, and there for the sake of movement.
        """
        for metric in self.measured:
            given = [loaded.given(getattr(self.settings, metric.given), metric.given)] if metric.given else []
            self.values[metric.name].append(np.asarray(metric.fn(frames, *given), "float64")[overlap:])
        self.numbers += numbers[overlap:]
        self.record["faces"] += len(frames) - overlap
        self.lip_errors.append(scoring.lip_mae(frames.masks, frames.truth / 255, frames.generated / 255)[overlap:])
        if self.openings:
            self.openings.add(frames.landmarks[overlap:], frames.truth[overlap:], frames.generated[overlap:])
        chosen = [i for i, number in enumerate(numbers) if i >= overlap and number % jobs.FID_EVERY == 0]
        if self.inception and chosen:
            for name, crops in (("truth", frames.truth), ("generated", frames.generated)):
                self.features[name].append(self.inception(crops[chosen]))

    def finish(self, job: Job) -> None:
        """Write what was collected into the record."""
        values = self.record["values"]
        for metric in self.measured:
            values[metric.name] = finite(metric.reduce(np.concatenate(self.values[metric.name])))
        if self.openings:
            values["opening_correlation"] = finite(movement.opening_correlation(*self.openings.found()))
        errors = np.concatenate(self.lip_errors)
        if paired(self.settings) and np.isfinite(errors).any():
            self.record["worst_frame"] = int(self.numbers[int(np.nanargmax(errors))])
        if self.listener:
            values["sync_preference"] = finite(self.listener.accuracy())
        if self.inception:
            with files.replacing(job.place(self.settings.out, ".fid.npz")) as temporary:
                nothing = np.empty((0, fid.FEATURES), "float32")
                np.savez(
                    temporary, **{name: np.concatenate([nothing, *found]) for name, found in self.features.items()}
                )


class Openings:
    """How far mouths are open, frame by frame, in two videos cut at the same boxes.

    Read at one place throughout, the mean landmarks of the first chunk. A place that followed the true face would open
    a mouth that stands still: boxes and landmarks move with the jaw.
    """

    def __init__(self):
        self.points, self.openings = None, []

    def add(self, landmarks: np.ndarray, one: np.ndarray, other: np.ndarray) -> None:
        """Take in crops (n,96,96,3) of both, and the landmarks (n,5,2)."""
        if self.points is None:
            self.points = landmarks.mean(axis=0)
        points = np.broadcast_to(self.points, landmarks.shape)
        self.openings.append([aperture.mouth_aperture(crops, points) for crops in (one, other)])

    def found(self) -> np.ndarray:
        """(2,n), see `aperture.mouth_aperture`."""
        return np.concatenate(self.openings, axis=1)


def add_lse(settings: Settings, record: dict, path: Path, crop: bool) -> None:
    """LSE-D, LSE-C and offset of a video file, by SyncNet."""
    wanted = [name for name in ("lse_d", "lse_c", "av_offset") if name in settings.metrics]
    if not settings.syncnet or not wanted:
        return
    try:
        scores = loaded.syncnet(settings.syncnet).score(path, crop=crop)
    except UserError as error:
        record["notes"].append(f"no LSE: {error}")
        return
    record["curves"]["lse_distances"] = [float(distance) for distance in scores["distances"]]
    for name in wanted:
        record["values"][name] = float(scores["offset" if name == "av_offset" else name])
