"""Error against yaw, for the angle at which compositing gives up: python benchmarks/turned.py CLIPS CHECKPOINT PICTURE

CLIPS is a folder of videos of people who face the camera. `turn` of lip_masks.py shows their frames from the side, so
that the angle and the place of every landmark are known. Prints a table, and draws it over frames: docs/compositing.md.
"""

import io
import sys
from pathlib import Path

import cv2
import numpy as np
from lip_masks import turn
from matplotlib.figure import Figure
from PIL import Image

from lipgan_keras import audio, checkpoints
from lipgan_keras.audio import WindowClock
from lipgan_keras.data import scoring
from lipgan_keras.face import cropping, detector, tracking
from lipgan_keras.face import regions as face_regions
from lipgan_keras.face.regions import assemble
from lipgan_keras.face.tracking import TrackedFace
from lipgan_keras.inference import blend
from lipgan_keras.inference.blend import Composer
from lipgan_keras.media import audio_file, video_reader
from lipgan_keras.utils import cli

ANGLES = range(-60, 61, 10)
UNIT = 64  # pixels between eyes and mouth
PAIRS, APART = 3, 15  # of each clip, frames from the identity frame
SHOWN = (0, 15, 30, 45, 60)
SHOWN_REGIONS = (("face", 0), ("mouth", 1), ("jaw", 0), ("jaw", 1))
CELL = 180
WINDOW = np.array([1.2, 1.3, 3.6, 3.7]) * UNIT  # of the turned view


class Unfaded(Composer):
    """At any angle."""

    def _strength(self, face):
        return 1.0


def turned_corners(image: np.ndarray, points: np.ndarray, degrees: float) -> np.ndarray:
    """(2,2): where `turn` puts the mouth's corners. Follows a dot on each; NaN where it is not seen."""
    dots = [np.zeros(image.shape[:2], np.uint8) for _ in range(3)]
    radius = max(2, round(0.06 * float(np.hypot(*(points[3:].mean(0) - points[:2].mean(0))))))
    for dot, point in zip(dots, points[3:], strict=False):
        cv2.circle(dot, tuple(int(v) for v in point), radius, 255, -1)
    seen = turn(np.stack(dots, axis=-1), points, degrees, UNIT) > 160
    places = [np.argwhere(seen[..., i]) for i in range(2)]
    return np.array([place.mean(0)[::-1] + 0.5 if len(place) else (np.nan, np.nan) for place in places])


def look(image: np.ndarray, points: np.ndarray, degrees: float) -> tuple[np.ndarray, TrackedFace | None]:
    """The frame seen from the side, and the face that is found there."""
    view = turn(image, points, degrees, UNIT)
    face = detector.select(detector.detect([view])[0])
    return view, face and TrackedFace(0, 0, face, cropping.crop_box(face))


def speak(generator, config, identity, target, window) -> np.ndarray:
    """The crop of `target`, its mouth masked, with that of `identity` beside it, said by the generator."""
    (view, face), (other, its) = target, identity
    crops = [cropping.extract(v, f.box, config.img_size) for v, f in ((other, its), (view, face))]
    output = generator.predict_on_batch([assemble(*crops)[0][None], window])[0]
    return np.clip(np.rint(output * 255), 0, 255).astype(np.uint8)


def lip_error(crop, view, face) -> float:
    """Mean absolute error of a crop in the lips, grey levels."""
    crops = [c.astype(np.float64) for c in (cropping.extract(view, face.box, len(crop)), crop)]
    mask = face_regions.lip_mask(cropping.to_crop(face.face.landmarks, face.box, len(crop)), len(crop))
    return float(scoring.lip_mae(mask[None], crops[0][None], crops[1][None])[0])


