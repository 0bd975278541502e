"""What x264's presets cost, and how near the mouth comes out to what was made.

    python benchmarks/encoding.py [--seconds N]

The photos that packages bring along speak a synthesised sound with the checkpoint that ships. The same frames are then
encoded with each preset and quality, and read again.
"""

import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from puppet_ablation import machine, table

from lipgan_keras import LipSync
from lipgan_keras.face import detector, photos
from lipgan_keras.inference import output
from lipgan_keras.media import audio_file, video_reader, video_writer
from lipgan_keras.puppets import speech
from lipgan_keras.utils import cli
from lipgan_keras.utils.cli import ArgumentParser

TRIED = [
    ("fast", 18, 0),
    ("faster", 17, 0),
    ("veryfast", 18, 0),
    ("veryfast", 17, 0),
    *(("veryfast", 16, chroma) for chroma in (0, -3, -6)),
]
FPS = 25


def main():
    parser = ArgumentParser(description="Time, size and fidelity of x264's presets.")
    parser.add_argument("--seconds", type=cli.at_least(1), default=4.0, help="length of the sound")
    args = parser.parse_args()
    lipsync, rows = LipSync(), []
    for name, photo in photos.shipped_photos().items():
        frames = made(lipsync, photo, args.seconds)
        mouth = around_the_mouth(photo)
        for preset, crf, chroma in TRIED:
            taken, size, again = encoded(frames, preset, crf, chroma)
            fidelity = [psnr(frames, again, part) for part in (mouth, np.s_[:, :])]
            rows.append(
                [name, preset, crf, chroma, f"{1e3 * taken:.1f}", f"{size / 1e3:.0f}", *(f"{x:.1f}" for x in fidelity)]
            )
    print(machine())
    print(*table(["photo", "preset", "crf", "chroma", "ms a frame", "kB", "mouth, dB", "all, dB"], rows), sep="\n")


def made(lipsync, photo, seconds) -> list[np.ndarray]:
    """The frames of a photo that speaks, before they are encoded."""
    frames = []

    class Kept(video_writer.VideoWriter):
        def write(self, image, *times):
            frames.append(image.copy())
            super().write(image, *times)

    with tempfile.TemporaryDirectory() as folder:
        sound = Path(folder) / "a.wav"
        audio_file.save_wav(sound, speech.synthesise_speech(seconds, np.random.default_rng(0))[0])
        before, output.VideoWriter = output.VideoWriter, Kept
        try:
            lipsync.run(photo, sound, Path(folder) / "a.mp4")
        finally:
            output.VideoWriter = before
    return frames


def around_the_mouth(photo):
    """Rows and columns of a photo."""
    image = next(iter(video_reader.read_frames(photo))).image
    (left, y), (right, other_y) = detector.select(detector.detect([image])[0]).landmarks[3:]
    middle, wide = (y + other_y) / 2, right - left
    edges = middle - 0.4 * wide, middle + 0.7 * wide, left - 0.3 * wide, right + 0.3 * wide
    top, bottom, first, last = map(round, edges)
    return np.s_[top:bottom, first:last]


def encoded(frames, preset, crf, chroma) -> tuple[float, int, list[np.ndarray]]:
    """The processor's seconds a frame, the bytes of the file, and the frames as they are read again."""
    ours = video_writer.PRESET, video_writer.CHROMA
    video_writer.PRESET, video_writer.CHROMA = preset, chroma
    try:
        with tempfile.TemporaryDirectory() as folder:
            path, begin = Path(folder) / "a.mp4", time.process_time()
            with video_writer.VideoWriter(path, frames[0].shape[1], frames[0].shape[0], FPS, crf=crf) as writer:
                for number, image in enumerate(frames):
                    writer.write(image, number / FPS)
            taken = (time.process_time() - begin) / len(frames)
            return taken, path.stat().st_size, [frame.image for frame in video_reader.read_frames(path)]
    finally:
        video_writer.PRESET, video_writer.CHROMA = ours


def psnr(frames, again, part) -> float:
    """dB, over all frames."""
    return cv2.PSNR(*(np.concatenate([image[part] for image in images]) for images in (frames, again)))


if __name__ == "__main__":
    cli.run(main)
