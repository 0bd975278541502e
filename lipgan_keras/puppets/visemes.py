"""Mouth movements for a track of phones: visemes, and the curves between them.

Phones that look alike share a viseme. Each viseme has a target for every control of the mouth, and a dominance over
that control. The dominance falls exponentially with the distance in time. A control is the mean of all targets,
weighted by their dominances (Cohen and Massaro, "Modeling coarticulation in synthetic visual speech", in Models and
Techniques in Computer Animation, 1993, after Löfqvist's gestures). Here the distance counts from the phone's core and
not from its middle, so that long phones are held. A consonant leaves rounding to its neighbours. Rounded phones start
their rounding early.

A mean of targets reaches none of them fully. Some targets are always reached in real speech: the lips shut in p, b and
m, the lower lip is at the teeth in f and v, and the teeth meet in s and z. There the target replaces the mean.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from ..utils.errors import UserError
from . import phones as puppets_phones
from .phones import SILENCE, Phone

FPS = 25.0
CONTROLS = (
    "jaw",
    "close",
    "pucker",
    "funnel",
    "stretch",
    "lower_down",
    "upper_up",
    "roll_lower",
    "roll_upper",
    "press",
    "tongue",
)

# Controls that move together: a viseme has one dominance over all of a group. The other controls move only for targets
# that are held.
_GROUPS = {
    "jaw": ("jaw", "opening", "lower_down", "upper_up"),
    "rounding": ("pucker", "funnel", "stretch", "width"),
    "tongue": ("tongue",),
}
_HELD_ONLY = ("close", "roll_lower", "roll_upper", "press")
_RATES = {"jaw": 22.0, "rounding": 18.0, "tongue": 30.0}  # of dominance's fall, 1/s
_EDGE = 0.03  # seconds at either end of a phone that are not its core
# Seconds by which the core of a rounded phone begins early. With the fall of the dominance, lips are half rounded some
# 80 ms before the phone: 45 after a spread vowel, 110 after consonants that leave rounding to others.
_LEAD = 0.055
_LONGEST_LEAD = 1.5  # times the rounded phone's own length, so that a short one does not outlast its neighbours
_SHORT_PAUSE = 0.25  # seconds; in shorter ones the mouth is on its way to the next word
_REACH = 0.6  # seconds; beyond them the dominance is almost 0
_APPROACH, _RELEASE = 0.07, 0.05  # seconds of the way to a held target, and of the way from it


@dataclasses.dataclass(frozen=True)
class _Viseme:
    targets: dict[str, float]  # of the controls, of opening and width; a target that is not given is 0
    dominance: tuple[float, float, float]  # over `_GROUPS` in their order
    held: dict[str, float]  # targets that are always reached, from the phone's start on
    until: float = 1.0  # share of the phone at which holding ends; a stop's burst is part of the phone

    @property
    def rounded(self) -> bool:
        return self.targets.get("width", 0.0) <= -0.5


def _viseme(opening, width, dominance=(1.0, 1.0, 0.5), held=None, **targets):
    return _Viseme({"opening": opening, "width": width, **targets}, dominance, held or {})


_SHUT = {"opening": 0, "jaw": 0.12, "close": 1, "press": 0.45, "roll_lower": 0.15, "roll_upper": 0.15}
_SHUT |= dict.fromkeys(("lower_down", "upper_up", "funnel"), 0)
_AT_TEETH = {"opening": 0.05, "jaw": 0.1, "close": 0.3, "press": 0, "roll_lower": 0.65, "roll_upper": 0}
_AT_TEETH |= {"lower_down": 0, "upper_up": 0.25, "funnel": 0}
_TEETH_MEET = {"opening": 0.16, "jaw": 0.06}

# dominance: jaw, rounding, tongue
_VISEMES = {
    "rest": _viseme(0.0, 0.0, (1.0, 0.5, 0.5)),
    "shut": _viseme(0.0, 0.0, (0.8, 0.06, 0.2), _SHUT, jaw=0.12),
    "at_teeth": _viseme(0.05, 0.1, (1.2, 0.15, 0.2), _AT_TEETH, jaw=0.1, upper_up=0.25),
    "between_teeth": _viseme(0.22, 0.15, (1.0, 0.2, 3.0), jaw=0.2, tongue=0.85, lower_down=0.25, upper_up=0.12),
    "ridge": _viseme(0.18, 0.2, (0.7, 0.12, 3.0), jaw=0.18, tongue=0.7, lower_down=0.25, upper_up=0.15),
    "hiss": _viseme(
        0.16, 0.4, (1.5, 0.3, 2.0), _TEETH_MEET, jaw=0.06, tongue=0.4, lower_down=0.35, upper_up=0.22, stretch=0.35
    ),
    "hush": _viseme(
        0.2, -0.5, (1.5, 1.2, 1.5), jaw=0.1, tongue=0.35, funnel=0.65, pucker=0.3, lower_down=0.3, upper_up=0.28
    ),
    "back": _viseme(0.25, 0.1, (0.35, 0.06, 1.0), jaw=0.28, lower_down=0.15, upper_up=0.1),
    "breath": _viseme(0.3, 0.0, (0.06, 0.04, 0.1), jaw=0.3),
    "r": _viseme(0.22, -0.5, (0.6, 0.9, 1.0), jaw=0.2, tongue=0.3, pucker=0.4, funnel=0.4, lower_down=0.15),
    "w": _viseme(0.08, -1.0, (1.2, 2.0, 0.3), jaw=0.12, pucker=0.95, funnel=0.25),
    "open": _viseme(1.0, 0.0, jaw=1.0, lower_down=0.4, upper_up=0.2),
    "front": _viseme(0.92, 0.45, jaw=0.85, stretch=0.45, lower_down=0.5, upper_up=0.35),
    "mid": _viseme(0.65, 0.5, jaw=0.6, stretch=0.4, lower_down=0.42, upper_up=0.25),
    "central": _viseme(0.5, 0.0, (0.7, 0.4, 0.5), jaw=0.48, lower_down=0.28, upper_up=0.12),
    "near_spread": _viseme(0.4, 0.55, (0.8, 0.7, 0.5), jaw=0.34, stretch=0.45, lower_down=0.38, upper_up=0.2),
    "spread": _viseme(0.28, 0.95, (1.0, 1.5, 0.8), jaw=0.2, tongue=0.1, stretch=0.8, lower_down=0.4, upper_up=0.25),
    "round_mid": _viseme(0.72, -0.6, jaw=0.65, pucker=0.35, funnel=0.6, lower_down=0.25, upper_up=0.12),
    "round": _viseme(0.26, -0.95, (1.0, 1.6, 0.5), jaw=0.18, pucker=0.9, funnel=0.4),
}
# A stop's closure ends before the phone ends. That of a voiced stop ends later.
_VISEMES["shut_p"] = dataclasses.replace(_VISEMES["shut"], until=0.7)
_VISEMES["shut_b"] = dataclasses.replace(_VISEMES["shut"], until=0.85)

_LOOKS = {
    SILENCE: "rest",
    **{"p": "shut_p", "b": "shut_b", "m": "shut", "hh": "breath", "r": "r", "w": "w", "y": "spread"},
    **dict.fromkeys(("f", "v"), "at_teeth"),
    **dict.fromkeys(("th", "dh"), "between_teeth"),
    **dict.fromkeys(("t", "d", "n", "l"), "ridge"),
    **dict.fromkeys(("s", "z"), "hiss"),
    **dict.fromkeys(("sh", "zh", "ch", "jh"), "hush"),
    **dict.fromkeys(("k", "g", "ng"), "back"),
    **{"aa": "open", "ae": "front", "eh": "mid", "ah": "central", "ax": "central", "ih": "near_spread", "iy": "spread"},
    **{"ao": "round_mid", "uh": "round", "uw": "round", "er": "r"},
}
# The two targets of each diphthong, and the share of its time for the first one.
_DIPHTHONGS = {
    "ay": ("open", "near_spread", 0.55),
    "aw": ("open", "round", 0.55),
    "oy": ("round_mid", "near_spread", 0.55),
    "ey": ("mid", "spread", 0.5),
    "ow": ("round_mid", "round", 0.5),
}


@dataclasses.dataclass(frozen=True)
class Articulation:
    """Mouth movements, in the middle of each frame of a video.

    Attributes:
        controls: float32 (frames,) in 0..1 for each of `CONTROLS`. jaw: 1 is as far as speech opens it. close: the
            jaw makes a gap between the lips, and they bridge this share of it; at 1 they meet wherever the jaw is.
            pucker, funnel: lips pushed forward to a small hole, or flared. stretch: corners apart. lower_down,
            upper_up: a lip drawn away from the other one. roll_lower, roll_upper: a lip rolled in over the teeth.
            press: lips pressed together. tongue: its tip raised.
        opening: float32 (frames,), 0 lips closed .. 1 wide open.
        width: float32 (frames,), -1 rounded .. 0 neutral .. 1 spread.
    """

    controls: dict[str, np.ndarray]
    opening: np.ndarray
    width: np.ndarray


@dataclasses.dataclass(frozen=True)
class _Manner:
    """How far a speaker's mouth moves, and how much its phones run into each other."""

    opening: float = 1.0
    rounding: float = 1.0
    speed: float = 1.0
    lead: float = _LEAD

    @classmethod
    def drawn(cls, rng):
        effort = rng.uniform(0.8, 1.2)  # from mumbling to exaggerated
        return cls(effort, effort * rng.uniform(0.9, 1.1), effort * rng.uniform(0.9, 1.1), rng.uniform(0.035, 0.075))


