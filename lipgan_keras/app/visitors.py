"""Who is there, which files are theirs, and that these go when they go."""

import contextlib
import dataclasses
import itertools
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from .desk import Desk, Job
from .faces import Seen

ORPHANED = 1800.0  # seconds after which a file that nobody has goes
KEPT = {".lock", "examples"}  # what is the page's own


@dataclasses.dataclass
class Visitor:
    """One open tab.

    Attributes:
        folder: holds what is made for them.
        uploads: files in Gradio's folder that they have given.
        job: the last one that they started.
        seen: the faces of the picture that they gave last.
        gone: whether the tab is closed.
    """

    folder: Path
    uploads: set[Path] = dataclasses.field(default_factory=set)
    job: Job | None = None
    seen: Seen | None = None
    gone: bool = False
    numbers: Iterator[int] = dataclasses.field(default_factory=itertools.count)

    def new(self, suffix: str) -> Path:
        """A path in the folder that was never used: browsers keep what they know by its name."""
        return self.folder / f"{next(self.numbers)}{suffix}"

    def result(self, name: str) -> Path:
        """A path for a result under a name that is good to download."""
        folder = self.folder / str(next(self.numbers))
        folder.mkdir(parents=True, exist_ok=True)
        return folder / name


class Visitors:
    """All open tabs.

    Args:
        root: the folder of all files, of which Gradio's are some. Names in it cannot be guessed.
        desk: stops their work when they go.
    """

    def __init__(self, root: Path, desk: Desk):
        self._root, self._desk = root, desk
        self._there: dict[str, Visitor] = {}
        self._lock = threading.Lock()

    def of(self, session: str | None) -> Visitor:
        """The visitor of a session of Gradio's."""
        with self._lock:
            name = session or "nobody"
            if name not in self._there:
                self._there[name] = Visitor(self._root / secrets.token_hex(16))
                self._there[name].folder.mkdir()
            return self._there[name]

    def give(self, visitor: Visitor, path: str | None) -> None:
        """Note that a file in Gradio's folder is theirs. Two who give the same file share it."""
        if path is not None:
            with self._lock:
                visitor.uploads.add(Path(path))

    def leave(self, session: str | None) -> None:
        """Stop a visitor's work, and remove their files: now, or as soon as the work has ended."""
        with self._lock:
            visitor = self._there.pop(session or "nobody", None)
        if visitor is None:
            return
        visitor.gone = True
        job = visitor.job
        if job is not None:
            self._desk.end(job)
        if job is None or job.over.is_set():
            self._clear(visitor)
        else:
            threading.Thread(target=lambda: job.over.wait() and self._clear(visitor), daemon=True).start()

    def sweep(self, age: float = ORPHANED) -> None:
        """Remove what nobody has: files that were uploaded by a tab that was closed before they arrived.

        Args:
            age: seconds for which nobody has had it.
        """
        with self._lock:
            theirs = {one.folder for one in self._there.values()}
            theirs |= {path.parent for one in self._there.values() for path in one.uploads}
        for entry in self._root.iterdir():
            if entry not in theirs and entry.name not in KEPT:
                with contextlib.suppress(OSError):
                    if entry.stat().st_mtime < time.time() - age:
                        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()

    def sweep_for_ever(self) -> None:
        """`sweep`, again and again, in a thread of its own."""

        def work():
            while True:
                time.sleep(ORPHANED / 2)
                self.sweep()

        threading.Thread(target=work, name="sweep", daemon=True).start()

    def _clear(self, visitor):
        shutil.rmtree(visitor.folder, ignore_errors=True)
        with self._lock:
            others = set().union(*(one.uploads for one in self._there.values()))
            for path in visitor.uploads - others:
                if self._root in path.parents:
                    path.unlink(missing_ok=True)
                    with contextlib.suppress(OSError):  # holds something else
                        path.parent.rmdir()
