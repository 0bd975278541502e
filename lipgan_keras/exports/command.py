"""The flags of `python -m lipgan_keras.checkpoints`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from .. import checkpoints
from ..utils import cli
from ..utils.cli import ArgumentParser
from ..utils.terminal import say

OWN, PRESET = "h5", "preset"
OTHERS = ("keras", "savedmodel", "openvino", "onnx", "litert")


def main() -> None:
    parser = ArgumentParser(prog="lipgan_keras.checkpoints", description="Show, convert or export a checkpoint.")
    commands = parser.add_subparsers(dest="command", required=True)
    info = commands.add_parser("info", help="print a checkpoint's configuration")
    info.add_argument("file", type=cli.path)
    convert = commands.add_parser("convert", help="write a generator as a checkpoint of this project")
    convert.add_argument("file", type=cli.path)
    convert.add_argument("out", type=cli.path)
    convert.add_argument(
        "--audio_offset_ms", type=cli.limited("audio_offset_ms"), help="kept in the file; positive is a later window"
    )
    slim = commands.add_parser("export", help="write the generator alone, for inference or for other programs")
    slim.add_argument("file", type=cli.path)
    slim.add_argument("out", type=cli.path)
    slim.add_argument(
        "--format",
        choices=[OWN, PRESET, *OTHERS],
        default=OWN,
        help="h5: a checkpoint of this project; preset: a folder for LipSync.from_preset; others: for other programs, "
        "with a JSON file that says how to use them, see docs/exports.md",
    )
    slim.add_argument("--float16", action="store_true", help="of h5: in half precision, compressed")
    slim.add_argument("--sync", action="store_true", help="of h5: and the lip-sync discriminator")
    for command in (convert, slim):
        cli.add_plugin_flag(command)
    args = parser.parse_args()
    if args.command == "export":
        _check(slim, args)
    if getattr(args, "plugin", None):
        from .. import blocks

        blocks.load_plugin(args.plugin)
    if args.command == "info":
        print(json.dumps(dataclasses.asdict(checkpoints.read_config(args.file)), indent=2))
    elif args.command == "convert":
        checkpoints.check_out(args.out, args.file, args.plugin)
        model, config = checkpoints.load_generator(args.file, args.audio_offset_ms)
        split = checkpoints.read_split(args.file)
        checkpoints.save_checkpoint(args.out, {"generator": model}, config, split=split)
        say(f"{args.out}: {config}, {config.alignment} windows, audio offset {config.audio_offset_ms:g} ms")
    else:
        _export(args)


def _check(parser, args):
    """Refuse flags that do not go together."""
    for name in ("float16", "sync"):
        if getattr(args, name) and args.format != OWN:
            parser.error(f"--{name}: is for --format {OWN} alone; leave one of the two away")


def _export(args):
    checkpoints.read_config(args.file)  # refuses what is none before Keras is loaded
    if args.format == OWN:
        checkpoints.check_out(args.out, args.file, args.plugin)
        config, made = checkpoints.export(args.file, args.out, args.float16, args.sync), [Path(args.out)]
    elif args.format == PRESET:
        config, made = checkpoints.save_preset(args.file, args.out), [Path(args.out)]
    else:
        from . import writer

        made = writer.export(args.file, args.out, args.format, args.plugin)
        config = checkpoints.read_config(args.file)
    size = sum(path.stat().st_size for path in {path for place in made for path in _files(place)})
    beside = f"; {made[-1]} says how to use it" if len(made) > 1 else ""
    say(f"{args.out}: {config}, {size / 2**20:.1f} MiB{beside}")


def _files(place):
    return [path for path in place.rglob("*") if path.is_file()] if place.is_dir() else [place]
