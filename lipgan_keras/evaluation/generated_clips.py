"""Measure what a generator makes of a preprocessed clip."""

import contextlib
import functools
import zlib
from collections.abc import Callable, Iterator

import cv2
import numpy as np

from ..audio import WindowClock
from ..config import FPS, OWN_CROPS, SAMPLE_RATE, ModelConfig
from ..data import music as data_music
from ..data import noise, scoring
from ..data.clip_folder import Clip
from ..data.dataset import Dataset
from ..face import cropping, regions
from ..media.video_writer import VideoWriter
from ..utils import files
from ..utils.errors import UserError
from . import jobs, loaded
from .jobs import Job, Settings, finite, shown
from .metrics import movement, register
from .metrics import sound as metrics_sound
from .metrics.register import OVERLAP, Frames
from .tally import Openings, VideoScores, add_lse


class ClipGenerator:
    """A preprocessed clip whose mouths are made anew, from any sound.

    `identity` says which frame the generator is shown beside the hidden one. `targets` are the frames to measure: with
    "first" those that come at least IDENTITY_DISTANCE frames later, so that it never sees a mouth like the true one.

    Args:
        clip: preprocessed.
        config: of the generator.
        generator: makes (n,S,S,3) floats in 0..1 of its two inputs, as `inference.engine.load` gives it; None where a
            baseline takes its place.
        baseline: of `config.BASELINES`.
        other: a clip whose sound is a wrong one.
        seed: of the music, and of a random identity frame.
        identity: of `config.IDENTITIES`.

    Raises:
        UserError: the clip is too short, or one of its files cannot be read.
    """

    def __init__(
        self,
        clip: Clip,
        config: ModelConfig,
        generator: Callable[[np.ndarray, np.ndarray], np.ndarray] | None,
        baseline: str | None = None,
        other: Clip | None = None,
        seed: int = 0,
        identity: str = "first",
    ):
        self.clip, self.config, self.generator, self.baseline, self.seed = clip, config, generator, baseline, seed
        if config.audio not in clip.front_ends:
            raise UserError(
                f"{clip.folder}: has no sound for a generator that hears {config.audio}; preprocess it again"
            )
        self.beside, self.targets = _identities(clip.frames[: clip.shown], identity, seed)
        if len(self.targets) < jobs.LEAST:
            where = f" that are {jobs.IDENTITY_DISTANCE} after its first" if identity == "first" else ""
            raise UserError(f"{clip.folder}: has under {jobs.LEAST} frames{where}; use longer clips")
        self.data = self.dataset(config)
        self.other = Dataset([other], config, 1, pairs=False, cache_bytes=1 << 26) if other else None
        self.identity = self.data.image(0, int(self.beside[0]))

    @functools.cached_property
    def music(self) -> np.ndarray:
        """A piece as long and as loud as the clip."""
        wave = self.clip.wave()
        piece = data_music.music(len(wave) / SAMPLE_RATE, np.random.default_rng(self.seed))
        return piece * (noise.level(wave) / max(noise.level(piece), 1e-9))

    def dataset(self, config: ModelConfig) -> Dataset:
        """The clip as a network with this configuration sees and hears it."""
        return Dataset([self.clip], config, 1, pairs=False, cache_bytes=1 << 26)

    def points(self, indices: np.ndarray) -> np.ndarray:
        """(n,5,2) float32, landmarks in crops of SIZE."""
        return np.stack([self.data.points(0, i) for i in indices]) * np.float32(jobs.SIZE / self.config.img_size)

    def truth(self, indices: np.ndarray) -> np.ndarray:
        """(n,S,S,3) uint8: frames of the clip as they are."""
        return np.stack([self.data.image(0, i) for i in indices])

    def poses(self, indices: np.ndarray) -> list[np.ndarray | None]:
        """(2,3) matrices that lay eyes and nose of their identity frames on those of frames of the clip."""
        return [cropping.pose(self.data.points(0, int(self.beside[i])), self.data.points(0, i)) for i in indices]

    def identities(self, indices: np.ndarray) -> np.ndarray:
        """(n,S,S,3) uint8: the identity frames of frames of the clip."""
        return np.stack([self.data.image(0, int(i)) for i in self.beside[indices]])

    def aligned(self, indices: np.ndarray) -> np.ndarray:
        """(n,S,S,3) uint8: the identity frames, moved as the head is in frames of the clip."""
        pairs = zip(self.identities(indices), self.poses(indices), strict=True)
        return np.stack([moved(image, pose) for image, pose in pairs])

    def generate(self, targets: np.ndarray, windows: np.ndarray, indices: np.ndarray | None = None) -> np.ndarray:
        """(n,S,S,3) floats in 0..1: the images (n,S,S,3) uint8 with mouths that say the windows.

        `indices` are those of the images, where the identity frame differs from one to another.
        """
        beside = [self.identity] * len(targets) if indices is None else self.identities(indices)
        inputs = np.stack([regions.assemble(one, image)[0] for one, image in zip(beside, targets, strict=True)])
        return self.generator(inputs, windows)

    def say(self, indices: np.ndarray, windows: np.ndarray) -> np.ndarray:
        """(n,S,S,3) uint8: frames of the clip with the mouths that say the audio (n,80,27,1) or (n,12,35,1)."""
        if self.baseline == "source":
            return self.truth(indices)
        if self.baseline == "aligned":
            return self.aligned(indices)
        if self.baseline == "frozen":
            return self.identities(indices)
        made = self.generate(self.truth(indices), windows, indices)
        return np.clip(np.rint(made * 255), 0, 255).astype("uint8")

    def centres(self, indices: np.ndarray) -> np.ndarray:
        """(n,) the middles of the windows that frames of the clip hear, seconds."""
        return WindowClock.of(self.config).centres(self.clip.start[indices], self.clip.end[indices])

    def wrong_sounds(self) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
        """{name: function of indices of frames that gives them windows of wrong audio}.

        "3", "5" and "10": so many frames later, and at the clip's end earlier; "other": another clip's.
        """
        found = {}
        for shift in jobs.SHIFTS:
            found[str(shift)] = lambda i, shift=shift: self.data.windows(
                0, shifted(self.clip.frames[: self.clip.shown], i, shift)
            )
        if self.other:
            length = self.other.clips[0].shown
            found["other"] = lambda i: self.other.windows(0, i % length)
        return found

    def hear_music(self, indices: np.ndarray) -> np.ndarray:
        """Windows of `music`, without the clip's own audio."""
        return WindowClock.of(self.config).windows_of(self.music, self.clip.start[indices], self.clip.end[indices])

    def chunks(self) -> Iterator[tuple[np.ndarray, int]]:
        """The targets' indices, as `chunks` divides frames."""
        numbers = self.clip.frames[self.targets]
        for stretch in np.split(self.targets, np.flatnonzero(np.diff(numbers) != 1) + 1):
            for at in range(0, len(stretch), jobs.CHUNK):
                overlap = min(at, OVERLAP)
                yield stretch[at - overlap : at + jobs.CHUNK], overlap


