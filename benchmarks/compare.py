"""Real clips that no run was trained on, by evaluate.py's measures: a second table in docs/results.md.

    python benchmarks/ablation.py --clips GRID --workdir logs/ablation
    python benchmarks/compare.py --workdir logs/ablation

Each run of the ablation speaks the two clips of strangers anew from their sound, with the first frame of the clip as
the identity; a frozen mouth, the same moved with the head, and the true frames stand in for a generator. Sync is judged
by a lip-sync discriminator that trained none of them: it is trained alone here, on the same clips. The command goes on
where it was stopped.
"""

import json
from pathlib import Path

from ablation import ROOT, RUNS, run, table, write_between

from lipgan_keras.utils import cli
from lipgan_keras.utils.cli import ArgumentParser
from lipgan_keras.utils.errors import UserError

BEGIN, END = "<!-- measured: written by benchmarks/compare.py -->", "<!-- end of measured by compare.py -->"
BASELINES = {"source": "source", "frozen": "frozen mouth", "aligned": "frozen mouth, aligned"}
COLUMNS = {
    "psnr": ("PSNR", 2),
    "ssim": ("SSIM", 3),
    "psnr_mouth": ("PSNR, mouth", 2),
    "lmd": ("LMD", 2),
    "lmd_5": ("LMD, 5 points", 2),
    "lip_mae": ("lip MAE", 4),
    "sharpness_ratio": ("sharpness", 2),
    "opening_correlation": ("opening", 2),
    "sync_preference": ("sync preference", 2),
    "sensitivity_10": ("wrong sound, 10 frames", 3),
    "sensitivity_other": ("wrong sound, other clip", 3),
    "murmur": ("murmur", 2),
    "lse_d": ("LSE-D", 2),
    "lse_c": ("LSE-C", 2),
    "fid": ("FID", 1),
}
# What the papers report: (who, data, figures). LipGAN's table 5; table 1 of Wav2Lip.
PRINTED = [
    ("LipGAN (arXiv 2003.00418)", "LRW", {"ssim": 0.96, "lmd": 0.60}),
    ("Wav2Lip (arXiv 2008.10010)", "LRS2", {"lse_d": 6.386, "lse_c": 7.789, "fid": 4.887}),
    ("Wav2Lip + GAN", "LRS2", {"lse_d": 6.469, "lse_c": 7.781, "fid": 4.446}),
]


def main():
    parser = ArgumentParser(description="Compare the ablation's runs on real clips, and write the table.")
    parser.add_argument("--workdir", default="logs/ablation", help="of benchmarks/ablation.py")
    parser.add_argument(
        "--judge_steps", type=cli.integer(1), default=1500, help="for which the judge of sync is trained"
    )
    parser.add_argument("--syncnet", type=cli.existing, help="for LSE-D and LSE-C; see evaluate.py")
    parser.add_argument("--inception", type=cli.existing, help="for the FID; see evaluate.py")
    parser.add_argument("--report", default=str(ROOT / "docs" / "results.md"), help="file to write the table to")
    args = parser.parse_args()
    work = Path(args.workdir)
    if not (work / "lists" / "real" / "val.txt").is_file():
        raise UserError(f"{work}: holds no data of the ablation; run benchmarks/ablation.py first")
    runs = {name: work / "runs" / name / "checkpoint.h5" for name in RUNS}
    runs = {name: path for name, path in runs.items() if path.is_file()}
    if not runs:
        raise UserError(f"{work}: holds no run of the ablation; run benchmarks/ablation.py first")
    judge = work / "judge" / "checkpoint.h5"
    run(
        "train.py", "--recipe", "sync", "--data_root", work / "crops", "--filelists", work / "lists" / "train",
        "--logdir", judge.parent, "--width", 0.5, "--batch_size", 32, "--lr", 5e-4, "--seed", 1,
        "--steps", args.judge_steps,
    )  # fmt: skip
    accuracy = work / "judge" / "accuracy.json"
    run(
        "-m", "lipgan_keras.sync_accuracy", "--checkpoint", judge, "--data_root", work / "crops",
        "--filelists", work / "lists" / "puppets", "--puppets", work / "videos", "--pairs", 400, "--json", accuracy,
    )  # fmt: skip
    results = {}
    first = next(iter(runs.values()))
    for name, checkpoint in [*((name, first) for name in BASELINES), *runs.items()]:
        out = work / "compare" / name
        flags = ["--baseline", name] if name in BASELINES else []
        for flag in ("syncnet", "inception"):
            flags += [f"--{flag}", getattr(args, flag)] if getattr(args, flag) else []
        run(
            "evaluate.py", "--checkpoint", checkpoint, "--data_root", work / "crops",
            "--filelists", work / "lists" / "real", "--sync_checkpoint", judge, "--out", out, "--num_workers", 2,
            *flags,
        )  # fmt: skip
        results[name] = json.loads((out / "results.json").read_text("utf-8"))
    write_between(
        Path(args.report), (BEGIN, END), sections(results, json.loads(accuracy.read_text("utf-8")), args.judge_steps)
    )
    print(f"{args.report}: {len(results)} rows")


def sections(results, judge, steps):
    """Markdown, paragraph by paragraph."""
    yield "```\npython benchmarks/compare.py\n```"
    videos = next(iter(results.values()))["videos"]
    columns = [name for name in COLUMNS if any(figure(r, name) is not None for r in results.values())]
    sync = judge["sync"]
    yield (
        f"The {len(videos)} real clips of strangers, {sum(video['faces'] for video in videos)} frames; the generator "
        "sees the clip's first frame as the identity. Means over the clips; for wrong sound the lip error under it "
        "over that under the right one. Sync preference: how often a discriminator that trained none of the runs "
        f"prefers a clip's own sound to the same 3 to 25 frames away (`--recipe sync`, {steps} steps on the same "
        f"clips; as to its sync accuracy, it calls {sync['all']:.1%} of the test puppets' pairs right, "
        f"{sync['different']:.1%} of those whose openings differ)."
    )
    rows = []
    for name, result in results.items():
        # What does not hear has no murmur.
        cells = [None if column == "murmur" and name in BASELINES else figure(result, column) for column in columns]
        cells = [
            "" if value is None else f"{value:.{COLUMNS[column][1]}f}"
            for value, column in zip(cells, columns, strict=True)
        ]
        rows.append([BASELINES.get(name, name), *cells])
    yield "\n".join(table(["", *(COLUMNS[column][0] for column in columns)], rows))
    printed = [column for column in COLUMNS if any(column in figures for *_, figures in PRINTED)]
    rows = [[who, data, *(figures.get(column, "") for column in printed)] for who, data, figures in PRINTED]
    yield (
        "**Theirs, not ours**: what the papers report (LipGAN's table 5, Wav2Lip's table 1), on other data, of "
        "networks trained on hours of video. LMD and SSIM of other crops and landmarks are not comparable with the "
        "table above."
    )
    yield "\n".join(table(["paper", "data", *(COLUMNS[column][0] for column in printed)], rows))
    missing = {
        name: reason
        for result in results.values()
        for name, reason in result["missing"].items()
        if name in COLUMNS and name not in columns
    }
    if missing:
        yield (
            "Not measured: "
            + "; ".join(f"{COLUMNS[name][0]} ({reason.split(';')[0]})" for name, reason in missing.items())
            + "."
        )


def figure(result, column):
    """The mean of a measure, None where there is none."""
    if column == "fid":
        return result["set"]["fid"]
    return result["summary"].get(column, {}).get("mean")


if __name__ == "__main__":
    cli.run(main)
