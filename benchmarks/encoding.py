"""What x264's presets cost, and how near the mouth comes out to what was made.

    python benchmarks/encoding.py [--seconds N]

The photos that packages bring along speak a synthesised sound with the checkpoint that ships; `--face` takes others.
The same frames are then encoded with each preset, quality, offset for colours and interpolation of these, and read
again.
"""

import tempfile
import time
from pathlib import Path
from unittest import mock

import cv2
import numpy as np
from puppet_ablation import machine, table

from lipgan_keras import LipSync
from lipgan_keras.face import detector, photos
from lipgan_keras.inference import output
from lipgan_keras.media import audio_file, converter, video_reader, video_writer
from lipgan_keras.puppets import speech
from lipgan_keras.utils import cli
from lipgan_keras.utils.cli import ArgumentParser

BILINEAR, BICUBIC = converter.ACCURATE, converter.ACCURATE_TO_WRITE
TRIED = [
    ("fast", 18, 0, BILINEAR),  # what was first
    ("faster", 17, 0, BILINEAR),
    ("veryfast", 18, 0, BILINEAR),
    ("veryfast", 17, 0, BILINEAR),
    *(("veryfast", 16, chroma, BILINEAR) for chroma in (0, -3, -6)),
    ("veryfast", 16, -6, BICUBIC),
]
FPS = 25


def main():
    parser = ArgumentParser(description="Time, size and fidelity of x264's presets.")
    parser.add_argument("--seconds", type=cli.at_least(1), default=4.0, help="length of the sound")
    parser.add_argument("--face", type=cli.existing, action="append", help="photo or video (default: photos)")
    args = parser.parse_args()
    lipsync, rows = LipSync(), []
    for name, photo in [(Path(face).stem, face) for face in args.face or []] or photos.shipped_photos().items():
        frames = made(lipsync, photo, args.seconds)
        mouth = around_the_mouth(photo)
        for preset, crf, chroma, how in TRIED:
            taken, size, again = encoded(frames, preset, crf, chroma, how)
            fidelity = (f"{psnr(frames, again, part):.1f}" for part in (mouth, np.s_[:, :]))
            cells = [f"{1e3 * taken:.1f}", f"{size / 1e3:.0f}", *fidelity]
            rows.append([name, preset, crf, chroma, "bilinear" if how == BILINEAR else "bicubic", *cells])
    print(machine())
    print(
        *table(["photo", "preset", "crf", "colours", "reduced", "ms a frame", "kB", "mouth, dB", "all, dB"], rows),
        sep="\n",
    )


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


def encoded(frames, preset, crf, chroma, how) -> tuple[float, int, list[np.ndarray]]:
    """The processor's seconds a frame, the bytes of the file, and the frames as they are read again."""
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(video_writer, "PRESET", preset),
        mock.patch.object(video_writer, "CHROMA", chroma),
        mock.patch.object(converter, "ACCURATE_TO_WRITE", how),
    ):
        path, begin = Path(folder) / "a.mp4", time.process_time()
        with video_writer.VideoWriter(path, frames[0].shape[1], frames[0].shape[0], FPS, crf=crf) as writer:
            for number, image in enumerate(frames):
                writer.write(image, number / FPS)
        taken = (time.process_time() - begin) / len(frames)
        return taken, path.stat().st_size, [frame.image for frame in video_reader.read_frames(path)]


def psnr(frames, again, part) -> float:
    """dB, over all frames."""
    return cv2.PSNR(*(np.concatenate([image[part] for image in images]) for images in (frames, again)))


if __name__ == "__main__":
    cli.run(main)
