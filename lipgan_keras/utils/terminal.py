"""Text that holds names of files, which may be anything, for people to read in a terminal or a spreadsheet."""

import sys
from typing import Any, TextIO

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a cell begins with that a spreadsheet would run


def printable(text: Any) -> str:
    """One line that a terminal shows as it is: line breaks, escape sequences and what is no UTF-8 are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def say(*lines: Any, error: bool = False) -> None:
    """Print each as one line, at once: to standard output, or with `error` to standard error."""
    stream = sys.stderr if error else sys.stdout
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        for line in lines:
            print(printable(line).encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)
    except OSError as problem:  # on a full disc
        problem.filename = "standard error" if error else "standard output"
        raise


def text_cell(text: str) -> str:
    """A cell of a CSV file that holds text, so that no spreadsheet takes it for a formula."""
    return f"'{text}" if text.startswith(FORMULA) else text


def text_of(cell: str) -> str:
    """The text of which `text_cell` made a cell."""
    return cell[1:] if cell[:1] == "'" and cell[1:].startswith(FORMULA) else cell


def never_fail(stream: TextIO | None) -> None:
    """Let what a stream's encoding lacks be escaped, in place of an error."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure:
        reconfigure(errors="backslashreplace")
