"""Are the lips of a trained generator in time with the sound, at every frame rate?

    python benchmarks/lip_offset.py [--checkpoint_path logs/checkpoint.h5]

A puppet of a shipped photo says a synthesised sound whose true opening of the mouth is known, in a source video of each
rate whose own mouth is shut. Of the result the opening is estimated (`aperture.mouth_aperture`), and shifted in time
against the true one: the lag with the highest correlation is the offset, positive where the lips are late.
"""

import tempfile
from pathlib import Path

import numpy as np

from lipgan_keras import LipSync
from lipgan_keras.face import aperture, cropping, tracking
from lipgan_keras.face import photos as face_photos
from lipgan_keras.media import audio_file, video_reader
from lipgan_keras.media.video_writer import VideoWriter
from lipgan_keras.puppets import photos, speech
from lipgan_keras.utils import cli
from lipgan_keras.utils.cli import ArgumentParser

RATES = {
    "23.976": 24000 / 1001,
    "25": 25.0,
    "29.97": 30000 / 1001,
    "30": 30.0,
    "50": 50.0,
    "60": 60.0,
    "variable": None,
}
SECONDS = 10.0
LAGS = np.arange(-0.2, 0.2001, 0.005)


def main():
    parser = ArgumentParser(description="The lips' offset against the sound, by frame rate.")
    parser.add_argument("--checkpoint_path", type=cli.existing, help="trained generator (default: the one that ships)")
    parser.add_argument("--photo", help="a face (default: the photo of Grace Hopper that ships with matplotlib)")
    parser.add_argument("--rates", nargs="+", choices=list(RATES), default=list(RATES), metavar="FPS")
    parser.add_argument("--seed", type=cli.limited("seed", int), default=20_000, help="of the sound")
    args = parser.parse_args()
    puppet = photos.load_puppet(args.photo or face_photos.shipped_photos()["grace_hopper"])
    wave, opening, _ = speech.synthesise_speech(SECONDS, np.random.default_rng(args.seed))
    lipsync = LipSync(args.checkpoint_path)
    print(f"{'fps':>9}  offset of the lips    correlation there, and at 0")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        audio_file.save_wav(folder / "speech.wav", wave)
        for name in args.rates:
            times = frame_times(RATES[name])
            source = write(folder / "face.mp4", puppet.render(0.0, 0.0), times)
            lipsync.run(source, folder / "speech.wav", folder / "out.mp4")
            lag, best, none = offset(folder / "out.mp4", opening)
            frames = lag / np.mean(np.diff(times))
            print(f"{name:>9}  {1000 * lag:+4.0f} ms {frames:+5.2f} frames    {best:.3f}  {none:.3f}", flush=True)


def frame_times(rate: float | None) -> np.ndarray:
    if rate:
        return np.arange(int(SECONDS * rate)) / rate
    gaps = np.random.default_rng(0).uniform(0.02, 0.06, 1000)
    times = np.concatenate([[0], np.cumsum(gaps)])
    return times[times < SECONDS]


def write(path, image, times):
    height, width = image.shape[:2]
    with VideoWriter(path, width, height, len(times) / SECONDS) as writer:
        for time, until in zip(times, [*times[1:], SECONDS], strict=False):
            writer.write(image, time, until - time)
    return path


def offset(path, opening) -> tuple[float, float, float]:
    """Seconds by which the lips are late, the correlation there, and at 0."""
    found, middles = [], []
    for frame, face in tracking.follow(video_reader.read_frames(path)):
        crop = cropping.extract(frame.image, face.box)
        found.append(aperture.mouth_aperture(crop[None], cropping.to_crop(face.face.landmarks, face.box)[None])[0])
        middles.append(frame.time + frame.duration / 2)
    middles, true_times = np.array(middles), (np.arange(len(opening)) + 0.5) / speech.FPS
    correlations = [np.corrcoef(found, np.interp(middles - lag, true_times, opening))[0, 1] for lag in LAGS]
    best = int(np.argmax(correlations))
    return float(LAGS[best]), float(correlations[best]), float(correlations[int(np.abs(LAGS).argmin())])


if __name__ == "__main__":
    cli.run(main)
