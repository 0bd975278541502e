"""Measure one result, against the video that it should have become: the work behind `evaluation`.

A result is a video file with its truth beside it (`measure_pair`), or what a generator makes of a preprocessed clip
(`measure_clip`). Either is gone through once, in chunks, so that memory does not grow with its length.
"""

import contextlib
import dataclasses
import functools
import hashlib
import math
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from . import audio, augment, cli, dataset, faces, fid, metrics, tracking, video
from .cli import UserError
from .config import MOUTH_SIZE, ModelConfig

SIZE = 96  # side of the crops that are measured
FPS = 25  # of preprocessed clips, and of what the discriminator is shown
CHUNK = 32  # frames at a time
CHUNK_BYTES = 1 << 27  # of their full pictures
PROBES = 12  # frames of a result in which a face is looked for
JUST = 0.002  # seconds that do not count in the pairing of frames: containers round times
LONGER = 0.06  # seconds by which two videos may differ in length without a word
IDENTITY_DISTANCE = 12  # frames between the identity frame and the nearest that is measured
LEAST = 5  # frames to measure
LONGEST_NAME = 200  # bytes, of a file without its suffix; most file systems allow 255 with it
SHIFTS = (3, 5, 10)  # frames by which wrong sound is shifted
NEAREST, FURTHEST = 3, 25  # frames by which the discriminator's wrong sound is shifted
FID_EVERY = 5  # frames; neighbours are nearly the same picture
BASELINES = ("frozen", "aligned", "source")
SENSITIVITY = {f"sensitivity_{name}" for name in (*SHIFTS, "other")}


@dataclasses.dataclass(frozen=True)
class Settings:
    """What every video is measured with; paths are None where there is none.

    Attributes:
        mode: "generated", "checkpoint" or "filelist", as evaluate.py has them.
        out: folder of the results.
        metrics: names of those to measure.
        checkpoint: a generator.
        audio_offset_ms: overrides the checkpoint's.
        baseline: of BASELINES, takes the place of the generator.
        sync_checkpoint: one with a discriminator of ours.
        syncnet, inception: files of weights.
    """

    mode: str
    out: Path
    metrics: tuple[str, ...]
    checkpoint: str | None = None
    audio_offset_ms: float | None = None
    baseline: str | None = None
    sync_checkpoint: str | None = None
    syncnet: str | None = None
    inception: str | None = None


@dataclasses.dataclass(frozen=True)
class Job:
    """One result to be measured.

    Attributes:
        name: unique among the jobs; a relative path without suffix.
        truth, generated: video files; or
        clip: a preprocessed folder, and
        other: that of another clip, for its sound.
        problem: why it cannot be measured, where that is known already.
    """

    name: str
    truth: Path | None = None
    generated: Path | None = None
    clip: Path | None = None
    other: Path | None = None
    problem: str | None = None

    def place(self, out: Path, suffix: str) -> Path:
        """Of a file that belongs to this job. Of a name too long for that, a digest takes the place of the end."""
        *folders, name = self.name.split("/")
        if len(os.fsencode(name)) > LONGEST_NAME:
            digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:16]
            name = f"{os.fsencode(name)[: LONGEST_NAME - 17].decode('utf-8', 'ignore')}_{digest}"
        return out.joinpath("videos", *folders, f"{name}{suffix}")


def measure(settings: Settings, job: Job) -> dict:
    """The record of a job, as it stands in results.json under "videos"; raises nothing."""
    record = empty(settings, job)
    try:
        if job.problem:
            raise UserError(job.problem)
        (measure_clip if job.clip else measure_pair)(settings, job, record)
    except UserError as error:
        fail(record, str(error))
    except OSError as error:
        fail(record, cli.describe_os_error(error))
    except Exception as error:  # noqa: BLE001 - one bad video never stops the run
        fail(record, f"{job.name}: {type(error).__name__}: {error}")
    return record


def empty(settings: Settings, job: Job) -> dict:
    """A record that says nothing yet."""
    return {
        "name": job.name,
        "status": "ok",
        "reason": None,
        "notes": [],
        "frames": 0,
        "faces": 0,
        "files": {},
        "values": dict.fromkeys(settings.metrics),
        "curves": {},
        "worst_frame": None,
    }


def fail(record: dict, reason: str) -> dict:
    """Say of a record that its video could not be measured."""
    record["status"], record["reason"] = "failed", " ".join(reason.split())
    record["values"] = dict.fromkeys(record["values"])  # what was measured so far is of a part
    return record


