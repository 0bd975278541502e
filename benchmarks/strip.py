"""Frames around the face, the sound's waveform below: python benchmarks/strip.py VIDEO PICTURE

The video is cut into as many pieces as there are frames shown: of the pieces in turn, the one with the mouth most
closed and the one with it widest open.
"""

import sys
from pathlib import Path

import cv2
import numpy as np

from lipgan_keras.config import SAMPLE_RATE
from lipgan_keras.face import aperture, cropping, tracking
from lipgan_keras.media import audio_file, video_reader
from lipgan_keras.utils import cli, files

FRAMES, SIZE, HEIGHT = 8, 140, 50


def look(source) -> tuple[list, np.ndarray]:
    """The frames of a video and the faces in them, and how open each mouth is."""
    seen = list(tracking.follow(video_reader.read_frames(source)))
    return seen, aperture.mouth_apertures_seen(seen)


def extremes(opening: np.ndarray) -> list[int]:
    """Of `FRAMES` pieces in turn, where the mouth is shut most and open most."""
    pieces = np.array_split(np.arange(len(opening)), FRAMES)
    return [
        int(piece[np.argmax(opening[piece]) if n % 2 else np.argmin(opening[piece])]) for n, piece in enumerate(pieces)
    ]


def row(chosen) -> np.ndarray:
    """Frames side by side, cut a little wider than the crop of the first one's face."""
    grow = np.array([-1, -1, 1, 1]) * 0.15 * np.ptp(chosen[0][1].box[::2])
    return np.concatenate([cropping.extract(frame.image, one.box + grow, SIZE) for frame, one in chosen], axis=1)


def about_mouth(image, corners, reach) -> np.ndarray:
    """The part of an image about a mouth; beyond its edge the edge goes on.

    Args:
        corners: (2,2) pixels, the mouth's left and right one in the image.
        reach: from the middle between them to the left, up, to the right and down, in distances between them.
    """
    left, right = corners
    reach = np.float32(reach) * np.hypot(*(right - left))
    x1, y1, x2, y2 = np.rint(np.concatenate([(left + right) / 2] * 2) + reach * (-1, -1, 1, 1)).astype(int)
    height, width = image.shape[:2]
    rows, columns = (np.clip(np.arange(*ends), 0, side - 1) for ends, side in (((y1, y2), height), ((x1, x2), width)))
    return image[np.ix_(rows, columns)]


def mouth(image, corners, reach, sides) -> np.ndarray:
    """`about_mouth`, as large as `sides`: width and height in pixels."""
    return cv2.resize(about_mouth(image, corners, reach), sides, interpolation=cv2.INTER_CUBIC)


def spread(order, count, apart) -> list[int]:
    """The first of `order`, `count` at most, that are so far apart; sorted."""
    chosen: list[int] = []
    for i in order:
        if len(chosen) < count and all(abs(i - other) >= apart for other in chosen):
            chosen.append(int(i))
    return sorted(chosen)


def save(path, rows) -> None:
    """Rows of pixels as one picture, JPEG or PNG."""
    with files.replacing(Path(path)) as temporary:
        cv2.imwrite(str(temporary), np.concatenate(rows), [cv2.IMWRITE_JPEG_QUALITY, 90])


def main(source, out):
    seen, opening = look(source)
    chosen = [seen[i] for i in extremes(opening)]
    image = row(chosen)
    wave = audio_file.load_audio(source)
    end = seen[-1][0].time + seen[-1][0].duration
    sound = np.full((HEIGHT, image.shape[1], 3), 255, "uint8")
    loudest = max(float(np.abs(wave).max()), 1e-6)
    for x, piece in enumerate(np.array_split(wave[: round(end * SAMPLE_RATE)], image.shape[1])):
        half = int(np.abs(piece).max(initial=0) / loudest * (HEIGHT / 2 - 2))
        cv2.line(sound, (x, HEIGHT // 2 - half), (x, HEIGHT // 2 + half), (160, 110, 60))
    for frame, _ in chosen:
        x = int((frame.time + frame.duration / 2) / end * (image.shape[1] - 1))
        cv2.line(sound, (x, 0), (x, HEIGHT), (40, 40, 220))
    cv2.imwrite(out, np.concatenate([image, sound]))


if __name__ == "__main__":
    cli.run(lambda: main(*sys.argv[1:]))
