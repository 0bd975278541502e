"""Do bfloat16 and INT8 make the generator faster on this CPU, and what do they cost?

    python benchmarks/precision.py [--data_root CROPS]
    pip install nncf
    python benchmarks/precision.py --int8 [--data_root CROPS]

NNCF turns the OpenVINO graph into one of 8-bit integers. Puppets, which the script makes, calibrate it. The graphs
then paint other puppets, or faces of preprocessed clips. Prints, for the checkpoint that ships and for a residual
generator of full width with random weights: frames a second, their ratio to float32 as a median of runs in turn, the
largest and the mean difference, and the error in the lips. `inference.py` takes a lower precision where its largest
difference is at most TOLERANCE and it is at least FASTER times as fast (`inference.openvino_graph`).
"""

import importlib.util
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from puppet_ablation import machine, table

from lipgan_keras import checkpoints, networks
from lipgan_keras.config import ModelConfig
from lipgan_keras.data import clip_folder, scoring
from lipgan_keras.data.dataset import Dataset
from lipgan_keras.inference import motion, openvino_graph
from lipgan_keras.puppets.clips import make_clips
from lipgan_keras.utils import cli
from lipgan_keras.utils.cli import ArgumentParser
from lipgan_keras.utils.errors import UserError

PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}  # OpenVINO's hints; the first is what others are compared with
BATCH = 16
CALIBRATION, TEST = 300, 160  # frames
CLIPS, SECONDS = 24, 3.0  # puppets to calibrate on, and as many to test on


def main():
    parser = ArgumentParser(description="Lower precisions beside float32: speed, difference, error in the lips.")
    parser.add_argument("--data_root", type=cli.existing, help="preprocessed clips to test on (default: puppets)")
    parser.add_argument("--int8", action="store_true", help="INT8, too; it needs nncf")
    parser.add_argument("--runs", type=cli.integer(1), default=9, help="of each graph in turn")
    args = parser.parse_args()
    if args.int8 and not importlib.util.find_spec("nncf"):
        raise UserError("INT8 needs nncf; run: pip install nncf")
    with tempfile.TemporaryDirectory() as folder:
        roots = [Path(folder) / name for name in ("calibration", "test")]
        for seed, needed in enumerate((args.int8, not args.data_root)):
            if needed:
                make_clips(roots[seed], CLIPS, seed=seed, seconds=SECONDS, crops=True, clear=True)
        full = ModelConfig("residual")
        rows = []
        for name, (generator, config) in {
            "ships": checkpoints.load_generator(checkpoints.SHIPPED),
            "residual, full width": (networks.build(full, "generator"), full),
        }.items():
            graph = openvino_graph.convert(motion.with_motion(generator))
            runs = {word: openvino_graph._compile(graph, BATCH, hint) for word, hint in PRECISIONS.items()}
            if args.int8:
                small = of_integers(graph, samples(roots[0], config, CALIBRATION))
                runs["INT8"] = openvino_graph._compile(small, BATCH, "f32")
            frames = samples(args.data_root or roots[1], config, TEST)
            rows += [[name, *row] for row in compared(runs, frames, args.runs)]
    print(machine())
    print(*table(["generator", "precision", "frames/s", "ratio", "largest", "mean", "lip error"], rows), sep="\n")


def of_integers(graph, known: list[dict]):
    """The graph in 8-bit integers, calibrated on these frames."""
    import nncf

    data = nncf.Dataset([[one["faces"], one["audio"]] for one in known], lambda inputs: inputs)
    return nncf.quantize(graph, data, preset=nncf.QuantizationPreset.MIXED, subset_size=CALIBRATION)


def samples(root, config: ModelConfig, count: int) -> list[dict]:
    """Frames drawn at random, each with an identity frame and its sound."""
    clips = clip_folder.find_clips(root, "mel", progress=False)
    data, rng = Dataset(clips, config, batch_size=1, pairs=False), np.random.default_rng(0)
    found = []
    for _ in range(count):
        number = int(rng.integers(len(clips)))
        found.append(data.sample(number, int(rng.integers(3, clips[number].shown - 3)), rng))
    return found


def compared(runs, frames: list[dict], times: int) -> list[list[str]]:
    """What each compiled graph needs for the same frames, and how far it is from the first one."""
    held = {name: np.concatenate([one[name] for one in frames]) for name in frames[0]}
    batches = [[held[name][i : i + BATCH] for name in ("faces", "audio")] for i in range(0, len(frames), BATCH)]
    made = {word: np.concatenate([run(batch)[..., :3] for batch in batches]) for word, run in runs.items()}
    rates = [{word: len(frames) / seconds(run, batches) for word, run in runs.items()} for _ in range(times)]
    precise, found = next(iter(runs)), []
    for word, images in made.items():
        difference = np.abs(images - made[precise])
        rate = statistics.median(one[word] for one in rates)
        ratio = statistics.median(one[word] / one[precise] for one in rates)
        error = scoring.lip_mae(held["masks"][..., 0], held["targets"], images).mean()
        found.append(
            [word, f"{rate:.1f}", f"{ratio:.2f}", f"{difference.max():.3f}", f"{difference.mean():.4f}", f"{error:.5f}"]
        )
    return found


def seconds(run, batches) -> float:
    begin = time.perf_counter()
    for batch in batches:
        run(batch)
    return time.perf_counter() - begin


if __name__ == "__main__":
    cli.run(main)
