"""Six made-up people beside the clip that each was made of: python benchmarks/recast_sheet.py CLIP SHEET.jpg

CLIP is a folder that preprocess.py wrote. Prints how long recasting takes.
"""

import sys
import time
from pathlib import Path

import cv2
import numpy as np

from lipgan_keras.config import FPS
from lipgan_keras.data.clip_folder import Clip
from lipgan_keras.puppets.recast import MadeUp
from lipgan_keras.utils import files

PEOPLE, FRAMES, SIDE = 6, 6, 192


def main():
    clip, out = Clip(sys.argv[1]), Path(sys.argv[2])
    images = [clip.image(i, clip.saved_size) for i in range(len(clip.frames))]
    shown = np.linspace(0.15, 0.85, FRAMES) * (len(images) - 1)
    rows, began = [images], time.perf_counter()
    for number in range(1, PEOPLE + 1):
        made_up = MadeUp(np.random.default_rng(number))
        rows.append(made_up.frames(images, clip.landmarks)[0])
        made_up.say(clip.wave())
    seconds = (time.perf_counter() - began) / PEOPLE
    print(f"{len(images) / FPS / seconds:.1f} times real time on one core, without reading and writing")
    tiles = [[cv2.resize(row[round(i)], (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) for i in shown] for row in rows]
    with files.replacing(out) as temporary:
        cv2.imwrite(str(temporary), np.vstack([np.hstack(row) for row in tiles]))


if __name__ == "__main__":
    cv2.setNumThreads(1)
    main()
