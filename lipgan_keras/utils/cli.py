"""What the command-line scripts share: one-line errors, quiet Ctrl-C, all-or-nothing output files."""

import _thread
import argparse
import contextlib
import dataclasses
import math
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

from . import files, limits, processes, terminal
from .errors import Incomplete, UserError, describe_os_error, is_out_of_memory

MOST = 1_000_000_000  # what no flag has a use for more than; each that costs memory or time has a limit of its own
MOST_PROCESSES = 1024
MOST_AT_ONCE = 65_536  # clips or pairs that are held at once
MOST_SECONDS = 3_600.0  # of a sound that is held in memory
MOST_PIXELS = 1_000_000  # of a side of a picture
# The flags whose smaller values take less memory.
LOWER = ("--batch_size", "--lipgan_batch_size", "--max_side", "--cache_mb", "--num_workers", "--pairs", "--img_size")


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows defaults, except where there is none to show."""

    def _get_help_string(self, action):
        if action.default in (None, False) or "(default" in (action.help or ""):
            return action.help
        return super()._get_help_string(action)


class ArgumentParser(argparse.ArgumentParser):
    """argparse, with defaults in the help text and errors on one line.

    Attributes:
        latest: the flags that this process was asked for last.
    """

    latest: tuple[str, ...] = ()

    def parse_known_args(self, *args, **kwargs):
        shown = (action for action in self._actions if action.help != argparse.SUPPRESS)
        ArgumentParser.latest = tuple(flag for action in shown for flag in action.option_strings)
        return super().parse_known_args(*args, **kwargs)

    def __init__(self, **kwargs):
        kwargs.setdefault("formatter_class", HelpFormatter)
        # Abbreviated flags would change their meaning when a new flag is added.
        kwargs.setdefault("allow_abbrev", False)
        super().__init__(**kwargs)

    def error(self, message: str):
        self.exit(2, f"{self.prog}: error: {terminal.printable(message)} (--help lists the flags)\n")


def set_defaults(parser: argparse.ArgumentParser, config: type) -> None:
    """Give the flags of a parser the defaults of the dataclass whose fields have their names."""
    defaults = {field.name: field.default for field in dataclasses.fields(config)}
    for action in parser._actions:
        value = defaults.get(action.dest, dataclasses.MISSING)
        if value is not dataclasses.MISSING and action.default is not argparse.SUPPRESS:
            action.default = list(value) if isinstance(value, tuple) else value


def integer(minimum: int, maximum: int = MOST) -> Callable[[str], int]:
    """An argparse type: a whole number of at least `minimum` and at most `maximum`."""
    return _number(int, "a whole number", minimum, maximum)


def positive(maximum: float = MOST) -> Callable[[str], float]:
    """An argparse type: a number above 0 and at most `maximum`."""
    return _number(float, "a number", 0, maximum, above=True)


def at_least(minimum: float, maximum: float = MOST) -> Callable[[str], float]:
    """An argparse type: a number of at least `minimum` and at most `maximum`."""
    return _number(float, "a number", minimum, maximum)


def fraction(above: bool = False) -> Callable[[str], float]:
    """An argparse type: a number below 1, and at least 0 or, with `above`, above it."""
    return _number(float, "a number", 0, 1, above, below=True)


def limited(name: str, kind: type = float) -> Callable[[str], Any]:
    """An argparse type: a number in the range that `limits` has for this name."""
    return _number(kind, "a whole number" if kind is int else "a number", *limits.LIMITS[name])


def path(text: str) -> str:
    """An argparse type: where something is to be read or written, whatever is there."""
    return _filled(text, "a path")


def word(text: str) -> str:
    """An argparse type: a name of something."""
    return _filled(text, "a name")


def _filled(text, what):
    if not text:
        raise argparse.ArgumentTypeError(f"is empty; give {what}, or leave the flag away")
    return text


def add_plugin_flag(parser: argparse._ActionsContainer) -> None:
    """For commands that build a generator."""
    parser.add_argument(
        "--plugin",
        type=existing,
        metavar="FILE.py",
        help="Python file with blocks of your own, see docs/blocks.md; runs the code in it",
    )


def existing(text: str) -> str:
    """An argparse type: a file or folder that is there, so that a typing error is said at once."""
    path(text)
    if not os.path.exists(text):
        raise argparse.ArgumentTypeError(f"{text}: no such file; check the path")
    try:
        files.regular(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def _number(kind, words, minimum, maximum, above=False, below=False):
    bounds = f"{'above' if above else 'of at least'} {minimum:,} and {'below' if below else 'at most'} {maximum:,}"

    def parse(text):
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        inside = (minimum < value if above else minimum <= value) and (value < maximum if below else value <= maximum)
        if not inside:
            raise argparse.ArgumentTypeError(f"{text!r:.40} is not {words} {bounds}")
        return value

    return parse


def run(main: Callable[[], None]) -> None:
    """Run a script's `main`; bad input, a full disc and Ctrl-C end it with one line or none, never a traceback.

    Exit codes: 0 all of it was made; 1 after an `Incomplete`, all but a part; 2 after another `UserError`, a failing
    file operation, too little memory or an error of our own, which is shown with its traceback; 130 after Ctrl-C, 143
    after SIGTERM.
    """
    came = []
    ArgumentParser.latest = ()

    def interrupted(signum, frame):
        came.append(signum)
        raise KeyboardInterrupt

    def terminated(signum, frame):
        came.append(signum)
        raise SystemExit(128 + signum)

    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as in a background job of a shell
        signal.signal(signal.SIGINT, interrupted)
    sys.unraisablehook = _unraisable
    signal.signal(signal.SIGTERM, terminated)  # so that temporary files are removed on the way out
    processes.end_amid_imports()
    for stream in (sys.stdout, sys.stderr):
        terminal.never_fail(stream)
    try:
        main()
        _flush()
        if came:  # what it raised was lost on the way, such as in a library's callback
            end_at_once(128 + came[0])
    except BaseException as error:
        if came or isinstance(error, KeyboardInterrupt):  # an import that it breaks off may end in an error of any kind
            if came != [signal.SIGTERM]:
                print(file=sys.stderr)
            with contextlib.suppress(OSError):
                _flush()
            end_at_once(128 + (came or [signal.SIGINT])[0])
        if isinstance(error, SystemExit):
            raise
        code, message = _told(error)
        if message is None:
            traceback.print_exc()
        else:
            print(f"{os.path.basename(sys.argv[0])}: {message}", file=sys.stderr)
        with contextlib.suppress(OSError):
            _flush()
        sys.exit(code)


def end_at_once(code: int) -> None:
    """End this process. What there was to tidy up is done, and libraries would take seconds to end."""
    os._exit(code)


def _unraisable(unraisable):
    """Python drops what is raised within a callback, such as a weak reference's: a signal is then raised once more."""
    if issubclass(unraisable.exc_type, (KeyboardInterrupt, SystemExit)):
        number = signal.SIGINT if issubclass(unraisable.exc_type, KeyboardInterrupt) else signal.SIGTERM
        threading.Timer(0.02, _thread.interrupt_main, [number]).start()
    else:
        sys.__unraisablehook__(unraisable)


def _flush():
    """Write what was printed, while a full disc can still be said."""
    if sys.stdout is None or sys.stdout.closed:
        return
    try:
        sys.stdout.flush()
    except OSError as error:
        # Python tries once more when it ends, and would complain again.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        error.filename = error.filename or "standard output"
        raise


def _told(error):
    """The exit code of an error, and its line; None where it is one of our own."""
    if is_out_of_memory(error):
        lower = [flag for flag in LOWER if flag in ArgumentParser.latest]
        advice = f"lower {' or '.join(lower)}" if lower else "use smaller files, or close other programs"
        error = UserError(f"there is too little memory; {advice}")
    if isinstance(error, Incomplete):
        return 1, f"incomplete: {terminal.printable(error)}"
    if isinstance(error, UserError):
        return 2, f"error: {terminal.printable(error)}"
    if isinstance(error, OSError) and error.errno is not None:
        return 2, f"error: {terminal.printable(describe_os_error(error))}"
    return 2, None
