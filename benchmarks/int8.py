"""Does INT8 make the generator faster on this CPU, and what does it cost?

    pip install nncf
    python benchmarks/int8.py [--data_root CROPS]

NNCF turns the OpenVINO graph into one of 8-bit integers. Puppets, which the script makes, calibrate it. Both graphs
then paint other puppets, or faces of preprocessed clips. Prints, for the checkpoint that ships and for a residual
generator of full width with random weights: frames a second of both, their ratio as a median of runs in turn, the
largest and the mean difference, and the error in the lips. `inference.py` takes a lower precision where its largest
difference is at most TOLERANCE and it is at least FASTER times as fast (`inference.openvino_graph`).
"""

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from lipgan_keras import checkpoints, networks
from lipgan_keras.config import ModelConfig
from lipgan_keras.data import clip_folder, scoring
from lipgan_keras.data.dataset import Dataset
from lipgan_keras.inference import motion, openvino_graph
from lipgan_keras.puppets.clips import make_clips
from lipgan_keras.utils import cli
from lipgan_keras.utils.cli import ArgumentParser
from lipgan_keras.utils.errors import UserError

BATCH = 16
CALIBRATION, TEST = 300, 160  # frames
CLIPS, SECONDS = 24, 3.0  # puppets to calibrate on, and as many to test on


def main():
    parser = ArgumentParser(description="INT8 beside float32: speed, difference, error in the lips.")
    parser.add_argument("--data_root", type=cli.existing, help="preprocessed clips to test on (default: puppets)")
    parser.add_argument("--runs", type=cli.integer(1), default=9, help="of each graph in turn")
    args = parser.parse_args()
    try:
        import nncf
    except ImportError as error:
        raise UserError("INT8 needs nncf; run: pip install nncf") from error
    with tempfile.TemporaryDirectory() as folder:
        roots = [Path(folder) / name for name in ("calibration", "test")]
        for seed, root in enumerate(roots[:1] if args.data_root else roots):
            make_clips(root, CLIPS, seed=seed, seconds=SECONDS, crops=True, clear=True)
        full = ModelConfig("residual")
        for name, (generator, config) in {
            "ships": checkpoints.load_generator(checkpoints.SHIPPED),
            "residual, full width": (networks.build(full, "generator"), full),
        }.items():
            graph = openvino_graph.convert(motion.with_motion(generator))
            known = samples(roots[0], config, CALIBRATION)
            known = nncf.Dataset([[one["faces"], one["audio"]] for one in known], lambda inputs: inputs)
            small = nncf.quantize(graph, known, preset=nncf.QuantizationPreset.MIXED, subset_size=CALIBRATION)
            runs = [openvino_graph._compile(one, BATCH, "f32") for one in (graph, small)]
            print(f"{name}: {compared(runs, samples(args.data_root or roots[1], config, TEST), args.runs)}", flush=True)


def samples(root, config: ModelConfig, count: int) -> list[dict]:
    """Frames drawn at random, each with an identity frame and its sound."""
    clips = clip_folder.find_clips(root, "mel", progress=False)
    data, rng = Dataset(clips, config, batch_size=1, pairs=False), np.random.default_rng(0)
    found = []
    for _ in range(count):
        number = int(rng.integers(len(clips)))
        found.append(data.sample(number, int(rng.integers(3, clips[number].shown - 3)), rng))
    return found


def compared(runs, frames: list[dict], times: int) -> str:
    """What two compiled graphs need for the same frames, and how far they are apart."""
    held = {name: np.concatenate([one[name] for one in frames]) for name in frames[0]}
    batches = [[held[name][i : i + BATCH] for name in ("faces", "audio")] for i in range(0, len(frames), BATCH)]
    precise, low = (np.concatenate([run(batch)[..., :3] for batch in batches]) for run in runs)
    difference = np.abs(precise - low)
    errors = [scoring.lip_mae(held["masks"][..., 0], held["targets"], made).mean() for made in (precise, low)]
    rates = [[len(frames) / seconds(run, batches) for run in runs] for _ in range(times)]
    before, after = (statistics.median(column) for column in zip(*rates, strict=True))
    ratio = statistics.median(low / precise for precise, low in rates)
    return (
        f"float32 {before:.1f} frames/s, INT8 {after:.1f}, ratio {ratio:.2f}; difference at most "
        f"{difference.max():.3f}, mean {difference.mean():.4f}; lip error {errors[0]:.4f} and {errors[1]:.4f}"
    )


def seconds(run, batches) -> float:
    begin = time.perf_counter()
    for batch in batches:
        run(batch)
    return time.perf_counter() - begin


if __name__ == "__main__":
    cli.run(main)
