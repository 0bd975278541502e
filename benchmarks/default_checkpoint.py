"""Make the checkpoint that ships in lipgan_keras/weights: data, training, export and figures, in one command.

    python benchmarks/default_checkpoint.py --clips GRID --workdir logs/default

GRID is a folder of .mpg clips of the GRID audiovisual sentence corpus (Cooke, Barker, Cunningham, Shao 2006; Zenodo
3625687, CC BY 4.0). `lrwp9a`, `pwij3p`, their sounds and the photo of the astronaut are kept out of training and only
judged on. The generator learns from puppets: every other clip's face and matplotlib's photo, in every puppet as another
made-up person, with synthesised speech and the clips' own; and from these clips themselves.

The command goes on where it was stopped, and says where the time went. The learning rate falls in the stages of STAGES.
"""

import json
import os
import shutil
import time
from pathlib import Path

from ablation import ROOT, describe, faces_to_use, in_a_process, judge, list_lines, machine, run, write_lists

from lipgan_keras import cli

WEIGHTS = ROOT / "lipgan_keras" / "weights" / "lipsync.h5"
FLAGS = [
    "--recipe", "lipsync", "--model", "basic", "--width", "0.5", "--batch_size", "32", "--seed", "0", "--quality_start", "3000",
    "--precision", "mixed_bfloat16", "--ema", "0.999", "--warmup", "200",
]  # fmt: skip
STAGES = [(24000, 5e-4), (33000, 2e-4), (40000, 5e-5)]  # steps in all, learning rate
PEOPLE = 60  # puppets of each look of a face
SECONDS = 5.0  # of each
REAL = 16  # copies of the real clips among them, some 7 % of all frames
VALIDATION = 8  # puppets that are held out to watch the training by
UNSEEN = 24  # puppets of the astronaut that are judged on, each with a sound of its own
UNSEEN_SECONDS = 4.0


def main():
    parser = cli.ArgumentParser(description="Train and export the checkpoint that ships.")
    parser.add_argument(
        "--clips", default=os.environ.get("LIPGAN_CLIPS"), help="folder of GRID clips (default: LIPGAN_CLIPS)"
    )
    parser.add_argument("--workdir", default="logs/default", help="data, checkpoint and figures")
    parser.add_argument("--stop_at", type=cli.integer(1), help="steps to stop at this time (default: the last)")
    parser.add_argument("--checkpoint_freq", type=cli.integer(1), default=500, help="steps between checkpoints")
    parser.add_argument("--num_workers", type=cli.integer(1), default=os.cpu_count() or 1, help="processes that make the data")
    parser.add_argument("--out", default=str(WEIGHTS), help="the exported file (default: the one that ships)")
    args = parser.parse_args()
    work = Path(args.workdir)
    make_data(work, args.clips, args.num_workers)
    checkpoint = work / "run" / "checkpoint.h5"
    last = min(args.stop_at or STAGES[-1][0], STAGES[-1][0])
    for (steps, lr), (begin, _) in zip(STAGES, [(0, None), *STAGES], strict=False):
        if begin < last:
            train(work, checkpoint, min(steps, last), lr, args.checkpoint_freq)
    run("-m", "lipgan_keras.checkpoints", "export", checkpoint, args.out, "--float16", "--sync")
    figures = {kind: in_a_process(judge, Path(args.out), work, kind, True) for kind in ("puppets", "real")}
    for kind, found in figures.items():
        print(f"{kind}: {describe(found)}", flush=True)
    with cli.replacing(work / "figures.json") as temporary:
        temporary.write_text(json.dumps(figures | {"time": spent(work)}, indent=1) + "\n", encoding="utf-8")


def make_data(work: Path, clips: str | None, workers: int) -> None:
    """Crops and lists; the last list says that all is there. Of the folders of lists, `train` is train.py's, `puppets` and
    `real` have test clips in their val.txt."""
    from lipgan_keras import puppets

    lists, videos, crops = work / "lists", work / "videos", work / "crops"
    if (lists / "real" / "val.txt").is_file():
        return
    began = time.time()
    train, _, shipped = faces_to_use(clips, videos)
    unseen = puppets.make_clips(
        videos / "unseen", UNSEEN, seed=3, seconds=UNSEEN_SECONDS, photos=[shipped["astronaut"]], num_workers=workers, mirror=False,
    )  # fmt: skip
    run("preprocess.py", "--videos_data_root", videos, "--final_data_root", crops, "--num_workers", workers)
    for number in range(2, REAL + 1):
        for file in train:
            copy = crops / "copies" / f"grid_{number}" / file.stem
            if not copy.is_dir():
                partial = copy.with_name(f".{copy.name}.partial")
                shutil.rmtree(partial, ignore_errors=True)
                shutil.copytree(crops / "real" / "main" / "grid" / file.stem, partial)
                partial.rename(copy)
    known = [shipped["grace_hopper"], *train]
    people = puppets.make_clips(
        crops / "people", 2 * len(known) * PEOPLE, seed=1, seconds=SECONDS, photos=known, speech=train, num_workers=workers,
        varied=True, crops=True,
    )  # fmt: skip
    training = list_lines(people[:-VALIDATION])
    training += [f"grid{f'_{number}' if number > 1 else ''}/{file.stem}" for number in range(1, REAL + 1) for file in train]
    write_lists(lists, training, list_lines(people[-VALIDATION:]), list_lines(unseen))
    note_time(work, "data", began)


def train(work: Path, checkpoint: Path, steps: int, lr: float, frequency: int) -> None:
    from lipgan_keras import checkpoints

    if checkpoint.is_file() and checkpoints.read_config(checkpoint).step >= steps:
        return
    began = time.time()
    try:
        run(
            "train.py", "--data_root", work / "crops", "--filelists", work / "lists" / "train", "--logdir", checkpoint.parent,
            *FLAGS, "--lr", f"{lr:g}", "--checkpoint_freq", frequency, "--steps", steps,
        )  # fmt: skip
    finally:
        note_time(work, "training", began)


def note_time(work: Path, what: str, began: float) -> None:
    """One line for each stretch of work, also where it was stopped."""
    with open(work / "time.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps({"what": what, "seconds": round(time.time() - began), "on": machine()}) + "\n")


def spent(work: Path) -> dict:
    """Hours by what they were spent on, and the machines."""
    lines = [json.loads(line) for line in (work / "time.jsonl").read_text("utf-8").splitlines()]
    hours = {what: round(sum(x["seconds"] for x in lines if x["what"] == what) / 3600, 2) for what in {x["what"] for x in lines}}
    return hours | {"machines": sorted({line["on"] for line in lines})}


if __name__ == "__main__":
    cli.run(main)
