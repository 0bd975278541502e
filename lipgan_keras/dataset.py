"""Preprocessed clips -> batches for training, and the fixed samples of a validation.

A batch depends on the seed and its number alone, so that a resumed run sees what an unbroken one would have seen.
"""

import concurrent.futures
import os
import threading
import zipfile
import zlib
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from . import audio as sound
from . import gan
from .checkpoints import ModelConfig
from .cli import UserError

FPS = 25  # of every preprocessed folder
MIN_FRAMES = 12  # shorter clips are left out, as in the reference
MIN_DISTANCE = 6  # frames between a target and its identity frame, likewise
MAX_REDRAWS = 100  # until the sounds of a batch are given up as all the same
SAME_SOUND = 3  # windows of a clip that are fewer frames apart make no unsynced pair


class Cache:
    """Keeps what `get` loads until a budget of bytes is spent; later keys are loaded each time."""

    def __init__(self, budget: int):
        self.left = budget
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


class Clip:
    """One preprocessed clip, by whichever program.

    The layouts, told apart by what is in the folder:
        "lipgan_keras": N.jpg, audio.wav, mels.npz and landmarks.npz (each saved frame's source time and landmarks);
        "lipgan_mel": N.jpg (video frame N+4), audio.wav, mels.npz;
        "lipgan_mfcc": N.jpg (video frame N+4) and N.npz, its MFCC window; no sound;
        "wav2lip": N.jpg (video frame N), audio.wav.

    Attributes:
        frames: (n,) int, the numbers N of the pictures, ascending; gaps where no face was found.
        start, end: (n,) float seconds on the sound's clock, when each frame is shown.
        front_ends: those of "mel" and "mfcc" that the clip can train.
        landmarks: (n,5,2) float32 in crop pixels, or None where the folder has none.
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = Path(folder)
        names = set(os.listdir(folder))
        numbers = [int(name[:-4]) for name in names if name.endswith(".jpg") and name[:-4].isdecimal()]
        self.frames = np.array(sorted(numbers), dtype=np.int64)
        self.landmarks = None
        shift = 0
        if "landmarks.npz" in names:
            self.layout = "lipgan_keras"
        elif "mels.npz" in names:
            self.layout, shift = "lipgan_mel", 4
        elif any(f"{number}.npz" in names for number in numbers):
            self.layout, shift = "lipgan_mfcc", 4
            self.frames = np.array([n for n in self.frames if f"{n}.npz" in names], dtype=np.int64)
        else:
            self.layout = "wav2lip"
        if self.layout == "lipgan_mfcc":
            self.front_ends = {"mfcc"}
        elif "audio.wav" in names:
            self.front_ends = {"mel", "mfcc"}
        else:
            self.front_ends = {"mel"} if "mels.npz" in names else set()
        self.start = (self.frames + shift) / FPS
        self.end = self.start + 1 / FPS
        if self.layout == "lipgan_keras":
            self._read_landmarks()

    def _read_landmarks(self):
        path = self.folder / "landmarks.npz"
        frames, landmarks, time, duration = _load_npz(path, "frames", "landmarks", "time", "duration")
        n = frames.size
        if [x.shape for x in (frames, landmarks, time, duration)] != [(n,), (n, 5, 2), (n,), (n,)]:
            raise UserError(f"{path}: its arrays do not fit together; preprocess this clip again")
        self.frames, _, rows = np.intersect1d(self.frames, frames.astype(np.int64), return_indices=True)
        self.landmarks = landmarks[rows].astype("float32")
        self.start = time[rows].astype(float)
        self.end = self.start + duration[rows]

    def features(self, kind: str) -> np.ndarray:
        """(80,T) or (12,T) float32 of the whole sound."""
        path = self.folder / "mels.npz"
        if kind == "mel" and path.exists():
            (mel,) = _load_npz(path, "spec")
            if mel.ndim == 2 and 80 in mel.shape:
                return (mel if mel.shape[0] == 80 else mel.T).astype("float32")
            raise UserError(f"{path}: spec has shape {mel.shape}, not (80,T); preprocess this clip again")
        return sound.features(sound.load_audio(self.folder / "audio.wav"), kind)

    def picture(self, index: int, size: int) -> np.ndarray:
        """(size,size,3) uint8 BGR."""
        path = self.folder / f"{self.frames[index]}.jpg"
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image is None:
            raise UserError(f"{path}: cannot be read as a picture; preprocess this clip again")
        if image.shape[:2] != (size, size):
            shrinks = min(image.shape[:2]) > size
            image = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        return image

    def saved_window(self, index: int) -> np.ndarray:
        """(12,35) float32, the MFCC window that the original saved with a frame."""
        path = self.folder / f"{self.frames[index]}.npz"
        (saved,) = _load_npz(path, "mfcc")
        window = np.squeeze(saved).astype("float32")
        if window.shape != sound.WINDOW_SHAPE["mfcc"]:
            raise UserError(f"{path}: mfcc has shape {saved.shape}, not (12,35); preprocess this clip again")
        return window


def _load_npz(path, *keys):
    """The arrays `keys` of an npz file; all of them numbers."""
    try:
        with np.load(path, allow_pickle=False) as saved:
            missing = [key for key in keys if key not in saved.files]
            arrays = [saved[key] for key in keys if not missing]
        if any(array.dtype.kind not in "fiu" for array in arrays):
            raise ValueError("not numbers")
    except (OSError, ValueError, AttributeError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path}: cannot be read ({' '.join(str(error).split())[:80]}); preprocess it again") from error
    if missing:
        raise UserError(f"{path}: has no array {missing[0]!r}; preprocess this clip again")
    return arrays


def find_clips(data_root: str | os.PathLike, audio: str, progress: bool = True) -> list[Clip]:
    """Every clip below `data_root` that can train the front end `audio`, sorted by path.

    Raises:
        UserError: no such folder, no clip in it, none for this front end, or all of under 12 frames.
    """
    if not os.path.isdir(data_root):
        raise UserError(f"{data_root}: no such folder; give the folder that preprocess.py wrote")
    folders = []
    for folder, subfolders, files in os.walk(data_root):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        if any(name.endswith(".jpg") and name[:-4].isdecimal() for name in files):
            folders.append(folder)
    clips = [Clip(folder) for folder in tqdm(folders, "clips", unit="clip", disable=not progress, leave=False, delay=1)]
    if not clips:
        raise UserError(f"{data_root}: holds no preprocessed clip (folders of 0.jpg, 1.jpg, ...); run preprocess.py first")
    usable = [clip for clip in clips if audio in clip.front_ends]
    if not usable:
        raise UserError(f"{data_root}: none of its {len(clips)} clips has sound for --audio {audio}; try the other one")
    long = [clip for clip in usable if len(clip.frames) >= MIN_FRAMES]
    if not long:
        raise UserError(
            f"{data_root}: all of its {len(usable)} clips have under {MIN_FRAMES} frames; training needs longer ones"
        )
    return long


def split_clips(
    clips: list[Clip], val_fraction: float, seed: int, filelists: str | os.PathLike | None = None
) -> tuple[list[Clip], list[Clip]]:
    """(training, validation) clips: by `train.txt` and `val.txt` in `filelists` where they are, else at random.

    List files hold `<video>/<clip>` lines; a second column is ignored. Where there is a `val.txt`, `val_fraction` counts
    for nothing. One clip alone is trained on, and none held out.

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
    if not path.is_file():
        return None
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as a list of <video>/<clip> lines; check --filelists") from error
    names = {line.split()[0].strip("/") for line in lines if line.split()}
    chosen = [clip for clip in clips if "/".join(clip.folder.parts[-2:]) in names or clip.folder.name in names]
    if not chosen:
        raise UserError(f"{path}: names none of the clips below --data_root by <video>/<clip>; preprocess that list's too")
    return chosen


