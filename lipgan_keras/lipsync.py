"""A face and a sound in, a video of the face saying the sound out: the pipeline behind inference.py.

Frames stream through it one batch at a time, so that memory does not grow with the length of the video.
"""

import dataclasses
import itertools
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from . import audio as sound
from . import checkpoints, cli, faces, networks, video
from .cli import UserError
from .dataset import assemble

FRAME_BYTES = 1 << 28  # frames of a batch that are held at once
PROBES = (1, 48)  # frames, spread over the video, in which a face is looked for before any work
MAX_FPS = 240
END = 5e-3  # seconds of sound that no frame of its own is made for


@dataclasses.dataclass
class Summary:
    """What was made: the file, its length in seconds, its frames, and those that passed through without a face."""

    outfile: Path
    seconds: float
    frames: int
    frames_without_face: int


@dataclasses.dataclass
class Shot:
    """A frame of the output, shown from `time` for `duration` seconds of the sound."""

    tracked: faces.Tracked
    time: float
    duration: float


def lipsync(
    checkpoint_path: str | os.PathLike,
    face: str | os.PathLike,
    audio: str | os.PathLike,
    outfile: str | os.PathLike,
    pads: tuple[float, float, float, float] = (0, 0, 0, 0),
    static: bool = False,
    max_sec: float = 240.0,
    batch_size: int = 256,
    fps: float | None = None,
    audio_offset_ms: float | None = None,
    progress: bool = True,
) -> Summary:
    """Write `outfile` (MP4), in which `face` says `audio`; it lasts as long as the sound.

    Args:
        checkpoint_path: a generator's, of this project or of Keras 2.2.4.
        face: picture or video; a video shorter than the sound is played forward and back.
        audio: anything with sound in it, the face video itself included.
        pads: top, bottom, left, right: pixels by which the face crop grows on each side (shrinks where negative).
        static: of a video, use the first frame with a face only.
        max_sec: cut the sound here.
        batch_size: faces the generator is given at once, at most.
        fps: frame rate of the output where the face is a still, 25 by default; a video keeps its own times.
        audio_offset_ms: overrides the checkpoint's; positive hears a later window.

    Raises:
        UserError: an input that cannot be used, no face, or an output that cannot be written.
    """
    outfile = Path(outfile)
    _check_outfile(outfile, face, audio)
    if fps is not None and not 1 <= fps <= MAX_FPS:
        raise UserError(f"--fps {fps:g}: is not a frame rate; give 1 to {MAX_FPS}")
    checkpoints.read_config(checkpoint_path)  # complains at once of what is no checkpoint
    info = video.probe(face)
    if max(map(abs, pads)) > max(info.width, info.height):
        raise UserError(f"--pads {' '.join(map(str, pads))}: exceeds the picture's {info.width}x{info.height} pixels")
    wave = sound.load_audio(audio, max_sec)
    seconds = len(wave) / sound.SAMPLE_RATE
    cli.check_writable(outfile.parent)

    still = info.is_still or static
    if len(wave) >= max_sec * sound.SAMPLE_RATE:
        print(f"the sound is cut at {max_sec:g} s; --max_sec changes that", file=sys.stderr)
    if fps and not still:
        print("--fps is for stills and left out of account: the video keeps its own times", file=sys.stderr)
    generator, config = checkpoints.load_generator(checkpoint_path, audio_offset_ms)
    if not info.is_still:
        _check_for_faces(face)
    if still:
        tracked = _still(face, config.crop, pads)
    rate = (fps or 25.0) if still else info.fps
    shots = _still_shots(tracked, seconds, rate) if still else _video_shots(face, seconds, config.crop, pads)

    expected = max(1, math.ceil((seconds - END) * rate))
    fitting = max(4, FRAME_BYTES // (info.width * info.height * 3))
    batch_size = min(batch_size, expected, fitting)
    talk = Talker(generator, config, sound.features(wave, config.audio), batch_size)
    summary = Summary(outfile, 0.0, 0, 0)
    with (
        cli.replacing(outfile) as temporary,
        tqdm(total=expected, unit="frame", dynamic_ncols=True, disable=not progress) as bar,
    ):
        with video.VideoWriter(
            temporary, info.width, info.height, rate, audio=audio, duration=seconds,
            sample_aspect_ratio=info.sample_aspect_ratio,
        ) as writer:  # fmt: skip
            while batch := list(itertools.islice(shots, batch_size)):
                for shot, image in zip(batch, talk(batch), strict=True):
                    writer.write(image, shot.time, shot.duration)
                    summary.frames_without_face += shot.tracked.face is None
                    summary.seconds = shot.time + shot.duration
                summary.frames += len(batch)
                bar.update(len(batch))
        if summary.frames == summary.frames_without_face:
            raise UserError(f"{face}: no face found in its first {seconds:.1f} s; give a video that shows one")
        bar.total = summary.frames
        bar.refresh()
    return summary


def _check_outfile(outfile, *inputs):
    if outfile.is_dir():
        raise UserError(f"{outfile}: is a folder; name a file in it")
    if outfile.suffix.lower() != ".mp4":
        raise UserError(f"{outfile}: the output is an MP4 file; let its name end in .mp4")
    for path in inputs:
        if outfile.exists() and os.path.exists(path) and os.path.samefile(outfile, path):
            raise UserError(f"{outfile}: is an input too; name another --outfile")


class Talker:
    """Makes the faces of a batch of shots say the sound.

    Args:
        features: (80,T) or (12,T) of the whole sound.
        batch_size: of every call of the generator, so that it is compiled once.
    """

    def __init__(self, generator, config: checkpoints.ModelConfig, features: np.ndarray, batch_size: int):
        self.generator = generator
        self.config = config
        self.features = features
        self.batch_size = batch_size

    def __call__(self, shots: list[Shot]) -> list[np.ndarray]:
        """The pictures of the shots, with the mouths replaced; a shot without a face gives its own picture."""
        images = [shot.tracked.frame.image for shot in shots]
        seen = [i for i, shot in enumerate(shots) if shot.tracked.face is not None]
        if not seen:
            return images
        size = self.config.img_size
        crops = [faces.extract(images[i], shots[i].tracked.box, size) for i in seen]
        # As in the original, the identity frame is the frame itself, unmasked.
        face = np.stack([assemble(crop, crop)[0] for crop in crops])
        centres = [self._centre(shots[i]) for i in seen]
        window = sound.windows(self.features, centres, self.config.audio)
        output = networks.predict(self.generator, face, window, self.batch_size)
        output = np.clip(np.rint(output * 255), 0, 255).astype("uint8")
        for i, crop in zip(seen, output, strict=True):
            images[i] = faces.paste(images[i], shots[i].tracked.box, crop)
        return images

    def _centre(self, shot):
        end = shot.time + shot.duration
        return sound.window_centre(shot.time, end, self.config.alignment, self.config.audio_offset_ms)


def _still(path, style, pads) -> faces.Tracked:
    """A picture, or the first frame of a video that has a face."""
    for frame in video.read_frames(path):
        face = faces.select(faces.detect([frame.image])[0])
        if face is not None:
            return faces.Tracked(frame, face, faces.crop_box(face, style, pads))
    raise UserError(f"{path}: no face found; give a picture of a face that looks at the camera")


def _still_shots(tracked, seconds, rate) -> Iterator[Shot]:
    count = max(1, round(seconds * rate))
    for i in range(count):
        end = seconds if i == count - 1 else (i + 1) / rate
        yield Shot(tracked, i / rate, end - i / rate)


def _check_for_faces(path):
    """Say that there is no face before minutes of work, not after them."""
    for count in PROBES:
        frames = video.sample_frames(path, count)
        while images := [frame.image for frame in itertools.islice(frames, 12)]:
            if any(faces.detect(images)):
                return
    raise UserError(f"{path}: no face found in {PROBES[-1]} frames all over it; give a video that shows a face")


def _video_shots(path, seconds, style, pads) -> Iterator[Shot]:
    """The video forward, back, forward, ... until the sound ends. Later passes reuse the faces found in the first."""
    records = []

    def first_pass():
        for tracked in faces.track(video.read_frames(path), style, pads):
            records.append(tracked.record)
            yield tracked

    begin, length, shown = 0.0, 0.0, False
    for turn in itertools.count():
        if turn == 0:
            passing = first_pass()
        elif turn % 2:
            passing = faces.retrace(video.read_frames_reversed(path), records)
        else:
            passing = faces.retrace(video.read_frames(path), records)
        for tracked in passing:
            frame = tracked.frame
            time, until = frame.time, frame.time + frame.duration
            if turn % 2:
                time, until = length - until, length - time
            time = begin + time if shown else 0.0  # the sound may start before the picture does
            if shown and time >= seconds - END:
                return
            shown = True
            yield Shot(tracked, time, min(begin + until, seconds) - time)
        if turn == 0:
            length = frame.time + frame.duration
        begin += length
