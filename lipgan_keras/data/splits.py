"""Which clips are trained on, which are held out, and what a checkpoint keeps of that.

A hash of a clip's source, `<speaker or video>/<clip>`, decides its side. No seed does, nor do other clips unless there
are few: a clip that is added changes nothing for those that were there, and what is made of a clip is held out with it.
Where no hash is below the fraction the source of the lowest is held out, and a single source is not: there a clip that
is added may change it, for a new run. A checkpoint keeps a `Split`: by it training goes on with the same sides, and
evaluation finds clips that were not trained on.
"""

import base64
import collections
import dataclasses
import functools
import hashlib
import os
from pathlib import Path

import numpy as np

from ..utils.errors import UserError
from . import pack
from .clip_folder import Clip, meant, own_names

HASH, LISTS, BEFORE = "sha256 1", "lists 1", "permutation 0"  # the rules, each with its version
VAL_FRACTION = 0.05  # of checkpoints so old that they do not say it
TRAINED_ON = {"train", "trainval", "pretrain"}  # folders of LRW and LRS3
SAME = "give the same command, or another --logdir"


def hash_of(name: str) -> int:
    """The first 8 bytes of the SHA-256 of a clip's name, as a number."""
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()[:8], "big")


def split_clips(
    clips: list[Clip], val_fraction: float, filelists: str | os.PathLike | None = None
) -> tuple[list[Clip], list[Clip]]:
    """(training, validation) clips: by `train.txt` and `val.txt` in `filelists` where they are, else by hash.

    Held out are the clips of sources whose hash is below `val_fraction` of its range. Where these would be none, it is
    the source with the lowest hash; where they would be all, the one with the highest is trained on. One source alone
    is trained on, and none held out.

    List files are as `pack.read_list` says; they name also what was made of the clips that they name. Where there is a
    `val.txt`, `val_fraction` counts for nothing.

    Raises:
        UserError: there is no `train.txt`, or a list file cannot be read or names none of the clips.
    """
    train, validation = _by_lists(clips, filelists)
    if validation is not None:
        return train, validation
    sources = sorted({clip.source for clip in train}, key=hash_of)
    chosen = {source for source in sources if _is_below(source, val_fraction)}
    if val_fraction and len(sources) > 1:
        chosen = (chosen or {sources[0]}) - ({sources[-1]} if len(chosen) == len(sources) else set())
    elif len(sources) == 1:
        chosen = set()
    return [clip for clip in train if clip.source not in chosen], [clip for clip in train if clip.source in chosen]


def permuted_split(
    clips: list[Clip], val_fraction: float, seed: int, filelists: str | os.PathLike | None = None
) -> tuple[list[Clip], list[Clip]]:
    """`split_clips` as it was in checkpoints that keep no `Split`: by a permutation of however many clips there are."""
    train, validation = _by_lists(clips, filelists)
    if validation is not None:
        return train, validation
    held_out = min(max(round(len(train) * val_fraction), 1 if val_fraction else 0), len(train) - 1)
    chosen = set(np.random.default_rng(seed).permutation(len(train))[:held_out].tolist())
    sides = [[clip for i, clip in enumerate(train) if (i in chosen) == side] for side in (False, True)]
    return sides[0], sides[1]


def _is_below(source, val_fraction):
    return hash_of(source) / 2**64 < val_fraction


def _by_lists(clips, filelists):
    """(all, None) without lists; None also where there is no val.txt."""
    if filelists is None:
        return clips, None
    check_lists(filelists)
    return _listed(clips, Path(filelists) / "train.txt"), _listed(clips, Path(filelists) / "val.txt")


def check_lists(filelists: str | os.PathLike) -> None:
    """Refuse a folder without a list to train on.

    Raises:
        UserError: there is no `train.txt`.
    """
    if pack.read_list(Path(filelists) / "train.txt") is None:
        raise UserError(f"{filelists}: has no train.txt; name a folder that has one, or leave --filelists away")


