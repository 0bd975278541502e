"""Whether values, from a file or of a configuration, are of the kinds that a dataclass declares."""

import collections.abc
import dataclasses
import math
import os
import types
import typing
from typing import Any

from .errors import UserError

MOST = 1e100  # of a `Number`, so that one may reckon with its square


class Number:
    """A kind: any number, NaN and infinity among them."""


class Fields:
    """A kind: a dictionary whose values of these names are of these kinds, where they are there; or None."""

    def __init__(self, **kinds: Any):
        self.kinds = kinds


WORDS = {
    Number: "a number",
    float: "a finite number",
    int: "a whole number",
    str: "a string",
    bool: "true or false",
    type(None): "null",
}


def is_of(value: Any, kind: Any) -> bool:
    """Whether `value`, as JSON gives it, is of a kind; booleans are no numbers, and numbers are finite.

    Args:
        kind: bool, int, float, `Number`, str or None; a union of kinds; a list, sequence or tuple of kinds; a
            dictionary with strings as keys; `Fields`; any other class.
    """
    if isinstance(kind, Fields):
        return value is None or (isinstance(value, dict) and first_wrong(value, kind.kinds) is None)
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return any(is_of(value, one) for one in inner)
    if origin is typing.Literal:
        return isinstance(value, str) and value in inner
    if origin is tuple and inner[-1] is not Ellipsis:
        return isinstance(value, list | tuple) and len(value) == len(inner) and all(map(is_of, value, inner))
    if origin in (list, tuple, collections.abc.Sequence):
        return isinstance(value, list | tuple) and all(is_of(one, inner[0]) for one in value)
    if origin is dict:
        return isinstance(value, dict) and all(isinstance(k, str) and is_of(v, inner[1]) for k, v in value.items())
    if kind is Number:
        plain = isinstance(value, int | float) and not isinstance(value, bool)
        return plain and not MOST < abs(value) < math.inf
    if kind is None:
        return value is None
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, origin or kind)


def first_wrong(values: dict[str, Any], declared: Any) -> str | None:
    """What is wrong with the first value that is not of its kind, such as "width is '0.5', not a finite number".

    Args:
        values: names that are not declared are passed over.
        declared: a dataclass, or {name: kind}.
    """
    hints = declared if isinstance(declared, dict) else typing.get_type_hints(declared)
    for name, value in values.items():
        if name in hints and not is_of(value, hints[name]):
            return f"{name} is {value!r:.40}, not {_words(hints[name])}"
    return None


def checked(config: Any) -> Any:
    """A copy of a configuration, a dataclass, whose paths are strings and whose numbers are Python's own.

    Raises:
        UserError: a value is not of its kind.
    """
    values = {field.name: _plain(getattr(config, field.name)) for field in dataclasses.fields(config)}
    wrong = first_wrong(values, type(config))
    if wrong:
        raise UserError(f"{type(config).__name__}: {wrong}")
    return dataclasses.replace(config, **values)


def _plain(value):
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value.item() if type(value).__module__ == "numpy" and getattr(value, "ndim", 1) == 0 else value


def _words(kind):
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return " or ".join(_words(one) for one in typing.get_args(kind))
    if kind in WORDS:
        return WORDS[kind]
    if typing.get_origin(kind) not in (list, tuple, collections.abc.Sequence):
        return "of its kind"
    return "a list of finite numbers" if typing.get_args(kind)[0] is float else "a list"