# ---------------------------------------------------------------------------------------------------------------------
# What is collected, frame by frame


class Tally:
    """Collects the frames of one video, and finishes its record."""

    def __init__(self, settings: Settings, record: dict):
        self.settings, self.record = settings, record
        per_frame = [metric for metric in metrics.METRICS.values() if metric.per == "frame"]
        self.measured = [metric for metric in per_frame if metric.name in settings.metrics]
        self.values = {metric.name: [] for metric in self.measured}
        self.lip_errors, self.numbers = [], []
        self.openings = Openings() if "opening_correlation" in settings.metrics else None
        self.inception = inception(settings.inception) if settings.inception and "fid" in settings.metrics else None
        self.features = {"truth": [], "generated": []}
        self.listener = None
        if settings.sync_checkpoint and "sync_accuracy" in settings.metrics:
            self.listener = Listener(judge(settings.sync_checkpoint))

    def add(self, frames: metrics.Frames, numbers: Sequence[int], overlap: int) -> None:
        """Count a chunk.

        Args:
            frames: consecutive ones.
            numbers: which frames of the result they are.
            overlap: 1 where the first one is the last one of the chunk before, and there for the sake of movement.
        """
        for metric in self.measured:
            self.values[metric.name].append(np.asarray(metric.fn(frames), "float64")[overlap:])
        self.numbers += numbers[overlap:]
        self.record["faces"] += len(frames) - overlap
        self.lip_errors.append(metrics.lip_mae(frames.masks, frames.truth / 255, frames.generated / 255)[overlap:])
        if self.openings:
            self.openings.add(frames.landmarks[overlap:], frames.truth[overlap:], frames.generated[overlap:])
        chosen = [i for i, number in enumerate(numbers) if i >= overlap and number % FID_EVERY == 0]
        if self.inception and chosen:
            for name, crops in (("truth", frames.truth), ("generated", frames.generated)):
                self.features[name].append(self.inception(crops[chosen]))

    def finish(self, job: Job) -> None:
        """Write what was collected into the record."""
        values = self.record["values"]
        for metric in self.measured:
            values[metric.name] = finite(metric.reduce(np.concatenate(self.values[metric.name])))
        if self.openings:
            values["opening_correlation"] = finite(metrics.opening_correlation(*self.openings.found()))
        errors = np.concatenate(self.lip_errors)
        if paired(self.settings) and np.isfinite(errors).any():
            self.record["worst_frame"] = int(self.numbers[int(np.nanargmax(errors))])
        if self.listener:
            values["sync_accuracy"] = finite(self.listener.accuracy())
        if self.inception:
            with cli.replacing(job.place(self.settings.out, ".fid.npz")) as temporary:
                nothing = np.empty((0, fid.FEATURES), "float32")
                np.savez(
                    temporary, **{name: np.concatenate([nothing, *found]) for name, found in self.features.items()}
                )


class Openings:
    """How far mouths are open, frame by frame, in two videos cut at the same boxes.

    Read at one place throughout, the mean landmarks of the first chunk. A place that followed the true face would open
    a mouth that stands still: boxes and landmarks move with the jaw.
    """

    def __init__(self):
        self.points, self.openings = None, []

    def add(self, landmarks: np.ndarray, one: np.ndarray, other: np.ndarray) -> None:
        """Take in crops (n,96,96,3) of both, and the landmarks (n,5,2)."""
        if self.points is None:
            self.points = landmarks.mean(axis=0)
        points = np.broadcast_to(self.points, landmarks.shape)
        self.openings.append([metrics.mouth_opening(crops, points) for crops in (one, other)])

    def found(self) -> np.ndarray:
        """(2,n), see `metrics.mouth_opening`."""
        return np.concatenate(self.openings, axis=1)


def paired(settings: Settings) -> bool:
    """Whether the truth shows the mouth that the result should have, and not one that says something else."""
    return settings.mode != "filelist"


def finite(value: float) -> float | None:
    """As JSON holds it."""
    return float(value) if np.isfinite(value) else None


