"""Sheets of 3D heads, and how well they do: python benchmarks/head_sheet.py MODEL OUT [PHOTO ...]

MODEL is the .npz of a face model, a PHOTO a picture, or a video, of which the frame with the lips shut most is taken;
without one, the photo of Grace Hopper that matplotlib brings along. Writes into the folder OUT for each photo the
visemes, the head turned, and six made-up people at 192 pixels, and of all photos heads.jpg and smiles.jpg, which are in
docs/puppets.md. Prints frames/s, the error of the fit, how far the landmarks that dlib sees in the frames are from
those of the model, and the correlation of the opening that is seen with the true one.
"""

import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from default_checkpoint import SENTENCES

from lipgan_keras.face import aperture, landmarks68
from lipgan_keras.face.photos import shipped_photos
from lipgan_keras.puppets import clips, fitting, photos
from lipgan_keras.puppets.face_model import FaceModel
from lipgan_keras.puppets.head import Head
from lipgan_keras.puppets.person import Axes, Person
from lipgan_keras.utils import cli

SIZE = 192
VISEMES = {
    "rest": {},
    "AA": {"jaw": 0.75, "lower_down": 0.2, "upper_up": 0.15},
    "EH": {"jaw": 0.45, "stretch": 0.3, "lower_down": 0.3, "upper_up": 0.25},
    "IY": {"jaw": 0.22, "stretch": 0.7, "lower_down": 0.4, "upper_up": 0.35},
    "UW": {"jaw": 0.28, "pucker": 0.85, "funnel": 0.2},
    "OW": {"jaw": 0.45, "pucker": 0.4, "funnel": 0.55},
    "M B P": {"jaw": 0.25, "close": 1.0, "press": 0.4, "roll_lower": 0.15, "roll_upper": 0.1},
    "F V": {"jaw": 0.12, "roll_lower": 0.7, "upper_up": 0.3},
    "L": {"jaw": 0.45, "tongue": 1.0, "lower_down": 0.3, "upper_up": 0.2},
}
TURNS = ((-45, 0), (-30, 0), (-15, 0), (0, 0), (15, 0), (30, 0), (45, 0), (0, 12), (0, -12))
PEOPLE = 6
SCALES = (0.9, 0.95, 1.0, 1.05, 1.1)  # of the rectangle in which dlib looks
FRAMES = 60  # of which openings are compared


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """A photo, (H, W, 3) BGR, and its five landmarks."""
    photo, face = photos.find_face(path)
    return photo, np.asarray(face.landmarks, float) - 0.5


