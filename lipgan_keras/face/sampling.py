"""Looking for faces in some frames, and interpolating between them."""

import collections
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from ..media.video_reader import Frame
from . import looks
from .detector import Face

REACH = 0.6  # how far a face may move between frames, in face widths
DRIFT = 0.15  # how far a landmark may move between two looks for the frames between to be interpolated

HELD_BYTES = 1 << 28  # of frames that wait for their turn in the detector


@dataclass
class Sighting:
    stretch: int
    face: Face


@dataclass
class Entry:
    """A frame on its way: what the detector saw, then who that is."""

    frame: Frame | None
    changed: bool  # the image changed from the frame before, as at a cut
    faces: list[Face] | None = None
    scene: int = 0
    sights: dict[int, Sighting] = field(default_factory=dict)  # of each person
    time: float = field(init=False)

    def __post_init__(self):
        self.time = self.frame.time


def look_for_faces(
    frames: Iterator[Frame], every: int, batch_size: int, turn: int = 0, small: bool = False
) -> Iterator[Entry]:
    """Entries with their `faces`, detected or interpolated; `turn` and `small` are those of `looks.detect`."""
    changes = _Changes()
    last: list[Entry] = []  # of the chunk before
    for first in frames:
        held = max(1, min(batch_size * every, HELD_BYTES // first.image.nbytes))
        if held > every:
            held -= held % every
        chunk = itertools.chain([first], itertools.islice(frames, held - 1))
        line = last + [Entry(frame, changes.next(frame.image)) for frame in chunk]
        new = len(last)
        todo = sorted({*range(new, len(line))[every - 1 :: every], len(line) - 1} | ({0} if not last else set()))
        while todo:
            for start in range(0, len(todo), batch_size):
                some = [line[i] for i in todo[start : start + batch_size]]
                seen = looks.detect([entry.frame.image for entry in some], turn, small)
                for entry, found in zip(some, seen, strict=True):
                    entry.faces = found
            known = [i for i, entry in enumerate(line) if entry.faces is not None]
            gaps = list(itertools.pairwise(known))
            todo = [(gaps[k][0] + gaps[k][1]) // 2 for k in _doubtful(line, gaps)]
        for a, b in gaps:
            for entry in line[a + 1 : b]:
                part = part_of_gap(entry.time, line[a].time, line[b].time)
                entry.faces = [face_between(one, other, part) for one, other in _pairs(line[a].faces, line[b].faces)]
        last = [replace(entry, frame=_without_image(entry.frame)) for entry in line[-2:]]
        line = collections.deque(line[new:])
        while line:
            yield line.popleft()


def _without_image(frame):
    return replace(frame, image=np.zeros((0, 0, 3), np.uint8))


class _Changes:
    """Tells whether the whole image changed much more than it did lately, as at a cut."""

    def __init__(self):
        self.thumbnail: np.ndarray | None = None
        self.changes: collections.deque[float] = collections.deque(maxlen=8)

    def next(self, image: np.ndarray) -> bool:
        thumbnail = cv2.cvtColor(cv2.resize(image, (32, 32), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY)
        thumbnail = thumbnail.astype(np.float32)
        if self.thumbnail is None:
            self.thumbnail = thumbnail
            return False
        change = float(np.abs(thumbnail - self.thumbnail).mean())
        usual = float(np.median(self.changes)) if self.changes else 0.0
        self.thumbnail = thumbnail
        self.changes.append(change)
        return change > max(12.0, 3 * usual)


def _doubtful(line, gaps) -> list[int]:
    """Which gaps between two looks may not be interpolated. Where a face turns back in one,
    only those beside it tell.
    """
    speeds = [_speed(line[a : b + 1]) for a, b in gaps]
    doubtful = []
    for k, (a, b) in enumerate(gaps):
        beside = [speed for speed in speeds[max(0, k - 1) : k + 2] if np.isfinite(speed)]
        if b - a > 1 and (np.isinf(speeds[k]) or max(beside) * (b - a) > DRIFT):
            doubtful.append(k)
    return doubtful


def _speed(line) -> float:
    """Face widths a frame that a landmark moves from the first to the last;
    infinite if somebody came, went or leapt.
    """
    one, other = line[0].faces, line[-1].faces
    if len(one) != len(other) or any(entry.changed for entry in line[1:]):
        return float("inf")
    drift = max((_drift(*pair) for pair in _pairs(one, other)), default=0.0)
    return drift / (len(line) - 1) if drift <= REACH else float("inf")


def _pairs(one: list[Face], other: list[Face]) -> list[tuple[Face, Face]]:
    """The same people in two frames that show as many."""
    pairs, left = [], list(other)
    for face in one:
        nearest = min(range(len(left)), key=lambda i: _drift(face, left[i]))
        pairs.append((face, left.pop(nearest)))
    return pairs


def _drift(one, other) -> float:
    """How far the landmark that moved most did, in widths of the smaller face."""
    width = min(face.box[2] - face.box[0] for face in (one, other))
    return float(np.hypot(*(other.landmarks - one.landmarks).T).max() / width)


def part_of_gap(time, start, end) -> float:
    return (time - start) / (end - start) if end > start else 0.5


def face_between(one: Face, other: Face, part: float) -> Face:
    box, landmarks = (
        ((1 - part) * a + part * b).astype(np.float32)
        for a, b in ((one.box, other.box), (one.landmarks, other.landmarks))
    )
    return Face(box, landmarks, min(one.score, other.score))
