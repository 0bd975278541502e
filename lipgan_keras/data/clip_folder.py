"""One preprocessed clip, by whichever program, and finding all below a folder."""

import os
import re
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from .. import audio as audio_module
from ..config import FPS, WINDOW_SHAPE
from ..media import audio_file
from ..utils import npz
from ..utils.errors import UserError
from ..utils.files import regular
from ..utils.terminal import say
from . import jpegs, pack

AGAIN = "preprocess this clip again"
IMAGE = re.compile(r"(0|[1-9][0-9]{0,8})\.jpg")
MIN_FRAMES = 12  # shorter clips are left out, as in the reference
RANGES = {"frames": (0, 10**9), "landmarks": (-1e5, 1e5), "time": (-1e6, 1e6), "duration": (0, 1e6)}
CUT = 30  # grey levels by which the middle of an image's parts change at a cut


class Clip:
    """One preprocessed clip, by whichever program; a folder, or what a pack holds of one (see `pack`).

    The layouts, told apart by what is in the folder:
        "lipgan_keras": N.jpg, audio.wav, mels.npz and landmarks.npz (each saved frame's source time and landmarks);
        "lipgan_mel": N.jpg (video frame N+4), audio.wav, mels.npz;
        "lipgan_mfcc": N.jpg (video frame N+4) and N.npz, its MFCC window; no audio;
        "wav2lip": N.jpg (video frame N), audio.wav.
    In a pack audio.flac stands for audio.wav, and mels.npz may be missing: features are then computed.

    A clip that was made of another one (mirrored, another face that says the same) names it in source.txt: one line,
    the `name` of the clip that all began with. It is held out where that one is (see `splits`).

    Args:
        data_root: the folder or pack below which `name` begins; None: anywhere above.

    Attributes:
        name: `<speaker or video>/<clip>`, the last two parts of the path below `data_root`; its own name where it lies
            directly below.
        above: names of the folders between `data_root` and it.
        source: the `name` of the clip that it was made of; where it was made of none, its own.
        kind: "recast": another clip's, see `puppets.recast`; "puppet": of a photo; "real": all others.
        frames: (n,) int, the numbers N of the images, ascending; gaps where no face was found.
        start, end: (n,) float seconds on the audio's clock, when each frame is shown.
        shown: how many frames are. Those after them, of no duration, are other images of the face: for identity
            frames.
        spoken: (n,) bool, False in frames of a made-up person who listens; see `puppets.recast`.
        front_ends: those of "mel" and "mfcc" that the clip can train.
        landmarks: (n,5,2) float32 in pixels of the saved images, or None where the folder has none.
        crop: the style of its face crops, of `config.CROPS`; other programs' folders hold the rectangles of dlib's
            detector, or of one like it.
        saved_size: side of the saved images in pixels, or None where the folder does not say it.
        has_sound: whether there is a sound to change, and not its features alone; its file is `sound_file`, or None.
    """

    def __init__(self, folder: str | os.PathLike, data_root: str | os.PathLike | None = None):
        self.folder = Path(folder)
        self.name = name_of(self.folder, data_root)
        self.above = () if data_root is None else self.folder.relative_to(data_root).parts[:-1]
        self.packed = None if self.folder.is_dir() else _packed(self.folder)
        names = set(os.listdir(folder) if self.packed is None else self.packed)
        numbers = [int(name[:-4]) for name in names if IMAGE.fullmatch(name)]
        self.frames = np.array(sorted(numbers), dtype=np.int64)
        self.landmarks = self.saved_size = None
        self.sound_file = next((name for name in ("audio.wav", pack.SOUND) if name in names), None)
        self.has_sound = self.sound_file is not None
        self.has_mel = "mels.npz" in names
        self.source = self._read_source() if pack.SOURCE in names else self.name
        self.kind = "recast" if pack.SOURCE in names else "real"
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
        self.spoken = np.ones(self.shown, bool)
        self.crop = "dlib"
        if self.layout == "lipgan_keras":
            self._read_landmarks()

    def __getstate__(self):
        return self.__dict__ | {"packed": None if self.packed is None else ()}

    def __setstate__(self, state):
        self.__dict__.update(state)
        if self.packed is not None:
            self.packed = _packed(self.folder)

    @property
    def speaker(self) -> str:
        """Who speaks: the first part of `source`; a clip directly below its folder counts as a speaker of its own."""
        return self.source.split("/")[0]

    def read(self, name: str) -> bytes | memoryview:
        """What one of its files holds.

        Raises:
            OSError: it cannot be read.
            UserError: it is a pipe or the like.
        """
        return regular(self.folder / name).read_bytes() if self.packed is None else self.packed[name]

    def _read_source(self):
        return pack.source_in(self.folder, lambda path: bytes(self.read(path.name)))

    def _read_landmarks(self):
        path = self.folder / "landmarks.npz"
        shapes = {"frames": ("n",), "landmarks": ("n", 5, 2), "time": ("n",), "duration": ("n",), "img_size": ()}
        more = {"spoken": ("n",), "steady": ()}
        arrays, names = self._read_npz(path.name, list(shapes), list(more))
        n = arrays["frames"].size
        fitting = {name: tuple(n if x == "n" else x for x in shape) for name, shape in (shapes | more).items()}
        wrong = next((name for name, array in arrays.items() if array.shape != fitting[name]), None)
        if wrong or not 0 < arrays["img_size"] <= jpegs.MOST_SIDE:
            raise UserError(f"{path}: its arrays do not fit together; {AGAIN}")
        frames, landmarks, time, duration, size = (arrays[name] for name in shapes)
        for name, (least, most) in RANGES.items():
            if n and not least <= arrays[name].min() <= arrays[name].max() <= most:
                raise UserError(f"{path}: {name} holds numbers below {least:g} or above {most:g}; {AGAIN}")
        if len(np.unique(frames.astype(np.int64))) < n:
            raise UserError(f"{path}: frames holds a number twice; {AGAIN}")
        self.frames, _, rows = np.intersect1d(self.frames, frames.astype(np.int64), return_indices=True)
        self.landmarks, self.saved_size = landmarks[rows].astype("float32"), int(size)
        self.start = time[rows].astype(float)
        self.end = self.start + duration[rows]
        self.shown = int(np.flatnonzero(self.end > self.start).max(initial=-1)) + 1
        self.spoken = arrays["spoken"][rows] > 0 if "spoken" in arrays else np.ones(len(rows), bool)
        self.crop = "steady" if arrays.get("steady") else "lipgan_keras"
        if self.kind == "real" and "made_with" in names:  # see `puppets.clips`
            self.kind = "puppet"

    def features(self, kind: str) -> np.ndarray:
        """(80,T) or (12,T) float32 of the whole audio."""
        if kind == "mel" and self.has_mel:
            mel = self._read_npz("mels.npz", ["spec"])[0]["spec"]
            if mel.ndim == 2 and 80 in mel.shape and mel.size:
                return (mel if mel.shape[0] == 80 else mel.T).astype("float32")
            raise UserError(
                f"{self.folder / 'mels.npz'}: spec has shape {mel.shape}, not (80,T); preprocess this clip again"
            )
        return audio_module.features(self.wave(), kind)

    def image(self, index: int, size: int) -> np.ndarray:
        """(size,size,3) uint8 BGR."""
        name = f"{self.frames[index]}.jpg"
        try:
            data = self.read(name)
            jpegs.check(data)
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        except Exception as error:  # OpenCV's too
            why = f" ({error})" if isinstance(error, UserError) else ""
            raise UserError(f"{self.folder / name}: cannot be read as a picture{why}; {AGAIN}") from error
        if image is None:
            raise UserError(f"{self.folder / name}: cannot be read as a picture; {AGAIN}")
        if image.shape[:2] != (size, size):
            shrinks = min(image.shape[:2]) > size
            image = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        return image

    def points(self, index: int | slice, size: int) -> np.ndarray | None:
        """(5,2) or (n,5,2) float32, the landmarks of frames in an image of `size`; None where the folder has none."""
        if self.landmarks is None:
            return None
        return self.landmarks[index] * np.float32(size / self.saved_size)

    def wave(self) -> np.ndarray:
        """(samples,) float32, 16 kHz mono."""
        return audio_file.load_audio(
            self.folder / self.sound_file, data=None if self.packed is None else self.read(self.sound_file)
        )

    def samples(self) -> np.ndarray:
        """`wave`, or 32768 times that as int16 and memory-mapped."""
        samples = audio_file.pcm(self.folder / self.sound_file) if self.packed is None else None
        return self.wave() if samples is None else samples

    def saved_window(self, index: int) -> np.ndarray:
        """(12,35) float32, the MFCC window that the original saved with a frame."""
        path = self.folder / f"{self.frames[index]}.npz"
        saved = self._read_npz(path.name, ["mfcc"])[0]["mfcc"]
        window = np.squeeze(saved).astype("float32")
        if window.shape != WINDOW_SHAPE["mfcc"]:
            raise UserError(f"{path}: mfcc has shape {saved.shape}, not (12,35); preprocess this clip again")
        return window

    def _read_npz(self, name, wanted, optional=()):
        path = self.folder / name
        with npz.errors(path, AGAIN):
            data = self.read(name)
        return npz.read(path, wanted, optional, data=data, advice=AGAIN)