def add_lse(settings: Settings, record: dict, path: Path, crop: bool) -> None:
    """LSE-D, LSE-C and offset of a video file, by SyncNet."""
    wanted = [name for name in ("lse_d", "lse_c", "av_offset") if name in settings.metrics]
    if not settings.syncnet or not wanted:
        return
    try:
        scores = syncnet(settings.syncnet).score(path, crop=crop)
    except UserError as error:
        record["notes"].append(f"no LSE: {error}")
        return
    record["curves"]["lse_distances"] = [float(distance) for distance in scores["distances"]]
    for name in wanted:
        record["values"][name] = float(scores["offset" if name == "av_offset" else name])


# ---------------------------------------------------------------------------------------------------------------------
# Video files


@dataclasses.dataclass
class Pair:
    """A frame of the result, the true frame that is shown at its time, and the true face in it, if there is one."""

    generated: video.Frame
    truth: video.Frame
    face: tracking.TrackedFace | None


def pairs(generated: Path, truth: Path) -> Iterator[Pair]:
    """Every frame of the result up to the end of the truth, with what the truth shows in the middle of its time.

    Where the truth changes just then, as for a result of half its rate, it is the earlier frame: that is the one kept
    where frames are dropped.
    """
    tracked = tracking.track(video.read_frames(truth))
    current, coming = next(tracked), next(tracked, None)
    for frame in video.read_frames(generated):
        middle = frame.time + frame.duration / 2
        while coming is not None and coming.frame.time <= middle - JUST:
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
    info, true_info = (video.probe(path) for path in (job.generated, job.truth))
    record["notes"] += differences(info, true_info)
    if not any(faces.detect([frame.image for frame in video.sample_frames(job.generated, PROBES)])):
        raise UserError(f"{job.generated}: no face found in it; is it the right video?")
    tally = Tally(settings, record)
    grid = None
    if tally.listener and info.has_audio:
        grid = Grid(tally.listener, audio.load_audio(job.generated))
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
        add_lse(settings, record, job.generated, crop=True)
    elif settings.syncnet or tally.listener:
        record["notes"].append("the result has no sound, so that its sync is not measured")


class Grid:
    """Gives a listener the frames of a result that are shown at times N / FPS.

    Args:
        wave: (n,), the sound of the result, 16 kHz mono.
    """

    def __init__(self, listener: "Listener", wave: np.ndarray):
        self.listener, self.wave, self.next = listener, wave, 0

    def add(self, pair: Pair) -> None:
        """Take the next pair."""
        config, shot = self.listener.config, pair.generated
        box = pair.face.box if config.crop == "lipgan_keras" else faces.crop_box(pair.face.face, config.crop)
        points = faces.to_crop(pair.face.face.landmarks, box, config.img_size)
        self.next = max(self.next, math.ceil((shot.time - 1e-6) * FPS))
        while self.next / FPS < shot.time + shot.duration - 1e-6:
            crop = faces.extract(of_size(shot.image, pair.truth.image), box, config.img_size)
            at = audio.window_centre(self.next / FPS, (self.next + 1) / FPS, config.alignment, config.audio_offset_ms)
            window = audio.windows_of(self.wave, [at], config.audio)[0]
            self.listener.add(self.next, crop, points, window)
            self.next += 1


def shown(path: Path, out: Path) -> str:
    """A path as results.json has it: relative to the results where it lies in them."""
    path, out = path.resolve(), out.resolve()
    return path.relative_to(out).as_posix() if path.is_relative_to(out) else str(path)


