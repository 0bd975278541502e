"""Does a loss that looks at the lips help lip-sync on people, and does a discriminator of its own for it?

    python benchmarks/ablation.py --clips GRID --speakers SPEAKERS --workdir logs/people

GRID is a folder of .mpg clips of the GRID audiovisual sentence corpus (Cooke, Barker, Cunningham, Shao 2006; Zenodo
3625687, CC BY 4.0); SPEAKERS holds more of them: train/<speaker>/<clip>.mpg and judge/<speaker>/<clip>.mpg. Each row
trains on the people of `train` with three seeds, and is judged on those of `judge`, whom it never saw. Nothing is
chosen by them: all rows have the same steps, batch and rate, and the last weights count.

The command goes on where it was stopped. Rows come in the order of ROWS, each with all its seeds before the next; what
is not reached is "not run" on the page. Every run is kept in docs/results/<row>-<seed>.json, with its flags, log,
commit and seconds, and the page and its plots are made of these files. So runs from other machines can be added.
"""

import csv
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from default_checkpoint import SENTENCES, link
from puppet_ablation import ROOT, TEST_CLIPS, in_a_process, machine, quality_from, run, write_list

from lipgan_keras.utils import cli, files
from lipgan_keras.utils.cli import ArgumentParser
from lipgan_keras.utils.errors import UserError

KEPT = ROOT / "docs" / "results"
SEEDS = (0, 1, 2)
STEPS = 1000
FLAGS = ["--model", "basic", "--width", "0.25", "--batch_size", "16", "--lr", "5e-4", "--balance", "speakers"]
# Otherwise that discriminator begins when the held-out lips go by the audio, and these are the strangers.
QUALITY = ["--quality_start", "300"]
LIPSYNC = ["--recipe", "lipsync", *QUALITY]


class Row(NamedTuple):
    """What is trained: its name for people, the flags that set it apart, the row whose lip-sync discriminator it begins
    with, and of DATA what it learns from.
    """

    words: str
    flags: list[str]
    before: str | None = None
    data: str = "people"


DATA = {
    "two": "2 people",
    "six": "6 people",
    "people": "13 people",
    "recast": "13, and people\nmade of them",
    "heads": "13, and\n3D heads",
}
FEWER = {"two": ("s1", "s3"), "six": ("s1", "s3", "s5", "s30", "s31", "s34")}
RECAST = 3  # people made of each clip
HEADS = 60  # of 3 s, who say sentences with flite's voices
ROWS = {
    "unet": Row("the generator alone", ["--recipe", "unet"]),
    "unet_lips": Row("the generator alone, lips weighted 6", ["--recipe", "unet", "--lip_weight", "6"]),
    "lipgan": Row("LipGAN: with its discriminator", ["--recipe", "lipgan"]),
    "lipsync_plain": Row("`lipsync` without the weighted loss", [*LIPSYNC, "--lip_weight", "1"]),
    "lipsync_no_sync": Row("`lipsync` without the lip-sync discriminator", [*LIPSYNC, "--sync_weight", "0"]),
    "lipsync_no_quality": Row(
        "`lipsync` without the visual-quality discriminator", ["--recipe", "lipsync", "--quality_weight", "0"]
    ),
    "lipsync_no_augment": Row("`lipsync` without variations of the data", [*LIPSYNC, "--augment", "none"]),
    "lipsync": Row("`lipsync`", LIPSYNC),
    "sync": Row("the lip-sync discriminator alone", ["--recipe", "sync"]),
    "expert": Row("`lipsync`, that one learned before, and frozen", [*LIPSYNC, "--sync_mode", "expert"], "sync"),
    "frames_1": Row("`lipsync`, the lip-sync discriminator sees 1 frame", [*LIPSYNC, "--sync_frames", "1"]),
    "frames_3": Row("the same, 3 frames (`lipsync`: 5)", [*LIPSYNC, "--sync_frames", "3"]),
    "both": Row("`lipsync` with LipGAN's discriminator besides", [*LIPSYNC, "--disc_weight", "0.01"]),
    "warp": Row("`lipsync`, decoder `warp`", [*LIPSYNC, "--decoder", "warp"]),
    "film": Row("`lipsync`, decoder `film`", [*LIPSYNC, "--decoder", "film"]),
    "attention": Row("`lipsync`, audio encoder `attention`", [*LIPSYNC, "--audio_encoder", "attention"]),
    "mobilenet": Row("`lipsync`, face encoder `mobilenet`", [*LIPSYNC, "--face_encoder", "mobilenet"]),
    "lipsync_two": Row("`lipsync`, 2 people", LIPSYNC, data="two"),
    "lipsync_six": Row("`lipsync`, 6 people", LIPSYNC, data="six"),
    "lipsync_recast": Row(f"`lipsync`, and {RECAST} people made of each clip", LIPSYNC, data="recast"),
    "lipsync_heads": Row(f"`lipsync`, and {HEADS} 3D heads", LIPSYNC, data="heads"),
}
# How the answer grows with the data
LEARNT_FROM = ("lipsync_two", "lipsync_six", "lipsync", "lipsync_recast", "lipsync_heads")
METRICS = ["lip_mae", "sensitivity_5", "sensitivity_other", "opening_correlation", "lmd", "lmd_5", "psnr", "ssim"]
METRICS += ["sharpness_ratio"]
EACH = 50  # steps of the log that a line of the kept file is the mean of
PAIRS = 1000  # of which a discriminator says whether they are in sync
MOST = 40  # clips of a speaker: s1 has 333, others one
OF_CLIPS = {"bbaf2n": "s1", "sbia1a": "s3", "lbax4n": "s5", "brbk7n": "s20", "lbbc2a": "s22", "sbwe5n": "s32"}
OF_CLIPS |= {"pwij3p": "s2", "lrwp9a": "s23"}


