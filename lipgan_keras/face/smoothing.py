"""Mending tracks in time: gaps, flashes, jitter."""

import collections
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from . import cropping
from .detector import Face
from .sampling import Entry, Sighting, face_between, part_of_gap

FLASH = 2  # a face that is seen for so few frames is a mistake of the detector
# Smoothing in time, in frames
SMOOTH_FRAMES = 4
SMOOTH_SIGMA = 2.0
# Longer than a syllable: over which the place of a mouth is averaged for "steady" crops
STEADY_FRAMES = 12
STEADY_SIGMA = 6.0


def with_neighbours(
    entries: Iterable[Entry], before: int, after: int
) -> Iterator[tuple[collections.deque[Entry], int]]:
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


def bridged(entries, bridge) -> Iterator[Entry]:
    """Fill short gaps: each frame of one lies between the frame before, filled already, and the gap's end."""
    for window, i in with_neighbours(entries, 1, bridge):
        entry = window[i]
        for person, before in window[0].sights.items() if i else ():
            if person in entry.sights:
                continue
            for ahead in itertools.islice(window, i, None):
                if ahead.changed or ahead.scene != entry.scene:
                    break
                if sight := ahead.sights.get(person):
                    if sight.stretch == before.stretch:
                        part = part_of_gap(entry.time, window[0].time, ahead.time)
                        entry.sights[person] = Sighting(sight.stretch, face_between(before.face, sight.face, part))
                    break
        yield entry


def without_flashes(entries) -> Iterator[Entry]:
    for window, i in with_neighbours(entries, FLASH, FLASH):
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


def fade_strength(window, i, person, fade) -> float:
    sides = (_to_edge(window, i, person, step, fade + 1) for step in (-1, 1))
    return min(1.0 if hard else frames / (fade + 1) for frames, hard in sides)


def smooth_face(window, i, person, reach) -> Face:
    """The face in entry `i` as the mean with its neighbours of the same stretch."""
    face = window[i].sights[person].face
    near, weights = _around(window, i, person, reach, SMOOTH_SIGMA)
    weights = weights / sum(weights)
    return replace(
        face,
        box=np.tensordot(weights, [other.box for other in near], 1).astype(np.float32),
        landmarks=np.tensordot(weights, [other.landmarks for other in near], 1).astype(np.float32),
    )


def _around(window, i, person, reach, sigma):
    """The faces of a person in entry `i` and up to `reach` on both sides, of the same stretch, and their weights."""
    stretch = window[i].sights[person].stretch
    found = []
    for j in range(max(0, i - reach), min(len(window), i + reach + 1)):
        sight = window[j].sights.get(person)
        if sight is not None and sight.stretch == stretch:
            found.append((sight.face, _nearness(j - i, sigma)))
    near, weights = zip(*found, strict=True)
    return near, np.array(weights)


def _nearness(frames, sigma=SMOOTH_SIGMA):
    return np.exp(-0.5 * (frames / sigma) ** 2)


def steady_face(window, i, person, face) -> Face:
    """`face`, which is seen in entry `i`, with a steady mouth; see `steadied`."""
    near, weights = _around(window, i, person, STEADY_FRAMES, STEADY_SIGMA)
    landmarks = _with_steady_mouth(face.landmarks, np.array([other.landmarks for other in near]), weights)
    return replace(face, landmarks=landmarks)


def steadied(landmarks: np.ndarray) -> np.ndarray:
    """(n, 5, 2) of a face that is seen in n frames without a jump, the mouth moved as a whole to where eyes and nose
    say: at the mean place of the frames around, seen from the eyes, in units of the way from the eyes to the nose and
    turned with it. So the mouth's place tells how the head is held, and not how open the mouth is.
    """
    distance = np.abs(np.arange(len(landmarks))[:, None] - np.arange(len(landmarks)))
    rows = [np.flatnonzero(row <= STEADY_FRAMES) for row in distance]
    return np.stack(
        [
            _with_steady_mouth(landmarks[i], landmarks[row], _nearness(row - i, STEADY_SIGMA))
            for i, row in enumerate(rows)
        ]
    )


def _with_steady_mouth(points, near, weights):
    """(5, 2) `points`, by the (m, 5, 2) of frames around."""
    near, points = np.asarray(near, np.float64), np.array(points, np.float64)
    near, own = near @ [1, 1j], points @ [1, 1j]
    ways = near[:, 2] - near[:, :2].mean(1)
    long = np.abs(ways) > 1e-3 * np.abs(near[:, 3:].mean(1) - near[:, :2].mean(1)) + 1e-9
    if not long.any():
        return points
    places = (near[:, 3:].mean(1) - near[:, :2].mean(1))[long] / ways[long]
    eyes = own[:2].mean()
    mouth = eyes + np.average(places, weights=weights[long]) * (own[2] - eyes)
    points[3:] += np.stack([mouth.real, mouth.imag]) - points[3:].mean(0)
    return points


def smoothed(values: np.ndarray) -> np.ndarray:
    """(n, ...) of a face that is seen in n frames without a jump, smoothed in time as `tracking.track` does it."""
    distance = np.arange(len(values))[:, None] - np.arange(len(values))
    weights = _nearness(distance) * (np.abs(distance) <= SMOOTH_FRAMES)
    return np.tensordot(weights / weights.sum(1, keepdims=True), values, 1)


def roll(landmarks: np.ndarray) -> float:
    """Radians by which a face is tilted in the image, from x towards y.

    The sum of three vectors that point across an upright face: from eye to eye, from corner to corner of the mouth, and
    from the eyes to the mouth, turned by 90 degrees. Of a face turned aside the first two grow short and count less.
    """
    points = np.asarray(landmarks, np.float64)
    down = points[3:].mean(0) - points[:2].mean(0)
    across = points[1] - points[0] + points[4] - points[3] + (down[1], -down[0])
    return float(np.arctan2(across[1], across[0]))


def place_crop(face, style, pads, upright, turn=0) -> tuple[np.ndarray, float]:
    """Crop box and angle: that of the head, or only that of a picture in which faces are upright at this turn."""
    box = cropping.crop_box(face, style, pads)
    angle = roll(face.landmarks) if upright else -np.pi / 2 * turn
    if not angle:
        return box, 0.0
    # Pads are in the face's own directions, so that the way by which they move the middle turns too.
    plain = cropping.crop_box(face, style)
    x, y = (box[:2] + box[2:] - plain[:2] - plain[2:]) / 2
    turned = np.array([x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)])
    return box + np.tile(turned - (x, y), 2), angle
