"""Does a smile keep its teeth? python benchmarks/own_teeth.py PICTURE [PHOTO ...]

Each photo (default: scikit-image's astronaut) says eight seconds that the generator never heard, once as the generator
makes it and once with the photo's own teeth (inference/teeth.py). Of the frames in which the mouth is to be widest
open, a tenth of all, the table has the pixels of the upper teeth: how light they are, and how far from the photo's.
PICTURE shows mouths, four in turn and the four widest: above without, below with its own teeth.
"""

import contextlib
import tempfile
from pathlib import Path
from unittest import mock

import cv2
import numpy as np
import strip

from lipgan_keras import LipSync
from lipgan_keras.face import cropping, photos, tracking
from lipgan_keras.inference import flags, teeth
from lipgan_keras.media import audio_file, image_file, video_reader
from lipgan_keras.puppets import demo, speech
from lipgan_keras.utils import cli
from lipgan_keras.utils.cli import ArgumentParser
from lipgan_keras.utils.errors import UserError

SECONDS, SIZE, TIMES, LARGEST = 8.0, 96, 4, 1280
EVERY, COLUMNS = 12, 4  # frames; pictures of a row, and as many of the widest
MOUTH = 0.8, 0.5, 0.8, 0.7  # what they show, see `strip.about_mouth`


def main():
    parser = ArgumentParser(description="Teeth of photos that speak, with and without their own.")
    parser.add_argument("picture", type=cli.path, help="JPEG or PNG to write")
    parser.add_argument("photos", type=cli.existing, nargs="*", help="(default: the astronaut of scikit-image)")
    args = parser.parse_args()
    faces = [Path(path) for path in args.photos or [photos.shipped_photos()["astronaut"]]]
    flags.start_detector(faces[0])
    lipsync, rows = LipSync(), []
    print("| photo | teeth | lightness | error |\n| --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for path in faces:
            rows += of_photo(lipsync, path, Path(folder))
    if not rows:
        raise UserError(f"{faces[0]}: shows no upper teeth; give a photo of a face that smiles, in white light")
    strip.save(args.picture, rows)


def of_photo(lipsync: LipSync, path: Path, folder: Path) -> list[np.ndarray]:
    """Print the lines of a photo; the rows of its picture."""
    photo = folder / "photo.png"
    cv2.imwrite(str(photo), image_file.fitted(next(video_reader.read_frames(path)).image, LARGEST))
    frame = next(video_reader.read_frames(photo))
    tracked = next(tracking.track(iter([frame]), "lipgan_keras", (0, 0, 0, 0), upright=True))
    if not tracked.faces:
        raise UserError(f"{path}: no face found; give a photo of a face")
    one = tracked.faces[0]
    found = teeth.seen(frame.image, one, TIMES, SIZE)
    if found is None:
        print(f"| {path.stem} | none seen | | |")
        return []
    wave, opening, _ = speech.synthesise_speech(SECONDS, np.random.default_rng(demo.SOUND_SEED))
    wide = np.argsort(-opening)[: len(opening) // 10]
    at = found.rows, found.columns
    true, sure, rows = found.crop[at].astype(np.float32), found.weight[at] > 0.9, []
    for words, kept in (("generated", False), ("its own", True)):
        crops = speak(lipsync, photo, wave, one, kept)
        seen = crops[wide][(slice(None), *at)].astype(np.float32)
        light, error = seen[:, sure].mean() / true[sure].mean(), np.abs(seen - true)[:, sure].mean()
        print(f"| {path.stem} | {words} | {light:.2f} | {error:.1f} |", flush=True)
        shown = [*range(0, EVERY * COLUMNS, EVERY), *wide[:COLUMNS]]
        rows.append(np.concatenate([mouth(crops[i], one) for i in shown], axis=1))
    return rows


def speak(lipsync, path, wave, one, kept) -> np.ndarray:
    """(n,384,384,3) uint8: the photo's face, frame by frame."""
    with tempfile.TemporaryDirectory() as folder:
        sound, video = Path(folder) / "a.wav", Path(folder) / "a.mp4"
        audio_file.save_wav(sound, wave)
        without = mock.patch.object(teeth, "seen", lambda *_: None)
        with contextlib.nullcontext() if kept else without:
            lipsync.run(path, sound, video)
        frames = video_reader.read_frames(video)
        return np.stack([cropping.extract(frame.image, one.box, SIZE * TIMES, one.angle) for frame in frames])


def mouth(crop, one):
    points = cropping.to_crop(one.face.landmarks, one.box, SIZE * TIMES, one.angle)
    corners = sorted(points[3:5], key=lambda point: point[0])
    return strip.mouth(crop, corners, MOUTH, (180, 135))


if __name__ == "__main__":
    cli.run(main)