def _packed(folder):
    path = pack.file_of(folder)
    found = pack.read(path).get(folder) if path else None
    if found is None:
        raise UserError(f"{folder}: no such clip; give a folder that preprocess.py wrote, or one in a pack of them")
    return found


def name_of(folder: Path, data_root: str | os.PathLike | None = None) -> str:
    """The `Clip.name` of a clip's folder."""
    parts = folder.relative_to(data_root).parts if data_root is not None else folder.parts
    return "/".join(parts[-2:]) or Path(os.path.abspath(folder)).name


def meant(clips: list[Clip], names: set[str], split: str) -> list[Clip]:
    """Of clips that a list names those that it means, as LRS2 has it: a line `<video>/<clip>` of pretrain.txt is a clip
    of the folder pretrain, that of other lists one of main, where folders besides have one of the same name. Lines that
    name the folder too mean what they say.
    """
    bare = [clip for clip in clips if clip.name in names and names.isdisjoint(pack.names_of(clip.folder)[2:])]
    place = split if any(split in clip.above for clip in bare) else "main"
    found = {clip.name for clip in bare if place in clip.above}
    others = {clip.folder for clip in bare if clip.name in found and place not in clip.above}
    return [clip for clip in clips if clip.folder not in others]


def find_clips(
    data_root: str | os.PathLike, audio: str, progress: bool = True, broken: dict[Path, str] | None = None
) -> list[Clip]:
    """Every clip below `data_root`, a folder or a pack, that can train the front end `audio`, sorted by path.

    Prints one line where some cannot: how many, and why; and one where a source.txt names no clip that is there.

    Args:
        broken: takes in the folders that cannot be read, and why; without it they are an error.

    Raises:
        UserError: no such folder, no clip in it, none for this front end, all of under 12 frames, or one is broken.
    """
    clips = []
    for folder in tqdm(pack.clip_folders(data_root), "clips", unit="clip", disable=not progress, leave=False, delay=1):
        try:
            clips.append(Clip(folder, data_root))
        except UserError as error:
            if broken is None:
                raise
            broken[Path(folder)] = str(error)
    if not clips:
        raise UserError(
            f"{data_root}: holds no preprocessed clip (folders of 0.jpg, 1.jpg, ...); run preprocess.py first"
        )
    _find_sources(clips, data_root)
    usable = [clip for clip in clips if audio in clip.front_ends]
    if not usable:
        raise UserError(f"{data_root}: none of its {len(clips)} clips has sound for --audio {audio}; try the other one")
    long = [clip for clip in usable if clip.shown >= MIN_FRAMES]
    if not long:
        raise UserError(
            f"{data_root}: all of its {len(usable)} clips have under {MIN_FRAMES} frames; training needs longer ones"
        )
    reasons = {
        f"under {MIN_FRAMES} frames": len(usable) - len(long),
        f"no sound for --audio {audio}": len(clips) - len(usable),
    }
    if len(long) < len(clips):
        why = ", ".join(f"{count} with {reason}" for reason, count in reasons.items() if count)
        say(f"{data_root}: {len(clips) - len(long)} of {len(clips)} clips are left out: {why}")
    return long


