"""Presets by name: the one that ships, a path, or a repository of the Hugging Face Hub.

The Hub is the one place that this project asks the network for, and only where a name begins with hf://. Three files
come from there, weights and JSON, never code.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from .. import __version__
from ..utils.errors import UserError
from . import presets

PREFIX = "hf://"
REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,95}/[A-Za-z0-9][A-Za-z0-9_.-]{0,95}")
REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./-]{0,127}")
COMMIT = re.compile(r"[0-9a-f]{40}")
SECONDS = 10.0  # that an answer may take
SHIPS = "lipsync"


def find(preset: str | os.PathLike) -> Path | None:
    """Where the files of a preset are, None for the one that ships; those of a repository are downloaded first.

    Args:
        preset: "lipsync", the one that ships; a checkpoint's file or a preset's folder; or "hf://user/name", or
            "hf://user/name@revision".

    Raises:
        UserError: there is no such thing, or it cannot be downloaded.
    """
    name = os.fspath(preset)
    if name == SHIPS:
        return None
    if name.startswith(PREFIX):
        return download(name)
    if not os.path.exists(name):
        known = f"{SHIPS!r}, a checkpoint's file, a preset's folder, or hf://user/name"
        raise UserError(f"{name}: no such preset; choose one of {known}")
    return Path(name)


def download(name: str) -> Path:
    """The folder in the Hub's cache with the three files of "hf://user/name" or "hf://user/name@revision".

    What a commit holds never changes: one that is in the cache is not asked for again. Of a branch the newest commit
    is asked for, and where nothing answers the one that is in the cache is taken.

    Raises:
        UserError: the name is none, huggingface_hub is missing, nothing answers, there is no such repository or
            revision, it may not be read, or it holds no preset.
    """
    repository, _, revision = name.removeprefix(PREFIX).partition("@")
    if not REPOSITORY.fullmatch(repository) or (revision and not REVISION.fullmatch(revision)):
        raise UserError(f"{name}: is no name of a repository; write hf://user/name, or hf://user/name@revision")
    # Before it is imported: it would ask for a list of programs that it may be called by, and tell the Hub which it is.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        import huggingface_hub
    except ImportError as error:
        advice = 'run: pip install "lipgan-keras[hf]", or pip install huggingface_hub'
        raise UserError(f"{name}: needs huggingface_hub, which is not installed; {advice}") from error
    if COMMIT.fullmatch(revision) and (kept := _kept(huggingface_hub, repository, revision)):
        return kept
    try:
        _look(huggingface_hub, name, repository, revision or None)
        # By the branch's name and not by its commit, so that the cache knows the branch.
        return Path(_snapshot(huggingface_hub, repository, revision or None))
    except UserError:
        raise
    except Exception as error:  # of the libraries below, of many kinds
        refused = _refusal(name, error)
        if refused:
            raise UserError(refused) from error
        if kept := _kept(huggingface_hub, repository, revision or None):
            return kept
        why = f"{type(error).__name__}: {' '.join(str(error).split())[:80]}"
        raise UserError(f"{name}: cannot be downloaded ({why}); check the network, or give a folder") from error


def _look(hub, name, repository, revision):
    """See that a revision has the three files, and how large they are, before any comes.

    Raises:
        UserError: one is missing, or too large.
    """
    found = hub.HfApi(library_name="lipgan_keras", library_version=__version__).model_info(
        repository, revision=revision, files_metadata=True, timeout=SECONDS
    )
    sizes = {one.rfilename: one.size for one in found.siblings or ()}
    for file in presets.FILES:
        if file not in sizes:
            raise UserError(f"{name}: holds no {file}; choose a repository with a preset of this project")
        most = presets.MOST_BYTES[file]
        if (sizes[file] or 0) > most:
            raise UserError(f"{name}: its {file} is larger than {most >> 20:,} MiB, which no file of a preset is")


def _snapshot(hub, repository, revision, **options):
    return hub.snapshot_download(
        repository,
        revision=revision,
        allow_patterns=list(presets.FILES),
        library_name="lipgan_keras",
        library_version=__version__,
        etag_timeout=SECONDS,
        **options,
    )


def _kept(hub, repository, revision):
    """The folder in the cache, where all three files are in it; else None."""
    try:
        folder = Path(_snapshot(hub, repository, revision, local_files_only=True))
    except Exception:  # noqa: BLE001 - whatever there is instead, it is no preset
        return None
    return folder if all((folder / file).is_file() for file in presets.FILES) else None


def _refusal(name, error):
    """The line for what the Hub itself refuses; None for anything else, such as a network that is not there."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    status = getattr(getattr(error, "response", None), "status_code", None)
    if "GatedRepoError" in kinds:
        return f"{name}: is gated; accept its terms on huggingface.co, then run: hf auth login"
    if "DisabledRepoError" in kinds:
        return f"{name}: was disabled on huggingface.co; choose another"
    if "RevisionNotFoundError" in kinds:
        return f"{name}: has no such revision; give a branch, a tag or a commit of the repository"
    if "RepositoryNotFoundError" in kinds:
        return f"{name}: no such repository on huggingface.co, or a private one; check the name, or run: hf auth login"
    if "HFValidationError" in kinds:
        return f"{name}: is no name of a repository; write hf://user/name, or hf://user/name@revision"
    if status in (401, 403):
        return f"{name}: may not be read with this account; run: hf auth login"
    return None
