"""HDF5 files from anywhere, looked through before anything of them is read.

HDF5 can point out of a file (links, external storage, virtual datasets), and a small file can declare terabytes. Files
of weights do neither, so that such ones are refused.
"""

import contextlib
import math
import os
import zlib
from collections.abc import Iterator

import h5py
import numpy as np

from . import files
from .errors import UserError

MOST_OBJECTS = 100_000  # groups and datasets of a file
MOST_LEVELS = 32  # of groups within groups
MOST_BYTES = 64 << 30  # of all arrays of a file: the widest networks, their optimizers and averages
MOST_ARRAY_BYTES = 4 << 30  # of one
MOST_CHUNKS = 1_000_000  # of one
MOST_TEXT_BYTES = 1 << 20  # of an attribute
FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
_looked_through: set[tuple] = set()  # files that have been looked through; each is opened several times


@contextlib.contextmanager
def opened(path: str | os.PathLike, advice: str) -> Iterator[h5py.File]:
    """An HDF5 file for reading. Whatever goes wrong with it in the block becomes one clear error.

    Args:
        advice: what to do, for the errors.

    Raises:
        UserError: no such file, a pipe, no HDF5 file, one that points elsewhere or is too large, or a damaged one.
    """
    if not os.path.exists(files.regular(path)):
        raise UserError(f"{path}: no such file; {advice}")
    if os.path.isdir(path):
        raise UserError(f"{path}: is a folder; {advice}")
    if not os.access(path, os.R_OK):
        raise UserError(f"{path}: may not be read; check its permissions")
    try:
        file = h5py.File(path, "r")
    except Exception as error:  # of many kinds, from deep within
        raise UserError(f"{path}: is not an HDF5 file, or is cut short; {advice}") from error
    try:
        with file:
            known = files.identity(path)
            if known not in _looked_through:
                _look_through(file, path, advice)
                _looked_through.add(known)
            yield file
    except UserError:
        raise
    except Exception as error:  # likewise
        raise UserError(f"{path}: is damaged ({' '.join(str(error).split())[:80]}); {advice}") from error


def _look_through(file, path, advice):
    """Refuse what points out of the file, what is there twice, and what is too large.

    Raises:
        UserError: there is such a thing.
    """
    seen, total, todo = set(), 0, [(file, 1)]
    while todo:
        group, level = todo.pop()
        for name in group:
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise UserError(f"{path}: links to other files or places, which no file of weights does; {advice}")
            item = group[name]
            place = h5py.h5o.get_info(item.id).addr
            if place in seen:
                raise UserError(f"{path}: holds {item.name} twice, which no file of weights does; {advice}")
            seen.add(place)
            if len(seen) > MOST_OBJECTS:
                raise _too_large(path, f"over {MOST_OBJECTS:,} groups and arrays", advice)
            if isinstance(item, h5py.Group):
                if level >= MOST_LEVELS:
                    raise _too_large(path, f"over {MOST_LEVELS} groups within groups", advice)
                todo.append((item, level + 1))
            elif isinstance(item, h5py.Dataset):
                total += _checked_size(item, path, advice)
            else:
                raise UserError(f"{path}: {item.name} is no array; {advice}")
            if total > MOST_BYTES:
                raise _too_large(path, f"arrays of over {MOST_BYTES >> 30} GiB", advice)


