"""What the page makes: a video, one frame of it, a live face; with each generator loaded once."""

import copy
import dataclasses
import os
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import checkpoints
from ..config import SAMPLE_RATE
from ..face import detector, photos
from ..inference import engine as inference_engine
from ..inference.options import BATCH_SIZE, Summary
from ..inference.portrait import Head
from ..inference.source import load_speech
from ..lipsync import LipSync
from ..media import audio_file, video_reader
from ..puppets import speech
from ..utils.errors import UserError
from .desk import Job
from .limits import Limits

SHIPPED = "The one that ships"
EXAMPLES = {"astronaut": "The astronaut speaks", "grace_hopper": "The admiral speaks"}
EXAMPLE_SECONDS, EXAMPLE_SEED = 4.0, 10_003  # no clip's
TRIED_SECONDS = 0.6  # of sound, of which one frame is tried
LOUD_SECONDS = 0.12  # of the loudest sound, as of a vowel


@dataclasses.dataclass(frozen=True)
class Wishes:
    """What a visitor may set.

    Attributes:
        region, sharpen, pads, face_index, fps, label: of `inference.options.Options`.
        offset_ms: added to the checkpoint's `audio_offset_ms`.
        checkpoint: a name of `Studio.names`.
    """

    region: str = "jaw"
    sharpen: float = 1.0
    pads: Sequence[float] = (0, 0, 0, 0)
    face_index: int | str | None = None
    fps: float | None = 25.0
    label: bool = True
    offset_ms: float = 0.0
    checkpoint: str = SHIPPED


class Studio:
    """Generators and what they are used for.

    Args:
        paths: of the checkpoints that visitors may choose from; the first one is the default. None: the one that ships.
        engine: of `inference.engine.load`.
        limits: of a visitor.
        folder: for examples.

    Attributes:
        names: of the checkpoints, as visitors see them.
        examples: {name: (title, photo)}; copies in `folder`.
        sound: of the examples, a WAV file.

    Raises:
        UserError: a checkpoint cannot be used.
    """

    def __init__(self, paths: Sequence[str | os.PathLike] | None, engine: str, limits: Limits, folder: Path):
        self.limits = limits
        self._engine = engine
        self._paths = _named(paths)
        self.names = list(self._paths)
        for path in self._paths.values():
            checkpoints.read_config(path)
        self._loaded: dict[tuple[str, int], Any] = {}
        self._lock = threading.Lock()
        shipped = photos.shipped_photos()
        self.examples = {
            name: (title, Path(shutil.copy(shipped[name], folder)))
            for name, title in EXAMPLES.items()
            if name in shipped
        }
        self.sound = folder / "made-up_voice.wav"
        wave, _, _ = speech.synthesise_speech(EXAMPLE_SECONDS, np.random.default_rng(EXAMPLE_SEED))
        audio_file.save_wav(self.sound, wave)

    def warm(self) -> None:
        """Load the default generator and the detector, so that nobody waits for them."""
        self.engine(self.names[0], BATCH_SIZE)
        detector.detect([np.zeros((64, 64, 3), np.uint8)])

    def engine(self, name: str, batch_size: int) -> Any:
        """The generator of a checkpoint for so many faces at once; loaded when it is first asked for."""
        with self._lock:
            if (name, batch_size) not in self._loaded:
                self._loaded[name, batch_size] = inference_engine.load(self._paths[name], self._engine, batch_size)
            return self._loaded[name, batch_size]

    def is_example(self, path: str | os.PathLike) -> bool:
        """Whether a file is one of the examples."""
        return Path(path) in {self.sound, *(photo for _, photo in self.examples.values())}

    def run(self, face: str, sound: str, outfile: Path, wishes: Wishes, job: Job) -> Summary:
        """Make the video; see `LipSync.run`."""
        return self._lipsync(wishes).run(
            face,
            sound,
            outfile,
            callback=job.progress,
            stop=job.stop.is_set,
            max_sec=self.limits.seconds,
            **_options(wishes),
        )

    def try_frame(self, face: str, sound: str, folder: Path, wishes: Wishes, job: Job) -> np.ndarray:
        """The face as it says the loudest moment of the sound: (H,W,3) BGR uint8.

        Of a video the first frame with a face is taken.

        Raises:
            UserError: see `LipSync.run`.
        """
        part, video = folder / "moment.wav", folder / "moment.mp4"
        audio_file.save_wav(part, _loudest(load_speech(sound, self.limits.seconds)))
        self._lipsync(wishes).run(face, part, video, static=True, stop=job.stop.is_set, **_options(wishes))
        frames = [frame.image for frame in video_reader.read_frames(video)]
        return frames[len(frames) // 2]

    def head(self, face: str, region: str, label: bool) -> Head:
        """A face that speaks live."""
        return Head(
            None, face, (0, 0, 0, 0), None, region, 1.0, self._engine, None, label, self.engine(self.names[0], 1)
        )

    def _lipsync(self, wishes):
        loaded = self.engine(wishes.checkpoint, BATCH_SIZE)
        if wishes.offset_ms:
            loaded = copy.copy(loaded)  # shares the network and its lock
            loaded.config = loaded.config.with_audio_offset(loaded.config.audio_offset_ms + wishes.offset_ms)
        return LipSync(loaded)


def _named(paths):
    if not paths:
        return {SHIPPED: checkpoints.or_shipped(None)}
    named = {}
    for path in paths:
        name = Path(path).stem
        if name in named:
            raise UserError(f"--checkpoint_path {path}: another one is called {name} too; rename it")
        named[name] = path
    return named


def _options(wishes):
    names = ("region", "sharpen", "pads", "face_index", "fps", "label")
    return {name: getattr(wishes, name) for name in names}


def _loudest(wave):
    """A piece of TRIED_SECONDS around the loudest LOUD_SECONDS of a waveform; with silence where there is no more."""
    window = round(LOUD_SECONDS * SAMPLE_RATE)
    power = np.cumsum(np.concatenate([[0.0], np.square(wave, dtype=np.float64)]))
    begin = int(np.argmax(power[window:] - power[:-window])) if len(wave) > window else 0
    half = round(TRIED_SECONDS * SAMPLE_RATE / 2)
    middle = begin + window // 2
    return np.pad(wave, half)[middle : middle + 2 * half]
