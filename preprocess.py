"""Cut faces and sound out of videos, for train.py."""

import os

from lipgan_keras.utils import cli, files
from lipgan_keras.utils.cli import ArgumentParser
from lipgan_keras.utils.errors import UserError


def main():
    parser = ArgumentParser(description=__doc__)
    parser.add_argument(
        "--videos_data_root", help="folder that holds the videos, LRS2's or any (with --pack not needed)"
    )
    parser.add_argument("--final_data_root", required=True, help="folder for the preprocessed clips")
    parser.add_argument("--split", default="train", help="which list file of --filelists, and folder of LRS2")
    parser.add_argument(
        "--filelists",
        help="folder with <split>.txt of <video>/<clip> lines (default: ./filelists/ if it has that file, else every "
        "video)",
    )
    parser.add_argument("--num_workers", type=cli.integer(1), default=10, help="processes, at most one a core")
    parser.add_argument("--img_size", type=int, choices=[96, 192], default=96, help="side of the face crops in pixels")
    parser.add_argument(
        "--pack",
        metavar="FILE",
        help="then put all clips below --final_data_root into one file, which train.py takes as --data_root; with "
        "--filelists those that its train.txt and val.txt name. Without --videos_data_root nothing else is done",
    )
    parser.add_argument(
        "--pack_mb", type=cli.positive(), default=50, metavar="MB", help="largest size of that file, in 10^6 bytes"
    )
    args = parser.parse_args()
    if not args.videos_data_root and not args.pack:
        parser.error("the following arguments are required: --videos_data_root (or --pack)")

    from lipgan_keras.data import preprocess

    if args.pack:  # said before hours of work
        if os.path.isdir(args.pack):
            raise UserError(f"{args.pack}: is a folder; name a file in it")
        files.check_writable(os.path.dirname(args.pack) or ".")
    if args.videos_data_root:
        preprocess.preprocess(args)
    if args.pack:
        preprocess.pack_clips(args)


if __name__ == "__main__":
    cli.run(main)
