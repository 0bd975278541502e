"""Are the teeth of a video that speaks like its own? python benchmarks/video_teeth.py SPEAKERS PICTURE

SPEAKERS is a folder of `<speaker>/<clip>`. Each clip says its own sound, so that each frame has one to be compared
with. The tenth of its frames with the mouth widest open is looked at. A pixel about the mouth is taken for a tooth if
it is less red than the skin (a* at most 0.8 of the skin's) and not in the dark (L* at least 0.7 of the skin's). The
table has how many of the pixels are teeth, and their colour in CIE L*a*b*: L* is lightness from 0 to 100, and a* is
redness, 0 that of grey. PICTURE shows the widest mouths of each speaker's first clip: above its own, below what was
made.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import strip
from model_card import add_clips, clips_to_judge

from lipgan_keras import LipSync
from lipgan_keras.inference import paint
from lipgan_keras.media import video_reader
from lipgan_keras.utils import cli
from lipgan_keras.utils.cli import ArgumentParser

WIDEST = 10  # one of so many frames
REDNESS, LIGHTNESS = 0.8, 0.7  # of a tooth, as shares of the skin's: at most, and at least
COLUMNS, APART = 6, 3  # pictures of a row, and frames between them at least
# Of the distance of the mouth's corners, from the middle between them: left, up, right, down
TEETH, SKIN, MOUTH = (0.35, 0.2, 0.35, 0.35), (0.35, 0.5, 0.35, -0.3), (0.9, 0.6, 0.9, 0.8)
SIDES = 180, 140  # pixels of a picture


def main():
    parser = ArgumentParser(description="The teeth of videos that speak, and their own.")
    add_clips(parser, 4)
    parser.add_argument("picture", type=cli.path, help="JPEG or PNG to write")
    args = parser.parse_args()
    speakers = clips_to_judge(args)
    lipsync, rows = LipSync(), []
    print("| speaker | clips | skin: L*, a* | own teeth: share, L*, a* | made |\n| --- | --- | --- | --- | --- |")
    for speaker, clips in speakers.items():
        pairs = [frames_of(lipsync, clip) for clip in clips]
        rows += picture(pairs[0])
        skin, own, made = (np.nanmean(values, axis=0) for values in zip(*map(colours, pairs), strict=True))
        cells = [speaker, str(len(clips)), f"{skin[0]:.0f}, {skin[1]:.0f}", words(own), words(made)]
        print(f"| {' | '.join(cells)} |", flush=True)
    strip.save(args.picture, rows)


def frames_of(lipsync: LipSync, clip: Path) -> list[tuple]:
    """Widest mouth first: the clip's frame, the face in it, what was made of the frame, and its place in the clip.

    Raises:
        UserError: the clip cannot be used, or has no face.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "made.mp4"
        lipsync.run(clip, clip, out)
        made = list(video_reader.read_frames(out))
    seen, opening = strip.look(clip)
    times = np.array([frame.time for frame in made])
    order = np.argsort(-opening)
    return [(seen[i][0].image, seen[i][1], made[np.abs(times - seen[i][0].time).argmin()].image, int(i)) for i in order]


def colours(frames) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the widest frames: L* and a* of the skin; share of teeth, their L* and a*, of the clip and as it was made."""
    found = []
    for image, one, made, _ in frames[: max(1, len(frames) // WIDEST)]:
        skin = np.median(lab(image, one, SKIN), axis=0)
        found.append((skin, teeth(lab(image, one, TEETH), skin), teeth(lab(made, one, TEETH), skin)))
    skins, own, made = (np.array(values) for values in zip(*found, strict=True))
    return skins.mean(axis=0), mean_teeth(own), mean_teeth(made)


def teeth(pixels, skin) -> np.ndarray:
    """Share of the pixels that are teeth, and the sums of their L* and a* over the number of all pixels."""
    are = (pixels[:, 1] <= REDNESS * skin[1]) & (pixels[:, 0] >= LIGHTNESS * skin[0])
    return np.append(are.mean(), (pixels * are[:, None]).mean(axis=0))


def mean_teeth(found) -> np.ndarray:
    """Share, L* and a*; NaN for the colour of no teeth."""
    share, *sums = found.mean(axis=0)
    return np.array([share, *(total / share if share else np.nan for total in sums)])


def lab(image, one, reach) -> np.ndarray:
    """(pixels,2) float32: L* and a* about the mouth of a tracked face."""
    return paint.to_lab(strip.about_mouth(image, one.face.landmarks[3:5], reach)).reshape(-1, 3)[:, :2]


def picture(frames) -> list[np.ndarray]:
    """Two rows: mouths of the clip, and below them as they were made."""
    of = {frame[-1]: frame for frame in frames}
    chosen = [of[i] for i in strip.spread(of, COLUMNS, APART)]
    chosen += chosen[-1:] * (COLUMNS - len(chosen))  # of a short clip
    rows = [(image, one) for image, one, _, _ in chosen], [(made, one) for _, one, made, _ in chosen]
    return [np.concatenate([mouth(image, one) for image, one in row], axis=1) for row in rows]


def mouth(image, one) -> np.ndarray:
    return strip.mouth(image, one.face.landmarks[3:5], MOUTH, SIDES)


def words(found) -> str:
    share, light, red = found
    return f"{100 * share:.0f} %, {light:.0f}, {red:.0f}"


if __name__ == "__main__":
    cli.run(main)
