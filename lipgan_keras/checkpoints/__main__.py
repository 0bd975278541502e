from __future__ import annotations

import dataclasses
import json
import os

from ..utils import cli
from ..utils.cli import ArgumentParser
from ..utils.terminal import say
from . import check_out, export, load_generator, read_config, read_split, save_checkpoint


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
    slim = commands.add_parser("export", help="write the generator alone, for inference")
    slim.add_argument("file", type=cli.path)
    slim.add_argument("out", type=cli.path)
    slim.add_argument("--float16", action="store_true", help="in half precision, compressed")
    slim.add_argument("--sync", action="store_true", help="and the lip-sync discriminator")
    for command in (convert, slim):
        cli.add_plugin_flag(command)
    args = parser.parse_args()
    if getattr(args, "plugin", None):
        from .. import blocks

        blocks.load_plugin(args.plugin)
    if args.command == "info":
        print(json.dumps(dataclasses.asdict(read_config(args.file)), indent=2))
        return
    check_out(args.out, args.file, args.plugin)
    if args.command == "export":
        config = export(args.file, args.out, args.float16, args.sync)
        say(f"{args.out}: {config}, {os.path.getsize(args.out) / 2**20:.1f} MiB")
    else:
        model, config = load_generator(args.file, args.audio_offset_ms)
        save_checkpoint(args.out, {"generator": model}, config, split=read_split(args.file))
        say(f"{args.out}: {config}, {config.alignment} windows, audio offset {config.audio_offset_ms:g} ms")


if __name__ == "__main__":
    cli.run(main)