def own_names(clip: Clip) -> set[str]:
    """By which a clip may be known that lay below another --data_root, where it had more of its path."""
    above = Path(os.path.abspath(clip.folder)).parts[-2:]
    return {clip.name} | (set() if "/" in clip.name else {"/".join(above)})


def _find_sources(clips, data_root):
    """Call each source by the `name` that its clip has here, which is shorter or longer where `data_root` is another.

    A clip directly below a folder `crops` is `39` here, and `crops/39` in the source.txt of its copies.
    """
    names = {clip.name for clip in clips}
    for clip in clips:
        beside = f"{clip.name.split('/')[0]}/{clip.source}"
        if "/" in clip.name and "/" not in clip.source and beside in names:
            clip.source = beside
    unknown = {clip.source for clip in clips} - names
    called = {}
    for clip in clips if unknown else ():
        for name in own_names(clip) | {clip.name.split("/")[-1]}:
            called.setdefault(name, set()).add(clip.name)
    lost = set()
    for source in unknown:
        # Of a pack, or of a folder that was renamed, only the end is left.
        for name in (source, source.split("/")[-1]):
            found = called.get(name, set()) if name == source else called.get(name, set()) & {name}
            if len(found) == 1:
                called[source] = found
                break
        else:
            lost.add(source)
    for clip in clips:
        if clip.source in unknown - lost:
            (clip.source,) = called[clip.source]
    if lost:
        say(
            f"{data_root}: {len(lost)} of the clips that source.txt files name are not there, or are several, as "
            f"{min(lost)}; what was made of the same one is still held out together"
        )


def is_cut(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two neighbouring crops, (H,W,3) uint8, show different scenes: then most of the image changes."""
    a, b = (cv2.resize(x, (12, 12), interpolation=cv2.INTER_AREA).astype("float32") for x in (a, b))
    return float(np.median(np.abs(a - b).max(axis=-1))) > CUT
