"""Telling the people of a scene apart."""

import collections
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from . import detector, sampling, smoothing
from .detector import Face
from .sampling import Entry, Sighting

PATIENCE = 12  # frames without the followed person after which another one may be taken
JUMP = 0.25  # a move from which on smoothing starts anew
STAY = 0.06  # where the image changes and a face moves by no more than this, it was no cut


@dataclass
class _Person:
    number: int
    stretch: int
    face: Face
    seen: int = 0
    lost: int = 0


class People:
    """Knows the people of a scene by where they were last, and numbers the stretches without a jump."""

    def __init__(self):
        self.people: list[_Person] = []
        self.scene = 0
        self.changed = False  # since a face was seen
        self.numbers = itertools.count()
        self.stretches = itertools.count()

    def entries(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        for entry in entries:
            self.changed |= entry.changed
            if entry.faces:
                self._meet(entry)
                self.changed = False
            entry.scene = self.scene
            for person in self.people:
                if person.number not in entry.sights:
                    person.lost += 1
            self.people = [p for p in self.people if p.lost <= PATIENCE or p.seen > smoothing.FLASH]
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
        for face in sorted(
            (face for i, face in enumerate(entry.faces) if i not in met), key=detector.area, reverse=True
        ):
            if not any(_same_face(face, other.face) for other in taken):
                taken.append(_Person(next(self.numbers), next(self.stretches), face))
                self.people.append(taken[-1])
        for person in taken:
            person.seen, person.lost = person.seen + 1, 0
            entry.sights[person.number] = Sighting(person.stretch, person.face)

    def _known(self, found) -> dict[int, tuple[_Person, float]]:
        """Who of the known the faces are: {index of the face: (person, distance)}, those in view first."""
        near = []
        for person in self.people:
            for i, face in enumerate(found):
                if (distance := _distance(person.face, face)) < sampling.REACH:
                    near.append((person.lost > 0, distance, i, person))
        met, gone = {}, set()
        for _, distance, i, person in sorted(near, key=lambda pair: pair[:2]):
            if i not in met and person.number not in gone:
                met[i] = person, distance
                gone.add(person.number)
        return met


def _distance(a: Face, b: Face) -> float:
    """How far apart two faces are, in widths of the first; far if their sizes do not fit."""
    ratio = np.sqrt(detector.area(b) / detector.area(a))
    if not 1 / 1.6 < ratio < 1.6:
        return float("inf")
    return float(np.hypot(*(a.landmarks.mean(0) - b.landmarks.mean(0))) / (a.box[2] - a.box[0]))


def _same_face(a: Face, b: Face) -> bool:
    """Whether the detector found one face twice."""
    width = max(face.box[2] - face.box[0] for face in (a, b))
    return float(np.hypot(*(a.landmarks.mean(0) - b.landmarks.mean(0)))) < 0.4 * width


def one_person(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Leave one person."""
    chosen, lost, scene = None, 0, None
    for entry in entries:
        if entry.scene != scene:
            chosen, scene = None, entry.scene
        if entry.sights and chosen not in entry.sights and (chosen is None or lost >= PATIENCE):
            chosen = max(entry.sights, key=lambda person: detector.area(entry.sights[person].face))
        lost = 0 if chosen in entry.sights else lost + 1
        entry.sights = {chosen: entry.sights[chosen]} if chosen in entry.sights else {}
        yield entry


def rank_people(window, i, ranks):
    """Give the people who are there, and those who will be in a moment, their ranks: {person: rank}."""
    place, sights = {}, collections.Counter()
    for entry in itertools.islice(window, i, None):
        if entry.scene == window[i].scene:
            for person, sight in entry.sights.items():
                place.setdefault(person, float(sight.face.landmarks[:, 0].mean()))
                sights[person] += 1
    new = {p for p in place if p not in ranks and (p in window[i].sights or sights[p] > smoothing.FLASH)}
    ranks.update(zip(sorted(new, key=place.get), itertools.count(len(ranks))))
