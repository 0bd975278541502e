"""A face and speech in, a video of the face saying the audio out: the pipeline behind inference.py.

Its stages (read, find faces, generate, paste, write) run side by side, and what lies between them is bounded: memory
does not grow with the length of the video.
"""

import dataclasses
import itertools
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from . import checkpoints
from .audio import WindowClock
from .config import ModelConfig
from .face import cropping
from .face.regions import assemble
from .inference import detail, motion
from .inference import engine as inference_engine
from .inference import output as inference_output
from .inference import source as inference_source
from .inference.blend import Composer
from .inference.latest import Latest
from .inference.occlusion import OcclusionDetector
from .inference.options import BATCH_SIZE, Options, Summary
from .inference.output import Preview, labelled
from .inference.pipeline import Stages
from .inference.reference import References, Seen
from .inference.source import OutputFrame, Source
from .media import video_reader
from .utils import files
from .utils.errors import UserError


class LipSync:
    """Makes faces speak; the generator is loaded once::

        LipSync().run(face="face.jpg", audio="speech.wav", outfile="out.mp4")

    A checkpoint with blocks of your own needs `blocks.load_plugin` before.

    Args:
        model: a generator's checkpoint, of this project or of Keras 2.2.4, or the folder of a preset; None: the one
            that ships; or what `engine.load` returns, or an object like it: `config`, `name`, and a call (faces,
            windows) -> images.
        engine: "auto", "openvino" or "keras"; see `engine.load`.
        batch_size: faces that the generator is given at once.
        audio_offset_ms: overrides the checkpoint's; positive hears a later window.

    Raises:
        UserError: the checkpoint cannot be used.
    """

    def __init__(
        self,
        model: str | os.PathLike | Any | None = None,
        engine: str = "auto",
        batch_size: int = BATCH_SIZE,
        audio_offset_ms: float | None = None,
    ):
        model = checkpoints.or_shipped(model)
        self._checkpoint = model if isinstance(model, (str, os.PathLike)) else None
        self._engine: Any = None if isinstance(model, (str, os.PathLike)) else model
        self._load = lambda: inference_engine.load(model, engine, batch_size, audio_offset_ms)
        self.batch_size = batch_size
        self.config: ModelConfig
        if self._engine:
            self.config = self._engine.config
        else:
            self.config = checkpoints.read_config(model).with_audio_offset(audio_offset_ms)

    @classmethod
    def from_preset(cls, preset: str | os.PathLike, **options) -> "LipSync":
        """A preset, which is a generator with all that is needed to use it.

            LipSync.from_preset("hf://user/name").run(face="face.jpg", audio="speech.wav", outfile="out.mp4")

        Args:
            preset: "lipsync", the one that ships; a checkpoint's file; a folder with config.json, model.weights.h5 and
                preprocessor.json, as `save_to_preset` writes it; or "hf://user/name", or "hf://user/name@revision",
                a repository of the Hugging Face Hub with such files. These three are downloaded and kept in the cache
                of huggingface_hub, so that the network is not needed again.
            options: see `LipSync`.

        Raises:
            UserError: there is no such preset, it cannot be downloaded, huggingface_hub is missing, or it cannot be
                used.
        """
        return cls(checkpoints.find_preset(preset), **options)

    def save_to_preset(self, folder: str | os.PathLike) -> None:
        """Write the generator as a folder with config.json, model.weights.h5 and preprocessor.json.

        A preset that is there is replaced, nothing else.

        Raises:
            UserError: the folder holds something else or cannot be written, or this was made of an engine.
        """
        if self._checkpoint is None:
            raise UserError(f"{folder}: cannot be written, as this LipSync was given an engine; give it a checkpoint")
        checkpoints.save_preset(self._checkpoint, folder, self.config.audio_offset_ms)

    @property
    def engine(self):
        """What runs the generator; loaded when it is first asked for."""
        if self._engine is None:
            self._engine = self._load()
        return self._engine

    def run(
        self,
        face: str | os.PathLike,
        audio: str | os.PathLike,
        outfile: str | os.PathLike,
        progress: bool = False,
        callback: Callable[[int, int], None] | None = None,
        stop: Callable[[], bool] | None = None,
        **options,
    ) -> Summary:
        """Write `outfile` (MP4), in which `face` says `audio`; it lasts as long as the audio.

        Args:
            face: image or video; a video shorter than the audio is played forward and back.
            audio: anything with audio in it, the face video itself included.
            progress: show a bar.
            callback: called with the frames done and those expected.
            stop: asked every 50 ms or so, such as `threading.Event().is_set`. Once it says True, the run ends within a
                second. What is made by then is kept, a whole MP4 whose audio ends where its frames do.
            options: of `Options`.

        Raises:
            UserError: an input that cannot be used, no face, an output that cannot be written, or a stop before the
                first frame.
        """
        begin = time.perf_counter()
        source = Source(Path(outfile), face, audio, Options(**options), self.config)
        self._look(source, stop)
        summary = Summary(source.outfile, engine=self.engine.name)
        preview = Preview(source.options.preview) if source.options.preview else None
        with (
            files.replacing(source.outfile) as temporary,
            tqdm(total=source.expected, unit="frame", dynamic_ncols=True, disable=not progress) as bar,
            Stages() as stages,
        ):
            summary.stages = stages.seconds
            made = self._made(source, stages, stop)
            with _writer(temporary, source, audio) as writer:
                for shot, image in made:
                    with stages.working("write"):
                        writer.write(image, shot.time, shot.duration)
                    summary.count(shot.time + shot.duration, bool(shot.faces))
                    if preview:
                        preview.add(shot, image)
                    if callback:
                        callback(summary.frames, max(source.expected, summary.frames))
                    bar.update()
                if summary.seconds < source.seconds - inference_source.END and (source.broken or stages.stopped):
                    summary.broken, summary.stopped = source.broken, stages.stopped
                    writer.cut_sound(summary.seconds)
                summary.damaged = video_reader.damaged(face, source.damage)
                _check_made(summary, source)
            bar.total = summary.frames
            bar.refresh()
        if preview:
            preview.write()
        summary.elapsed = time.perf_counter() - begin
        return summary

    def _look(self, source, stop):
        """Load the generator and find the face; where `stop` may come, in a thread that is left behind then."""
        if stop is None:
            return self.engine, source.look()
        with Stages() as stages:
            for _ in stages.run("look", (work() for work in (lambda: self.engine, source.look)), 1, stop):
                pass
        if stages.stopped:
            raise _nothing_made(source)

    def _made(self, source, stages, stop) -> Iterator[tuple[OutputFrame, np.ndarray]]:
        """All stages but the last: frames with their new mouths, ready to be written."""
        options = source.options
        shots = stages.run("find faces", source.shots(stages), source.ahead)
        # A box that the user gives may hold anything, and the original pastes over whatever is before the mouth.
        plain = options.box or options.region == "face" or source.is_still
        references = None if plain or self.config.decoder != "warp" else References()
        occlusion = None if plain else OcclusionDetector()
        spoken = stages.run("generate", self._speak(self.engine, shots, source, occlusion, references), source.ahead)
        composer = Composer(options.region, options.sharpen, source.is_still, source.keep)
        crop_of = detail.cropper(options.region, options.box, source.is_still)
        return stages.run("paste", _paste(spoken, composer, options.label, crop_of), source.ahead, stop)

    def _speak(self, generator, shots, source, occlusion, references) -> Iterator[tuple[OutputFrame, list]]:
        """Shots, each with the generated crops of its faces, how pixels were moved for them, and whose pixels."""
        cut, input_of = Latest(cropping.extract), Latest(assemble)
        while batch := list(itertools.islice(shots, min(self.batch_size, source.batch))):
            if occlusion:
                batch = [_uncovered(shot, occlusion) for shot in batch]
            seen, heard = [], []
            for shot in batch:
                for one in shot.faces:
                    crop = cut(shot.frame.image, one.box, self.config.img_size, one.angle)
                    seen.append(Seen(shot.frame.image, one, crop))
                    heard.append((shot.time, shot.time + shot.duration))
            origins = seen  # as in the original: the identity frame is the frame itself, unmasked
            if references:
                for one in seen:
                    references.look(one)
                origins = [references(one) for one in seen]
            made: Iterator = iter(())
            if seen:
                inputs = [input_of(origin.crop, one.crop)[0] for origin, one in zip(origins, seen, strict=True)]
                windows = WindowClock.of(self.config).windows_of(source.wave, *np.transpose(heard))
                images, moves = motion.generated(generator, np.stack(inputs), windows)
                made = zip(images, itertools.repeat(None) if moves is None else moves, origins, strict=False)
            for shot in batch:
                yield shot, [next(made) for _ in shot.faces]


