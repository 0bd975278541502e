"""Tables (CSV) and lists (lines of words) from anywhere, as text in UTF-8 of a bounded size."""

import csv
import io
import os
from pathlib import Path

from . import files
from .errors import UserError

MOST_BYTES = 64 << 20
MOST_COLUMNS = 1000


def text(path: str | os.PathLike, kind: str, advice: str, most_bytes: int = MOST_BYTES) -> str:
    """The text in a file.

    Args:
        kind: what the text is to be, for the errors, such as "a table".
        advice: what to do, likewise.

    Raises:
        UserError: no such file, a folder, a pipe, a longer one, or none in UTF-8.
    """
    if not os.path.exists(files.regular(path)):
        raise UserError(f"{path}: no such file; {advice}")
    if os.path.isdir(path) or os.path.getsize(path) > most_bytes:
        why = "it is a folder" if os.path.isdir(path) else f"it is over {most_bytes >> 20} MiB"
        raise UserError(f"{path}: cannot be read as {kind} ({why}); {advice}")
    try:
        found = Path(path).read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as {kind}; {advice}") from error
    if "\0" in found:
        raise UserError(f"{path}: cannot be read as {kind} (it holds zero bytes); {advice}")
    return found


def lines(path: str | os.PathLike, kind: str, advice: str) -> list[list[str]]:
    """The words of each line that holds any.

    Raises:
        UserError: see `text`.
    """
    return [line.split() for line in text(path, kind, advice).splitlines() if line.split()]


def rows(path: str | os.PathLike, advice: str, strict: bool = False) -> tuple[list[str], list[tuple[int, dict]]]:
    """A table with a first line of names.

    Args:
        advice: what to do, for the errors.
        strict: whether quotes have to be right.

    Returns:
        The names, stripped and in lower case; and of each row its line and {name: cell}, as `csv.DictReader` has them.

    Raises:
        UserError: see `text`; or it is no table, or of too many columns.
    """
    found = text(path, "a table", advice)
    try:
        reader = csv.DictReader(io.StringIO(found, newline=""), strict=strict)
        reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or ()]
        if len(reader.fieldnames) > MOST_COLUMNS:
            raise UserError(f"{path}: cannot be read as a table (it has over {MOST_COLUMNS} columns); {advice}")
        return list(reader.fieldnames), [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise UserError(f"{path}: cannot be read as a table ({error}); {advice}") from error
