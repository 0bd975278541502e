"""Claims on clips, so that several runs of preprocess.py may share a folder.

A process that makes `<clip>/` holds the folder `.<clip>.claim/`, with a record of itself, and writes into a folder of
its own, `.<clip>.<host>-<pid>-<token>.partial/`. It takes the claim by renaming a folder that holds the record already:
that is atomic, on NFS too, and fails where the claim is there, since no folder with content is ever replaced. The claim
of a process that died is freed: at once on its own machine, on others when it has not touched its record for STALE
seconds.
"""

import contextlib
import dataclasses
import errno
import functools
import hashlib
import json
import os
import re
import secrets
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..utils import files, jsontext, kinds

BEAT = 30.0  # seconds after which a process touches its record again
STALE = 600.0  # seconds after which a record that nobody touches is a dead process's
RECORD = "owner.json"
OWNER = kinds.Fields(token=str, machine=str, pid=int, started=str | None)  # what the record says
MOST_BYTES = 10_000  # of the record
LONGEST = 150  # bytes of a clip's name in hidden names; file systems allow 255 in all
LEFT = re.compile(r"(\..+)\.([A-Za-z0-9]+-\d+-[0-9a-f]{8})\.(partial|claiming|freed)")


@dataclasses.dataclass(frozen=True)
class Owner:
    """The process that holds a claim.

    Attributes:
        token: its own for this claim; part of the name of the folder that it writes into.
        machine: where its number counts, see `_machine`.
        pid: its number.
        started: when it started, in the kernel's clock ticks, since numbers are given again.
        touched: when it last touched its record, by the clock of the file system.
    """

    token: str
    machine: str
    pid: int
    started: str | None
    touched: float

    def is_alive(self, now: float) -> bool:
        """Whether it runs; `now` in seconds of the file system's clock."""
        if self.machine == _machine():
            return self.started is not None and _started(self.pid) == self.started
        return now - self.touched < STALE


@contextlib.contextmanager
def claim(target: Path) -> Iterator[Path | None]:
    """Claim the clip whose folder is to be `target`.

    Yields:
        A new hidden folder beside `target` to write into, which whoever completes it renames to `target`, and which is
        removed at the end otherwise; None: another process is making this clip.

    Raises:
        OSError: the folder around `target` cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    token = f"{_host()}-{os.getpid()}-{secrets.token_hex(4)}"
    place, partial = _hidden(target, "claim"), _hidden(target, f"{token}.partial")
    if not _take(place, _hidden(target, f"{token}.claiming"), token):
        yield None
        return
    ended = threading.Event()
    threading.Thread(target=_beat, args=(place / RECORD, ended), daemon=True).start()
    try:
        partial.mkdir()
        yield partial
    finally:
        ended.set()
        shutil.rmtree(partial, ignore_errors=True)
        owner = _owner(place)
        if owner and owner.token == token:
            shutil.rmtree(place, ignore_errors=True)


def free_left(targets: Iterable[Path]) -> None:
    """Remove what dead processes have left beside the folders `targets`: claims and half-written clips."""
    names = {}
    for target in targets:
        names.setdefault(target.parent, set()).add(f".{target.name}.partial")  # as earlier versions called them
    for parent, earlier in names.items():
        with contextlib.suppress(OSError):
            hidden = [name for name in os.listdir(parent) if name.startswith(".")]
            if hidden:
                _free_left(parent, hidden, earlier, _now(parent))


def _free_left(parent, hidden, earlier, now):
    for name in hidden:
        if name.endswith(".claim"):
            _free(parent / name, now)
    for name in hidden:
        place, left = parent / name, LEFT.fullmatch(name)
        if left and left[3] == "partial":  # which nobody has without a claim
            owner = _owner(parent / f"{left[1]}.claim")
            dead = owner is None or owner.token != left[2]
        elif left:
            owner = _owner(place)
            dead = not owner.is_alive(now) if owner else now - place.stat().st_mtime > STALE
            dead |= left[3] == "claiming" and _has_ended(left[2])  # killed before its record was whole
        else:
            dead = name in earlier
        if dead:
            shutil.rmtree(place, ignore_errors=True)


def _hidden(target, what):
    return target.parent / f".{files.shortened(target.name, LONGEST)}.{what}"


def _take(place, claiming, token):
    """Whether the claim `place` is this process's now."""
    try:
        claiming.mkdir()
        record = {"token": token, "machine": _machine(), "pid": os.getpid(), "started": _started(os.getpid())}
        (claiming / RECORD).write_text(json.dumps(record), encoding="utf-8")
        now = (claiming / RECORD).stat().st_mtime
        for _ in range(3):  # it may be given back, or its owner may die, between the attempts
            try:
                os.rename(claiming, place)
                return True
            except OSError as error:
                owner = _owner(place)
                if owner and owner.token == token:
                    return True  # the answer of an NFS server was lost, and the rename asked for again
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
            if not _free(place, now):
                return False
        return False
    finally:
        shutil.rmtree(claiming, ignore_errors=True)


def _free(place, now):
    """Remove a claim whose process is dead, and what it has written; whether the claim may be free now."""
    owner = _owner(place)
    if owner is None:
        with contextlib.suppress(OSError):
            os.rmdir(place)  # killed amid giving it back
        return True
    if owner.is_alive(now):
        return False
    stem = place.name.removesuffix(".claim")
    freed = place.with_name(f"{stem}.{owner.token}.freed")
    try:
        os.rename(place, freed)
    except OSError:
        return True  # another process frees it too
    taken = _owner(freed)
    if taken and taken.token != owner.token:  # another process freed it before, and claimed the clip
        with contextlib.suppress(OSError):
            os.rename(freed, place)
        return False
    shutil.rmtree(place.with_name(f"{stem}.{owner.token}.partial"), ignore_errors=True)
    shutil.rmtree(freed, ignore_errors=True)
    return True


def _owner(place) -> Owner | None:
    """Whose claim it is; None: nobody's."""
    try:
        touched = (place / RECORD).stat().st_mtime
        record = jsontext.read(place / RECORD, most_bytes=MOST_BYTES)
        if not kinds.is_of(record, OWNER) or record is None or not set(OWNER.kinds) <= set(record):
            raise ValueError("no record")
        return Owner(*(record[name] for name in OWNER.kinds), touched)
    except OSError:
        return None
    except ValueError:
        return Owner("", "", 0, None, touched)  # damaged: its age decides


def _beat(record, ended):
    while not ended.wait(BEAT):
        with contextlib.suppress(OSError):
            os.utime(record)


def _now(folder) -> float:
    """Seconds by the clock of the file system, which may be another machine's."""
    with tempfile.TemporaryFile(dir=folder) as file:
        return os.fstat(file.fileno()).st_mtime


@functools.cache
def _machine() -> str:
    """Where a process's number means the same process: this start of this computer, and this container."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        return f"{socket.gethostname()} {boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return f"{socket.gethostname()} {time.time_ns()} {secrets.token_hex(8)}"  # none but this process


@functools.cache
def _host() -> str:
    """What names of folders call this machine."""
    name = re.sub("[^A-Za-z0-9]+", "", socket.gethostname())[:12]
    return name + hashlib.sha256(_machine().encode()).hexdigest()[:8]


def _has_ended(token: str) -> bool:
    """Whether a token is that of a process of this machine that does not run."""
    host, pid, _ = token.split("-")
    return host == _host() and _started(int(pid)) is None


def _started(pid: int) -> str | None:
    """When a process started; None where it does not run."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return None if fields[0] in "ZX" else fields[19]  # a zombie has ended, and waits for its parent
    except (OSError, IndexError):
        return None
