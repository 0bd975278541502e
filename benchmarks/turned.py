"""Error against yaw, for the angle at which compositing gives up: docs/compositing.md

    python benchmarks/turned.py FACE_MODEL CHECKPOINT PICTURE VIDEO_OR_PHOTO ...

A 3D face model moves each face while flite says a sentence, and turns it aside (see docs/puppets.md), so that the
angle, the lips and the place of every landmark are known. People on whom CHECKPOINT was not trained tell most,
but those that judge it, such as GRID's s2, s23 and s33, are not for this. Prints a
table, and draws it over frames; the last rows are frames of the first videos as they are. Needs flite and dlib.
"""

import io
import sys
from pathlib import Path

import cv2
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from lipgan_keras import audio, checkpoints
from lipgan_keras.audio import WindowClock
from lipgan_keras.data import scoring
from lipgan_keras.data.preprocess import VIDEO_SUFFIXES
from lipgan_keras.face import cropping, detector, tracking
from lipgan_keras.face.regions import assemble
from lipgan_keras.face.tracking import TrackedFace
from lipgan_keras.inference import blend
from lipgan_keras.inference.blend import Composer
from lipgan_keras.media import audio_file, video_reader
from lipgan_keras.puppets.heads import HeadLook, HeadTake
from lipgan_keras.puppets.speech import FPS
from lipgan_keras.puppets.utterance import plain_utterance
from lipgan_keras.utils import cli

ANGLES = (-45, -38, -30, -20, -10, 0, 10, 20, 30, 38, 45)  # further a photo from the front shows too little
SIZE = 320  # pixels of the drawn frames
SECONDS = 4.0
TEXTS = ("Who knows why the music was so loud this morning?", "We will move the piano to the other room on Friday.")
PAIRS, APART = 8, 15  # of each face, frames from the identity frame
SHOWN = (0, 15, 30, 38, 45)
SHOWN_REGIONS = (("face", 0), ("mouth", 1), ("jaw", 0), ("jaw", 1))
CELL = 180


class Unfaded(Composer):
    """At any angle."""

    def _strength(self, face):
        return 1.0


class Speaker:
    """A 3D head of a photo or video that says a sentence."""

    def __init__(self, path: Path, model: str, number: int, config):
        rng = np.random.default_rng(number)
        self.name = path.stem
        self.sound = plain_utterance(SECONDS, (), rng, TEXTS)
        self.take = HeadTake(HeadLook.load(path, model), self.sound, rng, varied=False, size=SIZE, made_up=False)
        self.width = float(np.ptp(self.take.head.truth({})["landmarks68"][:17, 0]))  # of the face, pixels
        self.most_open = int(np.argmax(self.sound.opening))
        self.clock, self.features = WindowClock.of(config), audio.features(self.sound.wave, config.audio)

    def view(self, number: int, degrees: float):
        """Frame `number` from the side: image, truth (see `Head.truth`), and the face found there, or None."""
        image, truth = self.take.head.render_with_truth(self.take.controls[number], (degrees, 0))
        face = detector.select(detector.detect([image])[0])
        return image, truth, face and TrackedFace(0, 0, face, cropping.crop_box(face))

    def window(self, number: int) -> np.ndarray:
        """What is heard in that frame, (1, ...)."""
        return self.clock.windows(self.features, number / FPS, (number + 1) / FPS)


def speak(generator, config, identity, target, window) -> np.ndarray:
    """The crop of `target`, its mouth masked, with that of `identity` beside it, said by the generator.

    Args:
        identity, target: (image, face) each.
    """
    (view, face), (other, its) = target, identity
    crops = [cropping.extract(v, f.box, config.img_size) for v, f in ((other, its), (view, face))]
    output = generator.predict_on_batch([assemble(*crops)[0][None], window])[0]
    return np.clip(np.rint(output * 255), 0, 255).astype(np.uint8)


def lip_error(crop, view, face, lips) -> float:
    """Mean absolute error of a crop in the lips (H, W) that the view shows, grey levels."""
    size = len(crop)
    mask = cropping.extract(np.uint8(255 * lips), face.box, size) / np.float32(255)
    crops = [c.astype(np.float64) for c in (cropping.extract(view, face.box, size), crop)]
    return float(scoring.lip_mae(mask[None], crops[0][None], crops[1][None])[0])


def row_of(generator, config, speaker, number, angle):
    """(angle, estimate, place error, lip error of the generator, of the other frame's mouth); NaN: not found."""
    image, truth, face = speaker.view(number, angle)
    other, _, its = speaker.view(number - APART, angle)
    if face is None or its is None:
        return (angle, *[np.nan] * 4)
    corners = truth["landmarks68"][[48, 54]] + 0.5
    place = float(np.hypot(*(face.face.landmarks[3:] - corners).T).max()) / speaker.width
    crop = speak(generator, config, (other, its), (image, face), speaker.window(number))
    frozen = cropping.extract(other, face.box, len(crop))  # the head is where it was
    errors = [lip_error(c, image, face, truth["lips"]) for c in (crop, frozen)]
    return (angle, blend.yaw(face.face.landmarks), 100 * place, *errors)


def measure(speakers, generator, config):
    """`row_of` all speakers, angles, and PAIRS frames of each."""
    rows = []
    for speaker in speakers:
        for number in np.linspace(APART, len(speaker.take.controls) - 1, PAIRS).astype(int):
            rows += [row_of(generator, config, speaker, int(number), angle) for angle in ANGLES]
        print(speaker.name, flush=True)
    return np.array(rows, float)


