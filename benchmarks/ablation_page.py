"""The page docs/results.md of what benchmarks/ablation.py has kept in docs/results: plots, then tables.

    python benchmarks/ablation_page.py

Every figure comes from those files, so that runs of other machines are added by putting their files there.
"""

import json
from pathlib import Path

import numpy as np
from ablation import DATA, KEPT, LEARNT_FROM, METRICS, ROWS, STEPS
from compare import printed
from puppet_ablation import ROOT, table, write_between

from lipgan_keras.evaluation import mean_opinion
from lipgan_keras.utils import cli, files
from lipgan_keras.utils.cli import ArgumentParser
from lipgan_keras.utils.errors import UserError

PAGE = ROOT / "docs" / "results.md"
BEGIN, END = "<!-- measured: written by benchmarks/ablation_page.py -->", "<!-- end of measured -->"
ASKED = {"sync": "lip-sync", "discriminator": "LipGAN's"}
THEIRS = {"a first LipGAN's": 0.63, "LipGAN's, as Wav2Lip measured": 0.556, "Wav2Lip's expert": 0.916}
# Column: what it is called, its digits, and which way is better
COLUMNS = {
    "lip_mae": ("lip error", 4, "lower"),
    "wrong": ("wrong sound / right", 3, "higher"),
    "opening_correlation": ("aperture", 2, "higher"),
    "lmd": ("LMD", 2, "lower"),
    "psnr": ("PSNR", 1, "higher"),
    "ssim": ("SSIM", 3, "higher"),
    "sharpness_ratio": ("sharpness", 2, "higher"),
}


def main():
    parser = ArgumentParser(description="Draw the plots and write the tables of what is kept.")
    parser.add_argument("--report", default=str(PAGE), help="page to write into (default: docs/results.md)")
    write(Path(parser.parse_args().report))


def write(report: Path = PAGE) -> None:
    """The plots, and the tables between two marks of the page.

    Raises:
        UserError: nothing is kept.
    """
    runs = read()
    if not any(run["clips"] for seeds in runs.values() for run in seeds.values()):
        raise UserError(f"{KEPT}: holds no run of a generator; run benchmarks/ablation.py first")
    for name, plot in plots(runs).items():
        path = report.with_name(f"results_{name}.png")
        with files.replacing(path) as temporary:
            plot(runs).savefig(temporary, format="png", dpi=100)
    write_between(report, (BEGIN, END), sections(runs), "# What each part brings, on people\n\n")
    print(f"{report}: {sum(map(len, runs.values()))} runs of {len(runs)} rows")


def plots(runs) -> dict:
    """{name: function} of the plots that have something to show."""
    found = {"lips": lips_sooner, "parts": parts}
    if any(accuracies(seeds, name) for seeds in runs.values() for name in ASKED):
        found["sync"] = sync
    if sum(row in runs for row in LEARNT_FROM) > 1:
        found["data"] = growth
    return found


def read() -> dict[str, dict[int, dict]]:
    """{row: {seed: what is kept}}, rows in their order."""
    runs: dict[str, dict[int, dict]] = {}
    for row in ROWS:
        for path in sorted(KEPT.glob(f"{row}-*.json")):
            content = json.loads(path.read_text("utf-8"))
            if content["row"] == row:
                runs.setdefault(row, {})[content["seed"]] = content
    return runs


def marks(seeds: dict[int, dict], column: str) -> np.ndarray:
    """(seeds, clips) of a column, NaN where it is not defined."""

    def value(clip):
        if column == "wrong":
            both = [clip.get("sensitivity_5"), clip.get("sensitivity_other")]
            return np.nan if None in both else float(np.mean(both))
        found = clip.get(column)
        return np.nan if found is None else found

    names = sorted(next(iter(seeds.values()))["clips"])
    return np.array([[value(run["clips"].get(name, {})) for name in names] for run in seeds.values()])


def figure(values: np.ndarray, digits: int) -> str:
    """The mean with its 95 % interval over seeds and clips."""
    if not np.isfinite(values).any():
        return ""
    low, high = mean_opinion.interval(values)
    return f"{np.nanmean(values):.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


# --------------------------------------------------------------------------------------------------------------- plots


