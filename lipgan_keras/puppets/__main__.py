import os
from pathlib import Path

from ..utils import cli
from ..utils.cli import ArgumentParser
from ..utils.terminal import say

LARGEST_CROP = 1024  # pixels


def main() -> None:
    args = _parser().parse_args()

    from .clips import make_clips  # loads SciPy
    from .utterance import read_texts

    paths = make_clips(
        args.out,
        args.clips,
        seed=args.seed,
        seconds=args.seconds,
        photos=args.photo,
        speech=args.speech,
        texts=read_texts(args.text) if args.text else (),
        face_model=args.face_model,
        num_workers=args.num_workers,
        varied=args.varied,
        crops=args.crops,
        img_size=args.img_size,
        clear=args.clear,
    )
    say(f"{len(paths)} clips in {Path(args.out) / 'main'}")


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="python -m lipgan_keras.puppets", description="Make talking-face clips.")
    parser.add_argument(
        "--out", type=cli.path, required=True, help="data root; clips go to OUT/main/<face>/<00001>.mp4"
    )
    parser.add_argument("--clips", type=cli.integer(1, cli.MOST_AT_ONCE), default=20, help="how many clips")
    parser.add_argument("--seed", type=cli.limited("seed", int), default=0, help="of everything random")
    parser.add_argument("--seconds", type=cli.positive(cli.MOST_SECONDS), default=6.0, help="length of a clip")
    parser.add_argument(
        "--photo",
        type=cli.existing,
        nargs="+",
        default=[],
        help="face photos, or videos, whose frame with the lips shut most is taken (default: the photos that "
        "matplotlib and scikit-image bring)",
    )
    parser.add_argument(
        "--speech",
        type=cli.existing,
        nargs="+",
        default=[],
        help="files with speech; a track of its phones beside a file, <stem>.txt, moves the mouth (default: "
        "synthesised sound)",
    )
    parser.add_argument(
        "--text",
        type=cli.existing,
        metavar="FILE",
        help="sentences, one a line, for flite to say; its phones move the mouth",
    )
    parser.add_argument(
        "--face_model",
        type=cli.existing,
        metavar="FILE.npz",
        help="3D face model with mouth, teeth and tongue, to move the photos' mouths; see docs/puppets.md (default: "
        "photos are warped)",
    )
    parser.add_argument(
        "--varied",
        action="store_true",
        help="in every clip another made-up person, light, camera and voice; some with music or noise, or in silence",
    )
    parser.add_argument(
        "--clear",
        action="store_true",
        help="as --varied, but with smiles, thinner and paler lips, better cameras, and teeth and tongues that differ "
        "less; with --face_model all smile while they speak, two thirds of them with their teeth",
    )
    parser.add_argument(
        "--crops",
        action="store_true",
        help="write the folders of crops that train.py reads, without videos and preprocess.py: several times as fast",
    )
    parser.add_argument(
        "--img_size", type=cli.integer(16, LARGEST_CROP), default=96, help="side of the crops in pixels"
    )
    parser.add_argument(
        "--num_workers", type=cli.integer(1, cli.MOST_PROCESSES), default=os.cpu_count() or 1, help="processes"
    )
    return parser


if __name__ == "__main__":
    cli.run(main)
