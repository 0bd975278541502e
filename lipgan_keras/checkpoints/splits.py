"""Which clips the weights of a file were trained on and which were held out: JSON in a dataset `split`, compressed.

(No attribute, which holds 64 KB: names may be many.)
"""

import json
import os

import h5py
import numpy as np

from ..utils import h5, jsontext
from ..utils.errors import UserError

NAME = "split"
MOST_BYTES = 256 << 20


def write(file: h5py.File, split: dict) -> None:
    """Put it into an open file."""
    text = np.frombuffer(json.dumps(split).encode("ascii"), np.uint8)
    file.create_dataset(NAME, data=text, compression="gzip")


def read(file: h5py.File, path: str | os.PathLike) -> dict | None:
    """What `write` was given; None where the file says nothing of it.

    Raises:
        UserError: it cannot be read.
    """
    if NAME not in file:
        return None
    try:
        found = jsontext.parse(h5.octets(file[NAME], MOST_BYTES))
        if not isinstance(found, dict):
            raise ValueError("no object")
        return found
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: what it says of held-out clips cannot be read, the file is damaged") from error