def drawing(width=7.2, height=3.6):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axis = figure.subplots()
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.25)
    return figure, axis


def lips_sooner(runs):
    """How far lips go by the sound, by step."""
    picture, axis = drawing()
    for row in ("unet", "unet_lips", "lipgan", "lipsync_plain", "lipsync"):
        curves = []
        for run in runs.get(row, {}).values():
            log = run["log"]
            pairs = zip(log["val_lip_mae_wrong_sound"], log["val_lip_mae"], strict=True)
            curves.append([np.nan if None in pair else pair[0] / pair[1] for pair in pairs])
        if curves:
            steps, curves = np.array(log["step"]), np.array(curves)
            seen = np.isfinite(curves).any(axis=0)
            mean = np.nanmean(curves[:, seen], axis=0)
            (line,) = axis.plot(steps[seen], mean, marker=".", label=ROWS[row].words.replace("`", ""))
            ends = np.nanmin(curves[:, seen], axis=0), np.nanmax(curves[:, seen], axis=0)
            axis.fill_between(steps[seen], *ends, color=line.get_color(), alpha=0.15, linewidth=0)
    axis.axhline(1, color="grey", linestyle=":")
    axis.set(xlabel="step", ylabel="strangers' lip error,\nwrong sound / right")
    axis.legend(frameon=False, fontsize=8)
    return picture


def parts(runs):
    """The ends of all rows that learned from the same people."""
    return ends(runs, {row: row for row in runs if row != "sync" and ROWS[row].data == "people"})


def growth(runs):
    """The ends of a recipe's rows, by the people learned from."""
    return ends(runs, {row: DATA[ROWS[row].data] for row in LEARNT_FROM if row in runs})


def ends(runs, shown):
    """What rows end with: a dot for each seed, a bar for the interval. `shown`: {row: its name in the picture}."""
    columns = ("wrong", "lip_mae", "opening_correlation", "sharpness_ratio")
    from matplotlib.figure import Figure

    picture = Figure(figsize=(9.2, 0.32 * len(shown) + 1.1), layout="constrained")
    axes = picture.subplots(1, len(columns), sharey=True)
    for axis, column in zip(axes, columns, strict=True):
        for place, row in enumerate(shown):
            values = marks(runs[row], column)
            axis.plot(mean_opinion.interval(values), [place] * 2, color="tab:blue", linewidth=3, alpha=0.35)
            axis.plot(np.nanmean(values, axis=1), [place] * len(values), ".", color="tab:blue")
        axis.set_title(COLUMNS[column][0], fontsize=9)
        axis.grid(alpha=0.25)
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
        if column in METRICS and (floor := frozen(runs, column)) is not None:
            axis.axvline(floor, color="grey", linestyle=":")
    axes[0].set_yticks(range(len(shown)), list(shown.values()))
    axes[0].invert_yaxis()
    return picture


def sync(runs):
    """How many pairs each discriminator calls right."""
    picture, axis = drawing(7.2, 3.4)
    rows = [(row, name) for row, seeds in runs.items() for name in ASKED if accuracies(seeds, name)]
    for place, (row, name) in enumerate(rows):
        values = accuracies(runs[row], name)
        axis.plot(values, [place] * len(values), "o" if name == "sync" else "s", color="tab:blue", alpha=0.7)
    for words, value in THEIRS.items():
        axis.axvline(value, color="grey", linestyle=":")
        place = {"transform": axis.get_xaxis_transform(), "ha": "left", "va": "bottom", "rotation": 20}
        axis.text(value, 1.01, words, fontsize=7, color="grey", **place)
    axis.set_yticks(range(len(rows)), [f"{row}, {ASKED[name]}" for row, name in rows], fontsize=8)
    axis.set(xlabel="share of strangers' pairs called right", xlim=(0.45, 1), ylim=(len(rows) - 0.5, -0.5))
    return picture


def frozen(runs, column):
    """Of a mouth that stays as it is."""
    found = next((run["frozen"] for seeds in runs.values() for run in seeds.values() if run.get("frozen")), {})
    values = [clip[column] for clip in found.values() if clip.get(column) is not None]
    return float(np.mean(values)) if values else None


