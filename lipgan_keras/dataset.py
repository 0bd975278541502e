"""Preprocessed clips -> batches for training, and the fixed samples of a validation.

A batch depends on the seed and its number alone, so that a resumed run sees what an unbroken one would have seen.
"""

import hashlib
import io
import itertools
import os
import threading
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from . import audio as sound
from . import augment, faces, loading, pack
from .cli import UserError
from .config import MOUTH_SIZE, ModelConfig
from .pairs import pairs, rounded, unsynced_order

FPS = 25  # of every preprocessed folder
MIN_FRAMES = 12  # shorter clips are left out, as in the reference
MIN_DISTANCE = 6  # frames between a target and its identity frame, likewise
MAX_REDRAWS = 100  # until the sounds of a batch are given up as all the same
SAME_SOUND = 3  # windows of a clip that are fewer frames apart make no unsynced pair
SHIFTED = 2  # hard negatives of a lip-sync sample: its own clip's sound at other times
CUT = 30  # grey levels by which the middle of a picture's parts change at a cut


class Cache:
    """Keeps what `get` loads until a budget of bytes is spent; later keys are loaded each time."""

    def __init__(self, budget: int):
        self.budget = self.left = budget
        self.items = {}
        self.lock = threading.Lock()

    def get(self, key, load):
        item = self.items.get(key)
        if item is None:
            item = load()
            with self.lock:
                if key not in self.items and item.nbytes <= self.left:
                    self.left -= item.nbytes
                    self.items[key] = item
        return item

    def __getstate__(self):
        return self.budget

    def __setstate__(self, budget):
        self.__init__(budget)


