"""Arrays in npz files from anywhere: their sizes are seen to before anything is read, and nothing is unpickled.

An npz file is a ZIP file of npy files. Each of the two can declare any size, and be anything else in truth.
"""

import contextlib
import io
import math
import os
import threading
import zipfile
from collections.abc import Iterator, Sequence

import numpy as np

from . import files
from .errors import UserError

MOST_BYTES = 1 << 30  # of the arrays that are read of one file: hours of features
MOST_ARRAYS = 4096
MOST_HEADER = 10_000  # bytes in front of an array
MOST_EXPANSION = 1032  # of deflate
NUMBERS = "fiu"

# numpy parses an array's header with `ast`, and in Python 3.11 that fails now and then while another thread does so too
# (python/cpython#106905): threads take turns, and where TensorFlow was the other one they try again.
_READING = threading.Lock()


@contextlib.contextmanager
def errors(path: str | os.PathLike, advice: str) -> Iterator[None]:
    """Whatever goes wrong with a file in the block becomes one clear error.

    Raises:
        UserError: that.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # of many kinds, from deep within
        raise UserError(f"{path}: cannot be read ({' '.join(str(error).split())[:80]}); {advice}") from error


def read(
    path: str | os.PathLike,
    wanted: Sequence[str] | None = None,
    optional: Sequence[str] = (),
    *,
    data: bytes | memoryview | None = None,
    advice: str = "preprocess it again",
    kinds: str = NUMBERS,
    finite: bool = True,
    most_bytes: int = MOST_BYTES,
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Arrays of a file.

    Args:
        path: the file; for the errors alone where there are `data`.
        wanted: names of arrays that have to be there; None: all that are there.
        optional: of others, which are read where they are there.
        data: what the file holds.
        advice: what to do, for the errors.
        kinds: letters of the kinds of numpy's types that they may have.
        finite: whether infinity and NaN are refused.
        most_bytes: of what is read.

    Returns:
        {name: array}, and the names of all arrays that are in the file.

    Raises:
        UserError: the file cannot be read, is too large, lacks an array, or holds one of another kind.
    """
    with errors(path, advice), zipfile.ZipFile(files.regular(path) if data is None else io.BytesIO(data)) as file:
        members = {info.filename.removesuffix(".npy"): info for info in file.infolist()}
        if len(members) > MOST_ARRAYS or len(members) < len(file.infolist()):
            raise ValueError("too many arrays, or two of one name")
        missing = [name for name in wanted or () if name not in members]
        if missing:
            raise UserError(f"{path}: has no array {missing[0]!r}; {advice}")
        chosen = list(members) if wanted is None else [*wanted, *(name for name in optional if name in members)]
        total = sum(members[name].file_size for name in chosen)
        if total > most_bytes:
            raise UserError(f"{path}: holds {total >> 20} MiB, and {most_bytes >> 20} are the most; {advice}")
        return {name: _array(file, members[name], kinds, finite) for name in chosen}, list(members)


def names(path: str | os.PathLike, wanted: Sequence[str], advice: str) -> list[str]:
    """The names of the arrays in a file; nothing of these is read.

    Raises:
        UserError: the file cannot be read, or lacks one that is wanted.
    """
    with errors(path, advice), zipfile.ZipFile(files.regular(path)) as file:
        found = [name.removesuffix(".npy") for name in file.namelist()]
    missing = [name for name in wanted if name not in found]
    if missing:
        raise UserError(f"{path}: has no array {missing[0]!r}; {advice}")
    return found


def _array(file, info, kinds, finite):
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError("packed by means that are not known")
    # Room is made for what a file declares: it has to be possible
    expands = (
        MOST_EXPANSION * info.compress_size + 64 if info.compress_type == zipfile.ZIP_DEFLATED else info.compress_size
    )
    if info.compress_size > _size_of(file.fp) or info.file_size > expands:
        raise ValueError(f"{info.filename.removesuffix('.npy')} is not as large as it says")
    with file.open(info) as member:
        data = member.read(info.file_size)  # no more than that is unpacked
    packed = io.BytesIO(data)
    shape, in_columns, dtype = _header(packed)
    room = len(data) - packed.tell()
    if dtype.hasobject or dtype.kind not in kinds:
        raise ValueError(f"{info.filename.removesuffix('.npy')} is {dtype}")
    if any(n < 0 for n in shape) or math.prod(shape) * dtype.itemsize != room:
        raise ValueError(f"{info.filename.removesuffix('.npy')} is not as large as it says")
    array = np.frombuffer(data, dtype, offset=packed.tell()) if room else np.zeros(math.prod(shape), dtype)
    array = array.reshape(shape[::-1]).T if in_columns else array.reshape(shape)
    if finite and dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"{info.filename.removesuffix('.npy')} holds infinite numbers or NaN")
    return np.require(array, requirements="WO") if array.ndim else array.copy()


def _size_of(file):
    place = file.tell()
    size = file.seek(0, os.SEEK_END)
    file.seek(place)
    return size


def _header(packed):
    for again in reversed(range(5)):
        packed.seek(0)
        version = np.lib.format.read_magic(packed)
        read_it = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        try:
            with _READING:
                return read_it[version](packed, max_header_size=MOST_HEADER)
        except SystemError:
            if not again:
                raise
    raise AssertionError