def main():
    parser = ArgumentParser(description="Train and judge each part of the recipes on people.")
    parser.add_argument(
        "--clips", default=os.environ.get("LIPGAN_CLIPS"), help="folder of GRID clips (default: LIPGAN_CLIPS)"
    )
    parser.add_argument("--speakers", type=cli.existing, help="folder with train/ and judge/ of <speaker>/<clip>.mpg")
    parser.add_argument("--workdir", default="logs/people", help="data and checkpoints")
    parser.add_argument("--only", nargs="+", choices=list(ROWS), metavar="ROW", help=f"some of {' '.join(ROWS)}")
    parser.add_argument(
        "--seeds", type=cli.limited("seed", int), nargs="+", default=list(SEEDS), help="some of the seeds"
    )
    parser.add_argument(
        "--num_workers", type=cli.integer(1), default=os.cpu_count() or 1, help="processes that make the data"
    )
    parser.add_argument("--face_model", type=cli.existing, help="3D face model, for the row of 3D heads")
    args = parser.parse_args()
    import ablation_page  # it reads what is declared above

    work = Path(args.workdir)
    make_data(work, args)
    for row in args.only or ROWS:
        if ROWS[row].data == "heads" and not args.face_model:
            print(f"{row}: left out; it needs --face_model", flush=True)
            continue
        for seed in args.seeds:
            train_and_judge(row, seed, work, args)
        ablation_page.write()


def make_data(work: Path, args) -> None:
    """Crops of all speakers, and lists of those to train on and to judge by; the last list says that all is there."""
    lists = work / "lists"
    if (lists / "val.txt").is_file():
        return
    if not args.clips or not args.speakers:
        raise UserError(f"{work}: holds no data yet; name the clips of GRID with --clips and --speakers")
    chosen: dict[str, list[str]] = {}
    for split in ("train", "judge"):
        found = sorted(path for path in (Path(args.speakers) / split).glob("*/*") if path.suffix in (".mpg", ".mp4"))
        known = [(path.parent.name, path) for path in found]
        known += [
            (OF_CLIPS[path.stem], path)
            for path in sorted(Path(args.clips).glob("*.mpg"))
            if path.stem in OF_CLIPS and (path.stem in TEST_CLIPS) == (split == "judge")
        ]
        count: dict[str, int] = {}
        for speaker, path in known:
            count[speaker] = count.get(speaker, 0) + 1
            if count[speaker] > MOST:
                continue
            copy = work / "videos" / speaker / path.name
            if not copy.is_file():
                with files.replacing(copy) as temporary:
                    shutil.copyfile(path, temporary)
            chosen.setdefault(split, []).append(f"{speaker}/{path.stem}")
    if set(chosen) != {"train", "judge"}:
        raise UserError(f"{args.speakers}: holds no clips in train/<speaker>/ or judge/<speaker>/")
    run(
        "preprocess.py", "--videos_data_root", work / "videos", "--final_data_root", work / "crops",
        "--num_workers", args.num_workers,
    )  # fmt: skip
    there = {split: [line for line in lines if (work / "crops" / line).is_dir()] for split, lines in chosen.items()}
    write_list(work, "lists", sorted(set(there["train"])), sorted(set(there["judge"])))


