"""How fast is inference, and how much memory does it take?

    python benchmarks/inference.py --clips GRID [--checkpoint_path FILE] [--memory]

The face is `portrait_700p30.mp4` of that folder, copied at a constant 30 frames a second, and its first frame as a
picture at 25. Without a checkpoint the generator is a residual one of full width with random weights, which costs the
same. Prints, of several runs in turn: seconds per stage (they overlap), frames a second from video in to MP4 out, the
real-time factor, and the time over that of `generator.predict` alone, on TensorFlow, for as many frames.

--memory measures instead the peak of memory for 10 s and for 10 min of video, each in a process of its own.
--steps measures instead the video with all of STEPS, which are about the mouth, and without each of them, in turn.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

import cv2
import numpy as np

from lipgan_keras import checkpoints, networks
from lipgan_keras.config import SAMPLE_RATE, WINDOW_SHAPE, ModelConfig
from lipgan_keras.inference import detail, paint
from lipgan_keras.lipsync import LipSync
from lipgan_keras.media import audio_file, video_reader
from lipgan_keras.media.video_writer import VideoWriter
from lipgan_keras.utils import cli
from lipgan_keras.utils.cli import ArgumentParser

RATE = 30
# What --steps leaves out, and what takes its place
STEPS = {
    "identity frames whose mouths rest": ("lipgan_keras.lipsync.References", lambda: None),
    "the colour of painted teeth": (
        f"{paint.__name__}.recoloured",
        lambda made, shifted, mask, landmarks: (made, mask),
    ),
    "detail of the face's own": (f"{detail.__name__}.LARGEST", 1),
}
ROOT = Path(__file__).resolve().parent.parent


def main():
    parser = ArgumentParser(description="Speed and memory of inference, beside generator.predict alone.")
    parser.add_argument(
        "--clips",
        default=os.environ.get("LIPGAN_CLIPS"),
        help="folder with portrait_700p30.mp4 (default: LIPGAN_CLIPS)",
    )
    parser.add_argument("--checkpoint_path", help="generator (default: a residual one with random weights)")
    parser.add_argument("--engine", default="auto", help="of inference.py")
    parser.add_argument("--runs", type=cli.integer(1), default=3, help="of each kind; medians are printed")
    parser.add_argument("--seconds", type=cli.positive(), default=8.0, help="of sound in each run")
    parser.add_argument("--memory", action="store_true", help="measure the peak of memory instead")
    parser.add_argument("--steps", action="store_true", help="measure instead what steps about the mouth cost")
    parser.add_argument("--long", type=cli.positive(), default=600.0, help="seconds of the longer video of --memory")
    parser.add_argument("--peak", help=cli.argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peak:
        print(peak(*json.loads(args.peak)))
        return
    if not args.clips:
        parser.error("--clips, the folder of portrait_700p30.mp4, is needed")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        checkpoint = args.checkpoint_path or random_checkpoint(folder / "residual.h5")
        clip = Path(args.clips) / "portrait_700p30.mp4"
        if args.memory:
            memory(folder, clip, checkpoint, args)
        elif args.steps:
            steps(folder, clip, checkpoint, args)
        else:
            speed(folder, clip, checkpoint, args)


def random_checkpoint(path: Path) -> Path:
    config = ModelConfig("residual", "mel")
    checkpoints.save_checkpoint(path, {"generator": networks.build(config)}, config)
    return path


def inputs(folder: Path, clip: Path, seconds: float) -> tuple[list[np.ndarray], Path, Path]:
    """The frames of the clip, a video of them and a sound; the video and the sound last `seconds`."""
    frames = [frame.image for frame in video_reader.read_frames(clip)]
    audio_file.save_wav(folder / "speech.wav", speech(clip, seconds))
    return frames, copy(folder / "face.mp4", frames, seconds), folder / "speech.wav"


def steps(folder: Path, clip: Path, checkpoint, args) -> None:
    """Print how long the video takes with all of STEPS, and without each of them."""
    _, steady, wave = inputs(folder, clip, args.seconds)
    lipsync, out = LipSync(checkpoint, args.engine), folder / "out.mp4"
    lipsync.run(steady, wave, out, max_sec=1)  # detector and generator are ready after it
    whole, without = [], {name: [] for name in STEPS}
    for _ in range(args.runs):  # in turn, as the machine may be busy with other work
        whole.append(lipsync.run(steady, wave, out).elapsed)
        for name, (target, instead) in STEPS.items():
            with mock.patch(target, instead):
                without[name].append(lipsync.run(steady, wave, out).elapsed)
    print(f"video, {RATE} fps: {statistics.median(whole):.2f} s")
    for name, elapsed in without.items():
        ratio = statistics.median(a / b for a, b in zip(whole, elapsed, strict=True))
        print(f"  without {name}: {statistics.median(elapsed):.2f} s; the whole takes {ratio:.2f} of that")


def speed(folder: Path, clip: Path, checkpoint, args) -> None:
    frames, steady, wave = inputs(folder, clip, args.seconds)
    still = folder / "face.png"
    cv2.imwrite(str(still), frames[0])
    lipsync = LipSync(checkpoint, args.engine)
    begin = time.perf_counter()
    engine = lipsync.engine
    print(
        f"{engine.name}: loaded in {time.perf_counter() - begin:.1f} s; {frames[0].shape[1]}x{frames[0].shape[0]} "
        "pixels"
    )
    generator, config = checkpoints.load_generator(checkpoint)
    for face in (still, steady):
        lipsync.run(face, wave, folder / "out.mp4", max_sec=1)  # detector and generator are ready after it

    rows = {"picture, 25 fps": (still, []), f"video, {RATE} fps": (steady, [])}
    alone = []
    for _ in range(args.runs):  # in turn, as the machine may be busy with other work
        for face, summaries in rows.values():
            summaries.append(lipsync.run(face, wave, folder / "out.mp4"))
        alone.append(predict_alone(generator, config, summaries[-1].frames))
    for name, (_, summaries) in rows.items():
        elapsed = statistics.median(s.elapsed for s in summaries)
        count = summaries[0].frames
        factor = statistics.median(s.real_time_factor for s in summaries)
        predict = statistics.median(alone) * count / rows[f"video, {RATE} fps"][1][0].frames
        print(f"{name}: {count} frames in {elapsed:.2f} s, {count / elapsed:.1f} frames/s, {factor:.2f} x real time")
        for stage in summaries[0].stages:
            print(f"  {stage:12} {statistics.median(s.stages[stage] for s in summaries):6.2f} s")
        print(f"  generator.predict alone {predict:.2f} s; the whole takes {elapsed / predict:.2f} of that")


def predict_alone(generator, config, count) -> float:
    """Seconds of TensorFlow for the generator alone, all inputs there."""
    rng = np.random.default_rng(0)
    size = config.img_size
    faces = rng.random((count, size, size, 6), dtype=np.float32)
    sounds = rng.random((count, *WINDOW_SHAPE[config.audio], 1), dtype=np.float32)
    generator.predict_on_batch([faces[:16], sounds[:16]])
    begin = time.perf_counter()
    generator.predict([faces, sounds], batch_size=16, verbose=0)
    return time.perf_counter() - begin


def copy(path: Path, frames, seconds: float) -> Path:
    """The frames at a constant rate, forward and back for so long."""
    height, width = frames[0].shape[:2]
    there_and_back = frames + frames[::-1]
    with VideoWriter(path, width, height, RATE) as writer:
        for i in range(round(seconds * RATE)):
            writer.write(there_and_back[i % len(there_and_back)], i / RATE)
    return path


def speech(clip: Path, seconds: float) -> np.ndarray:
    """The sound of a clip, over and over."""
    return np.resize(audio_file.load_audio(clip), round(seconds * SAMPLE_RATE))


def memory(folder: Path, clip: Path, checkpoint, args) -> None:
    peaks = []
    print(LipSync(checkpoint, args.engine).engine.name)  # and its graph is kept for the runs below
    frames = [cv2.resize(frame.image, (360, 288)) for frame in video_reader.read_frames(clip)]
    for seconds in (10.0, args.long):
        face, wave = copy(folder / "face.mp4", frames, seconds), folder / "speech.wav"
        audio_file.save_wav(wave, speech(clip, seconds))
        job = json.dumps([str(checkpoint), args.engine, str(face), str(wave), str(folder / "out.mp4")])
        done = subprocess.run(
            [sys.executable, __file__, "--peak", job],
            stdout=subprocess.PIPE,
            check=True,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        peaks.append(float(done.stdout.split()[-1]))
        print(f"{seconds:6.0f} s of video, 360x288: peak of memory {peaks[-1]:.0f} MiB", flush=True)
    print(f"ratio {peaks[1] / peaks[0]:.3f}")


def peak(checkpoint, engine, face, wave, out) -> float:
    """MiB at most that one run takes."""
    import resource

    print(LipSync(checkpoint, engine).run(face, wave, out, max_sec=1e6), file=sys.stderr)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    cli.run(main)
