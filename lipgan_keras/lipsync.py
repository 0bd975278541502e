"""A face and a sound in, a video of the face saying the sound out: the pipeline behind inference.py.

Its stages (read, find faces, generate, paste, write) run side by side, and what lies between them is bounded: memory
does not grow with the length of the video.
"""

import dataclasses
import itertools
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from . import __version__, checkpoints, cli, composite, faces, tracking, video
from . import audio as sound
from . import engine as engines
from .cli import UserError
from .dataset import assemble
from .stages import Stages

BATCH_SIZE = 16  # faces the generator is given at once
FRAME_BYTES = 1 << 28  # of the frames that are under way, as far as some 30 frames fit in it
PROBES = (1, 48)  # frames, spread over the video, in which a face is looked for before any work
DETECT_EVERY = 4  # frames of a video
BRIDGE = 5  # frames without a face that are taken for a failure of the detector
FADE = 3  # frames over which the new mouth comes and goes with its face
MAX_FPS = 240
MAX_SIDE = 8192  # pixels; H.264 players give up beyond
SMALL_FACE = 32  # pixels; what is narrower holds hardly a mouth
LONGEST = 0.1  # seconds; a frame that is shown for longer is given several mouths
END = 5e-3  # seconds of sound that no frame of its own is made for
PREVIEW_FRAMES, PREVIEW_STEP, PREVIEW_SIDE = 8, 6, 192
COMMENT = f"Synthetic video: the mouth was generated from the sound by lipgan_keras {__version__}"
LABEL = "SYNTHETIC"


@dataclasses.dataclass
class Options:
    """What `LipSync.run` may be told beside face, sound and output file.

    Attributes:
        region: what is redrawn: "mouth", "jaw" or "face", the original's rectangle.
        sharpen: how much of the detail of the face around it the mouth is given; 0: none.
        pads: top, bottom, left, right: pixels of the face picture by which the crop grows on each side (shrinks where
            negative).
        box: top, bottom, left, right in pixels of the face picture: where the face is, in every frame, in place of
            looking.
        face_index: which face, counted from the left; "all"; None: the largest.
        smooth: whether landmarks are smoothed in time.
        static: of a video, use the first frame with a face only.
        start, end: seconds of a face video that are used; sound is not cut by them.
        resize_factor: the result's sides are the input's divided by it.
        max_sec: cut the sound here.
        fps: frame rate of the output where the face is a still, 25 by default; a video keeps its own times.
        label: write visibly on the picture that it is synthetic.
        preview: a PNG to write as soon as some faces are there: those of the source above those of the result.
    """

    region: str = composite.DEFAULT_REGION
    sharpen: float = 1.0
    pads: Sequence[float] = (0, 0, 0, 0)
    box: Sequence[float] | None = None
    face_index: int | str | None = None
    smooth: bool = True
    static: bool = False
    start: float = 0.0
    end: float | None = None
    resize_factor: float = 1.0
    max_sec: float = 240.0
    fps: float | None = None
    label: bool = False
    preview: str | os.PathLike | None = None


@dataclasses.dataclass
class Summary:
    """What was made.

    Attributes:
        outfile: the video.
        seconds: its length.
        frames, frames_without_face: all of its frames, and those that passed through.
        engine: what ran the generator.
        elapsed: seconds that it took, from opening the inputs to renaming the output.
        stages: {name: seconds of work}; they overlap.
        broken: why the video ends early, where its file turned out to be damaged on the way.
    """

    outfile: Path
    seconds: float = 0.0
    frames: int = 0
    frames_without_face: int = 0
    engine: str = ""
    elapsed: float = 0.0
    stages: dict[str, float] = dataclasses.field(default_factory=dict)
    broken: str | None = None

    @property
    def real_time_factor(self) -> float:
        """Seconds of video made in a second."""
        return self.seconds / max(self.elapsed, 1e-9)

    def __str__(self) -> str:
        text = (
            f"{self.outfile}: {self.seconds:.2f} s, {self.frames} frames, {self.frames_without_face} of them with no "
            f"face; {self.engine}, {self.frames / max(self.elapsed, 1e-9):.1f} frames/s, {self.real_time_factor:.2f} x "
            "real time"
        )
        return f"{text}\nit ends early: {self.broken}" if self.broken else text


