"""How well do a checkpoint's discriminators tell synced from unsynced pairs?

    python -m lipgan_keras.sync_accuracy --data_root crops/ --checkpoint logs/checkpoint.h5

Real faces only. Each run of frames gives one synced pair and one unsynced: the same mouths with their clip's sound at
least 3 frames and, where the clip allows, at most 1 s away. So half of the pairs are synced, and a guess is right half
of the time. The threshold is the best one for pairs of the training clips; the accuracy is that on the held-out clips.

Held out is what train.py held out, which its checkpoints remember; for others the flags tell.

In a pause or a steady vowel a shifted pair is the same pair. On puppets the true openings are known: `--puppets` also
gives the accuracy on those pairs whose openings differ, and that of an oracle that sees the openings of both sides.
"""

import dataclasses
import json
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from . import checkpoints, cli, dataset
from .backend import keras
from .cli import UserError

CHUNK = 64  # runs at a time
DIFFERENT = 0.15  # mean absolute difference of the openings (0..1) of two runs from which on they look different
ORACLE_STEP = 0.05  # the oracle reads openings to this
# The original's mel code trains on windows 8 frames earlier than those of its inference, which are a Keras file's.
ORIGINAL_OFFSET_MS = -320.0


@dataclasses.dataclass
class Scores:
    """Scores of `n` synced and `n` unsynced pairs; higher is more in sync.

    Attributes:
        synced, unsynced: {network: (n,) float}.
        runs: (n,3) int, the clip, the first frame of the mouths, and that of the unsynced sound.
    """

    synced: dict[str, np.ndarray]
    unsynced: dict[str, np.ndarray]
    runs: np.ndarray


@dataclasses.dataclass
class Pairs:
    """Up to `CHUNK` synced pairs and as many unsynced ones, of the same frames.

    Attributes:
        runs: see `Scores`.
        mouths: (n,48,48,3T) float32 in 0..1.
        pictures: (n,96,96,3) uint8, the middle frame of each run.
        sounds: of the synced pairs and of the unsynced, each (n,T,80,27,1) or (n,T,12,35,1) float32.
    """

    runs: np.ndarray
    mouths: np.ndarray
    pictures: np.ndarray
    sounds: tuple[np.ndarray, np.ndarray]


