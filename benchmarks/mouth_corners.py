"""What do the corners of a mouth look like? python benchmarks/mouth_corners.py PICTURE SOUND FACE ...

Each FACE, a photo or a clip, says SOUND twice: once all that the generator painted shows, and once the face's own
pixels at the corners of the mouth, moved (inference/detail.py). The tenth of the frames in which the two differ most is
looked at. The table has how light the corners are, L* of CIE L*a*b* from 0 to 100. PICTURE shows mouths, above the
first way, below the second.
"""

import contextlib
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import strip

from lipgan_keras import LipSync
from lipgan_keras.face import cropping, tracking
from lipgan_keras.inference import detail, flags, paint
from lipgan_keras.media import video_reader
from lipgan_keras.utils import cli
from lipgan_keras.utils.cli import ArgumentParser

SHARE, COLUMNS, APART = 10, 6, 3  # one of so many frames; pictures of a row, and frames between them at least
MOUTH, SIDES = (0.8, 0.5, 0.8, 0.7), (180, 135)  # see `strip.about_mouth`; pixels of a picture
CORNER = 0.08  # of the distance of the corners: half the side of the square that is looked at


def main():
    parser = ArgumentParser(description="Corners of mouths, painted and moved.")
    parser.add_argument("picture", type=cli.path, help="JPEG or PNG to write")
    parser.add_argument("sound", type=cli.existing, help="what they say")
    parser.add_argument("faces", type=cli.existing, nargs="+", help="photos or clips")
    args = parser.parse_args()
    flags.start_detector(args.faces[0])
    lipsync, rows = LipSync(), []
    print("| face | L* of the corners: the face's own | painted | moved |\n| --- | --- | --- | --- |")
    for face in args.faces:
        painted, moved = (speak(lipsync, face, args.sound, kept) for kept in (False, True))
        differ = [np.abs(a - b.astype(int)).mean() for (a, _, _), (b, _, _) in zip(painted, moved, strict=True)]
        order = np.argsort(differ)[::-1]
        most = order[: max(1, len(order) // SHARE)]
        lights = [[light(made[i][n], made[i][2]) for i in most] for made, n in ((painted, 1), (painted, 0), (moved, 0))]
        print(f"| {Path(face).stem} | {' | '.join(f'{np.mean(each):.0f}' for each in lights)} |", flush=True)
        chosen = strip.spread(order, COLUMNS, APART)
        rows += [np.concatenate([mouth(made[i]) for i in chosen], axis=1) for made in (painted, moved)]
    strip.save(args.picture, rows)


def speak(lipsync, face, sound, kept) -> list[tuple]:
    """Frame by frame what was made, what it was made of, and the mouth's corners, (2,2) pixels."""
    all_painted = mock.patch.object(detail, "_stays_painted", lambda _, size: np.ones((size, size), np.float32))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "made.mp4"
        with contextlib.nullcontext() if kept else all_painted:
            lipsync.run(face, sound, out)
        made = [frame.image for frame in video_reader.read_frames(out)]
    # A photo is one frame, and a clip may be shorter than the sound: the frames up to there that show a face.
    seen = list(tracking.track(video_reader.read_frames(face)))
    seen = seen * len(made) if len(seen) == 1 else seen
    pairs = [(image, tracked) for image, tracked in zip(made, seen, strict=False) if tracked.faces]
    return [(image, tracked.frame.image, tracked.faces[0].face.landmarks[3:5]) for image, tracked in pairs]


def light(image, corners) -> float:
    """Mean L* about both corners, a little inside."""
    middle, side = corners.mean(0), CORNER * np.hypot(*(corners[1] - corners[0]))
    inside = middle + (1 - 2 * CORNER) * (corners - middle)
    pixels = np.stack([cropping.extract(image, [*(at - side), *(at + side)], 8) for at in inside])
    return float(paint.to_lab(np.concatenate(pixels))[..., 0].mean())


def mouth(made) -> np.ndarray:
    image, _, corners = made
    return strip.mouth(image, corners, MOUTH, SIDES)


if __name__ == "__main__":
    cli.run(main)
