"""What a file says of its model, looked at before anything is built of it."""

from __future__ import annotations

import dataclasses
import math
import os
import re
from collections.abc import Iterable
from typing import Any

import h5py

from ..config import ALIGNMENTS, BLOCKS, CROPS, IMG_SIZES, VARIANTS, WINDOW_SHAPE, ModelConfig
from ..utils import kinds, limits
from ..utils.errors import UserError
from .keras2 import NOT_ONE

NARROW = 0.5  # widths that are built without a look at how many weights there are
LEAST_WEIGHTS = 4_000_000  # of the smallest network of the project, with a width of 1
CHOICES = {"variant": VARIANTS, "audio": WINDOW_SHAPE, "img_size": IMG_SIZES, "alignment": ALIGNMENTS, "crop": CROPS}


def of_values(values: Any, path: str | os.PathLike) -> ModelConfig:
    """The configuration that JSON from anywhere says.

    Raises:
        UserError: it is no object, lacks a value, or has one of another kind, out of its range or unknown.
    """
    names = [field.name for field in dataclasses.fields(ModelConfig)]
    # Files of before there was a lip-sync discriminator, or blocks, do not name these.
    later = [name for name in names if name.startswith("sync_") or name in BLOCKS]
    if not isinstance(values, dict) or any(name not in values for name in names if name not in later):
        raise unreadable(path)
    wrong = kinds.first_wrong(values, ModelConfig) or limits.wrong({name: values.get(name) for name in names})
    if wrong:
        raise UserError(f"{path}: in its configuration {wrong}; {NOT_ONE}")
    config = ModelConfig(**{name: values[name] for name in names if name in values})
    for name, choices in CHOICES.items():
        if getattr(config, name) not in choices:
            raise UserError(
                f"{path}: in its configuration {name} is {getattr(config, name)!r:.40}, which this version does not "
                f"know; {NOT_ONE}"
            )
    for kind in BLOCKS:
        if not re.fullmatch(f"|{limits.BLOCK_NAME.pattern}", getattr(config, kind)):
            raise UserError(f"{path}: in its configuration {kind} is no name of a block; {NOT_ONE}")
    return config


def unreadable(path: str | os.PathLike) -> UserError:
    return UserError(f"{path}: its configuration cannot be read, or is not of this version; {NOT_ONE}")


def check_size(network: str, width: float, arrays: Iterable[h5py.Dataset], path: str | os.PathLike) -> None:
    """See that a file whose configuration says that a network is wide holds a wide one, before it is built.

    Raises:
        UserError: it does not.
    """
    count = sum(math.prod(item.shape) for item in arrays)
    if width > NARROW and count < LEAST_WEIGHTS * width**2:
        raise UserError(
            f"{path}: its configuration says that the {network} has a width of {width:g}, and it holds {count:,} "
            f"weights, too few for that; {NOT_ONE}"
        )