def more_data(work: Path, name: str, args) -> tuple[Path, Path]:
    """The folder of crops, and that of lists, of DATA."""
    from lipgan_keras.data import clip_folder
    from lipgan_keras.face.photos import shipped_photos
    from lipgan_keras.puppets import clips as puppets_clips
    from lipgan_keras.puppets.recast import recast

    lists, crops = work / f"lists_{name}", work / f"crops_{name}"
    if name == "people":
        return work / "crops", work / "lists"
    if (lists / "val.txt").is_file():
        return (work / "crops" if name in FEWER else crops), lists
    training, held_out = ((work / "lists" / f"{side}.txt").read_text("utf-8").split() for side in ("train", "val"))
    if name in FEWER:
        training = [line for line in training if line.split("/")[0] in FEWER[name]]
        write_list(work, lists.name, training, held_out)
        return work / "crops", lists
    for clip in sorted((work / "crops").glob("*/*")):
        link(clip, crops / clip.relative_to(work / "crops"))
    if name == "recast":
        # Of those to judge by none are made: a list that names a clip names what was made of it.
        known = {clip.name for clip in clip_folder.find_clips(work / "crops", "mel")} & set(training)
        recast(crops, lambda clip: RECAST if clip.name in known else 0, args.num_workers)
    else:
        photos = [shipped_photos()["grace_hopper"], *sorted((work / "videos" / "s3").iterdir())[:1]]
        options = {"photos": photos, "crops": True, "num_workers": args.num_workers, "face_model": args.face_model}
        made = puppets_clips.make_clips(
            crops / "heads", HEADS, seed=42, seconds=3.0, varied=True, texts=SENTENCES, **options
        )
        training = training + [path.relative_to(crops).as_posix() for path in made]
    write_list(work, lists.name, sorted(training), held_out)
    return crops, lists


def spent_before(logdir) -> dict:
    """Seconds and commits of the calls before this one. One that was killed counts up to its last file."""
    note = logdir / "seconds.json"
    if not note.is_file():
        return {"seconds": 0.0, "commits": []}
    spent = json.loads(note.read_text("utf-8"))
    if began := spent.pop("began", None):
        written = max(file.stat().st_mtime for file in logdir.glob("*.*"))  # this note at least
        spent["seconds"] += max(0.0, written - began)
    return spent


def write_spent(logdir, spent) -> None:
    """Keep the seconds and commits of the calls so far."""
    logdir.mkdir(parents=True, exist_ok=True)
    with files.replacing(logdir / "seconds.json") as temporary:
        temporary.write_text(json.dumps(spent), encoding="utf-8")


