"""Output files, all or nothing, and the checks before they are written."""

import contextlib
import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .errors import UserError


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it to `path` on success, remove it on any failure.

    Makes the folder if need be. The temporary name keeps the suffix, which decides the format for some writers.

    Raises:
        UserError: the folder cannot be made or written to.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path}: is a folder; name a file in it")
    check_writable(path.parent)
    # Of names of 255 bytes, which those added would break
    stem = os.fsencode(path.stem)[:100].decode("utf-8", "ignore")
    handle, name = tempfile.mkstemp(prefix=f".{stem}.", suffix=f".tmp{path.suffix}", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)  # mkstemp makes files that only their owner may read
        os.replace(temporary, path)
    except OSError as error:
        if error.filename == name:
            error.filename = os.fspath(path)  # the name that the user gave
        raise
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(folder: str | os.PathLike) -> None:
    """Make `folder` if need be and see that a file can be made in it, before hours of work.

    Raises:
        UserError: it cannot.
    """
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"{folder}: cannot write there ({error.strerror}); choose another folder") from error


def check_outfile(outfile: str | os.PathLike, *inputs: str | os.PathLike, suffix: str = ".mp4") -> None:
    """See that a file of this kind can be written there, and over none of the inputs.

    Raises:
        UserError: a folder, another suffix, or an input.
    """
    outfile = Path(outfile)
    if outfile.is_dir():
        raise UserError(f"{outfile}: is a folder; name a file in it")
    if outfile.suffix.lower() != suffix:
        raise UserError(f"{outfile}: is written as {suffix[1:].upper()}; let its name end in {suffix}")
    for path in inputs:
        if outfile.exists() and os.path.exists(path) and os.path.samefile(outfile, path):
            raise UserError(f"{outfile}: is an input too; name another file")


def identity(path: str | os.PathLike) -> tuple[int, ...]:
    """Changes where another file, or another content, takes the place of this one.

    Raises:
        OSError: there is no such file.
    """
    found = os.stat(path)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def digest(*paths: str | os.PathLike) -> str:
    """SHA-256 of what these files hold, one after the other, in hexadecimal.

    Raises:
        OSError: one cannot be read.
    """
    found = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            while piece := file.read(1 << 20):
                found.update(piece)
    return found.hexdigest()


def shortened(name: str, limit: int) -> str:
    """A name of `limit` bytes at most. Of a longer one, a digest takes the place of the end."""
    data = os.fsencode(name)
    if len(data) <= limit:
        return name
    tail = f"_{hashlib.sha256(data).hexdigest()[:16]}"
    return data[: limit - len(tail)].decode("utf-8", "ignore") + tail


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Send what C libraries write to standard error to nowhere."""
    try:
        sys.stderr.flush()
        saved, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    except (AttributeError, OSError):  # there is no standard error
        yield
        return
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)
