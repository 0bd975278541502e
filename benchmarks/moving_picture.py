"""Make the moving picture of README.md: photos that speak, and the wave of what they say.

    python benchmarks/moving_picture.py docs/speaks.webp

They say the sound of `make demo`; `--audio` takes another. The photos are the astronaut of scikit-image, which the
checkpoint that ships never saw, and matplotlib's Grace Hopper, of whom some of its training data were made; both are in
the public domain. `--photo` takes others.
"""

import argparse
import tempfile
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from lipgan_keras import LipSync
from lipgan_keras.face import photos, tracking
from lipgan_keras.media import audio_file, video_reader
from lipgan_keras.puppets import demo, speech
from lipgan_keras.utils import cli

SECONDS = 5.0
SIDE, GAP, WAVE = 280, 8, 64  # pixels: of a face's picture, between two, and of the wave's height
PAPER, INK, PLAYED = (255, 255, 255), (178, 178, 178), (18, 52, 154)  # BGR
RATE = 12.5  # frames a second
AROUND = 1.45  # sides of a face crop that a picture shows


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__.split("\n")[0], formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=cli.path, help="animated WebP to write")
    parser.add_argument("--audio", type=cli.existing, help="what they say (default: the sound of the demo)")
    parser.add_argument("--photo", type=cli.existing, nargs="+", help="faces (default: the two named above)")
    parser.add_argument("--quality", type=cli.integer(1, 100), default=55, help="of the WebP")
    args = parser.parse_args()
    known = photos.shipped_photos()
    with tempfile.TemporaryDirectory() as folder:
        audio = args.audio or demo_sound(Path(folder) / "sound.wav")
        wave = audio_file.load_audio(audio)
        faces = [speaking(photo, audio) for photo in args.photo or (known["astronaut"], known["grace_hopper"])]
    shots = [Image.fromarray(shot[..., ::-1]) for shot in pictures(faces, wave)]
    shots[0].save(
        args.out,
        save_all=True,
        append_images=shots[1:],
        duration=round(1000 / RATE),
        loop=0,
        quality=args.quality,
        method=6,
        minimize_size=True,
    )
    print(f"{args.out}: {len(shots)} frames, {Path(args.out).stat().st_size / 1000:.0f} kB")


def demo_sound(path: Path) -> Path:
    """The sound of `make demo`, its first seconds."""
    wave, *_ = speech.synthesise_speech(SECONDS, np.random.default_rng(demo.SOUND_SEED))
    audio_file.save_wav(path, wave)
    return path


def speaking(photo: str | Path, audio: str | Path) -> list[np.ndarray]:
    """(SIDE,SIDE,3) uint8 BGR pictures of a photo's face at RATE while it says the audio."""
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "speaks.mp4"
        LipSync().run(photo, audio, video)
        seen = [(frame.time, frame.image, found) for frame, found in tracking.follow(video_reader.read_frames(video))]
    box = np.asarray(seen[0][2].box, float)
    middle, side = (box[:2] + box[2:]) / 2, AROUND * (box[2:] - box[:2]).max()
    height, width = seen[0][1].shape[:2]
    side = min(side, height, width)
    left, top = np.clip(middle - side / 2, 0, [width - side, height - side])
    cut = np.float32([[SIDE / side, 0, -left * SIDE / side], [0, SIDE / side, -top * SIDE / side]])
    found, due = [], 0.0
    for time, image, _ in seen:
        if time >= due - 1e-6:
            found.append(cv2.warpAffine(image, cut, (SIDE, SIDE), flags=cv2.INTER_AREA))
            due += 1 / RATE
    return found


def pictures(faces: list[list[np.ndarray]], wave: np.ndarray) -> list[np.ndarray]:
    """The frames: all faces beside each other, below them the wave, dark up to where it is heard."""
    width = len(faces) * (SIDE + GAP) - GAP
    columns = np.array_split(wave, width)
    heights = np.array([np.abs(column).max() for column in columns])
    heights = np.maximum(1, heights / heights.max() * (WAVE / 2 - 6)).astype(int)
    found = []
    count = min(map(len, faces))
    for number in range(count):
        page = np.full((SIDE + WAVE, width, 3), PAPER, np.uint8)
        for i, face in enumerate(faces):
            page[:SIDE, i * (SIDE + GAP) : i * (SIDE + GAP) + SIDE] = face[number]
        played = width * (number + 0.5) / count
        for x, high in enumerate(heights):
            middle = SIDE + WAVE // 2
            page[middle - high : middle + high + 1, x] = PLAYED if x < played else INK
        found.append(page)
    return found


if __name__ == "__main__":
    cli.run(main)
