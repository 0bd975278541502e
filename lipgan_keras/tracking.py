"""Following faces through a video: one tracker for training data and for inference.

Images, points and boxes are as in `faces`. The stages are generators that pass frames on in order, each looking a few
frames ahead, so that memory does not grow with the length of the video.
"""

import bisect
import collections
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from . import faces
from .cli import UserError
from .faces import Face
from .video import Frame

PEOPLE = ("one", "all")

PATIENCE = 12  # frames without the followed person after which another one may be taken
REACH = 0.6  # how far a face may move between frames, in face widths
JUMP = 0.25  # a move from which on smoothing starts anew
STAY = 0.06  # where the picture changes and a face moves by no more than this, it was no cut
DRIFT = 0.15  # how far a landmark may move between two looks for the frames between to be interpolated
FLASH = 2  # a face that is seen for so few frames is a mistake of the detector
# Smoothing in time, in frames
SMOOTH_FRAMES = 4
SMOOTH_SIGMA = 2.0

HELD_BYTES = 1 << 28  # of frames that wait for their turn in the detector


@dataclass
class TrackedFace:
    """A face in a frame.

    Attributes:
        track: number of the stretch without a jump that it belongs to; no two people and no two scenes share one.
        index: rank from left to right among the people of its scene, 0 first; who comes later counts on. 0 where one
            person is followed.
        face: smoothed in time.
        box: (4,) float64, the crop.
        angle: radians by which the crop is turned about the middle of `box`, from x towards y; see `faces.extract`.
        strength: 0..1, how much of a new mouth may show: falls off where the face enters or leaves within a scene.
    """

    track: int
    index: int
    face: Face
    box: np.ndarray
    angle: float = 0.0
    strength: float = 1.0


@dataclass
class Tracked:
    """A frame and the faces that are followed in it, from left to right."""

    frame: Frame
    faces: list[TrackedFace]

    @property
    def record(self) -> "Record":
        return Record(self.frame.time, self.faces)


@dataclass
class Record:
    """`Tracked` without the picture: small enough to keep for a whole video."""

    time: float
    faces: list[TrackedFace]


def track(
    frames: Iterable[Frame],
    style: str = "lipgan_keras",
    pads: Sequence[float] = (0, 0, 0, 0),
    every: int = 1,
    people: str = "one",
    bridge: int = 0,
    fade: int = 0,
    upright: bool = False,
    smooth: bool = True,
    batch_size: int = 16,
) -> Iterator[Tracked]:
    """Follow the faces of a video: every frame comes out, in order, with the faces found in it.

    Of "one" person the largest face is followed, then the one nearest to it from frame to frame. When it is not seen
    for PATIENCE frames, or the scene changes, the largest face is taken anew. Of "all", each face has its own track.
    Landmarks and box are smoothed with a Gaussian centred on each frame, but not across a jump of the face.

    Holds batch_size * every frames (fewer where they exceed HELD_BYTES), and bridge + FLASH + SMOOTH_FRAMES or `fade`
    more at most.

    Args:
        frames: as `video.read_frames` gives them.
        style, pads: of `faces.crop_box`.
        every: look for faces in one frame of so many, and interpolate between; where the picture changes, a face moves
            by more than DRIFT, comes or goes, the frames between are looked at too, by halving.
        people: one of PEOPLE.
        bridge: gaps of up to so many frames are filled by interpolation, unless the picture changes in them; if not 0,
            faces that are seen for FLASH frames or fewer are left out too.
        fade: frames over which `strength` rises and falls. Cuts, and the ends of the video, are hard.
        upright: turn the crops with the head, so that the face stands upright in them; 0 leaves them as they are.
        smooth: in time.
        batch_size: frames per call of the detector.
    """
    if people not in PEOPLE:
        raise ValueError(f"people {people!r}; known are {PEOPLE}")
    entries = _People().entries(_look(iter(frames), every, batch_size))
    if bridge:
        entries = _without_flashes(_bridged(entries, bridge))
    if people == "one":
        entries = _one(entries)
    reach = SMOOTH_FRAMES if smooth else 0
    ranks, scene = {}, None
    for window, i in _windows(entries, max(reach, fade), max(reach, fade)):
        entry = window[i]
        if entry.scene != scene:
            ranks, scene = {}, entry.scene
        if entry.sights.keys() - ranks.keys():
            _rank(window, i, ranks)
        found = []
        for person, sight in entry.sights.items():
            face = _smooth(window, i, person, reach)
            box, angle = _place(face, style, pads, upright)
            strength = _strength(window, i, person, fade) if fade else 1.0
            found.append(TrackedFace(sight.stretch, ranks[person], face, box, angle, strength))
        found.sort(key=lambda face: float(face.face.landmarks[:, 0].mean()))
        frame, entry.frame = entry.frame, None  # windows hold entries longer than their pictures are needed
        yield Tracked(frame, found)