def _listed(clips, path, needed=True):
    names = pack.read_list(path)
    if names is None:
        return None
    folders = {clip.name: clip.folder for clip in clips}

    def is_named(clip):
        made_of = {Path(clip.source), folders.get(clip.source, clip.folder)} if clip.source != clip.name else set()
        return any(pack.is_named(folder, names) for folder in {clip.folder, *made_of})

    chosen = [clip for clip in clips if is_named(clip)]
    chosen = meant(chosen, names, path.stem)
    if needed and not chosen:
        raise UserError(
            f"{path}: names none of the clips below --data_root by <video>/<clip>; preprocess that list's too"
        )
    return chosen


def _names(clip):
    return own_names(clip) | {clip.source}


def _longest(clip):
    return max(own_names(clip), key=len)


@dataclasses.dataclass(frozen=True)
class Split:
    """What a checkpoint keeps of its split.

    Attributes:
        rule: HASH, LISTS (a val.txt decided) or BEFORE.
        val_fraction: share that was asked for; None where a val.txt decided.
        filelists: absolute path of the folder with the lists, or None.
        held_out: {name: source} of the clips; of one that is its own source and lies directly below the folder, the
            name with more of its path.
        trained: hashes of the names of the clips that are trained on.
        sources: hashes of the other names by which those are known: their sources', and with more of their paths.
        earlier: hashes of names that the weights were trained on before: by the files of --resume_gen and the like, or
            by this run, of clips that are no longer there.
        complete: whether these are all that the weights were trained on; False: what they began with does not say it.
    """

    rule: str
    val_fraction: float | None
    filelists: str | None
    held_out: dict[str, str]
    trained: frozenset[int]
    sources: frozenset[int] = frozenset()
    earlier: frozenset[int] = frozenset()
    complete: bool = True

    @classmethod
    def of(
        cls,
        sides: tuple[list[Clip], list[Clip]],
        val_fraction: float | None,
        filelists: str | os.PathLike | None = None,
        rule: str | None = None,
    ) -> "Split":
        """What to keep of `split_clips`'s result for these arguments."""
        train, held_out = sides
        listed = filelists is not None and (Path(filelists) / "val.txt").is_file()
        trained = frozenset(hash_of(clip.name) for clip in train)
        return cls(
            rule or (LISTS if listed else HASH),
            None if listed else val_fraction,
            filelists and os.path.abspath(filelists),
            {
                clip.name: clip.source if clip.packed is not None or clip.source != clip.name else _longest(clip)
                for clip in held_out
            },
            trained,
            frozenset(hash_of(name) for clip in train for name in _names(clip)) - trained,
        )

    @classmethod
    def restored(cls, stored: dict, path: str | os.PathLike) -> "Split":
        """Of what `stored` made.

        Raises:
            UserError: the checkpoint `path` holds something else.
        """
        try:
            values = {field.name: stored[field.name] for field in dataclasses.fields(cls)}
            for name in ("trained", "sources", "earlier"):
                values[name] = frozenset(np.frombuffer(base64.b64decode(values[name]), ">u8").tolist())
            fraction, lists = values["val_fraction"], values["filelists"]
            valid = isinstance(values["rule"], str) and isinstance(values["complete"], bool)
            valid &= fraction is None or 0 <= fraction < 1
            valid &= lists is None or isinstance(lists, str)
            valid &= all(isinstance(name, str) for pair in values["held_out"].items() for name in pair)
        except (KeyError, TypeError, ValueError, AttributeError):
            valid = False
        if not valid:
            raise UserError(f"{path}: what it says of held-out clips cannot be read, the file is damaged")
        return cls(**values)

    def stored(self) -> dict:
        """The same for JSON, which `restored` reads."""
        values = dataclasses.asdict(self)
        for name in ("trained", "sources", "earlier"):
            values[name] = base64.b64encode(np.array(sorted(values[name]), ">u8").tobytes()).decode()
        return values

    def holds_out(self, clip: Clip) -> bool:
        if self._knows_itself(clip):
            return not own_names(clip).isdisjoint(self.held_out)
        return not _names(clip).isdisjoint(self._held)

    @functools.cached_property
    def _held(self):
        return {*self.held_out, *self.held_out.values()}

    def trains_on(self, clip: Clip) -> bool:
        """Whether this run did; `has_seen`: or an earlier one, or on a copy."""
        if self._knows_itself(clip):
            return not self.trained.isdisjoint(map(hash_of, own_names(clip)))
        return any(number in self.trained or number in self.sources for number in map(hash_of, _names(clip)))

    def has_seen(self, clip: Clip) -> bool:
        return any(
            hash_of(name) in seen for name in _names(clip) for seen in (self.trained, self.sources, self.earlier)
        )

    def _knows_itself(self, clip):
        """Whether a clip's own names decide its side: the split of before knew no sources, and tore copies apart."""
        own = own_names(clip) if self.rule == BEFORE else ()
        return any(
            name in self.held_out or {hash_of(name)} & self.trained or {hash_of(name)} & self.earlier for name in own
        )

    def among(self, clips: list[Clip]) -> "Split":
        """The same, with the names that its clips have below another folder, where only one can be meant.

        What was `39` directly below its folder may now be `crops/39`; what was `s1/39` may be `39` in a pack of s1.
        """
        there, ends = {name: clip for clip in clips for name in own_names(clip)}, {}
        for clip in clips:
            ends.setdefault(clip.name.split("/")[-1], []).append(clip)
        held_out, trained = {}, set(self.trained)
        wanted = collections.Counter(name.split("/")[-1] for name in self.held_out)
        for name, source in self.held_out.items():
            end, found = name.split("/")[-1], None
            if name not in there and source.endswith(f"/{name}"):
                found = there.get(source)
            if name not in there and not found and len(ends.get(end, [])) == wanted[end] == 1:
                (clip,) = ends[end]
                cut = clip.packed is not None and "/" not in clip.name  # in a pack no folder above tells more
                cut |= end == name and not source.endswith(f"/{name}")
                found = clip if cut and not self.has_seen(clip) else None
            held_out |= {found.name: found.source} if found else {name: source}
        for end, same in ((end, same) for end, same in ends.items() if hash_of(end) in trained and end not in there):
            same = [clip for clip in same if hash_of(clip.name) in self.sources] or same
            if len(same) == 1 and same[0].name not in held_out:
                trained.discard(hash_of(end))
                trained.add(hash_of(same[0].name))
        return dataclasses.replace(self, held_out=held_out, trained=frozenset(trained))

    def after(self, earlier: "Split | None") -> "Split":
        """The same, for weights that began with those of a checkpoint with another split; None: with an unknown one."""
        if earlier is None:
            return dataclasses.replace(self, complete=False)
        seen = self.earlier | earlier.trained | earlier.sources | earlier.earlier
        return dataclasses.replace(self, earlier=seen, complete=self.complete and earlier.complete)


