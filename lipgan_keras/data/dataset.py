"""Preprocessed clips -> batches for training, and the fixed samples of a validation.

A batch depends on the seed and its number alone, so that a resumed run sees what an unbroken one would have seen. What
cannot be read makes way for what the same seed draws next, whenever that is found.
"""

import contextlib
import hashlib
import zlib
from collections.abc import Callable, Sequence

import numpy as np

from .. import unsynced
from ..audio import WindowClock
from ..config import FPS, MOUTH_SIZE, WINDOW_SHAPE, ModelConfig
from ..face import cropping, regions
from ..face.regions import assemble
from ..unsynced import rounded, unsynced_order
from ..utils.errors import UserError
from . import augment, augment_audio, mel_bank
from .augment import ImageChange
from .augment_audio import Sound
from .clip_folder import Clip, is_cut
from .frame_cache import BROKEN, UNKNOWN, Cache, FrameCache, Unreadable
from .mel_bank import MelBank
from .order import MIN_DISTANCE, Order, longest_run, run_starts

MAX_REDRAWS = 100  # until the sounds of a batch are given up as all the same
SAME_SOUND = 3  # windows of a clip that are fewer frames apart make no unsynced pair
SHIFTED = 2  # hard negatives of a lip-sync sample: its own clip's audio at other times


