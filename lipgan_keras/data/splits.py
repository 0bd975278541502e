"""Which clips are trained on, and which are held out."""

import os
from pathlib import Path

import numpy as np

from ..utils.errors import UserError
from . import pack
from .clip_folder import Clip


def split_clips(
    clips: list[Clip], val_fraction: float, seed: int, filelists: str | os.PathLike | None = None
) -> tuple[list[Clip], list[Clip]]:
    """(training, validation) clips: by `train.txt` and `val.txt` in `filelists` where they are, else at random.

    List files are as `pack.read_list` says. Where there is a `val.txt`, `val_fraction` counts for nothing. One clip
    alone is trained on, and none held out.

    Raises:
        UserError: there is no `train.txt`, or a list file cannot be read or names none of the clips.
    """
    if filelists is not None:
        train = _listed(clips, Path(filelists) / "train.txt")
        if train is None:
            raise UserError(f"{filelists}: has no train.txt; leave --filelists away to train on every clip")
        validation = _listed(clips, Path(filelists) / "val.txt")
        if validation is not None:
            return train, validation
        clips = train
    held_out = min(max(round(len(clips) * val_fraction), 1 if val_fraction else 0), len(clips) - 1)
    chosen = set(np.random.default_rng(seed).permutation(len(clips))[:held_out].tolist())
    train = [clip for i, clip in enumerate(clips) if i not in chosen]
    return train, [clip for i, clip in enumerate(clips) if i in chosen]


def _listed(clips, path):
    names = pack.read_list(path)
    if names is None:
        return None
    chosen = [clip for clip in clips if pack.is_named(clip.folder, names)]
    if not chosen:
        raise UserError(
            f"{path}: names none of the clips below --data_root by <video>/<clip>; preprocess that list's too"
        )
    return chosen
