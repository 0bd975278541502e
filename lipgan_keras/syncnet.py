"""LSE-D, LSE-C and the audio-video offset of videos, by SyncNet.

    python -m lipgan_keras.syncnet convert syncnet_v2.model syncnet.weights.h5
    python -m lipgan_keras.syncnet score --weights syncnet.weights.h5 VIDEO...

SyncNet (Chung & Zisserman, "Out of time", 2016, https://www.robots.ox.ac.uk/~vgg/publications/2016/Chung16a/) gives
0.2 s of faces and of sound a vector of 1024 numbers each, near one another where they belong together. LSE-D and LSE-C
(Prajwal et al., "A Lip Sync Expert Is All You Need", 2020, https://arxiv.org/abs/2008.10010) come from its distances.
Its weights are not here: users download the authors' PyTorch file, `convert` rewrites it, and only that needs torch.

From the authors' pipeline this differs in two ways. Faces are found with MTCNN, not S3FD, whose boxes have other
margins and so give another zoom: figures compare among themselves, with published ones only roughly. (How much it
matters is not measured.) Their script also writes each frame as JPEG and reads it again, which with made-up weights
moved LSE-D by 5 % and LSE-C by half; here frames are scored as OpenCV decodes them.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import io
import itertools
import json
import math
import os
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import h5py
import numpy as np
import scipy.fft

from . import audio, cli, tracking, video
from .backend import keras
from .cli import UserError

layers = keras.layers

FPS = 25
SAMPLES = audio.SAMPLE_RATE // FPS  # of one frame
SIZE = 224
RUN = 5  # frames that the lip stream sees
SOUND_STEPS = 20  # MFCC frames that the audio stream hears, 4 to a frame of the picture
REACH = 15  # sounds up to so many frames away are compared
BATCH = 8
FORMAT = 1  # of the weights file

MEDIAN = 13  # frames over which face boxes are filtered
MARGIN = 0.4  # of the crop around the box, in half sides of the box
GREY = 110  # beyond the picture
LATE = 0.002  # seconds; a frame that comes so much after k / 25 still counts as shown then: containers round times
BRIDGE = 25  # frames without a detection that are filled in
NOT_ONE = "give a file that `python -m lipgan_keras.syncnet convert` wrote"

# ---------------------------------------------------------------------------------------------------------------------
# The networks


def build_lip() -> keras.Model:
    """(N,5,224,224,3) float32, BGR 0..255, five frames at 25 fps -> (N,1024) float32.

    The one convolution over time takes in all five frames, so here they are 15 channels and all is two-dimensional.
    """
    frames = layers.Input((RUN, SIZE, SIZE, 3))
    x = layers.Permute((2, 3, 1, 4))(frames)
    x = layers.Reshape((SIZE, SIZE, 3 * RUN))(x)
    x = _conv(x, 0, 96, 7, 2)
    x = layers.MaxPooling2D(3, 2)(x)
    x = _conv(x, 4, 256, 5, 2, pad=1)
    x = layers.MaxPooling2D(3, 2)(layers.ZeroPadding2D(1)(x))  # after a ReLU zeros are as good as -infinity
    for number in (8, 11, 14):
        x = _conv(x, number, 256, 3, pad=1)
    x = layers.MaxPooling2D(3, 2)(x)
    x = _conv(x, 18, 512, 6)
    return keras.Model(frames, _head(x), name="lip")


def build_sound() -> keras.Model:
    """(N,13,20,1) float32, `mfcc` of 0.2 s -> (N,1024) float32."""
    sound = layers.Input((13, SOUND_STEPS, 1))
    x = _conv(sound, 0, 64, 3, pad=1)
    x = _conv(x, 4, 192, 3, pad=1)
    x = layers.MaxPooling2D(3, (1, 2))(x)
    x = _conv(x, 8, 384, 3, pad=1)
    for number in (11, 14):
        x = _conv(x, number, 256, 3, pad=1)
    x = layers.MaxPooling2D(3, 2)(x)
    x = _conv(x, 18, 512, (5, 4))
    return keras.Model(sound, _head(x), name="sound")


def _conv(x, number, channels, size, strides=1, pad=0):
    """Convolution, batch norm, ReLU. Layers carry the numbers that they have in the PyTorch file."""
    if pad:
        x = layers.ZeroPadding2D(pad)(x)
    x = layers.Conv2D(channels, size, strides, name=f"conv_{number}")(x)
    x = layers.BatchNormalization(epsilon=1e-5, name=f"conv_{number + 1}")(x)
    return layers.ReLU()(x)


def _head(x):
    x = layers.Dense(512, name="full_0")(layers.Flatten()(x))
    x = layers.BatchNormalization(epsilon=1e-5, name="full_1")(x)
    return layers.Dense(1024, name="full_3")(layers.ReLU()(x))


# ---------------------------------------------------------------------------------------------------------------------
# Weights

STREAMS = {"lip": build_lip, "sound": build_sound}
# Names of PyTorch's file
_MODULES = {"lip": {"conv": "netcnnlip", "full": "netfclip"}, "sound": {"conv": "netcnnaud", "full": "netfcaud"}}
_PARAMETERS = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def _weights(models) -> Iterator[tuple[str, str, str, keras.Variable]]:
    """(stream, layer, name, variable) of all."""
    for stream, model in models.items():
        for layer in model.layers:
            for variable in layer.weights:
                yield stream, layer.name, variable.name, variable


def convert(source: str | os.PathLike, out: str | os.PathLike) -> None:
    """Rewrite the weights released as `syncnet_v2.model`, a PyTorch state dict, as an HDF5 file for `SyncNet`.

    Nothing but arrays is read from it (`weights_only`); no code in it runs.

    Raises:
        UserError: torch is missing, no such file, not a state dict, or not SyncNet's: the first array that is missing
            or of another shape is named.
    """
    cli.check_outfile(out, source, suffix=".h5")
    state = _state_dict(source)
    models = {stream: build() for stream, build in STREAMS.items()}
    data = io.BytesIO()  # HDF5 that meets a full disc ends in a crash, not in an error
    with h5py.File(data, "w") as file:
        file.attrs["lipgan_keras_syncnet"] = FORMAT
        for stream, layer, name, variable in _weights(models):
            kind, number = layer.split("_")
            key = f"{_MODULES[stream][kind]}.{number}.{_PARAMETERS[name]}"
            file[f"{stream}/{layer}/{name}"] = _array(state, key, tuple(variable.shape), source)
    with cli.replacing(out) as temporary:
        temporary.write_bytes(data.getbuffer())


def _state_dict(path) -> dict:
    if not os.path.isfile(path):
        raise UserError(f"{path}: no such file; name the released syncnet_v2.model")
    try:
        with cli.signals_put_off(), cli.quiet_stderr():
            import torch
    except ImportError as error:
        raise UserError(f"{path}: reading a PyTorch file needs torch, once; run: pip install torch") from error
    try:
        with warnings.catch_warnings(), cli.quiet_stderr():
            warnings.simplefilter("ignore")
            state = torch.load(path, map_location="cpu", weights_only=True)
    except PermissionError as error:
        raise UserError(f"{path}: may not be read; check its permissions") from error
    except Exception as error:  # of many kinds, from deep within
        raise UserError(
            f"{path}: is not a PyTorch file of weights alone, or is damaged; name the released syncnet_v2.model"
        ) from error
    if not isinstance(state, dict):
        raise UserError(f"{path}: holds no PyTorch state dict; name the released syncnet_v2.model")
    return {key: value for key, value in state.items() if isinstance(value, torch.Tensor)}


def _array(state, key, wanted, path) -> np.ndarray:
    if key not in state:
        raise UserError(f"{path}: is not SyncNet, it holds no {key}; name the released syncnet_v2.model")
    value = state[key].float().numpy()
    if value.ndim == 5:  # channels out, in, frames, rows, columns
        value = value.transpose(3, 4, 2, 1, 0).reshape(*value.shape[3:], -1, len(value))
    elif value.ndim == 4:
        value = value.transpose(2, 3, 1, 0)
    elif value.ndim == 2:
        value = value.T
    if value.shape != wanted:
        shapes = " and ".join("x".join(map(str, shape)) for shape in (value.shape, wanted))
        raise UserError(
            f"{path}: is another SyncNet, {key} is not of its shape ({shapes}); name the released syncnet_v2.model"
        )
    if not np.isfinite(value).all():
        raise UserError(f"{path}: {key} holds infinite numbers or NaN, the file is damaged; download it again")
    return np.ascontiguousarray(value)


def _load(models, path) -> None:
    if not os.path.isfile(path):
        raise UserError(f"{path}: no such file; {NOT_ONE}")
    try:
        with h5py.File(path, "r") as file:
            if "lipgan_keras_syncnet" not in file.attrs:
                raise UserError(f"{path}: holds no SyncNet; {NOT_ONE}")
            if int(file.attrs["lipgan_keras_syncnet"]) > FORMAT:
                raise UserError(f"{path}: was written by a newer lipgan_keras; update this one")
            values = [(variable, _dataset(file, path, *names, variable)) for *names, variable in _weights(models)]
    except UserError:
        raise
    except PermissionError as error:
        raise UserError(f"{path}: may not be read; check its permissions") from error
    except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise UserError(f"{path}: is not an HDF5 file, or is damaged; {NOT_ONE}") from error
    for variable, value in values:
        variable.assign(value)


def _dataset(file, path, stream, layer, name, variable) -> np.ndarray:
    key = f"{stream}/{layer}/{name}"
    for part in itertools.accumulate(key.split("/"), "{}/{}".format):
        if not isinstance(file.get(part, getlink=True), h5py.HardLink):
            raise UserError(f"{path}: holds no {key}; {NOT_ONE}")
    dataset = file[key]
    plain = isinstance(dataset, h5py.Dataset) and not dataset.external and not dataset.is_virtual
    if not plain or dataset.shape != tuple(variable.shape):
        raise UserError(f"{path}: its {key} is not SyncNet's; {NOT_ONE}")
    return np.asarray(dataset[()], np.float32)


# ---------------------------------------------------------------------------------------------------------------------
# Sound


def mfcc(wave: np.ndarray) -> np.ndarray:
    """The 13 mel-frequency cepstral coefficients that SyncNet was trained on: python_speech_features' defaults.

    Pre-emphasis 0.97; rectangular frames of 25 ms every 10 ms, the last one filled up with zeros; power spectrum of 512
    points over 512; 26 triangular filters from 0 to 8 kHz, equally spaced on the scale 2595 log10(1 + f / 700), their
    edges at whole bins; logarithm, orthonormal DCT-II, lifter 22; the first coefficient is the log energy instead.

    Args:
        wave: (n,) 16 kHz mono, as float in [-1, 1] or as int16.

    Returns:
        float32 (T, 13), T = 1 + ceil((n - 400) / 160), at least 1.
    """
    if wave.dtype != np.int16:
        wave = np.clip(np.rint(np.asarray(wave, np.float64) * 32768), -32768, 32767)
    wave = wave.astype(np.float64)
    count = 1 + max(0, math.ceil((len(wave) - 400) / 160))
    wave = np.append(wave[:1], wave[1:] - 0.97 * wave[:-1])
    wave = np.pad(wave, (0, 400 + 160 * (count - 1) - len(wave)))
    frames = np.lib.stride_tricks.sliding_window_view(wave, 400)[::160]
    return np.concatenate([_cepstrum(frames[i : i + 4096]) for i in range(0, count, 4096)])  # bounded memory


def _cepstrum(frames) -> np.ndarray:
    tiny = np.finfo(np.float64).eps  # in place of 0, which has no logarithm
    power = np.abs(np.fft.rfft(frames, 512)) ** 2 / 512
    energy, mel = power.sum(axis=1), power @ _mel_filters().T
    cepstrum = scipy.fft.dct(np.log(np.where(mel == 0, tiny, mel)), axis=1, norm="ortho")[:, :13]
    cepstrum *= 1 + 11 * np.sin(np.pi * np.arange(13) / 22)
    cepstrum[:, 0] = np.log(np.where(energy == 0, tiny, energy))
    return cepstrum.astype(np.float32)


@functools.cache
def _mel_filters() -> np.ndarray:
    """(26, 257)."""
    mel = np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 28)
    edges = np.floor(513 * 700 * (10 ** (mel / 2595) - 1) / audio.SAMPLE_RATE)
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    bins = np.arange(257)
    return np.clip(np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre)), 0, None)


# ---------------------------------------------------------------------------------------------------------------------
# Pictures


def at_25_fps(frames: Iterable[video.Frame]) -> Iterator[video.Frame]:
    """The frame that is shown at each time k / 25 s, k = 0, 1, ... up to the end of the last frame.

    Before the first frame that is the first. Of videos at 25 fps each frame comes once.
    """
    frames, k = iter(frames), 0
    shown = next(frames, None)
    while shown is not None:
        following = next(frames, None)
        end = shown.time + shown.duration if following is None else following.time
        while k / FPS + LATE < end:
            yield video.Frame(shown.image, k / FPS, 1 / FPS)
            k += 1
        shown = following


@dataclasses.dataclass
class _Sight:
    """A frame on its way: the picture until it is cut, the stretch without a jump that its face belongs to, if any."""

    image: np.ndarray | None
    stretch: int | None = None
    place: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(3))  # half side and centre x, y of the box


def face_crops(frames: Iterable[video.Frame]) -> Iterator[tuple[np.ndarray | None, int | None]]:
    """Each frame's face as SyncNet is to see it, and the number of the stretch without a jump that it belongs to.

    The largest person is followed. Of the detector's boxes, half the longer side and the centre are median-filtered
    over 13 frames, with zeros beyond the ends of the stretch, as scipy.signal.medfilt has them; so stretches of fewer
    than 7 frames show no face.

    Yields:
        (224,224,3) BGR uint8 and the stretch; None and None for a frame without a face.
    """
    ends = [_Sight(None)] * (MEDIAN // 2)
    line: collections.deque[_Sight] = collections.deque(maxlen=MEDIAN)
    for sight in itertools.chain(ends, _sights(frames), ends):
        line.append(sight)
        if len(line) < MEDIAN:
            continue
        middle = line[MEDIAN // 2]
        half, x, y = np.median([s.place if s.stretch == middle.stretch else np.zeros(3) for s in line], axis=0)
        image, middle.image = middle.image, None
        yield (_crop(image, half, x, y), middle.stretch) if half >= 1 else (None, None)


def _sights(frames) -> Iterator[_Sight]:
    for tracked in tracking.track(frames, bridge=BRIDGE, smooth=False):
        sight = _Sight(tracked.frame.image)
        for face in tracked.faces:
            x1, y1, x2, y2 = face.face.box.astype(np.float64)
            sight.stretch = face.track
            sight.place = np.array([max(x2 - x1, y2 - y1) / 2, (x1 + x2) / 2, (y1 + y2) / 2])
        yield sight


def _crop(image, half, x, y) -> np.ndarray:
    """Rows y - s to y + 1.8 s, columns x - 1.4 s to x + 1.4 s, grey beyond the picture."""
    side = half * (1 + MARGIN)
    top, bottom = math.floor(y - half), math.floor(y + half * (1 + 2 * MARGIN))
    left, right = math.floor(x - side), math.floor(x + side)
    height, width = image.shape[:2]
    beyond = max(0, -top), max(0, bottom - height), max(0, -left), max(0, right - width)
    inside = image[max(0, top) : max(0, bottom), max(0, left) : max(0, right)]
    return _resize(
        cv2.copyMakeBorder(inside, *beyond, cv2.BORDER_CONSTANT, value=(GREY,) * 3) if any(beyond) else inside
    )


def _resize(image) -> np.ndarray:
    return cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)


# ---------------------------------------------------------------------------------------------------------------------
# Scores


class SyncNet:
    """SyncNet with its weights loaded, to score any number of videos.

    Args:
        weights: the file that `convert` wrote.

    Raises:
        UserError: no such file, or none of SyncNet's.
    """

    def __init__(self, weights: str | os.PathLike):
        self.models = {stream: build() for stream, build in STREAMS.items()}
        _load(self.models, weights)

    def lip_features(self, crops: Iterable[tuple[np.ndarray | None, int | None]]) -> np.ndarray:
        """One vector for each five frames in a row; holds few frames at a time.

        Args:
            crops: as `face_crops` gives them.

        Returns:
            float32 (frames - 4, 1024); NaN where the five do not all show the face, in one stretch.
        """
        places, found, batch = [], [], []
        line: collections.deque = collections.deque(maxlen=RUN)
        count = 0
        for crop in crops:
            line.append(crop)
            if len(line) < RUN:
                continue
            if line[0][1] is not None and len({stretch for _, stretch in line}) == 1:
                places.append(count)
                batch.append([image for image, _ in line])
            count += 1
            if len(batch) == BATCH:
                found.append(self._predict("lip", batch))
                batch = []
        if batch:
            found.append(self._predict("lip", batch))
        features = np.full((count, 1024), np.nan, np.float32)
        if found:
            features[places] = np.concatenate(found)
        return features

    def sound_features(self, wave: np.ndarray, count: int) -> np.ndarray:
        """float32 (count, 1024): a vector for the 0.2 s of `wave` (see `mfcc`) from the start of each frame."""
        steps = np.lib.stride_tricks.sliding_window_view(mfcc(wave), SOUND_STEPS, axis=0)[::4][:count, ..., None]
        batches = [self._predict("sound", steps[i : i + 8 * BATCH], 8 * BATCH) for i in range(0, count, 8 * BATCH)]
        return np.concatenate(batches)

    def _predict(self, stream, batch, size=BATCH) -> np.ndarray:
        batch = np.asarray(batch).astype(np.float32)
        filled = np.pad(batch, [(0, size - len(batch))] + [(0, 0)] * (batch.ndim - 1))  # one shape, compiled once
        return np.asarray(self.models[stream].predict_on_batch(filled))[: len(batch)]

    def distances(self, frames: np.ndarray, wave: np.ndarray) -> np.ndarray:
        """Mean distances of pictures from the sound around them.

        Args:
            frames: (n,224,224,3) BGR uint8 at 25 fps.
            wave: (m,) 16 kHz mono, as float in [-1, 1] or as int16; starts with the first frame.

        Returns:
            (31,) float64: from the sound 15 frames earlier to that 15 frames later.

        Raises:
            ValueError: fewer than 6 frames, or so little sound.
        """
        if len(frames) and frames.shape[1:] != (SIZE, SIZE, 3):
            raise ValueError(f"frames of shape {frames.shape[1:]}, not {(SIZE, SIZE, 3)}")
        if min(len(frames), len(wave) // SAMPLES) <= RUN:
            raise ValueError(f"{len(frames)} frames and {len(wave)} samples; {RUN + 1} frames of both are needed")
        return self._distances(((frame, 0) for frame in frames), wave)[0]

    def _distances(self, crops, wave) -> tuple[np.ndarray, int, int]:
        """`distances`, the positions over which they are means, and the frames; NaN where there is no position."""
        lip = self.lip_features(itertools.islice(crops, len(wave) // SAMPLES))
        frames, lip = len(lip) + RUN - 1, lip[:-1]
        if not len(lip):
            return np.full(2 * REACH + 1, np.nan), 0, frames
        sound = np.pad(self.sound_features(wave, len(lip)), ((REACH, REACH), (0, 0)))
        seen = np.flatnonzero(np.isfinite(lip[:, 0]))
        lip = lip[seen] + np.float32(1e-6)  # as PyTorch's pairwise_distance
        shifts = range(2 * REACH + 1)
        if not len(seen):
            return np.full(len(shifts), np.nan), 0, frames
        means = [np.linalg.norm(lip - sound[seen + shift], axis=1).mean(dtype=np.float64) for shift in shifts]
        return np.array(means), len(seen), frames

    def score(
        self, path: str | os.PathLike, crop: bool = True, sound: str | os.PathLike | np.ndarray | None = None
    ) -> dict[str, float | int | list[float]]:
        """Score one video.

        The video is brought to 25 fps by `at_25_fps`. Distances are averaged over the positions whose five frames show
        the face in one stretch. Sound and picture both start at the container's time 0. Videos of under 2 s are judged
        by their ends, where the sound that is compared lies beyond the file and counts as zeros.

        Args:
            path: a video with sound.
            crop: find the face and crop it (`face_crops`); False squeezes whole frames to 224x224 pixels.
            sound: a file, or (m,) 16 kHz mono as for `distances`, heard in place of the video's own.

        Returns:
            "lse_d": the smallest mean distance, lower is better; "lse_c": their median less the smallest, higher is
            better; "offset": frames of 40 ms by which the sound comes early; "distances": the 31 means, from the sound
            15 frames earlier to that 15 later; "positions": over which; "frames": at 25 fps, that have sound.

        Raises:
            UserError: unreadable, no sound, shorter than 6 frames, or no face in it.
        """
        wave = sound if isinstance(sound, np.ndarray) else audio.load_audio(path if sound is None else sound)
        frames = at_25_fps(video.read_frames(path, exact=False))
        crops = face_crops(frames) if crop else ((_resize(frame.image), 0) for frame in frames)
        means, positions, count = self._distances(crops, wave)
        if count <= RUN:
            raise UserError(
                f"{path}: is too short, {RUN + 1} frames of 40 ms with sound are needed; give a longer video"
            )
        if not positions:
            raise UserError(
                f"{path}: shows no face in {RUN} frames in a row; give a video with one, or score whole frames"
            )
        return summary(means) | {"positions": positions, "frames": count}


def summary(distances: np.ndarray) -> dict[str, float | int | list[float]]:
    """LSE-D, LSE-C and the offset of 31 mean distances; see `SyncNet.score`."""
    best = int(np.argmin(distances))
    return {
        "lse_d": float(distances[best]),
        "lse_c": float(np.median(distances) - distances[best]),
        "offset": REACH - best,
        "distances": [float(value) for value in distances],
    }


def score(
    weights: str | os.PathLike | SyncNet,
    path: str | os.PathLike,
    crop: bool = True,
    sound: str | os.PathLike | np.ndarray | None = None,
) -> dict[str, float | int | list[float]]:
    """`SyncNet.score` of one video; `weights` is the file that `convert` wrote, or a loaded `SyncNet`."""
    network = weights if isinstance(weights, SyncNet) else SyncNet(weights)
    return network.score(path, crop, sound)


def main() -> None:
    parser = cli.ArgumentParser(prog="python -m lipgan_keras.syncnet", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    rewrite = commands.add_parser("convert", help="rewrite the released PyTorch weights (needs torch)")
    rewrite.add_argument("file", help="syncnet_v2.model, as its authors released it")
    rewrite.add_argument("out", help="HDF5 file to write, such as syncnet.weights.h5")
    measure = commands.add_parser("score", help="LSE-D, LSE-C and the offset of videos")
    measure.add_argument("videos", nargs="+", metavar="VIDEO", help="a video with sound")
    measure.add_argument("--weights", required=True, help="the file that convert wrote")
    measure.add_argument(
        "--whole_frames", action="store_true", help="squeeze whole frames, such as face crops, into the network"
    )
    measure.add_argument("--json", help="file to write the results to")
    args = parser.parse_args()
    if args.command == "convert":
        convert(args.file, args.out)
        print(f"{args.out}: SyncNet")
        return
    if args.json:
        cli.check_writable(Path(args.json).parent)
    network, results, failed = SyncNet(args.weights), {}, 0
    for path in args.videos:
        try:
            results[path] = found = network.score(path, crop=not args.whole_frames)
            print(f"{path}: {_words(found)}, offset {found['offset']:+d} frames of 40 ms", flush=True)
        except UserError as error:
            failed += 1
            print(f"failed: {error}", flush=True)
    if len(results) > 1:
        means = {name: np.mean([found[name] for found in results.values()]) for name in ("lse_d", "lse_c")}
        print(f"mean of {len(results)} videos: {_words(means)}")
    if args.json:
        with cli.replacing(args.json) as temporary:
            temporary.write_text(json.dumps(results, indent=2) + "\n")
    if failed:
        raise UserError(f"{failed} of {len(args.videos)} videos could not be scored; see above")


def _words(found) -> str:
    return f"LSE-D {found['lse_d']:.3f}, LSE-C {found['lse_c']:.3f}"


if __name__ == "__main__":
    cli.run(main)
