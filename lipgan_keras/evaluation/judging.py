"""Judging clips by eye: a blind sheet of one system or of several, and what its answers say.

    python -m lipgan_keras.judging sheet first/results.json second/results.json --out sheet.html
    python -m lipgan_keras.judging summarise judge1.csv judge2.csv [--json scores.json]

The sheet is one HTML page for all judges. `evaluate.py` makes the results of each system, on the same videos.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from ..utils import cli, files, jsontext
from ..utils.cli import ArgumentParser
from ..utils.errors import UserError
from ..utils.terminal import say
from . import config, judging_sheet, mean_opinion, report
from .report_clips import ClipCutter


def write_sheet(
    paths: Sequence[str | os.PathLike],
    out: str | os.PathLike,
    *,
    pairs: int = 20,
    beside: Sequence[str] = judging_sheet.BESIDE,
    clip_seconds: float = 4.0,
    clip_size: int = 320,
    progress: bool = False,
) -> dict:
    """Write a page with nothing but a judging sheet of several systems.

    Args:
        paths: results.json of each system.
        out: the HTML file.
        pairs: trials, at most.
        beside: of `judging_sheet.BESIDE`: the true video, and its first frame, which stands still.
        clip_seconds, clip_size: see `report.write`.

    Returns:
        {"systems": names, "pairs": number of trials, "left_out": reasons}.

    Raises:
        UserError: a file holds no results, systems share no video, there is no truth, or nothing to compare.
    """
    results = [report.load(path) for path in paths]
    systems = judging_sheet.systems_of(paths, results)
    if "truth" in beside:
        for path, content in zip(paths, results, strict=True):
            if content.get("mode") == "filelist":
                raise UserError(
                    f"{path}: its videos were given other sounds, so that they have no truth; give --beside frozen"
                )
    if len(systems) + len(beside) < 2:
        raise UserError(f"{paths[0]}: one system alone cannot be compared; give another's results, or --beside truth")
    for path, system in zip(paths, systems, strict=True):
        if not system.videos:
            raise UserError(f"{path}: holds no video that could be measured; evaluate again")
    if not judging_sheet.in_common(systems):
        raise UserError(
            f"{paths[0]}: no video was measured for all {len(systems)} systems; evaluate each on the same videos"
        )
    clips: dict[str, str] = {}
    with files.temporary_beside(f"{os.fspath(out)}.mp4") as scratch:
        cutter = ClipCutter(systems[0].folder, scratch, clip_seconds, clip_size)
        sheet, left_out = judging_sheet.build(systems, cutter, clips, pairs, beside, progress)
    if not sheet["pairs"]:
        raise UserError(f"{out}: no pair to judge ({'; '.join(left_out)}); evaluate again")
    report.write_page(out, "Judging sheet", "", sheet, clips)
    return {
        "systems": [*beside, *(system.name for system in systems)],
        "pairs": len(sheet["pairs"]),
        "left_out": left_out,
    }


def main() -> None:
    parser = ArgumentParser(prog="python -m lipgan_keras.judging", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("sheet", help="a blind sheet of several systems beside truth and frozen mouth")
    _add_sheet_flags(command)
    command = commands.add_parser(
        "summarise", help="mean opinion scores and preferences, with intervals and the judges' agreement"
    )
    command.add_argument(
        "answers",
        type=cli.path,
        nargs="+",
        metavar="ANSWERS.csv",
        help="what the judging sheet exported, of one judge or several",
    )
    command.add_argument("--json", type=cli.path, help="file to write the scores to")
    args = parser.parse_args()
    if args.command == "sheet":
        _sheet(args)
    else:
        _summarise(args)


def _add_sheet_flags(command):
    command.add_argument(
        "results",
        type=cli.path,
        nargs="+",
        metavar="results.json",
        help="what evaluate.py wrote of each system, measured on the same videos",
    )
    command.add_argument("--out", type=cli.path, required=True, help="HTML file to write")
    command.add_argument(
        "--pairs",
        type=cli.integer(1, cli.MOST_AT_ONCE),
        default=20,
        help="pairs of clips that a judge sees, at most; each two of what is compared meet equally often",
    )
    command.add_argument(
        "--beside",
        type=str,
        nargs="*",
        choices=judging_sheet.BESIDE,
        default=list(judging_sheet.BESIDE),
        help="what stands beside the systems: the true video, and its first frame, which stands still",
    )
    report.add_clip_flags(command)


def _sheet(args):
    files.check_outfile(args.out, *args.results, suffix=".html", mark=config.PAGE)
    options = {name: getattr(args, name) for name in ("pairs", "clip_seconds", "clip_size")}
    made = write_sheet(args.results, args.out, beside=tuple(dict.fromkeys(args.beside)), progress=True, **options)
    say(f"{args.out}: {made['pairs']} pairs of {len(made['systems'])}: {', '.join(made['systems'])}")
    for reason in made["left_out"]:
        say(f"left out: {reason}")


def _summarise(args):
    if args.json:
        files.check_outfile(args.json, *args.answers, suffix=".json", mark=jsontext.with_keys("judges", "given_again"))
        files.check_writable(Path(args.json).parent)
    answers, again = mean_opinion.merge(answer for path in args.answers for answer in mean_opinion.read(path))
    summary = mean_opinion.summarise(answers) | {"given_again": again}
    number = len(summary["judges"])
    print(f"{number} judge{'s' * (number > 1)}, {summary['pairs']} pairs, {len(answers)} clips judged")
    if again:
        print(f"{again} answers were given again; the last one of each judge and clip counts")
    if summary["sheets"] > 1:
        print(f"{summary['sheets']} different sheets: the same pair on two of them counts as two pairs")
    if summary["unanswered"]:
        print(f"{summary['unanswered']} marks are missing, and left out of the means")
    if summary["contradicting"]:
        print(f"{summary['contradicting']} pairs have both clips preferred, or neither; such choices count for nothing")
    for line in mean_opinion.lines(summary):
        say(line)
    if args.json:
        with files.replacing(args.json) as temporary:
            temporary.write_text(json.dumps(summary, indent=2) + "\n")
