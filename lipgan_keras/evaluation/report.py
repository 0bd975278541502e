"""The results of an evaluation as one HTML page, with a sheet for judging clips by hand.

    python -m lipgan_keras.report results/evaluation/first/results.json

The page holds everything it shows, clips included, and asks for nothing from anywhere (its content security policy
forbids it). Its address with `#judge` behind it is the judging sheet; `--sheet_only` writes that alone, for judges who
are not to see the results first.

The sheet shows pairs of a generated clip and the true one, in an order drawn anew for each judge, without names. For
each clip the judge gives 1 to 5 for sync, quality and overall, and then says which of the two is better. The answers
are kept in the browser and exported as CSV, which `python -m lipgan_keras.judging` reads; that makes sheets of several
systems, too. Both clips of a pair have the same height, frame rate and length. The page holds the names in a veiled
form only, against a glance at its source, not against effort.
"""

import base64
import hashlib
import json
import os
from pathlib import Path

from tqdm import tqdm

from ..utils import cli, errors, files, jsontext, kinds
from ..utils.cli import ArgumentParser
from ..utils.errors import UserError
from ..utils.kinds import Number
from ..utils.terminal import say
from . import config, jobs, judging_sheet, report_plots
from .report_clips import ClipCutter
from .report_plots import plots
from .report_text import cell, embedded_json, figure, finite, text

ASSETS = Path(__file__).parent.parent / "assets"
# Kinds of what the page needs of results.json; what is missing is left away
RESULTS = {
    "metrics": dict[str, jobs.ABOUT] | None,
    "videos": list[jobs.RECORD],
    "summary": dict[str, dict[str, Number | None]] | None,
    "set": dict[str, Number | None] | None,
    "missing": dict[str, str] | None,
    "settings": dict | None,
    "counts": dict[str, int] | None,
}
RANKED_BY = ("lip_mae", "lse_d", "lmd", "lmd_5", "psnr_mouth", "psnr")  # the first one that there is


def load(path: str | os.PathLike) -> dict:
    """The content of a results.json.

    Raises:
        UserError: no such file, not JSON, or not the results of an evaluation.
    """
    try:
        results = jsontext.read(path, finite=False)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; name the results.json that evaluate.py wrote") from None
    except UserError:
        raise
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path}: cannot be read as JSON ({error}); name the results.json that evaluate.py wrote"
        ) from error
    if not isinstance(results, dict) or not isinstance(results.get("videos"), list):
        raise UserError(f"{path}: is not the results of an evaluation; name the results.json that evaluate.py wrote")
    if results.get("version") != 1:
        raise UserError(
            f"{path}: is of version {results.get('version')}, only 1 is known; evaluate again with this release"
        )
    wrong = kinds.first_wrong(results, RESULTS)
    if wrong or not all({"name", "status"} <= set(video) for video in results["videos"]):
        raise UserError(f"{path}: does not hold what evaluate.py writes ({wrong}); was it edited? Evaluate again")
    return results


def write(
    results: dict,
    folder: str | os.PathLike,
    out: str | os.PathLike,
    *,
    cases: int = 3,
    pairs: int = 20,
    clip_seconds: float = 4.0,
    clip_size: int = 320,
    sheet_only: bool = False,
    progress: bool = False,
) -> None:
    """Write the page. A clip that cannot be made is said on it, and is no error.

    Args:
        results: what `load` gives.
        folder: where the results lie; paths in them are relative to it.
        out: the HTML file.
        cases: how many worst and how many best videos are shown.
        pairs: how many pairs the judging sheet has at most, drawn at random; 0: no sheet.
        clip_seconds: the length of a clip at most. Of a case it holds the worst frame, of a pair the middle.
        clip_size: the height of a clip in pixels at most. About 0.1 MB for each second and clip at 320.
        sheet_only: nothing but the judging sheet.

    Raises:
        UserError: the file cannot be written, or `sheet_only` and there is no pair to judge.
    """
    folder = Path(folder)
    clips: dict[str, str] = {}
    good = [v for v in results["videos"] if v["status"] == "ok"]
    with files.temporary_beside(f"{os.fspath(out)}.mp4") as scratch:
        cutter = ClipCutter(folder, scratch, clip_seconds, clip_size)
        system = judging_sheet.System(str(results.get("name") or ""), folder, {v["name"]: v for v in good})
        sheet, left_out = judging_sheet.build([system], cutter, clips, pairs, progress=progress)
        if sheet_only and not sheet["pairs"]:
            raise UserError(
                f"{out}: no pair to judge ({'; '.join(left_out) or 'nothing was measured'}); evaluate some videos first"
            )
        body = "" if sheet_only else _report(results, good, cutter, clips, cases, sheet, left_out, progress)
    title = "Judging sheet" if sheet_only else f"Lip-sync evaluation: {results.get('name') or 'results'}"
    write_page(out, title, body, sheet, clips)


