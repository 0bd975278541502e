"""What may be told to `LipSync.run`, and what it returns."""

import dataclasses
import math
import os
from collections.abc import Sequence
from pathlib import Path

from ..utils.errors import UserError
from ..utils.terminal import printable
from . import blend

ENGINES = ("auto", "openvino", "keras")
BATCH_SIZE, MOST_FACES = 16, 1024  # that the generator is given at once, by default and at most
MAX_FPS = 240
PREVIEW_SIDE = 192  # pixels of a face in a preview
LEAST_SIDE = 64  # pixels


@dataclasses.dataclass
class Options:
    """What `LipSync.run` may be told beside face, sound and output file.

    Attributes:
        region: what is redrawn: "mouth", "jaw" or "face", the original's rectangle.
        sharpen: how much of the detail of the face around it the mouth is given; 0: none.
        keep: a picture of the face image's size, white where the source is to stay, black elsewhere.
        pads: top, bottom, left, right: pixels of the face image by which the crop grows on each side (shrinks where
            negative).
        box: top, bottom, left, right in pixels of the face image: where the face is, in every frame, in place of
            looking.
        face_index: which face, counted from the left; "all"; None: the largest.
        smooth: whether landmarks are smoothed in time.
        static: of a video, use the first frame with a face only.
        start, end: seconds of a face video that are used; sound is not cut by them.
        resize_factor: the result's sides are the input's divided by it.
        max_side: pixels that the result's longer side has at most; 0: any number. None: 1920 of a still, and of a video
            what fits 4096x2304, so that players of H.264 up to level 5.1, as in phones, show it.
        max_sec: cut the audio here.
        fps: frame rate of the output where the face is a still, 25 by default; a video keeps its own times.
        label: write visibly on the image that it is synthetic.
        preview: a PNG to write as soon as some faces are there: those of the source above those of the result.
    """

    region: str = blend.DEFAULT_REGION
    sharpen: float = 1.0
    keep: str | os.PathLike | None = None
    pads: Sequence[float] = (0, 0, 0, 0)
    box: Sequence[float] | None = None
    face_index: int | str | None = None
    smooth: bool = True
    static: bool = False
    start: float = 0.0
    end: float | None = None
    resize_factor: float = 1.0
    max_side: int | None = None
    max_sec: float = 240.0
    fps: float | None = None
    label: bool = False
    preview: str | os.PathLike | None = None


@dataclasses.dataclass
class Summary:
    """What was made.

    Attributes:
        outfile: the video.
        seconds: its length.
        frames, frames_without_face: all of its frames, and those that passed through.
        engine: what ran the generator.
        elapsed: seconds that it took, from opening the inputs to renaming the output.
        stages: {name: seconds of work}; they overlap.
        broken: why the video ends early, where its file turned out to be damaged on the way.
        damaged: which parts of the face video are broken, so that the frame before stands there.
        stopped: whether it ends early because the caller's `stop` said so.
    """

    outfile: Path
    seconds: float = 0.0
    frames: int = 0
    frames_without_face: int = 0
    engine: str = ""
    elapsed: float = 0.0
    stages: dict[str, float] = dataclasses.field(default_factory=dict)
    broken: str | None = None
    damaged: str | None = None
    stopped: bool = False

    @property
    def complete(self) -> bool:
        """Whether nothing was left out."""
        return not (self.broken or self.damaged or self.stopped)

    def count(self, until: float, has_face: bool) -> None:
        """Count a frame that is shown until a second of the video."""
        self.frames += 1
        self.frames_without_face += not has_face
        self.seconds = until

    @property
    def real_time_factor(self) -> float:
        """Seconds of video made in a second."""
        return self.seconds / max(self.elapsed, 1e-9)

    def __str__(self) -> str:
        text = (
            f"{printable(self.outfile)}: {self.seconds:.2f} s, {self.frames} frames, {self.frames_without_face} of "
            f"them with no face; {self.engine}, {self.frames / max(self.elapsed, 1e-9):.1f} frames/s, "
            f"{self.real_time_factor:.2f} x real time"
        )
        text += "\nit ends early: it was stopped there" if self.stopped else ""
        text += f"\nit ends early: {printable(self.broken)}" if self.broken else ""
        return text + (f"\n{printable(self.damaged)}" if self.damaged else "")


def is_preview(path: Path) -> bool:
    """Whether a file is a PNG of a preview's size: rows of squares, two below one another."""
    with open(path, "rb") as file:
        head = file.read(24)
    width, height = int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")
    return head[:8] == b"\x89PNG\r\n\x1a\n" and height == 2 * PREVIEW_SIDE and width % PREVIEW_SIDE == 0


def check_options(options: Options):
    if options.fps is not None and not 1 <= options.fps <= MAX_FPS:
        raise UserError(f"--fps {options.fps:g}: is not a frame rate; give 1 to {MAX_FPS}")
    for name in ("start", "end", "max_sec", "resize_factor", "sharpen"):
        value = getattr(options, name)
        low = {"max_sec": 1e-4, "resize_factor": 1}.get(name, 0)
        if value is not None and not low <= value < math.inf:
            raise UserError(f"--{name} {value:g}: is out of range; give a number of at least {low:g}")
    if options.max_side and options.max_side < LEAST_SIDE:
        raise UserError(f"--max_side {options.max_side}: is out of range; give 0, or at least {LEAST_SIDE}")
    if options.end is not None and options.end <= options.start:
        raise UserError(f"--end {options.end:g}: is not after --start {options.start:g}")
    if options.region not in blend.REGIONS:
        raise UserError(f"--region {options.region}: is none of {', '.join(blend.REGIONS)}")
