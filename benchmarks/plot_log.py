"""Plot the log of a training run: python benchmarks/plot_log.py logs/log.csv docs/training.png"""

import csv
import sys

import matplotlib
from matplotlib import pyplot as plt

matplotlib.use("Agg")


def main(log, out):
    with open(log, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    panels = {
        "training loss (mean absolute error)": {"mae": "mae"},
        "discriminator (contrastive loss)": {
            "disc": "fakes",
            "unsync": "unsynced",
            "sync": "synced",
            "adv": "generator's",
        },
        "lip MAE on held-out clips": {"val_lip_mae": "right sound", "val_lip_mae_wrong_sound": "wrong sound"},
    }
    panels = {title: lines for title, lines in panels.items() if any(row.get(n) for row in rows for n in lines)}
    _, axes = plt.subplots(1, len(panels), figsize=(4.2 * len(panels), 3.2), squeeze=False, layout="constrained")
    for axis, (title, lines) in zip(axes[0], panels.items(), strict=True):
        for name, label in lines.items():
            points = [(int(row["step"]), float(row[name])) for row in rows if row.get(name)]
            axis.plot(*zip(*points, strict=True), label=label, marker="." if len(points) < 20 else None)
        axis.set(title=title, xlabel="step", ylim=(0, None))
        axis.legend(frameon=False)
        axis.grid(alpha=0.3)
    plt.savefig(out, dpi=90)


if __name__ == "__main__":
    main(*sys.argv[1:])
