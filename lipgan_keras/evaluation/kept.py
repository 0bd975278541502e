"""Records of an earlier run, which are not measured again while nothing changed."""

import functools
import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

from .. import __version__
from ..data import pack
from ..inference import models
from ..utils import files, jsontext, kinds
from . import jobs

FORMAT = 3  # of the kept records
ROOT = Path(__file__).parent.parent
# Wings and modules that change no figure
UNHEARD = ("training", "live", "puppets", "gan.py", "losses.py", "unsynced.py")
UNHEARD += ("demo.py", "judging.py", "report.py", "sync_accuracy.py", "syncnet.py")
UNHEARD += ("data/loader.py", "data/preprocess.py", "data/claims.py")
UNHEARD += ("inference/batch.py", "inference/pipeline.py", "utils/processes.py")
UNHEARD += tuple(
    f"evaluation/{name}.py" for name in ("run", "find", "kept", "summary", "mean_opinion", "sync_accuracy")
)
UNHEARD += tuple(
    f"evaluation/{name}.py" for name in ("report", "report_clips", "report_plots", "judging", "judging_sheet")
)


def files_of(settings, job) -> Iterable[Path | str]:
    """All that a record depends on, files in subfolders included."""
    yield from (job.truth, job.generated)
    for folder in (job.clip, job.other if job.clip else None):
        if folder:
            yield from sorted(folder.rglob("*")) if folder.is_dir() else (folder, pack.file_of(folder))
    for checkpoint in (settings.checkpoint, settings.sync_checkpoint):
        yield from models.files_of(checkpoint) if checkpoint else (None,)
    yield from (settings.syncnet, settings.inception, settings.lpips, settings.arcface, settings.plugin)


@functools.cache
def _code() -> str:
    """Changes with the definition of any measure, and with what makes the videos."""
    heard = [path for path in sorted(ROOT.rglob("*.py")) if not path.relative_to(ROOT).as_posix().startswith(UNHEARD)]
    return files.digest(*heard)


def key_of(*parts) -> str:
    """Changes with any of the parts, of files with their name and content."""
    told = [__version__, FORMAT, _code()]
    for part in parts:
        if isinstance(part, (str, Path)) and os.path.exists(part):
            state = os.stat(part)
            content = _content(part, state.st_size, state.st_mtime_ns) if os.path.isfile(part) else None
            part = os.path.abspath(part), content
        told.append(part)
    return hashlib.sha256(json.dumps(told, default=str).encode()).hexdigest()


@functools.cache
def _content(path, size, changed) -> str | None:
    """A digest of a file, read once until its `size` or `changed` differ; None: it cannot be read."""
    try:
        return files.digest(path)
    except OSError:
        return None  # whoever measures it says why


def read(path) -> dict:
    """What `write` or evaluate.py has written; nothing where it cannot be read."""
    try:
        kept = jsontext.read(path)
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def record(path: Path, key: str) -> dict | None:
    """The record of a video that was measured, which `write_record` has written under this key; None: none, or another,
    or a damaged one.
    """
    found = read(path)
    kept = found.get("record")
    whole = found.get("key") == key and isinstance(kept, dict) and found.get("digest") == _digest(kept)
    return kept if whole and kinds.is_of(kept, jobs.RECORD) and kept.get("status") == "ok" else None


def write_record(path: Path, key: str, content: dict) -> None:
    write(path, {"key": key, "record": content, "digest": _digest(content)})


def write(path, content):
    with files.replacing(path) as temporary:
        temporary.write_text(json.dumps(content, allow_nan=False), encoding="utf-8")


def _digest(content):
    """Changes with any change of a record, so that a damaged one is measured anew."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
