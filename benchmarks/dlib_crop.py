"""Fit the constants of the "dlib" crop in lipgan_keras/face/cropping.py, and measure how well it imitates dlib.

    python benchmarks/dlib_crop.py CLIP [CLIP ...]

Each clip counts as one speaker. dlib's frontal HOG detector (image upsampled once, largest face) is the truth. Its
window moves in steps of a tenth of its side and comes in sizes a fifth apart, which no function of the face can follow:
a perfect one would overlap by 0.88 on average. Needs dlib, which the project does not: pip install dlib-bin
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from lipgan_keras.face import cropping, tracking
from lipgan_keras.media import video_reader
from lipgan_keras.utils import cli
from lipgan_keras.utils.cli import ArgumentParser
from lipgan_keras.utils.errors import UserError


def measure(path, detector) -> np.ndarray:
    """(n, 9): eyes' middle, eyes to mouth, width of MTCNN's box, dlib's box, for the frames where both see a face."""
    rows = []
    for frame, one in tracking.follow(video_reader.read_frames(path)):
        rectangles = detector(np.ascontiguousarray(frame.image[..., ::-1]), 1)
        if not rectangles:
            continue
        largest = max(rectangles, key=lambda r: r.area())
        eyes, mouth = one.face.landmarks[:2].mean(0), one.face.landmarks[3:].mean(0)
        box = largest.left(), largest.top(), largest.right(), largest.bottom()
        rows.append([*eyes, *(mouth - eyes), one.face.box[2] - one.face.box[0], *box])
    if not rows:
        raise UserError(f"{path}: no face that both detectors see; give another clip")
    return np.array(rows)


def fit(clips: list[np.ndarray]) -> np.ndarray:
    """Side over the width of MTCNN's box, and how far from eyes to mouth the middle lies, in x and in y."""
    rows = np.concatenate(clips)  # each clip weighs the same
    weight = np.concatenate([np.full(len(clip), len(clip) ** -0.5) for clip in clips]) / rows[:, 4]

    def ratio(known, wanted):
        return np.sum(weight**2 * known * wanted) / np.sum((weight * known) ** 2)

    side = (rows[:, 7:9] - rows[:, 5:7]).mean(1)
    middle = (rows[:, 5:7] + rows[:, 7:9]) / 2 - rows[:, :2]
    return np.array([ratio(rows[:, 4], side), ratio(rows[:, 2], middle[:, 0]), ratio(rows[:, 3], middle[:, 1])])


def overlap(rows: np.ndarray, constants: np.ndarray) -> np.ndarray:
    """Intersection over union of the imitation and dlib's box, for each row."""
    middle = rows[:, :2] + rows[:, 2:4] * constants[1:]
    half = rows[:, 4:5] * constants[0] / 2
    low, high = middle - half, middle + half
    shared = np.clip(np.minimum(high, rows[:, 7:9]) - np.maximum(low, rows[:, 5:7]), 0, None).prod(1)
    return shared / ((high - low).prod(1) + (rows[:, 7:9] - rows[:, 5:7]).prod(1) - shared)


def main():
    parser = ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("clips", nargs="+", metavar="CLIP", help="video of one speaker")
    clips = parser.parse_args().clips
    try:
        import dlib
    except ImportError:
        raise UserError("dlib: is not installed; run: pip install dlib-bin") from None
    rows = [measure(clip, dlib.get_frontal_face_detector()) for clip in clips]

    def report(name, values):
        values = np.concatenate(values)
        print(f"{name}: IoU mean {values.mean():.3f}, min {values.min():.3f} ({len(values)} frames)")

    constants = fit(rows)
    print(f"side {constants[0]:.3f} box widths, middle {constants[1]:.3f}, {constants[2]:.3f} from eyes to mouth")
    report("fit", [overlap(r, constants) for r in rows])
    known = np.array([cropping.DLIB_SIDE, *cropping.DLIB_MIDDLE])
    report("lipgan_keras/face/cropping.py", [overlap(r, known) for r in rows])
    for clip, r in zip(clips, rows, strict=True):
        report(f"  {Path(clip).name}", [overlap(r, known)])
    if len(rows) > 1:
        others = [fit(rows[:i] + rows[i + 1 :]) for i in range(len(rows))]
        report("fit to the other speakers", [overlap(r, c) for r, c in zip(rows, others, strict=True)])


if __name__ == "__main__":
    cli.run(main)
