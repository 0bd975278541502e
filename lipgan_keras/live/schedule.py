"""When each frame is due."""

import math

from ..audio import WindowClock
from ..config import STEPS_PER_SECOND, WINDOW_SHAPE
from . import sound

FPS = 25
DUE, LATE = 0.08, 0.15  # seconds after half a window
FOURIER_FRAME = {"mel": 800, "mfcc": 400}  # samples that one step of a window hears


class Schedule:
    """Which sound a frame hears, and when it is to be shown, by the model's configuration. All in seconds of audio.

    Attributes:
        wait: from the middle of a frame to the end of what its window is centred on and after, that is half a window,
            and more for a model that hears later sound.
        limit: from the middle of a frame until it is shown, at most.
    """

    def __init__(self, config):
        self.config = config
        self.half = WINDOW_SHAPE[config.audio][1] / STEPS_PER_SECOND[config.audio] / 2
        # "released" windows lie differently to frames, the same way every 5 frames (16 steps).
        later = max(self.centre(k) - self.middle(k) for k in range(5))
        self.wait = self.half + max(0.0, later)
        self.limit = self.wait + LATE

    def middle(self, k: int) -> float:
        return (k + 0.5) / FPS

    def centre(self, k: int) -> float:
        """The moment on which the window of frame k is centred."""
        return float(WindowClock.of(self.config).centres(k / FPS, (k + 1) / FPS))

    def samples(self, k: int) -> int:
        """How much sound there must be for the window of frame k to be what it is in the whole audio."""
        return math.ceil((self.centre(k) + self.half) * sound.RATE + 1e-3) + FOURIER_FRAME[self.config.audio] // 2

    def due(self, k: int) -> float:
        return self.middle(k) + self.wait + DUE

    def latest(self, k: int) -> float:
        return self.middle(k) + self.limit


def frame_count(samples: int) -> int:
    """Frames of so much sound, as many as `LipSync.run` makes of it."""
    return max(1, round(samples / sound.RATE * FPS))
