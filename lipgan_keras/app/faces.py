"""The faces of a picture or video, shown in boxes, of which a visitor clicks one."""

import dataclasses
import itertools
import os
from pathlib import Path

import cv2
import numpy as np

from ..face import looks, tracking
from ..media import image_file, video_reader
from ..utils.errors import UserError

FRAMES = 250  # of a video, in which a face is looked for
PROBES = (12,)  # frames spread over a video of which one is to show a face: fewer than the run tries, as one waits
SIDE = 1920  # pixels of the picture in which faces are looked for, as in the run
SHOWN = 960  # pixels of the picture that is shown
CHOSEN, OTHER, WHITE = (79, 200, 55), (170, 170, 170), (255, 255, 255)  # BGR


@dataclasses.dataclass
class Seen:
    """What was found.

    Attributes:
        image: the picture, or the first frame of the video with a face, (H,W,3) BGR uint8, SHOWN pixels at most.
        boxes: (faces, 4) x1, y1, x2, y2 in its pixels, from left to right.
        is_still: whether it is a picture.
    """

    image: np.ndarray
    boxes: np.ndarray
    is_still: bool

    @property
    def largest(self) -> int:
        """Its number from the left."""
        return int(np.argmax(np.prod(self.boxes[:, 2:] - self.boxes[:, :2], axis=1)))

    def at(self, x: float, y: float) -> int:
        """The number of the face whose middle is nearest to a point of the image."""
        return int(np.argmin(np.hypot(*((self.boxes[:, :2] + self.boxes[:, 2:]) / 2 - (x, y)).T)))

    def drawn(self, chosen: int | str) -> np.ndarray:
        """The image with all faces in boxes; those that are to speak, a number or "all", in another colour."""
        image = self.image.copy()
        width = max(2, round(max(image.shape[:2]) / 250))
        for number, box in enumerate(np.rint(self.boxes).astype(int)):
            colour = CHOSEN if chosen in ("all", number) else OTHER
            cv2.rectangle(image, tuple(box[:2]), tuple(box[2:]), WHITE, width + 2, cv2.LINE_AA)
            cv2.rectangle(image, tuple(box[:2]), tuple(box[2:]), colour, width, cv2.LINE_AA)
            if len(self.boxes) > 1:
                _write(image, str(number + 1), box, colour, width)
        return image


def _write(image, text, box, colour, width):
    scale = width / 3
    (wide, high), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, width)
    pad = 2 * width
    x, y = int(box[0]), max(int(box[1]), high + 2 * pad)
    cv2.rectangle(image, (x, y - high - 2 * pad), (x + wide + 2 * pad, y), colour, -1)
    cv2.putText(image, text, (x + pad, y - pad), cv2.FONT_HERSHEY_SIMPLEX, scale, WHITE, width, cv2.LINE_AA)


def look(path: str | os.PathLike) -> Seen:
    """Find the faces of a picture, or of the first frame of a video that shows one.

    Raises:
        UserError: it cannot be read, or shows no face.
    """
    turn = looks.turn_of(path, probes=PROBES)
    if turn is not None:
        is_still = video_reader.file_kind(path) == "still"
        for frame in itertools.islice(video_reader.read_frames(path), FRAMES):
            frame.image = image_file.fitted(frame.image, SIDE)
            # As the run counts them: see `inference.source.Source._track`.
            for tracked in tracking.track(iter([frame]), people="all", small=True, turn=turn):
                if tracked.faces:
                    shown = image_file.fitted(frame.image, SHOWN)
                    scale = shown.shape[1] / frame.image.shape[1]
                    return Seen(shown, scale * np.stack([one.face.box for one in tracked.faces]), is_still)
    raise UserError(f"{path}: no face found; give one that shows a face, large and from the front")


def save(image: np.ndarray, path: Path) -> Path:
    """Write an image, (H,W,3) BGR uint8, as JPEG."""
    path.write_bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes())
    return path