def strips(generator, config, speaker):
    """Three rows of SHOWN angles: the source, the mouth pasted at any angle, and as it is done."""
    columns = []
    number = max(speaker.most_open, APART)
    for angle in SHOWN:
        # The source says something else: its mouth is that of the identity frame.
        image, _, face = speaker.view(number - APART, angle)
        if face is None:
            columns.append(np.tile(cv2.resize(image, (CELL, CELL), interpolation=cv2.INTER_AREA), (3, 1, 1)))
            continue
        crop = speak(generator, config, (image, face), (image, face), speaker.window(number))
        pictures = [image, Unfaded()(image, face, crop), Composer()(image, face, crop)]
        cells = [cv2.resize(p, (CELL, CELL), interpolation=cv2.INTER_AREA) for p in pictures]
        label = f"{blend.yaw(face.face.landmarks):.0f}  {blend.turned(face.face.landmarks):.2f}"
        cv2.putText(cells[2], label, (4, CELL - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1, cv2.LINE_AA)
        columns.append(np.concatenate(cells))
    return np.concatenate(columns, axis=1)


def regions(generator, config, path):
    """A frame of a video and its masks, then replaced as the original does it,
    and in either region without and with sharpening.
    """
    seen = list(tracking.follow(video_reader.read_frames(path)))
    (frame, face), other = seen[len(seen) // 2], seen[len(seen) // 3]
    sound = audio.features(audio_file.load_audio(path), config.audio)
    image, window = frame.image, audio.windows(sound, [other[0].time], config.audio)
    crop = speak(generator, config, (other[0].image, other[1]), (image, face), window)
    drawn = image.copy()
    for region, colour in (("mouth", (60, 60, 255)), ("jaw", (80, 255, 80))):
        (x1, y1, x2, y2), mask = Composer(region).mask(image.shape[:2], face)
        for level in (0.02, 0.5, 0.98):
            lines, _ = cv2.findContours((mask > level).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(drawn[y1:y2, x1:x2], lines, -1, colour, 1)
    made = [Composer(region, sharpen)(image, face, crop) for region, sharpen in SHOWN_REGIONS]
    middle, half = (face.box[:2] + face.box[2:]) / 2 + (0, 0.14 * np.ptp(face.box[::2])), 0.42 * np.ptp(face.box[::2])
    window = np.concatenate([middle - half, middle + half])
    return np.concatenate([cropping.extract(p, window, CELL) for p in (drawn, *made)], axis=1)


def table(rows):
    """By the size of the angle: its median estimate, and means of the errors with their share of the frontal ones."""
    angles = np.unique(np.abs(rows[:, 0]))
    result = []
    for angle in angles:
        here = rows[np.abs(rows[:, 0]) == angle]
        found = here[np.isfinite(here[:, 1])]
        result.append(
            (angle, len(found) / len(here), np.median(np.abs(found[:, 1])), *np.nanmean(found[:, 2:], axis=0))
        )
    return np.array(result)


def plot(means, rows, width):
    figure = Figure((width / 100, 3), dpi=100, layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(means[:, 0], means[:, 4], "C0o-", label="lips, generated")
    left.plot(means[:, 0], means[:, 5], "C7o--", label="lips, mouth of another frame")
    left.set(xlabel="yaw, degrees", ylabel="error in the lips, grey levels", ylim=(0, 1.5 * means[:, 4:].max()))
    across = left.twinx()
    across.plot(means[:, 0], means[:, 3], "C3s-", label="mouth corner")
    across.set(ylabel="place of a corner, % of the face", ylim=(0, 1.5 * means[:, 3].max()))
    left.axvspan(blend.LIMIT - blend.FADE, blend.LIMIT, color="C2", alpha=0.2)
    lines = left.get_lines()[:2] + across.get_lines()
    left.legend(lines, [line.get_label() for line in lines], fontsize=7, loc="upper left")
    right.plot(rows[:, 0] + np.random.default_rng(0).uniform(-2, 2, len(rows)), rows[:, 1], "C0.", markersize=3)
    right.plot([-45, 45], [-45, 45], "k-", linewidth=0.5)
    for limit in (-blend.LIMIT, blend.LIMIT):
        right.axhline(limit, color="C2", linewidth=1)
    right.set(xlabel="yaw, degrees", ylabel="estimate", ylim=(-90, 90))
    data = io.BytesIO()
    figure.savefig(data, format="png")
    return cv2.imdecode(np.frombuffer(data.getvalue(), np.uint8), cv2.IMREAD_COLOR)


def main(model, checkpoint, picture, *paths):
    generator, config = checkpoints.load_generator(checkpoint)
    speakers = [Speaker(Path(path), model, number, config) for number, path in enumerate(paths)]
    rows = measure(speakers, generator, config)
    means = table(rows)
    print("yaw  found  estimate  corner %  generated  other frame")
    for row in means:
        print(f"{row[0]:3.0f} {row[1]:6.2f} {row[2]:9.1f} {row[3]:9.1f} {row[4]:10.1f} {row[5]:12.1f}")
    videos = [path for path in paths if Path(path).suffix.lower() in VIDEO_SUFFIXES]
    frames = [strips(generator, config, speaker) for speaker in speakers[:2]]
    frames += [regions(generator, config, path) for path in videos[:3]]
    frames = np.concatenate(frames)
    image = np.concatenate([plot(means, rows, frames.shape[1]), frames])
    data = io.BytesIO()
    Image.fromarray(image[..., ::-1]).quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
        data, "PNG", optimize=True
    )
    Path(picture).write_bytes(data.getvalue())


if __name__ == "__main__":
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    cli.run(lambda: main(*sys.argv[1:]))
