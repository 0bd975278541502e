"""One process at a time in a folder."""

import contextlib
import datetime
import errno
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import filelock

from . import files, jsontext, processes
from .errors import UserError
from .terminal import say

MOST_BYTES = 10_000  # of what says who holds it
LOCK, HOLDER = ".lock", ".lock.json"
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # of file systems that have none


@contextlib.contextmanager
def holding(folder: str | os.PathLike, work: str, advice: str) -> Iterator[None]:
    """Hold `folder` while the block runs; another process that holds it is named.

    The lock is the kernel's on the file `.lock`, on NFS the server's, so that one of a process that died is free at
    once. `.lock.json` says who holds it: `host`, `pid`, and `since`, the local time. `.lock` stays, and is empty: were
    it removed, a process that has just opened it would hold a file that nobody else sees.

    Args:
        folder: is there, and can be written.
        work: what the holder does in it, for the error, such as "training".
        advice: what to do in place of waiting, for the error.

    Raises:
        UserError: another process, or another thread of this one, holds it.
    """
    folder = Path(folder)
    lock = filelock.FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        holder = _holder(folder)
        raise UserError(
            f"{folder}: another {work} is under way there{holder}; wait until it ends, or {advice}"
        ) from error
    except (NotImplementedError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in NO_LOCKS:
            raise
        say(f"{folder}: its file system has no locks; see to it that no other {work} writes there")
    try:
        since = datetime.datetime.now().astimezone().isoformat(" ", "seconds")
        holder = {"host": socket.gethostname(), "pid": os.getpid(), "since": since}
        with files.naming(folder / HOLDER):
            (folder / HOLDER).write_text(json.dumps(holder), encoding="utf-8")
        with processes.tidied():
            yield
    finally:
        with contextlib.suppress(OSError):
            (folder / HOLDER).unlink(missing_ok=True)
        lock.release()


def _holder(folder):
    """Who holds it, in words; nothing where that has just changed."""
    try:
        holder = jsontext.read(folder / HOLDER, most_bytes=MOST_BYTES)
        return f" (on {holder['host']}, process {holder['pid']}, since {holder['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
