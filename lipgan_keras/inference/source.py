"""The inputs of one run, checked, and the frames that come of them."""

import dataclasses
import itertools
import math
import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from ..config import SAMPLE_RATE
from ..face import detector, looks, tracking
from ..face.tracking import Tracked, TrackedFace
from ..media import audio_file, probe, video_reader
from ..media.video_reader import Frame
from ..utils import files
from ..utils.errors import UserError
from ..utils.terminal import say
from . import loudness
from .options import Options, check_options, is_preview
from .pipeline import Stages

FRAME_BYTES = 1 << 28  # of the frames that are under way, as far as some 30 frames fit in it
DETECT_EVERY = 4  # frames of a video
BRIDGE = 5  # frames without a face that are taken for a failure of the detector
LIES = {1: "lie on their side", 2: "stand on their head", 3: "lie on their side"}  # by `looks.turn_of`
FADE = 3  # frames over which the new mouth comes and goes with its face
MAX_SIDE = 8192  # pixels; H.264 players give up beyond
STILL_SIDE = 1920  # pixels of a still's longer side: what a phone shows
VIDEO_SIDE, VIDEO_PIXELS = 4096, 4096 * 2304  # of a video, for H.264's level 5.1
LONGEST = 0.1  # seconds; a frame that is shown for longer is given several mouths
END = 5e-3  # seconds of audio that no frame of its own is made for


@dataclasses.dataclass
class OutputFrame:
    """A frame of the output, shown from `time` for `duration` seconds of the audio, and the faces that are to speak."""

    frame: Frame
    faces: list[TrackedFace]
    time: float
    duration: float


def load_speech(path: str | os.PathLike, max_seconds: float | None = None) -> np.ndarray:
    """The waveform that a face is to say: float32 (n,), 16 kHz mono; see `audio_file.load_audio`."""
    return audio_file.load_audio(path, max_seconds)