def differences(generated: video.VideoInfo, truth: video.VideoInfo) -> list[str]:
    """What is to be said of a pair that is not alike."""
    notes = []
    if abs(generated.duration - truth.duration) > LONGER:
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
    """Frames with faces, in stretches without a gap, at most CHUNK at a time, fewer where pictures are large.

    With each chunk comes 1 where it goes on without a gap: it begins with the last frame of the chunk before then; else
    0.
    """
    chunk, overlap = [], 0
    for i, pair in pairs:
        if pair.face is None:
            if len(chunk) > overlap:
                yield chunk, overlap
            chunk, overlap = [], 0
            continue
        chunk.append((i, pair))
        if len(chunk) - overlap >= min(CHUNK, max(4, CHUNK_BYTES // (2 * pair.truth.image.nbytes))):
            yield chunk, overlap
            chunk, overlap = chunk[-1:], 1
    if len(chunk) > overlap:
        yield chunk, overlap


def cut(both: list[Pair]) -> metrics.Frames:
    """Both faces of each pair, in the box of the true one."""
    truth = [pair.truth.image for pair in both]
    generated = [of_size(pair.generated.image, image) for pair, image in zip(both, truth, strict=True)]
    boxes = [pair.face.box for pair in both]
    points = [faces.to_crop(pair.face.face.landmarks, pair.face.box, SIZE) for pair in both]
    crops = [
        np.stack([faces.extract(i, b, SIZE) for i, b in zip(images, boxes, strict=True)])
        for images in (truth, generated)
    ]
    masks = np.stack([faces.lip_mask(p, SIZE) for p in points])
    return metrics.Frames(*crops, np.stack(points), masks, truth, generated, np.stack(boxes))


def of_size(image: np.ndarray, like: np.ndarray) -> np.ndarray:
    """A picture, scaled to the size of another."""
    if image.shape == like.shape:
        return image
    shrinks = image.shape[0] > like.shape[0]
    return cv2.resize(image, like.shape[1::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


# ---------------------------------------------------------------------------------------------------------------------
# Preprocessed clips


class Speaker:
    """A preprocessed clip whose mouths are made anew, from any sound.

    The identity frame is the clip's first frame; `targets` are those that come at least IDENTITY_DISTANCE frames later,
    so that the generator never sees the true mouth, nor one like it.

    Args:
        settings: say what makes the mouths.
        job: names the clip.

    Raises:
        UserError: the clip is too short, or one of its files cannot be read.
    """

    def __init__(self, settings: Settings, job: Job):
        self.clip, self.baseline = dataset.Clip(job.clip), settings.baseline
        if self.baseline:
            self.config, self.generator = generator_config(settings.checkpoint, settings.audio_offset_ms), None
        else:
            self.generator = generator(settings.checkpoint, settings.audio_offset_ms)
            self.config = self.generator.config
        if self.config.audio not in self.clip.front_ends:
            raise UserError(
                f"{job.clip}: has no sound for a generator that hears {self.config.audio}; preprocess it again"
            )
        numbers = self.clip.frames[: self.clip.shown]
        self.targets = np.flatnonzero(numbers >= numbers[0] + IDENTITY_DISTANCE) if len(numbers) else []
        if len(self.targets) < LEAST:
            raise UserError(
                f"{job.clip}: has under {LEAST} frames that are {IDENTITY_DISTANCE} after its first; use longer clips"
            )
        self.data = self.dataset(self.config)
        self.other = None
        if job.other:
            self.other = dataset.Dataset([dataset.Clip(job.other)], self.config, 1, pairs=False, cache_bytes=1 << 26)
        self.identity = self.data.picture(0, 0)
        self.seed = zlib.crc32(job.name.encode())

    @functools.cached_property
    def music(self) -> np.ndarray:
        """A piece as long and as loud as the clip."""
        wave = self.clip.wave()
        piece = augment.music(len(wave) / audio.SAMPLE_RATE, np.random.default_rng(self.seed))
        return piece * (augment.level(wave) / max(augment.level(piece), 1e-9))

    def dataset(self, config: ModelConfig) -> dataset.Dataset:
        """The clip as a network with this configuration sees and hears it."""
        return dataset.Dataset([self.clip], config, 1, pairs=False, cache_bytes=1 << 26)

    def points(self, indices: np.ndarray) -> np.ndarray:
        """(n,5,2) float32, landmarks in crops of SIZE."""
        return np.stack([self.data.points(0, i) for i in indices]) * np.float32(SIZE / self.config.img_size)

    def say(self, indices: np.ndarray, windows: np.ndarray) -> np.ndarray:
        """(n,S,S,3) uint8: frames of the clip with the mouths that say the sound (n,80,27,1) or (n,12,35,1)."""
        truth = [self.data.picture(0, i) for i in indices]
        if self.baseline == "source":
            return np.stack(truth)
        if self.baseline == "aligned":
            poses = [metrics.pose(self.data.points(0, 0), self.data.points(0, i)) for i in indices]
            return np.stack([moved(self.identity, pose) for pose in poses])
        if self.baseline == "frozen":
            return np.stack([self.identity] * len(indices))
        inputs = np.stack([dataset.assemble(self.identity, picture)[0] for picture in truth])
        return np.clip(np.rint(self.generator(inputs, windows) * 255), 0, 255).astype("uint8")

    def wrong_sounds(self) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
        """{name: function of indices of frames that gives them windows of a wrong sound}.

        "3", "5" and "10": so many frames later, and at the clip's end earlier; "other": another clip's.
        """
        found = {}
        for shift in SHIFTS:
            found[str(shift)] = lambda i, shift=shift: self.data.windows(
                0, shifted(self.clip.frames[: self.clip.shown], i, shift)
            )
        if self.other:
            length = self.other.clips[0].shown
            found["other"] = lambda i: self.other.windows(0, i % length)
        return found

    def hear_music(self, indices: np.ndarray) -> np.ndarray:
        """Windows of `music`, without the clip's own sound."""
        centres = [
            audio.window_centre(
                self.clip.start[i], self.clip.end[i], self.config.alignment, self.config.audio_offset_ms
            )
            for i in indices
        ]
        return audio.windows_of(self.music, centres, self.config.audio)

    def chunks(self) -> Iterator[tuple[np.ndarray, int]]:
        """The targets' indices, as `chunks` divides frames."""
        numbers = self.clip.frames[self.targets]
        for stretch in np.split(self.targets, np.flatnonzero(np.diff(numbers) != 1) + 1):
            for at in range(0, len(stretch), CHUNK):
                yield stretch[max(0, at - 1) : at + CHUNK], int(at > 0)


def shifted(numbers: np.ndarray, indices: np.ndarray, shift: int) -> np.ndarray:
    """Indices of the frames that come so many frames later; at the end, of those as much earlier.

    Args:
        numbers: (n,), rising, of a clip's frames; where those wanted are missing, the nearest one further away is
            taken.
        indices: (m,) into them.
    """
    later = np.searchsorted(numbers, numbers[indices] + shift)
    earlier = np.searchsorted(numbers, numbers[indices] - shift, side="right") - 1
    return np.where(later < len(numbers), later, np.maximum(earlier, 0))


def moved(image: np.ndarray, pose: np.ndarray | None) -> np.ndarray:
    """A picture, moved by a (2,3) matrix."""
    if pose is None:
        return image
    return cv2.warpAffine(image, pose, image.shape[1::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def scaled(images: np.ndarray, size: int = SIZE) -> np.ndarray:
    """Pictures (n,S,S,3) of another size."""
    if images.shape[1] == size:
        return images
    how = cv2.INTER_AREA if images.shape[1] > size else cv2.INTER_LINEAR
    return np.stack([cv2.resize(image, (size, size), interpolation=how) for image in images])


def measure_clip(settings: Settings, job: Job, record: dict) -> None:
    """Generate a preprocessed clip's frames from its sound, and measure them; see `Speaker`.

    Raises:
        UserError: the clip is too short, or one of its files cannot be read.
    """
    speaker = Speaker(settings, job)
    clip, data, size = speaker.clip, speaker.data, speaker.config.img_size
    if not settings.baseline and speaker.config.crop != "lipgan_keras" and clip.layout == "lipgan_keras":
        record["notes"].append(f"the checkpoint was trained on crops like {speaker.config.crop}'s, which these are not")
    if clip.landmarks is None:
        record["notes"].append("has no landmarks: the lips are taken to be where they are on average")
    missing = int(np.ptp(clip.frames[speaker.targets])) + 1 - len(speaker.targets)
    if missing:
        record["notes"].append(f"no crop of {missing} of {missing + len(speaker.targets)} true frames")
    unheard = [] if clip.has_sound else ["LSE"] * bool(settings.syncnet) + ["murmur"] * ("murmur" in settings.metrics)
    if unheard:
        record["notes"].append(f"no {' and no '.join(unheard)}: the clip has features of its sound only")
    tally = Tally(settings, record)
    if tally.listener and tally.listener.config.crop != "lipgan_keras" and clip.layout == "lipgan_keras":
        record["notes"].append(
            f"the discriminator was trained on crops like {tally.listener.config.crop}'s, which these are not"
        )
    others = [Sensitivity(speaker)] if SENSITIVITY & set(settings.metrics) else []
    if "murmur" in settings.metrics and speaker.clip.has_sound:
        others.append(Murmur(speaker))
    judged = speaker.dataset(tally.listener.config) if tally.listener else None
    begin, end = clip.start[speaker.targets[0]], clip.end[speaker.targets[-1]]
    sound = None
    if clip.has_sound:
        sound = clip.wave()[max(0, round(begin * audio.SAMPLE_RATE)) :], audio.SAMPLE_RATE
    paths = {name: job.place(settings.out, f".{name}.mp4") for name in ("generated", "truth")}
    with contextlib.ExitStack() as stack:
        writers = []
        for path in paths.values():
            temporary = stack.enter_context(cli.replacing(path))
            writer = video.VideoWriter(temporary, size, size, FPS, sound, duration=end - begin if sound else None)
            writers.append(stack.enter_context(writer))
        for indices, overlap in speaker.chunks():
            truth = np.stack([data.picture(0, i) for i in indices])
            made = speaker.say(indices, data.windows(0, indices))
            points = speaker.points(indices)
            masks = np.stack([faces.lip_mask(p, SIZE) for p in points])
            frames = metrics.Frames(scaled(truth), scaled(made), points, masks)
            tally.add(frames, [record["frames"] - overlap + k for k in range(len(indices))], overlap)
            record["frames"] += len(indices) - overlap
            new, indices = slice(overlap, None), indices[overlap:]
            for i, *both in zip(indices, made[new], truth[new], strict=True):
                for writer, picture in zip(writers, both, strict=True):
                    writer.write(picture, clip.start[i] - begin, clip.end[i] - clip.start[i])
            if judged:
                crops, heard = scaled(made[new], tally.listener.config.img_size), judged.windows(0, indices)
                for i, crop, window in zip(indices, crops, heard, strict=True):
                    tally.listener.add(int(clip.frames[i]), crop, judged.points(0, i), window)
            for one in others:
                one.add(indices, *(array[new] for array in (frames.truth, frames.generated, points, masks)))
    record["files"] = {name: shown(path, settings.out) for name, path in paths.items()}
    tally.finish(job)
    for one in others:
        one.finish(record)
    if sound:
        add_lse(settings, record, paths["generated"], crop=False)


class Sensitivity:
    """The lip error under wrong sound, over that under the right one."""

    def __init__(self, speaker: Speaker):
        self.speaker, self.sounds = speaker, speaker.wrong_sounds()
        self.errors = {name: [] for name in ("0", *self.sounds)}

    def add(
        self, indices: np.ndarray, truth: np.ndarray, generated: np.ndarray, points: np.ndarray, masks: np.ndarray
    ) -> None:
        made = {name: scaled(self.speaker.say(indices, heard(indices))) for name, heard in self.sounds.items()}
        for name, pictures in {"0": generated, **made}.items():
            self.errors[name].append(metrics.lip_mae(masks, truth / 255, pictures / 255))

    def finish(self, record: dict) -> None:
        errors = {name: np.concatenate(found) for name, found in self.errors.items()}
        found = {name: finite(metrics.mean(values)) for name, values in errors.items()}
        record["curves"]["lip_error_other_sound"] = found.pop("other", None)
        record["curves"]["lip_error_by_shift"] = found
        for name, values in errors.items():
            if f"sensitivity_{name}" in record["values"]:
                record["values"][f"sensitivity_{name}"] = finite(metrics.error_ratio(errors["0"], values))


class Murmur:
    """How much the mouth moves under music, over how much it does under the clip's own speech."""

    def __init__(self, speaker: Speaker):
        self.speaker, self.openings = speaker, Openings()

    def add(
        self, indices: np.ndarray, truth: np.ndarray, generated: np.ndarray, points: np.ndarray, masks: np.ndarray
    ) -> None:
        made = scaled(self.speaker.say(indices, self.speaker.hear_music(indices)))
        self.openings.add(points, made, generated)

    def finish(self, record: dict) -> None:
        record["values"]["murmur"] = finite(metrics.murmur(*self.openings.found()))


# ---------------------------------------------------------------------------------------------------------------------
# Our discriminator


class Judge:
    """A discriminator of ours.

    Args:
        path: a checkpoint that holds one; the lip-sync discriminator where it holds it, else the contrastive one.

    Raises:
        UserError: it holds none, or cannot be read.
    """

    BATCH = 32

    def __init__(self, path: str | os.PathLike):
        from . import sync_accuracy
        from .backend import keras

        models, self.config = sync_accuracy.load(path)
        if "sync" in models:
            self.name, self.model, self.frames = "sync", models["sync"], self.config.sync_frames
        else:
            model = models["discriminator"]  # its towers end in these layers, the face's first
            towers = [model.get_layer(f"flatten_{n}").output for n in (1, 2)]
            self.name, self.model, self.frames = "discriminator", keras.Model(model.inputs, towers), 1

    def embed(self, runs: list[tuple[np.ndarray, np.ndarray]]) -> list[np.ndarray]:
        """Two (n,d) float32 arrays of unit vectors, of pictures and sounds."""
        inputs = [np.stack(x) for x in zip(*runs, strict=True)]
        inputs = [np.pad(x, [(0, self.BATCH - len(x))] + [(0, 0)] * (x.ndim - 1)) for x in inputs]  # compiled once
        found = [np.asarray(x, "float32")[: len(runs)] for x in self.model.predict_on_batch(inputs)]
        return [x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9) for x in found]


class Listener:
    """What a judge thinks of one video, given its frames at FPS one after another."""

    def __init__(self, judge: Judge):
        self.judge, self.config = judge, judge.config
        self.run, self.waiting, self.firsts = [], [], []  # the last frames, what is to be embedded, and all runs
        self.embedded = [], []

    def add(self, number: int, crop: np.ndarray, points: np.ndarray, window: np.ndarray) -> None:
        """Hear a frame.

        Args:
            number: its own; a gap in the numbers or a cut ends a run of frames.
            crop: (S,S,3) uint8, with S of the discriminator's configuration.
            points: (5,2), the landmarks in it.
            window: (80,27,1) or (12,35,1), the sound of its time.
        """
        if self.run and (number != self.run[-1][0] + 1 or dataset.is_cut(self.run[-1][1], crop)):
            self.run = []
        self.run = [*self.run, (number, crop, points, window)][-self.judge.frames :]
        if len(self.run) < self.judge.frames:
            return
        numbers, crops, points, windows = zip(*self.run, strict=True)
        if self.judge.name == "sync":
            box = faces.mouth_box(np.stack(points))
            matrices = faces.crop_matrices(box, len(crop), MOUTH_SIZE)
            pair = dataset.mouths_of(np.stack(crops), *matrices), np.concatenate(windows, axis=-1)
        else:
            pair = crops[0].astype("float32") / 255, windows[0]
        self.firsts.append(numbers[0])
        self.waiting.append(pair)
        if len(self.waiting) == Judge.BATCH:
            self._embed()

    def _embed(self):
        if self.waiting:
            for kept, new in zip(self.embedded, self.judge.embed(self.waiting), strict=True):
                kept.append(new)
        self.waiting = []

    def accuracy(self) -> float:
        """How often the video's own sound fits a run of frames better than the same sound at another time.

        Each run is compared under its own sound with itself under that of every other run NEAREST to FURTHEST frames
        before or after it. The share of comparisons that its own sound wins, ties by half: 0.5 is a guess, and what is
        lost in pauses and steady vowels, where sounds are alike, keeps even the truth from 1. NaN: too short.
        """
        self._embed()
        if not self.firsts:
            return float("nan")
        return share_in_sync(np.array(self.firsts), *(np.concatenate(x) for x in self.embedded))


def share_in_sync(firsts: np.ndarray, pictures: np.ndarray, sounds: np.ndarray) -> float:
    """The figure of `Listener.accuracy`, of unit vectors (n,d) of runs that begin at frames `firsts` (n,), rising."""
    place = np.full(firsts[-1] - firsts[0] + 1 + 2 * FURTHEST, -1)  # of the run that begins at each frame
    place[firsts - firsts[0] + FURTHEST] = np.arange(len(firsts))
    others = []
    for shift in range(NEAREST, FURTHEST + 1):
        for way in (-shift, shift):
            heard = place[firsts - firsts[0] + FURTHEST + way]
            others.append(np.where(heard >= 0, (pictures * sounds[heard]).sum(axis=1), np.nan))
    return metrics.share_in_sync((pictures * sounds).sum(axis=1), np.stack(others, axis=1))


# ---------------------------------------------------------------------------------------------------------------------
# What is loaded once in each process


@functools.cache
def judge(path: str) -> Judge:
    return Judge(path)


@functools.cache
def generator(path: str, audio_offset_ms: float | None):
    from . import engine

    return engine.load(path, audio_offset_ms=audio_offset_ms)


@functools.cache
def generator_config(path: str, audio_offset_ms: float | None) -> ModelConfig:
    from . import checkpoints

    config = checkpoints.read_config(path)
    if audio_offset_ms is not None:
        config.audio_offset_ms = audio_offset_ms
    return config


@functools.cache
def syncnet(path: str):
    from . import syncnet

    return syncnet.SyncNet(path)


@functools.cache
def inception(path: str):
    from . import fid

    return fid.Inception(path)
