"""Lip masks drawn over faces, for docs/lip_masks.md: python benchmarks/lip_masks.py CLIPS PICTURE

CLIPS is the folder of the eight GRID clips and `portrait_700p30.mp4`. The photos are matplotlib's and scikit-image's;
their turned views are made by `turn`.
"""

import io
import sys
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from lipgan_keras.face import cropping, detector, regions, tracking
from lipgan_keras.face import photos as face_photos
from lipgan_keras.face.detector import Face
from lipgan_keras.media import video_reader
from lipgan_keras.utils import cli

CELL, COLUMNS = 128, 8
ANGLES = (-60, -45, -30, 0)
COLOURS = 256


def turn(photo: np.ndarray, landmarks: np.ndarray, degrees: float, unit: int = 90) -> np.ndarray:
    """A photo of a frontal face as seen from the side, drawn on half an ellipsoid with a bump for the nose.

    What the photo does not show, the far side of the head, stays unseen; around the head the image is grey.

    Args:
        photo: (height, width, 3) uint8 BGR.
        landmarks: (5, 2) of the face in it.
        degrees: positive turns the face to the right in the image.
        unit: pixels between eyes and mouth in the result.

    Returns:
        (5 * unit, 5 * unit, 3) uint8 BGR.
    """
    eyes, nose, mouth = landmarks[:2].mean(0), landmarks[2], landmarks[3:].mean(0)
    length = float(np.hypot(*(mouth - eyes)))
    centre = (eyes + mouth) / 2
    side, fine = 5 * unit, 5  # samples a pixel, so that no column of the result is missed
    # Units of the distance of eyes and mouth from here on
    x, y = (np.arange(side * fine) + 0.5) / (fine * unit) - 2.5, (np.arange(side) + 0.5)[:, None] / unit - 2.5
    tilt = (mouth - eyes) / length
    axes = np.array([[tilt[1], tilt[0]], [-tilt[0], tilt[1]]])  # the face upright
    source = axes @ np.stack(np.broadcast_arrays(x, y)).reshape(2, -1) * length + centre[:, None]
    colours = cv2.remap(photo, *source.reshape(2, side, -1).astype(np.float32), cv2.INTER_LINEAR)

    def bump(point, height, wide, high):
        u, v = axes.T @ (point - centre) / length
        return height * np.exp(-(((x - u) / wide) ** 2) - ((y - v) / high) ** 2)

    inside = 1 - (x / 1.15) ** 2 - ((y + 0.15) / 1.6) ** 2
    depth = 1.2 * np.sqrt(np.maximum(inside, 0)) + bump(nose, 0.3, 0.2, 0.25) + bump(mouth, 0.08, 0.45, 0.3)
    angle = np.radians(degrees)
    column = np.floor((x * np.cos(angle) + (depth - 0.6) * np.sin(angle) + 2.5) * unit).astype(int)
    near = depth * np.cos(angle) - x * np.sin(angle)
    row = np.broadcast_to(np.arange(side)[:, None], column.shape)
    seen = np.flatnonzero((inside > 0) & (column >= 0) & (column < side))
    seen = seen[np.argsort(near.ravel()[seen], kind="stable")]  # the nearest last
    result = np.full((side, side, 3), 128, np.uint8)
    result[row.ravel()[seen], column.ravel()[seen]] = colours.reshape(-1, 3)[seen]
    return cv2.medianBlur(result, 3)


def draw(crop: np.ndarray, points: np.ndarray, label: str) -> np.ndarray:
    """The mask as a tint and its outline at 1/2, and the landmarks it is made from."""
    mask = regions.lip_mask(points, CELL)
    image = crop * (1 - 0.2 * mask[..., None]) + 0.2 * mask[..., None] * np.array([60, 60, 255])
    image = np.rint(image).astype(np.uint8)
    outline, _ = cv2.findContours((mask > 0.5).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(image, outline, -1, (60, 60, 255), 1)
    for x, y in points[2:]:
        cv2.circle(image, (int(x), int(y)), 1, (80, 255, 80), -1)
    if label:
        cv2.rectangle(image, (0, 0), (7 * len(label) + 6, 16), (0, 0, 0), -1)
        cv2.putText(image, label, (3, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 255), 1, cv2.LINE_AA)
    return image


def cell(image: np.ndarray, face: Face | None, label: str, style: str = "lipgan_keras", default: bool = False):
    """One crop with its mask: by its own landmarks, or by the default ones."""
    if face is None:
        return np.full((CELL, CELL, 3), 255, np.uint8)
    box = cropping.crop_box(face, style)
    points = regions.default_landmarks(CELL, style) if default else cropping.to_crop(face.landmarks, box, CELL)
    return draw(cropping.extract(image, box, CELL), points, label)


def sideways(face: Face) -> float:
    """How far the nose is beside the middle of eyes and mouth, in distances of the eyes."""
    eyes, nose, mouth = face.landmarks[:2], face.landmarks[2], face.landmarks[3:]
    return float((nose - (eyes.mean(0) + mouth.mean(0)) / 2)[0] / np.hypot(*(eyes[1] - eyes[0])))


def detected(image):
    return image, detector.select(detector.detect([image])[0])


def main(clips, out):
    speakers, portrait = [], []
    for path in sorted(Path(clips).glob("*.mp*")):
        seen = [(frame.image, one.face) for frame, one in tracking.follow(video_reader.read_frames(path))]
        if path.name.startswith("portrait"):
            seen.sort(key=lambda pair: abs(sideways(pair[1])))
            portrait = [seen[i] for i in (-1, -40, -80, 0)]
        else:
            speakers.append(seen[len(seen) // 2])
    photos = {name: detected(video_reader.read_image(path)) for name, path in face_photos.shipped_photos().items()}

    cells = [cell(image, face, "") for image, face in speakers + portrait]
    for photo, face in photos.values():
        cells.append(cell(photo, face, ""))
        height, width = photo.shape[:2]
        around = cv2.getRotationMatrix2D(tuple(map(float, face.landmarks[2])), 25, 1)
        cells.append(cell(*detected(cv2.warpAffine(photo, around, (width, height))), "tilt 25"))
    for direction, (photo, face) in zip((1, -1), photos.values(), strict=True):
        for angle in ANGLES:
            view, found = detected(turn(photo, face.landmarks, direction * angle))
            if found is None:
                print(f"no face found at {direction * angle} degrees", file=sys.stderr)
            cells.append(cell(view, found, f"{direction * angle:+d}"))
    default = speakers[:5] + portrait[:1]
    cells += [cell(image, face, "", "dlib", default=True) for image, face in default]
    cells += [cell(photo, face, "", "dlib", default=True) for photo, face in photos.values()]

    rows = [np.concatenate(cells[i : i + COLUMNS], axis=1) for i in range(0, len(cells), COLUMNS)]
    image = Image.fromarray(np.concatenate(rows)[..., ::-1])
    data = io.BytesIO()
    image.quantize(COLOURS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(data, "PNG", optimize=True)
    Path(out).write_bytes(data.getvalue())


if __name__ == "__main__":
    cli.run(lambda: main(*sys.argv[1:]))
