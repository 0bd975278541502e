"""Following faces through a video: one tracker for training data and for inference.

Images, points and boxes are as in `detector`. The stages are generators that pass frames on in order, each looking some
frames ahead, so that memory does not grow with the length of the video.
"""

import bisect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..media.video_reader import Frame
from ..utils.errors import UserError
from . import regions, smoothing
from .detector import Face
from .identities import People, one_person, rank_people
from .sampling import look_for_faces
from .smoothing import bridged, fade_strength, place_crop, smooth_face, steady_face, with_neighbours, without_flashes

PEOPLE = ("one", "all")


@dataclass
class TrackedFace:
    """A face in a frame.

    Attributes:
        track: number of the stretch without a jump that it belongs to; no two people and no two scenes share one.
        index: rank from left to right among the people of its scene, 0 first; who comes later counts on. 0 where one
            person is followed.
        face: smoothed in time.
        box: (4,) float64, the crop.
        angle: radians by which the crop is turned about the middle of `box`, from x towards y; see `cropping.extract`.
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
    """`Tracked` without the image: small enough to keep for a whole video."""

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
    turn: int = 0,
    small: bool = False,
) -> Iterator[Tracked]:
    """Follow the faces of a video: every frame comes out, in order, with the faces found in it.

    Of "one" person the largest face is followed, then the one nearest to it from frame to frame. When it is not seen
    for PATIENCE frames, or the scene changes, the largest face is taken anew. Of "all", each face has its own track.
    Landmarks and box are smoothed with a Gaussian centred on each frame, but not across a jump of the face.

    Holds batch_size * every frames (fewer where they exceed HELD_BYTES), and bridge + FLASH + SMOOTH_FRAMES or `fade`
    more at most, STEADY_FRAMES where the style is "steady".

    Args:
        frames: as `video_reader.read_frames` gives them.
        style, pads: of `cropping.crop_box`.
        every: look for faces in one frame of so many, and interpolate between; where the image changes, a face moves
            by more than DRIFT, comes or goes, the frames between are looked at too, by halving.
        people: one of PEOPLE.
        bridge: gaps of up to so many frames are filled by interpolation, unless the image changes in them; if not 0,
            faces that are seen for FLASH frames or fewer are left out too.
        fade: frames over which `strength` rises and falls. Cuts, and the ends of the video, are hard.
        upright: turn the crops with the head, so that the face stands upright in them; 0 leaves them as they are.
        smooth, batch_size: in time; frames per call of the detector.
        turn, small: how faces are looked for; see `looks.detect`. Crops are turned too.
    """
    entries = _people(look_for_faces(iter(frames), every, batch_size, turn, small), people, bridge)
    reach = smoothing.SMOOTH_FRAMES if smooth else 0
    ranks, scene = {}, None
    around = max(reach, fade, smoothing.STEADY_FRAMES if style == "steady" else 0)
    for window, i in with_neighbours(entries, around, around):
        entry = window[i]
        if entry.scene != scene:
            ranks, scene = {}, entry.scene
        if entry.sights.keys() - ranks.keys():
            rank_people(window, i, ranks)
        found = []
        for person, sight in entry.sights.items():
            face = smooth_face(window, i, person, reach)
            steady = steady_face(window, i, person, face) if style == "steady" else face
            box, angle = place_crop(steady, style, pads, upright, turn)
            strength = fade_strength(window, i, person, fade) if fade else 1.0
            found.append(TrackedFace(sight.stretch, ranks[person], face, box, angle, strength))
        frame, entry.frame = entry.frame, None  # windows hold entries longer than their images are needed
        yield Tracked(frame, sorted(found, key=lambda one: float(one.face.landmarks[:, 0].mean())))


def _people(entries, people, bridge):
    if people not in PEOPLE:
        raise ValueError(f"people {people!r}; known are {PEOPLE}")
    entries = People().entries(entries)
    if bridge:
        entries = without_flashes(bridged(entries, bridge))
    return one_person(entries) if people == "one" else entries


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
        frames: as `video_reader.read_frames` gives them.
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
    landmarks = regions.default_landmarks(1, style) * (crop[2:] - crop[:2]) + crop[:2]
    face = TrackedFace(0, 0, Face(crop.astype(np.float32), landmarks.astype(np.float32), 1.0), crop)
    for frame in frames:
        check_box(box, *frame.image.shape[1::-1])
        yield Tracked(frame, [face])


def check_box(box: Sequence[float], width: int, height: int) -> None:
    """See that `box`, top, bottom, left and right in pixels, lies within an image and holds some pixels.

    Raises:
        UserError: it does not.
    """
    top, bottom, left, right = box
    if not (0 <= top <= bottom - 4 <= height - 4 and 0 <= left <= right - 4 <= width - 4):
        raise UserError(
            f"--box {' '.join(f'{value:g}' for value in box)}: holds no face within the picture of {width}x{height} "
            "pixels; give its top, bottom, left and right"
        )
