"""What is written beside the video: its notice, its label, and the preview."""

import os

import cv2
import numpy as np

from .. import __version__
from ..face import cropping
from ..media.video_writer import VideoWriter
from ..utils import files
from .options import PREVIEW_SIDE
from .source import OutputFrame

PREVIEW_FRAMES, PREVIEW_STEP = 8, 6
COMMENT = f"Synthetic video: the mouth was generated from the sound by lipgan_keras {__version__}"
LABEL = "SYNTHETIC"


def synthetic_writer(path: str | os.PathLike, width: int, height: int, rate: float, **options) -> VideoWriter:
    """A `VideoWriter` of an MP4 file whose metadata say that it is synthetic; `options` are the writer's."""
    return VideoWriter(path, width, height, rate, metadata={"comment": COMMENT}, **options)


def labelled(image: np.ndarray) -> np.ndarray:
    """A copy of an image, (H,W,3) uint8, with LABEL in the lower left corner."""
    height = len(image)
    scale = max(0.4, height / 720)
    image = image.copy()
    at = (round(12 * scale), height - round(14 * scale))
    for colour, width in (((0, 0, 0), 4), ((255, 255, 255), 1)):
        width = max(1, round(width * scale))
        cv2.putText(image, LABEL, at, cv2.FONT_HERSHEY_SIMPLEX, 0.8 * scale, colour, width, cv2.LINE_AA)
    return image


class Preview:
    """A contact sheet of the first faces, written as soon as it is full."""

    def __init__(self, path):
        self.path, self.columns, self.seen = path, [], 0

    def add(self, shot: OutputFrame, image: np.ndarray) -> None:
        if self.columns is None or not shot.faces:
            return
        if self.seen % PREVIEW_STEP == 0:
            box = shot.faces[0].box
            middle, half = (box[:2] + box[2:]) / 2, 0.7 * (box[2:] - box[:2])
            around = np.concatenate([middle - half, middle + half])
            crops = [cropping.extract(whole, around, PREVIEW_SIDE) for whole in (shot.frame.image, image)]
            self.columns.append(np.concatenate(crops))
        self.seen += 1
        if len(self.columns) == PREVIEW_FRAMES:
            self.write()

    def write(self) -> None:
        if not self.columns:
            return
        png = cv2.imencode(".png", np.concatenate(self.columns, axis=1))[1].tobytes()
        with files.replacing(self.path) as temporary:
            temporary.write_bytes(png)
        self.columns = None