@dataclasses.dataclass(frozen=True)
class _Gesture:
    viseme: _Viseme
    start: float
    end: float
    weight: float = 1.0


def articulate(
    phones: Sequence[Phone], seconds: float, fps: float = FPS, rng: np.random.Generator | None = None
) -> Articulation:
    """Movement curves of a mouth that says `phones`.

    Args:
        phones: from `phones.say`, `phones.align` or `phones.read`; before and after them the mouth is at rest.
        seconds: length; rounded to whole frames, at least one.
        fps: frames a second. The frame nearest to the middle of a closure shows it, however short it is: `close` is 1
            and `opening` 0 there.
        rng: varies how lively the speaker is; None: always the same.

    Raises:
        UserError: an impossible length or rate, or see `phones.check`.
    """
    if not (np.isfinite(seconds) and np.isfinite(fps)) or seconds <= 0 or fps <= 0:
        raise UserError(f"{seconds} s at {fps} frames/s: cannot be; give a length and a rate above 0")
    track = puppets_phones.check(phones)
    manner = _Manner() if rng is None else _Manner.drawn(rng)
    middles = (np.arange(max(1, round(seconds * fps))) + 0.5) / fps
    gestures = _gestures(track, middles[-1])
    curves = {name: np.zeros(len(middles)) for name in _HELD_ONLY}
    for number, (group, names) in enumerate(_GROUPS.items()):
        curves |= _blend(gestures, middles, group, number, names, manner)
    for name in _GROUPS["jaw"]:
        curves[name] *= manner.opening
    for name in _GROUPS["rounding"]:
        curves[name] *= manner.rounding
    # Phones may be as short as frames. Then lips that must shut win over a lip that must be at the teeth, and so on.
    holding = [gesture for gesture in gestures if gesture.viseme.held]
    for gesture in sorted(holding, key=lambda gesture: gesture.viseme.held.get("close", 0)):
        _hold(curves, gesture, middles)
    width = np.clip(curves.pop("width"), -1, 1).astype(np.float32)
    curves = {name: np.clip(values, 0, 1).astype(np.float32) for name, values in curves.items()}
    return Articulation({name: curves[name] for name in CONTROLS}, curves["opening"], width)