def _checked_size(item, path, advice):
    """How many bytes a dataset declares."""
    if item.external or item.is_virtual:
        raise UserError(f"{path}: keeps data in other files, which no file of weights does; {advice}")
    if item.shape is None or item.dtype.kind not in "fiub":
        raise UserError(f"{path}: {item.name} is no array of numbers; {advice}")
    size = math.prod(item.shape) * item.dtype.itemsize
    if size > MOST_ARRAY_BYTES:
        shape = "x".join(map(str, item.shape))
        raise _too_large(path, f"{item.name} of {shape}, over {MOST_ARRAY_BYTES >> 30} GiB", advice)
    if item.chunks:
        whole = math.prod(-(-n // chunk) * chunk for n, chunk in zip(item.shape, item.chunks, strict=True))
        if whole // math.prod(item.chunks) > MOST_CHUNKS or math.prod(item.chunks) > max(size, 1 << 20):
            raise _too_large(path, f"{item.name} in pieces of {item.chunks}", advice)
    return size


def _too_large(path, what, advice):
    return UserError(f"{path}: declares {what}, which no file of weights does; {advice}")


def text(file: h5py.HLObject, name: str) -> str | None:
    """An attribute that is text; None: there is none.

    Raises:
        ValueError: it is something else, or too long.
    """
    if name not in file.attrs:
        return None
    if file.attrs.get_id(name).get_storage_size() > MOST_TEXT_BYTES:
        raise ValueError(f"{name} is too long")
    found = file.attrs[name]
    if isinstance(found, bytes):
        found = found.decode("utf-8")
    if not isinstance(found, str) or len(found) > MOST_TEXT_BYTES:
        raise ValueError(f"{name} is no text")
    return found


def whole_number(file: h5py.HLObject, name: str) -> int:
    """An attribute that is one whole number.

    Raises:
        ValueError: it is something else.
    """
    found = file.attrs[name] if file.attrs.get_id(name).get_storage_size() <= 8 else None
    if not isinstance(found, int | np.integer):
        raise ValueError(f"{name} is no whole number")
    return int(found)


def arrays(group: h5py.Group) -> Iterator[h5py.Dataset]:
    """All datasets of an opened file, or of a group in it."""
    for item in group.values():
        if isinstance(item, h5py.Group):
            yield from arrays(item)
        else:
            yield item


def numbers(dataset: h5py.Dataset, path: str | os.PathLike, advice: str) -> np.ndarray:
    """What a dataset holds, as float32 or int64.

    Raises:
        UserError: it cannot be read, or not all of it is finite.
    """
    try:
        _check_pieces(dataset)
        with np.errstate(over="ignore"):
            found = np.asarray(dataset[()], "int64" if dataset.dtype.kind in "iub" else "float32")
    except Exception as error:  # of many kinds, from deep within
        raise UserError(f"{path}: {dataset.name} cannot be read, the file is damaged; {advice}") from error
    if found.dtype.kind == "f" and not np.isfinite(found).all():
        raise UserError(f"{path}: {dataset.name} holds infinite numbers or NaN, the file is damaged; {advice}")
    return found


def octets(dataset: h5py.Dataset, most_bytes: int) -> bytes:
    """The bytes that a dataset of uint8 holds.

    Raises:
        ValueError: it is another, or too long.
    """
    if not isinstance(dataset, h5py.Dataset) or dataset.dtype != np.uint8 or dataset.ndim != 1:
        raise ValueError("no bytes")
    if dataset.size > most_bytes:
        raise ValueError(f"over {most_bytes >> 20} MiB")
    _check_pieces(dataset)
    return dataset[()].tobytes()


def _check_pieces(dataset):
    """See that no compressed piece of a dataset becomes more than it declares: HDF5 would make room for all of it.

    Raises:
        ValueError: one does, or is compressed by means that no file of weights uses.
    """
    created = dataset.id.get_create_plist()
    filters = [created.get_filter(i)[0] for i in range(created.get_nfilters())]
    if not set(filters) <= FILTERS or len(set(filters)) < len(filters):
        raise ValueError("packed by means that are not known")
    if h5py.h5z.FILTER_DEFLATE not in filters:
        return
    room = math.prod(dataset.chunks) * dataset.dtype.itemsize + 4  # of a checksum
    at = filters.index(h5py.h5z.FILTER_DEFLATE)
    for i in range(dataset.id.get_num_chunks()):
        info = dataset.id.get_chunk_info(i)
        if info.size > room + 1024:
            raise ValueError("a piece is too large")
        if not info.filter_mask >> at & 1:
            piece = dataset.id.read_direct_chunk(info.chunk_offset)[1]
            if len(zlib.decompressobj().decompress(piece, room + 1)) > room:
                raise ValueError("a piece is too large")
