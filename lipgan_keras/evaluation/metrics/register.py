"""Measures of results, as functions of arrays, and the register of those that evaluation prints.

`METRICS` holds them by name. Those measured frame by frame take a `Frames`, a run of consecutive frames of a pair of
videos, so that long videos need little memory; `Metric.reduce` makes the video's value of all their values.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

OVERLAP = 2  # frames before a frame that its measures may need
SIZE = 96  # of the crops that are compared; landmarks, masks and distances are in their pixels


@dataclasses.dataclass
class Frames:
    """n consecutive frames of a pair of videos: a chunk.

    After a gap, such as a frame without a face, a new chunk begins. Movement needs the frames before: where a chunk
    goes on without a gap, its first OVERLAP frames are the last of the chunk before, and their values are left out.

    Attributes:
        truth: (n,96,96,3) uint8 BGR, crops of the true frames, or of the source's where there is no truth.
        generated: the same of the result, cut at the same boxes.
        landmarks: (n,5,2) float32 of the true frames, in crop pixels.
        masks: (n,96,96) float32 in 0..1, lip masks of the true frames (`regions.lip_mask`).
        full_truth, full_generated: n whole images each, (H,W,3) uint8 of one size; None where there are crops only.
        boxes: (n,4) where in the images the crops were cut (upright), or None.
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
    def has_full_images(self) -> bool:
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
        name: key in `METRICS`, in results.json and results.csv; beside it there one of `config.EARLIER`.
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
        given: of `given.ADVICE`, the network that `fn` takes after the frames; None: it takes none.
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
    given: str | None = None

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
