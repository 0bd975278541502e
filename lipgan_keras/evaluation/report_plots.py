"""The plots of a report, drawn by matplotlib as SVG.

Each is an image of its own (a data: address), so that no text of the results can become markup of the page. They are
drawn for a light page; report.css inverts them on a dark one.
"""

import base64
import io
import math
from collections.abc import Callable

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from . import statistics
from .report_text import figure, finite, text, whole

MOST_LINES = 60  # single videos drawn in one plot
ARROWS = {"higher": ("↑", "higher is better"), "lower": ("↓", "lower is better"), None: ("", "")}


def plots(results, measured, good):
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
            key=lambda s: (not whole(s), int(s) if whole(s) else 0, s),
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
    shares = [v for entry in good if (v := finite((entry.get("values") or {}).get("lip_share"))) is not None]
    if shares:
        figures.append(_share(shares))
    for name, metric in measured.items():
        values = [v for entry in good if (v := finite((entry.get("values") or {}).get(name))) is not None]
        if values:
            figures.append(_histogram(metric.get("title") or name, values, metric))
    return f'<section><h2>Plots</h2><div class="plots">{"".join(figures)}</div></section>' if figures else ""


INK, ACCENT, MEAN = "#59636e", "#1f6f8b", "#b3441c"  # as in report.css, on a light page
REST = (INK, 0.2)  # what is there, but is not meant
STEPS = (1, 2, 5, 10)  # of ticks
STYLE = {
    "svg.fonttype": "none", "svg.hashsalt": "lipgan_keras",  # the same results, the same page
    "text.parse_math": False, "font.size": 8,
    "text.color": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK, "axes.edgecolor": INK,
    "axes.spines.left": False, "axes.spines.right": False, "axes.spines.top": False,
    "axes.grid": True, "axes.grid.axis": "y", "axes.axisbelow": True, "grid.color": INK, "grid.alpha": 0.2,
    "xtick.major.size": 0, "ytick.major.size": 0,
}  # fmt: skip


def _plot(title: str, caption: str, draw: Callable[[Axes], None], note: str = "") -> str:
    """What `draw` draws, with its title and, for those who do not see it, what it shows."""
    drawn = io.BytesIO()
    with matplotlib.style.context(["default", STYLE]):
        drawing = Figure(figsize=(3.6, 2.1), layout="constrained")
        draw(drawing.subplots())
        drawing.savefig(drawn, format="svg", transparent=True, metadata={"Date": None})
    return (
        f'<figure class="plot"><figcaption><strong>{text(title)}</strong><span>{text(caption)}</span></figcaption>'
        f'<img alt="{text(f"{title}: {caption}")}" '
        f'src="data:image/svg+xml;base64,{base64.b64encode(drawn.getvalue()).decode()}">'
        + (f'<p class="small">{text(note)}</p>' if note else "")
        + "</figure>"
    )


def _label(value) -> str:
    """Text of the results, without the characters that no XML file may hold."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(value))


def bins(values: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Counts (n,) and edges (n + 1,) of a histogram: 4 to 24 bins by Rice's rule, or 1 where all values are equal."""
    mean = float(np.mean(values))
    margin = 0.1 * max(abs(mean), 1e-3)
    edges = np.array([mean - margin, mean + margin])
    if max(values) - min(values) > 1e-9 * max(1e-9, abs(mean)):
        edges = np.linspace(min(values), max(values), int(np.clip(np.ceil(2 * len(values) ** (1 / 3)), 4, 24)) + 1)
    return np.histogram(values, edges)


def _histogram(title, values, metric):
    mean = float(np.mean(values))
    counts, edges = bins(values)

    def draw(axes):
        axes.bar(edges[:-1], counts, 0.95 * np.diff(edges), align="edge", color=ACCENT)
        axes.axvline(mean, color=MEAN, linewidth=2)
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=STEPS, integer=True))
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=STEPS))
        axes.set(xlabel=_label(metric.get("unit") or ""), ylabel="videos")

    caption = f"mean {figure(mean)} (line), {figure(min(values))} to {figure(max(values))}, {len(values)} videos"
    arrow = ARROWS.get(metric.get("better"), ("", ""))[0]
    return _plot(f"{title} {arrow}".strip(), caption, draw)


def _lines(title, xs, rows, x_label, y_label, ticks=None, note=""):
    """A faint line for each video, and the mean of all with its interval. `rows` may hold None."""
    table = np.array([[math.nan if (v := finite(value)) is None else v for value in row] for row in rows])
    there = np.isfinite(table).any(axis=0)
    if not there.any():
        return ""
    places = np.array(xs, float) if ticks else np.arange(len(xs), dtype=float)
    means, lows, highs = (np.full(len(xs), math.nan) for _ in range(3))
    for i in np.flatnonzero(there):
        column = table[:, i][np.isfinite(table[:, i])]
        means[i] = column.mean()
        lows[i], highs[i] = statistics.bootstrap_interval(column) if len(column) > 1 else (means[i], means[i])

    def draw(axes):
        for row in table[:MOST_LINES] if len(table) > 1 else ():
            known = np.isfinite(row)
            axes.plot(places[known], row[known], color=INK, alpha=0.3, linewidth=0.8)
        axes.fill_between(places[there], lows[there], highs[there], color=ACCENT, alpha=0.2, linewidth=0)
        axes.plot(places[there], means[there], color=ACCENT, linewidth=2, marker="o", markersize=4)
        if ticks:
            axes.set_xticks([tick for tick in ticks if min(xs) <= tick <= max(xs)])
        else:
            axes.set_xticks(places, [_label(x) for x in xs])
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=STEPS))
        axes.set(xlabel=x_label, ylabel=y_label)

    best = int(np.nanargmin(means))
    caption = f"mean of {len(table)} videos and its 95 % interval; smallest, {figure(means[best])}, at {xs[best]}"
    return _plot(title, caption, draw, note)


def _share(values):
    """How much of the L1 error lies in the lips: a dot for each video, the mean and its interval."""
    mean = float(np.mean(values))
    low, high = statistics.bootstrap_interval(values) if len(values) > 1 else (mean, mean)
    top = max(0.1, math.ceil(max(values) * 10) / 10)

    def draw(axes):
        axes.barh([0.72, 0.72], [top, mean], 0.25, color=[REST, ACCENT])
        axes.plot([low, high], [0.72, 0.72], color=MEAN, linewidth=2)
        heights = 0.1 + 0.3 * np.random.default_rng(0).random(len(values))
        axes.scatter(values, heights, s=14, color=INK, alpha=0.55, linewidths=0)
        axes.set(xlim=(0, top), ylim=(0, 0.9), yticks=[], xlabel="share of the lips in the L1 loss")
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))

    caption = f"mean {100 * mean:.1f} % (bar; line: 95 % interval), {len(values)} videos (dots)"
    return _plot("Loss share of the lips", caption, draw)
