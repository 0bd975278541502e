"""Made-up people out of real clips: another face and another voice say the same, with the same movements.

What changes a photo into another person (`person`) is applied to every frame of a preprocessed clip: one change of
shape, colours, skin, light and camera for all of them, half of the people in a mirror. The voice is shifted by a factor
that takes pitch and formants along, and keeps its timing. Some people listen when they have spoken: the frames of a
pause follow, under music, noise or silence. A recast clip names its source in source.txt, so that it is held out where
that one is.

    preprocess.py --videos_data_root GRID --final_data_root grid/ --recast 4
"""

import contextlib
import functools
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import librosa
import numpy as np
from scipy.ndimage import gaussian_filter1d
from tqdm import tqdm

from ..config import FPS, SAMPLE_RATE
from ..data import claims, clip_folder, pack, preprocess
from ..data.clip_folder import Clip
from ..data.preprocess_config import PreprocessConfig
from ..data.splits import hash_of
from ..face import cropping, landmarks68, smoothing
from ..utils import processes, terminal
from ..utils.errors import UserError
from .camera import Camera
from .person import Axes, Complexion, Person, fall
from .utterance import without_speech

FOLDER = "recast"  # below the data root
_VERSION = 2  # of the people
_STEADY = 12.0  # frames: the standard deviation over which the distance from eyes to mouth is averaged
_VOICE = 0.30  # octaves by which a voice is shifted at most
_LISTENERS, _LISTENS = 0.4, 38  # share of the people who listen, and the frames for which they do
_PAUSE_DB, _MARGIN, _SHORTEST = 26.0, 0.12, 5  # below speech; seconds to the next speech; frames of a pause
_FFT = 512  # samples: 32 ms, so that a voice that is stretched keeps the edges of its closures