def accuracies(seeds, name):
    return [run["sync_accuracy"][name]["all"] for run in seeds.values() if name in run["sync_accuracy"]]


# -------------------------------------------------------------------------------------------------------------- tables


def sections(runs):
    """Markdown, paragraph by paragraph."""
    first = next(run for seeds in runs.values() for run in seeds.values() if run["clips"])
    speakers = sorted({name.split("/")[0] for name in first["clips"]})
    yield "```\npython benchmarks/ablation.py --clips GRID --speakers SPEAKERS --face_model FACEKIT\n```"
    yield "## Does the weighted loss find the lips sooner?"
    yield "![Lip error under a wrong sound over that under the right one, by step](results_lips.png)"
    yield (
        "*How far strangers' lips go by the sound: the lip error under another clip's sound over that under the right "
        "one, on 256 frames, by training step. Lines: means over the seeds; bands: from the least to the largest.*"
    )
    yield "## Does a discriminator of its own help?"
    yield f"The picture at the top shows it, after {STEPS:,} steps; the bars are 95 % intervals over seeds and clips."
    if "sync" in plots(runs):
        yield "![Share of pairs that each discriminator calls right](results_sync.png)"
        yield (
            "*Round: a lip-sync discriminator; square: LipGAN's. Dotted lines are figures of others, on other data: "
            "63 % of a LipGAN before this project, and Wav2Lip's table 3 (on LRS2).*"
        )
    if "data" in plots(runs):
        yield "## How does it grow with the data?"
        yield "![Figures of `lipsync`, by the people learned from](results_data.png)"
        yield "*The same recipe for the same steps, on more and other data; dots, bars and dotted lines as at the top.*"
    yield "## The table"
    yield (
        f"{len(first['clips'])} clips of {len(speakers)} strangers ({', '.join(speakers)}); the generator sees the "
        "first frame, and no frame within 12 of it is judged. Means and 95 % intervals by bootstrap over seeds and "
        "clips together (Owen 2007). Lip error: mean absolute error inside the lips, pixels in 0..1. Wrong sound / "
        "right: the mean of its own sound five frames off and of another clip's. Aperture: correlation with the true "
        "opening. Sync: share of pairs that the lip-sync discriminator, and LipGAN's, call right. Time: training of "
        "the quickest seed; the others shared the machine with other work, or were paused."
    )
    yield "\n".join(table(["row", "seeds", *(words for words, *_ in COLUMNS.values()), "sync", "min"], rows(runs)))
    yield from flags(runs)
    yield "## What the papers report"
    yield from printed()


def rows(runs):
    still = [frozen(runs, name) if name in METRICS else 1.0 for name in COLUMNS]
    cells = ["" if v is None else f"{v:.{COLUMNS[name][1]}f}" for name, v in zip(COLUMNS, still, strict=True)]
    found = [["a mouth that stays as it is", "", *cells, "", ""]]
    for row, (words, *_) in ROWS.items():
        if row not in runs:
            found.append([words, "not run", *[""] * (len(COLUMNS) + 2)])
            continue
        seeds = runs[row]
        values = [
            figure(marks(seeds, name), digits) if row != "sync" else "" for name, (_, digits, _) in COLUMNS.items()
        ]
        said = [f"{100 * np.mean(a):.0f} %" for name in ASKED if (a := accuracies(seeds, name))]
        minutes = min(run["seconds"] for run in seeds.values()) / 60
        found.append([words, len(seeds), *values, ", ".join(said), f"{minutes:.0f}"])
    return found


def flags(runs):
    """What each row is, and where the runs came from."""
    yield "<details><summary>Flags, machines and commits</summary>"
    lines = []
    for row, seeds in runs.items():
        run = next(iter(seeds.values()))
        commits = sorted({commit for kept in seeds.values() for commit in kept["commit"].split(", ")})
        lines.append([f"`{row}`", f"`{' '.join(run['flags'])}`", ", ".join(commits)])
    yield "\n".join(table(["row", "flags of the first seed", "commit"], lines))
    yield "Machines: " + "; ".join(sorted({run["machine"] for seeds in runs.values() for run in seeds.values()})) + "."
    yield "</details>"


if __name__ == "__main__":
    cli.run(main)
