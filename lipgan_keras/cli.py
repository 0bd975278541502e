"""What the command-line scripts share: one-line errors, quiet Ctrl-C, all-or-nothing output files."""

import argparse
import contextlib
import errno
import math
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path


class UserError(ValueError):
    """Bad input. Its message is the one line that the user reads: the file, what is wrong, what to do."""


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows defaults, except where there is none to show."""

    def _get_help_string(self, action):
        if action.default in (None, False) or "(default" in (action.help or ""):
            return action.help
        return super()._get_help_string(action)


class ArgumentParser(argparse.ArgumentParser):
    """argparse, with defaults in the help text and errors on one line."""

    def __init__(self, **kwargs):
        kwargs.setdefault("formatter_class", HelpFormatter)
        # Abbreviated flags would change their meaning when a new flag is added.
        kwargs.setdefault("allow_abbrev", False)
        super().__init__(**kwargs)

    def error(self, message: str):
        self.exit(2, f"{self.prog}: error: {message} (--help lists the flags)\n")


def integer(minimum: int) -> Callable[[str], int]:
    """An argparse type: a whole number of at least `minimum`."""
    return _number(int, "a whole number", minimum)


def positive(kind: type = float) -> Callable[[str], float]:
    """An argparse type: a finite number above 0."""
    return _number(kind, "a number", 0, above=True)


def at_least(minimum: float) -> Callable[[str], float]:
    """An argparse type: a finite number of at least `minimum`."""
    return _number(float, "a number", minimum)


def share(text: str) -> float:
    """An argparse type: above 0 and below 1."""
    value = positive()(text)
    if value >= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not below 1")
    return value


def finite(text: str) -> float:
    """An argparse type: any number but infinity and NaN."""
    value = float(text)
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a finite number")
    return value


def existing(path: str) -> str:
    """An argparse type: a path where something is, so that a typing error is said at once."""
    if not os.path.exists(path):
        raise argparse.ArgumentTypeError(f"{path}: no such file; check the path")
    return path


def fraction(text: str) -> float:
    """An argparse type: at least 0 and below 1."""
    value = _number(float, "a number", 0)(text)
    if value >= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not below 1")
    return value


def _number(kind, words, minimum, above=False):
    bound = "above" if above else "of at least"

    def parse(text):
        try:
            value = kind(text)
        except ValueError:
            value = float("nan")
        if not (minimum < value < float("inf") or (value == minimum and not above)):
            raise argparse.ArgumentTypeError(f"{text!r} is not {words} {bound} {minimum}")
        return value

    return parse


def add_face_flags(parser: argparse._ActionsContainer) -> None:
    """What inference.py and `lipgan_keras.live` alike say of the face and of what runs the generator."""
    parser.add_argument(
        "--pads",
        type=int,
        nargs=4,
        default=[0, 0, 0, 0],
        metavar=("T", "B", "L", "R"),
        help="grow the face crop by so many pixels of --face at top, bottom, left and right",
    )
    parser.add_argument(
        "--box",
        type=int,
        nargs=4,
        metavar=("T", "B", "L", "R"),
        help="top, bottom, left and right of the face in pixels of --face, in every frame: nothing is looked for, so "
        "that drawings, masks and animals speak too",
    )
    parser.add_argument(
        "--region",
        choices=["mouth", "jaw", "face"],
        default="jaw",
        help="what is redrawn; face: the original's rectangle",
    )
    parser.add_argument(
        "--sharpen",
        type=at_least(0),
        default=1.0,
        help="how much of the detail of the face the mouth is given; 0: none",
    )
    parser.add_argument(
        "--label",
        action="store_true",
        help="write on the picture that it is synthetic; an MP4's metadata say so anyway",
    )
    parser.add_argument(
        "--engine",
        choices=["auto", "openvino", "keras"],
        default="auto",
        help="what runs the generator; auto: OpenVINO on a processor, Keras where there is a GPU",
    )
    parser.add_argument("--audio_offset_ms", type=finite, help="shift of the audio windows (default: the checkpoint's)")


def run(main: Callable[[], None]) -> None:
    """Run a script's `main`; bad input, a full disc and Ctrl-C end it with one line or none, never a traceback.

    Exit codes: 2 after a `UserError` or a failing file operation, 130 after Ctrl-C, 143 after SIGTERM.
    """

    def terminated(signum, frame):
        raise SystemExit(128 + signum)

    signal.signal(signal.SIGTERM, terminated)  # so that temporary files are removed on the way out
    program = os.path.basename(sys.argv[0])
    try:
        main()
    except UserError as error:
        message = " ".join(str(error).split())
    except KeyboardInterrupt:
        print(file=sys.stderr)
        sys.exit(130)
    except OSError as error:
        if error.errno is None:
            raise
        message = " ".join(describe_os_error(error).split())
    else:
        return
    print(f"{program}: error: {message}", file=sys.stderr)
    sys.exit(2)


def describe_os_error(error: OSError) -> str:
    """One line for a failing file operation, with what to do about the common ones."""
    advice = {
        errno.ENOSPC: "; free some space or write to another disc",
        errno.EDQUOT: "; free some space or write to another disc",
        errno.EFBIG: "; free some space or write to another disc",
        errno.EACCES: "; choose a place that you may write to",
        errno.EPERM: "; choose a place that you may write to",
        errno.EROFS: "; choose a place that you may write to",
    }.get(error.errno, "")
    return f"{error.filename or 'file operation'}: {error.strerror}{advice}"


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it to `path` on success, remove it on any failure.

    Makes the folder if need be. The temporary name keeps the suffix, which decides the format for some writers.

    Raises:
        UserError: the folder cannot be made or written to.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path}: is a folder; name a file in it")
    check_writable(path.parent)
    # Of names of 255 bytes, which those added would break
    stem = os.fsencode(path.stem)[:100].decode("utf-8", "ignore")
    handle, name = tempfile.mkstemp(prefix=f".{stem}.", suffix=f".tmp{path.suffix}", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)  # mkstemp makes files that only their owner may read
        os.replace(temporary, path)
    except OSError as error:
        if error.filename == name:
            error.filename = os.fspath(path)  # the name that the user gave
        raise
    finally:
        temporary.unlink(missing_ok=True)


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


def check_outfile(outfile: str | os.PathLike, *inputs: str | os.PathLike, suffix: str = ".mp4") -> None:
    """See that a file of this kind can be written there, and over none of the inputs.

    Raises:
        UserError: a folder, another suffix, or an input.
    """
    outfile = Path(outfile)
    if outfile.is_dir():
        raise UserError(f"{outfile}: is a folder; name a file in it")
    if outfile.suffix.lower() != suffix:
        raise UserError(f"{outfile}: is written as {suffix[1:].upper()}; let its name end in {suffix}")
    for path in inputs:
        if outfile.exists() and os.path.exists(path) and os.path.samefile(outfile, path):
            raise UserError(f"{outfile}: is an input too; name another file")


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


@contextlib.contextmanager
def signals_put_off() -> Iterator[None]:
    """Heed Ctrl-C and SIGTERM at the end of the block only:
    amid the imports of large libraries they are lost, or crash.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came = []
    before = {number: signal.signal(number, lambda n, _: came.append(n)) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Put off Ctrl-C; processes started in here never see it: it is their parent's to handle."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
