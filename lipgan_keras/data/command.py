"""The flags of preprocess.py."""

import argparse
from collections.abc import Callable

from ..config import IMG_SIZES, OWN_CROPS
from ..utils import cli
from ..utils.errors import Incomplete
from .preprocess_config import PreprocessConfig

MOST_PEOPLE = 10_000  # of one clip
MOST_SHARDS = 100_000


def _shard(text):
    """(I, N) of "I/N"."""
    index, _, count = text.partition("/")
    if not (index.isdecimal() and count.isdecimal() and int(index) < int(count) <= MOST_SHARDS):
        raise argparse.ArgumentTypeError(f"{text!r:.40} is not I/N, such as 0/8, with I from 0 to N-1")
    return int(index), int(count)


def main(recast: Callable[[PreprocessConfig, int], int] | None = None) -> None:
    """Parse the flags, and do what they say.

    Args:
        recast: does what --recast N says, for N, and returns how many clips failed; None: there is no such flag. The
            script hands it in, as this wing cannot do it.

    Raises:
        UserError: see `preprocess.preprocess`; or an `Incomplete`.
    """
    parser = cli.ArgumentParser(description="Cut faces and sound out of videos, for train.py.")
    parser.add_argument(
        "--videos_data_root",
        type=cli.path,
        help="folder that holds the videos, LRS2's or any (not needed with --recast or --pack)",
    )
    parser.add_argument("--final_data_root", type=cli.path, required=True, help="folder for the preprocessed clips")
    parser.add_argument(
        "--split", type=cli.word, help="which list file of --filelists, folder of LRS2, or but for train of LRW or LRS3"
    )
    parser.add_argument(
        "--filelists",
        type=cli.path,
        help="folder with <split>.txt of <video>/<clip> lines (default: ./filelists/ if it has that file, else every "
        "video)",
    )
    parser.add_argument("--num_workers", type=cli.integer(1, cli.MOST_PROCESSES), help="processes, at most one a core")
    parser.add_argument("--img_size", type=int, choices=IMG_SIZES, help="side of the face crops in pixels")
    parser.add_argument(
        "--crop",
        choices=OWN_CROPS,
        help="where they lie: by eyes and nose, or by the mouth's corners too, as before",
    )
    parser.add_argument(
        "--shard",
        type=_shard,
        metavar="I/N",
        help="make share I of N of the clips, 0 to N-1, as one of N jobs of a cluster that share --final_data_root",
    )
    if recast:
        parser.add_argument(
            "--recast",
            type=cli.integer(1, MOST_PEOPLE),
            metavar="N",
            help="then make N made-up people out of each real clip below --final_data_root, who say the same: other "
            "faces, skins, lights, cameras and voices. Without --videos_data_root only that, and --pack, is done",
        )
    _add_pack(parser)
    cli.set_defaults(parser, PreprocessConfig)
    args = vars(parser.parse_args())
    people = args.pop("recast", None)
    if problem := _wrong_together(args, people, "--recast, --pack" if recast else "--pack"):
        parser.error(problem)

    from . import preprocess  # loads what reads videos

    options = PreprocessConfig(**args)
    failed = preprocess.preprocess(options, *([lambda: recast(options, people)] if people else []))
    if failed:
        raise Incomplete(f"{options.final_data_root}: {failed} clips failed, or lack a part; the lines above say why")


def _add_pack(parser):
    parser.add_argument(
        "--pack",
        type=cli.path,
        metavar="FILE",
        help="then put all clips below --final_data_root into one file, which train.py takes as --data_root; with "
        "--filelists those that its train.txt and val.txt name. Without --videos_data_root nothing else is done",
    )
    parser.add_argument("--pack_mb", type=cli.positive(), metavar="MB", help="largest size of that file, in 10^6 bytes")


def _wrong_together(args, people, others):
    """What is wrong with flags that are fine alone; None: nothing."""
    if not (args["videos_data_root"] or people or args["pack"]):
        return f"the following arguments are required: --videos_data_root (or {others})"
    if args["shard"] and args["pack"]:
        return "--pack: takes the clips of all shares; give it without --shard, when all have ended"
    if args["shard"] and people and args["videos_data_root"]:
        return "--recast: shares out the clips that are there; give it without --videos_data_root, when these are made"
    return None