def resumed_split(
    clips: list[Clip], kept: Split, val_fraction: float, filelists: str | os.PathLike | None, path: str | os.PathLike
) -> tuple[tuple[list[Clip], list[Clip]], Split, list[str]]:
    """The sides of a run that goes on: each clip stays where it was, and what was added goes where its hash says.

    Args:
        kept: by its checkpoint `path`.
        val_fraction, filelists: what it is given now.

    Returns:
        (training, validation) clips; what to keep of them; and lines that say what has changed.

    Raises:
        UserError: a clip would change sides, one that was held out or all that were trained on are gone, or the
            arguments are others.
    """
    _refuse_others(kept.val_fraction, kept.filelists, val_fraction, filelists, path)
    kept = kept.among(clips)
    train, held_out = _by_lists(clips, filelists)
    if held_out is None:
        known = train
        held_out = [clip for clip in known if _stays_held_out(clip, kept, val_fraction)]
        train = [clip for clip in known if not _stays_held_out(clip, kept, val_fraction)]
    for side, wrong, before, now in (
        (train, lambda clip: kept.holds_out(clip) and not kept.trains_on(clip), "held out", "trained on"),
        (held_out, lambda clip: _was_trained_on(clip, kept), "trained on", "held out"),
    ):
        changed = [clip.name for clip in side if wrong(clip)]
        if changed:
            raise UserError(
                f"{path}: {changed[0]}, which this run has {before}, would now be {now}{_and_more(changed)}; {SAME}"
            )
    there = {name for clip in held_out for name in own_names(clip)}
    gone = [name for name in kept.held_out if name not in there]
    if gone:
        raise UserError(f"{path}: {gone[0]}, which this run has held out, is no longer there{_and_more(gone)}; {SAME}")
    missing = kept.trained.difference(hash_of(name) for clip in train for name in own_names(clip))
    if missing and len(missing) == len(kept.trained):
        raise UserError(f"{path}: none of the {len(missing)} clips that this run was trained on is there; {SAME}")
    split = Split.of((train, held_out), val_fraction, filelists, kept.rule)
    left = (kept.trained | kept.sources) - split.trained - split.sources
    split = dataclasses.replace(split, earlier=kept.earlier | left, complete=kept.complete)
    lines = []
    if missing:
        lines.append(f"{len(missing)} of the {len(kept.trained)} clips that it was trained on are no longer there")
    added = sum(kept.trained.isdisjoint(map(hash_of, own_names(clip))) for clip in train)
    more = sum(own_names(clip).isdisjoint(kept.held_out) for clip in held_out)
    if added or more:
        lines.append(f"{added + more} clips were added, {added} to train on and {more} held out")
    return (train, held_out), split, lines