def made_up(photo: np.ndarray, five: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Somebody else made of a photo, and the five landmarks then."""
    person, axes = Person(rng), Axes(five)
    five = axes.to_photo(person.moved(axes.to_face(five)))
    return person.colour(person.shape(photo, axes), Axes(five)), five


def row(head: Head, turn: tuple[float, float] = (0, 0)) -> np.ndarray:
    return np.hstack([head.render(controls, turn) for controls in VISEMES.values()])


def landmark_errors(head: Head) -> dict[str, float]:
    """In % of the face's width, the mouth's mean, for each viseme. dlib's points jump with the rectangle that it is
    given; therefore the median over SCALES is taken.
    """
    width = float(np.ptp(head.truth({})["landmarks68"][:17, 0]))
    errors = {}
    for name, controls in VISEMES.items():
        truth = head.truth(controls)
        image, five = head.render(controls), truth["landmarks"] + 0.5
        middle = five.mean(0)
        seen = [landmarks68.mouth(image, middle + scale * (five - middle)) for scale in SCALES]
        seen = np.median(seen, axis=0) - 0.5
        errors[name] = 100 * float(np.hypot(*(seen - truth["landmarks68"][48:]).T).mean()) / width
    return errors


def seen_opening(head: Head, rng: np.random.Generator) -> float:
    """Correlation of `face.aperture`'s opening with the true one, for random mouths."""
    frames, points, true = [], [], []
    for _ in range(FRAMES):
        jaw = 0.7 * rng.random()
        controls = {
            "jaw": jaw, "lower_down": 0.4 * jaw, "upper_up": 0.3 * rng.random(), "close": float(rng.random() < 0.15),
            "pucker": 0.7 * (rng.random() < 0.3), "stretch": 0.5 * (rng.random() < 0.3),
        }  # fmt: skip
        truth = head.truth(controls)
        frames.append(head.render(controls))
        points.append(truth["landmarks"])
        true.append(truth["aperture"])
    return float(np.corrcoef(aperture.mouth_aperture(np.array(frames), np.array(points)), true)[0, 1])


def speed(head: Head, seconds: float = 4.0) -> float:
    """Frames/s of processor time."""
    shown, first = 0, time.process_time()
    while time.process_time() - first < seconds:
        for controls in VISEMES.values():
            head.render(controls)
            shown += 1
    return shown / (time.process_time() - first)


def close(fit: fitting.Fit, times: float = 0.72) -> np.ndarray:
    """The box of a face without much around it."""
    marks = fit.landmarks
    middle = (marks.min(0) + marks.max(0)) / 2
    return np.concatenate([middle - times * fit.width, middle + times * fit.width])


def sheets(path: Path, model: FaceModel, out: Path) -> list[np.ndarray]:
    """Write the sheets of a photo; returns rows of nine frames for the one of all photos."""
    photo, five = read(path)
    fit = fitting.fit_photo(photo, model, five, str(path))
    head = Head(photo, fit, model, SIZE, close(fit))
    wider = Head(photo, fit, model, SIZE, close(fit, 0.95))
    turned = [[wider.render(controls, turn) for turn in TURNS] for controls in ({}, VISEMES["AA"], VISEMES["UW"])]
    cv2.imwrite(str(out / f"{path.stem}_visemes.png"), row(head))
    cv2.imwrite(str(out / f"{path.stem}_turned.png"), np.vstack([np.hstack(line) for line in turned]))
    people = []
    for seed in range(PEOPLE):
        other, points = made_up(photo, five, np.random.default_rng(seed))
        fit_other = fitting.fit_photo(other, model, points, f"{path} {seed}")
        people.append(row(Head(other, fit_other, model, SIZE, close(fit_other))))
    cv2.imwrite(str(out / f"{path.stem}_people.png"), np.vstack(people))
    print(f"{path.stem}: fit {fit.error:.2f} %, {speed(head):.1f} frames/s")
    if landmarks68.available() is None:
        errors = landmark_errors(head)
        print("  landmarks, %: " + ", ".join(f"{name} {error:.2f}" for name, error in errors.items()))
    print(f"  opening seen and true: {seen_opening(head, np.random.default_rng(0)):.3f}", flush=True)
    some = [people[i][:, SIZE * at : SIZE * (at + 1)] for i, at in enumerate((1, 3, 4, 5, 6, 2))]
    return [row(head), np.hstack([*turned[1][:7], *turned[1][7:9]]), np.hstack([*some, *turned[0][2:5]])]


def smiling(paths: list[Path], model: str) -> np.ndarray:
    """A row of crops for each photo: another person made of it, who smiles and speaks."""
    options = {"texts": SENTENCES, "face_model": model, "clear": True, "crops": True, "seconds": 3.0, "seed": 7}
    with tempfile.TemporaryDirectory() as folder:
        made = clips.make_clips(folder, len(paths), photos=paths, **options)
        rows = [[cv2.imread(str(one / f"{i}.jpg")) for i in range(2, 74, 6)] for one in made]
    return np.vstack([np.hstack(row) for row in rows])


def main() -> None:
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    cv2.setNumThreads(1)
    model, out = FaceModel.load(sys.argv[1]), Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    paths = [Path(path) for path in sys.argv[3:] or [shipped_photos()["grace_hopper"]]]
    cv2.imwrite(str(out / "smiles.jpg"), smiling(paths, sys.argv[1]), [cv2.IMWRITE_JPEG_QUALITY, 88])
    rows = [sheets(path, model, out) for path in paths]
    # The visemes of all, and of the first the turns and the people.
    chosen = np.vstack([*(first for first, *_ in rows), *rows[0][1:]])
    cv2.imwrite(str(out / "heads.jpg"), chosen, [cv2.IMWRITE_JPEG_QUALITY, 88])


if __name__ == "__main__":
    cli.run(main)