@dataclasses.dataclass
class Shot:
    """A frame of the output, shown from `time` for `duration` seconds of the sound, and the faces that are to speak."""

    frame: video.Frame
    faces: list[tracking.TrackedFace]
    time: float
    duration: float


class LipSync:
    """Makes faces speak; the generator is loaded once.

        LipSync().run(face="face.jpg", audio="speech.wav", outfile="out.mp4")

    Args:
        model: a generator's checkpoint, of this project or of Keras 2.2.4; None: the one that ships; or what
            `engine.load` returns, or an object like it: `config`, `name`, and a call (faces, windows) -> pictures.
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
        self._engine = None if isinstance(model, (str, os.PathLike)) else model
        self._load = lambda: engines.load(model, engine, batch_size, audio_offset_ms)
        self.batch_size = batch_size
        if self._engine:
            self.config = self._engine.config
        else:
            self.config = checkpoints.read_config(model)
            if audio_offset_ms is not None:
                self.config.audio_offset_ms = audio_offset_ms

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
        **options,
    ) -> Summary:
        """Write `outfile` (MP4), in which `face` says `audio`; it lasts as long as the sound.

        Args:
            face: picture or video; a video shorter than the sound is played forward and back.
            audio: anything with sound in it, the face video itself included.
            progress: show a bar.
            callback: called with the frames done and those expected.
            options: of `Options`.

        Raises:
            UserError: an input that cannot be used, no face, or an output that cannot be written.
        """
        begin = time.perf_counter()
        source = _Source(Path(outfile), face, audio, Options(**options), self.config)
        generator = self.engine
        source.look()
        summary = Summary(source.outfile, engine=generator.name)
        composer = composite.Composer(source.options.region, source.options.sharpen)
        preview = _Preview(source.options.preview) if source.options.preview else None
        with (
            cli.replacing(source.outfile) as temporary,
            tqdm(total=source.expected, unit="frame", dynamic_ncols=True, disable=not progress) as bar,
            Stages() as stages,
        ):
            summary.stages = stages.seconds
            shots = stages.run("find faces", source.shots(stages), source.ahead)
            spoken = self._speak(generator, shots, source)
            spoken = stages.run("generate", spoken, source.ahead)
            # Of a box that the user gives nobody knows what it holds, and the original pastes whatever is before the
            # mouth.
            uncovered = None if source.options.box or source.options.region == "face" else composite.Uncovered()
            made = stages.run("paste", _paste(spoken, composer, uncovered, source.options.label), source.ahead)
            with video.VideoWriter(
                temporary,
                source.width,
                source.height,
                source.rate,
                audio=audio,
                duration=source.seconds,
                sample_aspect_ratio=source.info.sample_aspect_ratio,
                metadata={"comment": COMMENT},
            ) as writer:
                for shot, image in made:
                    with stages.working("write"):
                        writer.write(image, shot.time, shot.duration)
                    summary.frames += 1
                    summary.frames_without_face += not shot.faces
                    summary.seconds = shot.time + shot.duration
                    if preview:
                        preview.add(shot, image)
                    if callback:
                        callback(summary.frames, max(source.expected, summary.frames))
                    bar.update()
                if source.broken and summary.seconds < source.seconds - END:
                    summary.broken = source.broken
                    writer.cut_sound(summary.seconds)
            if summary.frames == summary.frames_without_face:
                raise UserError(f"{face}: {source.nobody()} in the part that is used; give one that shows it")
            bar.total = summary.frames
            bar.refresh()
        if preview:
            preview.write()
        summary.elapsed = time.perf_counter() - begin
        return summary

    def _speak(self, generator, shots, source) -> Iterator[tuple[Shot, list[np.ndarray]]]:
        """Shots, each with the generated crops of its faces."""
        while batch := list(itertools.islice(shots, min(self.batch_size, source.batch))):
            inputs, windows = [], []
            for shot in batch:
                for one in shot.faces:
                    crop = faces.extract(shot.frame.image, one.box, self.config.img_size, one.angle)
                    # As in the original, the identity frame is the frame itself, unmasked.
                    inputs.append(assemble(crop, crop)[0])
                    windows.append(source.centre(shot))
            pictures = []
            if inputs:
                heard = sound.windows_of(source.wave, windows, self.config.audio)
                output = generator(np.stack(inputs), heard)
                pictures = list(np.clip(np.rint(output * 255), 0, 255).astype("uint8"))
            for shot in batch:
                yield shot, [pictures.pop(0) for _ in shot.faces]


def _paste(spoken, composer, uncovered, label) -> Iterator[tuple[Shot, np.ndarray]]:
    for shot, crops in spoken:
        image = shot.frame.image
        for one, crop in zip(shot.faces, crops, strict=True):
            if uncovered:
                one = dataclasses.replace(one, strength=one.strength * uncovered(shot.frame.image, one, shot.time))
            image = composer(image, one, crop)
        yield shot, labelled(image) if label else image


class _Source:
    """The inputs of one run, checked, and the shots that come of them.

    Attributes:
        width, height, rate: of the output.
        seconds, wave: of the sound.
        expected: frames, about.
        ahead, batch: frames that may wait between two stages, and that are generated at once.
        broken: why the video could not be read to its end.
    """

    def __init__(self, outfile, face, audio, options: Options, config):
        self.outfile, self.face, self.options, self.config = outfile, face, options, config
        self.broken = None
        cli.check_outfile(outfile, face, audio)
        _check_options(options)
        if options.preview:
            cli.check_outfile(options.preview, face, audio, suffix=".png")
            cli.check_writable(Path(options.preview).parent)
        self.info = video.probe(face)
        self.width = max(1, round(self.info.width / options.resize_factor))
        self.height = max(1, round(self.info.height / options.resize_factor))
        if max(self.width, self.height) > MAX_SIDE:
            factor = math.ceil(max(self.width, self.height) * options.resize_factor / MAX_SIDE)
            raise UserError(
                f"{face}: is {self.info.width}x{self.info.height} pixels, of which no video is made here; "
                f"try --resize_factor {max(2, factor)}"
            )
        if max(map(abs, options.pads)) > max(self.info.width, self.info.height):
            raise UserError(
                f"--pads {' '.join(map(str, options.pads))}: exceeds the picture's "
                f"{self.info.width}x{self.info.height} pixels"
            )
        if options.box is not None:
            tracking.check_box(options.box, self.info.width, self.info.height)
        self.wave = sound.load_audio(audio, options.max_sec + 0.1)
        most = max(1, round(options.max_sec * sound.SAMPLE_RATE))
        if len(self.wave) > most:
            self.wave = self.wave[:most]
            print(f"the sound is cut at {options.max_sec:g} s; --max_sec changes that", file=sys.stderr)
        self.seconds = len(self.wave) / sound.SAMPLE_RATE
        cli.check_writable(outfile.parent)

        self.is_still = self.info.is_still or options.static
        if options.fps and not self.is_still:
            print("--fps is for stills and left out of account: the video keeps its own times", file=sys.stderr)
        if self.info.is_still and (options.start or options.end is not None):
            print("--start and --end are for videos and left out of account", file=sys.stderr)
            self.options = options = dataclasses.replace(options, start=0.0, end=None)
        if not self.info.is_still and options.start >= self.info.duration:
            raise UserError(f"{face}: ends at {self.info.duration:.2f} s, before --start {options.start:g}")
        self.rate = (options.fps or 25.0) if self.is_still else self.info.fps
        self.expected = max(1, math.ceil((self.seconds - END) * self.rate))
        fitting = FRAME_BYTES // (self.width * self.height * 3)
        # There are four queues, and besides the batch the frames that the tracker holds.
        self.ahead, self.batch = int(np.clip(fitting // 8, 2, 24)), max(4, fitting // 4)

    def look(self) -> None:
        """See that there is a face.

        Raises:
            UserError: there is none.
        """
        if self.options.box is None and not self.info.is_still:
            self._check_for_faces()
        self.still = self._find_still() if self.is_still else None

    def nobody(self) -> str:
        """What is said where the face that is to speak is not there."""
        index = self.options.face_index
        return f"no face with --face_index {index} found" if isinstance(index, int) else "no face found"

    def _check_for_faces(self):
        """Say that there is no face before minutes of work, not after them."""
        start = self.options.start
        end = min(
            self.info.duration, self.options.end or math.inf, start + self.seconds if not self.is_still else math.inf
        )
        for count in PROBES:
            frames = video.sample_frames(self.face, count, start, end)
            while images := [frame.image for frame in itertools.islice(frames, 12)]:
                if any(faces.detect(images)):
                    return
        raise UserError(
            f"{self.face}: no face found in {PROBES[-1]} frames from {start:.1f} to {end:.1f} s; give a part that "
            "shows one, or say where it is with --box"
        )

    def centre(self, shot: Shot) -> float:
        """The moment of the sound that a shot's mouths say."""
        end = shot.time + shot.duration
        return sound.window_centre(shot.time, end, self.config.alignment, self.config.audio_offset_ms)

    def shots(self, stages: Stages) -> Iterator[Shot]:
        shots = self._still_shots() if self.is_still else self._video_shots(stages)
        small = False
        for shot in shots:
            for one in shot.faces:
                width = one.face.box[2] - one.face.box[0]
                if width < SMALL_FACE and not small:
                    small = True
                    print(
                        f"{self.face}: has a face of {width:.0f} pixels, too small for a sharp mouth", file=sys.stderr
                    )
            yield shot

    def _track(self, frames, fade=FADE) -> Iterator[tracking.Tracked]:
        options = self.options
        upright = options.region != "face"  # the original's rectangle never turns
        pads, box = (
            None if pixels is None else [value / options.resize_factor for value in pixels]
            for pixels in (options.pads, options.box)
        )
        if box is not None:
            tracked = tracking.fixed_box(frames, box, self.config.crop, pads)
        else:
            tracked = tracking.track(
                frames,
                self.config.crop,
                pads,
                every=DETECT_EVERY,
                bridge=BRIDGE,
                fade=fade,
                upright=upright,
                people="one" if options.face_index is None else "all",
                smooth=options.smooth,
                batch_size=int(np.clip(self.ahead // 2, 1, 16)),
            )
        for one in tracked:
            if isinstance(options.face_index, int):
                one = dataclasses.replace(one, faces=[f for f in one.faces if f.index == options.face_index])
            yield one

    def _frames(self, frames) -> Iterator[video.Frame]:
        """Frames of the picture's final size, from `start` at time 0 to `end`."""
        last = math.inf if self.options.end is None else self.options.end - self.options.start
        for frame in frames:
            image = frame.image
            begin = max(0.0, frame.time - self.options.start)
            until = min(frame.time - self.options.start + frame.duration, last)
            if until - begin < 1e-3:
                continue
            if image.shape[:2] != (self.height, self.width):
                image = cv2.resize(image, (self.width, self.height), interpolation=cv2.INTER_AREA)
            yield video.Frame(image, begin, until - begin)

    def _forward(self) -> Iterator[video.Frame]:
        """The video from --start to --end; what cannot be decoded ends it."""
        shown = False
        try:
            for frame in video.read_frames(self.face, self.options.start):
                if self._is_after(frame):
                    return
                shown = True
                yield frame
        except UserError as error:
            if not shown:
                raise
            self.broken = str(error)

    def _backward(self) -> Iterator[video.Frame]:
        end = math.inf if self.options.end is None else self.options.end
        for frame in video.read_frames_reversed(self.face, end=end):
            if frame.time < self.options.start - frame.duration / 2:
                return
            yield frame

    def _is_after(self, frame):
        return self.options.end is not None and frame.time >= self.options.end - 1e-6

    def _find_still(self) -> tracking.Tracked:
        """The picture, or the first frame of the video that has a face."""
        for frame in self._frames(self._forward()):
            for tracked in self._track(iter([frame]), fade=0):
                if tracked.faces:
                    return tracked
        raise UserError(
            f"{self.face}: {self.nobody()}; give a picture of a face that looks at the camera, or its --box"
        )

    def _still_shots(self) -> Iterator[Shot]:
        count = max(1, round(self.seconds * self.rate))
        for i in range(count):
            end = self.seconds if i == count - 1 else (i + 1) / self.rate
            yield Shot(self.still.frame, self.still.faces, i / self.rate, end - i / self.rate)

    def _video_shots(self, stages) -> Iterator[Shot]:
        """The video forward, back, forward, ... until the sound ends.
        Later passes reuse the faces found in the first.
        """
        records = []

        def first_pass():
            for tracked in self._track(stages.run("read", self._frames(self._forward()), self.ahead)):
                records.append(tracked.record)
                yield tracked

        begin, length, shown = 0.0, 0.0, False
        for turn in itertools.count():
            if turn == 0:
                passing = first_pass()
            else:
                frames = self._frames(self._backward() if turn % 2 else self._forward())
                passing = tracking.retrace(stages.run("read", frames, self.ahead), records)
            for tracked in passing:
                frame = tracked.frame
                at, until = frame.time, frame.time + frame.duration
                if turn % 2:
                    at, until = length - until, length - at
                at = begin + at if shown else 0.0  # the sound may start before the picture does
                if shown and at >= self.seconds - END:
                    return
                shown = True
                until = min(begin + until, self.seconds)
                parts = max(1, round((until - at) * 25)) if until - at > LONGEST else 1
                for i in range(parts):
                    yield Shot(frame, tracked.faces, at + i * (until - at) / parts, (until - at) / parts)
            if not shown:
                raise UserError(
                    f"{self.face}: has no frame between --start and --end, or its end; leave more between them"
                )
            if self.broken:
                return
            if turn == 0:
                length = frame.time + frame.duration
            begin += length


def _check_options(options: Options):
    if options.fps is not None and not 1 <= options.fps <= MAX_FPS:
        raise UserError(f"--fps {options.fps:g}: is not a frame rate; give 1 to {MAX_FPS}")
    for name in ("start", "end", "max_sec", "resize_factor", "sharpen"):
        value = getattr(options, name)
        low = {"max_sec": 1e-4, "resize_factor": 1}.get(name, 0)
        if value is not None and not low <= value < math.inf:
            raise UserError(f"--{name} {value:g}: is out of range; give a number of at least {low:g}")
    if options.end is not None and options.end <= options.start:
        raise UserError(f"--end {options.end:g}: is not after --start {options.start:g}")
    if options.region not in composite.REGIONS:
        raise UserError(f"--region {options.region}: is none of {', '.join(composite.REGIONS)}")


def labelled(image: np.ndarray) -> np.ndarray:
    """A copy of a picture, (H,W,3) uint8, with LABEL in the lower left corner."""
    height = len(image)
    scale = max(0.4, height / 720)
    image = image.copy()
    at = (round(12 * scale), height - round(14 * scale))
    for colour, width in (((0, 0, 0), 4), ((255, 255, 255), 1)):
        width = max(1, round(width * scale))
        cv2.putText(image, LABEL, at, cv2.FONT_HERSHEY_SIMPLEX, 0.8 * scale, colour, width, cv2.LINE_AA)
    return image


class _Preview:
    """A contact sheet of the first faces, written as soon as it is full."""

    def __init__(self, path):
        self.path, self.columns, self.seen = path, [], 0

    def add(self, shot: Shot, image: np.ndarray) -> None:
        if self.columns is None or not shot.faces:
            return
        if self.seen % PREVIEW_STEP == 0:
            box = shot.faces[0].box
            middle, half = (box[:2] + box[2:]) / 2, 0.7 * (box[2:] - box[:2])
            around = np.concatenate([middle - half, middle + half])
            pictures = [faces.extract(picture, around, PREVIEW_SIDE) for picture in (shot.frame.image, image)]
            self.columns.append(np.concatenate(pictures))
        self.seen += 1
        if len(self.columns) == PREVIEW_FRAMES:
            self.write()

    def write(self) -> None:
        if not self.columns:
            return
        png = cv2.imencode(".png", np.concatenate(self.columns, axis=1))[1].tobytes()
        with cli.replacing(self.path) as temporary:
            temporary.write_bytes(png)
        self.columns = None