class Source:
    """The inputs of one run, checked, and the shots that come of them.

    Attributes:
        width, height, rate: of the output.
        seconds, wave: of the audio; quiet speech is raised, see `loudness`.
        expected: frames, about.
        ahead, batch: frames that may wait between two stages, and that are generated at once.
        broken: why the video could not be read to its end.
        damage: (from, to) in seconds of the parts of the video of which no frame can be used.
        keep: (height, width) float32 in 0..1, how much of the source stays; or None.
        turn: quarters, clockwise, by which its pictures must be turned for the faces to be upright.
    """

    def __init__(self, outfile, face, audio, options: Options, config):
        self.outfile, self.face, self.options, self.config = outfile, face, options, config
        self.broken, self.turn = None, 0
        self.damage: list[tuple[float, float]] = []
        inputs = [path for path in (face, audio, options.keep) if path]
        files.check_outfile(outfile, *inputs)
        check_options(options)
        if options.preview:
            files.check_outfile(options.preview, *inputs, suffix=".png", mark=is_preview)
            files.check_writable(Path(options.preview).parent)
        self.info = probe.probe(face)
        self.is_still = self.info.is_still or options.static
        self.options = options = self._limited(options)
        self.width, self.height = self._size(options)
        self.keep = self._kept(options.keep) if options.keep else None
        if max(map(abs, options.pads)) > max(self.info.width, self.info.height):
            raise UserError(
                f"--pads {' '.join(map(str, options.pads))}: exceeds the picture's "
                f"{self.info.width}x{self.info.height} pixels"
            )
        if options.box is not None:
            tracking.check_box(options.box, self.info.width, self.info.height)
        self.wave = load_speech(audio, options.max_sec + 0.1)
        most = max(1, round(options.max_sec * SAMPLE_RATE))
        if len(self.wave) > most:
            self.wave = self.wave[:most]
            say(f"the sound is cut at {options.max_sec:g} s; --max_sec changes that", error=True)
        self.seconds = len(self.wave) / SAMPLE_RATE
        self.wave = loudness.raised(self.wave)
        files.check_writable(outfile.parent)

        if options.fps and not self.is_still:
            say("--fps is for stills and left out of account: the video keeps its own times", error=True)
        if self.info.is_still and (options.start or options.end is not None):
            say("--start and --end are for videos and left out of account", error=True)
            self.options = options = dataclasses.replace(options, start=0.0, end=None)
        if not self.info.is_still and options.start >= self.info.duration:
            raise UserError(f"{face}: ends at {self.info.duration:.2f} s, before --start {options.start:g}")
        self.rate = (options.fps or 25.0) if self.is_still else self.info.fps
        self.expected = max(1, math.ceil((self.seconds - END) * self.rate))
        fitting = FRAME_BYTES // (self.width * self.height * 3)
        # There are four queues, and besides the batch the frames that the tracker holds.
        self.ahead, self.batch = int(np.clip(fitting // 8, 2, 24)), max(4, fitting // 4)

    def _size(self, options):
        """Width and height of the result."""
        size = tuple(max(1, round(side / options.resize_factor)) for side in (self.info.width, self.info.height))
        if max(size) > MAX_SIDE:
            factor = math.ceil(max(size) * options.resize_factor / MAX_SIDE)
            raise UserError(
                f"{self.face}: is {self.info.width}x{self.info.height} pixels, of which no video is made here; "
                f"try --resize_factor {max(2, factor)}"
            )
        return size

    def _kept(self, path):
        """What --keep says, at the size of the result."""
        if probe.file_kind(path) != "still":
            raise UserError(f"{path}: is no still; give --keep a picture, white where the source is to stay")
        image = cv2.cvtColor(video_reader.read_image(path), cv2.COLOR_BGR2GRAY)
        height, width = image.shape
        if (width, height) != (self.info.width, self.info.height):
            raise UserError(
                f"{path}: is {width}x{height} pixels, and the face's picture {self.info.width}x{self.info.height}; "
                "give --keep a picture of that size"
            )
        if image.min() == image.max():
            raise UserError(
                f"{path}: is of one grey; paint white where the source is to stay, and black elsewhere, for --keep"
            )
        image = cv2.resize(image, (self.width, self.height), interpolation=cv2.INTER_AREA).astype(np.float32)
        return np.clip((image - 5) / 245, 0, 1)  # white and black as JPEG has them, too

    def _limited(self, options):
        """The options with the factor that makes the result as small as it must be."""
        width, height = (side / options.resize_factor for side in (self.info.width, self.info.height))
        if options.max_side is None:
            limit = STILL_SIDE if self.info.is_still else VIDEO_SIDE
            over = max(max(width, height) / limit, math.sqrt(width * height / VIDEO_PIXELS))
        else:
            over = max(width, height) / (options.max_side or math.inf)
        if over <= 1:
            return options
        limited = dataclasses.replace(options, resize_factor=options.resize_factor * over)
        if options.max_side is None:
            now = "x".join(map(str, self._size(limited)))
            say(
                f"{self.face}: is made smaller, to {now} pixels, so that phones play it; --max_side 0 leaves its size",
                error=True,
            )
        return limited

    def look(self) -> None:
        """See that there is a face, and how it lies in the picture.

        Raises:
            UserError: there is none.
        """
        if self.options.box is None:
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
        if not self.info.is_still:
            detector.expect_many()
        turn = looks.turn_of(self.face, start, end)
        if turn is None and not self.info.is_still:
            raise UserError(
                f"{self.face}: no face found in {looks.PROBES[-1]} frames from {start:.1f} to {end:.1f} s; give a part "
                "that shows one, or say where it is with --box"
            )
        self.turn = turn or 0
        if self.turn:
            say(f"{self.face}: its faces {LIES[self.turn]}, and speak as they lie", error=True)

    def shots(self, stages: Stages) -> Iterator[OutputFrame]:
        shots = self._still_shots() if self.is_still else self._video_shots(stages)
        small = False
        for shot in shots:
            for one in shot.faces:
                width = one.face.box[2] - one.face.box[0]
                if width < looks.SMALL_FACE and not small:
                    small = True
                    say(f"{self.face}: has a face of {width:.0f} pixels, too small for a sharp mouth", error=True)
            yield shot

    def _track(self, frames, fade=FADE) -> Iterator[Tracked]:
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
                turn=self.turn,
                small=options.face_index is not None,
            )
        for one in tracked:
            if isinstance(options.face_index, int):
                one = dataclasses.replace(one, faces=[f for f in one.faces if f.index == options.face_index])
            yield one

    def _frames(self, frames) -> Iterator[Frame]:
        """Frames of the image's final size, from `start` at time 0 to `end`."""
        last = math.inf if self.options.end is None else self.options.end - self.options.start
        for frame in frames:
            image = frame.image
            begin = max(0.0, frame.time - self.options.start)
            until = min(frame.time - self.options.start + frame.duration, last)
            if until - begin < 1e-3:
                continue
            if image.shape[:2] != (self.height, self.width):
                image = cv2.resize(image, (self.width, self.height), interpolation=cv2.INTER_AREA)
            yield Frame(image, begin, until - begin)

    def _forward(self) -> Iterator[Frame]:
        """The video from --start to --end; what cannot be decoded ends it."""
        shown = False
        try:
            damage = [] if self.damage else self.damage  # later passes find the same, or end before it
            for frame in video_reader.read_frames(self.face, self.options.start, damage=damage):
                if self._is_after(frame):
                    return
                shown = True
                yield frame
        except UserError as error:
            if not shown:
                raise
            self.broken = str(error)

    def _backward(self) -> Iterator[Frame]:
        end = math.inf if self.options.end is None else self.options.end
        for frame in video_reader.read_frames_reversed(self.face, end=end):
            if frame.time < self.options.start - frame.duration / 2:
                return
            yield frame

    def _is_after(self, frame):
        return self.options.end is not None and frame.time >= self.options.end - 1e-6

    def _find_still(self) -> Tracked:
        """The image, or the first frame of the video that has a face."""
        for frame in self._frames(self._forward()):
            for tracked in self._track(iter([frame]), fade=0):
                if tracked.faces:
                    return tracked
        raise UserError(
            f"{self.face}: {self.nobody()}; give a picture of a face that looks at the camera, or its --box"
        )

    def _still_shots(self) -> Iterator[OutputFrame]:
        count = max(1, round(self.seconds * self.rate))
        for i in range(count):
            end = self.seconds if i == count - 1 else (i + 1) / self.rate
            yield OutputFrame(self.still.frame, self.still.faces, i / self.rate, end - i / self.rate)

    def _video_shots(self, stages) -> Iterator[OutputFrame]:
        """The video forward, back, forward, ... until the audio ends.
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
                at = begin + at if shown else 0.0  # the audio may start before the image does
                if shown and at >= self.seconds - END:
                    return
                shown = True
                until = min(begin + until, self.seconds)
                parts = max(1, round((until - at) * 25)) if until - at > LONGEST else 1
                for i in range(parts):
                    yield OutputFrame(frame, tracked.faces, at + i * (until - at) / parts, (until - at) / parts)
            if not shown:
                raise UserError(
                    f"{self.face}: has no frame between --start and --end, or its end; leave more between them"
                )
            if self.broken:
                return
            if turn == 0:
                length = frame.time + frame.duration
            begin += length
