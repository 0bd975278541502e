"""What a visitor is told where something goes wrong: the line of the command line, in the words of the page."""

import os
import re
import traceback
from pathlib import Path

from ..utils import errors
from ..utils.terminal import printable, say

# What the page cannot do, and what it calls otherwise than a flag
OTHERWISE = (
    (r", or say where it is with --box", ""),
    (r", or its --box", ""),
    (r"--pads [-\d. ]+:", "The room around the face"),
    (r"--fps [\d.]+:", "The frame rate"),
    (r"--audio_offset_ms [-\d.]+:", "The offset"),
    (r"no face with --face_index (\d+) found", "that face was not found"),
    (r" in (\d+) frames from", " from"),
)


def told(error: BaseException, *paths: str | os.PathLike | None) -> str:
    """One or two sentences for the page. An error of our own is written to standard error in full.

    Args:
        error: what was raised.
        paths: the visitor's files, of which the page names the last part alone.
    """
    if isinstance(error, errors.UserError):
        text = str(error)
    elif errors.is_out_of_memory(error):
        text = "This computer has too little memory for it; give a smaller picture"
    elif isinstance(error, OSError) and error.errno is not None:
        text = f"The server could not write or read a file ({error.strerror}); try again later"
    else:
        say(*"".join(traceback.format_exception(error)).rstrip().split("\n"), error=True)
        text = f"Something went wrong in the program ({type(error).__name__}); its owner finds more in the server's log"
    for path in paths:
        if path is not None:
            text = text.replace(os.fspath(path), Path(path).name)
    for pattern, words in OTHERWISE:
        text = re.sub(pattern, words, text)
    text = printable(text)
    text = text[:1].upper() + text[1:] if ": " not in text[:60] else text
    return text if text.endswith((".", "!", "?")) else f"{text}."