def _gestures(track, last) -> list[_Gesture]:
    """One gesture for each phone, two for a diphthong; rest before and after."""
    rest = _VISEMES["rest"]
    gestures = [_Gesture(rest, track[0].start - 1, track[0].start)]
    for phone in track:
        if phone.name in _DIPHTHONGS:
            first, second, share = _DIPHTHONGS[phone.name]
            middle = phone.start + share * (phone.end - phone.start)
            gestures.append(_Gesture(_VISEMES[first], phone.start, middle))
            gestures.append(_Gesture(_VISEMES[second], middle, phone.end))
            continue
        weight = min(1.0, (phone.end - phone.start) / _SHORT_PAUSE) if phone.name == SILENCE else 1.0
        gestures.append(_Gesture(_VISEMES[_LOOKS[phone.name]], phone.start, phone.end, weight))
    return [*gestures, _Gesture(rest, track[-1].end, max(track[-1].end, last) + 1)]


def _blend(gestures, middles, group, number, names, manner) -> dict[str, np.ndarray]:
    """The mean of the targets of one group of controls, weighted by dominance: {name: (frames,)}."""
    rate = _RATES[group] * manner.speed
    # A small weight of rest keeps the mean defined where all gestures are out of reach.
    total = np.full(len(middles), 1e-6)
    sums = np.zeros((len(names), len(middles)))
    for gesture in gestures:
        length = gesture.end - gesture.start
        edge = min(_EDGE, length / 2)
        start, end = gesture.start + edge, gesture.end - edge
        if group == "rounding" and gesture.viseme.rounded:
            start -= min(manner.lead, _LONGEST_LEAD * length)
        near = slice(*np.searchsorted(middles, (start - _REACH, end + _REACH)))
        away = np.maximum(0, np.maximum(start - middles[near], middles[near] - end))
        dominance = gesture.weight * gesture.viseme.dominance[number] * np.exp(-rate * away)
        total[near] += dominance
        sums[:, near] += dominance * np.array([[gesture.viseme.targets.get(name, 0.0)] for name in names])
    return dict(zip(names, sums / total, strict=True))


def _hold(curves, gesture, middles):
    """Let the curves reach the held targets from the gesture's start on, in at least one frame."""
    held, until = gesture.viseme.held, gesture.viseme.until
    start, end = gesture.start, gesture.start + until * (gesture.end - gesture.start)
    # A frame shows one moment. A closure may lie between two frames. Then the nearer frame shows it.
    nearest = middles[np.abs(middles - (start + end) / 2).argmin()]
    if abs(nearest - (start + end) / 2) <= 2 * middles[0]:  # within one frame; some phones lie beyond the last frame
        start, end = min(start, nearest), max(end, nearest)
    near = slice(*np.searchsorted(middles, (start - _APPROACH, end + _RELEASE)))
    away = np.maximum(np.maximum(0, (start - middles[near]) / _APPROACH), (middles[near] - end) / _RELEASE)
    share = 0.5 + 0.5 * np.cos(np.pi * np.clip(away, 0, 1))
    for name, value in held.items():
        curves[name][near] += share * (value - curves[name][near])
