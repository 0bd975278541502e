"""Are the teeth of a video that speaks as pale as its own? python benchmarks/video_teeth.py SPEAKERS PICTURE

SPEAKERS is a folder of `<speaker>/<clip>`. Each clip says its own sound, so that each frame has one to be compared
with. The tenth of its frames with the mouth widest open is looked at. Teeth are taken to be a tenth of the pixels about
the mouth: of the lighter half those that are least red. The table has their colour in CIE L*a*b*, of the clip and of
what was made: L* is lightness from 0 to 100, and a* is redness, 0 that of grey. PICTURE shows the widest mouths of each
speaker's first clip: above its own, below what was made.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import cv2
import numpy as np
import strip

from lipgan_keras import LipSync
from lipgan_keras.evaluation import statistics
from lipgan_keras.inference import flags
from lipgan_keras.media import video_reader
from lipgan_keras.utils import cli, files
from lipgan_keras.utils.cli import ArgumentParser

SHARE = 10  # one of so many frames, and of so many pixels
COLUMNS, APART = 6, 3  # pictures of a row, and frames between them at least
# Of the distance of the mouth's corners, from the middle between them: left, up, right, down
TEETH, SKIN, MOUTH = (0.35, 0.2, 0.35, 0.35), (0.35, 0.5, 0.35, -0.3), (0.9, 0.6, 0.9, 0.8)


def main():
    parser = ArgumentParser(description="The colour of teeth in videos that speak.")
    parser.add_argument("speakers", type=cli.existing, help="folder of <speaker>/<clip>")
    parser.add_argument("picture", type=cli.path, help="JPEG or PNG to write")
    parser.add_argument("--clips", type=cli.integer(1), default=4, help="of a speaker, at most")
    args = parser.parse_args()
    folders = sorted(path for path in Path(args.speakers).iterdir() if path.is_dir())
    flags.start_detector(min(folders[0].iterdir()))
    lipsync, rows, found = LipSync(), [], []
    print("| speaker | clips | skin: L*, a* | own teeth | made |\n| --- | --- | --- | --- | --- |")
    for folder in folders:
        clips = sorted(folder.iterdir())[: args.clips]
        pairs = [frames_of(lipsync, clip) for clip in clips]
        rows += picture(*pairs[0])
        found.append(np.mean([colours(*pair) for pair in pairs], axis=0))
        print(f"| {folder.name} | {len(clips)} | {' | '.join(words(one) for one in found[-1])} |", flush=True)
    print(f"| mean | | {' | '.join(words(one) for one in np.mean(found, axis=0))} |")
    for name, differences in zip(("L*", "a*"), np.transpose([of[2] - of[1] for of in found]), strict=True):
        low, high = statistics.bootstrap_interval(differences)
        print(f"{name}, made less own: {differences.mean():.1f} [{low:.1f}, {high:.1f}]")
    with files.replacing(Path(args.picture)) as temporary:
        cv2.imwrite(str(temporary), np.concatenate(rows), [cv2.IMWRITE_JPEG_QUALITY, 90])


def frames_of(lipsync: LipSync, clip: Path) -> tuple[list, np.ndarray, list[np.ndarray]]:
    """The frames of a clip and the faces in them, how open each mouth is, and the same frames as they were made."""
    seen, opening = strip.look(clip)
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "made.mp4"
        lipsync.run(clip, clip, made)
        return seen, opening, [frame.image for frame in video_reader.read_frames(made)][: len(seen)]


def colours(seen, opening, made) -> np.ndarray:
    """(3,2): lightness and redness of skin, own teeth and made ones, means over the widest frames."""
    found = []
    for i in np.argsort(-opening[: len(made)])[: len(made) // SHARE]:
        frame, one = seen[i]
        skin = np.median(lab(frame.image, one, SKIN), axis=0)
        found.append([skin, *(palest(lab(image, one, TEETH)) for image in (frame.image, made[i]))])
    return np.mean(found, axis=0)


def lab(image, one, reach) -> np.ndarray:
    """(pixels,2) float32: L* and a* about the mouth of a tracked face."""
    pixels = about(image, one, reach).astype(np.float32) / 255
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2LAB).reshape(-1, 3)[:, :2]


def palest(pixels) -> np.ndarray:
    """The mean colour of a tenth of the pixels: of the lighter half, as the dark of a mouth is not red either."""
    light = pixels[pixels[:, 0] >= np.median(pixels[:, 0])]
    return light[np.argsort(light[:, 1])[: max(1, len(pixels) // SHARE)]].mean(axis=0)


def about(image, one, reach) -> np.ndarray:
    left, right = one.face.landmarks[3:5]
    reach = np.float32(reach) * np.hypot(*(right - left))
    box = np.concatenate([(left + right) / 2] * 2) + reach * (-1, -1, 1, 1)
    height, width = image.shape[:2]
    x1, y1, x2, y2 = np.clip(np.rint(box), 0, [width, height, width, height]).astype(int)
    return image[y1:y2, x1:x2]


def picture(seen, opening, made) -> list[np.ndarray]:
    chosen: list[int] = []
    for i in np.argsort(-opening[: len(made)]):
        if all(abs(i - other) >= APART for other in chosen):
            chosen.append(int(i))
    chosen = sorted(chosen[:COLUMNS])
    return [
        np.concatenate(
            [cv2.resize(about(image, one, MOUTH), (180, 140), interpolation=cv2.INTER_CUBIC) for image, one in row],
            axis=1,
        )
        for row in ([(seen[i][0].image, seen[i][1]) for i in chosen], [(made[i], seen[i][1]) for i in chosen])
    ]


def words(one) -> str:
    return f"{one[0]:.0f}, {one[1]:.0f}"


if __name__ == "__main__":
    cli.run(main)
