"""Files that are read and written: checks before any work, and outputs that are whole or not there."""

import collections
import contextlib
import errno
import functools
import hashlib
import mmap
import os
import re
import shutil
import stat
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

try:
    import fcntl
except ImportError:  # Windows has none: what a killed process left stays there
    fcntl = None  # type: ignore[assignment]

from . import processes
from .errors import UserError

MARK = b"lipgan_keras"  # is in every file of which nothing else tells that it was written here
LOOKED = 1 << 26  # bytes at the beginning of a file in which its mark is; the index of an MP4 is there
OLD = ".old"  # ends the name of a folder while another one takes its place
REMEMBERED = 64  # files of which something is known
Result = TypeVar("Result")
PathLike = TypeVar("PathLike", str, os.PathLike, Path)
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def temporary_beside(path: str | os.PathLike) -> Iterator[Path]:
    """Give a temporary file beside `path`, which is removed in the end.

    Makes the folder if need be. The temporary name keeps the suffix, which decides the format for some writers. The
    file is locked meanwhile. One that is not locked was left by a process that was killed, and is removed.

    Raises:
        UserError: the folder cannot be made or written to, or `path` is a folder, a pipe or a device.
    """
    path = Path(path)
    _check_place(path)
    check_writable(path.parent)
    _remove_left(path)
    with processes.tidied():
        handle, name = _locked_temporary(path)
        temporary = Path(name)
        try:
            with naming(path):
                yield temporary
        except OSError as error:
            if error.filename == name:
                error.filename = os.fspath(path)  # the name that the user gave
            raise
        finally:
            temporary.unlink(missing_ok=True)
            if handle is not None:
                os.close(handle)


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Give a temporary path as `temporary_beside` does, and rename it to `path` on success.

    Raises:
        UserError: of `temporary_beside`.
    """
    with temporary_beside(path) as temporary:
        yield temporary
        _open_to_others(temporary, 0o666)
        os.replace(temporary, path)


@contextlib.contextmanager
def replacing_folder(folder: str | os.PathLike) -> Iterator[Path]:
    """Give an empty temporary folder beside `folder`; it takes its place on success, and is removed on any failure.

    A process that is killed leaves the old folder or the new one; between two renames the old one has a name that
    begins with a dot, and the next call gives it its own again. What else was left is removed as by `replacing`.

    Raises:
        UserError: the folder above cannot be made or written to, or `folder` is a file.
    """
    folder = Path(folder)
    folder = folder.resolve() if folder.is_symlink() else folder
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is a file; name a folder")
    check_writable(folder.parent)
    _remove_left(folder)
    with processes.tidied():
        handle, temporary = _locked_folder(folder)
        try:
            with naming(folder):
                yield temporary
            _open_to_others(temporary, 0o777)
            _take_place(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            if handle is not None:
                os.close(handle)


def _open_to_others(path, mode):
    """Let those read it whom the user lets: what `tempfile` makes is for its owner alone."""
    umask = os.umask(0)
    os.umask(umask)
    os.chmod(path, mode & ~umask)


def _locked_folder(path):
    """A new folder beside `path`: as `_locked_temporary`."""
    prefix, suffix = _affixes(path)
    while True:
        temporary = Path(tempfile.mkdtemp(prefix=prefix, suffix=suffix, dir=path.parent))
        try:
            handle = _open_folder(temporary)
        except FileNotFoundError:
            continue  # another process took it for one that was left
        if handle is None:
            return None, temporary
        if not _lock(handle, wait=True) or temporary.exists():
            return handle, temporary
        os.close(handle)


def _open_folder(path):
    """A descriptor to lock a folder by; None on Windows, which opens no folders."""
    return None if fcntl is None else os.open(path, os.O_RDONLY)


def _take_place(temporary, folder):
    """Rename a folder to another that may be there; that one is removed afterwards, or stays on any failure."""
    if not folder.exists():
        os.rename(temporary, folder)
        return
    old, handle = temporary.with_name(f"{temporary.name}{OLD}"), _open_folder(folder)
    try:
        if handle is not None:
            _lock(handle, wait=True)  # so that no other process takes the old one for one that was left
        os.rename(folder, old)
        os.rename(temporary, folder)
    finally:
        if old.exists() and not folder.exists():
            os.rename(old, folder)
        if handle is not None:
            os.close(handle)
    shutil.rmtree(old, ignore_errors=True)


def check_room(folder: str | os.PathLike, size: int) -> None:
    """See that `size` bytes find room on the disc of a folder, before a library writes there that a full disc crashes.

    Raises:
        OSError: they do not.
    """
    if shutil.disk_usage(folder).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(folder))


def _affixes(path):
    """What the names of temporary files of `path` begin and end with."""
    # Of names of 255 bytes, which those added would break
    stem = os.fsencode(path.stem)[:100].decode("utf-8", "ignore")
    return f".{stem}.", f".tmp{path.suffix}"


def _locked_temporary(path):
    """A new file beside `path`: the open descriptor that locks it, None where there are no locks; and its name."""
    prefix, suffix = _affixes(path)
    while True:
        handle, name = tempfile.mkstemp(prefix=prefix, suffix=suffix, dir=path.parent)
        if not _lock(handle, wait=True):
            os.close(handle)
            return None, name
        if os.fstat(handle).st_nlink:
            return handle, name
        os.close(handle)  # another process took it for one that was left


def _lock(handle, wait):
    """Whether an open file is locked now; it is until it is closed, or its process ends in whatever way."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        return True
    except OSError:  # another process has it, or the file system has no locks
        return False


