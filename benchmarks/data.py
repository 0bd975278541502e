"""How fast batches are made, without anything that trains on them: samples a second, with all augmentation.

    python benchmarks/data.py --data_root crops/

A sample is a frame for the generator; with recipe sync a run of frames. One batch of `lipsync` holds as many runs for
the lip-sync discriminator as frames for the generator, and two wrong sounds for each.
"""

import argparse
import itertools
import os
import statistics
import time

from puppet_ablation import processor

from lipgan_keras.config import ModelConfig
from lipgan_keras.data import augment, clip_folder
from lipgan_keras.data.augment_audio import Sound
from lipgan_keras.data.clip_folder import Clip
from lipgan_keras.data.dataset import Dataset
from lipgan_keras.data.loader import Loader
from lipgan_keras.utils import cli
from lipgan_keras.utils.cli import ArgumentParser


def main():
    from lipgan_keras.training import config

    parser = ArgumentParser(description="Samples a second of the input pipeline alone.")
    parser.add_argument("--data_root", required=True, help="folder or pack of preprocessed clips")
    parser.add_argument("--recipes", nargs="+", choices=list(config.RECIPES), default=list(config.RECIPES))
    parser.add_argument("--batch_size", type=cli.integer(2), default=96)
    parser.add_argument("--threads", type=cli.integer(1), nargs="*", default=[1, 2], help="numbers of threads to try")
    parser.add_argument("--processes", type=cli.integer(1), nargs="*", default=[4], help="numbers of processes to try")
    parser.add_argument("--runs", type=cli.integer(1), default=5)
    parser.add_argument("--seconds", type=cli.positive(), default=2.0, help="of each run")
    parser.add_argument("--img_size", type=int, choices=[96, 192], default=96)
    parser.add_argument(
        "--cache_mb",
        type=cli.at_least(0),
        default=2048,
        help="for pictures and sound that are kept; 0: as of data without end",
    )
    parser.add_argument("--profile", action="store_true", help="where the time of one thread goes, instead")
    args = parser.parse_args()

    clips = clip_folder.find_clips(args.data_root, "mel")
    frames = sum(clip.shown for clip in clips)
    print(f"{machine()}; {len(clips)} clips, {frames} frames; batches of {args.batch_size}, all augmentation")
    for recipe in args.recipes:
        data = dataset_of(config.RECIPES[recipe], clips, args)
        number = data.samples and args.batch_size or data.sync_samples
        start = time.perf_counter()
        data.batch(0)
        print(f"{recipe:8} first batch {time.perf_counter() - start:.2f} s", end="", flush=True)
        if args.profile:
            profile(data)
            continue
        for count, processes in [*((n, False) for n in args.threads), *((n, True) for n in args.processes)]:
            rates = rate(data, count, processes, args.runs, args.seconds)
            print(
                f"; {count} {'processes' if processes else 'threads'}: {number * statistics.median(rates):.0f} "
                "samples/s ",
                end="",
            )
            print(f"({number * min(rates):.0f} to {number * max(rates):.0f})", end="", flush=True)
        print()
    print(f"load average at the end {os.getloadavg()[0]:.1f}")


def dataset_of(preset, clips: list[Clip], args: argparse.Namespace) -> Dataset:
    """As train.py makes it, but with all augmentation."""
    return Dataset(
        clips,
        ModelConfig(img_size=args.img_size),
        args.batch_size,
        generator=preset.generator,
        pairs=preset.disc_weight > 0,
        sync=preset.sync_weight > 0,
        augmentation=augment.NAMES,
        sound=Sound(augment.NAMES),
        cache_bytes=int(args.cache_mb * 1e6),
        shared=True,
    )


def rate(data: Dataset, workers: int, processes: bool, runs: int, seconds: float) -> list[float]:
    """Batches a second in each of some stretches, after one that warms up."""
    with Loader(data, 0, workers, processes) as loader:
        batches, rates = iter(loader), []
        for number in range(runs + 1):
            start = time.perf_counter()
            made = sum(
                1 for _ in itertools.takewhile(lambda _, start=start: time.perf_counter() - start < seconds, batches)
            )
            if number:
                rates.append(made / (time.perf_counter() - start))
    return rates


def machine() -> str:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{processor()}, {cores} cores, load average {os.getloadavg()[0]:.1f}"


def profile(data):
    import cProfile
    import pstats

    for number in range(1, 4):
        data.batch(number)
    profiler = cProfile.Profile()
    profiler.runcall(lambda: [data.batch(number) for number in range(4, 12)])
    pstats.Stats(profiler).sort_stats("tottime").print_stats(25)


if __name__ == "__main__":
    cli.run(main)
