from ..inference import flags
from ..utils import cli, terminal
from ..utils.cli import ArgumentParser
from .show import live


def main() -> None:
    parser = ArgumentParser(
        prog="python -m lipgan_keras.live", description="Let a photo speak along with a sound as it comes in."
    )
    parser.add_argument(
        "--checkpoint_path",
        type=cli.path,
        help="generator, of train.py or of the original LipGAN (default: the one that ships)",
    )
    parser.add_argument(
        "--face", type=cli.existing, required=True, help="picture of the face, or a video that shows one"
    )
    parser.add_argument(
        "--audio",
        type=cli.path,
        default="-",
        help="-: raw 16 kHz signed 16-bit little-endian mono PCM on standard input; or a file, played in its time",
    )
    parser.add_argument(
        "--sink",
        type=cli.path,
        default="window",
        help="window, an MP4 file, or - for raw video (YUV4MPEG2) on standard output",
    )
    flags.add_face_flags(parser)
    args = parser.parse_args()
    flags.start_detector(args.face, args.engine, args.box)
    if args.plugin:
        from .. import blocks

        blocks.load_plugin(args.plugin)
    summary = live(
        args.checkpoint_path,
        args.face,
        args.audio,
        args.sink,
        args.pads,
        args.box,
        args.region,
        args.sharpen,
        args.engine,
        args.audio_offset_ms,
        args.label,
    )
    terminal.say(*str(summary).split("\n"), error=args.sink == "-")


if __name__ == "__main__":
    cli.run(main)
