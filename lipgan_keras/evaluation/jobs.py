"""What is measured, and by which networks; the record of each."""

import dataclasses
from pathlib import Path
from typing import Literal

import numpy as np

from ..utils import files
from ..utils.kinds import Fields, Number

SIZE = 96  # side of the crops that are measured
CHUNK = 32  # frames at a time
CHUNK_BYTES = 1 << 27  # of their full images
PROBES = 12  # frames of a result in which a face is looked for
JUST = 0.002  # seconds that do not count in the pairing of frames: containers round times
LONGER = 0.06  # seconds by which two videos may differ in length without a word
IDENTITY_DISTANCE = 12  # frames between the identity frame and the nearest that is measured
LEAST = 5  # frames to measure
LONGEST_NAME = 200  # bytes, of a file without its suffix; most file systems allow 255 with it
SHIFTS = (3, 5, 10)  # frames by which wrong audio is shifted
NEAREST, FURTHEST = 3, 25  # frames by which the discriminator's wrong audio is shifted
FID_EVERY = 5  # frames; neighbours are nearly the same image
SENSITIVITY = {f"sensitivity_{name}" for name in (*SHIFTS, "other")}


LSE_SHIFTS = 31
# Kinds of what results.json says of a measure, and of a video
ABOUT = Fields(
    title=str | None,
    unit=str | None,
    better=str | None,
    source=str | None,
    range=tuple[Number | None, Number | None] | None,
)
CURVES = Fields(
    lse_distances=tuple[(Number | None,) * LSE_SHIFTS] | None,
    lip_error_by_shift=dict[str, Number | None] | None,
    lip_error_other_sound=Number | None,
)
RECORD = Fields(
    name=str,
    status=Literal["ok", "failed"],
    reason=str | None,
    notes=list[str] | None,
    frames=int | None,
    faces=int | None,
    files=dict[str, str] | None,
    values=dict[str, Number | None] | None,
    curves=CURVES,
    worst_frame=int | None,
)


@dataclasses.dataclass(frozen=True)
class Settings:
    """What every video is measured with; paths are None where there is none.

    Attributes:
        mode: "generated", "checkpoint" or "filelist", as evaluate.py has them.
        out: folder of the results.
        metrics: names of those to measure.
        checkpoint: a generator.
        audio_offset_ms: overrides the checkpoint's.
        baseline: of `config.BASELINES`, takes the place of the generator.
        sync_checkpoint: one with a discriminator of ours.
        syncnet, inception, lpips, arcface: files of weights.
        plugin: Python file that registers blocks of the generator.
        identity: of `config.IDENTITIES`.
        whole_frames: SyncNet sees whole frames of videos.
    """

    mode: str
    out: Path
    metrics: tuple[str, ...]
    checkpoint: str | None = None
    audio_offset_ms: float | None = None
    baseline: str | None = None
    sync_checkpoint: str | None = None
    syncnet: str | None = None
    inception: str | None = None
    lpips: str | None = None
    arcface: str | None = None
    plugin: str | None = None
    identity: str = "first"
    whole_frames: bool = False


@dataclasses.dataclass(frozen=True)
class Job:
    """One result to be measured.

    Attributes:
        name: unique among the jobs; a relative path without suffix.
        truth, generated: video files; or
        clip: a preprocessed folder, and
        other: that of another clip, for its audio.
        problem: why it cannot be measured, where that is known already.
    """

    name: str
    truth: Path | None = None
    generated: Path | None = None
    clip: Path | None = None
    other: Path | None = None
    problem: str | None = None

    def place(self, out: Path, suffix: str) -> Path:
        """Of a file that belongs to this job."""
        *folders, name = self.name.split("/")
        return out.joinpath("videos", *folders, f"{files.shortened(name, LONGEST_NAME)}{suffix}")


def empty(settings: Settings, job: Job) -> dict:
    """A record that says nothing yet."""
    return {
        "name": job.name,
        "status": "ok",
        "reason": None,
        "notes": [],
        "frames": 0,
        "faces": 0,
        "files": {},
        "values": dict.fromkeys(settings.metrics),
        "curves": {},
        "worst_frame": None,
    }


def fail(record: dict, reason: str) -> dict:
    """Say of a record that its video could not be measured."""
    record["status"], record["reason"] = "failed", " ".join(reason.split())
    record["values"] = dict.fromkeys(record["values"])  # what was measured so far is of a part
    return record


def paired(settings: Settings) -> bool:
    """Whether the truth shows the mouth that the result should have, and not one that says something else."""
    return settings.mode != "filelist"


def finite(value: float) -> float | None:
    """As JSON holds it."""
    return float(value) if np.isfinite(value) else None


def shown(path: Path, out: Path) -> str:
    """A path as results.json has it: relative to the results where it lies in them."""
    path, out = path.resolve(), out.resolve()
    return path.relative_to(out).as_posix() if path.is_relative_to(out) else str(path)