class Pictures:
    """Decoded pictures of clips, which all threads share, and processes if it is `shared`.

    Args:
        clips: theirs.
        size: side in pixels to which they are brought.
        budget: bytes; those for which there is no room are decoded each time.
        shared: whether it is to be handed to processes.
    """

    def __init__(self, clips: list["Clip"], size: int, budget: int, shared: bool = False):
        self.clips, self.size = clips, size
        *self.firsts, frames = itertools.accumulate((len(clip.frames) for clip in clips), initial=0)
        self.count = min(frames, int(budget) // (3 * size**2 + 1))
        needed = self.count * (3 * size**2 + 1)
        self.memory = loading.SharedMemory(needed) if shared else None
        self._divide(np.zeros(needed, np.uint8) if self.memory is None else self.memory.bytes)

    def _divide(self, memory):
        """Pictures, and which of them are there."""
        self.pictures = memory[self.count :].reshape(self.count, self.size, self.size, 3)
        self.there = memory[: self.count].data

    def __getstate__(self):
        return {name: value for name, value in self.__dict__.items() if name not in ("pictures", "there")}

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._divide(self.memory.bytes)

    def run(self, clip: int, first: int, count: int) -> np.ndarray:
        """(count,size,size,3) uint8 BGR; not to be written to."""
        at = self.firsts[clip] + first
        if at + count > self.count:
            return np.stack([self.clips[clip].picture(i, self.size) for i in range(first, first + count)])
        for i in range(count):
            if not self.there[at + i]:  # those that decode the same one at once do no harm
                self.pictures[at + i] = self.clips[clip].picture(first + i, self.size)
                self.there[at + i] = 1
        return self.pictures[at : at + count]


class Clip:
    """One preprocessed clip, by whichever program; a folder, or what a pack holds of one (see `pack`).

    The layouts, told apart by what is in the folder:
        "lipgan_keras": N.jpg, audio.wav, mels.npz and landmarks.npz (each saved frame's source time and landmarks);
        "lipgan_mel": N.jpg (video frame N+4), audio.wav, mels.npz;
        "lipgan_mfcc": N.jpg (video frame N+4) and N.npz, its MFCC window; no sound;
        "wav2lip": N.jpg (video frame N), audio.wav.
    In a pack audio.flac stands for audio.wav, and mels.npz may be missing: features are then computed.

    Attributes:
        frames: (n,) int, the numbers N of the pictures, ascending; gaps where no face was found.
        start, end: (n,) float seconds on the sound's clock, when each frame is shown.
        shown: how many frames are. Those after them, of no duration, are other pictures of the face: for identity
            frames.
        front_ends: those of "mel" and "mfcc" that the clip can train.
        landmarks: (n,5,2) float32 in pixels of the saved pictures, or None where the folder has none.
        saved_size: side of the saved pictures in pixels, or None where the folder does not say it.
        has_sound: whether there is a sound to change, and not its features alone; its file is `sound_file`, or None.
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = Path(folder)
        self.packed = None if self.folder.is_dir() else _packed(self.folder)
        names = set(os.listdir(folder) if self.packed is None else self.packed)
        numbers = [int(name[:-4]) for name in names if name.endswith(".jpg") and name[:-4].isdecimal()]
        self.frames = np.array(sorted(numbers), dtype=np.int64)
        self.landmarks = self.saved_size = None
        self.sound_file = next((name for name in ("audio.wav", pack.SOUND) if name in names), None)
        self.has_sound = self.sound_file is not None
        self.has_mel = "mels.npz" in names
        shift = 0
        if "landmarks.npz" in names:
            self.layout = "lipgan_keras"
        elif self.has_mel:
            self.layout, shift = "lipgan_mel", 4
        elif any(f"{number}.npz" in names for number in numbers):
            self.layout, shift = "lipgan_mfcc", 4
            self.frames = np.array([n for n in self.frames if f"{n}.npz" in names], dtype=np.int64)
        else:
            self.layout = "wav2lip"
        if self.layout == "lipgan_mfcc":
            self.front_ends = {"mfcc"}
        elif self.has_sound:
            self.front_ends = {"mel", "mfcc"}
        else:
            self.front_ends = {"mel"} if self.has_mel else set()
        self.start = (self.frames + shift) / FPS
        self.end = self.start + 1 / FPS
        self.shown = len(self.frames)
        if self.layout == "lipgan_keras":
            self._read_landmarks()

    def __getstate__(self):
        return self.__dict__ | {"packed": None if self.packed is None else ()}

    def __setstate__(self, state):
        self.__dict__.update(state)
        if self.packed is not None:
            self.packed = _packed(self.folder)

    def read(self, name: str) -> bytes | memoryview:
        """What one of its files holds.

        Raises:
            OSError: it cannot be read.
        """
        return (self.folder / name).read_bytes() if self.packed is None else self.packed[name]

    def _read_landmarks(self):
        path = self.folder / "landmarks.npz"
        arrays = self._load_npz("landmarks.npz", "frames", "landmarks", "time", "duration", "img_size")
        frames, landmarks, time, duration, size = arrays
        n = frames.size
        if [x.shape for x in arrays] != [(n,), (n, 5, 2), (n,), (n,), ()] or not size > 0:
            raise UserError(f"{path}: its arrays do not fit together; preprocess this clip again")
        self.frames, _, rows = np.intersect1d(self.frames, frames.astype(np.int64), return_indices=True)
        self.landmarks, self.saved_size = landmarks[rows].astype("float32"), int(size)
        self.start = time[rows].astype(float)
        self.end = self.start + duration[rows]
        self.shown = int(np.flatnonzero(self.end > self.start).max(initial=-1)) + 1

    def features(self, kind: str) -> np.ndarray:
        """(80,T) or (12,T) float32 of the whole sound."""
        if kind == "mel" and self.has_mel:
            (mel,) = self._load_npz("mels.npz", "spec")
            if mel.ndim == 2 and 80 in mel.shape:
                return (mel if mel.shape[0] == 80 else mel.T).astype("float32")
            raise UserError(
                f"{self.folder / 'mels.npz'}: spec has shape {mel.shape}, not (80,T); preprocess this clip again"
            )
        return sound.features(self.wave(), kind)

    def picture(self, index: int, size: int) -> np.ndarray:
        """(size,size,3) uint8 BGR."""
        name = f"{self.frames[index]}.jpg"
        try:
            data = np.frombuffer(self.read(name), np.uint8)
        except OSError:
            data = ()
        image = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
        if image is None:
            raise UserError(f"{self.folder / name}: cannot be read as a picture; preprocess this clip again")
        if image.shape[:2] != (size, size):
            shrinks = min(image.shape[:2]) > size
            image = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        return image

    def points(self, index: int | slice, size: int) -> np.ndarray | None:
        """(5,2) or (n,5,2) float32, the landmarks of frames in a picture of `size`; None where the folder has none."""
        if self.landmarks is None:
            return None
        return self.landmarks[index] * np.float32(size / self.saved_size)

    def wave(self) -> np.ndarray:
        """(samples,) float32, 16 kHz mono."""
        return sound.load_audio(
            self.folder / self.sound_file, data=None if self.packed is None else self.read(self.sound_file)
        )

    def samples(self) -> np.ndarray:
        """`wave`, or 32768 times that as int16 and memory-mapped."""
        samples = sound.pcm(self.folder / self.sound_file) if self.packed is None else None
        return self.wave() if samples is None else samples

    def saved_window(self, index: int) -> np.ndarray:
        """(12,35) float32, the MFCC window that the original saved with a frame."""
        path = self.folder / f"{self.frames[index]}.npz"
        (saved,) = self._load_npz(path.name, "mfcc")
        window = np.squeeze(saved).astype("float32")
        if window.shape != sound.WINDOW_SHAPE["mfcc"]:
            raise UserError(f"{path}: mfcc has shape {saved.shape}, not (12,35); preprocess this clip again")
        return window

    def _load_npz(self, name, *keys):
        return _load_npz(self.folder / name, *keys, read=lambda path: self.read(path.name))


# numpy parses an array's header with `ast`, and in Python 3.11 that fails now and then while another thread does so too
# (python/cpython#106905): threads take turns, and where TensorFlow was the other one they try again.
_READING = threading.Lock()


def _load_npz(path, *keys, read=Path.read_bytes):
    """The arrays `keys` of an npz file; all of them numbers."""
    try:
        data = read(path)
        for again in reversed(range(5)):
            try:
                with _READING, np.load(io.BytesIO(data), allow_pickle=False) as saved:
                    missing = [key for key in keys if key not in saved.files]
                    arrays = [saved[key] for key in keys if not missing]
                break
            except SystemError:
                if not again:
                    raise
        if any(array.dtype.kind not in "fiu" for array in arrays):
            raise ValueError("not numbers")
    except (
        OSError,
        ValueError,
        AttributeError,
        TypeError,
        EOFError,
        MemoryError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise UserError(f"{path}: cannot be read ({' '.join(str(error).split())[:80]}); preprocess it again") from error
    if missing:
        raise UserError(f"{path}: has no array {missing[0]!r}; preprocess this clip again")
    return arrays


def _packed(folder):
    path = pack.file_of(folder)
    found = pack.read(path).get(folder) if path else None
    if found is None:
        raise UserError(f"{folder}: no such clip; give a folder that preprocess.py wrote, or one in a pack of them")
    return found


def find_clips(
    data_root: str | os.PathLike, audio: str, progress: bool = True, broken: dict[Path, str] | None = None
) -> list[Clip]:
    """Every clip below `data_root`, a folder or a pack, that can train the front end `audio`, sorted by path.

    Args:
        broken: takes in the folders that cannot be read, and why; without it they are an error.

    Raises:
        UserError: no such folder, no clip in it, none for this front end, all of under 12 frames, or one is broken.
    """
    clips = []
    for folder in tqdm(pack.clip_folders(data_root), "clips", unit="clip", disable=not progress, leave=False, delay=1):
        try:
            clips.append(Clip(folder))
        except UserError as error:
            if broken is None:
                raise
            broken[Path(folder)] = str(error)
    if not clips:
        raise UserError(
            f"{data_root}: holds no preprocessed clip (folders of 0.jpg, 1.jpg, ...); run preprocess.py first"
        )
    usable = [clip for clip in clips if audio in clip.front_ends]
    if not usable:
        raise UserError(f"{data_root}: none of its {len(clips)} clips has sound for --audio {audio}; try the other one")
    long = [clip for clip in usable if clip.shown >= MIN_FRAMES]
    if not long:
        raise UserError(
            f"{data_root}: all of its {len(usable)} clips have under {MIN_FRAMES} frames; training needs longer ones"
        )
    return long


def split_clips(
    clips: list[Clip], val_fraction: float, seed: int, filelists: str | os.PathLike | None = None
) -> tuple[list[Clip], list[Clip]]:
    """(training, validation) clips: by `train.txt` and `val.txt` in `filelists` where they are, else at random.

    List files are as `pack.read_list` says. Where there is a `val.txt`, `val_fraction` counts for nothing. One clip
    alone is trained on, and none held out.

    Raises:
        UserError: there is no `train.txt`, or a list file cannot be read or names none of the clips.
    """
    if filelists is not None:
        train = _listed(clips, Path(filelists) / "train.txt")
        if train is None:
            raise UserError(f"{filelists}: has no train.txt; leave --filelists away to train on every clip")
        validation = _listed(clips, Path(filelists) / "val.txt")
        if validation is not None:
            return train, validation
        clips = train
    held_out = min(max(round(len(clips) * val_fraction), 1 if val_fraction else 0), len(clips) - 1)
    chosen = set(np.random.default_rng(seed).permutation(len(clips))[:held_out].tolist())
    train = [clip for i, clip in enumerate(clips) if i not in chosen]
    return train, [clip for i, clip in enumerate(clips) if i in chosen]


def _listed(clips, path):
    names = pack.read_list(path)
    if names is None:
        return None
    chosen = [clip for clip in clips if pack.is_named(clip.folder, names)]
    if not chosen:
        raise UserError(
            f"{path}: names none of the clips below --data_root by <video>/<clip>; preprocess that list's too"
        )
    return chosen


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
        sound: what changes the sound, where "gain" or "noise" are among them.
        cache_bytes: memory for decoded pictures, which all threads share; as much again for features, and for sound
            where it is augmented.
        shared: whether processes are to make its batches; see `loading.Loader`.

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
        sound: augment.Sound | None = None,
        cache_bytes: int = 2 << 30,
        shared: bool = False,
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
        self.pictures = Pictures(clips, config.img_size, cache_bytes, shared)
        self.features, self.waves = Cache(cache_bytes), Cache(cache_bytes)
        starts = [_run_starts(clip.frames, self.frames, clip.shown) for clip in clips]
        if not sum(map(len, starts)):
            longest = max((_longest_run(clip.frames[: clip.shown]) for clip in clips), default=0)
            raise UserError(
                f"--sync_frames {self.frames}: no clip has so many frames in a row and an identity frame besides (the "
                f"longest run has {longest}); use fewer, or longer clips"
            )
        self.starts = starts
        self.clip_of = np.repeat(np.arange(len(clips)), [len(s) for s in starts])
        self.frame_of = np.concatenate(starts)
        self._labels, self._tracks, self._levels, self._cuts, self._orders = {}, {}, {}, {}, {}
        self._lock = threading.Lock()

    def __getstate__(self):
        return self.__dict__ | {"_lock": None, "_orders": {}}

    def __setstate__(self, state):
        self.__dict__.update(state, _lock=threading.Lock())

    def share_budget(self, processes: int) -> None:
        """Keep so many times less of features and sound, of which each process has its own."""
        self.features, self.waves = (Cache(cache.budget // processes) for cache in (self.features, self.waves))

    def __len__(self) -> int:
        """How many frames there are, or runs of T where runs are asked for:
        one epoch begins a sample at each of them.
        """
        return len(self.clip_of)

    def picture(self, clip: int, frame: int) -> np.ndarray:
        """(size,size,3) uint8 BGR."""
        return self.pictures.run(clip, frame, 1)[0]

    def points(self, clip: int, frame: int) -> np.ndarray:
        """(5,2) float32 landmarks in pixels of the crop; the default region's where the folder has none."""
        return self._points(clip, frame, 1)[0]

    def _points(self, clip, first, count):
        """(count,5,2) of a run."""
        points = self.clips[clip].points(slice(first, first + count), self.config.img_size)
        return np.stack([faces.default_landmarks(self.config.img_size, "dlib")] * count) if points is None else points

    def window(self, clip: int, frame: int) -> np.ndarray:
        """(80,27,1) or (12,35,1) float32, what the network hears for a frame."""
        return self.windows(clip, [frame])[0]

    def windows(self, clip: int, indices: Sequence[int], change: Callable | None = None) -> np.ndarray:
        """(n,80,27,1) or (n,12,35,1) float32, what the network hears for frames of a clip.

        Args:
            change: what `augment.Sound.change` drew, for the samples before they become features; does nothing where a
                folder keeps features in place of sound.
        """
        kind, item, offset_ms = self.config.audio, self.clips[clip], self.config.audio_offset_ms
        if item.layout == "lipgan_mfcc":  # no sound, but windows centred on each frame: the nearest to the moment
            numbers = item.frames[list(indices)] + offset_ms / 1000 * FPS
            others = [int(np.abs(item.frames - number).argmin()) for number in numbers]
            saved = [self.features.get((clip, o), lambda o=o: item.saved_window(o)) for o in others]
            return np.stack(saved)[..., None]
        centres = [sound.window_centre(item.start[i], item.end[i], self.config.alignment, offset_ms) for i in indices]
        if change is None or not item.has_sound:
            return sound.windows(self.features.get(clip, lambda: item.features(kind)), centres, kind)
        bank = self._bank(clip)
        return sound.windows_of(bank.wave * bank.unit, centres, kind, lambda stretch: change(stretch, bank.level))

    def _bank(self, clip):
        bank = self.waves.items.get(clip)
        if bank is None:
            wave = self.clips[clip].samples()
            bank = sound.MelBank(wave, self._levels.get(clip))
            self._levels[clip] = bank.level
            if bank.nbytes <= self.waves.left:
                bank.wave = np.array(wave)  # not in the file: there may be more of those than can be mapped
            bank = self.waves.get(clip, lambda: bank)
        return bank

    def _sounds(self, runs, frames, rng, out=None):
        """(n,80,27,frames) or (n,12,35,frames), what is heard in n runs (clip, first frame),
        each changed by its own draw.
        """
        heard = (
            np.empty((len(runs), *sound.WINDOW_SHAPE[self.config.audio], frames), np.float32) if out is None else out
        )
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
        times = sound.window_centres(starts, ends, self.config.alignment, self.config.audio_offset_ms)
        banks, changes = [self._bank(runs[i][0]) for i in many], [changes[i] for i in many]
        gains, noisy = [change.gain for change in changes], [change.noisy for change in changes]

        def hear(some, stretches):
            return augment.hear([changes[k] for k in some], stretches, [banks[k].level for k in some])

        if len(many) == len(runs):
            return sound.changed_windows(banks, times, gains, noisy, hear, heard)
        heard[many] = sound.changed_windows(banks, times, gains, noisy, hear)
        return heard

    def batch(self, number: int) -> tuple[dict[str, np.ndarray]]:
        """Batch `number` of the endless sequence, as `gan.make_batch` makes it; faces and targets are uint8.

        Samples for which the batch holds no unsynced sound (all the others silent as well, or neighbours in one clip)
        make way for random ones.

        Raises:
            UserError: a file cannot be read, or the clips hold nothing but one sound.
        """
        rng = np.random.default_rng([self.seed, number])
        batch = {}
        chosen = [self._place(i, self._target(number * self.samples + i), rng) for i in range(self.samples)]
        if self.pairs:
            batch |= self._pair(chosen, rng)
        pictures = augment.Picture.draw(rng, len(chosen), self.config.img_size, self.augmentation)
        if self.samples:
            batch |= self._faces(chosen, pictures, rng)
            heard = [self._sounds(chosen[: self.runs], self.frames, rng), self._sounds(chosen[self.runs :], 1, rng)]
            frames = [np.moveaxis(x, -1, 1).reshape(-1, *x.shape[1:3], 1) for x in heard]
            batch["audio"] = np.concatenate(frames)
        if self.sync_samples:
            batch |= self._sync(number, chosen, pictures, heard[0] if self.samples else None, rng)
        return (batch,)

    def _faces(self, chosen, pictures, rng):
        """Faces, targets and masks of a batch, and what cuts the mouths out of the generator's own runs."""
        size, count = self.config.img_size, len(self.sample_of)
        inputs, targets = np.zeros((count, size, size, 6), np.uint8), np.empty((count, size, size, 3), np.uint8)
        points = []
        at = 0
        for i, ((clip, first), picture) in enumerate(zip(chosen, pictures, strict=True)):
            length = self.frames if i < self.runs else 1
            identity = self.picture(clip, self._identity(clip, first, first + length - 1, rng))
            inputs[at : at + length, ..., :3] = picture.apply(identity, identity=True)
            points.append(picture.points(self._points(clip, first, length)))
            for one in self.pictures.run(clip, first, length):
                targets[at] = picture.apply(one)
                at += 1
        inputs[:, : size // 2, :, 3:] = targets[:, : size // 2]
        masks = faces.lip_mask(np.concatenate(points), size)[..., None]
        batch = {"faces": inputs, "targets": targets, "masks": masks}
        if self.runs:
            boxes = faces.mouth_box(np.stack(points[: self.runs]))
            batch["crop_rows"], batch["crop_columns"] = faces.crop_matrices(
                boxes, size, MOUTH_SIZE, np.ones(self.runs), np.zeros((self.runs, 2, 2))
            )
        return batch

    def _identity(self, clip, first, last, rng):
        """A random frame that is far from the frames `first` to `last`."""
        numbers = self.clips[clip].frames
        before = int(np.searchsorted(numbers, numbers[first] - MIN_DISTANCE, "right"))
        after = int(np.searchsorted(numbers, numbers[last] + MIN_DISTANCE))
        drawn = int(rng.integers(before + len(numbers) - after))
        return drawn if drawn < before else drawn - before + after

    def _place(self, i, run, rng):
        """Where sample `i` of a batch begins: at a run without a cut, or at any frame of one."""
        if i < self.runs:
            return self._whole(run, rng)
        return run[0], run[1] + (int(rng.integers(self.frames)) if self.frames > 1 else 0)

    def _pair(self, chosen, rng):
        """The unsynced sound of each frame and the coin; replaces samples that find none."""
        for _ in range(MAX_REDRAWS):
            same = self._same_sound(chosen)
            alone = np.unique(self.sample_of[same.all(axis=1)])
            if not len(alone):
                break
            for i in alone[1:] if len(alone) > 1 else alone:
                chosen[i] = self._place(i, self._any(rng), rng)
        return pairs(unsynced_order(same), bool(rng.integers(2)))

    def _same_sound(self, chosen):
        """(B,B) bool: pairs of frames that would be in sync, because they sound alike or are neighbours in a clip."""
        within = np.arange(len(self.sample_of)) - np.searchsorted(self.sample_of, self.sample_of)
        clips, firsts = np.array(chosen)[self.sample_of].T
        return self._in_sync(list(zip(clips, firsts + within, strict=True)), 1)

    def _in_sync(self, runs, frames):
        """(n,n) bool: which of n runs (clip, first frame) are in sync with which other's sound.

        Judged by the sound before augmentation: it is the same at nearly the same time of one soundtrack, which clips
        may share, or because it is the same in itself, as two pauses are.
        """
        tracks = np.array([self._soundtrack(clip) for clip, _ in runs])
        times = np.array([self.clips[clip].start[first] for clip, first in runs])
        near = (tracks[:, None] == tracks) & (np.abs(times[:, None] - times) < (SAME_SOUND - 0.5) / FPS)
        first, last = np.array([self._window_labels(clip)[[first, first + frames - 1]] for clip, first in runs]).T
        return near | (first[:, None] == first) & (last[:, None] == last)  # the others lie between

    def _window_labels(self, clip):
        """(n,) a number for each shown frame of a clip,
        which frames share whose windows are the same to the third decimal.
        """
        if clip not in self._labels:
            labels = []
            for start in range(0, self.clips[clip].shown, 256):
                windows = self.windows(clip, range(start, min(start + 256, self.clips[clip].shown)))
                labels += [
                    int.from_bytes(hashlib.blake2b(row, digest_size=8).digest(), "big") for row in rounded(windows)
                ]
            self._labels[clip] = np.array(labels, np.uint64)
        return self._labels[clip]

    def _soundtrack(self, clip):
        """A number that clips of equal sound share."""
        if clip not in self._tracks:
            item, number = self.clips[clip], clip
            if item.layout != "lipgan_mfcc":
                features = self.features.get(clip, lambda: item.features(self.config.audio))
                number = zlib.crc32(features.tobytes()) + (features.shape[1] << 32)
            self._tracks[clip] = number
        return self._tracks[clip]

    def _sync(self, number, chosen, pictures, heard, rng):
        """What the lip-sync discriminator compares; see `gan.make_batch`. `heard`: by the generator's own runs."""
        n, own = self.sync_samples, self.runs
        others = [self._whole(self._target(number * n + i, stream=2), rng) for i in range(own, n)]
        chosen = list(chosen[:own]) + others
        pictures = pictures[:own] + augment.Picture.draw(rng, len(others), self.config.img_size, self.augmentation)
        shifted = [(clip, self.shifted(clip, first, rng)) for clip, first in chosen for _ in range(SHIFTED)]
        sounds = np.empty((n + len(shifted), *sound.WINDOW_SHAPE[self.config.audio], self.frames), np.float32)
        if own:
            sounds[:own] = heard
        self._sounds(others + shifted, self.frames, rng, sounds[own:])
        wrong = ~self._in_sync(chosen + shifted, self.frames)[:n]
        relation = np.eye(n, len(sounds), dtype="float32") - wrong
        return {"mouths": self._mouths(chosen, pictures), "sounds": sounds, "relation": relation}

    def shifted(self, clip: int, first: int, rng: np.random.Generator) -> int:
        """Another run of the same clip for a hard negative: at least `SAME_SOUND` frames away,
        and near where it can be.
        """
        numbers = self.clips[clip].frames[self.starts[clip]]
        distance = np.abs(numbers - self.clips[clip].frames[first])
        near = np.flatnonzero((distance >= SAME_SOUND) & (distance <= FPS))
        at = near[int(rng.integers(len(near)))] if len(near) else distance.argmax()
        return int(self.starts[clip][at])

    def _target(self, position, stream=1):
        epoch, index = divmod(position, len(self))
        with self._lock:
            if (epoch, stream) not in self._orders:
                # Threads straddle the end of an epoch.
                kept = {k: order for k, order in self._orders.items() if k[1] != stream or abs(k[0] - epoch) < 2}
                order = np.random.default_rng([self.seed, epoch, stream]).permutation(len(self))
                self._orders = kept | {(epoch, stream): order}
            at = self._orders[epoch, stream][index]
        return int(self.clip_of[at]), int(self.frame_of[at])

    def _any(self, rng):
        at = int(rng.integers(len(self)))
        return int(self.clip_of[at]), int(self.frame_of[at])

    def _whole(self, run, rng):
        """The run, or a random other where a cut goes through it."""
        for _ in range(MAX_REDRAWS):
            if self.is_whole(*run):
                return run
            run = self._any(rng)
        raise UserError(f"--sync_frames {self.frames}: hardly a run of so many frames has no cut in it; use fewer")

    def is_whole(self, clip: int, first: int) -> bool:
        """Whether no cut goes through the run that begins there."""
        return not any(self._is_cut(clip, frame) for frame in range(first, first + self.frames - 1))

    def _is_cut(self, clip, frame):
        known = self._cuts.setdefault(clip, bytearray(len(self.clips[clip].frames)))  # 0: not yet
        if not known[frame]:
            known[frame] = 2 if is_cut(*self.pictures.run(clip, frame, 2)) else 1
        return known[frame] == 2

    def heard(self, clip: int, first: int, rng: np.random.Generator, frames: int | None = None) -> np.ndarray:
        """(T,80,27,1) or (T,12,35,1), the windows of a run or of `frames` frames,
        as the augmentation makes them sound.
        """
        change = self.sound.change(rng) if self.sound else None
        return self.windows(clip, range(first, first + (frames or self.frames)), change)

    def sync_sample(self, clip: int, first: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Mouths (48,48,3T) float32 in 0..1 and the sound (T,80,27,1) or (T,12,35,1) of a run of real frames."""
        drawn = augment.Picture.draw(rng, 1, self.config.img_size, self.augmentation)
        return self._mouths([(clip, first)], drawn)[0], self.heard(clip, first, rng)

    def _mouths(self, chosen, pictures):
        """(n,48,48,3T) float32, of n runs of real frames."""
        points = [self._points(clip, first, self.frames) for clip, first in chosen]
        boxes = faces.mouth_box(np.stack([picture.points(p) for picture, p in zip(pictures, points, strict=True)]))
        runs = [self.pictures.run(clip, first, self.frames) for clip, first in chosen]
        return augment.mouths(pictures, runs, boxes, MOUTH_SIZE)

    def sample(self, clip: int, frame: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """A frame for the generator, its identity frame chosen by `rng`.

        Returns:
            faces (1,96,96,6), audio (1,80,27,1) or (1,12,35,1), targets (1,96,96,3), masks (1,96,96,1), all float32 in
            0..1 but the audio.
        """
        size = self.config.img_size
        identity = self.picture(clip, self._identity(clip, frame, frame, rng))
        (picture,) = augment.Picture.draw(rng, 1, size, self.augmentation)
        face, target = assemble(picture.apply(identity, identity=True), picture.apply(self.picture(clip, frame)))
        mask = faces.lip_mask(picture.points(self.points(clip, frame)), size)
        audio = self.heard(clip, frame, rng, 1)
        return {"faces": face[None], "audio": audio, "targets": target[None], "masks": mask[None, ..., None]}


def _run_starts(numbers, length, shown):
    """Indices of the first frames of runs of `length` shown frames in a row that leave an identity frame."""
    if shown < length:
        return np.zeros(0, np.int64)
    first, last = numbers[: shown - length + 1], numbers[length - 1 : shown]
    identity = (first - numbers[0] >= MIN_DISTANCE) | (numbers[-1] - last >= MIN_DISTANCE)
    return np.flatnonzero((last - first == length - 1) & identity)


def _longest_run(numbers):
    if not len(numbers):
        return 0
    return max(len(run) for run in np.split(numbers, np.flatnonzero(np.diff(numbers) != 1) + 1))


def is_cut(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two neighbouring crops, (H,W,3) uint8, show different scenes: then most of the picture changes."""
    a, b = (cv2.resize(x, (12, 12), interpolation=cv2.INTER_AREA).astype("float32") for x in (a, b))
    return float(np.median(np.abs(a - b).max(axis=-1))) > CUT


def mouths_of(crops: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Cut the mouths out of a run of uint8 crops (T,96,96,3), as `gan` does of generated ones: (48,48,3T) in 0..1."""
    t, height, width, channels = crops.shape
    x = rows @ (crops.reshape(t, height, width * channels).astype("float32") / 255)
    x = columns @ x.reshape(t, len(rows), width, channels)
    return np.moveaxis(x, 0, 2).reshape(len(rows), len(columns), t * channels)


def assemble(identity: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The generator's face input and its target, from two uint8 crops (96,96,3).

    Returns:
        ((96,96,6), (96,96,3)) float32 in 0..1; rows 48: of the target's copy in the input are 0.
    """
    target = target.astype("float32") / 255
    masked = target.copy()
    masked[len(masked) // 2 :] = 0
    return np.concatenate([identity.astype("float32") / 255, masked], axis=-1), target