def _stays_held_out(clip, kept, val_fraction):
    return kept.holds_out(clip) or (not kept.has_seen(clip) and _is_below(clip.source, val_fraction))


def _was_trained_on(clip, kept):
    itself = not kept.trained.isdisjoint(map(hash_of, own_names(clip))) and clip.name not in kept.held_out
    return itself or (kept.has_seen(clip) and not kept.holds_out(clip))


def _and_more(names):
    return f", and {len(names) - 1} more" if len(names) > 1 else ""


def _refuse_others(their_fraction, their_lists, val_fraction, filelists, path):
    """Refuse flags that are none of this run; lists may have been moved, since what they name is compared."""
    if (their_lists is None) != (filelists is None):
        raise UserError(
            f"{path}: belongs to a run with --filelists {their_lists or 'unset'}, not {filelists or 'unset'}; {SAME}"
        )
    listed = filelists is not None and (Path(filelists) / "val.txt").is_file()
    if not listed and their_fraction not in (None, val_fraction):
        raise UserError(
            f"{path}: belongs to a run with --val_fraction {their_fraction:g}, not {val_fraction:g}; {SAME}"
        )


def resumed_before(
    clips: list[Clip], training: dict, val_fraction: float, filelists: str | os.PathLike | None, path: str | os.PathLike
) -> tuple[tuple[list[Clip], list[Clip]], Split, list[str]]:
    """`resumed_split` of a checkpoint that keeps no `Split`, but in `training` the arguments of `permuted_split`."""
    theirs = training.get("filelists")
    _refuse_others(training.get("val_fraction"), theirs, val_fraction, filelists, path)
    if theirs and os.path.isdir(theirs) and os.path.abspath(filelists) != theirs:
        raise UserError(f"{path}: belongs to a run with --filelists {theirs}, not {filelists}; {SAME}")
    sides = permuted_split(clips, val_fraction, training.get("seed", 0), filelists)
    split = Split.of(sides, val_fraction, filelists)
    by = f"those that {Path(filelists or '', 'val.txt')} names"
    if split.rule != LISTS:
        split = dataclasses.replace(split, rule=BEFORE)
        by = f"those of the split of before, a permutation of {len(clips)} clips, if these are as they were then"
    line = f"its checkpoint is from before held-out clips were named; they are {by}"
    return sides, dataclasses.replace(split, complete=False), [line]