def write_page(out: str | os.PathLike, title: str, body: str, sheet: dict, clips: dict[str, str]) -> None:
    """The whole page, which loads nothing and runs no script but its own."""
    page = _page(title, body, sheet, clips)
    with files.replacing(out) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="backslashreplace")  # file names may be no UTF-8


def _page(title, body, sheet, clips) -> str:
    script = (ASSETS / "report.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:; media-src blob:"
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{text(title)}</title>
<style>{(ASSETS / "report.css").read_text(encoding="utf-8")}</style>
</head>
<body>
<noscript><p class="said">Clips and the judging sheet need JavaScript, which is switched off.</p></noscript>
<main id="report">{body}</main>
<main id="judge" hidden></main>
<script type="application/json" id="sheet">{embedded_json(sheet)}</script>
<script type="application/json" id="clips">{embedded_json(clips)}</script>
<script>{script}</script>
</body>
</html>
"""


def _report(results, good, cutter, clips, cases, sheet, left_out, progress) -> str:
    described, counts = results.get("metrics") or {}, results.get("counts") or {}
    measured = {name: described[name] for name in config.shown(described)}
    failed = [v for v in results["videos"] if v["status"] != "ok"]
    noted = [v for v in results["videos"] if v.get("notes")]
    source = "source" if results.get("mode") == "filelist" else "truth"
    words = {
        "generated": "generated videos against the true ones",
        "checkpoint": "a checkpoint on held-out clips",
        "filelist": "videos given other sounds; the sources' mouths say something else",
    }.get(results.get("mode"), "")
    total = counts.get("pairs", len(results["videos"]))
    line = " · ".join(filter(None, [words, f"{len(good)} of {total} videos measured", str(results.get("tool") or "")]))
    judge = ""
    if sheet["pairs"]:
        judge = f'<a class="button" href="#judge">Judge {len(sheet["pairs"])} pairs by hand</a>'
    parts = [
        f"<header><div><h1>{text(results.get('name') or 'Lip-sync evaluation')}</h1><p>{text(line)}</p></div>"
        f"{judge}</header>"
    ]
    if failed:
        parts.append(
            f'<p class="said" role="status"><strong>{len(failed)} of {total} videos could not be measured</strong> '
            'and are in no mean: <a href="#failures">why</a>.</p>'
        )
    identity = (results.get("settings") or {}).get("identity")
    if identity:
        parts.append(f"<p>Identity: {text(identity)}</p>")
    parts += [_summary(results, measured), plots(results, measured, good)]
    parts += [_cases(measured, good, cutter, clips, cases, source, progress)]
    parts += [_failures(failed, noted, left_out), _all_videos(measured, good), _settings(results)]
    return "\n".join(filter(None, parts))


def _summary(results, measured):
    rows = []
    for name, metric in measured.items():
        whole = (results.get("set") or {}).get(name)
        summary = (results.get("summary") or {}).get(name) or {"mean": whole, "n": len(results["videos"])}
        arrow, better = report_plots.ARROWS.get(metric.get("better"), ("", ""))
        low, high = finite(summary.get("low")), finite(summary.get("high"))
        interval = "of the whole set" if whole is not None else "–"
        if low is not None and high is not None:
            interval = f"{figure(low)} to {figure(high)}"
        bounds = "".join(
            f"<td>{value}</td>"
            for value in (figure(summary.get("mean")), interval, "" if whole is not None else cell(summary.get("n")))
        )
        ends = [figure(end) if end is not None else "∞" for end in (metric.get("range") or [None, None])]
        ends[0] = "−∞" if ends[0] == "∞" else ends[0]
        rows.append(
            f'<tr><th scope="row">{text(metric.get("title") or name)} '
            f'<span class="arrow" aria-label="{better}" title="{better}">{arrow}</span></th>'
            f"{bounds}<td>{text(metric.get('unit') or '')}</td><td>{ends[0]} … {ends[1]}</td>"
            f'<td class="source">{text(metric.get("source") or "")}</td></tr>'
        )
    table = ""
    if rows:
        table = (
            '<div class="scroll whole" tabindex="0" role="region" aria-label="Summary table"><table><thead><tr>'
            + "".join(
                f'<th scope="col">{c}</th>' for c in ("Metric", "Mean", "95 % interval", "n", "Unit", "Range", "Source")
            )
            + f"</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
            '<p class="small">Intervals: bootstrap over videos. n: videos in which the measure is defined. '
            "↑ higher is better, ↓ lower is better.</p>"
        )
    missing = ""
    if results.get("missing"):
        names: dict[str, list[str]] = {}
        for name in config.shown(results["missing"]):
            names.setdefault(results["missing"][name], []).append(name)
        items = (f"<li><strong>{text(', '.join(of))}</strong>: {text(why)}</li>" for why, of in names.items())
        missing = f"<h3>Not measured</h3><ul>{''.join(items)}</ul>"
    return f"<section><h2>Summary</h2>{table or '<p>Nothing could be measured.</p>'}{missing}</section>"


def _cases(measured, good, cutter, clips, number, source, progress):
    ranked_by = next(
        (n for n in RANKED_BY if any(finite((v.get("values") or {}).get(n)) is not None for v in good)), None
    )
    if ranked_by is None or not number:
        return ""
    metric = measured.get(ranked_by, {"title": ranked_by, "better": "lower"})
    ranked = [v for v in good if finite((v.get("values") or {}).get(ranked_by)) is not None]
    ranked.sort(key=lambda v: v["values"][ranked_by], reverse=metric.get("better") != "higher")
    worst, best = ranked[: min(number, (len(ranked) + 1) // 2)], ranked[::-1][: min(number, len(ranked) // 2)]
    parts, bar = (
        [],
        tqdm(desc="cases", total=len(worst) + len(best), unit="video", disable=not progress, leave=False, delay=1),
    )
    for heading, entries in (("Worst", worst), ("Best", best)):
        cards = []
        for entry in entries:
            cards.append(_case(entry, measured, ranked_by, cutter, clips, source))
            bar.update()
        if cards:
            parts.append(
                f"<h3>{heading} by {text(metric.get('title') or ranked_by)}</h3>"
                f'<div class="cases">{"".join(cards)}</div>'
            )
    bar.close()
    return (
        f"<section><h2>Cases</h2><p>In each, {source} on the left and result on the right; "
        f"the sound is the result's.</p>{''.join(parts)}</section>"
    )


def _case(entry, measured, ranked_by, cutter, clips, source):
    name = text(entry["name"])
    head = f"<h4>{name}</h4>"
    try:
        paths = cutter.paths(entry)
        number = entry.get("worst_frame")
        still, time = cutter.stills(paths, number)
        key = f"case{sum(k.startswith('case') for k in clips)}"
        clips[key] = cutter.both(paths, cutter.span(paths, time), cutter.height(paths[1]))
    except (UserError, OSError) as error:
        shown = f'<p class="said">No clip: {text(errors.describe(error, entry["name"]))}</p>'
    else:
        what = f"frame {number}, of the largest lip error" if number is not None else "the middle frame"
        shown = (
            f'<figure><img src="data:image/jpeg;base64,{still}" '
            f'alt="{source.capitalize()} and result of {name}, {what}">'
            f"<figcaption>{source} | result: {what}, {time:.2f} s</figcaption></figure>"
            f'<figure><video data-clip="{key}" controls playsinline preload="metadata" '
            f'aria-label="{name}, {source} and result side by side"></video>'
            f"<figcaption>{source} | result, with sound</figcaption></figure>"
        )
    values = []
    of = entry.get("values") or {}
    for metric in config.shown(of):
        title = text((measured.get(metric) or {}).get("title") or metric)
        bold = ' class="ranked"' if metric == ranked_by else ""
        values.append(f"<div{bold}><dt>{title}</dt><dd>{figure(of[metric])}</dd></div>")
    notes = "".join(f'<p class="small">{text(note)}</p>' for note in entry.get("notes") or [])
    return f"<article>{head}{shown}<dl>{''.join(values)}</dl>{notes}</article>"


def _failures(failed, noted, left_out):
    parts = []
    if failed:
        rows = (
            f'<tr><th scope="row">{text(v["name"])}</th><td>{text(v.get("reason") or "no reason given")}</td></tr>'
            for v in failed
        )
        parts.append(
            f"<h2>Videos that could not be measured: {len(failed)}</h2>{_two_columns('Video', 'Reason', rows)}"
        )
    if noted:
        rows = (
            f'<tr><th scope="row">{text(v["name"])}</th><td>{text("; ".join(map(str, v["notes"])))}</td></tr>'
            for v in noted
        )
        parts.append(f"<h2>Videos with notes: {len(noted)}</h2>{_two_columns('Video', 'Note', rows)}")
    if left_out:
        items = "".join(f"<li>{text(reason)}</li>" for reason in left_out)
        parts.append(f"<h2>Left out of the judging sheet</h2><ul>{items}</ul>")
    return f'<section id="failures">{"".join(parts)}</section>' if parts else ""


def _two_columns(first, second, rows):
    head = f'<tr><th scope="col">{first}</th><th scope="col">{second}</th></tr>'
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{second}"><table><thead>{head}</thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _all_videos(measured, good):
    names = [n for n in measured if any(finite((v.get("values") or {}).get(n)) is not None for v in good)]
    if not names:
        return ""
    head = "".join(f'<th scope="col">{text(measured[n].get("title") or n)}</th>' for n in names)
    rows = []
    for entry in good:
        cells = "".join(f"<td>{figure((entry.get('values') or {}).get(n))}</td>" for n in names)
        frames, found = entry.get("frames"), entry.get("faces")
        rows.append(
            f'<tr><th scope="row">{text(entry["name"])}</th><td>{cell(frames)}</td><td>{cell(found)}</td>{cells}</tr>'
        )
    return (
        f"<section><details><summary>Every measured video: {len(good)}</summary>"
        '<div class="scroll" tabindex="0" role="region" aria-label="All videos"><table><thead><tr>'
        '<th scope="col">Video</th>'
        f'<th scope="col">Frames</th><th scope="col">With a face</th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div></details></section>"
    )


def _settings(results):
    rows = []
    for name, value in (results.get("settings") or {}).items():
        value = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        rows.append(f'<tr><th scope="row">{text(name)}</th><td>{text(value)}</td></tr>')
    if not rows:
        return ""
    return f"<section><details><summary>Settings</summary>{_two_columns('Setting', 'Value', rows)}</details></section>"


def add_clip_flags(parser: ArgumentParser) -> None:
    """How long and high clips are."""
    parser.add_argument(
        "--clip_seconds", type=cli.positive(cli.MOST_SECONDS), default=4.0, help="length of a clip, at most"
    )
    parser.add_argument(
        "--clip_size", type=cli.integer(16, cli.MOST_PIXELS), default=320, help="height of a clip in pixels, at most"
    )


def main() -> None:
    parser = ArgumentParser(prog="python -m lipgan_keras.report", description=__doc__.split("\n")[0])
    parser.add_argument("results", type=cli.path, metavar="results.json", help="what evaluate.py wrote")
    parser.add_argument(
        "--out",
        type=cli.path,
        help="HTML file to write (default: report.html beside the results; sheet.html with --sheet_only)",
    )
    parser.add_argument(
        "--cases",
        type=cli.integer(0, cli.MOST_AT_ONCE),
        default=3,
        help="how many worst and how many best videos to show",
    )
    parser.add_argument(
        "--pairs",
        type=cli.integer(0, cli.MOST_AT_ONCE),
        default=20,
        help="pairs on the judging sheet, at most; 0: no sheet",
    )
    add_clip_flags(parser)
    parser.add_argument(
        "--sheet_only", action="store_true", help="the judging sheet alone, for judges who are not to see the results"
    )
    args = parser.parse_args()
    folder = Path(args.results).parent
    out = Path(args.out or folder / ("sheet.html" if args.sheet_only else "report.html"))
    files.check_outfile(out, args.results, suffix=".html", mark=config.PAGE)
    options = {name: getattr(args, name) for name in ("cases", "pairs", "clip_seconds", "clip_size", "sheet_only")}
    write(load(args.results), folder, out, progress=True, **options)
    say(f"{out} ({out.stat().st_size / 1e6:.1f} MB)")
