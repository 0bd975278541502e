"""Draws the pages' flow charts, which are written in Mermaid's language for GitHub, without a browser's script.

Only what the pages use is known: lines of nodes, joined by arrows that may have a label.

    name[shown text] & other -->|label| third
"""

import collections
import html
import re
from pathlib import Path

from docutils import nodes

FONT, LINE = 13, 17  # pixels
HALF_CHARACTER = 3.7  # pixels, of a sans-serif font of that size
ROW_GAP, GAP, PAD = 44, 22, 10  # pixels
NODE = re.compile(r"(\w+)(?:\[([^\]]*)\])?$")


def read(text: str) -> tuple[dict[str, str], list[tuple[str, str, str]]]:
    """{name: what is shown}, and (from, to, label) of each arrow."""
    shown: dict[str, str] = {}
    arrows = []
    for line in text.splitlines():
        parts = re.split(r"\s*-->(?:\|([^|]*)\|)?\s*", line.strip())
        if len(parts) < 2:
            continue
        groups = []
        for part in parts[::2]:
            named = part.split("&")
            found = [match for one in named if (match := NODE.match(one.strip()))]
            if len(found) < len(named):
                raise ValueError(f"not known in a diagram: {line.strip()}")
            for one in found:
                shown[one[1]] = one[2] or shown.get(one[1], one[1])
            groups.append([one[1] for one in found])
        for left, label, right in zip(groups, parts[1::2], groups[1:], strict=False):
            arrows += [(a, b, label or "") for a in left for b in right]
    return shown, arrows


def rows(names, arrows) -> list[list]:
    """The nodes by rows, each below all that lead to it; an arrow over several rows passes a point in each of them."""
    rank = dict.fromkeys(names, 0)
    for _ in names:
        for a, b, _label in arrows:
            rank[b] = max(rank[b], rank[a] + 1)
    for a in names:  # as near as can be to what it leads to
        after = [rank[b] for x, b, _label in arrows if x == a]
        if after and not any(b == a for _a, b, _label in arrows):
            rank[a] = min(after) - 1
    found = [[] for _ in range(max(rank.values()) + 1)]
    for name in names:
        found[rank[name]].append(name)
    for a, b, _label in arrows:
        for row in range(rank[a] + 1, rank[b]):
            found[row].append((a, b))
    return found


def links(arrows, placed) -> list[tuple]:
    """(upper, lower) of each piece of an arrow, between neighbouring rows."""
    row_of = {one: number for number, row in enumerate(placed) for one in row}
    found = []
    for a, b, _label in arrows:
        path = [a, *[(a, b) for _ in range(row_of[a] + 1, row_of[b])], b]
        steps = [(one, row_of[a] + i) for i, one in enumerate(path)]
        found += zip(steps, steps[1:], strict=False)
    return found


def ordered(placed, arrows) -> list[list]:
    """The rows with their nodes in an order in which few arrows cross."""
    pieces = links(arrows, placed)
    for sweep in range(8):
        down = sweep % 2 == 0
        numbers = range(1, len(placed)) if down else range(len(placed) - 2, -1, -1)
        for number in numbers:
            other = {
                one: i / max(1, len(placed[number + (-1 if down else 1)]) - 1 or 1)
                for i, one in enumerate(placed[number + (-1 if down else 1)])
            }
            near = collections.defaultdict(list)
            for (upper, row), (lower, _row) in pieces:
                if down and row == number - 1:
                    near[lower].append(other[upper])
                elif not down and row == number:
                    near[upper].append(other[lower])
            placed[number].sort(key=lambda one: sum(near[one]) / len(near[one]) if near[one] else 0.5)
    return placed


def svg(text: str) -> str:
    """A drawing of a flow chart, from top to bottom."""
    shown, arrows = read(text)
    placed = ordered(rows(list(shown), arrows), arrows)
    lines = {name: re.sub(r"([,:]) ", r"\1\n", label).split("\n") for name, label in shown.items()}

    def size(one):
        if isinstance(one, tuple):
            return 4, 0
        return max(map(len, lines[one])) * 2 * HALF_CHARACTER + 2 * PAD, len(lines[one]) * LINE + PAD

    widths = [sum(size(one)[0] + GAP for one in row) - GAP for row in placed]
    width, top, where = max(widths) + 4, 2, {}
    for number, row in enumerate(placed):
        height = max(size(one)[1] for one in row)
        spare = (width - 4 - widths[number]) / (len(row) + 1)
        left = 2 + spare
        for one in row:
            where[one, number] = (left, top + (height - size(one)[1]) / 2, *size(one))
            left += size(one)[0] + GAP + spare
        top += height + ROW_GAP
    body = [_arrow(where, piece, arrows, placed) for piece in links(arrows, placed)]
    body += [_box(where[name, number], lines[name]) for name, number in where if isinstance(name, str)]
    height = top - ROW_GAP + 2
    return (
        f'<svg class="flow" role="img" aria-label="{html.escape(_spoken(shown, arrows))}" viewBox="0 0 {width:.0f} '
        f'{height:.0f}" style="max-width:{width:.0f}px" xmlns="http://www.w3.org/2000/svg">{"".join(body)}</svg>'
    )


def _spoken(shown, arrows):
    return "; ".join(f"{shown[a]} to {shown[b]}" for a, b, _label in arrows)


def _arrow(where, piece, arrows, placed):
    (upper, row), (lower, next_row) = piece
    left, top, width, height = where[upper, row]
    x, y = left + width / 2, top + height
    left, bottom, width, _height = where[lower, next_row]
    u, v = left + width / 2, bottom
    ends = isinstance(lower, str)
    bend = (v - y) / 2
    curve = f"C{x:.1f},{y + bend:.1f} {u:.1f},{v - bend:.1f} {u:.1f},{v - 5 * ends:.1f}"
    drawn = f'<path class="arrow" d="M{x:.1f},{y:.1f} {curve}"/>'
    if ends:
        drawn += f'<path class="tip" d="M{u - 4:.1f},{v - 8:.1f} L{u + 4:.1f},{v - 8:.1f} L{u:.1f},{v - 1:.1f} Z"/>'
    label = next((text for a, b, text in arrows if text and upper == a and lower in (b, (a, b))), "")
    if label:
        drawn += f'<text x="{(x + u) / 2:.1f}" y="{(y + v) / 2 + 4:.1f}" class="label">{html.escape(label)}</text>'
    return drawn


def _box(place, lines):
    left, top, width, height = place
    text = "".join(
        f'<text x="{left + width / 2:.1f}" y="{top + PAD / 2 + LINE * i + FONT:.1f}">{html.escape(line)}</text>'
        for i, line in enumerate(lines)
    )
    return f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}" rx="6"/>{text}'


def draw(app, doctree):
    """Put drawings in place of the blocks of code in Mermaid's language."""
    for block in list(doctree.findall(nodes.literal_block)):
        if block.get("language") == "mermaid":
            block.replace_self(nodes.raw("", svg(block.astext()), format="html"))


def setup(app):
    app.connect("doctree-read", draw)
    return {"parallel_read_safe": True}


if __name__ == "__main__":  # the drawings of a page, to look at
    import sys

    page = Path(sys.argv[1]).read_text(encoding="utf-8")
    print(*[svg(found) for found in re.findall(r"```mermaid\n(.*?)```", page, re.DOTALL)], sep="\n")
