"""Means with intervals, and the table of all videos."""

import collections
import csv
import io
import os
from collections.abc import Sequence

import numpy as np

from .. import __version__
from ..utils import npz
from ..utils.errors import UserError
from ..utils.terminal import text_cell
from . import config, fid
from . import jobs as evaluation_jobs
from . import statistics as evaluation_statistics
from .metrics import register

MOST_FEATURES = 16 << 30  # bytes of a video's, of one image in five
FEW = 10  # videos; the bootstrap over five covers the mean in 84 % of all cases, over ten in 90 %


def summed_up(mode, name, settings, missing, facts, jobs, records) -> dict:
    summed, together = {}, {"fid": None}
    for metric in settings.metrics:
        values = [record["values"][metric] for record in records if record["values"].get(metric) is not None]
        if values:
            mean, low, high = _mean(metric, values, records)
            summed[metric] = {"mean": mean, "low": low, "high": high, "n": len(values)}
    if "fid" in settings.metrics:
        together["fid"], warning = _fid(settings, jobs, records)
        if warning and together["fid"] is None:
            missing["fid"] = warning
        elif warning:
            facts["warning"] = warning
    measured = [metric for metric in settings.metrics if metric in summed or together.get(metric) is not None]
    for metric in settings.metrics:
        if metric not in measured and metric not in missing:
            missing[metric] = "no video gave a value; see their notes and reasons"
    ok = sum(record["status"] == "ok" for record in records)
    noted = sum(bool(record["notes"]) for record in records)
    results = {
        "version": 1,
        "tool": f"lipgan_keras {__version__}",
        "mode": mode,
        "name": name,
        "settings": facts,
        "metrics": {metric: register.METRICS[metric].describe() for metric in measured},
        "videos": records,
        "summary": summed,
        "set": together,
        "missing": missing,
        "counts": {"pairs": len(records), "ok": ok, "failed": len(records) - ok, "noted": noted},
    }
    _add_earlier_names(results)
    return results


def _add_earlier_names(results):
    """Write a measure's value under the name that it had before, too: people's programs read it."""
    for earlier, name in config.EARLIER.items():
        values = [video["values"] for video in results["videos"]]
        for found in (results["summary"], results["missing"], *values):
            if name in found:
                found[earlier] = found[name]
        if name in results["metrics"]:
            results["metrics"][earlier] = results["metrics"][name] | {"same_as": name}


def _mean(metric, values, records) -> tuple[float, float | None, float | None]:
    """Mean over the videos and its interval, which one video does not give; of a ratio of errors,
    that of all frames.
    """
    if len(values) == 1:
        return values[0], None, None
    if metric not in evaluation_jobs.SENSITIVITY:
        return (float(np.mean(values)), *evaluation_statistics.bootstrap_interval(np.array(values)))
    shift, sums = metric.removeprefix("sensitivity_"), []
    for record in records:
        if record["values"].get(metric) is not None:
            curves = record["curves"]
            wrong = curves["lip_error_other_sound"] if shift == "other" else curves["lip_error_by_shift"][shift]
            sums.append([record["faces"] * wrong, record["faces"] * curves["lip_error_by_shift"]["0"]])
    return evaluation_statistics.ratio_interval(*np.transpose(sums))


def _fid(settings, jobs, records) -> tuple[float | None, str | None]:
    """The FID of all crops, if there is one, and what is to be said of it."""
    sides = {name: fid.Statistics() for name in ("truth", "generated")}
    for job, record in zip(jobs, records, strict=True):
        path = job.place(settings.out, ".fid.npz")
        if record["status"] == "ok" and path.is_file():
            features = read_features(path, list(sides))
            for name, statistics in sides.items():
                statistics.update(features[name])
    return evaluation_jobs.finite(register.METRICS["fid"].fn(*sides.values())), fid.warning(
        *(side.n for side in sides.values())
    )


def read_features(path: str | os.PathLike, sides: Sequence[str]) -> dict[str, np.ndarray]:
    """(n,2048) features of InceptionV3 of each side of a pair of videos, as a run kept them.

    Raises:
        UserError: the file is damaged, or holds something else.
    """
    features, _ = npz.read(path, sides, most_bytes=MOST_FEATURES, advice="remove it, and evaluate again")
    if any(array.shape[1:] != (fid.FEATURES,) for array in features.values()):
        raise UserError(f"{path}: holds no features of InceptionV3; remove it, and evaluate again")
    return features


def table(results: dict) -> str:
    """results.csv: a line for each video."""
    text, columns = io.StringIO(), list(results["metrics"])
    writer = csv.writer(text)
    columns = [name for name in columns if name != "fid"]
    writer.writerow(["name", "status", "reason", "notes", "frames", "faces", *columns])
    for video in results["videos"]:
        values = [video["values"].get(name) for name in columns]
        texts = video["name"], video["status"], video["reason"] or "", "; ".join(video["notes"])
        cells = [*map(text_cell, texts), video["frames"], video["faces"]]
        writer.writerow(cells + ["" if value is None else f"{value:.6g}" for value in values])
    return text.getvalue()


ARROWS = {"higher": "^", "lower": "v", None: " "}


def summary(results: dict) -> list[str]:
    """What is shown at the end: the table, and what is missing."""
    counts = results["counts"]
    lines = [f"{results['name']}: {counts['ok']} of {counts['pairs']} videos measured, {counts['noted']} with notes"]
    titles = {
        name: f"{about['title']} {ARROWS[about['better']]}" + (f" [{about['unit']}]" if about["unit"] else "")
        for name, about in results["metrics"].items()
        if name in config.shown(results["metrics"])
    }
    width = max(map(len, titles.values()), default=0)
    lines.append(f"  {'':{width}}     mean   95 % interval          videos")
    for name, title in titles.items():
        if name in results["summary"]:
            mean, low, high, n = (results["summary"][name][key] for key in ("mean", "low", "high", "n"))
            interval = "-" if low is None else f"[{low:.4g}, {high:.4g}]"
            lines.append(f"  {title:{width}} {mean:8.4g}   {interval:20} {n:8d}")
        else:
            lines.append(f"  {title:{width}} {results['set'][name]:8.4g}   of all together")
    lines.append("  (^ higher is better, v lower is better)")
    if any(found["n"] < FEW for found in results["summary"].values()):
        lines.append(f"  note: an interval over fewer than {FEW} videos is a rough one, and too narrow")
    reasons = collections.defaultdict(list)
    for name in config.shown(results["missing"]):
        reasons[results["missing"][name]].append(name)
    lines += [f"  not measured: {', '.join(which)}: {reason}" for reason, which in reasons.items()]
    if "warning" in results["settings"]:
        lines.append(f"  note: {results['settings']['warning']}")
    for video in results["videos"]:
        lines += [f"  note: {video['name']}: {note}" for note in video["notes"]]
    return lines


def failures(results: dict) -> list[str]:
    """A line for each video that could not be measured."""
    return [f"  failed: {v['name']}: {v['reason']}" for v in results["videos"] if v["status"] != "ok"]
