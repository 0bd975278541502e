"""The flags of inference.py."""

import argparse
import dataclasses
import os
from pathlib import Path

from ..config import VARIANTS
from ..utils import cli, files, original_flags, terminal
from ..utils.errors import Incomplete
from . import flags
from .options import BATCH_SIZE, MOST_FACES, Options

# Of the original's flags; what --model says is compared with the checkpoint.
ORIGINAL = {
    "--mat": "is not needed, the features are made of --audio",
    "--face_det_checkpoint": "is not needed, MTCNN finds the faces and brings its weights",
    "--face_det_batch_size": "is chosen by itself",
    "--n_gpu": "the generator runs on one device",
    "--img_size": "is that of the checkpoint",
}


def main() -> None:
    _run("{face}_{audio}.mp4")


def main_original() -> None:
    """batch_inference.py, the original's script, and the name of its result."""
    _run("result_voice.mp4")


def _run(name):
    parser = cli.ArgumentParser(description="Make a face say a sound: picture or video and speech in, MP4 out.")
    _add_files(parser, name)
    _add_face(parser.add_argument_group("the face"))
    _add_part(parser.add_argument_group("which part"))
    _add_result(parser.add_argument_group("the result"))
    original_flags.add(parser, ORIGINAL, {"--n_gpu": "1", "--img_size": "96"})
    parser.add_argument("--model", choices=VARIANTS, help=argparse.SUPPRESS)
    cli.set_defaults(parser, Options)
    args = parser.parse_args()
    _check(parser, args)
    flags.start_detector(args.face, args.engine, args.box)

    from ..lipsync import LipSync
    from . import batch

    if args.plugin:
        from .. import blocks

        blocks.load_plugin(args.plugin)
    known = {field.name: getattr(args, field.name) for field in dataclasses.fields(Options)}
    options = {name: value for name, value in known.items() if value is not None}
    lipsync = LipSync(args.checkpoint_path, args.engine, args.lipgan_batch_size, args.audio_offset_ms)
    if args.model not in (None, lipsync.config.variant):
        terminal.say(
            f"{parser.prog}: --model {args.model}: {args.checkpoint_path or 'the checkpoint that ships'} holds "
            f"{lipsync.config}, which is used",
            error=True,
        )
    if args.batch:
        batch.run(lipsync, args.batch, args.results_dir, **options)
        return
    stems = {"face": Path(args.face).stem, "audio": Path(args.audio).stem}
    outfile = args.outfile or os.path.join(args.results_dir, name.format(**stems))
    files.check_outfile(outfile, args.face, args.audio, args.checkpoint_path, args.plugin)
    summary = lipsync.run(args.face, args.audio, outfile, progress=True, **options)
    terminal.say(*str(summary).split("\n"))
    if not summary.complete:
        raise Incomplete(f"{outfile}: is made, but a part of {args.face} could not be used; see above")


def _check(parser, args):
    """Refuse flags that do not go together."""
    single = [name for name in ("face", "audio", "outfile") if getattr(args, name)]
    if args.batch and single:
        parser.error(f"--{single[0]}: the table of --batch says that; leave one of the two away")
    if args.batch and args.preview:
        parser.error("--preview: one file for all pairs of --batch; leave one of the two away")
    if args.box and args.face_index is not None:
        parser.error("--face_index: --box says where the face is; leave one of the two away")
    if not args.batch and not (args.face and args.audio):
        parser.error("--face and --audio are needed, or --batch")


def _add_files(parser, name):
    parser.add_argument(
        "--checkpoint_path",
        type=lambda text: cli.existing(original_flags.checkpoint(text)),
        help="generator, of train.py or of the original LipGAN (default: the one that ships)",
    )
    parser.add_argument("--face", type=cli.existing, help="picture or video of the face")
    parser.add_argument("--audio", type=cli.existing, help="sound file, or video with the sound to say")
    default = name.format(face="<face>", audio="<audio>")
    parser.add_argument("--outfile", type=cli.path, help=f"MP4 to write (default: <results_dir>/{default})")
    parser.add_argument(
        "--results_dir", type=cli.path, default="results/", help="folder for the results where --outfile is not given"
    )
    parser.add_argument(
        "--batch",
        type=cli.existing,
        metavar="PAIRS.csv",
        help="make many videos, in place of --face, --audio and --outfile: a table with columns face, audio and, if "
        "you like, outfile; paths are relative to the table; what is there already is left as it is",
    )


def _add_face(face):
    flags.add_face_flags(face)
    face.add_argument(
        "--face_index",
        type=_face_index,
        metavar="N|all",
        help="the face to speak, counted from the left from 0, or all (default: the largest)",
    )
    face.add_argument(
        "--keep",
        type=cli.existing,
        metavar="FILE.png",
        help="picture of the size of --face, white where the source is to stay in every frame, such as letters or a "
        "microphone before the face, black elsewhere",
    )
    face.add_argument("--smooth", action=argparse.BooleanOptionalAction, help="smooth in time where faces are")
    face.add_argument(
        "--nosmooth",
        dest="smooth",
        action="store_false",
        default=argparse.SUPPRESS,
        help="--no-smooth, as Wav2Lip calls it",
    )


def _add_part(part):
    part.add_argument(
        "--static",
        type=original_flags.truth,
        nargs="?",
        const=True,
        default=False,
        metavar="True|False",
        help="of a video, use the first frame that shows a face only",
    )
    part.add_argument("--start", type=cli.at_least(0), help="second of the face video to begin at")
    part.add_argument("--end", type=cli.positive(), help="second of the face video to stop, and turn back, at")
    part.add_argument("--max_sec", type=cli.positive(), help="cut the sound after so many seconds")


def _add_result(out):
    out.add_argument("--resize_factor", type=cli.at_least(1), help="make width and height so many times smaller")
    out.add_argument(
        "--max_side",
        type=cli.integer(0),
        metavar="PIXELS",
        help="make the longer side no longer than this; 0: as long as it is (default: 1920 of a still, and of a video "
        "what fits 4096x2304, so that phones play it)",
    )
    out.add_argument("--fps", type=cli.positive(), help="frame rate where the face is a still (default: 25)")
    out.add_argument(
        "--preview",
        type=cli.path,
        metavar="FILE.png",
        help="write faces of source and result there, in the first seconds that show one",
    )
    out.add_argument(
        "--lipgan_batch_size",
        type=cli.integer(1, MOST_FACES),
        default=BATCH_SIZE,
        help="faces that the generator is given at once",
    )


def _face_index(text):
    return text if text == "all" else cli.integer(0)(text)


def script() -> None:
    cli.run(main)
