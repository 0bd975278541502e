"""Talking-face clips of our own: the mouth of a face photo, moved by a speech-like sound.

Talking-face data sets cannot be downloaded without an agreement, so that tests, newcomers and the demo have these
instead: real MP4 files in the LRS2 layout, with the mouth's true opening and width beside each.

The sound is synthesised after the source-filter model (Fant, Acoustic Theory of Speech Production, 1960; the glottal
pulse is that of Klatt and Klatt, JASA 87(2), 1990): the mouth's opening sets the first formant, spreading and
rounding the second and third. Real speech can be given instead; its energy and formant bands then move the mouth.

    python -m lipgan_keras.puppets --out data/puppets --clips 20 --seed 1
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import librosa
import numpy as np
from tqdm import tqdm

from ..config import SAMPLE_RATE
from ..face import cropping, smoothing
from ..face.photos import shipped_photos
from ..media import audio_file
from ..utils import files as utils_files
from ..utils import npz, processes, terminal
from ..utils.errors import Incomplete, UserError
from . import face
from . import phones as puppets_phones
from . import speech as puppets_speech
from .camera import Camera, Pose
from .face import Puppet
from .heads import Crops, HeadLook, HeadTake
from .person import Person
from .photos import load_puppet
from .utterance import Speech, draw_utterance, plain_utterance

_VERSION = 2  # of the clips; others are made anew
_CLEAR = "clear 3"  # the way in which clear ones are drawn
_HEADS = "heads 2"  # the way in which those of a face model are made
_SMILES = "smiles 2"  # the way in which they smile
_GRINS = 0.7  # share of the clear ones' crops that have images with a grin, one for each
_EVERY = 3  # frames


class _Take:
    """One clip before it is written: a person, a pose and a camera, drawn from `rng`, and a sound with its mouth.

    Args:
        varied: make up a person and a camera, and move the head more.
        clear: see `make_clips`.
        grins: whether there may be images of a grin, which only crops have.
    """

    def __init__(
        self, puppet, wave, opening, width, rng, fps=puppets_speech.FPS, varied=False, clear=False, grins=False
    ):
        self.wave, self.opening, self.width, self.fps = wave, np.float32(opening), np.float32(width), fps
        self.numbers, self.camera, self.grin = {}, None, None
        if varied:
            person, self.camera = Person(rng, smiling=clear), Camera(rng, good=clear)
            self.pose = Pose.drawn(len(opening), fps, puppet.size, rng)
            self.puppet = puppet.as_person(person, rng, alike=clear)
            mouth = {name: np.round(value, 4).tolist() for name, value in dataclasses.asdict(self.puppet.mouth).items()}
            self.numbers = {"person": person.numbers, "camera": self.camera.numbers, "mouth": mouth}
            if grins and rng.random() < _GRINS:
                grin, more = puppet.grinning(person, self.puppet.mouth, rng)
                self.grin = grin, rng.uniform(0.15, 0.65), rng.uniform(0.3, 1.0)
                self.numbers["grin"] = more | dict(zip(("opening", "width"), self.grin[1:], strict=True))
        else:
            self.puppet = puppet.varied(rng)
            self.pose = Pose(*_head_motion(len(opening), fps, puppet.size, rng), np.zeros((len(opening), 2)))

    @property
    def size(self):
        return self.puppet.size

    def at(self, i):
        """What `Puppet.render` and its like take for frame i."""
        return self.opening[i], self.width[i], self.pose[i]

    def frame(self, i, window=None, grins=False):
        """`window` as of `Puppet.render`; `grins`: another image of the head that is held so."""
        puppet, *at = (*self.grin, self.pose[i]) if grins else (self.puppet, *self.at(i))
        image = puppet.render(*at, window)
        number = i + len(self.opening) * grins  # its noise is its own
        return image if self.camera is None else self.camera(image, number, *(window or (0, 0))[:2])

    def truth(self) -> dict[str, np.ndarray]:
        """What is kept beside a clip."""
        numbers = range(len(self.opening))
        return {
            "opening": self.opening,
            "width": self.width,
            "fps": self.fps,
            "corners": np.float32([self.puppet.corners(*self.at(i)) for i in numbers]),
            "landmarks": np.float32([self.puppet.landmarks(*self.at(i)) for i in numbers]),
        }

    def crops(self, img_size) -> Crops:
        """Those of all frames, and behind them those of grins."""
        truth = self.truth()
        smooth = smoothing.smoothed(truth["landmarks"].astype(float))
        frames, size = len(smooth), self.puppet.size
        placed = smoothing.steadied(smooth)
        grins = range(2, frames, _EVERY) if self.grin else ()
        grin = [self.grin[0].landmarks(*self.grin[1:], self.pose[i]) for i in grins]
        images, landmarks, boxes = [], [], []
        for number, (i, points) in enumerate(zip([*range(frames), *grins], [*smooth, *grin], strict=True)):
            box = cropping.landmarks_box(placed[i])
            # The camera works in blocks of 16 pixels.
            x1, y1 = (np.floor(np.maximum(box[:2] - 8, 0) / 16) * 16).astype(int).tolist()
            x2, y2 = np.minimum(np.ceil((box[2:] + 8) / 16) * 16, size).astype(int).tolist()
            image = self.frame(i, (x1, y1, x2, y2), grins=number >= frames)
            images.append(cropping.extract(image, box - (x1, y1, x1, y1), img_size))
            landmarks.append(cropping.to_crop(points, box, img_size))
            boxes.append(box)
        return Crops(images, np.array(landmarks), np.array(boxes), truth)


def write_clip(
    path: str | os.PathLike,
    puppet: Puppet,
    wave: np.ndarray,
    opening: np.ndarray,
    width: np.ndarray,
    rng: np.random.Generator,
    fps: float = puppets_speech.FPS,
    varied: bool = False,
    **note: str,
) -> None:
    """Write a puppet's clip as MP4 with sound, and beside it `<stem>.npz` with the truth.

    The .npz holds `opening` and `width`, float32 (frames,), `fps`, and in pixels of the frame `corners` of the mouth
    (frames, 2, 2) and `landmarks` (frames, 5, 2) as MTCNN would see them, float32. The MP4 is written last: where it
    is, the clip is whole.

    Args:
        path: the MP4 file; its folder is made.
        puppet: the face.
        wave: (samples,) 16 kHz mono in [-1, 1]; cut or padded to the frames.
        opening, width: (frames,).
        rng: decides the light and how the head moves.
        fps: frames a second.
        varied: make up another person of that face, filmed by a camera of its own; `drawn` in the .npz says in JSON
            what was drawn.
        note: further texts to keep in the .npz.

    Raises:
        UserError: the folder cannot be written to.
    """
    _write_video(path, _Take(puppet, wave, opening, width, rng, fps, varied), note)


def _write_video(path, take, note):
    from ..media.video_writer import VideoWriter

    frames, fps, size = len(take.opening), take.fps, take.size
    with utils_files.replacing(path) as temporary:
        with VideoWriter(temporary, size, size, fps, audio=(take.wave, SAMPLE_RATE), duration=frames / fps) as writer:
            for i in range(frames):
                writer.write(take.frame(i), i / fps, 1 / fps)
        with utils_files.replacing(Path(path).with_suffix(".npz")) as temporary_truth:
            np.savez(temporary_truth, **take.truth(), drawn=json.dumps(take.numbers), **note)


def _write_crops(folder, take, img_size, note):
    """What `data.preprocess` would make of the clip, without encoding it and looking for its face again."""
    from ..data import preprocess

    partial = folder.parent / f".{folder.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    crops = take.crops(img_size)
    for number, image in enumerate(crops.images):
        preprocess.write_jpeg(partial / f"{number}.jpg", image)
    frames = len(take.opening)
    preprocess.write_sound(partial, librosa.util.fix_length(take.wave, size=round(frames / take.fps * SAMPLE_RATE)))
    numbers = np.arange(len(crops.images))
    saved = {
        "landmarks": crops.landmarks,
        "box": crops.boxes,
        "frames": numbers,
        "time": np.minimum(numbers, frames) / puppets_speech.FPS,
        "duration": (numbers < frames) / puppets_speech.FPS,
    }
    np.savez(partial / "landmarks.npz", img_size=img_size, steady=np.uint8(1), **saved, **note)
    with utils_files.replacing(folder.with_name(f"{folder.name}.npz")) as temporary:
        np.savez(temporary, **crops.truth, drawn=json.dumps(take.numbers), **note)
    shutil.rmtree(folder, ignore_errors=True)
    os.rename(partial, folder)


def _head_motion(frames, fps, size, rng):
    """Slow random shift (frames, 2) in pixels, angle (frames,) in degrees and zoom (frames, 2) around a random pose."""
    time = np.arange(frames) / fps

    def slow(amount):
        rates, phases = rng.uniform(0.08, 0.7, 3), rng.random(3)
        return amount / 1.7 * np.sin(2 * np.pi * (rates * time[:, None] + phases)).sum(1)

    shift = rng.uniform(-0.025, 0.025, 2) * size + np.stack([slow(0.01 * size), slow(0.008 * size)], 1)
    angle = rng.uniform(-3, 3) + slow(2.0)
    zoom = rng.uniform(0.93, 1.07) * rng.uniform(0.97, 1.03, 2) * (1 + slow(0.012))[:, None]
    return shift, angle, zoom


@dataclasses.dataclass(frozen=True)
class _Job:
    path: Path  # the MP4, or the folder of crops
    puppet: Puppet | HeadLook
    seconds: float
    speech: list[str]
    texts: list[str]
    seed: list[int]
    varied: bool
    clear: bool
    grins: bool
    img_size: int | None  # of crops; None: a video
    note: str


def _make_clip(job: _Job) -> Path:
    rng = np.random.default_rng(job.seed)
    speech = [_load_speech(file) for file in job.speech]
    if job.varied:
        sound = draw_utterance(job.seconds, speech, rng, job.texts)
    else:
        sound = plain_utterance(job.seconds, speech, rng, job.texts)
    if isinstance(job.puppet, HeadLook):
        made_up = job.varied and job.img_size is not None
        take = HeadTake(job.puppet, sound, rng, job.varied, face.FRAME_SIZE, made_up, smiles=job.clear)
    else:
        grins = job.grins and job.clear and job.img_size is not None
        take = _Take(
            job.puppet, sound.wave, sound.opening, sound.width, rng, varied=job.varied, clear=job.clear, grins=grins
        )
    take.numbers |= sound.numbers
    if job.img_size is None:
        _write_video(job.path, take, {"made_with": job.note})
    else:
        _write_crops(job.path, take, job.img_size, {"made_with": job.note})
    return job.path


def _try_clip(job: _Job) -> str:
    """Why a clip could not be made, "" where it was. A failing file operation, such as on a full disc, ends all."""
    try:
        _make_clip(job)
    except UserError as error:
        return str(error) if str(job.path) in str(error) else f"{job.path}: {error}"
    return ""


@functools.lru_cache(maxsize=16)
def _load_speech(file):
    return Speech.load(file)


@dataclasses.dataclass(frozen=True)
class ClipOptions:
    """How clips are made.

    Attributes:
        seed: of everything random.
        seconds: the length of each; without `varied`, pieces of real speech may be shorter where the file is.
        photos: of faces, or videos, of which the frame with the lips shut most is taken; none: those that ship with
            matplotlib and scikit-image.
        speech: files with speech to cut random pieces from; none: synthesised speech. Where a file has the track of its
            phones beside it, `<stem>.txt` (see `phones.read`), these move the mouth.
        texts: sentences that flite says, in place of synthesised speech, or of most of it with `varied`.
        face_model: a 3D face model (see `face_model.FaceModel`) that moves the photos' mouths; None: they are warped.
        mirror: whether to use the mirror images; of the `varied` of a face model half are mirrored anyway.
        varied: every clip shows another made-up person, filmed by a camera of its own, and one in nine has music or
            silence and a mouth at rest. With `speech`, a third of the clips uses it.
        crops: write the folders `out/main/<face>/<00001>/` that `data.preprocess` would make of them instead, which
            is several times as fast and needs no face detector where the photos need none. The images are spared
            H.264, the audio AAC. Most of the `clear` have images with a grin besides, which no audio belongs to and
            only an identity frame can be.
        img_size: of the crops, pixels.
        clear: as `varied`, but many smile, lips are paler, most of them thinner, the cameras are better, and teeth and
            tongues differ less. What an identity frame with the lips shut does not tell, a generator gives as its
            median; here there is less of that. Those of a face model all smile while they speak, two thirds of them
            with their teeth.
        grins: whether `clear` ones of warped photos have images with a grin. A generator learns from these to hide the
            teeth of an identity frame.
    """

    seed: int = 0
    seconds: float = 6.0
    photos: Sequence[str | os.PathLike] = ()
    speech: Sequence[str | os.PathLike] = ()
    texts: Sequence[str] = ()
    face_model: str | os.PathLike | None = None
    mirror: bool = True
    varied: bool = False
    crops: bool = False
    img_size: int = 96
    clear: bool = False
    grins: bool = True


def make_clips(out: str | os.PathLike, clips: int, num_workers: int = 1, **options) -> list[Path]:
    """Make clips in the LRS2 layout: `out/main/<face>/<00001>.mp4` with `<00001>.npz` beside each.

    Every face gives two looks, itself and its mirror image, which take turns. Each clip depends on the seed and its
    own number only. Clips that are there and were made with the same settings are kept.

    Args:
        out: the data root.
        clips: how many in all.
        num_workers: processes.
        options: of `ClipOptions`.

    Returns:
        The MP4 files, or the folders.

    Raises:
        Incomplete: when all others are made, clips that could not be.
        UserError: a photo without a face, speech without sound, a folder that cannot be written to, or not one clip
            that could be made.
    """
    options = ClipOptions(**options)
    utils_files.check_writable(out)
    for file in options.speech:
        audio_file.load_audio(file, max_seconds=1)  # complain now rather than at the clip that uses it
    if options.texts:
        puppets_phones.say(options.texts[0])
    looks = _looks(options, clips)
    planned = [_job(out, looks, clip, options) for clip in range(clips)]
    jobs = [job for job in planned if not _is_made(job.path, job.note, options.crops)]
    failed = []
    with contextlib.closing(processes.run(_try_clip, jobs, num_workers, here=True)) as results:
        for job, reason in tqdm(results, total=clips, initial=clips - len(jobs), unit="clip"):
            if reason is None:
                reason = f"{job.path}: its process was ended from outside, for want of memory? Lower --num_workers"
            if reason:
                failed.append(reason)
    if failed:
        terminal.say(*(f"failed: {reason}" for reason in failed), error=True)
        kind = UserError if len(failed) == clips else Incomplete
        raise kind(f"{out}: {len(failed)} of {clips} clips could not be made; the lines above say why")
    return [job.path for job in planned]


def _looks(options, clips) -> list[Puppet] | list[HeadLook]:
    """The faces of the photos that so many clips need, and their mirror images."""
    photos = list(options.photos) or list(shipped_photos().values())
    if not photos:
        raise UserError("no photo: neither matplotlib nor scikit-image is installed; give one with --photo")
    size = face.FRAME_SIZE * -(-options.img_size // 96) if options.crops else face.FRAME_SIZE
    puppets = {}
    for photo in photos[:clips]:
        puppet = HeadLook.load(photo, options.face_model) if options.face_model else load_puppet(photo, size=size)
        while puppet.name in puppets:
            puppet.name += "_2"
        puppets[puppet.name] = puppet
    if options.face_model:
        return list(puppets.values())
    return list(puppets.values()) + [puppet.mirrored() for puppet in puppets.values() if options.mirror]


def _job(out, looks, clip, options) -> _Job:
    """What there is to do for clip number `clip`."""
    look, varied = looks[clip % len(looks)], options.varied or options.clear
    suffix = "" if options.crops else ".mp4"
    path = Path(out) / "main" / look.name / f"{clip // len(looks) + 1:05d}{suffix}"
    speech = [os.fspath(file) for file in options.speech]
    known = [os.path.basename(file) for file in speech]
    settings = [_VERSION, options.seed, clip, options.seconds, known, _CLEAR if options.clear else varied]
    settings += [hashlib.sha256("\n".join(options.texts).encode()).hexdigest()] if options.texts else []
    settings += [_HEADS, Path(options.face_model).stem] if options.face_model else []
    settings += [_SMILES] if options.face_model and options.clear else []
    settings += [] if options.grins else ["no grins"]
    note = json.dumps([*settings, options.img_size, "steady"] if options.crops else settings)
    size = options.img_size if options.crops else None
    texts, seed = list(options.texts), [options.seed, clip]
    kinds = varied, options.clear, options.grins
    return _Job(path, look, options.seconds, speech, texts, seed, *kinds, size, note)


def _is_made(path, note, crops):
    if crops and path.exists():
        try:
            return _made_with(path / "landmarks.npz") == note
        except UserError as error:
            raise UserError(f"{path}: is there, but no crops of a puppet; choose another --out") from error
    truth = path.with_suffix(".npz")
    if path.exists() and not truth.exists():
        raise UserError(f"{path}: is there, but no clip of a puppet; choose another --out")
    try:
        return path.is_file() and _made_with(truth) == note
    except UserError:
        return False


def _made_with(path):
    return str(npz.read(path, ["made_with"], kinds="U")[0]["made_with"])