class Dataset:
    """Batches of (identity and masked target, audio window, target) from clips.

    Args:
        config: gives front end, image size, and how audio windows align to frames.
        batch_size: samples a batch.
        seed: decides everything.
        pairs: whether each batch also says which audio is unsynced for which face, and tosses a coin.
        cache_bytes: memory for decoded pictures, and as much again for features, which take longer to make.

    Raises:
        UserError: `pairs` with a batch of one sample.
    """

    def __init__(
        self,
        clips: list[Clip],
        config: ModelConfig,
        batch_size: int,
        seed: int = 0,
        pairs: bool = True,
        cache_bytes: int = 2 << 30,
    ):
        if pairs and batch_size < 2:
            raise UserError("batch_size 1 makes no unsynced pair; use at least 2")
        self.clips = clips
        self.config = config
        self.batch_size = batch_size
        self.seed = seed
        self.pairs = pairs
        self.pictures, self.features = Cache(cache_bytes), Cache(cache_bytes)
        self.clip_of = np.repeat(np.arange(len(clips)), [len(clip.frames) for clip in clips])
        self.frame_of = np.concatenate([np.arange(len(clip.frames)) for clip in clips])
        self._orders = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Frames in all: one epoch has each of them as a target once."""
        return len(self.clip_of)

    def picture(self, clip: int, frame: int) -> np.ndarray:
        size = self.config.img_size
        return self.pictures.get((clip, frame), lambda: self.clips[clip].picture(frame, size))

    def window(self, clip: int, frame: int) -> np.ndarray:
        """(80,27,1) or (12,35,1) float32, what the network hears for a frame."""
        kind, item, offset_ms = self.config.audio, self.clips[clip], self.config.audio_offset_ms
        if item.layout == "lipgan_mfcc":  # no sound, but windows centred on each frame: the nearest to the moment
            other = int(np.abs(item.frames - (item.frames[frame] + offset_ms / 1000 * FPS)).argmin())
            return self.features.get((clip, other), lambda: item.saved_window(other))[..., None]
        features = self.features.get(clip, lambda: item.features(kind))
        centre = sound.window_centre(item.start[frame], item.end[frame], self.config.alignment, offset_ms)
        return sound.window(features, centre, kind)[..., None]

    def batch(self, number: int) -> tuple[dict[str, np.ndarray]]:
        """Batch `number` of the endless sequence, as `gan.make_batch` makes it.

        Samples for which the batch holds no unsynced sound (all the others silent as well, or neighbours in one clip)
        make way for random ones.

        Raises:
            UserError: a file cannot be read, or the clips hold nothing but one sound.
        """
        rng = np.random.default_rng([self.seed, number])
        chosen = [self._target(number * self.batch_size + i) for i in range(self.batch_size)]
        samples = [self.sample(clip, frame, rng) for clip, frame in chosen]
        if not self.pairs:
            return gan.make_batch(*_stack(samples))
        for _ in range(MAX_REDRAWS):
            same = self._same_sound(chosen, samples)
            alone = np.flatnonzero(same.all(axis=1))
            if not len(alone):
                break
            for i in alone[1:] if len(alone) > 1 else alone:
                at = int(rng.integers(len(self)))
                chosen[i] = int(self.clip_of[at]), int(self.frame_of[at])
                samples[i] = self.sample(*chosen[i], rng)
        return gan.make_batch(*_stack(samples), gan.unsynced_order(same), bool(rng.integers(2)))

    def _same_sound(self, chosen, samples):
        """(B,B) bool: pairs that would be in sync, because they sound alike or are neighbours in a clip."""
        clips, numbers = np.array([(clip, self.clips[clip].frames[frame]) for clip, frame in chosen]).T
        near = (clips[:, None] == clips) & (np.abs(numbers[:, None] - numbers) < SAME_SOUND)
        return near | gan.same_windows(np.stack([audio for _, audio, _ in samples]))

    def _target(self, position):
        epoch, index = divmod(position, len(self))
        with self._lock:
            if epoch not in self._orders:
                kept = {e: order for e, order in self._orders.items() if abs(e - epoch) < 2}  # threads straddle an end
                order = np.random.default_rng([self.seed, epoch, 1]).permutation(len(self))
                self._orders = kept | {epoch: order}
            at = self._orders[epoch][index]
        return int(self.clip_of[at]), int(self.frame_of[at])

    def sample(self, clip: int, frame: int, rng: np.random.Generator):
        """(faces (96,96,6), window, target (96,96,3)), float32 in 0..1, identity frame chosen by `rng`."""
        numbers = self.clips[clip].frames
        far = np.flatnonzero(np.abs(numbers - numbers[frame]) >= MIN_DISTANCE)
        identity = self.picture(clip, int(rng.choice(far)))
        faces, target = assemble(identity, self.picture(clip, frame))
        return faces, self.window(clip, frame), target


class Loader:
    """Batches `start`, `start` + 1, ... of a dataset, without end, made ahead by threads and given in order.

    A context manager: on the way out it ends the threads, and raises what kept it from making a batch, which the code
    that took the batches may have wrapped (TensorFlow gives the text of an error only).
    """

    def __init__(self, data: Dataset, start: int = 0, workers: int | None = None):
        self.data = data
        self.next = start
        self.error = None
        self.workers = workers or min(4, os.cpu_count() or 1)
        self.pool = concurrent.futures.ThreadPoolExecutor(self.workers, "batches")

    def __iter__(self) -> Iterator[tuple[dict[str, np.ndarray]]]:
        waiting = deque()
        while True:
            while len(waiting) < 2 * self.workers:
                waiting.append(self.pool.submit(self.data.batch, self.next))
                self.next += 1
            try:
                batch = waiting.popleft().result()
            except Exception as error:
                self.error = error
                raise
            yield batch

    def __enter__(self):
        return self

    def __exit__(self, kind, value, traceback):
        # The generator itself cannot be closed: a thread of TensorFlow's may be in it.
        self.pool.shutdown(wait=False, cancel_futures=True)
        if self.error is not None and isinstance(value, Exception):
            raise self.error from None


def _stack(samples):
    return (np.stack(arrays) for arrays in zip(*samples, strict=True))


def assemble(identity: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The generator's face input and its target, from two uint8 crops (96,96,3).

    Returns:
        ((96,96,6), (96,96,3)) float32 in 0..1; rows 48: of the target's copy in the input are 0.
    """
    target = target.astype("float32") / 255
    masked = target.copy()
    masked[len(masked) // 2 :] = 0
    return np.concatenate([identity.astype("float32") / 255, masked], axis=-1), target