class Dataset:
    """Batches for `gan.LipGAN` from clips.

    A sample of the generator is one frame. For the lip-sync discriminator half of the batch is runs of T consecutive
    ones, never across a gap or a cut, with one identity frame and one augmentation each. (Not all of it: neighbours are
    so much alike that a batch of runs alone taught the generator less in a step.)

    Args:
        config: gives front end, image size, how audio windows align to frames, and the frames of a lip-sync sample.
        batch_size: frames a batch; without a generator, lip-sync samples a batch.
        seed: decides everything.
        generator: whether to yield samples for a generator.
        pairs: whether each batch also says which audio is unsynced for which face, and tosses a coin.
        sync: whether to yield samples for the lip-sync discriminator, runs of `config.sync_frames` real frames: the
            generator's own runs first, then others.
        sync_runs: how many of those in all; None: `batch_size`.
        augmentation: names of `augment.NAMES`.
        sound: what changes the audio, where "gain" or "noise" are among them.
        cache_bytes: memory for decoded images, which all threads share; as much again for features, and for sound
            where it is augmented.
        shared: whether processes are to make its batches; see `loader.Loader`.
        balance: what is drawn equally often, of `order.BALANCES`.

    Raises:
        UserError: the batch is too small, or no clip has such a run.
    """

    def __init__(
        self,
        clips: list[Clip],
        config: ModelConfig,
        batch_size: int,
        seed: int = 0,
        generator: bool = True,
        pairs: bool = True,
        sync: bool = False,
        sync_runs: int | None = None,
        augmentation: Sequence[str] = (),
        sound: Sound | None = None,
        cache_bytes: int = 2 << 30,
        shared: bool = False,
        balance: str = "frames",
    ):
        self.clips = clips
        self.config = config
        self.seed = seed
        self.pairs = generator and pairs
        self.frames = config.sync_frames if sync else 1
        self.runs = max(1, batch_size // (2 * self.frames)) if generator and sync else 0  # of the generator
        self.samples = self.runs + batch_size - self.runs * self.frames if generator else 0
        self.sync_samples = max(self.runs, batch_size if sync_runs is None else sync_runs) if sync else 0
        lengths = [self.frames if i < self.runs else 1 for i in range(self.samples)]
        self.sample_of = np.repeat(np.arange(self.samples), lengths)  # of each frame of a batch
        self.augmentation = tuple(augmentation)
        self.sound = sound
        if generator and batch_size < self.frames:
            raise UserError(f"batch_size {batch_size} holds no run of {self.frames} frames; use at least {self.frames}")
        if self.pairs and batch_size < 2:
            raise UserError("batch_size 1 makes no unsynced pair; use at least 2")
        if sync and not generator and batch_size < 2:
            raise UserError(f"batch_size {batch_size} makes no unsynced pair; use at least 2")
        self.images = FrameCache(clips, config.img_size, cache_bytes, shared)
        self.features, self.waves = Cache(cache_bytes), Cache(cache_bytes)
        starts = [run_starts(clip.frames, self.frames, clip.shown) for clip in clips]
        if not sum(map(len, starts)):
            longest = max((longest_run(clip.frames[: clip.shown]) for clip in clips), default=0)
            raise UserError(
                f"--sync_frames {self.frames}: no clip has so many frames in a row and an identity frame besides (the "
                f"longest run has {longest}); use fewer, or longer clips"
            )
        self.starts = starts
        self.clip_of = np.repeat(np.arange(len(clips)), [len(s) for s in starts])
        self.frame_of = np.concatenate(starts)
        speakers = np.array([clip.speaker for clip in clips])[self.clip_of] if balance == "speakers" else None
        self.order = Order(len(self), seed, speakers)
        self._labels, self._tracks, self._levels, self._cuts = {}, {}, {}, {}

    def share_budget(self, processes: int) -> None:
        """Keep so many times less of features and audio, of which each process has its own."""
        self.features, self.waves = (Cache(cache.budget // processes) for cache in (self.features, self.waves))

    def __len__(self) -> int:
        """How many frames there are, or runs of T where these are asked for; an epoch begins a sample at each."""
        return len(self.clip_of)

    def image(self, clip: int, frame: int) -> np.ndarray:
        """(size,size,3) uint8 BGR."""
        return self.images.run(clip, frame, 1)[0]

    def points(self, clip: int, frame: int) -> np.ndarray:
        """(5,2) float32 landmarks in pixels of the crop; the default region's where the folder has none."""
        return self._points(clip, frame, 1)[0]

    def _points(self, clip, first, count):
        """(count,5,2) of a run."""
        points = self.clips[clip].points(slice(first, first + count), self.config.img_size)
        return np.stack([regions.default_landmarks(self.config.img_size, "dlib")] * count) if points is None else points

    def window(self, clip: int, frame: int) -> np.ndarray:
        """(80,27,1) or (12,35,1) float32, what the network hears for a frame."""
        return self.windows(clip, [frame])[0]

    def windows(self, clip: int, indices: Sequence[int], change: Callable | None = None) -> np.ndarray:
        """(n,80,27,1) or (n,12,35,1) float32, what the network hears for frames of a clip.

        Args:
            change: an `augment_audio.Change` of the samples before they become features; does nothing where a folder
                keeps features in place of audio.
        """
        item, clock, indices = self.clips[clip], WindowClock.of(self.config), list(indices)
        if item.layout == "lipgan_mfcc":  # no audio, but windows centred on each frame: the nearest to the moment
            numbers = item.frames[indices] + clock.offset_ms / 1000 * FPS
            others = [int(np.abs(item.frames - number).argmin()) for number in numbers]
            saved = [self.features.get((clip, o), lambda o=o: item.saved_window(o)) for o in others]
            return np.stack(saved)[..., None]
        times = item.start[indices], item.end[indices]
        if change is None or not item.has_sound:
            return clock.windows(self.features.get(clip, lambda: item.features(clock.kind)), *times)
        bank = self._bank(clip)
        return clock.windows_of(bank.wave * bank.unit, *times, lambda stretch: change(stretch, bank.level))

    def _bank(self, clip):
        bank = self.waves.items.get(clip)
        if bank is None:
            wave = self.clips[clip].samples()
            bank = MelBank(wave, self._levels.get(clip))
            self._levels[clip] = bank.level
            if bank.nbytes <= self.waves.left:
                bank.wave = np.array(wave)  # not in the file: there may be more of those than can be mapped
            bank = self.waves.get(clip, lambda: bank)
        return bank

    def _sounds(self, runs, frames, rng, out=None):
        """(n,80,27,frames) or (n,12,35,frames), heard in n runs (clip, first frame), each changed by its own draw."""
        heard = np.empty((len(runs), *WINDOW_SHAPE[self.config.audio], frames), np.float32) if out is None else out
        changes = self.sound.changes(rng, len(runs)) if self.sound else [None] * len(runs)
        many = [
            i
            for i, (clip, _) in enumerate(runs)
            if self.sound and self.config.audio == "mel" and self.clips[clip].has_sound
        ]
        for i in set(range(len(runs))).difference(many):
            clip, first = runs[i]
            heard[i] = np.moveaxis(self.windows(clip, range(first, first + frames), changes[i])[..., 0], 0, -1)
        if not many:
            return heard
        starts, ends = np.empty((2, len(many), frames))
        for start, end, i in zip(starts, ends, many, strict=True):
            clip, first = runs[i]
            start[:], end[:] = (
                times[first : first + frames] for times in (self.clips[clip].start, self.clips[clip].end)
            )
        times = WindowClock.of(self.config).centres(starts, ends)
        banks, changes = [self._bank(runs[i][0]) for i in many], [changes[i] for i in many]
        gains, noisy = [change.gain for change in changes], [change.noisy for change in changes]

        def hear(some, stretches):
            return augment_audio.hear([changes[k] for k in some], stretches, [banks[k].level for k in some])

        place = heard if len(many) == len(runs) else None
        windows = augment_audio.speak(changes, mel_bank.changed_windows(banks, times, gains, noisy, hear, place))
        if place is None:
            heard[many] = windows
        return heard

    def batch(self, number: int) -> tuple[dict[str, np.ndarray]]:
        """Batch `number` of the endless sequence, as `gan.make_batch` makes it; faces and targets are uint8.

        Samples for which the batch holds no unsynced sound (all the others silent as well, or neighbours in one clip)
        make way for random ones.

        Raises:
            UserError: hardly a file can be read, or the clips hold nothing but one sound.
        """
        while True:
            with contextlib.suppress(Unreadable):  # which is known from now on, and passed over
                return (self._batch(np.random.default_rng([self.seed, number]), number),)

    def _batch(self, rng, number):
        self.images.forget()
        batch = {}
        chosen = [self._place(i, self._target(number * self.samples + i), rng) for i in range(self.samples)]
        if self.pairs:
            batch |= self._pair(chosen, rng)
        changes = ImageChange.draw(rng, len(chosen), self.config.img_size, self.augmentation)
        if self.samples:
            batch |= self._faces(chosen, changes, rng)
            heard = [self._sounds(chosen[: self.runs], self.frames, rng), self._sounds(chosen[self.runs :], 1, rng)]
            frames = [np.moveaxis(x, -1, 1).reshape(-1, *x.shape[1:3], 1) for x in heard]
            batch["audio"] = np.concatenate(frames)
        if self.sync_samples:
            batch |= self._sync(number, chosen, changes, heard[0] if self.samples else None, rng)
        return batch

    def _faces(self, chosen, changes, rng):
        """Faces, targets and masks of a batch, and what cuts the mouths out of the generator's own runs."""
        size, count = self.config.img_size, len(self.sample_of)
        inputs, targets = np.zeros((count, size, size, 6), np.uint8), np.empty((count, size, size, 3), np.uint8)
        points = []
        at = 0
        for i, ((clip, first), change) in enumerate(zip(chosen, changes, strict=True)):
            length = self.frames if i < self.runs else 1
            identity = self.image(clip, self._identity(clip, first, first + length - 1, rng))
            inputs[at : at + length, ..., :3] = change.apply(identity, identity=True)
            points.append(change.points(self._points(clip, first, length)))
            run, above = slice(at, at + length), self._like_held(clip, first, length, rng)
            targets[run] = [change.apply(one) for one in self.images.run(clip, first, length)]
            if above != first:
                others = [change.apply(one)[: size // 2] for one in self.images.run(clip, above, length)]
                targets[run, : size // 2] = others
            at += length
        inputs[..., 3:] = regions.without_lower_half(targets)
        masks = regions.lip_mask(np.concatenate(points), size)[..., None]
        batch = {"faces": inputs, "targets": targets, "masks": masks}
        if self.runs:
            boxes = regions.mouth_box(np.stack(points[: self.runs]))
            batch["crop_rows"], batch["crop_columns"] = cropping.crop_matrices(
                boxes, size, MOUTH_SIZE, np.ones(self.runs), np.zeros((self.runs, 2, 2))
            )
        return batch

    def _identity(self, clip, first, last, rng):
        """A random frame that is far from the frames `first` to `last`."""
        numbers = self.clips[clip].frames
        before = int(np.searchsorted(numbers, numbers[first] - MIN_DISTANCE, "right"))
        after = int(np.searchsorted(numbers, numbers[last] + MIN_DISTANCE))
        for _ in range(MAX_REDRAWS):
            drawn = int(rng.integers(before + len(numbers) - after))
            drawn = drawn if drawn < before else drawn - before + after
            if self.images.can_read(clip, drawn):
                return drawn
        return first  # hardly one can be read

    def _like_held(self, clip, first, length, rng):
        """Where the upper half of a run is taken from: with "upper" mostly from another moment, at which the head was
        held much the same. What nose and cheeks tell of the mouth is then wrong, and only the audio is right.
        """
        if "upper" not in self.augmentation or rng.random() >= augment.UPPER:
            return first
        item = self.clips[clip]
        starts = self.starts[clip] if length > 1 else np.arange(item.shown)
        starts = starts[np.abs(item.frames[starts] - item.frames[first]) >= length + SAME_SOUND - 1]
        points = item.points(slice(0, item.shown), self.config.img_size)
        if not len(starts) or points is None:
            return first
        starts = rng.choice(starts, -(-len(starts) // 2), replace=False)
        held = points[:, :3].reshape(item.shown, -1)
        unlike = [np.abs(held[at : at + length] - held[first : first + length]).sum() for at in starts]
        above = int(starts[np.argmin(unlike)])
        return above if self.usable(clip, above, length) else first

    def _place(self, i, run, rng):
        """Where sample `i` of a batch begins: at a run without a cut, or at any frame of one."""
        if i < self.runs:
            return self._whole(run, rng)
        for _ in range(MAX_REDRAWS):
            place = run[0], run[1] + (int(rng.integers(self.frames)) if self.frames > 1 else 0)
            if self.usable(*place):
                return place
            run = self._any(rng)
        raise UserError(f"{self.images.trouble} (and hardly anything else of these clips can be read)")

    def usable(self, clip: int, first: int, count: int = 1) -> bool:
        """Whether the images of a run can be read, and its clip's sound."""
        readable = all(self.images.can_read(clip, frame) for frame in range(first, first + count))
        return readable and self.can_hear(clip)

    def can_hear(self, clip: int) -> bool:
        """Whether a clip's sound can be read."""
        if self.images.sounds[clip] == UNKNOWN:
            item = self.clips[clip]
            try:
                self._window_labels(clip) if item.layout == "lipgan_mfcc" else self.soundtrack(clip)
                if self.sound and item.has_sound:
                    self._bank(clip)
                self.images.note_sound(clip, None)
            except UserError as error:
                self.images.note_sound(clip, error)
        return self.images.sounds[clip] != BROKEN

    def _pair(self, chosen, rng):
        """The unsynced sound of each frame and the coin; replaces samples that find none."""
        for _ in range(MAX_REDRAWS):
            same = self._same_sound(chosen)
            alone = np.unique(self.sample_of[same.all(axis=1)])
            if not len(alone):
                break
            for i in alone[1:] if len(alone) > 1 else alone:
                chosen[i] = self._place(i, self._any(rng), rng)
        return unsynced.pairs(unsynced_order(same), bool(rng.integers(2)))

    def _same_sound(self, chosen):
        """(B,B) bool: pairs of frames that would be in sync, because they sound alike or are neighbours in a clip."""
        within = np.arange(len(self.sample_of)) - np.searchsorted(self.sample_of, self.sample_of)
        clips, firsts = np.array(chosen)[self.sample_of].T
        return self._in_sync(list(zip(clips, firsts + within, strict=True)), 1)

    def _in_sync(self, runs, frames):
        """(n,n) bool: which of n runs (clip, first frame) are in sync with which other's sound.

        Judged by the audio before augmentation: it is the same at nearly the same time of one soundtrack, which clips
        may share, or because it is the same in itself, as two pauses are. Of people who listen the mouth is at rest,
        whatever they hear: each is in sync with what the others hear.
        """
        tracks = np.array([self.soundtrack(clip) for clip, _ in runs])
        times = np.array([self.clips[clip].start[first] for clip, first in runs])
        near = (tracks[:, None] == tracks) & (np.abs(times[:, None] - times) < (SAME_SOUND - 0.5) / FPS)
        first, last = np.array([self._window_labels(clip)[[first, first + frames - 1]] for clip, first in runs]).T
        resting = [not self.clips[clip].spoken[first : first + frames].any() for clip, first in runs]
        same = (first[:, None] == first) & (last[:, None] == last)  # the others lie between
        return near | same | np.outer(resting, resting)

    def _window_labels(self, clip):
        """(n,) a number for each shown frame, which those share whose windows are equal to the third decimal."""
        if clip not in self._labels:
            labels = []
            for start in range(0, self.clips[clip].shown, 256):
                windows = self.windows(clip, range(start, min(start + 256, self.clips[clip].shown)))
                labels += [
                    int.from_bytes(hashlib.blake2b(row, digest_size=8).digest(), "big") for row in rounded(windows)
                ]
            self._labels[clip] = np.array(labels, np.uint64)
        return self._labels[clip]

    def soundtrack(self, clip: int) -> int:
        """A number that clips of equal sound share."""
        if clip not in self._tracks:
            item, number = self.clips[clip], clip
            if item.layout != "lipgan_mfcc":
                features = self.features.get(clip, lambda: item.features(self.config.audio))
                number = zlib.crc32(features.tobytes()) + (features.shape[1] << 32)
            self._tracks[clip] = number
        return self._tracks[clip]

    def _sync(self, number, chosen, changes, heard, rng):
        """What the lip-sync discriminator compares; see `gan.make_batch`. `heard`: by the generator's own runs."""
        n, own = self.sync_samples, self.runs
        others = [self._whole(self._target(number * n + i, stream=2), rng) for i in range(own, n)]
        chosen = list(chosen[:own]) + others
        changes = changes[:own] + ImageChange.draw(rng, len(others), self.config.img_size, self.augmentation)
        shifted = [(clip, self.shifted(clip, first, rng)) for clip, first in chosen for _ in range(SHIFTED)]
        sounds = np.empty((n + len(shifted), *WINDOW_SHAPE[self.config.audio], self.frames), np.float32)
        if own:
            sounds[:own] = heard
        self._sounds(others + shifted, self.frames, rng, sounds[own:])
        wrong = ~self._in_sync(chosen + shifted, self.frames)[:n]
        relation = np.eye(n, len(sounds), dtype="float32") - wrong
        return {"mouths": self._mouths(chosen, changes), "sounds": sounds, "relation": relation}

    def shifted(self, clip: int, first: int, rng: np.random.Generator) -> int:
        """Another run of the clip for a hard negative: `SAME_SOUND` frames away or more, near where it can be."""
        numbers = self.clips[clip].frames[self.starts[clip]]
        distance = np.abs(numbers - self.clips[clip].frames[first])
        near = np.flatnonzero((distance >= SAME_SOUND) & (distance <= FPS))
        at = near[int(rng.integers(len(near)))] if len(near) else distance.argmax()
        return int(self.starts[clip][at])

    def _target(self, position, stream=1):
        return self._run(self.order.at(position, stream))

    def _any(self, rng):
        return self._run(self.order.any(rng))

    def _run(self, at):
        return int(self.clip_of[at]), int(self.frame_of[at])

    def _whole(self, run, rng):
        """The run, or a random other where a cut goes through it."""
        for _ in range(MAX_REDRAWS):
            if self.is_whole(*run):
                return run
            run = self._any(rng)
        why = self.images.trouble if BROKEN in (*self.images.there, *self.images.sounds) else "use fewer"
        raise UserError(f"--sync_frames {self.frames}: hardly a run of so many frames has no cut in it; {why}")

    def is_whole(self, clip: int, first: int) -> bool:
        """Whether the run that begins there can be read, and no cut goes through it."""
        return self.usable(clip, first, self.frames) and not any(
            self._is_cut(clip, frame) for frame in range(first, first + self.frames - 1)
        )

    def _is_cut(self, clip, frame):
        known = self._cuts.setdefault(clip, bytearray(len(self.clips[clip].frames)))  # 0: not yet
        if not known[frame]:
            known[frame] = 2 if is_cut(*self.images.run(clip, frame, 2)) else 1
        return known[frame] == 2

    def heard(self, clip: int, first: int, rng: np.random.Generator, frames: int | None = None) -> np.ndarray:
        """(T,80,27,1) or (T,12,35,1), the augmented windows of a run or of `frames` frames."""
        return np.moveaxis(self._sounds([(clip, first)], frames or self.frames, rng), -1, 1)[0][..., None]

    def sync_sample(self, clip: int, first: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Mouths (48,48,3T) float32 in 0..1 and the audio (T,80,27,1) or (T,12,35,1) of a run of real frames."""
        drawn = ImageChange.draw(rng, 1, self.config.img_size, self.augmentation)
        return self._mouths([(clip, first)], drawn)[0], self.heard(clip, first, rng)

    def _mouths(self, chosen, changes):
        """(n,48,48,3T) float32, of n runs of real frames."""
        points = [self._points(clip, first, self.frames) for clip, first in chosen]
        boxes = regions.mouth_box(np.stack([change.points(p) for change, p in zip(changes, points, strict=True)]))
        runs = [self.images.run(clip, first, self.frames) for clip, first in chosen]
        return augment.mouths(changes, runs, boxes, MOUTH_SIZE)

    def sample(self, clip: int, frame: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """A frame for the generator, its identity frame chosen by `rng`.

        Returns:
            faces (1,96,96,6), audio (1,80,27,1) or (1,12,35,1), targets (1,96,96,3), masks (1,96,96,1), all float32 in
            0..1 but the audio.
        """
        size = self.config.img_size
        identity = self.image(clip, self._identity(clip, frame, frame, rng))
        (change,) = ImageChange.draw(rng, 1, size, self.augmentation)
        face, target = assemble(change.apply(identity, identity=True), change.apply(self.image(clip, frame)))
        mask = regions.lip_mask(change.points(self.points(clip, frame)), size)
        audio = self.heard(clip, frame, rng, 1)
        return {"faces": face[None], "audio": audio, "targets": target[None], "masks": mask[None, ..., None]}
