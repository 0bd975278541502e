"""How checkpoints fare on speakers whom they never saw: python benchmarks/strangers.py CROPS CHECKPOINT ...

CROPS is a folder of `<speaker>/<clip>/` that preprocess.py wrote. evaluate.py measures each checkpoint, and a frozen
mouth beside it; the table has a row for each speaker, and means over the speakers, each of whom counts the same,
however many clips there are. Where there are three speakers or more, the means have a 95 % interval by bootstrap over
the speakers.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from puppet_ablation import run

from lipgan_keras.evaluation import statistics
from lipgan_keras.utils import cli

METRICS = ["opening_correlation", "lip_mae", "sharpness_ratio", "spurious_motion", "mouth_flicker"]
WRONG = ["sensitivity_3", "sensitivity_5", "sensitivity_10", "sensitivity_other"]


def main():
    parser = argparse.ArgumentParser(description="Figures of checkpoints on each speaker.")
    parser.add_argument("crops", type=cli.existing)
    parser.add_argument("checkpoints", type=cli.existing, nargs="+")
    parser.add_argument("--workdir", default="logs/strangers", help="results of evaluate.py")
    parser.add_argument("--filelists", help="folder with a val.txt that names the clips (default: all)")
    parser.add_argument("--max_videos", type=cli.integer(1), help="measure so many clips, evenly spread")
    args = parser.parse_args()
    frozen = by_speaker(measure(args, args.checkpoints[0], "frozen", ["lip_mae"]))
    for checkpoint in args.checkpoints:
        rows = by_speaker(measure(args, checkpoint, None, [*METRICS, *WRONG]))
        print(f"\n{checkpoint}\n{table(rows, frozen)}", flush=True)


def measure(args, checkpoint, baseline, metrics):
    """What evaluate.py says of each clip: {`<speaker>/<clip>`: {metric: value}}."""
    out = Path(args.workdir) / f"{Path(checkpoint).parent.name}-{Path(checkpoint).stem}{'-frozen' if baseline else ''}"
    chosen = ["--filelists", args.filelists] if args.filelists else []
    chosen += ["--max_videos", args.max_videos] if args.max_videos else []
    chosen += ["--baseline", baseline] if baseline else []
    run(
        "evaluate.py",
        "--data_root",
        args.crops,
        "--checkpoint",
        checkpoint,
        "--out",
        out,
        "--metrics",
        *metrics,
        *chosen,
    )
    found = json.loads((out / "results.json").read_text("utf-8"))
    return {record["name"]: record["values"] for record in found["videos"]}


def by_speaker(clips):
    """{speaker: {metric: mean over his or her clips}}."""
    speakers = {}
    for name, values in clips.items():
        speakers.setdefault(Path(name).parts[-2], []).append(values)
    return {
        speaker: {"clips": len(rows)}
        | {key: float(np.mean([r[key] for r in rows if r.get(key) is not None])) for key in rows[0]}
        for speaker, rows in sorted(speakers.items())
    }


def table(rows, frozen):
    head = [
        "speaker",
        "clips",
        "correlation",
        "lip error",
        "frozen",
        "lip/frozen",
        "sharpness",
        "flicker",
        *(w[12:] for w in WRONG),
    ]
    lines = [head]
    columns = []
    for speaker, row in rows.items():
        still = frozen[speaker]["lip_mae"]
        values = [row["opening_correlation"], row["lip_mae"], still, row["lip_mae"] / still, row["sharpness_ratio"]]
        values.append(row["mouth_flicker"])
        values += [row[name] for name in WRONG]
        columns.append(values)
        lines.append([speaker, str(row["clips"]), *map("{:.4f}".format, values)])
    columns = np.array(columns)
    lines.append(["mean", "", *map("{:.4f}".format, columns.mean(0))])
    if len(columns) > 2:
        ends = [statistics.bootstrap_interval(column) for column in columns.T]
        lines.append(["95 %", "", *(f"{low:.3f}-{high:.3f}" for low, high in ends)])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


if __name__ == "__main__":
    cli.run(main)
