"""The results of an evaluation as one HTML page, with a sheet for judging clips by hand.

    python -m lipgan_keras.report results/evaluation/first/results.json

The page holds everything it shows, clips included, and asks for nothing from anywhere (its content security policy
forbids it). Its address with `#judge` behind it is the judging sheet; `--sheet_only` writes that alone, for judges who
are not to see the results first.

The sheet shows pairs of a generated clip and the true one, in an order and on sides drawn anew for each judge, without
names. For each clip the judge gives 1 to 5 for sync, quality and overall. The answers are kept in the browser and
exported as CSV, which `python -m lipgan_keras.judging` reads. Both clips of a pair have the same height, frame rate and
length. The page holds the names in a veiled form only, against a glance at its source, not against effort.
"""

import base64
import functools
import hashlib
import html
import json
import math
import os
import tempfile
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from . import audio, cli, judging, metrics, video
from .cli import UserError

ASSETS = Path(__file__).parent / "assets"
RANKED_BY = ("lip_mae", "lse_d", "lmd", "lmd_5", "psnr_mouth", "psnr")  # the first one that there is
STILL_SIZE = 480  # pixels, the largest height of a still
MOST_LINES = 60  # single videos drawn in one plot
FASTEST = 30  # frames a second of a clip, at most
ARROWS = {"higher": ("↑", "higher is better"), "lower": ("↓", "lower is better"), None: ("", "")}


def load(path: str | os.PathLike) -> dict:
    """The content of a results.json.

    Raises:
        UserError: no such file, not JSON, or not the results of an evaluation.
    """
    try:
        results = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; name the results.json that evaluate.py wrote") from None
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
    if not _is_sound(results):
        raise UserError(f"{path}: does not hold what evaluate.py writes; was it edited? Evaluate again")
    return results


def _is_sound(results: dict) -> bool:
    """Whether all is of the kind that the page expects."""

    def holds(value, *kinds):
        """A dict, or nothing; its values are of these kinds."""
        return value is None or (
            isinstance(value, dict) and (not kinds or all(isinstance(v, kinds) for v in value.values()))
        )

    def curve(values):
        return values is None or (isinstance(values, list) and len(values) == 31)

    none = type(None)
    tables = (
        ("metrics", (dict,)),
        ("summary", (dict,)),
        ("set", (int, float, none)),
        ("missing", (str,)),
        ("settings", ()),
        ("counts", (int,)),
    )
    if not all(holds(results.get(name), *kinds) for name, kinds in tables):
        return False
    return all(
        isinstance(v, dict)
        and isinstance(v.get("name"), str)
        and v.get("status") in ("ok", "failed")
        and isinstance(v.get("worst_frame"), int | none)
        and isinstance(v.get("notes"), list | none)
        and holds(v.get("values"), int, float, none)
        and holds(v.get("files"), str)
        and holds(v.get("curves"))
        and curve((v.get("curves") or {}).get("lse_distances"))
        and holds((v.get("curves") or {}).get("lip_error_by_shift"), int, float, none)
        for v in results["videos"]
    )


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
    with tempfile.TemporaryDirectory() as scratch:
        cutter = _Cutter(folder, Path(scratch) / "clip.mp4", clip_seconds, clip_size)
        sheet, left_out = _sheet(results, good, cutter, clips, pairs, progress)
        if sheet_only and not sheet["pairs"]:
            raise UserError(
                f"{out}: no pair to judge ({'; '.join(left_out) or 'nothing was measured'}); evaluate some videos first"
            )
        body = "" if sheet_only else _report(results, good, cutter, clips, cases, sheet, left_out, progress)
    title = "Judging sheet" if sheet_only else f"Lip-sync evaluation: {results.get('name') or 'results'}"
    script = (ASSETS / "report.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:; media-src blob:"
    )
    page = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{_text(title)}</title>
