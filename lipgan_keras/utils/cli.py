"""What the command-line scripts share: one-line errors, quiet Ctrl-C, all-or-nothing output files."""

import argparse
import dataclasses
import math
import os
import signal
import sys
from collections.abc import Callable

from .errors import UserError, describe_os_error


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


def set_defaults(parser: argparse.ArgumentParser, config: type) -> None:
    """Give the flags of a parser the defaults of the dataclass whose fields have their names."""
    defaults = {field.name: field.default for field in dataclasses.fields(config)}
    for action in parser._actions:
        value = defaults.get(action.dest, dataclasses.MISSING)
        if value is not dataclasses.MISSING and action.default is not argparse.SUPPRESS:
            action.default = list(value) if isinstance(value, tuple) else value


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


def add_plugin_flag(parser: argparse._ActionsContainer) -> None:
    """For commands that build a generator."""
    parser.add_argument(
        "--plugin",
        type=existing,
        metavar="FILE.py",
        help="Python file with blocks of your own, see docs/blocks.md; runs the code in it",
    )


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