def _check_made(summary, source):
    if summary.stopped and not summary.frames:
        raise _nothing_made(source)
    if summary.frames == summary.frames_without_face and not summary.stopped:
        raise UserError(f"{source.face}: {source.nobody()} in the part that is used; give one that shows it")


def _nothing_made(source):
    return UserError(f"{source.outfile}: is not made, as it was stopped before its first frame; run it again")


def _writer(path, source, audio):
    return inference_output.synthetic_writer(
        path,
        source.width,
        source.height,
        source.rate,
        audio=audio,
        duration=source.seconds,
        sample_aspect_ratio=source.info.sample_aspect_ratio,
    )


def _uncovered(shot, occlusion) -> OutputFrame:
    """A shot whose covered mouths show less of the new one."""
    faces = []
    for one in shot.faces:
        free = occlusion(shot.frame.image, one, shot.time)
        faces.append(one if free == 1 else dataclasses.replace(one, strength=one.strength * free))
    return dataclasses.replace(shot, faces=faces)


def _paste(spoken, composer, label, crop_of) -> Iterator[tuple[OutputFrame, np.ndarray]]:
    for shot, made in spoken:
        image = shot.frame.image
        for one, (crop, moves, origin) in zip(shot.faces, made, strict=True):
            image = composer(image, one, crop_of(shot.frame.image, one, crop, moves, origin=origin[:2]))
        yield shot, labelled(image) if label else image