def to_measure(
    clips: list[Clip],
    path: str | os.PathLike,
    stored: dict | None,
    training: dict | None,
    filelists: str | os.PathLike | None = None,
    val_fraction: float | None = None,
    split: str | None = None,
) -> tuple[list[Clip], list[Clip], str]:
    """Which clips to measure a checkpoint with.

    Args:
        path: the checkpoint's.
        stored: the `Split` in it, as `Split.stored` makes it, or None.
        training: what else it says of its training, or None.
        filelists: folder whose <split>.txt names the clips, whatever the checkpoint says.
        val_fraction: share of the clips, likewise.
        split: "all": all of them; another name: that of the list, or without lists of a folder above the clips, as LRW
            (WORD/test/) and LRS3 (test/<video>/) have them; None: "val" with lists.

    Returns:
        Clips that were trained on, as far as is known; those to measure, of which there may be none; and, for people,
        which these are and why.

    Raises:
        UserError: there is no such list in `filelists`, it names none of the clips, or there is no such folder.
    """
    kept = None if stored is None else Split.restored(stored, path).among(clips)
    told = training is not None and not {"seed", "val_fraction", "filelists"}.isdisjoint(training)
    if split == "all":
        train, chosen, why = [], clips, "as --split all asks for"
    elif filelists is not None:
        train, chosen, why = _named_by(clips, Path(filelists), split or "val")
    elif split is not None:
        train, chosen, why = _below(clips, split)
    elif val_fraction is not None:
        train, chosen = split_clips(clips, val_fraction)
        why = f"those that --val_fraction {val_fraction:g} holds out"
    elif kept is not None:
        train, chosen, why = _known_to(kept, clips)
    elif told:
        lists = training.get("filelists")
        fraction, seed = training.get("val_fraction", VAL_FRACTION), training.get("seed", 0)
        train, chosen = permuted_split(clips, fraction, seed, lists)
        why = "those that the split of before held out, if --data_root is as it was in training"
        if lists and Path(lists, "val.txt").is_file():
            why = f"those that {Path(lists, 'val.txt')} names, as in training"
        return train, chosen, f"{len(chosen)} of {len(clips)} clips, {why}"
    else:
        return [], clips, f"all {len(clips)} clips; nothing is known of what {path} was trained on"
    count = "all" if len(chosen) == len(clips) else f"{len(chosen)} of"
    return train, chosen, f"{count} {len(clips)} clips, {why}{_seen(chosen, kept)}"


def _named_by(clips, lists, split):
    chosen = _listed(clips, lists / f"{split}.txt")
    if chosen is None:
        raise UserError(f"{lists}: has no {split}.txt, which is to name the clips to measure; leave --filelists away")
    train = _listed(clips, lists / "train.txt", needed=False) or []
    return train, chosen, f"those that {lists / f'{split}.txt'} names"


def _below(clips, split):
    train, chosen = ([c for c in clips if sides & {*c.above}] for sides in (TRAINED_ON, {split}))
    if not chosen:
        raise UserError(f"--split {split}: no clip lies in a folder of that name; name a list with --filelists")
    return train, chosen, f"those in folders named {split}"


def _known_to(kept, clips):
    train, held_out = [clip for clip in clips if kept.trains_on(clip)], [clip for clip in clips if kept.holds_out(clip)]
    if held_out:
        gone = set(kept.held_out).difference(name for clip in held_out for name in own_names(clip))
        more = f" ({len(gone)} more are not there)" if gone else ""
        return train, held_out, f"those that training held out{more}"
    others = [clip for clip in clips if not kept.has_seen(clip)]
    if len(others) == len(clips):
        return [], clips, "as training knew none of them"
    return train, others, "those that training did not know, as none that it held out is there"


def _seen(chosen, kept):
    if kept is None:
        return "; how many of them training has seen is not known"
    seen = sum(kept.has_seen(clip) for clip in chosen)
    return (f"; training has seen {seen} of them" if seen else "") + (
        "" if kept.complete else "; what its weights began with was trained on is not known"
    )
