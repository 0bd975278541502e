"""JSON from anywhere: of a bounded size and depth, and of finite numbers where nobody asks for others."""

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import files

MOST_BYTES = 256 << 20
MOST_LEVELS = 32


def parse(text: str | bytes, finite: bool = True, most_bytes: int = MOST_BYTES) -> Any:
    """The value that a JSON text says.

    Args:
        finite: whether infinity and NaN are refused, which JSON has not, and Python writes all the same.
        most_bytes: a longer text is refused.

    Raises:
        ValueError: it is none, too long or too deep, or says a number that is refused.
    """
    if len(text) > most_bytes:
        raise ValueError(f"longer than {most_bytes >> 20} MiB")
    if (b"\\u0000" if isinstance(text, bytes) else "\\u0000") in text:  # no name may hold one
        raise ValueError("it holds zero bytes")
    try:
        floats = {"parse_constant": _refused, "parse_float": _finite} if finite else {}
        value = json.loads(text, parse_int=_whole, **floats)
    except RecursionError as error:
        raise ValueError("too deep") from error
    level = [value]
    for _ in range(MOST_LEVELS):
        level = [one for outer in level if isinstance(outer, dict | list) for one in _within(outer)]
        if not level:
            return value
    raise ValueError(f"deeper than {MOST_LEVELS} levels")


def read(path: str | os.PathLike, finite: bool = True, most_bytes: int = MOST_BYTES) -> Any:
    """`parse` of a file in UTF-8.

    Raises:
        OSError: it cannot be read.
        UserError: see `files.regular`.
        ValueError: see `parse`.
    """
    path = Path(files.regular(path))
    if path.stat().st_size > most_bytes:
        raise ValueError(f"longer than {most_bytes >> 20} MiB")
    return parse(path.read_bytes().decode("utf-8"), finite, most_bytes)


def with_keys(*keys: str) -> Callable[[Path], bool]:
    """A `mark` of `files.check_outfile`: an object that has these keys."""

    def known(path):
        try:
            found = read(path, finite=False)
        except (OSError, ValueError):
            return False
        return isinstance(found, dict) and found.keys() >= set(keys)

    return known


def _within(value):
    return value.values() if isinstance(value, dict) else value


def _refused(name):
    raise ValueError(f"{name} is no number")


def _whole(text):
    if len(text) > 19 or abs(int(text)) >= 2**63:
        raise ValueError(f"{text:.20} is too large")
    return int(text)


def _finite(text):
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text:.20} is too large")
    return value
