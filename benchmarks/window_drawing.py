"""Draw which sound a frame hears under each alignment: docs/windows.png, from `audio.WindowClock` itself.

python benchmarks/window_drawing.py docs/windows.png
"""

import sys

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np

from lipgan_keras.audio import WindowClock
from lipgan_keras.config import ALIGNMENTS, FPS, STEPS_PER_SECOND, WINDOW_SHAPE
from lipgan_keras.utils import cli

FRAME = 100  # of 25 a second: it appears at 4 s
COLOURS = {"centred": "#9a3412", "released": "#475569", "released_training": "#94a3b8"}
WORDS = {
    "centred": "centred: here",
    "released": "released: inference of the released mel code",
    "released_training": "released_training: its training",
}


def main(path: str) -> None:
    start, end = FRAME / FPS, (FRAME + 1) / FPS
    seconds = WINDOW_SHAPE["mel"][1] / STEPS_PER_SECOND["mel"]
    figure, axes = plt.subplots(figsize=(9, 2.6))
    for frame in range(-10, 10):
        axes.axvline(1000 * frame / FPS, color="#e5e7eb", linewidth=0.8, zorder=0)
    axes.axvspan(0, 1000 / FPS, color="#fde68a", zorder=0)
    for row, name in enumerate(ALIGNMENTS):
        centre = float(WindowClock("mel", name).centres(start, end)) - start
        left = 1000 * (centre - seconds / 2)
        axes.barh(-row, 1000 * seconds, left=left, height=0.5, color=COLOURS[name])
        axes.plot(1000 * centre, -row, "o", color="white", markersize=5)
        axes.text(left + 1000 * seconds + 8, -row, f"{1000 * centre:+.0f} ms", va="center", fontsize=9)
    axes.set_yticks(-np.arange(len(ALIGNMENTS)), [WORDS[name] for name in ALIGNMENTS], fontsize=9)
    axes.set_xlabel("milliseconds after the frame appears; a line for each frame, the frame itself yellow", fontsize=9)
    axes.set_xlim(-380, 420)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    cli.run(lambda: main(*sys.argv[1:]))
