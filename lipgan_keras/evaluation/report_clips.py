"""The videos and stills that a report and a judging sheet carry."""

import base64
import functools
from pathlib import Path

import cv2
import numpy as np

from ..config import SAMPLE_RATE
from ..media import audio_file, probe, video_reader
from ..media.video_writer import VideoWriter
from ..utils.errors import UserError

STILL_SIZE = 480  # pixels, the largest height of a still
FASTEST = 30  # frames a second of a clip, at most


class ClipCutter:
    """Cuts small clips and stills out of videos that belong together."""

    def __init__(self, folder: Path, scratch: Path, seconds: float, size: int):
        self._folder, self._scratch, self._seconds, self._size = folder, scratch, seconds, size
        self._probe = functools.lru_cache(maxsize=32)(probe.probe)

    def paths(self, entry: dict, folder: Path | None = None) -> list[Path]:
        """Of the true and of the generated video; `folder`: of other results than the cutter's."""
        files = entry.get("files") or {}
        if not files.get("truth") or not files.get("generated"):
            raise UserError(f"{entry['name']}: the results name no files of it; evaluate again")
        return [(folder or self._folder) / files[side] for side in ("truth", "generated")]

    def span(self, paths: list[Path], middle: float | None = None) -> tuple[float, float, float]:
        """(first second, seconds, frames a second) of the clip around `middle`, in what all videos have; the first
        is the true one, whose rate does not count.
        """
        infos = [self._probe(path) for path in paths]
        end = min(info.duration for info in infos)
        seconds = min(self._seconds, end)
        start = min(max((end / 2 if middle is None else middle) - seconds / 2, 0), end - seconds)
        return start, seconds, min(FASTEST, *(info.fps for info in infos[1:]))

    def single(self, path: Path, other: Path, span: tuple, height: int) -> str:
        """A clip as base64, with its own audio, or the other video's where it has none."""
        return self._encode([path], [path, other], span, height)

    def frozen(self, path: Path, others: list[Path], span: tuple, height: int) -> str:
        """A clip of a video's first frame, with the audio of the first of the others that has one, or its own."""
        return self._encode([path], [*others, path], span, height, frozen=True)

    def both(self, paths: list[Path], span: tuple, height: int) -> str:
        """The true one on the left, the generated one with its audio on the right."""
        return self._encode(paths, paths[::-1], span, height)

    def height(self, path: Path, most: int | None = None) -> int:
        """Of its clip, in pixels: even, and never larger than the video."""
        return max(16, min(most or self._size, self._probe(path).height) // 2 * 2)

    def _encode(self, videos, sounds, span, height, frozen=False):
        start, seconds, fps = span
        wave = next((wave for path in sounds if (wave := self._sound(path, start, seconds)) is not None), None)
        times = start + np.arange(max(1, round(seconds * fps))) / fps
        shown = 0 * times if frozen else times
        writer = None
        try:
            for i, images in enumerate(zip(*(_shown(path, shown) for path in videos), strict=False)):
                image = np.hstack(
                    [self._scaled(image, path, height) for image, path in zip(images, videos, strict=True)]
                )
                if writer is None:
                    sound = {} if wave is None else {"audio": (wave, SAMPLE_RATE), "duration": len(times) / fps}
                    writer = VideoWriter(self._scratch, image.shape[1], image.shape[0], fps, crf=23, **sound)
                writer.write(image, i / fps, 1 / fps)
        finally:
            if writer is not None:
                writer.close()
        return base64.b64encode(self._scratch.read_bytes()).decode()

    def stills(self, paths: list[Path], number: int | None) -> tuple[str, float]:
        """Frame `number` of the generated video (None: the middle one) beside the true one: a JPEG as base64,
        and its time.
        """
        time, duration = 0.0, self._probe(paths[1]).duration
        for i, frame in enumerate(video_reader.read_frames(paths[1])):
            time, image = frame.time, frame.image
            if i == number or (number is None and time >= duration / 2):
                break
        height = self.height(paths[1], STILL_SIZE)
        # As `paired_videos.pairs` has it
        truth = next(iter(_shown(paths[0], np.array([time + frame.duration / 2 - 0.003]))))
        pair = np.hstack([self._scaled(truth, paths[0], height), self._scaled(image, paths[1], height)])
        return base64.b64encode(cv2.imencode(".jpg", pair, [cv2.IMWRITE_JPEG_QUALITY, 88])[1].tobytes()).decode(), time

    def _scaled(self, image, path, height):
        """In square pixels."""
        width = image.shape[1] * self._probe(path).sample_aspect_ratio
        width = max(16, round(float(width) * height / image.shape[0]) // 2 * 2)
        if image.shape[:2] == (height, width):
            return image
        return cv2.resize(
            image, (width, height), interpolation=cv2.INTER_AREA if height < image.shape[0] else cv2.INTER_CUBIC
        )

    def _sound(self, path, start, seconds):
        if not self._probe(path).has_audio:
            return None
        try:
            wave = audio_file.load_audio(path, start + seconds)[round(start * SAMPLE_RATE) :]
        except UserError:
            return None
        return wave if len(wave) else None


def _shown(path, times):
    """The image that a video shows at each of the rising times; before its first and after its last one, that one."""
    frames = video_reader.read_frames(path, max(0.0, times[0] - 1))
    held = next(frames, None)
    if held is None:
        raise UserError(f"{path}: has no picture at {times[0]:.2f} s; is it the file that was measured?")
    coming = next(frames, None)
    for time in times:
        while coming is not None and coming.time <= time + 1e-3:
            held, coming = coming, next(frames, None)
        yield held.image