def measure(clips, checkpoint):
    """Rows of (angle, estimate, place error, lip error of the generator, of the other frame's mouth);
    none: not found.
    """
    generator, config = checkpoints.load_generator(checkpoint)
    rows, shown = [], []
    for path in sorted(Path(clips).glob("*.mpg")):
        seen = list(tracking.follow(video_reader.read_frames(path)))
        sound = audio.features(audio_file.load_audio(path), config.audio)
        for i in np.linspace(APART, len(seen) - 1, PAIRS).astype(int):
            (frame, one), (before, other) = seen[i], seen[i - APART]
            points, others = one.face.landmarks.astype(np.float64), other.face.landmarks.astype(np.float64)
            window = WindowClock.of(config).windows(sound, frame.time, frame.time + frame.duration)
            for angle in ANGLES:
                target, identity = look(frame.image, points, angle), look(before.image, others, angle)
                view, face = target
                if face is None or identity[1] is None:
                    rows.append((angle, *[np.nan] * 4))
                    continue
                truth = turned_corners(frame.image, points, angle)
                away = np.hypot(*(face.face.landmarks[3:] - truth).T)  # the far corner may lie behind the cheek
                place = float(np.nanmax(away)) / (2 * UNIT) if np.isfinite(away).any() else np.nan
                crop = speak(generator, config, identity, target, window)
                matrix = cropping.pose(identity[1].face.landmarks, face.face.landmarks)
                frozen = cv2.warpAffine(identity[0], matrix, view.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)
                errors = [lip_error(c, view, face) for c in (crop, cropping.extract(frozen, face.box, len(crop)))]
                rows.append((angle, blend.yaw(face.face.landmarks), 100 * place, *errors))
            print(path.name, i, flush=True)
        middle, later = seen[len(seen) // 2], seen[len(seen) // 3]
        shown.append((generator, config, middle, later, sound))
    return np.array(rows, float), shown


def strips(generator, config, one, other, sound):
    """Three rows of SHOWN angles: the source, the mouth pasted at any angle, and as it is done."""
    columns = []
    for angle in SHOWN:
        target, identity = (look(f.image, t.face.landmarks.astype(float), angle) for f, t in (one, other))
        view, face = target
        if face is None or identity[1] is None:
            columns.append(np.tile(cropping.extract(view, WINDOW, CELL), (3, 1, 1)))
            continue
        window = audio.windows(sound, [other[0].time], config.audio)
        crop = speak(generator, config, identity, target, window)
        pictures = [view, Unfaded()(view, face, crop), Composer()(view, face, crop)]
        cells = [cropping.extract(p, WINDOW, CELL) for p in pictures]
        label = f"{blend.yaw(face.face.landmarks):.0f}  {blend.turned(face.face.landmarks):.2f}"
        cv2.putText(cells[2], label, (4, CELL - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1, cv2.LINE_AA)
        columns.append(np.concatenate(cells))
    return np.concatenate(columns, axis=1)


def regions(generator, config, one, other, sound):
    """A frame and its masks, then replaced as the original does it,
    and in either region without and with sharpening.
    """
    frame, face = one
    image = frame.image
    crop = speak(
        generator,
        config,
        (other[0].image, other[1]),
        (image, face),
        audio.windows(sound, [other[0].time], config.audio),
    )
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
    right.plot([-60, 60], [-60, 60], "k-", linewidth=0.5)
    for limit in (-blend.LIMIT, blend.LIMIT):
        right.axhline(limit, color="C2", linewidth=1)
    right.set(xlabel="yaw, degrees", ylabel="estimate", ylim=(-90, 90))
    data = io.BytesIO()
    figure.savefig(data, format="png")
    return cv2.imdecode(np.frombuffer(data.getvalue(), np.uint8), cv2.IMREAD_COLOR)


def main(clips, checkpoint, picture):
    rows, shown = measure(clips, checkpoint)
    means = table(rows)
    print("yaw  found  estimate  corner %  generated  other frame")
    for row in means:
        print(f"{row[0]:3.0f} {row[1]:6.2f} {row[2]:9.1f} {row[3]:9.1f} {row[4]:10.1f} {row[5]:12.1f}")
    frames = np.concatenate([strips(*shown[0]), strips(*shown[4])] + [regions(*shown[i]) for i in (0, 3, 6)])
    image = np.concatenate([plot(means, rows, frames.shape[1]), frames])
    data = io.BytesIO()
    Image.fromarray(image[..., ::-1]).quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
        data, "PNG", optimize=True
    )
    Path(picture).write_bytes(data.getvalue())


if __name__ == "__main__":
    cli.run(lambda: main(*sys.argv[1:]))
