"""The generator of a checkpoint in a format of other programs, and the JSON beside it."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path

from .. import checkpoints
from ..utils import files, jsontext
from ..utils.errors import UserError
from . import description, formats

ABOUT = "lipgan_keras.json"  # in a folder; beside a file its own name and .json
KEYS = ("lipgan_keras", "format", "inputs", "files")
MOST_BYTES = 1 << 20  # of the JSON


def export(path: str | os.PathLike, out: str | os.PathLike, form: str, *inputs: str | os.PathLike | None) -> list[Path]:
    """Write the generator of a checkpoint, and what a program has to know to use it.

    Args:
        path: a checkpoint, or the folder of a preset.
        out: a file with the format's suffix, or a folder.
        form: a name of `formats.FORMATS`.
        inputs: other files that are not to be written over, such as a plugin; None counts for nothing.

    Returns:
        What was written: `out` first, the JSON last.

    Raises:
        UserError: the format cannot be made here or cannot have the generator, `out` is something else's, or the
            checkpoint cannot be used.
    """
    chosen, out = formats.FORMATS[form], Path(out)
    check_out(out, chosen, path, *inputs)
    formats.check(chosen)
    generator, config = checkpoints.load_generator(path)
    about = description.describe(config, form, checkpoints.licence_of(path))
    about["model"]["parameters"] = generator.count_params()
    size = 6 * generator.count_params()
    if not chosen.suffixes:
        with files.replacing_folder(out) as folder:
            files.check_room(folder, size)
            formats.write(chosen, generator, folder)
            about["files"] = {path.relative_to(folder).as_posix(): path for path in sorted(_below(folder))}
            _write_about(folder / ABOUT, about)
        return [out, out / ABOUT]
    places = _places(out, chosen)
    # Renamed from the last to the first: the JSON names the content of the others.
    with contextlib.ExitStack() as stack:
        temporary = [stack.enter_context(files.replacing(place)) for place in places]
        files.check_room(temporary[0].parent, size)
        formats.write(chosen, generator, *temporary[:-1])
        about["files"] = {place.name: made for place, made in zip(places[:-1], temporary, strict=False)}
        _write_about(temporary[-1], about)
    return places


def _write_about(path, about):
    about["files"] = {
        name: {"bytes": made.stat().st_size, "sha256": files.digest(made)} for name, made in about["files"].items()
    }
    path.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def _places(out, form) -> list[Path]:
    """All files of a format that is written to files: the user's, those beside it, and the JSON."""
    return [out, *(out.with_suffix(suffix) for suffix in form.suffixes[1:]), out.with_name(f"{out.name}.json")]


def _below(folder):
    return [path for path in folder.rglob("*") if not path.is_dir()]


def check_out(out: Path, form: formats.Format, *inputs: str | os.PathLike | None) -> None:
    """See that a format can be written there: over none of the inputs, and over nothing but an earlier export.

    Raises:
        UserError: it cannot.
    """
    if form.suffixes:
        if out.suffix.lower() != form.suffixes[0]:
            raise UserError(f"{out}: is written as {form.title}; let its name end in {form.suffixes[0]}")
        *made, about = _places(out, form)
        files.check_outfile(about, *inputs, suffix=None, mark=jsontext.with_keys(*KEYS))
        for place in made:
            files.check_outfile(place, *inputs, suffix=None, mark=_known_by(about, place.name))
    elif out.exists():
        if not out.is_dir():
            raise UserError(f"{out}: is a file; name a folder for the SavedModel")
        for path in _below(out):
            if path.relative_to(out).as_posix() != ABOUT and not _known_by(
                out / ABOUT, path.relative_to(out).as_posix()
            )(path):
                raise UserError(
                    f"{out}: holds {path.relative_to(out)}, which is no earlier output of this; name another folder"
                )


def _known_by(about: Path, name: str) -> Callable[[Path], bool]:
    """Whether a file has the content that the JSON of an earlier export says."""

    def known(path):
        try:
            return jsontext.read(about, most_bytes=MOST_BYTES)["files"][name]["sha256"] == files.digest(path)
        except (OSError, ValueError, KeyError, TypeError):
            return False

    return known
