"""How teeth differ from skin in colour: python benchmarks/tooth_colour.py SPEAKERS

SPEAKERS is a folder of `<speaker>/<clip>`. In each frame a row of teeth is looked for about the mouth: a piece that is
less red than the skin (a* at most 0.85 of it) and not in the dark (L* at least 0.65 of it), at least 0.15 as wide as
the mouth, and that touches no edge of what is looked at, as skin does. Skin is what `lipgan_keras.inference.paint`
takes for it. The table has for each speaker with ten such frames how much more L*, a* and b* the inside of the row has
than the skin. The last row is the mean over the speakers, and the standard deviation between them.
"""

from __future__ import annotations

import cv2
import numpy as np
import strip
from model_card import add_clips, clips_to_judge

from lipgan_keras.face import cropping
from lipgan_keras.inference import paint
from lipgan_keras.utils import cli
from lipgan_keras.utils.cli import ArgumentParser

SIZE = 384  # side of the crops
REDNESS, LIGHTNESS, WIDTH = 0.85, 0.65, 0.15
REACH = np.array([0.42, 0.22, 0.42, 0.38])  # of the mouth's width: left, up, right, down
EDGE = 5  # pixels: a square as large erodes the row, as at its edges teeth are mixed with lips
LEAST = 10  # frames of a speaker


def main():
    parser = ArgumentParser(description="How teeth differ from skin in colour.")
    add_clips(parser, 3)
    args = parser.parse_args()
    means = []
    print("| speaker | frames | skin: L*, a*, b* | teeth, less skin |\n| --- | --- | --- | --- |")
    for speaker, clips in clips_to_judge(args).items():
        found = [pair for clip in clips for seen in strip.look(clip)[0] if (pair := colours(*seen))]
        if len(found) >= LEAST:
            skin, teeth = np.mean(found, axis=0)
            means.append(teeth - skin)
            print(f"| {speaker} | {len(found)} | {words(skin)} | {words(means[-1])} |", flush=True)
    if means:
        print(f"| {len(means)} speakers | | | {words(np.mean(means, 0))} (sd {words(np.std(means, 0))}) |")


def colours(frame, one) -> tuple[np.ndarray, np.ndarray] | None:
    """L*, a*, b* of the skin and of the teeth; None where no teeth are seen."""
    crop = cropping.extract(frame.image, one.box, SIZE, one.angle)
    landmarks = cropping.to_crop(one.face.landmarks, one.box, SIZE, one.angle)
    skin = paint.skin_of(crop.astype(np.float32), landmarks)
    if skin is None:
        return None
    lab = paint.to_lab(strip.about_mouth(crop, landmarks[3:], REACH))
    width = lab.shape[1] / REACH[[0, 2]].sum()
    likely = (lab[..., 1] <= REDNESS * skin[1]) & (lab[..., 0] >= LIGHTNESS * skin[0])
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(likely.astype(np.uint8), connectivity=8)
    for number in sorted(range(1, count), key=lambda n: boxes[n, cv2.CC_STAT_TOP]):
        left, top, wide, high, _ = boxes[number]
        inside = left > 0 and top > 0 and left + wide < lab.shape[1] and top + high < lab.shape[0]
        if inside and wide >= WIDTH * width:
            core = cv2.erode((labels == number).astype(np.uint8), np.ones((EDGE, EDGE), np.uint8)) > 0
            return (skin, lab[core].mean(axis=0)) if core.any() else None
    return None


def words(values) -> str:
    return ", ".join(f"{value:.1f}" for value in values)


if __name__ == "__main__":
    cli.run(main)
