"""How well do a checkpoint's discriminators tell synced from unsynced pairs?

    python -m lipgan_keras.sync_accuracy --data_root crops/ --checkpoint logs/checkpoint.h5

Real faces only. Each run of frames gives one synced pair and one unsynced: the same mouths with their clip's audio at
least 3 frames and, where the clip allows, at most 1 s away. So half of the pairs are synced, and a guess is right half
of the time. The threshold is the best one for pairs of the training clips; the accuracy is that on the held-out clips.

Held out is what train.py held out, whose checkpoints name the clips; or the flags tell. Where nothing is known of what
a checkpoint was trained on, half of the clips, by the hash of `data.splits`, give the threshold.

In a pause or a steady vowel a shifted pair is the same pair. On puppets the true openings are known: `--puppets` also
gives the accuracy on those pairs whose openings differ, and that of an oracle that sees the openings of both sides.
"""

import json
from pathlib import Path

import numpy as np

from ..data import clip_folder, splits
from ..data.clip_folder import Clip
from ..data.scoring import draw, held_out_accuracy, pairs_of, score
from ..inference import models
from ..utils import cli, files, jsontext, npz
from ..utils.cli import ArgumentParser
from ..utils.errors import UserError
from ..utils.terminal import say

DIFFERENT = 0.15  # mean absolute difference of the openings (0..1) of two runs from which on they look different
ORACLE_STEP = 0.05  # the oracle reads openings to this


def opening_differences(clips: list[Clip], runs: np.ndarray, frames: int, data_root: str, puppets: str) -> np.ndarray:
    """(n,) how much the true openings of mouths and audio differ in each unsynced pair, read to `ORACLE_STEP`.

    Args:
        runs: of `scoring.Scores`.
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
    advice = f"give the folder that {data_root} was made of"
    opening = npz.read(path, ["opening"], advice=f"it holds no truth of a puppet; {advice}")[0]["opening"]
    if opening.ndim != 1 or not opening.size:
        raise UserError(f"{path}: opening has the shape {opening.shape}, not (frames,); {advice}")
    return opening


NAMES = {"sync": "lip-sync discriminator", "discriminator": "contrastive discriminator", "oracle": "oracle"}


def measure(
    checkpoint: str,
    data_root: str,
    filelists: str | None = None,
    val_fraction: float | None = None,
    seed: int | None = None,
    audio_offset_ms: float | None = None,
    pairs: int = 1000,
    puppets: str | None = None,
) -> tuple[dict, str]:
    """How often the discriminators of a checkpoint call pairs of held-out clips right.

    Args:
        checkpoint: with a lip-sync or a contrastive discriminator.
        data_root: folder or pack of preprocessed clips.
        filelists, val_fraction: which clips are held out; None: those that the checkpoint names.
        seed: of the pairs; None: the checkpoint's, or 0.
        audio_offset_ms: shift of the audio windows; None: the checkpoint's.
        pairs: runs of frames on each side, at most.
        puppets: the videos of puppets that `data_root` was made of, with their .npz.

    Returns:
        {"pairs", "clips": counts; network: {"all": accuracy, "different": accuracy on those that look different}}, and
        which clips these are, and why.

    Raises:
        UserError: no discriminator, no clips, or none held out.
    """
    config = models.read_config(checkpoint, audio_offset_ms)
    stored, known = models.read_split(checkpoint), models.read_training(checkpoint)
    if seed is None:
        seed = (known or {}).get("seed", 0)
    clips = clip_folder.find_clips(data_root, config.audio)
    *sides, why = splits.to_measure(clips, checkpoint, stored, known, filelists, val_fraction)
    if not sides[0] and sides[1]:  # of none is known that it was trained on
        sides = splits.split_clips(sides[1], 0.5)
        why += f"; the threshold is that of {len(sides[0])} of them"
    if not sides[1]:
        raise UserError(f"{data_root}: no clip is held out; give --filelists with a val.txt, or --val_fraction")
    networks, _ = models.load_discriminators(checkpoint)  # last, as it loads Keras
    datasets = [pairs_of(side, config, networks, seed) for side in sides]
    training, held_out = (score(networks, draw(data, pairs, seed, progress=True)) for data in datasets)
    results = {"pairs": 2 * len(held_out.runs), "clips": len(sides[1])}
    results |= {name: {"all": value} for name, value in held_out_accuracy(training, held_out).items()}
    if puppets:
        differences = opening_differences(sides[1], held_out.runs, datasets[1].frames, data_root, puppets)
        _add_different(results, training, held_out, differences)
    return results, why


def _add_different(results, training, held_out, differences):
    """The accuracy on pairs whose openings differ, and that of an oracle that knows all openings."""
    far = differences >= DIFFERENT
    results["different_pairs"] = 2 * int(far.sum())
    if far.any():
        for name, value in held_out_accuracy(training, held_out, far).items():
            results[name]["different"] = value
    # The oracle errs where both openings are the same to its eyes.
    results["oracle"] = {"all": float(1 + np.mean(differences > 1e-6)) / 2}


def main() -> None:
    parser = ArgumentParser(prog="python -m lipgan_keras.sync_accuracy", description=__doc__.split("\n")[0])
    parser.add_argument("--data_root", type=cli.path, required=True, help="folder or pack of preprocessed clips")
    parser.add_argument(
        "--checkpoint", type=cli.path, required=True, help="with a lip-sync or a contrastive discriminator"
    )
    parser.add_argument(
        "--filelists",
        type=cli.path,
        help="folder with train.txt and val.txt of <video>/<clip> lines (default: the checkpoint's)",
    )
    parser.add_argument(
        "--val_fraction", type=cli.fraction(), help="share of the clips held out (default: those of the checkpoint)"
    )
    parser.add_argument("--seed", type=cli.limited("seed", int), help="of the pairs (default: the checkpoint's, or 0)")
    parser.add_argument(
        "--audio_offset_ms",
        type=cli.limited("audio_offset_ms"),
        help="shift of the audio windows (default: the checkpoint's)",
    )
    parser.add_argument(
        "--pairs", type=cli.integer(2, cli.MOST_AT_ONCE), default=1000, help="runs of frames on each side, at most"
    )
    parser.add_argument(
        "--puppets", type=cli.path, help="the videos of puppets that --data_root was made of, with their .npz"
    )
    parser.add_argument("--json", type=cli.path, help="file to write the results to")
    args = parser.parse_args()
    if args.json:
        inputs = args.data_root, args.checkpoint, args.filelists, args.puppets
        files.check_outfile(args.json, *inputs, suffix=None, mark=jsontext.with_keys("pairs", "clips"))
        files.check_writable(Path(args.json).parent)
    options = {name: value for name, value in vars(args).items() if name != "json"}
    results, why = measure(**options)
    say(
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
            say(line)
    if "oracle" in results:
        say(f"  (the oracle knows the true openings of both sides, to {ORACLE_STEP})")
    say(f"  measured on {why}")
    if args.json:
        with files.replacing(args.json) as temporary:
            temporary.write_text(json.dumps(results, indent=2) + "\n")
