"""The plots of a report."""

import math

import numpy as np

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


_W, _H = 360, 210  # of a plot
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 18, 12, 40  # margins


def _figure_of(title, drawn, caption, note=""):
    """A plot with its title and, for those who do not see it, what it shows."""
    return (
        f'<figure class="plot"><figcaption><strong>{text(title)}</strong><span>{text(caption)}</span></figcaption>'
        f'<svg viewBox="0 0 {_W} {_H}" role="img" aria-label="{text(f"{title}: {caption}")}">{drawn}</svg>'
        + (f'<p class="small">{text(note)}</p>' if note else "")
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
            parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{text(label)}</text>')
        for value, label in x_ticks:
            parts.append(
                f'<text x="{self.x(value):.1f}" y="{_H - _BOTTOM + 16}" text-anchor="middle">{text(label)}</text>'
            )
        parts.append(f'<line class="axis" x1="{_LEFT}" x2="{_W - _RIGHT}" y1="{_H - _BOTTOM}" y2="{_H - _BOTTOM}"/>')
        parts.append(f'<text x="{(_LEFT + _W - _RIGHT) / 2}" y="{_H - 6}" text-anchor="middle">{text(x_label)}</text>')
        if y_label:
            middle = (_TOP + _H - _BOTTOM) / 2
            parts.append(
                f'<text transform="translate(10 {middle}) rotate(-90)" text-anchor="middle">{text(y_label)}</text>'
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
            said = f"{count} of {len(values)}: {figure(low)} to {figure(high)}"
            parts.append(
                f'<rect class="bar" x="{x + 0.75:.1f}" y="{y:.1f}" width="{max(1, axes.x(high) - x - 1.5):.1f}" '
                f'height="{_H - _BOTTOM - y:.1f}"><title>{said}</title></rect>'
            )
    parts.append(
        f'<line class="mean" x1="{axes.x(mean):.1f}" x2="{axes.x(mean):.1f}" y1="{_TOP}" y2="{_H - _BOTTOM}"/>'
    )
    caption = f"mean {figure(mean)} (line), {figure(min(values))} to {figure(max(values))}, {len(values)} videos"
    arrow = ARROWS.get(metric.get("better"), ("", ""))[0]
    return _figure_of(f"{title} {arrow}".strip(), "".join(parts), caption)


def _lines(title, xs, rows, x_label, y_label, ticks=None, note=""):
    """A faint line for each video, and the mean of all with its interval. `rows` may hold None."""
    table = np.array([[math.nan if (v := finite(value)) is None else v for value in row] for row in rows])
    there = np.isfinite(table).any(axis=0)
    places = np.array(xs, float) if ticks else np.arange(len(xs), dtype=float)
    means, lows, highs = (np.full(len(xs), math.nan) for _ in range(3))
    for i in np.flatnonzero(there):
        column = table[:, i][np.isfinite(table[:, i])]
        means[i] = column.mean()
        lows[i], highs[i] = statistics.bootstrap_interval(column) if len(column) > 1 else (means[i], means[i])
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
        axes.path([(x, finite(y)) for x, y in zip(places, row, strict=False)], "one") for row in drawn if len(table) > 1
    ]
    band = [*zip(places[there], lows[there], strict=True), *zip(places[there][::-1], highs[there][::-1], strict=True)]
    parts += [axes.path(band, "band"), axes.path(list(zip(places[there], means[there], strict=True)), "line")]
    for x, mean, label in zip(places[there], means[there], np.array(xs, object)[there], strict=True):
        parts.append(
            f'<circle class="dot" cx="{axes.x(x):.1f}" cy="{axes.y(mean):.1f}" r="3">'
            f"<title>{text(label)}: {figure(mean)}</title></circle>"
        )
    best = int(np.nanargmin(means))
    caption = f"mean of {len(table)} videos and its 95 % interval; smallest, {figure(means[best])}, at {xs[best]}"
    return _figure_of(title, "".join(parts), caption, note)


def _share(values):
    """How much of the L1 error lies in the lips: a dot for each video, the mean and its interval."""
    mean = float(np.mean(values))
    low, high = statistics.bootstrap_interval(values) if len(values) > 1 else (mean, mean)
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
