"""A photo, or the first frame of a video with a face, that speaks window by window."""

import itertools
import time

import numpy as np

from ..audio import WindowClock
from ..config import WINDOW_SHAPE
from ..media import image_file, probe, video_reader
from ..utils.errors import UserError

MAX_SIDE = 1280  # pixels of an image
FACE_FRAMES = 250  # of a video, in which a face is looked for


class Head:
    """A photo and the generator that makes it speak.

    Args:
        loaded: what `engine.load` returned, for one face at once; None: that of `checkpoint_path` is loaded.

    Attributes:
        image: the photo, (H,W,3) BGR uint8, MAX_SIDE pixels at most.
        rest: the photo with its mouth as in silence.
        cost: seconds that an image took.
        config, name: of the engine.
    """

    def __init__(self, checkpoint_path, face, pads, box, region, sharpen, engine, audio_offset_ms, label, loaded=None):
        from .. import checkpoints
        from ..face import cropping
        from ..face.regions import assemble
        from . import detail
        from . import engine as inference_engine
        from . import output as inference_output
        from .blend import Composer

        probe.probe(face)  # what can be said before anything is loaded
        checkpoint_path = checkpoints.or_shipped(checkpoint_path)
        config = loaded.config if loaded else checkpoints.read_config(checkpoint_path)
        self.image, self._face = _find(face, config.crop, pads, box, upright=region != "face")
        self._engine = loaded or inference_engine.load(checkpoint_path, engine, 1, audio_offset_ms)
        self.config, self.name = self._engine.config, self._engine.name
        self._composer = Composer(region, sharpen, still=True)
        self._crop_of = detail.cropper(region, box, still=True)
        crop = cropping.extract(self.image, self._face.box, self.config.img_size, self._face.angle)
        self._input = assemble(crop, crop)[0][None]
        self._photo = self.image
        if label:
            self.image = inference_output.labelled(self.image)
        silence = np.empty((WINDOW_SHAPE[self.config.audio][0], 0), np.float32)
        for _ in range(3):  # the first ones are slower
            begin = time.monotonic()
            self.rest = self(WindowClock.of(self.config).windows(silence, [0.0], [0.0]))
            self.cost = time.monotonic() - begin

    def __call__(self, window: np.ndarray) -> np.ndarray:
        """The photo as it says a window (1, 80, 27, 1) or (1, 12, 35, 1)."""
        from . import motion

        images, moves = motion.generated(self._engine, self._input, window)
        move = None if moves is None else moves[0]
        crop = self._crop_of(self._photo, self._face, images[0], move)
        return self._composer(self.image, self._face, crop)


def _find(path, style, pads, box, upright):
    """The photo, or the first frame of a video that has a face, and the face."""
    from ..face import looks, tracking

    turn = 0 if box is not None else looks.turn_of(path) or 0
    for frame in itertools.islice(video_reader.read_frames(path), FACE_FRAMES):
        height, width = frame.image.shape[:2]
        scale = min(1.0, MAX_SIDE / max(height, width))
        scaled = [scale * side for side in pads]
        frame.image = image_file.fitted(frame.image, MAX_SIDE)
        if box is not None:
            tracking.check_box(box, width, height)
            found = tracking.fixed_box(iter([frame]), [scale * side for side in box], style, scaled)
        else:
            found = tracking.track(iter([frame]), style, scaled, upright=upright, turn=turn)
        for tracked in found:
            if tracked.faces:
                return frame.image, tracked.faces[0]
    raise UserError(f"{path}: no face found; give a picture of a face that looks at the camera, or its --box")
