"""Frames around the face, the sound's waveform below: python benchmarks/strip.py VIDEO PICTURE

The video is cut into as many pieces as there are frames shown: of the pieces in turn, the one with the mouth most closed
and the one with it widest open.
"""

import sys

import cv2
import numpy as np

from lipgan_keras import audio, cli, faces, metrics, video

FRAMES, SIZE, HEIGHT = 8, 140, 50


def main(source, picture):
    tracked = [t for t in faces.track(video.read_frames(source)) if t.face is not None]
    crops = np.stack([faces.extract(t.frame.image, t.box) for t in tracked])
    opening = metrics.mouth_opening(crops, np.stack([faces.to_crop(t.face.landmarks, t.box) for t in tracked]))
    pieces = np.array_split(np.arange(len(tracked)), FRAMES)
    extremes = [piece[np.argmax(opening[piece]) if n % 2 else np.argmin(opening[piece])] for n, piece in enumerate(pieces)]
    chosen = [tracked[i] for i in extremes]
    grow = np.array([-1, -1, 1, 1]) * 0.15 * (tracked[0].box[2] - tracked[0].box[0])
    row = np.concatenate([faces.extract(t.frame.image, t.box + grow, SIZE) for t in chosen], axis=1)
    wave = audio.load_audio(source)
    end = tracked[-1].frame.time + tracked[-1].frame.duration
    sound = np.full((HEIGHT, row.shape[1], 3), 255, "uint8")
    loudest = max(float(np.abs(wave).max()), 1e-6)
    for x, piece in enumerate(np.array_split(wave[: round(end * audio.SAMPLE_RATE)], row.shape[1])):
        half = int(np.abs(piece).max(initial=0) / loudest * (HEIGHT / 2 - 2))
        cv2.line(sound, (x, HEIGHT // 2 - half), (x, HEIGHT // 2 + half), (160, 110, 60))
    for t in chosen:
        x = int((t.frame.time + t.frame.duration / 2) / end * (row.shape[1] - 1))
        cv2.line(sound, (x, 0), (x, HEIGHT), (40, 40, 220))
    cv2.imwrite(picture, np.concatenate([row, sound]))


if __name__ == "__main__":
    cli.run(lambda: main(*sys.argv[1:]))