def draw(data: dataset.Dataset, count: int, seed: int = 0, progress: bool = False) -> Iterator[Pairs]:
    """Pairs of real frames, evenly spread over the clips of `data`, which is of `pairs_of`.

    Args:
        count: runs at most, each of which gives a synced and an unsynced pair.

    Raises:
        UserError: no clip is long enough.
    """
    rng = np.random.default_rng([seed, 3])
    chosen = np.unique(np.linspace(0, len(data) - 1, min(count, len(data))).astype(int))
    runs = [(int(data.clip_of[i]), int(data.frame_of[i])) for i in chosen]
    runs = [(clip, first, data.shifted(clip, first, rng)) for clip, first in runs if data.is_whole(clip, first)]
    far = [abs(data.clips[clip].frames[a] - data.clips[clip].frames[b]) >= dataset.SAME_SOUND for clip, a, b in runs]
    runs = [run for run, enough in zip(runs, far, strict=True) if enough]
    if not runs:
        raise UserError("no held-out clip is long enough for a pair that is out of sync; hold out others")
    for start in tqdm(range(0, len(runs), CHUNK), "pairs", disable=not progress, leave=False, delay=1):
        chunk = runs[start : start + CHUNK]
        mouths, synced = zip(*(data.sync_sample(clip, a, rng) for clip, a, _ in chunk), strict=True)
        pictures = [data.picture(clip, a + data.frames // 2) for clip, a, _ in chunk]
        unsynced = [data.heard(clip, b, rng) for clip, _, b in chunk]
        yield Pairs(np.array(chunk), np.stack(mouths), np.stack(pictures), (np.stack(synced), np.stack(unsynced)))


def score(models: dict[str, keras.Model], drawn: Iterable[Pairs]) -> Scores:
    """Score pairs.

    Args:
        models: "sync" and "discriminator", or one of them; the latter sees the middle frame of each run alone.
        drawn: of `draw`.
    """
    names = [name for name in ("sync", "discriminator") if name in models]
    scores, runs = [{name: [] for name in names} for _ in range(2)], []
    for pairs in drawn:
        runs.append(pairs.runs)
        for found, sounds in zip(scores, pairs.sounds, strict=True):
            if "sync" in names:
                heard = np.moveaxis(sounds[..., 0], 1, -1)
                found["sync"].append(_predict(models["sync"], pairs.mouths, heard, _cosine))
            if "discriminator" in names:
                pictures, sound = pairs.pictures.astype("float32") / 255, sounds[:, sounds.shape[1] // 2]
                found["discriminator"].append(_predict(models["discriminator"], pictures, sound, _nearness))
    synced, unsynced = ({name: np.concatenate(found[name]) for name in names} for found in scores)
    return Scores(synced, unsynced, np.concatenate(runs))


def pairs_of(clips: list[dataset.Clip], config: checkpoints.ModelConfig, models: dict, seed: int) -> dataset.Dataset:
    """The data of `draw`; the contrastive discriminator alone needs no runs of several frames."""
    if "sync" not in models:
        config = dataclasses.replace(config, sync_frames=1)
    return dataset.Dataset(clips, config, 2, seed, generator=False, sync=True)


def _predict(model, pictures, sounds, finish):
    missing = [(0, CHUNK - len(pictures))]  # filled up, so that the model is compiled once
    inputs = [np.pad(x, missing + [(0, 0)] * (x.ndim - 1)) for x in (pictures, sounds)]
    return finish(model.predict_on_batch(inputs))[: len(pictures)]


def _cosine(embeddings):
    return (np.asarray(embeddings[0]) * np.asarray(embeddings[1])).sum(axis=-1)


def _nearness(distance):
    return -np.asarray(distance)[:, 0]


def best_threshold(synced: np.ndarray, unsynced: np.ndarray) -> float:
    """The score from which on a pair is best called synced: it errs least often on these, balanced, pairs."""
    values = np.sort(np.concatenate([synced, unsynced]))
    cuts = np.concatenate([values[:1] - 1, (values[1:] + values[:-1]) / 2, values[-1:] + 1])
    misses = np.searchsorted(np.sort(synced), cuts) / len(synced)  # synced below the cut
    alarms = 1 - np.searchsorted(np.sort(unsynced), cuts) / len(unsynced)
    return float(cuts[np.argmin(misses + alarms)])


def accuracy(synced: np.ndarray, unsynced: np.ndarray, threshold: float) -> float:
    """The share of right calls, 0..1, of as many synced as unsynced pairs."""
    return float((np.mean(synced > threshold) + np.mean(unsynced <= threshold)) / 2)


def held_out_accuracy(training: Scores, held_out: Scores, which: np.ndarray | slice = slice(None)) -> dict[str, float]:
    """{network: accuracy on `held_out`, or `which` of its runs}, with the thresholds that are best on `training`."""
    found = {}
    for name, synced in training.synced.items():
        threshold = best_threshold(synced, training.unsynced[name])
        found[name] = accuracy(held_out.synced[name][which], held_out.unsynced[name][which], threshold)
    return found


def opening_differences(
    clips: list[dataset.Clip], runs: np.ndarray, frames: int, data_root: str, puppets: str
) -> np.ndarray:
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


def load(path: str) -> tuple[dict[str, keras.Model], checkpoints.ModelConfig]:
    """The discriminators of a checkpoint that tell sync, by name, and its configuration.

    Raises:
        UserError: it has none, or cannot be read.
    """
    config = checkpoints.read_config(path)
    held = checkpoints.read_networks(path)
    models = {}
    if "sync" in held:
        models["sync"] = config.build_sync_discriminator()
    if "discriminator" in held or not held:
        models["discriminator"] = config.build_discriminator()
    if not models:
        raise UserError(f"{path}: holds neither a lip-sync nor a contrastive discriminator; give a checkpoint with one")
    for model in models.values():
        checkpoints.load_weights(model, path)
    if not held and config.audio == "mel":
        config.audio_offset_ms = ORIGINAL_OFFSET_MS
    return models, config


SPLIT = {"filelists": None, "val_fraction": 0.05, "seed": 0}  # what train.py does without flags
NAMES = {"sync": "lip-sync discriminator", "discriminator": "contrastive discriminator", "oracle": "oracle"}


def measure(args) -> dict:
    """What `main` prints, as a dict: {network: {"all": accuracy, "different":
    accuracy on those that look different}}.
    """
    models, config = load(args.checkpoint)
    if args.audio_offset_ms is not None:
        config.audio_offset_ms = args.audio_offset_ms
    known = checkpoints.read_training(args.checkpoint) or {}
    for name, default in SPLIT.items():
        if getattr(args, name) is None:
            setattr(args, name, known.get(name, default))
    clips = dataset.find_clips(args.data_root, config.audio)
    sides = dataset.split_clips(clips, args.val_fraction, args.seed, args.filelists)
    if not sides[1]:
        raise UserError(f"{args.data_root}: no clip is held out; give --filelists with a val.txt, or --val_fraction")
    datasets = [pairs_of(side, config, models, args.seed) for side in sides]
    training, held_out = (score(models, draw(data, args.pairs, args.seed, progress=True)) for data in datasets)
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
    parser = cli.ArgumentParser(prog="python -m lipgan_keras.sync_accuracy", description=__doc__.split("\n")[0])
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
        cli.check_writable(Path(args.json).parent)
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
        with cli.replacing(args.json) as temporary:
            temporary.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    cli.run(main)