def _identities(numbers, kind, seed) -> tuple[np.ndarray, np.ndarray]:
    """Of each frame, by its index, the identity frame's; and the frames to measure."""
    count = len(numbers)
    every = np.arange(count)
    if kind == "far":
        later = numbers - numbers[:1] < numbers[-1:] - numbers
        return np.where(later, count - 1, 0), every
    if kind == "random" and count:
        one = int(np.random.default_rng(seed).integers(count))
        return np.full(count, one), every[every != one]
    return np.zeros(count, int), np.flatnonzero(numbers - numbers[:1] >= jobs.IDENTITY_DISTANCE)


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
    """An image, moved by a (2,3) matrix."""
    if pose is None:
        return image
    return cv2.warpAffine(image, pose, image.shape[1::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def scaled(images: np.ndarray, size: int = jobs.SIZE) -> np.ndarray:
    """Images (n,S,S,3) of another size."""
    if images.shape[1] == size:
        return images
    how = cv2.INTER_AREA if images.shape[1] > size else cv2.INTER_LINEAR
    return np.stack([cv2.resize(image, (size, size), interpolation=how) for image in images])


def _notes(settings, speaker, tally) -> list[str]:
    """What is to be said of a clip that is not as it should be."""
    clip, notes, ours = speaker.clip, [], speaker.clip.layout == "lipgan_keras"
    if not settings.baseline and speaker.config.crop != clip.crop and ours:
        notes.append(f"the checkpoint was trained on {speaker.config.crop} crops, and these are {clip.crop}")
    if clip.landmarks is None:
        notes.append("has no landmarks: the lips are taken to be where they are on average")
    numbers, (first, last) = clip.frames[: clip.shown], clip.frames[speaker.targets[[0, -1]]]
    missing = int(last - first) + 1 - int(np.sum((numbers >= first) & (numbers <= last)))
    if missing:
        notes.append(f"no crop of {missing} of {missing + len(speaker.targets)} true frames")
    unheard = [] if clip.has_sound else ["LSE"] * bool(settings.syncnet) + ["murmur"] * ("murmur" in settings.metrics)
    if unheard:
        notes.append(f"no {' and no '.join(unheard)}: the clip has features of its sound only")
    if tally.listener and (tally.listener.config.crop in OWN_CROPS) != (clip.crop in OWN_CROPS) and ours:
        notes.append(f"the discriminator was trained on {tally.listener.config.crop} crops, and these are {clip.crop}")
    return notes


def clip_generator(settings: Settings, job: Job) -> ClipGenerator:
    """For the clip that a job names, with what the settings name to make its mouths.

    Raises:
        UserError: the clip is too short, or one of its files cannot be read.
    """
    named, generator = (settings.checkpoint, settings.audio_offset_ms), None
    if settings.baseline:
        config = loaded.generator_config(*named)
    else:
        generator = loaded.generator(*named)
        config = generator.config
    other = Clip(job.other) if job.other else None
    seed = zlib.crc32(job.name.encode())
    return ClipGenerator(Clip(job.clip), config, generator, settings.baseline, other, seed, settings.identity)


def measure_clip(settings: Settings, job: Job, record: dict) -> None:
    """Generate a preprocessed clip's frames from its audio, and measure them; see `ClipGenerator`.

    Raises:
        UserError: the clip is too short, or one of its files cannot be read.
    """
    speaker = clip_generator(settings, job)
    clip, data, size = speaker.clip, speaker.data, speaker.config.img_size
    tally = VideoScores(settings, record)
    record["notes"] += _notes(settings, speaker, tally)
    others = [Sensitivity(speaker)] if jobs.SENSITIVITY & set(settings.metrics) else []
    if "murmur" in settings.metrics and speaker.clip.has_sound:
        others.append(Murmur(speaker))
    judged = speaker.dataset(tally.listener.config) if tally.listener else None
    begin, end = clip.start[speaker.targets[0]], clip.end[speaker.targets[-1]]
    sound = None
    if clip.has_sound:
        sound = clip.wave()[max(0, round(begin * SAMPLE_RATE)) :], SAMPLE_RATE
    paths = {name: job.place(settings.out, f".{name}.mp4") for name in ("generated", "truth")}
    with contextlib.ExitStack() as stack:
        writers = []
        for path in paths.values():
            temporary = stack.enter_context(files.replacing(path))
            writer = VideoWriter(temporary, size, size, FPS, sound, duration=end - begin if sound else None)
            writers.append(stack.enter_context(writer))
        for indices, overlap in speaker.chunks():
            truth = np.stack([data.image(0, i) for i in indices])
            made = speaker.say(indices, data.windows(0, indices))
            points = speaker.points(indices)
            masks = np.stack([regions.lip_mask(p, jobs.SIZE) for p in points])
            frames = Frames(scaled(truth), scaled(made), points, masks)
            tally.add(frames, [record["frames"] - overlap + k for k in range(len(indices))], overlap)
            record["frames"] += len(indices) - overlap
            new, indices = slice(overlap, None), indices[overlap:]
            for i, *both in zip(indices, made[new], truth[new], strict=True):
                for writer, image in zip(writers, both, strict=True):
                    writer.write(image, clip.start[i] - begin, clip.end[i] - clip.start[i])
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
    """The lip error under wrong audio, over that under the right one."""

    def __init__(self, speaker: ClipGenerator):
        self.speaker, self.sounds = speaker, speaker.wrong_sounds()
        self.errors = {name: [] for name in ("0", *self.sounds)}

    def add(
        self, indices: np.ndarray, truth: np.ndarray, generated: np.ndarray, points: np.ndarray, masks: np.ndarray
    ) -> None:
        made = {name: scaled(self.speaker.say(indices, heard(indices))) for name, heard in self.sounds.items()}
        for name, images in {"0": generated, **made}.items():
            self.errors[name].append(scoring.lip_mae(masks, truth / 255, images / 255))

    def finish(self, record: dict) -> None:
        errors = {name: np.concatenate(found) for name, found in self.errors.items()}
        found = {name: finite(register.mean(values)) for name, values in errors.items()}
        record["curves"]["lip_error_other_sound"] = found.pop("other", None)
        record["curves"]["lip_error_by_shift"] = found
        for name, values in errors.items():
            if f"sensitivity_{name}" in record["values"]:
                record["values"][f"sensitivity_{name}"] = finite(metrics_sound.error_ratio(errors["0"], values))


class Murmur:
    """How much the mouth moves under music, over how much it does under the clip's own speech."""

    def __init__(self, speaker: ClipGenerator):
        self.speaker, self.openings = speaker, Openings()

    def add(
        self, indices: np.ndarray, truth: np.ndarray, generated: np.ndarray, points: np.ndarray, masks: np.ndarray
    ) -> None:
        made = scaled(self.speaker.say(indices, self.speaker.hear_music(indices)))
        self.openings.add(points, made, generated)

    def finish(self, record: dict) -> None:
        record["values"]["murmur"] = finite(movement.murmur(*self.openings.found()))
