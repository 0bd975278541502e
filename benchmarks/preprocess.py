"""How fast one core preprocesses videos, with MTCNN's networks in TensorFlow and in OpenVINO, and what bounds it.

    python benchmarks/preprocess.py --clips GRID [--count N] [--runs N]

GRID is a folder of video clips of people who speak. Both take turns in one process with one thread, as a worker of
preprocess.py has it. Times are those of the processor, medians over runs.
"""

import os

ONE = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
os.environ |= dict.fromkeys(ONE, "1")  # before anything reads it

import statistics  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402

import cv2  # noqa: E402
import numpy as np  # noqa: E402
from puppet_ablation import machine, table  # noqa: E402

from lipgan_keras.data import preprocess  # noqa: E402
from lipgan_keras.face import detector, mtcnn_finder  # noqa: E402
from lipgan_keras.utils import cli  # noqa: E402
from lipgan_keras.utils.cli import ArgumentParser  # noqa: E402
from lipgan_keras.utils.errors import UserError  # noqa: E402

ENGINES = {"TensorFlow": False, "OpenVINO": True}


def main():
    parser = ArgumentParser(description="Frames a second that one core preprocesses.")
    parser.add_argument("--clips", required=True, help="folder of video clips of people who speak")
    parser.add_argument("--count", type=cli.integer(1), default=3, help="clips of it")
    parser.add_argument("--runs", type=cli.integer(1), default=3)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    videos = sorted(path for path in Path(args.clips).rglob("*") if path.suffix.lower() in preprocess.VIDEO_SUFFIXES)
    if not videos:
        raise UserError(f"{args.clips}: holds no video; name a folder of clips")
    videos = videos[:: max(1, len(videos) // args.count)][: args.count]
    detect = Timed(detector._detect)
    detector._detect = detect
    detector.expect_many = lambda: None  # the benchmark says which
    found = {name: [] for name in ENGINES}
    with tempfile.TemporaryDirectory() as folder:
        for run in range(-1, args.runs):  # the first loads, and does not count
            for name, openvino in ENGINES.items():
                detector._asked["openvino"] = openvino
                networks = timed_networks(openvino)
                places = [Path(folder) / name / f"{run}-{number}" for number in range(len(videos))]
                begin = time.process_time(), detect.seconds, sum(one.seconds for one in networks)
                for video, place in zip(videos, places, strict=True):
                    place.mkdir(parents=True)
                    if reason := preprocess._write(video, place, 96, "steady"):
                        raise UserError(reason)
                end = time.process_time(), detect.seconds, sum(one.seconds for one in networks)
                if run >= 0:
                    found[name].append([b - a for a, b in zip(begin, end, strict=True)])
        loaded = [[np.load(Path(folder, name, place.name, "landmarks.npz")) for place in places] for name in ENGINES]
        frames = sum(len(one["frames"]) for one in loaded[0])
        apart = max(np.abs(one["landmarks"] - other["landmarks"]).max() for one, other in zip(*loaded, strict=True))
    rows = []
    for name in ENGINES:
        whole, looking, running = (statistics.median(column) for column in zip(*found[name], strict=True))
        rows.append(
            [name, f"{frames / whole:.1f}", *(f"{1000 * part / frames:.1f}" for part in (whole, looking, running))]
        )
    print(f"{machine()}; {len(videos)} clips, {frames} frames, medians of {args.runs} runs\n")
    print(
        *table(["networks in", "frames/s a core", "ms a frame", "of which detector", "of which its networks"], rows),
        sep="\n",
    )
    ratios = [a[0] / b[0] for a, b in zip(*found.values(), strict=True)]
    print(f"\nOpenVINO makes {statistics.median(ratios):.2f} times as many frames.")
    print(f"Landmarks differ by {apart:.4f} pixels of a crop at most.")


class Timed:
    """A function, and the processor's seconds that it took."""

    def __init__(self, function):
        self.function, self.seconds = function, 0.0

    def __call__(self, *args):
        begin = time.process_time()
        try:
            return self.function(*args)
        finally:
            self.seconds += time.process_time() - begin


def timed_networks(openvino):
    """The three networks, each of which is timed from now on."""
    stages = mtcnn_finder.load(openvino).stages
    for stage in stages:
        if not isinstance(stage._model, Timed):
            stage._model = Timed(stage._model)
    return [stage._model for stage in stages]


if __name__ == "__main__":
    cli.run(main)