def _remove_left(path):
    """Remove what processes that were killed while they wrote `path` have left; the old folder, if there is no new one,
    is `path` again.
    """
    prefix, suffix = _affixes(path)
    left = re.compile(f"{re.escape(prefix)}[a-z0-9_]{{8}}{re.escape(suffix)}({re.escape(OLD)})?")
    with contextlib.suppress(OSError), os.scandir(path.parent) as entries:
        for entry in entries:
            if (match := left.fullmatch(entry.name)) and not entry.is_symlink():
                _remove_unlocked(entry.path, entry.is_dir(), path if match[1] and not path.exists() else None)


def _remove_unlocked(name, is_folder=False, back=None):
    """Remove what no process has locked, or rename it `back`."""
    with contextlib.suppress(OSError):
        handle = os.open(name, os.O_RDONLY if is_folder else os.O_RDWR)
        try:
            if not _lock(handle, wait=False):
                return
            if back is not None:
                os.rename(name, back)
            elif is_folder:
                shutil.rmtree(name)
            else:
                os.unlink(name)
        finally:
            os.close(handle)


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


def check_outfile(
    outfile: str | os.PathLike,
    *inputs: str | os.PathLike | None,
    suffix: str | None = ".mp4",
    mark: bytes | Callable[[Path], bool] = MARK,
) -> None:
    """See that a file can be written there: over none of the inputs, and over nothing but an earlier output.

    Args:
        outfile: the name that the user gave.
        inputs: what is read, by whatever name; None counts for nothing.
        suffix: what the name is to end in; None: anything.
        mark: bytes that every file holds which is written so, or a function of a path that tells one.

    Raises:
        UserError: a folder, a pipe or a device, another suffix, an input, or a file that was not written so.
    """
    outfile = Path(outfile)
    _check_place(outfile)
    if suffix is not None and outfile.suffix.lower() != suffix:
        raise UserError(f"{outfile}: is written as {suffix[1:].upper()}; let its name end in {suffix}")
    if not outfile.exists():
        return
    for path in inputs:
        if path is not None and os.path.exists(path) and os.path.samefile(outfile, path):
            raise UserError(f"{outfile}: is an input too; name another file")
    known = mark(outfile) if callable(mark) else _holds(outfile, mark)
    if not known and outfile.stat().st_size:
        raise UserError(f"{outfile}: is there already, and no earlier output of this; name another file")


def check_outfolder(folder: str | os.PathLike, marker: str, is_ours: Callable[[Path], bool]) -> None:
    """Make `folder` if need be, see that nothing but earlier output is in it, and put a hidden file `marker` there.

    Args:
        marker: tells later that the folder was written by the same command, even if that was killed.
        is_ours: tells the folders of those versions that left no marker.

    Raises:
        UserError: something else is in it, or it cannot be written to.
    """
    folder = Path(folder)
    check_writable(folder)
    if (folder / marker).is_file():
        return
    found = next((name for name in sorted(os.listdir(folder)) if not name.startswith(".")), None)
    if found and not is_ours(folder):
        raise UserError(f"{folder}: holds {found}, which is no earlier output of this; name another folder")
    with naming(folder / marker):
        (folder / marker).write_bytes(MARK)


def _check_place(path):
    """Refuse what is no file and would be replaced by one."""
    if path.is_dir():
        raise UserError(f"{path}: is a folder; name a file in it")
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: is {_odd(path)}; name a file")


def _holds(path, mark):
    with open(path, "rb") as file:
        size = min(LOOKED, os.fstat(file.fileno()).st_size)
        if not size:
            return False
        with mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as data:
            return data.find(mark) >= 0


def regular(path: PathLike) -> PathLike:
    """`path` itself, unless it would be waited for without end, such as a pipe that nobody writes to.

    Raises:
        UserError: a pipe, a device or a socket. What is not there is no error here.
    """
    odd = _odd(path)
    if odd:
        raise UserError(f"{path}: is {odd}; give a file")
    return path


@contextlib.contextmanager
def naming(path: str | os.PathLike) -> Iterator[None]:
    """Let a write to a full disc, which names no file, name this one."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno in FULL:
            error.filename = os.fspath(path)
        raise


def _odd(path):
    """What a path is that is neither file nor folder, in words; None: it is one, or not there."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return None
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return None
    return "a pipe" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"


def identity(path: str | os.PathLike) -> tuple[int, ...]:
    """Changes where another file, or another content, takes the place of this one.

    Raises:
        OSError: there is no such file.
    """
    found = os.stat(path)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def known_by_file(function: Callable[[PathLike], Result]) -> Callable[[PathLike], Result]:
    """A function of a path that keeps what it returned, until the file at that path is another one."""
    kept: collections.OrderedDict[tuple[int, ...], Result] = collections.OrderedDict()
    lock = threading.Lock()

    @functools.wraps(function)
    def known(path):
        key = identity(path)
        with lock:  # one of the threads that ask finds it out
            if key not in kept:
                kept[key] = function(path)
                while len(kept) > REMEMBERED:
                    kept.popitem(last=False)
            return kept[key]

    return known


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
