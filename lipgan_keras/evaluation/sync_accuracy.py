"""How well do a checkpoint's discriminators tell synced from unsynced pairs?

    python -m lipgan_keras.sync_accuracy --data_root crops/ --checkpoint logs/checkpoint.h5

Real faces only. Each run of frames gives one synced pair and one unsynced: the same mouths with their clip's sound at
least 3 frames and, where the clip allows, at most 1 s away. So half of the pairs are synced, and a guess is right half
of the time. The threshold is the best one for pairs of the training clips; the accuracy is that on the held-out clips.

Held out is what train.py held out, which its checkpoints remember; for others the flags tell.

In a pause or a steady vowel a shifted pair is the same pair. On puppets the true openings are known: `--puppets` also
gives the accuracy on those pairs whose openings differ, and that of an oracle that sees the openings of both sides.
"""

import json
import zipfile
from pathlib import Path

import numpy as np

from ..data import clip_folder, splits
from ..data.clip_folder import Clip
from ..data.scoring import draw, held_out_accuracy, pairs_of, score
from ..inference import models
from ..utils import cli, files
from ..utils.cli import ArgumentParser
from ..utils.errors import UserError

DIFFERENT = 0.15  # mean absolute difference of the openings (0..1) of two runs from which on they look different
ORACLE_STEP = 0.05  # the oracle reads openings to this


def opening_differences(clips: list[Clip], runs: np.ndarray, frames: int, data_root: str, puppets: str) -> np.ndarray:
    """(n,) how much the true openings of mouths and sound differ in each unsynced pair, read to `ORACLE_STEP`.

    Args:
        runs: of `Scores`.
        puppets: the folder of videos of which `data_root` was made, with the truth of each in an .npz beside it.

    Raises:
        UserError: a clip has no truth there.
    """
    truths, differences = {}, []
    for clip, first, other in runs:
        folder = clips[clip].folder
        if clip not in truths:
            truths[clip] = true_opening(folder, data_root, puppets)
        opening = np.round(truths[clip] / ORACLE_STEP) * ORACLE_STEP
        numbers = clips[clip].frames
        both = [opening[np.minimum(numbers[i] + np.arange(frames), len(opening) - 1)] for i in (first, other)]
        differences.append(np.abs(both[0] - both[1]).mean())
    return np.array(differences)


def true_opening(folder: Path, data_root: str | Path, puppets: str | Path) -> np.ndarray:
    """(frames,) the mouth's opening, 0..1, in the puppet of which a preprocessed folder was made.

    Raises:
        UserError: `puppets` holds no truth for it.
    """
    path = Path(puppets) / f"{folder.relative_to(data_root)}.npz"
    try:
        with np.load(path, allow_pickle=False) as saved:
            return saved["opening"]
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: no truth of a puppet; give the folder that {data_root} was made of") from error


SPLIT = {"filelists": None, "val_fraction": 0.05, "seed": 0}  # what train.py does without flags
NAMES = {"sync": "lip-sync discriminator", "discriminator": "contrastive discriminator", "oracle": "oracle"}


def measure(args) -> dict:
    """What `main` prints, as a dict: {network: {"all": accuracy, "different":
    accuracy on those that look different}}.
    """
    networks, config = models.load_discriminators(args.checkpoint)
    if args.audio_offset_ms is not None:
        config.audio_offset_ms = args.audio_offset_ms
    known = models.read_training(args.checkpoint) or {}
    for name, default in SPLIT.items():
        if getattr(args, name) is None:
            setattr(args, name, known.get(name, default))
    clips = clip_folder.find_clips(args.data_root, config.audio)
    sides = splits.split_clips(clips, args.val_fraction, args.seed, args.filelists)
    if not sides[1]:
        raise UserError(f"{args.data_root}: no clip is held out; give --filelists with a val.txt, or --val_fraction")
    datasets = [pairs_of(side, config, networks, args.seed) for side in sides]
    training, held_out = (score(networks, draw(data, args.pairs, args.seed, progress=True)) for data in datasets)
    results = {"pairs": 2 * len(held_out.runs), "clips": len(sides[1])}
    results |= {name: {"all": value} for name, value in held_out_accuracy(training, held_out).items()}
    if args.puppets:
        frames = datasets[1].frames
        differences = opening_differences(sides[1], held_out.runs, frames, args.data_root, args.puppets)
        far = differences >= DIFFERENT
        results["different_pairs"] = 2 * int(far.sum())
        if far.any():
            for name, value in held_out_accuracy(training, held_out, far).items():
                results[name]["different"] = value
        # It errs where both openings are the same to its eyes.
        results["oracle"] = {"all": float(1 + np.mean(differences > 1e-6)) / 2}
    return results


def main() -> None:
    parser = ArgumentParser(prog="python -m lipgan_keras.sync_accuracy", description=__doc__.split("\n")[0])
    parser.add_argument("--data_root", required=True, help="folder or pack of preprocessed clips")
    parser.add_argument("--checkpoint", required=True, help="with a lip-sync or a contrastive discriminator")
    parser.add_argument(
        "--filelists", help="folder with train.txt and val.txt of <video>/<clip> lines (default: the checkpoint's)"
    )
    parser.add_argument(
        "--val_fraction", type=cli.fraction, help="share of the clips held out (default: the checkpoint's, or 0.05)"
    )
    parser.add_argument(
        "--seed", type=cli.integer(0), help="of that split, and of the pairs (default: the checkpoint's, or 0)"
    )
    parser.add_argument(
        "--audio_offset_ms", type=cli.finite, help="shift of the audio windows (default: the checkpoint's)"
    )
    parser.add_argument("--pairs", type=cli.integer(2), default=1000, help="runs of frames on each side, at most")
    parser.add_argument("--puppets", help="the videos of puppets that --data_root was made of, with their .npz")
    parser.add_argument("--json", help="file to write the results to")
    args = parser.parse_args()
    if args.json:
        files.check_writable(Path(args.json).parent)
    results = measure(args)
    print(
        f"{args.checkpoint}: accuracy on {results['pairs']} pairs of {results['clips']} held-out clips, half of them "
        "in sync"
    )
    for name, words in NAMES.items():
        if name in results:
            line = f"  {words:26} {results[name]['all']:6.1%}"
            if "different" in results[name]:
                line += (
                    f"   {results[name]['different']:6.1%} of the {results['different_pairs']} whose openings differ "
                    f"by {DIFFERENT}"
                )
            print(line)
    if "oracle" in results:
        print(f"  (the oracle knows the true openings of both sides, to {ORACLE_STEP})")
    if args.json:
        with files.replacing(args.json) as temporary:
            temporary.write_text(json.dumps(results, indent=2) + "\n")
