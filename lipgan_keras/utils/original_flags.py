"""What the original LipGAN's scripts know and these do not need: it is taken, one line says so, and the run goes on."""

import argparse
import os

from . import cli
from .terminal import say

WRITTEN = ("gen.h5", "disc.h5", "comb.h5", "unet_residual.h5")  # by its training, below --logdir
OURS = "checkpoint.h5"


def add(parser: argparse.ArgumentParser, advice: dict[str, str], usual: dict[str, str] | None = None) -> None:
    """Take such flags, each with one value, and tell what there is in their place.

    Args:
        parser: its help does not show them.
        advice: {flag: what the line says after it}.
        usual: {flag: value of which nothing need be said}.
    """
    for flag, words in advice.items():
        told = (words, (usual or {}).get(flag))
        parser.add_argument(
            flag, type=cli.word, action=_Told, const=told, dest=argparse.SUPPRESS, help=argparse.SUPPRESS
        )


class _Told(argparse.Action):
    """Prints its line, and keeps nothing."""

    def __call__(self, parser, namespace, values, option_string=None):
        words, usual = self.const
        if values != usual:
            say(f"{parser.prog}: {option_string} {values}: {words}", error=True)


def truth(text: str) -> bool:
    """An argparse type: what the original's `--static True` means.

    Raises:
        argparse.ArgumentTypeError: neither true nor false.
    """
    known = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if text.lower() not in known:
        raise argparse.ArgumentTypeError(f"{text!r:.40} is not True or False")
    return known[text.lower()]


def checkpoint(text: str) -> str:
    """A checkpoint's path; of one that the original's training writes and that is not there, that of ours."""
    folder, name = os.path.split(text)
    instead = os.path.join(folder, OURS)
    if name not in WRITTEN or os.path.exists(text) or not os.path.exists(instead):
        return text
    say(f"{text}: is not there; {instead}, which train.py writes, is used", error=True)
    return instead