class Skin:
    """What skin has besides its colour: spots, blotches, and the shadow of a beard.

    Args:
        rng: decides.
    """

    SIDE = 256  # pixels of the texture for u in -1.6..1.6 and v in -1.1..2.1

    def __init__(self, rng: np.random.Generator):
        self.numbers = {
            "fine": float(rng.uniform(0.0, 0.025)),
            "coarse": float(rng.uniform(0.0, 0.035)),
            "freckles": float(rng.uniform(0.04, 0.12)) if rng.random() < 0.2 else 0.0,
            "beard": float(rng.uniform(0.1, 0.35)) if rng.random() < 0.2 else 0.0,
            "beard_top": float(rng.uniform(0.72, 0.86)),
        }
        n, side = self.numbers, self.SIDE
        fine, coarse, spots, hairs = rng.standard_normal((4, side, side)).astype(np.float32)
        fine, coarse = _unit(cv2.GaussianBlur(fine, (0, 0), 2.2)), _unit(cv2.GaussianBlur(coarse, (0, 0), 14))
        log_gain = n["fine"] * fine + n["coarse"] * coarse
        u, v = np.meshgrid(np.linspace(-1.6, 1.6, side), np.linspace(-1.1, 2.1, side))
        cheeks = fall((np.hypot(u / 0.9, (v - 0.5) / 0.45) - 0.5) / 0.7)  # and the nose
        log_gain -= n["freckles"] * cheeks * np.clip(_unit(cv2.GaussianBlur(spots, (0, 0), 1.8)) - 1.3, 0, 1.5)
        # Chin and cheeks below a line that rises to the ears, and the upper lip.
        jaw = (1 - fall((v - 0.95 + 0.6 * np.minimum(np.abs(u), 1) ** 2) / 0.6)) * fall((v - 1.4) / 0.5)
        lip = fall(np.abs(u) / 0.3 - 0.5) * (1 - fall((v - n["beard_top"]) / 0.12)) * fall((v - 1.0) / 0.1)
        beard = np.maximum(jaw, lip) * (0.9 + 0.08 * _unit(cv2.GaussianBlur(hairs, (0, 0), 1.5)))
        red = np.array([0.010, 0.0, -0.015], np.float32)
        tinted = log_gain[..., None] + coarse[..., None] * red
        tinted = tinted - n["beard"] * beard[..., None] * np.array([0.75, 0.95, 1.1])
        self.gain = np.exp(tinted).astype(np.float32)

    def at(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """By what skin there is multiplied: (H, W, 3) float32, for face coordinates (H, W)."""
        x, y = (u + 1.6) * ((self.SIDE - 1) / 3.2), (v + 1.1) * ((self.SIDE - 1) / 3.2)
        return cv2.remap(self.gain, np.float32(x), np.float32(y), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


def _unit(field):
    return field / field.std()


class MadeUp:
    """One made-up person, and how a clip's frames and sound become this one's.

    Args:
        rng: decides.
    """

    def __init__(self, rng: np.random.Generator):
        self.person, self.camera, self.skin = Person(rng), Camera(rng, good=True), Skin(rng)
        self.mirrored = bool(rng.random() < 0.5)
        self.voice = 2.0 ** float(rng.uniform(-_VOICE, _VOICE))
        self.listens = bool(rng.random() < _LISTENERS)
        self.hears = "music" if rng.random() < 0.6 else "silence"

    @property
    def numbers(self) -> dict:
        """What was drawn."""
        drawn = {"mirrored": self.mirrored, "voice": self.voice, "skin": self.skin.numbers}
        drawn["hears"] = self.hears if self.listens else None
        return drawn | {"person": self.person.numbers, "camera": self.camera.numbers}

    def frames(
        self,
        images: Sequence[np.ndarray],
        landmarks: np.ndarray,
        masks: Sequence[np.ndarray] = (),
        crop: str = PreprocessConfig.crop,
    ) -> tuple[list[np.ndarray], np.ndarray, list[np.ndarray]]:
        """Another person's crops.

        Args:
            images: n crops, (size, size, 3) uint8 BGR.
            landmarks: (n, 5, 2) in pixels of them; or (n, 73, 2), dlib's 68 points behind them.
            masks: n of what the crops show, (size, size, up to 4) uint8 0..255; they go along.
            crop: where the crops lie, of `config.OWN_CROPS`.

        Returns:
            n crops of the same size, the points in these, float32, and the masks. Of mirrored ones left is left again:
            the points are in the image's order.
        """
        size = images[0].shape[0]
        old_axes = steady_axes(landmarks[:, :5])
        inside = np.stack([axes.to_face(points) for axes, points in zip(old_axes, landmarks, strict=True)])
        inside = self.person.moved(inside.reshape(-1, 2)).reshape(inside.shape)
        moved = np.stack([axes.to_photo(points) for axes, points in zip(old_axes, inside, strict=True)])
        placed = smoothing.steadied(moved[:, :5]) if crop == "steady" else moved[:, :5]
        boxes = [cropping.landmarks_box(points) for points in placed]
        complexion, made, moved_masks = None, [], []
        middle = len(images) // 2
        for i in [middle, *range(len(images))]:  # the first time to choose colours by
            scale = (boxes[i][2] - boxes[i][0]) / size
            axes = Axes.along((old_axes[i].origin - boxes[i][:2]) / scale, old_axes[i].matrix[:, 1] / scale)
            warped = self.person.shape(images[i], old_axes[i], axes, cv2.BORDER_REPLICATE)
            if complexion is None:
                complexion = Complexion(self.person.numbers, warped, axes)
                continue
            texture = self.skin.at(*axes.grid(warped.shape))
            image = self.camera(complexion.apply(warped, axes, texture), i)
            made.append(self._facing(image))
            if len(masks):
                mask = self.person.shape(masks[i], old_axes[i], axes, cv2.BORDER_CONSTANT)
                moved_masks.append(self._facing(mask).reshape(masks[i].shape))
        points = np.stack([cropping.to_crop(p, box, size) for p, box in zip(moved, boxes, strict=True)])
        if self.mirrored:
            points = points * [-1, 1] + [size, 0]
            points[:, :5] = points[:, [1, 0, 2, 4, 3]]
            points[:, 5:] = points[:, 5 + landmarks68.MIRRORED[: points.shape[1] - 5]]
        return made, points.astype(np.float32), moved_masks

    def _facing(self, image):
        return np.ascontiguousarray(image[:, ::-1]) if self.mirrored else image

    def say(self, wave: np.ndarray) -> np.ndarray:
        """The same speech in another voice, in time with it: (samples,) float32 like `wave`, 16 kHz."""
        if not len(wave):
            return wave
        slow = librosa.effects.time_stretch(wave, rate=1 / self.voice, n_fft=_FFT)
        shifted = librosa.resample(slow, orig_sr=SAMPLE_RATE * self.voice, target_sr=SAMPLE_RATE)
        return librosa.util.fix_length(shifted, size=len(wave)).clip(-1, 1).astype(np.float32)


def longest_pause(wave: np.ndarray, frames: np.ndarray, start: np.ndarray, end: np.ndarray) -> tuple[int, int]:
    """The longest run of frames in a row in which nobody speaks: the first one, and how many; (0, 0) for none.

    A frame counts whose audio is _PAUSE_DB below the loud parts of the clip, and so is the audio _MARGIN s before and
    after it: there the mouth opens before it is heard. Frames beyond the audio's end do not count.

    Args:
        wave: (samples,) float32, 16 kHz.
        frames: (n,) numbers, rising.
        start, end: (n,) seconds of each frame.
    """
    block = round(SAMPLE_RATE / FPS)
    powers = np.square(wave[: len(wave) // block * block].reshape(-1, block)).mean(1)
    if not len(powers):
        return 0, 0
    loud = np.concatenate([[0], np.cumsum(powers >= np.percentile(powers, 95) * 10 ** (-_PAUSE_DB / 10))])
    bounds = np.stack([np.floor((start - _MARGIN) * FPS + 1e-6), np.ceil((end + _MARGIN) * FPS - 1e-6)])
    first, last = bounds.clip(0, len(powers)).astype(int)
    quiet = (loud[last] == loud[first]) & (last > first) & (end <= len(powers) / FPS + 1e-6)
    groups = np.cumsum(np.concatenate([[0], (np.diff(frames) != 1) | (quiet[1:] != quiet[:-1])]))
    best = max((np.flatnonzero(groups == group) for group in np.unique(groups[quiet])), key=len, default=[])
    return (int(best[0]), len(best)) if len(best) >= _SHORTEST else (0, 0)


def steady_axes(landmarks: np.ndarray) -> list[Axes]:
    """Face coordinates of each frame that do not stretch as the jaw falls.

    The corners of the mouth sink with the jaw. A change of shape that hung on them would move nose and cheeks, and tell
    how open the mouth is: therefore the distance from eyes to mouth is averaged over time.
    """
    points = np.asarray(landmarks, float)
    eyes, mouths = points[:, :2].mean(1), points[:, 3:].mean(1)
    down = mouths - eyes
    length = np.maximum(np.hypot(*down.T), 1e-6)
    steady = gaussian_filter1d(length, _STEADY, mode="nearest")
    return [Axes.along(*pair) for pair in zip(eyes, down * (steady / length)[:, None], strict=True)]


def recast(
    data_root: str | os.PathLike,
    people: int | Callable[[Clip], int],
    num_workers: int = 1,
    seed: int = 0,
) -> int:
    """Make up people out of every real clip below a folder; those that are there are kept.

    Args:
        data_root: of preprocessed clips with landmarks and sound; those of `<video>/<clip>/` are
            `recast/<video>/<clip>-recast<k>/`.
        people: how many of each clip, or what says so.
        num_workers: processes.
        seed: decides who they are.

    Returns:
        How many clips were made.

    Raises:
        UserError: no such folder, or no clip that can be recast.
    """
    return recast_all(data_root, people, num_workers, seed).made


class Counts(NamedTuple):
    """Of clips: made now, made before, and those that could not be made."""

    made: int
    before: int
    failed: int


def recast_all(
    data_root: str | os.PathLike,
    people: int | Callable[[Clip], int],
    num_workers: int = 1,
    seed: int = 0,
    shard: tuple[int, int] | None = None,
) -> Counts:
    """`recast`, which says more of what it has done, and may do a share (i, n) alone."""
    root = Path(data_root)
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; give the folder that preprocess.py wrote")
    clips = [clip for clip in clip_folder.find_clips(root, "mel") if clip.kind == "real"]
    usable = [clip for clip in clips if clip.landmarks is not None and clip.has_sound]
    if not usable:
        raise UserError(f"{root}: none of its clips has landmarks and sound, which --recast needs; preprocess videos")
    jobs = [
        (clip.folder, _target(root, clip.folder, number), clip.saved_size, clip.crop, number)
        for clip in usable
        for number in range(1, (people if isinstance(people, int) else people(clip)) + 1)
    ]
    jobs = preprocess.share(jobs, shard)
    claims.free_left(target for _, target, *_ in jobs)
    todo = [job for job in jobs if preprocess.finished(*job[1:4]) != "finished"]
    made, failed, written = 0, [], 0
    workers = max(1, min(num_workers, processes.cores()))
    with (
        tqdm(total=len(jobs), initial=len(jobs) - len(todo), unit="clip", dynamic_ncols=True) as bar,
        contextlib.closing(
            preprocess.run_claimed(functools.partial(_make, root, seed), todo, workers, here=True)
        ) as results,
    ):
        for _, size in results:
            if isinstance(size, int):
                made, written = made + 1, written + size
            elif size not in (preprocess.MADE_BEFORE, preprocess.BUSY):
                failed.append(size)
            bar.update()
    terminal.say(
        f"{made} clips recast ({written / 1e6:.0f} MB), {len(jobs) - len(todo)} skipped (done before), "
        f"{len(failed)} failed"
    )
    terminal.say(*(f"  failed: {reason}" for reason in failed), error=True)
    return Counts(made, len(jobs) - len(todo), len(failed))


def _target(root, folder, number):
    path = root / FOLDER / folder.relative_to(root)
    return path.with_name(f"{path.name}-recast{number}")


def _make(root, seed, job) -> int | str:
    """Make one clip's folder; returns its size in bytes, or why it was not made."""
    source, target, img_size, crop, number = job
    reason = preprocess.make_once(
        source, target, img_size, crop, lambda folder: _write(Clip(source, root), folder, seed, number)
    )
    return reason or sum(entry.stat().st_size for entry in os.scandir(target))


def _write(clip, folder, seed, person):
    rng = np.random.default_rng([seed, hash_of(clip.name), person])
    made_up = MadeUp(rng)
    wave = clip.wave()
    first, length = longest_pause(wave, clip.frames, clip.start, clip.end) if made_up.listens else (0, 0)
    made_up.listens = length > 0
    more = np.arange(_LISTENS if length else 0)
    shown = np.concatenate([np.arange(len(clip.frames)), _to_and_fro(first, length, len(more))])
    images = [clip.image(i, clip.saved_size) for i in range(len(clip.frames))]
    images, landmarks, _ = made_up.frames([images[i] for i in shown], clip.landmarks[shown], crop=clip.crop)
    # One number and its time are left out, so that no run of frames crosses the jump.
    numbers = np.concatenate([clip.frames, clip.frames[-1] + 2 + more])
    time = np.concatenate([clip.start, clip.start[-1] + (2 + more) / FPS])
    for number, image in zip(numbers.tolist(), images, strict=True):
        preprocess.write_jpeg(folder / f"{number}.jpg", image)
    said = made_up.say(wave)
    if length:
        before = librosa.util.fix_length(said, size=round(float(time[len(clip.frames)]) * SAMPLE_RATE))
        said = np.concatenate([before, without_speech(made_up.hears, len(more) / FPS, rng)])
    preprocess.write_sound(folder, said)
    (folder / pack.SOURCE).write_text(f"{clip.name}\n", encoding="utf-8")
    np.savez(
        folder / "landmarks.npz",
        frames=numbers,
        landmarks=landmarks,
        time=time,
        duration=np.concatenate([clip.end - clip.start, np.full(len(more), 1 / FPS)]),
        spoken=np.uint8(np.arange(len(numbers)) < len(clip.frames)),
        img_size=clip.saved_size,
        steady=np.uint8(clip.crop == "steady"),
        drawn=json.dumps([_VERSION, seed, made_up.numbers]),
    )


def _to_and_fro(first, length, count):
    """(count,) indices: so many frames from `first` on, then back, and so on."""
    period = max(1, 2 * (length - 1))
    at = np.arange(count) % period
    return first + np.minimum(at, period - at)