def follow(frames: Iterable[Frame]) -> Iterator[tuple[Frame, TrackedFace]]:
    """`track` one person: the frames that show it, each with its face."""
    for tracked in track(frames):
        for face in tracked.faces:
            yield tracked.frame, face


def retrace(frames: Iterable[Frame], records: Sequence[Record]) -> Iterator[Tracked]:
    """`track` for frames that were tracked before, in any order: takes the record nearest in time.

    Args:
        frames: of the same video.
        records: `Tracked.record` of all its frames, times rising.
    """
    times = [record.time for record in records]
    for frame in frames:
        i = bisect.bisect_left(times, frame.time)
        nearest = min(records[max(0, i - 1) : i + 1], key=lambda record: abs(record.time - frame.time))
        yield Tracked(frame, nearest.faces)


def fixed_box(
    frames: Iterable[Frame],
    box: Sequence[float],
    style: str = "lipgan_keras",
    pads: Sequence[float] = (0, 0, 0, 0),
) -> Iterator[Tracked]:
    """`track` without a detector, for drawings, masks and animals: the same crop in every frame.

    Args:
        frames: as `video.read_frames` gives them.
        box: top, bottom, left, right of the crop in pixels.
        style: the crop style that the box is to stand for; its mean landmarks are taken.
        pads: top, bottom, left, right in pixels by which the box grows.

    Raises:
        UserError: of `check_box`.
    """
    top, bottom, left, right = np.add(box, np.multiply(pads, (-1, 1, -1, 1))).tolist()
    if any(pads) and (bottom - top < 4 or right - left < 4):
        raise UserError(
            f"--pads {' '.join(f'{pad:g}' for pad in pads)}: leaves nothing of the --box; use smaller numbers"
        )
    crop = np.array([left, top, right, bottom], np.float64)
    landmarks = faces.default_landmarks(1, style) * (crop[2:] - crop[:2]) + crop[:2]
    face = TrackedFace(0, 0, Face(crop.astype(np.float32), landmarks.astype(np.float32), 1.0), crop)
    for frame in frames:
        check_box(box, *frame.image.shape[1::-1])
        yield Tracked(frame, [face])


def check_box(box: Sequence[float], width: int, height: int) -> None:
    """See that `box`, top, bottom, left and right in pixels, lies within a picture and holds some pixels.

    Raises:
        UserError: it does not.
    """
    top, bottom, left, right = box
    if not (0 <= top <= bottom - 4 <= height - 4 and 0 <= left <= right - 4 <= width - 4):
        raise UserError(
            f"--box {' '.join(f'{value:g}' for value in box)}: holds no face within the picture of {width}x{height} "
            "pixels; give its top, bottom, left and right"
        )


# ---------------------------------------------------------------------------------------------------------------------
# Looking for faces in some frames


@dataclass
class _Sight:
    stretch: int
    face: Face


@dataclass
class _Entry:
    """A frame on its way: what the detector saw, then who that is."""

    frame: Frame | None
    changed: bool  # the picture changed from the frame before, as at a cut
    faces: list[Face] | None = None
    scene: int = 0
    sights: dict[int, _Sight] = field(default_factory=dict)  # of each person
    time: float = field(init=False)

    def __post_init__(self):
        self.time = self.frame.time