<style>{(ASSETS / "report.css").read_text(encoding="utf-8")}</style>
</head>
<body>
<noscript><p class="said">Clips and the judging sheet need JavaScript, which is switched off.</p></noscript>
<main id="report">{body}</main>
<main id="judge" hidden></main>
<script type="application/json" id="sheet">{_json(sheet)}</script>
<script type="application/json" id="clips">{_json(clips)}</script>
<script>{script}</script>
</body>
</html>
"""
    with cli.replacing(out) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="backslashreplace")  # file names may be no UTF-8


# ---------------------------------------------------------------------------------------------------------------------
# Clips and stills


class _Cutter:
    """Cuts small clips and stills out of a pair of videos."""

    def __init__(self, folder: Path, scratch: Path, seconds: float, size: int):
        self._folder, self._scratch, self._seconds, self._size = folder, scratch, seconds, size
        self._probe = functools.lru_cache(maxsize=4)(video.probe)

    def paths(self, entry: dict) -> list[Path]:
        """Of the true and of the generated video."""
        files = entry.get("files") or {}
        if not files.get("truth") or not files.get("generated"):
            raise UserError(f"{entry['name']}: the results name no files of it; evaluate again")
        return [self._folder / files[side] for side in ("truth", "generated")]

    def span(self, paths: list[Path], middle: float | None = None) -> tuple[float, float, float]:
        """(first second, seconds, frames a second) of the clip around `middle`, in what both videos have."""
        infos = [self._probe(path) for path in paths]
        end = min(info.duration for info in infos)
        seconds = min(self._seconds, end)
        start = min(max((end / 2 if middle is None else middle) - seconds / 2, 0), end - seconds)
        return start, seconds, min(infos[1].fps, FASTEST)

    def single(self, path: Path, other: Path, span: tuple, height: int) -> str:
        """A clip as base64, with its own sound, or the other video's where it has none."""
        return self._encode([path], [path, other], span, height)

    def both(self, paths: list[Path], span: tuple, height: int) -> str:
        """The true one on the left, the generated one with its sound on the right."""
        return self._encode(paths, paths[::-1], span, height)

    def height(self, path: Path, most: int | None = None) -> int:
        """Of its clip, in pixels: even, and never larger than the video."""
        return max(16, min(most or self._size, self._probe(path).height) // 2 * 2)

    def _encode(self, pictures, sounds, span, height):
        start, seconds, fps = span
        wave = next((wave for path in sounds if (wave := self._sound(path, start, seconds)) is not None), None)
        times = start + np.arange(max(1, round(seconds * fps))) / fps
        writer = None
        try:
            for i, images in enumerate(zip(*(_shown(path, times) for path in pictures), strict=False)):
                image = np.hstack(
                    [self._scaled(image, path, height) for image, path in zip(images, pictures, strict=True)]
                )
                if writer is None:
                    sound = {} if wave is None else {"audio": (wave, audio.SAMPLE_RATE), "duration": len(times) / fps}
                    writer = video.VideoWriter(self._scratch, image.shape[1], image.shape[0], fps, crf=23, **sound)
                writer.write(image, i / fps, 1 / fps)
        finally:
            if writer is not None:
                writer.close()
        data = base64.b64encode(self._scratch.read_bytes()).decode()
        self._scratch.unlink()
        return data

    def stills(self, paths: list[Path], number: int | None) -> tuple[str, float]:
        """Frame `number` of the generated video (None: the middle one) beside the true one: a JPEG as base64,
        and its time.
        """
        time, duration = 0.0, self._probe(paths[1]).duration
        for i, frame in enumerate(video.read_frames(paths[1])):
            time, image = frame.time, frame.image
            if i == number or (number is None and time >= duration / 2):
                break
        height = self.height(paths[1], STILL_SIZE)
        # As `measuring.pairs` has it
        truth = next(iter(_shown(paths[0], np.array([time + frame.duration / 2 - 0.003]))))
        pair = np.hstack([self._scaled(truth, paths[0], height), self._scaled(image, paths[1], height)])
        return base64.b64encode(cv2.imencode(".jpg", pair, [cv2.IMWRITE_JPEG_QUALITY, 88])[1].tobytes()).decode(), time

    def _scaled(self, image, path, height):
        """In square pixels."""
        width = image.shape[1] * self._probe(path).sample_aspect_ratio
        width = max(16, round(float(width) * height / image.shape[0]) // 2 * 2)
        if image.shape[:2] == (height, width):
            return image
        return cv2.resize(
            image, (width, height), interpolation=cv2.INTER_AREA if height < image.shape[0] else cv2.INTER_CUBIC
        )

    def _sound(self, path, start, seconds):
        if not self._probe(path).has_audio:
            return None
        try:
            wave = audio.load_audio(path, start + seconds)[round(start * audio.SAMPLE_RATE) :]
        except UserError:
            return None
        return wave if len(wave) else None


def _shown(path, times):
    """The picture that a video shows at each of the rising times; before its first and after its last one, that one."""
    frames = video.read_frames(path, max(0.0, times[0] - 1))
    held = next(frames, None)
    if held is None:
        raise UserError(f"{path}: has no picture at {times[0]:.2f} s; is it the file that was measured?")
    coming = next(frames, None)
    for time in times:
        while coming is not None and coming.time <= time + 1e-3:
            held, coming = coming, next(frames, None)
        yield held.image


# ---------------------------------------------------------------------------------------------------------------------
# The judging sheet


def _sheet(results, good, cutter, clips, number, progress):
    """What the page's script needs, with the clips put into `clips`; and the reasons for pairs left out."""
    rng = np.random.default_rng(0)
    chosen = sorted(rng.permutation(len(good))[:number])
    names, left_out = [], []
    for i in tqdm(chosen, "clips to judge", unit="pair", disable=not progress, leave=False, delay=1):
        entry = good[i]
        try:
            paths = cutter.paths(entry)
            span, height = cutter.span(paths), cutter.height(paths[1])
            made = [cutter.single(path, other, span, height) for path, other in (paths, paths[::-1])]
        except (UserError, OSError) as error:
            left_out.append(_reason(error))
            continue
        names.append((entry["name"], made))
    identity = hashlib.sha256(json.dumps([results.get("name"), names]).encode()).hexdigest()[:12]
    pairs, key = [], {}
    for i in rng.permutation(len(names)):
        name, made = names[i]
        swapped = bool(rng.integers(2))
        token = rng.bytes(6).hex()
        clips[f"{token}0"], clips[f"{token}1"] = made[::-1] if swapped else made
        pairs.append(token)
        key[token] = [name, *(["generated", "truth"] if swapped else ["truth", "generated"])]
    known = json.dumps({"system": str(results.get("name") or ""), "clips": key}, ensure_ascii=False).encode(
        "utf-8", "backslashreplace"
    )
    veil = identity.encode()
    return {
        "id": identity,
        "pairs": pairs,
        "key": base64.b64encode(bytes(b ^ veil[i % len(veil)] for i, b in enumerate(known))).decode(),
        "of": len(good),
        "questions": judging.QUESTIONS,
        "columns": judging.COLUMNS,
        "scale": judging.SCALE,
    }, left_out


# ---------------------------------------------------------------------------------------------------------------------
# The page


def _report(results, good, cutter, clips, cases, sheet, left_out, progress) -> str:
    measured, counts = results.get("metrics") or {}, results.get("counts") or {}
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
        f"<header><div><h1>{_text(results.get('name') or 'Lip-sync evaluation')}</h1><p>{_text(line)}</p></div>"
        f"{judge}</header>"
    ]
    if failed:
        parts.append(
            f'<p class="said" role="status"><strong>{len(failed)} of {total} videos could not be measured</strong> '
            'and are in no mean: <a href="#failures">why</a>.</p>'
        )
    identity = (results.get("settings") or {}).get("identity")
    if identity:
        parts.append(f"<p>Identity: {_text(identity)}</p>")
    parts += [_summary(results, measured), _plots(results, measured, good)]
    parts += [_cases(measured, good, cutter, clips, cases, source, progress)]
    parts += [_failures(failed, noted, left_out), _all_videos(measured, good), _settings(results)]
    return "\n".join(filter(None, parts))


def _summary(results, measured):
    rows = []
    for name, metric in measured.items():
        whole = (results.get("set") or {}).get(name)
        summary = (results.get("summary") or {}).get(name) or {"mean": whole, "n": len(results["videos"])}
        arrow, better = ARROWS.get(metric.get("better"), ("", ""))
        low, high = _finite(summary.get("low")), _finite(summary.get("high"))
        interval = "of the whole set" if whole is not None else "–"
        if low is not None and high is not None:
            interval = f"{_figure(low)} to {_figure(high)}"
        bounds = "".join(
            f"<td>{value}</td>"
            for value in (_figure(summary.get("mean")), interval, "" if whole is not None else _cell(summary.get("n")))
        )
        ends = [_figure(end) if end is not None else "∞" for end in (metric.get("range") or [None, None])]
        ends[0] = "−∞" if ends[0] == "∞" else ends[0]
        rows.append(
            f'<tr><th scope="row">{_text(metric.get("title") or name)} '
            f'<span class="arrow" aria-label="{better}" title="{better}">{arrow}</span></th>'
            f"{bounds}<td>{_text(metric.get('unit') or '')}</td><td>{ends[0]} … {ends[1]}</td>"
            f'<td class="source">{_text(metric.get("source") or "")}</td></tr>'
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
        for name, why in results["missing"].items():
            names.setdefault(why, []).append(name)
        items = (f"<li><strong>{_text(', '.join(of))}</strong>: {_text(why)}</li>" for why, of in names.items())
        missing = f"<h3>Not measured</h3><ul>{''.join(items)}</ul>"
    return f"<section><h2>Summary</h2>{table or '<p>Nothing could be measured.</p>'}{missing}</section>"


def _plots(results, measured, good):
    figures = []
    curves = [v.get("curves") or {} for v in good]
    distances = [c["lse_distances"] for c in curves if c.get("lse_distances")]
    if distances:
        shifts = list(range(-(len(distances[0]) // 2), len(distances[0]) // 2 + 1))
        figures.append(
            _lines(
                "Mean SyncNet distance by shift",
                shifts,
                distances,
                "shift of the sound in frames",
                "distance",
                ticks=(-15, -10, -5, 0, 5, 10, 15),
                note="A clear minimum at 0: the lips move with the sound. Flat: they do not.",
            )
        )
    errors = [
        c["lip_error_by_shift"] | {"another's": c.get("lip_error_other_sound")}
        for c in curves
        if c.get("lip_error_by_shift")
    ]
    if errors:
        shifts = sorted(
            {s for e in errors for s in e if e[s] is not None},
            key=lambda s: (not _whole(s), int(s) if _whole(s) else 0, s),
        )
        figures.append(
            _lines(
                "Lip error by shift of the sound",
                shifts,
                [[e.get(s) for s in shifts] for e in errors],
                "sound shifted by so many frames, or another clip's",
                "lip error",
                note="Level: the generator does not listen to the sound.",
            )
        )
    shares = [v for entry in good if (v := _finite((entry.get("values") or {}).get("lip_share"))) is not None]
    if shares:
        figures.append(_share(shares))
    for name, metric in measured.items():
        values = [v for entry in good if (v := _finite((entry.get("values") or {}).get(name))) is not None]
        if values:
            figures.append(_histogram(metric.get("title") or name, values, metric))
    return f'<section><h2>Plots</h2><div class="plots">{"".join(figures)}</div></section>' if figures else ""


def _cases(measured, good, cutter, clips, number, source, progress):
    ranked_by = next(
        (n for n in RANKED_BY if any(_finite((v.get("values") or {}).get(n)) is not None for v in good)), None
    )
    if ranked_by is None or not number:
        return ""
    metric = measured.get(ranked_by, {"title": ranked_by, "better": "lower"})
    ranked = [v for v in good if _finite((v.get("values") or {}).get(ranked_by)) is not None]
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
                f"<h3>{heading} by {_text(metric.get('title') or ranked_by)}</h3>"
                f'<div class="cases">{"".join(cards)}</div>'
            )
    bar.close()
    return (
        f"<section><h2>Cases</h2><p>In each, {source} on the left and result on the right; "
        f"the sound is the result's.</p>{''.join(parts)}</section>"
    )


def _case(entry, measured, ranked_by, cutter, clips, source):
    name = _text(entry["name"])
    head = f"<h4>{name}</h4>"
    try:
        paths = cutter.paths(entry)
        number = entry.get("worst_frame")
        still, time = cutter.stills(paths, number)
        key = f"case{sum(k.startswith('case') for k in clips)}"
        clips[key] = cutter.both(paths, cutter.span(paths, time), cutter.height(paths[1]))
    except (UserError, OSError) as error:
        shown = f'<p class="said">No clip: {_text(_reason(error))}</p>'
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
    for metric, value in (entry.get("values") or {}).items():
        title = _text((measured.get(metric) or {}).get("title") or metric)
        bold = ' class="ranked"' if metric == ranked_by else ""
        values.append(f"<div{bold}><dt>{title}</dt><dd>{_figure(value)}</dd></div>")
    notes = "".join(f'<p class="small">{_text(note)}</p>' for note in entry.get("notes") or [])
    return f"<article>{head}{shown}<dl>{''.join(values)}</dl>{notes}</article>"


def _failures(failed, noted, left_out):
    parts = []
    if failed:
        rows = (
            f'<tr><th scope="row">{_text(v["name"])}</th><td>{_text(v.get("reason") or "no reason given")}</td></tr>'
            for v in failed
        )
        parts.append(
            f"<h2>Videos that could not be measured: {len(failed)}</h2>{_two_columns('Video', 'Reason', rows)}"
        )
    if noted:
        rows = (
            f'<tr><th scope="row">{_text(v["name"])}</th><td>{_text("; ".join(map(str, v["notes"])))}</td></tr>'
            for v in noted
        )
        parts.append(f"<h2>Videos with notes: {len(noted)}</h2>{_two_columns('Video', 'Note', rows)}")
    if left_out:
        items = "".join(f"<li>{_text(reason)}</li>" for reason in left_out)
        parts.append(f"<h2>Left out of the judging sheet</h2><ul>{items}</ul>")
    return f'<section id="failures">{"".join(parts)}</section>' if parts else ""


def _two_columns(first, second, rows):
    head = f'<tr><th scope="col">{first}</th><th scope="col">{second}</th></tr>'
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{second}"><table><thead>{head}</thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _all_videos(measured, good):
    names = [n for n in measured if any(_finite((v.get("values") or {}).get(n)) is not None for v in good)]
    if not names:
        return ""
    head = "".join(f'<th scope="col">{_text(measured[n].get("title") or n)}</th>' for n in names)
    rows = []
    for entry in good:
        cells = "".join(f"<td>{_figure((entry.get('values') or {}).get(n))}</td>" for n in names)
        frames, found = entry.get("frames"), entry.get("faces")
        rows.append(
            f'<tr><th scope="row">{_text(entry["name"])}</th><td>{_cell(frames)}</td><td>{_cell(found)}</td>'
            f"{cells}</tr>"
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
        rows.append(f'<tr><th scope="row">{_text(name)}</th><td>{_text(value)}</td></tr>')
    if not rows:
        return ""
    return f"<section><details><summary>Settings</summary>{_two_columns('Setting', 'Value', rows)}</details></section>"


# ---------------------------------------------------------------------------------------------------------------------
# Plots, in SVG

_W, _H = 360, 210  # of a plot
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 18, 12, 40  # margins


def _figure_of(title, drawn, caption, note=""):
    """A plot with its title and, for those who do not see it, what it shows."""
    return (
        f'<figure class="plot"><figcaption><strong>{_text(title)}</strong><span>{_text(caption)}</span></figcaption>'
        f'<svg viewBox="0 0 {_W} {_H}" role="img" aria-label="{_text(f"{title}: {caption}")}">{drawn}</svg>'
        + (f'<p class="small">{_text(note)}</p>' if note else "")
        + "</figure>"
    )


class _Axes:
    """Maps values to pixels, and draws the frame of a plot."""

    def __init__(self, x: tuple[float, float], y: tuple[float, float]):
        self._x, self._y = x, y

    def x(self, value):
        low, high = self._x
        return _LEFT + (value - low) / (high - low) * (_W - _LEFT - _RIGHT)

    def y(self, value):
        low, high = self._y
        return _H - _BOTTOM - (value - low) / (high - low) * (_H - _TOP - _BOTTOM)

    def frame(self, x_ticks, y_ticks, x_label, y_label=""):
        """Ticks are [(value, label)]."""
        parts = []
        for value, label in y_ticks:
            y = self.y(value)
            parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_W - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_text(label)}</text>')
        for value, label in x_ticks:
            parts.append(
                f'<text x="{self.x(value):.1f}" y="{_H - _BOTTOM + 16}" text-anchor="middle">{_text(label)}</text>'
            )
        parts.append(f'<line class="axis" x1="{_LEFT}" x2="{_W - _RIGHT}" y1="{_H - _BOTTOM}" y2="{_H - _BOTTOM}"/>')
        parts.append(f'<text x="{(_LEFT + _W - _RIGHT) / 2}" y="{_H - 6}" text-anchor="middle">{_text(x_label)}</text>')
        if y_label:
            middle = (_TOP + _H - _BOTTOM) / 2
            parts.append(
                f'<text transform="translate(10 {middle}) rotate(-90)" text-anchor="middle">{_text(y_label)}</text>'
            )
        return "".join(parts)

    def path(self, points, kind):
        points = [(self.x(x), self.y(y)) for x, y in points if y is not None]
        drawn = " ".join(f"{'L' if i else 'M'}{x:.1f} {y:.1f}" for i, (x, y) in enumerate(points))
        return f'<path class="{kind}" d="{drawn}"/>'


def _ticks(low, high, number=4):
    """Round values from low to high, and their labels."""
    power = math.floor(math.log10((high - low) / number))
    factor = next((f for f in (1, 2, 2.5, 5) if (high - low) / (f * 10.0**power) <= number + 1), 10)
    step = factor * 10.0**power
    values = np.arange(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1) * step
    digits = max(0, -power + (factor == 2.5) - (factor == 10))
    return [(float(v), f"{v + 0.0:.{digits}f}") for v in values]


def _spread(values, share=0.06):
    """Limits a little wider than the values."""
    low, high = min(values), max(values)
    margin = (high - low) * share or max(abs(high), 1e-3) * 0.1
    return low - margin, high + margin


def _histogram(title, values, metric):
    mean = float(np.mean(values))
    edges = np.array(_spread([mean]))
    if max(values) - min(values) > 1e-9 * max(1e-9, abs(mean)):
        edges = np.linspace(min(values), max(values), int(np.clip(np.ceil(2 * len(values) ** (1 / 3)), 4, 24)) + 1)
    counts, _ = np.histogram(values, edges)
    axes = _Axes(_spread(edges, 0.03), (0, counts.max() * 1.08))
    most = int(counts.max())
    step = max(1, math.ceil(most / 4))
    unit = metric.get("unit") or ""
    parts = [axes.frame(_ticks(edges[0], edges[-1]), [(v, str(v)) for v in range(0, most + 1, step)], unit, "videos")]
    for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True):
        if count:
            x, y = axes.x(low), axes.y(count)
            said = f"{count} of {len(values)}: {_figure(low)} to {_figure(high)}"
            parts.append(
                f'<rect class="bar" x="{x + 0.75:.1f}" y="{y:.1f}" width="{max(1, axes.x(high) - x - 1.5):.1f}" '
                f'height="{_H - _BOTTOM - y:.1f}"><title>{said}</title></rect>'
            )
    parts.append(
        f'<line class="mean" x1="{axes.x(mean):.1f}" x2="{axes.x(mean):.1f}" y1="{_TOP}" y2="{_H - _BOTTOM}"/>'
    )
    caption = f"mean {_figure(mean)} (line), {_figure(min(values))} to {_figure(max(values))}, {len(values)} videos"
    arrow = ARROWS.get(metric.get("better"), ("", ""))[0]
    return _figure_of(f"{title} {arrow}".strip(), "".join(parts), caption)


def _lines(title, xs, rows, x_label, y_label, ticks=None, note=""):
    """A faint line for each video, and the mean of all with its interval. `rows` may hold None."""
    table = np.array([[math.nan if (v := _finite(value)) is None else v for value in row] for row in rows])
    there = np.isfinite(table).any(axis=0)
    places = np.array(xs, float) if ticks else np.arange(len(xs), dtype=float)
    means, lows, highs = (np.full(len(xs), math.nan) for _ in range(3))
    for i in np.flatnonzero(there):
        column = table[:, i][np.isfinite(table[:, i])]
        means[i] = column.mean()
        lows[i], highs[i] = metrics.bootstrap_interval(column) if len(column) > 1 else (means[i], means[i])
    if not there.any():
        return ""
    drawn = table[:MOST_LINES]
    axes = _Axes(_spread(places, 0.04), _spread([*drawn[np.isfinite(drawn)], *lows[there], *highs[there]]))
    low, high = _spread([*drawn[np.isfinite(drawn)], *lows[there], *highs[there]])
    x_ticks = (
        [(v, str(v)) for v in ticks if min(xs) <= v <= max(xs)]
        if ticks
        else list(zip(places, map(str, xs), strict=True))
    )
    parts = [axes.frame(x_ticks, _ticks(low, high), x_label, y_label)]
    parts += [
        axes.path([(x, _finite(y)) for x, y in zip(places, row, strict=False)], "one")
        for row in drawn
        if len(table) > 1
    ]
    band = [*zip(places[there], lows[there], strict=True), *zip(places[there][::-1], highs[there][::-1], strict=True)]
    parts += [axes.path(band, "band"), axes.path(list(zip(places[there], means[there], strict=True)), "line")]
    for x, mean, label in zip(places[there], means[there], np.array(xs, object)[there], strict=True):
        parts.append(
            f'<circle class="dot" cx="{axes.x(x):.1f}" cy="{axes.y(mean):.1f}" r="3">'
            f"<title>{_text(label)}: {_figure(mean)}</title></circle>"
        )
    best = int(np.nanargmin(means))
    caption = f"mean of {len(table)} videos and its 95 % interval; smallest, {_figure(means[best])}, at {xs[best]}"
    return _figure_of(title, "".join(parts), caption, note)


def _share(values):
    """How much of the L1 error lies in the lips: a dot for each video, the mean and its interval."""
    mean = float(np.mean(values))
    low, high = metrics.bootstrap_interval(values) if len(values) > 1 else (mean, mean)
    top = max(0.1, math.ceil(max(values) * 10) / 10)
    axes = _Axes((0, top), (0, 1))
    parts = [
        axes.frame([(v, f"{100 * v:.0f} %") for v, _ in _ticks(0, top, 5)], [], "share of the lips in the L1 loss")
    ]
    bar, thick = axes.y(0.78), 34
    parts.append(
        f'<rect class="rest" x="{_LEFT}" y="{bar:.1f}" width="{axes.x(top) - _LEFT:.1f}" height="{thick}">'
        "<title>elsewhere</title></rect>"
    )
    parts.append(
        f'<rect class="bar" x="{_LEFT}" y="{bar:.1f}" width="{axes.x(mean) - _LEFT:.1f}" height="{thick}">'
        f"<title>lips: {100 * mean:.1f} %</title></rect>"
    )
    parts.append(
        f'<line class="mean" x1="{axes.x(low):.1f}" x2="{axes.x(high):.1f}" '
        f'y1="{bar + thick / 2:.1f}" y2="{bar + thick / 2:.1f}"/>'
    )
    heights = 0.1 + 0.3 * np.random.default_rng(0).random(len(values))
    for value, height in zip(values, heights, strict=True):
        parts.append(
            f'<circle class="one-dot" cx="{axes.x(value):.1f}" cy="{axes.y(height):.1f}" r="3">'
            f"<title>{100 * value:.1f} %</title></circle>"
        )
    caption = f"mean {100 * mean:.1f} % (bar; line: 95 % interval), {len(values)} videos (dots)"
    return _figure_of("Loss share of the lips", "".join(parts), caption)


# ---------------------------------------------------------------------------------------------------------------------


def _finite(value):
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _whole(text):
    return str(text).lstrip("-").isdigit()


def _figure(value):
    """Four digits; thousands and more as whole numbers."""
    value = _finite(value)
    if value is None:
        return "–"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _cell(value):
    return "" if value is None else _text(value)


def _text(value):
    return html.escape(str(value))


def _json(value):
    return json.dumps(value).replace("<", "\\u003c")


def _reason(error):
    return str(error) if isinstance(error, UserError) else cli.describe_os_error(error)


def main() -> None:
    parser = cli.ArgumentParser(prog="python -m lipgan_keras.report", description=__doc__.split("\n")[0])
    parser.add_argument("results", metavar="results.json", help="what evaluate.py wrote")
    parser.add_argument(
        "--out", help="HTML file to write (default: report.html beside the results; sheet.html with --sheet_only)"
    )
    parser.add_argument(
        "--cases", type=cli.integer(0), default=3, help="how many worst and how many best videos to show"
    )
    parser.add_argument(
        "--pairs", type=cli.integer(0), default=20, help="pairs on the judging sheet, at most; 0: no sheet"
    )
    parser.add_argument("--clip_seconds", type=cli.positive(), default=4.0, help="length of a clip, at most")
    parser.add_argument("--clip_size", type=cli.integer(16), default=320, help="height of a clip in pixels, at most")
    parser.add_argument(
        "--sheet_only", action="store_true", help="the judging sheet alone, for judges who are not to see the results"
    )
    args = parser.parse_args()
    folder = Path(args.results).parent
    out = Path(args.out or folder / ("sheet.html" if args.sheet_only else "report.html"))
    cli.check_outfile(out, args.results, suffix=".html")
    options = {name: getattr(args, name) for name in ("cases", "pairs", "clip_seconds", "clip_size", "sheet_only")}
    write(load(args.results), folder, out, progress=True, **options)
    print(f"{out} ({out.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    cli.run(main)
