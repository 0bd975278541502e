"""What an evaluation is told."""

import dataclasses
from collections.abc import Iterable, Sequence

from .jobs import IDENTITY_DISTANCE

BASELINES = {
    "frozen": "the identity frame itself",
    "aligned": "the identity frame, moved so that eyes and nose lie on the true ones",
    "source": "the true frame",
}
# Of a generator on preprocessed clips, which never sees the mouth that it has to draw
IDENTITIES = {
    "first": f"the clip's first frame; what is measured comes at least {IDENTITY_DISTANCE} frames after it",
    "random": "a random frame of the clip; all others are measured",
    "far": "of each frame the one of the clip that is furthest away in time; all are measured",
}
ORDERS = ("sound_face", "face_sound")  # of a list's two columns
PAGE = b'id="sheet"'  # is in every report
# Names of measures that misled, and those that took their place; results.json and results.csv hold both.
EARLIER = {"sync_accuracy": "sync_preference"}


def shown(names: Iterable[str]) -> list[str]:
    """Of names of measures in results.json those to show people: each measure once."""
    names = list(names)
    return [name for name in names if EARLIER.get(name) not in names]


@dataclasses.dataclass(frozen=True)
class EvalConfig:
    """What `evaluate` is told; the flags of evaluate.py have the same names.

    Either `generated` and `truth`, or `checkpoint` and `data_root`, say what is measured.

    Attributes:
        generated, truth: folders of results and of true videos, paired by their names.
        checkpoint: a generator.
        data_root: folder or pack of preprocessed clips; with `filelist`, folder of videos.
        filelists: folder with a val.txt, whose clips are measured; None: those that training held out, or all where it
            knew none.
        split: which clips are measured: those that <split>.txt in `filelists` names (None: val.txt), or without lists
            those in folders of that name, as LRW has them; "all": whatever there is.
        identity: of IDENTITIES; None: "first".
        filelist: Wav2Lip's list for evaluation, lines <clip of the audio> <clip of the face>.
        order: of `filelist`'s columns, of ORDERS.
        whole_frames: SyncNet sees whole frames of videos, and not what its own pipeline cuts around the face.
        protocol: of `protocols.PROTOCOLS`, which fixes some of these; None: none.
        baseline: of BASELINES, in place of the generator's mouth.
        audio_offset_ms: shift of the audio windows; None: the checkpoint's.
        max_videos: measure so many of them, evenly spread; None: all.
        metrics: names of `metrics.register.METRICS`; None: all that can be had.
        syncnet: weights for LSE-D and LSE-C.
        inception: weights for the FID.
        lpips, arcface: ONNX files of networks for LPIPS, and for the identity of a face.
        sync_checkpoint: with a discriminator of ours; None: `checkpoint`.
        plugin: Python file that registers blocks of the generator; the code in it is run.
        out: folder for results; None: results/evaluation/<name>.
        report: write report.html there too.
        num_workers: processes; None: one a core, at most 4.
    """

    generated: str | None = None
    truth: str | None = None
    checkpoint: str | None = None
    data_root: str | None = None
    filelists: str | None = None
    split: str | None = None
    identity: str | None = None
    filelist: str | None = None
    order: str = ORDERS[0]
    whole_frames: bool = False
    protocol: str | None = None
    baseline: str | None = None
    audio_offset_ms: float | None = None
    max_videos: int | None = None
    metrics: Sequence[str] | None = None
    syncnet: str | None = None
    inception: str | None = None
    lpips: str | None = None
    arcface: str | None = None
    sync_checkpoint: str | None = None
    out: str | None = None
    report: bool = False
    num_workers: int | None = None
    plugin: str | None = None

    @property
    def mode(self) -> str:
        """What is measured: "generated" videos, a "checkpoint" on clips, or one on a "filelist" of videos."""
        return "filelist" if self.filelist else "generated" if self.generated else "checkpoint"