def train_and_judge(row: str, seed: int, work: Path, args) -> None:
    """Train one run and keep what there is to know of it; nothing, if it is kept already."""
    kept = KEPT / f"{row}-{seed}.json"
    if kept.is_file():
        return
    _, own, before, data = ROWS[row]
    crops, lists = more_data(work, data, args)
    logdir = work / "runs" / f"{row}-{seed}"
    checkpoint = logdir / "checkpoint.h5"
    flags = [*own, *FLAGS, "--seed", str(seed), "--steps", str(STEPS)]
    where = ["--data_root", crops, "--filelists", lists, "--logdir", logdir, "--checkpoint_freq", 100]
    if before:
        resumed = work / "runs" / f"{before}-{seed}" / "checkpoint.h5"
        if not resumed.is_file():
            print(f"{kept}: left out; it begins with {resumed}, which is of another machine", flush=True)
            return
        where += ["--resume_sync", resumed]
    spent = spent_before(logdir)
    spent["commits"] = sorted({*spent["commits"], commit()})
    began = time.time()
    write_spent(logdir, {**spent, "began": began})
    try:
        run("train.py", *where, *flags)
    finally:
        spent["seconds"] += time.time() - began
        write_spent(logdir, spent)
    found = {
        "row": row,
        "seed": seed,
        "flags": flags,
        "commit": ", ".join(spent["commits"]),
        "steps": STEPS,
        "seconds": round(spent["seconds"]),
        "machine": machine(),
        "quality_from": quality_from(checkpoint),
        "log": thinned(logdir / "log.csv"),
        "clips": judged(checkpoint, work, logdir / "judged") if row != "sync" else {},
        "frozen": frozen(checkpoint, work) if row != "sync" else {},
        "sync_accuracy": sync_accuracy(checkpoint, work),
    }
    with files.replacing(kept) as temporary:
        temporary.write_text(json.dumps(found, indent=None, separators=(",", ":")) + "\n", encoding="utf-8")
    print(f"{kept}: {spent['seconds'] / 60:.1f} min", flush=True)


def commit() -> str:
    """Of the code that ran; "+" behind it where files were changed since."""
    said = ["git", "-C", str(ROOT)]
    name = subprocess.run([*said, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout
    changed = subprocess.run(
        [*said, "status", "--porcelain", "--", "lipgan_keras", "train.py"], capture_output=True, text=True, check=False
    )
    return name.strip() + "+" * bool(changed.stdout.strip())


def thinned(log: Path) -> dict[str, list]:
    """{column: values} of a log.csv, means over EACH steps; None where it is not defined."""
    with open(log, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    steps = np.array([int(row["step"]) for row in rows])
    ends = np.unique(-(-steps // EACH) * EACH)
    columns: dict[str, list] = {"step": ends.tolist()}
    for name in rows[0]:
        if name == "step":
            continue
        values = np.array([float(row[name] or "nan") for row in rows])
        means = []
        for end in ends:
            here = values[(steps > end - EACH) & (steps <= end)]
            here = here[np.isfinite(here)]
            means.append(float(f"{here.mean():.4g}") if len(here) else None)
        columns[name] = means
    return columns


def judged(checkpoint: Path, work: Path, out: Path, *flags) -> dict[str, dict[str, float | None]]:
    """{<speaker>/<clip>: {measure: value}} of the strangers."""
    evaluation = [
        "evaluate.py",
        "--checkpoint",
        checkpoint,
        "--data_root",
        work / "crops",
        "--filelists",
        work / "lists",
    ]
    run(*evaluation, "--out", out, "--metrics", *METRICS, *flags)
    content = json.loads((out / "results.json").read_text("utf-8"))
    shutil.rmtree(out / "videos", ignore_errors=True)
    return {
        record["name"]: {
            name: None if (value := record["values"].get(name)) is None else float(f"{value:.5g}") for name in METRICS
        }
        for record in content["videos"]
        if record["status"] == "ok"
    }


def frozen(checkpoint: Path, work: Path) -> dict[str, dict[str, float | None]]:
    """The same of a mouth that stays as it is, which is measured once."""
    kept = work / "frozen.json"
    if not kept.is_file():
        # Two runs may end at once. Each measures in a folder of its own.
        found = judged(checkpoint, work, work / f"frozen-{os.getpid()}", "--baseline", "frozen")
        with files.replacing(kept) as temporary:
            temporary.write_text(json.dumps(found), encoding="utf-8")
    return json.loads(kept.read_text("utf-8"))


def sync_accuracy(checkpoint: Path, work: Path) -> dict:
    """What `lipgan_keras.sync_accuracy` says of each discriminator of a checkpoint, on strangers."""
    from lipgan_keras import checkpoints

    if not {"discriminator", "sync"} & set(in_a_process(checkpoints.read_networks, checkpoint)):
        return {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sync.json"
        run(
            "-m", "lipgan_keras.sync_accuracy", "--checkpoint", checkpoint, "--data_root", work / "crops",
            "--filelists", work / "lists", "--pairs", PAIRS, "--json", path,
        )  # fmt: skip
        return json.loads(path.read_text("utf-8"))


if __name__ == "__main__":
    cli.run(main)
