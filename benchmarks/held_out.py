"""Does a generator use the sound? Lip error on held-out clips: right sound, wrong sound, frozen mouth.

    python benchmarks/held_out.py --checkpoint_path logs/checkpoint.h5 --data_root data/crops --filelists data/lists

Judges every second frame of the clips that training held out, or that val.txt names. The identity frame is the clip's
first frame that is at least 12 frames away, so that the network never sees the true mouth. Baselines: the frozen mouth
is that identity frame itself, as it is, and moved onto the target by its landmarks; the wrong sound is the same time of
the next clip, and the clip's own sound 10 frames later. Intervals: bootstrap over clips, 95 %.
"""

import cv2
import numpy as np
from tqdm import tqdm

from lipgan_keras import checkpoints
from lipgan_keras.data import clip_folder, scoring, splits
from lipgan_keras.data.dataset import Dataset
from lipgan_keras.evaluation import statistics
from lipgan_keras.face import cropping, regions
from lipgan_keras.networks import predict
from lipgan_keras.utils import cli
from lipgan_keras.utils.cli import ArgumentParser


def main():
    parser = ArgumentParser(description="Lip error on held-out clips, with baselines.")
    parser.add_argument("--checkpoint_path", required=True)
    parser.add_argument("--data_root", required=True)
    parser.add_argument("--filelists", help="folder with train.txt and val.txt")
    args = parser.parse_args()
    generator, config = checkpoints.load_generator(args.checkpoint_path)
    clips = clip_folder.find_clips(args.data_root, config.audio)
    path = args.checkpoint_path
    kept, training = checkpoints.read_split(path), checkpoints.read_training(path)
    _, clips, why = splits.to_measure(clips, path, kept, training, args.filelists)
    print(f"{args.data_root}: measures {why}")
    data = Dataset(clips, config, batch_size=1, pairs=False)

    rows, groups = [], []
    for c, clip in enumerate(tqdm(clips, unit="clip")):
        targets, inputs, right, other, later, frozen, moved, masks = ([] for _ in range(8))
        for i in range(0, clip.shown, 2):
            far = np.flatnonzero(np.abs(clip.frames - clip.frames[i]) >= 12)
            if len(far) == 0:
                continue
            identity, target = data.picture(c, far[0]), data.picture(c, i)
            face, truth = regions.assemble(identity, target)
            targets.append(truth)
            inputs.append(face)
            right.append(data.window(c, i))
            later.append(data.window(c, (i + 10) % clip.shown))
            neighbour = (c + 1) % len(clips)
            other.append(data.window(neighbour, min(i, clips[neighbour].shown - 1)))
            frozen.append(identity / 255)
            before, points = (clip.points(j, config.img_size) for j in (far[0], i))
            moved.append((identity if points is None else align(identity, before, points)) / 255)
            masks.append(regions.lip_mask(data.points(c, i), config.img_size))
        inputs, masks, targets = np.stack(inputs), np.stack(masks), np.stack(targets)
        results = [predict(generator, inputs, np.stack(sound)) for sound in (right, other, later)]
        results += [np.stack(frozen), np.stack(moved)]
        rows.append(np.stack([scoring.lip_mae(masks, targets, result) for result in results], axis=1))
        groups += [c] * len(masks)
    rows, groups = np.concatenate(rows), np.array(groups)

    names = ["right sound", "wrong: other clip", "wrong: 10 frames later", "frozen mouth", "frozen mouth, aligned"]
    print(f"lip MAE (0..1), {len(rows)} frames of {len(clips)} clips, {config}, step {config.step}")
    for name, column in zip(names, rows.T, strict=True):
        low, high = statistics.bootstrap_interval(column, groups)
        print(f"  {name:24} {column.mean():.4f}  [{low:.4f}, {high:.4f}]")
    print("difference to the right sound, and ratio of the right sound's error to it")
    for name, column in list(zip(names, rows.T, strict=True))[1:]:
        low, high = statistics.bootstrap_interval(column - rows[:, 0], groups)
        ratio = rows[:, 0].mean() / column.mean()
        print(f"  {name:24} {np.mean(column - rows[:, 0]):.4f}  [{low:.4f}, {high:.4f}]  ratio {ratio:.2f}")


def align(image, points, onto):
    """Move a crop so that its eyes and nose fall on those of another."""
    return cv2.warpAffine(
        image, cropping.pose(points, onto), image.shape[1::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


if __name__ == "__main__":
    cli.run(main)
