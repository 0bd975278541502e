"""Measure a video file against its truth."""

import dataclasses
import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np

from ..audio import WindowClock
from ..config import FPS, OWN_CROPS
from ..face import cropping, detector, regions, tracking
from ..face.tracking import TrackedFace
from ..media import audio_file, probe, video_reader
from ..media.probe import VideoInfo
from ..media.video_reader import Frame
from ..utils.errors import UserError
from . import jobs
from .discriminator import SyncScorer
from .jobs import Job, Settings, shown
from .metrics.register import OVERLAP, Frames
from .tally import VideoScores, add_lse


@dataclasses.dataclass
class Pair:
    """A frame of the result, the true frame that is shown at its time, and the true face in it, if there is one."""

    generated: Frame
    truth: Frame
    face: TrackedFace | None


def pairs(generated: Path, truth: Path) -> Iterator[Pair]:
    """Every frame of the result up to the end of the truth, with what the truth shows in the middle of its time.

    Where the truth changes just then, as for a result of half its rate, it is the earlier frame: that is the one kept
    where frames are dropped.
    """
    tracked = tracking.track(video_reader.read_frames(truth))
    current, coming = next(tracked), next(tracked, None)
    for frame in video_reader.read_frames(generated):
        middle = frame.time + frame.duration / 2
        while coming is not None and coming.frame.time <= middle - jobs.JUST:
            current, coming = coming, next(tracked, None)
        if coming is None and middle > current.frame.time + current.frame.duration + 1e-3:
            return
        yield Pair(frame, current.frame, current.faces[0] if current.faces else None)


def measure_pair(settings: Settings, job: Job, record: dict) -> None:
    """Measure a video file.

    Raises:
        UserError: one of the two cannot be used, or shows no face.
    """
    record["files"] = {"generated": shown(job.generated, settings.out), "truth": shown(job.truth, settings.out)}
    info, true_info = (probe.probe(path) for path in (job.generated, job.truth))
    record["notes"] += differences(info, true_info)
    detector.expect_many()
    if not any(detector.detect([frame.image for frame in video_reader.sample_frames(job.generated, jobs.PROBES)])):
        raise UserError(f"{job.generated}: no face found in it; is it the right video?")
    tally = VideoScores(settings, record)
    grid = None
    if tally.listener and info.has_audio:
        grid = Grid(tally.listener, audio_file.load_audio(job.generated))
    for chunk, overlap in chunks(counted(pairs(job.generated, job.truth), record)):
        tally.add(cut([pair for _, pair in chunk]), [i for i, _ in chunk], overlap)
        for _, pair in chunk[overlap:] if grid else ():
            grid.add(pair)
    if not record["faces"]:
        raise UserError(f"{job.truth}: no face found in it; is it the right video?")
    if record["faces"] < record["frames"]:
        record["notes"].append(f"no face in {record['frames'] - record['faces']} of {record['frames']} true frames")
    tally.finish(job)
    if info.has_audio:
        add_lse(settings, record, job.generated, crop=not settings.whole_frames)
    elif settings.syncnet or tally.listener:
        record["notes"].append("the result has no sound, so that its sync is not measured")


class Grid:
    """Gives a listener the frames of a result that are shown at times N / FPS.

    Args:
        wave: (n,), the audio of the result, 16 kHz mono.
    """

    def __init__(self, listener: "SyncScorer", wave: np.ndarray):
        self.listener, self.wave, self.next = listener, wave, 0

    def add(self, pair: Pair) -> None:
        """Take the next pair."""
        config, shot = self.listener.config, pair.generated
        box = pair.face.box if config.crop in OWN_CROPS else cropping.crop_box(pair.face.face, config.crop)
        points = cropping.to_crop(pair.face.face.landmarks, box, config.img_size)
        self.next = max(self.next, math.ceil((shot.time - 1e-6) * FPS))
        while self.next / FPS < shot.time + shot.duration - 1e-6:
            crop = cropping.extract(of_size(shot.image, pair.truth.image), box, config.img_size)
            window = WindowClock.of(config).windows_of(self.wave, self.next / FPS, (self.next + 1) / FPS)[0]
            self.listener.add(self.next, crop, points, window)
            self.next += 1


def differences(generated: VideoInfo, truth: VideoInfo) -> list[str]:
    """What is to be said of a pair that is not alike."""
    notes = []
    if abs(generated.duration - truth.duration) > jobs.LONGER:
        notes.append(f"lasts {generated.duration:.2f} s, the truth {truth.duration:.2f} s; the common part is measured")
    if abs(generated.fps - truth.fps) > 0.01 * truth.fps:
        notes.append(f"has {generated.fps:.2f} frames/s, the truth {truth.fps:.2f}; frames are paired by time")
    if (generated.width, generated.height) != (truth.width, truth.height):
        sizes = f"{generated.width}x{generated.height} pixels, the truth {truth.width}x{truth.height}"
        notes.append(f"has {sizes}; it was scaled to the truth's")
    return notes


def counted(pairs: Iterator[Pair], record: dict) -> Iterator[tuple[int, Pair]]:
    for i, pair in enumerate(pairs):
        record["frames"] += 1
        yield i, pair


def chunks(pairs: Iterable[tuple[int, Pair]]) -> Iterator[tuple[list[tuple[int, Pair]], int]]:
    """Frames with faces, in stretches without a gap, at most CHUNK at a time, fewer where images are large.

    With each chunk comes how many frames it begins with that are the last of the chunk before: OVERLAP of `register`
    where it goes on without a gap, else 0.
    """
    chunk, overlap = [], 0
    for i, pair in pairs:
        if pair.face is None:
            if len(chunk) > overlap:
                yield chunk, overlap
            chunk, overlap = [], 0
            continue
        chunk.append((i, pair))
        if len(chunk) - overlap >= min(jobs.CHUNK, max(4, jobs.CHUNK_BYTES // (2 * pair.truth.image.nbytes))):
            yield chunk, overlap
            chunk = chunk[-OVERLAP:]
            overlap = len(chunk)
    if len(chunk) > overlap:
        yield chunk, overlap


def cut(both: list[Pair]) -> Frames:
    """Both faces of each pair, in the box of the true one."""
    truth = [pair.truth.image for pair in both]
    generated = [of_size(pair.generated.image, image) for pair, image in zip(both, truth, strict=True)]
    boxes = [pair.face.box for pair in both]
    points = [cropping.to_crop(pair.face.face.landmarks, pair.face.box, jobs.SIZE) for pair in both]
    crops = [
        np.stack([cropping.extract(i, b, jobs.SIZE) for i, b in zip(images, boxes, strict=True)])
        for images in (truth, generated)
    ]
    masks = np.stack([regions.lip_mask(p, jobs.SIZE) for p in points])
    return Frames(*crops, np.stack(points), masks, truth, generated, np.stack(boxes))


def of_size(image: np.ndarray, like: np.ndarray) -> np.ndarray:
    """An image, scaled to the size of another."""
    if image.shape == like.shape:
        return image
    shrinks = image.shape[0] > like.shape[0]
    return cv2.resize(image, like.shape[1::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
