"""The videos, stills and judging sheet that a report carries."""

import base64
import functools
import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from ..config import SAMPLE_RATE
from ..media import audio_file, probe, video_reader
from ..media.video_writer import VideoWriter
from ..utils import errors
from ..utils.errors import UserError
from . import mean_opinion

STILL_SIZE = 480  # pixels, the largest height of a still
FASTEST = 30  # frames a second of a clip, at most


class ClipCutter:
    """Cuts small clips and stills out of a pair of videos."""

    def __init__(self, folder: Path, scratch: Path, seconds: float, size: int):
        self._folder, self._scratch, self._seconds, self._size = folder, scratch, seconds, size
        self._probe = functools.lru_cache(maxsize=4)(probe.probe)

    def paths(self, entry: dict) -> list[Path]:
        """Of the true and of the generated video."""
        files = entry.get("files") or {}
        if not files.get("truth") or not files.get("generated"):
            raise UserError(f"{entry['name']}: the results name no files of it; evaluate again")
        return [self._folder / files[side] for side in ("truth", "generated")]

    def span(self, paths: list[Path], middle: float | None = None) -> tuple[float, float, float]:
        """(first second, seconds, frames a second) of the clip around `middle`, in what both videos have."""
        infos = [self._probe(path) for path in paths]
        end = min(info.duration for info in infos)
        seconds = min(self._seconds, end)
        start = min(max((end / 2 if middle is None else middle) - seconds / 2, 0), end - seconds)
        return start, seconds, min(infos[1].fps, FASTEST)

    def single(self, path: Path, other: Path, span: tuple, height: int) -> str:
        """A clip as base64, with its own audio, or the other video's where it has none."""
        return self._encode([path], [path, other], span, height)

    def both(self, paths: list[Path], span: tuple, height: int) -> str:
        """The true one on the left, the generated one with its audio on the right."""
        return self._encode(paths, paths[::-1], span, height)

    def height(self, path: Path, most: int | None = None) -> int:
        """Of its clip, in pixels: even, and never larger than the video."""
        return max(16, min(most or self._size, self._probe(path).height) // 2 * 2)

    def _encode(self, videos, sounds, span, height):
        start, seconds, fps = span
        wave = next((wave for path in sounds if (wave := self._sound(path, start, seconds)) is not None), None)
        times = start + np.arange(max(1, round(seconds * fps))) / fps
        writer = None
        try:
            for i, images in enumerate(zip(*(_shown(path, times) for path in videos), strict=False)):
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


def sheet(results, good, cutter, clips, number, progress):
    """What the page's script needs, with the clips put into `clips`; and the reasons for pairs left out."""
    rng = np.random.default_rng(0)
    chosen = sorted(rng.permutation(len(good))[:number])
    names, left_out = [], []
    for i in tqdm(chosen, "clips to judge", unit="pair", disable=not progress, leave=False, delay=1):
        entry = good[i]
        try:
            paths = cutter.paths(entry)
            span, height = cutter.span(paths), cutter.height(paths[1])
            made = [cutter.single(path, other, span, height) for path, other in (paths, paths[::-1])]
        except (UserError, OSError) as error:
            left_out.append(errors.describe(error, entry["name"]))
            continue
        names.append((entry["name"], made))
    identity = hashlib.sha256(json.dumps([results.get("name"), names]).encode()).hexdigest()[:12]
    pairs, key = [], {}
    for i in rng.permutation(len(names)):
        name, made = names[i]
        swapped = bool(rng.integers(2))
        token = rng.bytes(6).hex()
        clips[f"{token}0"], clips[f"{token}1"] = made[::-1] if swapped else made
        pairs.append(token)
        key[token] = [name, *(["generated", "truth"] if swapped else ["truth", "generated"])]
    known = json.dumps({"system": str(results.get("name") or ""), "clips": key}, ensure_ascii=False).encode(
        "utf-8", "backslashreplace"
    )
    veil = identity.encode()
    return {
        "id": identity,
        "pairs": pairs,
        "key": base64.b64encode(bytes(b ^ veil[i % len(veil)] for i, b in enumerate(known))).decode(),
        "of": len(good),
        "questions": mean_opinion.QUESTIONS,
        "columns": mean_opinion.COLUMNS,
        "scale": mean_opinion.SCALE,
    }, left_out
