"""Clips whose frames tell their number, and a detector and a generator that are exact and fast, for the tests."""

import importlib
import os
import signal
import sys
import time as clock
import types

import numpy as np

from lipgan_keras.face import cropping
from lipgan_keras.face.detector import Face
from lipgan_keras.media.video_writer import VideoWriter
from lipgan_keras.utils import cli

RATE = 16000
FACE, BLANK = 110, 30  # grey of an image with and without a "face"


def numbered_image(number, size=(128, 128), face=True):
    """(height, width, 3): a row of eight black or white cells at the top, the number's bits; grey below."""
    width, height = size
    image = np.full((height, width, 3), FACE if face else BLANK, np.uint8)
    for bit in range(8):
        image[: height // 8, bit * width // 8 : (bit + 1) * width // 8] = 255 * (number >> bit & 1)
    return image


def number(image):
    height, width = image.shape[:2]
    cells = (image[height // 24 : height // 12, (2 * bit + 1) * width // 16] for bit in range(8))
    return sum((cell.mean() > 127) << bit for bit, cell in enumerate(cells))


def steady(fps, seconds):
    """Times of the frames of a constant rate."""
    return [i / fps for i in range(round(seconds * fps))]


def uneven(seconds):
    """Times of frames 25 to 75 ms apart."""
    times, gaps = [0.0], np.random.default_rng(4).uniform(0.025, 0.075, 1000)
    while times[-1] + gaps[len(times)] < seconds:
        times.append(times[-1] + gaps[len(times)])
    return times


def write(path, times, end, draw=numbered_image, audio=None, size=(128, 128), **arguments):
    """An MP4 of draw(i), shown from times[i]; the last one until `end`; `audio` is (wave, rate)."""
    rate = len(times) / (end - times[0])
    with VideoWriter(path, *size, rate, audio=audio, duration=end if audio else None, **arguments) as writer:
        for i, time in enumerate(times):
            writer.write(draw(i, size) if draw is numbered_image else draw(i), time, ([*times, end][i + 1]) - time)
    return path


def beeps(spans, seconds, rate=RATE, tone=None):
    """Loud noise, or a tone of `tone` Hz, in each (start, end); faint noise elsewhere."""
    rng = np.random.default_rng(8)
    time = np.arange(round(seconds * rate)) / rate
    loud = np.any([(start <= time) & (time < end) for start, end in spans], axis=0)
    noise = rng.uniform(-1, 1, len(time))
    return np.where(loud, 0.3 * (np.sin(2 * np.pi * tone * time) if tone else noise), 1e-3 * noise).astype(np.float32)


def onset(wave, rate=RATE):
    """Seconds at which the first loud sound starts."""
    return np.flatnonzero(np.abs(wave) > 0.1)[0] / rate


def detect(images):
    """In place of `detector.detect`: a face that fills the middle of every image that is not BLANK."""
    clock.sleep(float(os.environ.get("SECONDS_A_FRAME", "0")) * len(images))
    found = []
    for image in images:
        if os.environ.get("DIE_AT") and number(image) == int(os.environ["DIE_AT"]):
            os.kill(os.getpid(), signal.SIGKILL)
        height, width = image.shape[:2]
        side = min(height, width)
        points = np.array([[-0.1, -0.1], [0.1, -0.1], [0, 0], [-0.08, 0.12], [0.08, 0.12]])
        points = points * side + (width / 2, height / 2)
        box = np.array(
            [width / 2 - 0.2 * side, height / 2 - 0.25 * side, width / 2 + 0.2 * side, height / 2 + 0.25 * side]
        )
        band = image[height // 4 : height // 3, width // 4 : -width // 4]  # empty in images too small for a face
        seen = band.size and abs(float(band.mean()) - BLANK) > 20
        found.append([Face(box.astype("float32"), points.astype("float32"), 0.99)] if seen else [])
    return found


class PaintedSound:
    """In place of an engine: paints the lower half as bright as the middle step of its sound window is loud."""

    name = "painted"

    def __init__(self, config):
        self.config = config
        self.windows, self.batches = [], []

    def __call__(self, face, window):
        assert face.shape[1:] == (96, 96, 6) and window.shape[1:] in ((80, 27, 1), (12, 35, 1)), (
            face.shape,
            window.shape,
        )
        self.windows.append(window)
        self.batches.append(len(face))
        output = face[..., :3].copy()
        output[:, 48:] = (window[:, :, window.shape[2] // 2, 0].mean(1)[:, None, None, None] + 4) / 8
        return output


def loudness_painted(image):
    """What `PaintedSound` left in an image, 0..1, where `detect` saw a face."""
    x1, y1, x2, y2 = cropping.crop_box(detect([numbered_image(0, image.shape[1::-1])])[0][0])
    x, y = int((x1 + x2) / 2), int(0.3 * y1 + 0.7 * y2)
    return float(image[y - 2 : y + 3, x - 2 : x + 3].mean()) / 255


def call(script, *arguments, capfd=None):
    """Run the `main` of a script or module in this process as its command line would: returncode, stdout and stderr."""
    name = script.removesuffix(".py")
    before, handlers = sys.argv, {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    sys.argv = [script, *map(str, arguments)]
    hook, end_at_once = sys.unraisablehook, cli.end_at_once
    cli.end_at_once = sys.exit
    capfd.readouterr()
    try:
        module = importlib.import_module(name)
        if not hasattr(module, "main"):  # a package that runs
            module = importlib.import_module(f"{name}.__main__")
        cli.run(module.main)
        code = 0
    except SystemExit as end:
        code = end.code
    finally:
        sys.argv, sys.unraisablehook, cli.end_at_once = before, hook, end_at_once
        for number, handler in handlers.items():
            signal.signal(number, handler)
    captured = capfd.readouterr()
    return types.SimpleNamespace(returncode=code, stdout=captured.out, stderr=captured.err)
