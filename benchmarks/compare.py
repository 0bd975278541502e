"""Real clips that no run was trained on, by evaluate.py's measures: a second table in docs/results_puppets.md.

    python benchmarks/puppet_ablation.py --clips GRID --workdir logs/ablation
    python benchmarks/compare.py --workdir logs/ablation

Each run of the ablation speaks the two clips of strangers anew from their sound, with the first frame of the clip as
the identity; a frozen mouth, the same moved with the head, and the true frames stand in for a generator. Sync is judged
by a lip-sync discriminator that trained none of them: it is trained alone here, on the same clips. The command goes on
where it was stopped.
"""

import json
from pathlib import Path

from puppet_ablation import ROOT, RUNS, run, table, write_between

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
# What the papers report: tables 5 and 6 of LipGAN (arXiv 2003.00418), and tables 1 and 3 of Wav2Lip (2008.10010).
TABLE_5 = (
    ("PSNR", "SSIM", "LMD"),
    {
        "Chung et al.": ("28.06", "0.460", "2.22"),
        "Zhou et al.": ("26.80", "0.884", ""),
        "LipGAN": ("33.4", "0.960", "0.60"),
    },
)
TABLE_1 = (
    ("LRW", "LRS2", "LRS3"),
    {
        "Speech2Vid": ("13.14 / 1.762 / 11.15", "14.23 / 1.587 / 12.32", "13.97 / 1.681 / 11.91"),
        "LipGAN": ("10.05 / 3.350 / 2.833", "10.33 / 3.199 / 4.861", "10.65 / 3.193 / 4.732"),
        "Wav2Lip": ("6.512 / 7.490 / 3.189", "6.386 / 7.789 / 4.887", "6.652 / 7.887 / 4.844"),
        "Wav2Lip + GAN": ("6.774 / 7.263 / 2.475", "6.469 / 7.781 / 4.446", "6.986 / 7.574 / 4.350"),
        "real videos": ("7.012 / 6.931 / –", "6.736 / 7.838 / –", "6.956 / 7.592 / –"),
    },
)
TABLE_6 = (
    ("lip-sync", "realism"),
    {
        "Zhou et al.": ("2.41", "2.42"),
        "Chung et al.": ("2.95", "3.10"),
        "LipGAN": ("3.68", "3.73"),
    },
)
TABLE_3 = (
    ("off-sync accuracy on LRS2",),
    {
        "LipGAN's discriminator": ("55.6 %",),
        "expert, 1 frame": ("79.3 %",),
        "expert, 3 frames": ("87.4 %",),
        "expert, 5 frames": ("91.6 %",),
        "expert of 3 frames that learns from generated faces": ("72.3 %",),
        "expert of 5 frames that learns from generated faces": ("73.6 %",),
    },
)


def main():
    parser = ArgumentParser(description="Compare the ablation's runs on real clips, and write the table.")
    parser.add_argument("--workdir", default="logs/ablation", help="of benchmarks/puppet_ablation.py")
    parser.add_argument(
        "--judge_steps", type=cli.integer(1), default=1500, help="for which the judge of sync is trained"
    )
    parser.add_argument("--syncnet", type=cli.existing, help="for LSE-D and LSE-C; see evaluate.py")
    parser.add_argument("--inception", type=cli.existing, help="for the FID; see evaluate.py")
    parser.add_argument(
        "--report", default=str(ROOT / "docs" / "results_puppets.md"), help="file to write the table to"
    )
    args = parser.parse_args()
    work = Path(args.workdir)
    if not (work / "lists" / "real" / "val.txt").is_file():
        raise UserError(f"{work}: holds no data of the ablation; run benchmarks/puppet_ablation.py first")
    runs = {name: work / "runs" / name / "checkpoint.h5" for name in RUNS}
    runs = {name: path for name, path in runs.items() if path.is_file()}
    if not runs:
        raise UserError(f"{work}: holds no run of the ablation; run benchmarks/puppet_ablation.py first")
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


def printed():
    """What the papers report, as they print it."""
    yield (
        "**Theirs, not ours**: what the papers report, on other data, of networks trained on hours of video. LMD and "
        "SSIM of other crops and landmarks are not comparable with the table above."
    )
    for words, (columns, rows) in (
        (
            "LipGAN (arXiv 2003.00418), table 5, test set of LRW; the identity frame is a random one of the clip:",
            TABLE_5,
        ),
        ("LipGAN, table 6: scores of 1 to 5 by 20 judges, of 10 sounds and 5 faces:", TABLE_6),
        ("Wav2Lip (arXiv 2008.10010), table 1, LSE-D / LSE-C / FID, on whole frames resized to 224 pixels:", TABLE_1),
        ("Wav2Lip, table 3:", TABLE_3),
    ):
        yield words
        yield "\n".join(table(["theirs", *columns], [[who, *cells] for who, cells in rows.items()]))


def figure(result, column):
    """The mean of a measure, None where there is none."""
    if column == "fid":
        return result["set"]["fid"]
    return result["summary"].get(column, {}).get("mean")


if __name__ == "__main__":
    cli.run(main)