def _look(frames: Iterator[Frame], every: int, batch_size: int) -> Iterator[_Entry]:
    """Entries with their `faces`, detected or interpolated."""
    changes = _Changes()
    last: list[_Entry] = []  # of the chunk before
    for first in frames:
        held = max(1, min(batch_size * every, HELD_BYTES // first.image.nbytes))
        if held > every:
            held -= held % every
        chunk = itertools.chain([first], itertools.islice(frames, held - 1))
        line = last + [_Entry(frame, changes.next(frame.image)) for frame in chunk]
        new = len(last)
        todo = sorted({*range(new, len(line))[every - 1 :: every], len(line) - 1} | ({0} if not last else set()))
        while todo:
            for start in range(0, len(todo), batch_size):
                some = [line[i] for i in todo[start : start + batch_size]]
                for entry, found in zip(some, faces.detect([entry.frame.image for entry in some]), strict=True):
                    entry.faces = found
            known = [i for i, entry in enumerate(line) if entry.faces is not None]
            gaps = list(itertools.pairwise(known))
            todo = [(gaps[k][0] + gaps[k][1]) // 2 for k in _doubtful(line, gaps)]
        for a, b in gaps:
            for entry in line[a + 1 : b]:
                part = _part(entry.time, line[a].time, line[b].time)
                entry.faces = [_between(one, other, part) for one, other in _pairs(line[a].faces, line[b].faces)]
        last = [replace(entry, frame=_without_picture(entry.frame)) for entry in line[-2:]]
        line = collections.deque(line[new:])
        while line:
            yield line.popleft()


def _without_picture(frame):
    return replace(frame, image=np.zeros((0, 0, 3), np.uint8))


class _Changes:
    """Tells whether the whole picture changed much more than it did lately, as at a cut."""

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


def _part(time, start, end) -> float:
    return (time - start) / (end - start) if end > start else 0.5


def _between(one: Face, other: Face, part: float) -> Face:
    box, landmarks = (
        ((1 - part) * a + part * b).astype(np.float32)
        for a, b in ((one.box, other.box), (one.landmarks, other.landmarks))
    )
    return Face(box, landmarks, min(one.score, other.score))


# ---------------------------------------------------------------------------------------------------------------------
# Telling people apart


@dataclass
class _Person:
    number: int
    stretch: int
    face: Face
    seen: int = 0
    lost: int = 0


class _People:
    """Knows the people of a scene by where they were last, and numbers the stretches without a jump."""

    def __init__(self):
        self.people: list[_Person] = []
        self.scene = 0
        self.changed = False  # since a face was seen
        self.numbers = itertools.count()
        self.stretches = itertools.count()

    def entries(self, entries: Iterable[_Entry]) -> Iterator[_Entry]:
        for entry in entries:
            self.changed |= entry.changed
            if entry.faces:
                self._meet(entry)
                self.changed = False
            entry.scene = self.scene
            for person in self.people:
                if person.number not in entry.sights:
                    person.lost += 1
            self.people = [p for p in self.people if p.lost <= PATIENCE or p.seen > FLASH]
            yield entry

    def _meet(self, entry):
        met = self._known(entry.faces)
        if self.changed and not any(distance <= STAY for _, distance in met.values()):
            met, self.people, self.scene = {}, [], self.scene + 1
        taken = []
        for i, (person, distance) in met.items():
            if distance > (STAY if self.changed else JUMP):
                person.stretch = next(self.stretches)
            person.face = entry.faces[i]
            taken.append(person)
        for face in sorted((face for i, face in enumerate(entry.faces) if i not in met), key=faces.area, reverse=True):
            if not any(_twins(face, other.face) for other in taken):
                taken.append(_Person(next(self.numbers), next(self.stretches), face))
                self.people.append(taken[-1])
        for person in taken:
            person.seen, person.lost = person.seen + 1, 0
            entry.sights[person.number] = _Sight(person.stretch, person.face)

    def _known(self, found) -> dict[int, tuple[_Person, float]]:
        """Who of the known the faces are: {index of the face: (person, distance)}, those in view first."""
        near = []
        for person in self.people:
            for i, face in enumerate(found):
                if (distance := _distance(person.face, face)) < REACH:
                    near.append((person.lost > 0, distance, i, person))
        met, gone = {}, set()
        for _, distance, i, person in sorted(near, key=lambda pair: pair[:2]):
            if i not in met and person.number not in gone:
                met[i] = person, distance
                gone.add(person.number)
        return met


def _distance(a: Face, b: Face) -> float:
    """How far apart two faces are, in widths of the first; far if their sizes do not fit."""
    ratio = np.sqrt(faces.area(b) / faces.area(a))
    if not 1 / 1.6 < ratio < 1.6:
        return float("inf")
    return float(np.hypot(*(a.landmarks.mean(0) - b.landmarks.mean(0))) / (a.box[2] - a.box[0]))


def _twins(a: Face, b: Face) -> bool:
    """Whether the detector found one face twice."""
    width = max(face.box[2] - face.box[0] for face in (a, b))
    return float(np.hypot(*(a.landmarks.mean(0) - b.landmarks.mean(0)))) < 0.4 * width


def _one(entries: Iterable[_Entry]) -> Iterator[_Entry]:
    """Leave one person."""
    chosen, lost, scene = None, 0, None
    for entry in entries:
        if entry.scene != scene:
            chosen, scene = None, entry.scene
        if entry.sights and chosen not in entry.sights and (chosen is None or lost >= PATIENCE):
            chosen = max(entry.sights, key=lambda person: faces.area(entry.sights[person].face))
        lost = 0 if chosen in entry.sights else lost + 1
        entry.sights = {chosen: entry.sights[chosen]} if chosen in entry.sights else {}
        yield entry


def _rank(window, i, ranks):
    """Give the people who are there, and those who will be in a moment, their ranks: {person: rank}."""
    place, sights = {}, collections.Counter()
    for entry in itertools.islice(window, i, None):
        if entry.scene == window[i].scene:
            for person, sight in entry.sights.items():
                place.setdefault(person, float(sight.face.landmarks[:, 0].mean()))
                sights[person] += 1
    new = {p for p in place if p not in ranks and (p in window[i].sights or sights[p] > FLASH)}
    ranks.update(zip(sorted(new, key=place.get), itertools.count(len(ranks))))


# ---------------------------------------------------------------------------------------------------------------------
# Mending in time


def _windows(entries: Iterable[_Entry], before: int, after: int) -> Iterator[tuple[collections.deque[_Entry], int]]:
    """(entries, i) for each entry i, with up to so many before and after it."""
    window, i = collections.deque(), 0
    for entry in itertools.chain(entries, itertools.repeat(None, after)):
        if entry is not None:
            window.append(entry)
        if i < len(window) and (entry is None or len(window) - i > after):
            yield window, i
            i += 1
            if i > before:
                window.popleft()
                i -= 1


def _bridged(entries, bridge) -> Iterator[_Entry]:
    """Fill short gaps: each frame of one lies between the frame before, filled already, and the gap's end."""
    for window, i in _windows(entries, 1, bridge):
        entry = window[i]
        for person, before in window[0].sights.items() if i else ():
            if person in entry.sights:
                continue
            for ahead in itertools.islice(window, i, None):
                if ahead.changed or ahead.scene != entry.scene:
                    break
                if sight := ahead.sights.get(person):
                    if sight.stretch == before.stretch:
                        part = _part(entry.time, window[0].time, ahead.time)
                        entry.sights[person] = _Sight(sight.stretch, _between(before.face, sight.face, part))
                    break
        yield entry


def _without_flashes(entries) -> Iterator[_Entry]:
    for window, i in _windows(entries, FLASH, FLASH):
        for person in list(window[i].sights):
            sides = [_to_edge(window, i, person, step, FLASH + 1) for step in (-1, 1)]
            if sum(frames for frames, _ in sides) - 1 <= FLASH and not all(hard for _, hard in sides):
                del window[i].sights[person]
        yield window[i]


def _to_edge(window, i, person, step, most) -> tuple[int, bool]:
    """Frames from `i` on, that one included, to where the person is not seen, and whether a cut or end is why."""
    for frames in range(1, most + 1):
        j = i + step * frames
        if not 0 <= j < len(window):
            return frames, True
        if person not in window[j].sights:
            return frames, window[max(j, j - step)].changed
    return most, True


def _strength(window, i, person, fade) -> float:
    sides = (_to_edge(window, i, person, step, fade + 1) for step in (-1, 1))
    return min(1.0 if hard else frames / (fade + 1) for frames, hard in sides)


def _smooth(window, i, person, reach) -> Face:
    """The face in entry `i` as the mean with its neighbours of the same stretch."""
    stretch, face = window[i].sights[person].stretch, window[i].sights[person].face
    near = []
    for j in range(max(0, i - reach), min(len(window), i + reach + 1)):
        sight = window[j].sights.get(person)
        if sight is not None and sight.stretch == stretch:
            near.append((_nearness(j - i), sight.face))
    weights = np.array([weight for weight, _ in near]) / sum(weight for weight, _ in near)
    return replace(
        face,
        box=np.tensordot(weights, [other.box for _, other in near], 1).astype(np.float32),
        landmarks=np.tensordot(weights, [other.landmarks for _, other in near], 1).astype(np.float32),
    )


def _nearness(frames):
    return np.exp(-0.5 * (frames / SMOOTH_SIGMA) ** 2)


def smoothed(values: np.ndarray) -> np.ndarray:
    """(n, ...) of a face that is seen in n frames without a jump, smoothed in time as `track` does it."""
    distance = np.arange(len(values))[:, None] - np.arange(len(values))
    weights = _nearness(distance) * (np.abs(distance) <= SMOOTH_FRAMES)
    return np.tensordot(weights / weights.sum(1, keepdims=True), values, 1)


def roll(landmarks: np.ndarray) -> float:
    """Radians by which a face is tilted in the picture, from x towards y.

    The sum of three vectors that point across an upright face: from eye to eye, from corner to corner of the mouth, and
    from the eyes to the mouth, turned by 90 degrees. Of a face turned aside the first two grow short and count less.
    """
    points = np.asarray(landmarks, np.float64)
    down = points[3:].mean(0) - points[:2].mean(0)
    across = points[1] - points[0] + points[4] - points[3] + (down[1], -down[0])
    return float(np.arctan2(across[1], across[0]))


def _place(face, style, pads, upright) -> tuple[np.ndarray, float]:
    """Crop box and angle."""
    box = faces.crop_box(face, style, pads)
    if not upright:
        return box, 0.0
    angle = roll(face.landmarks)
    # Pads are in the face's own directions, so that the way by which they move the middle turns too.
    plain = faces.crop_box(face, style)
    x, y = (box[:2] + box[2:] - plain[:2] - plain[2:]) / 2
    turned = np.array([x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)])
    return box + np.tile(turned - (x, y), 2), angle
