"""The judging sheet: two clips of one video at a time, without names.

A clip is of the truth, of a frozen mouth, or of one of any number of systems. Each trial shows two of them. The trials
are a balanced design: each two meet equally often, over different videos, either of the two on the left equally often.
`report` puts a sheet with one system into its page; `judging` makes one of several.
"""

import base64
import dataclasses
import functools
import hashlib
import itertools
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..utils import errors
from ..utils.errors import UserError
from . import mean_opinion
from .report_clips import ClipCutter

BESIDE = ("truth", "frozen")  # what may stand beside the systems


@dataclasses.dataclass(frozen=True)
class System:
    """Something that made videos.

    Attributes:
        name: as it is told apart from others.
        folder: where its results lie; paths in `videos` are relative to it.
        videos: {name of the video: its record in results.json}, those that could be measured.
    """

    name: str
    folder: Path
    videos: dict[str, dict]


def systems_of(paths: Sequence[str | os.PathLike], results: Sequence[dict]) -> list[System]:
    """Systems with names of their own, from files that `report.load` read.

    Raises:
        UserError: two results have the same name and folder.
    """
    names = [str(content.get("name") or Path(path).parent.name) for path, content in zip(paths, results, strict=True)]
    # A folder tells two trainings apart that were measured under one name.
    names = [
        name if names.count(name) == 1 else f"{name}: {Path(path).parent}"
        for name, path in zip(names, paths, strict=True)
    ]
    for one, other in itertools.combinations(range(len(paths)), 2):
        if os.path.samefile(paths[one], paths[other]):
            raise UserError(f"{paths[other]}: is given twice; give each system's results.json once")
        if names[one] == names[other]:
            raise UserError(f"{paths[other]}: has the name and folder of {paths[one]}; move one to another folder")
    return [
        System(name, Path(path).parent, {v["name"]: v for v in content["videos"] if v["status"] == "ok"})
        for name, path, content in zip(names, paths, results, strict=True)
    ]


def in_common(systems: Sequence[System]) -> list[str]:
    """The names of videos that all of them have."""
    return [name for name in systems[0].videos if all(name in system.videos for system in systems)]


def design(videos: int, shown: int, number: int, rng: np.random.Generator) -> list[tuple[int, int, int]]:
    """Trials, in which each two of `shown` kinds of clips meet equally often, give or take one.

    No video comes twice before each has come once, and so on; each time it comes with two others of its clips.

    Returns:
        At most `number` of (video, kind of the one clip, kind of the other), each cell once. Each pair of kinds has
        either of its two first equally often, give or take one.
    """
    pairings = list(itertools.combinations(range(shown), 2))
    turned, met = rng.integers(2, size=len(pairings)), np.zeros(len(pairings), int)
    left = [set(range(len(pairings))) for _ in range(videos)]
    trials = []
    for trial in range(min(number, videos * len(pairings))):
        video = trial % videos
        pairing = min(left[video], key=lambda one: (met[one], (one - trial) % len(pairings)))  # that met least
        left[video].remove(pairing)
        met[pairing] += 1
        one, other = pairings[pairing]
        trials.append((video, other, one) if turned[pairing] else (video, one, other))
        turned[pairing] ^= 1
    return trials


def build(
    systems: Sequence[System],
    cutter: ClipCutter,
    clips: dict[str, str],
    number: int,
    beside: Sequence[str] = ("truth",),
    progress: bool = False,
) -> tuple[dict, list[str]]:
    """What the page's script needs, and the reasons for videos left out.

    Args:
        systems: at least one; videos that all of them have are shown.
        clips: takes the clips, as base64.
        number: of trials, at most.
        beside: of BESIDE.
    """
    rng = np.random.default_rng(0)
    common = in_common(systems)
    # A truth beside one system belongs to it, as it always did.
    owner = systems[0].name if len(systems) == 1 else ""
    kinds = [*((name, owner) for name in beside), *(("generated", system.name) for system in systems)]
    chosen = sorted(rng.permutation(len(common))[:number])
    trials = design(len(chosen), len(kinds), number, rng)
    cut = functools.lru_cache(maxsize=None)(lambda name, kind: _clip(systems, beside, cutter, name, kind))
    made, left_out = [], {}
    for video, *two in tqdm(trials, "clips to judge", unit="pair", disable=not progress, leave=False, delay=1):
        name = common[chosen[video]]
        if name in left_out:
            continue
        try:
            made.append((name, two, [cut(name, kind) for kind in two]))
        except (UserError, OSError) as error:
            left_out[name] = errors.describe(error, name)
    content = json.dumps([kinds, made])
    identity = hashlib.sha256(content.encode()).hexdigest()[:12]
    tokens, key = [], {}
    for i in rng.permutation(len(made)):
        name, two, both = made[i]
        token = rng.bytes(6).hex()
        clips[f"{token}0"], clips[f"{token}1"] = both
        tokens.append(token)
        key[token] = [name, *(kinds[kind] for kind in two)]
    known = json.dumps(key, ensure_ascii=False).encode("utf-8", "backslashreplace")
    veil = identity.encode()
    return {
        "id": identity,
        "pairs": tokens,
        "key": base64.b64encode(bytes(b ^ veil[i % len(veil)] for i, b in enumerate(known))).decode(),
        "of": len(common),
        "questions": mean_opinion.QUESTIONS,
        "columns": mean_opinion.COLUMNS,
        "scale": mean_opinion.SCALE,
    }, list(left_out.values())


def _clip(systems, beside, cutter, name, kind):
    """A clip of the video `name`, as base64, as long, fast and high as its others."""
    entries = [system.videos[name] for system in systems]
    truth = cutter.paths(entries[0], systems[0].folder)[0]
    videos = [truth, *(cutter.paths(e, s.folder)[1] for e, s in zip(entries, systems, strict=True))]
    span, height = cutter.span(videos), min(cutter.height(video) for video in videos[1:])
    if kind >= len(beside):
        return cutter.single(videos[1 + kind - len(beside)], truth, span, height)
    if beside[kind] == "frozen":  # it says what the systems say, which need not be what the truth says
        return cutter.frozen(truth, videos[1:], span, height)
    return cutter.single(truth, videos[1], span, height)
