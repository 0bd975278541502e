"""LSE-D, LSE-C and the audio-video offset of videos, by SyncNet.

    python -m lipgan_keras.syncnet convert syncnet_v2.model syncnet.weights.h5
    python -m lipgan_keras.syncnet score --weights syncnet.weights.h5 VIDEO...

SyncNet (Chung & Zisserman, "Out of time", 2016, https://www.robots.ox.ac.uk/~vgg/publications/2016/Chung16a/) gives
0.2 s of faces and of audio a vector of 1024 numbers each, near one another where they belong together. LSE-D and LSE-C
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
import itertools
import json
import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
import scipy  # its parts are loaded when they are used

from ..config import SAMPLE_RATE
from ..face import detector, tracking
from ..media import audio_file, video_reader
from ..media.video_reader import Frame
from ..utils import cli, files, terminal
from ..utils.cli import ArgumentParser
from ..utils.errors import Incomplete, UserError
from . import syncnet_networks, syncnet_weights
from .metrics.sound import av_offset, lse_c, lse_d
from .syncnet_weights import convert, load_weights

FPS = 25
SAMPLES = SAMPLE_RATE // FPS  # of one frame
REACH = 15  # sounds up to so many frames away are compared
BATCH = 8

MEDIAN = 13  # frames over which face boxes are filtered
MARGIN = 0.4  # of the crop around the box, in half sides of the box
GREY = 110  # beyond the image
LATE = 0.002  # seconds; a frame that comes so much after k / 25 still counts as shown then: containers round times
BRIDGE = 25  # frames without a detection that are filled in


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
    edges = np.floor(513 * 700 * (10 ** (mel / 2595) - 1) / SAMPLE_RATE)
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    bins = np.arange(257)
    return np.clip(np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre)), 0, None)


def at_25_fps(frames: Iterable[Frame]) -> Iterator[Frame]:
    """The frame that is shown at each time k / 25 s, k = 0, 1, ... up to the end of the last frame.

    Before the first frame that is the first. Of videos at 25 fps each frame comes once.
    """
    frames, k = iter(frames), 0
    shown = next(frames, None)
    while shown is not None:
        following = next(frames, None)
        end = shown.time + shown.duration if following is None else following.time
        while k / FPS + LATE < end:
            yield Frame(shown.image, k / FPS, 1 / FPS)
            k += 1
        shown = following


@dataclasses.dataclass
class _FollowedFrame:
    """A frame on its way: the image until it is cut, the stretch without a jump that its face belongs to, if any."""

    image: np.ndarray | None
    stretch: int | None = None
    place: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(3))  # half side and centre x, y of the box


def face_crops(frames: Iterable[Frame]) -> Iterator[tuple[np.ndarray | None, int | None]]:
    """Each frame's face as SyncNet is to see it, and the number of the stretch without a jump that it belongs to.

    The largest person is followed. Of the detector's boxes, half the longer side and the centre are median-filtered
    over 13 frames, with zeros beyond the ends of the stretch, as scipy.signal.medfilt has them; so stretches of fewer
    than 7 frames show no face.

    Yields:
        (224,224,3) BGR uint8 and the stretch; None and None for a frame without a face.
    """
    ends = [_FollowedFrame(None)] * (MEDIAN // 2)
    line: collections.deque[_FollowedFrame] = collections.deque(maxlen=MEDIAN)
    for followed in itertools.chain(ends, _followed(frames), ends):
        line.append(followed)
        if len(line) < MEDIAN:
            continue
        middle = line[MEDIAN // 2]
        half, x, y = np.median([s.place if s.stretch == middle.stretch else np.zeros(3) for s in line], axis=0)
        image, middle.image = middle.image, None
        yield (_crop(image, half, x, y), middle.stretch) if half >= 1 else (None, None)


def _followed(frames) -> Iterator[_FollowedFrame]:
    detector.expect_many()
    for tracked in tracking.track(frames, bridge=BRIDGE, smooth=False):
        followed = _FollowedFrame(tracked.frame.image)
        for face in tracked.faces:
            x1, y1, x2, y2 = face.face.box.astype(np.float64)
            followed.stretch = face.track
            followed.place = np.array([max(x2 - x1, y2 - y1) / 2, (x1 + x2) / 2, (y1 + y2) / 2])
        yield followed


def _crop(image, half, x, y) -> np.ndarray:
    """Rows y - s to y + 1.8 s, columns x - 1.4 s to x + 1.4 s, grey beyond the image."""
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
    return cv2.resize(image, (syncnet_networks.SIZE, syncnet_networks.SIZE), interpolation=cv2.INTER_LINEAR)


class SyncNet:
    """SyncNet with its weights loaded, to score any number of videos.

    Args:
        weights: the file that `convert` wrote.

    Raises:
        UserError: no such file, or none of SyncNet's.
    """

    def __init__(self, weights: str | os.PathLike):
        syncnet_weights.check(weights)
        self.models = {stream: build() for stream, build in syncnet_weights.STREAMS.items()}
        load_weights(self.models, weights)

    def lip_features(self, crops: Iterable[tuple[np.ndarray | None, int | None]]) -> np.ndarray:
        """One vector for each five frames in a row; holds few frames at a time.

        Args:
            crops: as `face_crops` gives them.

        Returns:
            float32 (frames - 4, 1024); NaN where the five do not all show the face, in one stretch.
        """
        places, found, batch = [], [], []
        line: collections.deque = collections.deque(maxlen=syncnet_networks.RUN)
        count = 0
        for crop in crops:
            line.append(crop)
            if len(line) < syncnet_networks.RUN:
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
        steps = np.lib.stride_tricks.sliding_window_view(mfcc(wave), syncnet_networks.SOUND_STEPS, axis=0)[::4][
            :count, ..., None
        ]
        batches = [self._predict("sound", steps[i : i + 8 * BATCH], 8 * BATCH) for i in range(0, count, 8 * BATCH)]
        return np.concatenate(batches)

    def _predict(self, stream, batch, size=BATCH) -> np.ndarray:
        batch = np.asarray(batch).astype(np.float32)
        filled = np.pad(batch, [(0, size - len(batch))] + [(0, 0)] * (batch.ndim - 1))  # one shape, compiled once
        return np.asarray(self.models[stream].predict_on_batch(filled))[: len(batch)]

    def distances(self, frames: np.ndarray, wave: np.ndarray) -> np.ndarray:
        """Mean distances of images from the audio around them.

        Args:
            frames: (n,224,224,3) BGR uint8 at 25 fps.
            wave: (m,) 16 kHz mono, as float in [-1, 1] or as int16; starts with the first frame.

        Returns:
            (31,) float64: from the audio 15 frames earlier to that 15 frames later.

        Raises:
            ValueError: fewer than 6 frames, or so little sound.
        """
        if len(frames) and frames.shape[1:] != (syncnet_networks.SIZE, syncnet_networks.SIZE, 3):
            raise ValueError(
                f"frames of shape {frames.shape[1:]}, not {(syncnet_networks.SIZE, syncnet_networks.SIZE, 3)}"
            )
        if min(len(frames), len(wave) // SAMPLES) <= syncnet_networks.RUN:
            raise ValueError(
                f"{len(frames)} frames and {len(wave)} samples; {syncnet_networks.RUN + 1} frames of both are needed"
            )
        return self._distances(((frame, 0) for frame in frames), wave)[0]

    def _distances(self, crops, wave) -> tuple[np.ndarray, int, int]:
        """`distances`, the positions over which they are means, and the frames; NaN where there is no position."""
        lip = self.lip_features(itertools.islice(crops, len(wave) // SAMPLES))
        frames, lip = len(lip) + syncnet_networks.RUN - 1, lip[:-1]
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
        the face in one stretch. Sound and image both start at the container's time 0. Videos of under 2 s are judged
        by their ends, where the audio that is compared lies beyond the file and counts as zeros.

        Args:
            path: a video with audio.
            crop: find the face and crop it (`face_crops`); False squeezes whole frames to 224x224 pixels.
            sound: a file, or (m,) 16 kHz mono as for `distances`, heard in place of the video's own.

        Returns:
            "lse_d": the smallest mean distance, lower is better; "lse_c": their median less the smallest, higher is
            better; "offset": frames of 40 ms by which the audio comes early; "distances": the 31 means, from the audio
            15 frames earlier to that 15 later; "positions": over which; "frames": at 25 fps, that have sound.

        Raises:
            UserError: unreadable, no audio, shorter than 6 frames, or no face in it.
        """
        wave = sound if isinstance(sound, np.ndarray) else audio_file.load_audio(path if sound is None else sound)
        frames = at_25_fps(video_reader.read_frames(path, exact=False))
        crops = face_crops(frames) if crop else ((_resize(frame.image), 0) for frame in frames)
        means, positions, count = self._distances(crops, wave)
        if count <= syncnet_networks.RUN:
            raise UserError(
                f"{path}: is too short, {syncnet_networks.RUN + 1} frames of 40 ms with sound are needed; "
                "give a longer video"
            )
        if not positions:
            raise UserError(
                f"{path}: shows no face in {syncnet_networks.RUN} frames in a row; give a video with one, "
                "or score whole frames"
            )
        return summary(means) | {"positions": positions, "frames": count}


def summary(distances: np.ndarray) -> dict[str, float | int | list[float]]:
    """LSE-D, LSE-C and the offset of 31 mean distances; see `SyncNet.score`."""
    return {
        "lse_d": lse_d(distances),
        "lse_c": lse_c(distances),
        "offset": int(av_offset(distances)),
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
    parser = ArgumentParser(prog="python -m lipgan_keras.syncnet", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    rewrite = commands.add_parser("convert", help="rewrite the released PyTorch weights (needs torch)")
    rewrite.add_argument("file", type=cli.path, help="syncnet_v2.model, as its authors released it")
    rewrite.add_argument("out", type=cli.path, help="HDF5 file to write, such as syncnet.weights.h5")
    measure = commands.add_parser("score", help="LSE-D, LSE-C and the offset of videos")
    measure.add_argument("videos", type=cli.path, nargs="+", metavar="VIDEO", help="a video with sound")
    measure.add_argument("--weights", type=cli.path, required=True, help="the file that convert wrote")
    measure.add_argument(
        "--whole_frames", action="store_true", help="squeeze whole frames, such as face crops, into the network"
    )
    measure.add_argument("--json", type=cli.path, help="file to write the results to")
    args = parser.parse_args()
    if args.command == "convert":
        convert(args.file, args.out)
        terminal.say(f"{args.out}: SyncNet")
        return
    if args.json:
        files.check_outfile(args.json, *args.videos, args.weights, suffix=None, mark=b'"lse_d"')
        files.check_writable(Path(args.json).parent)
    network, results, failed = SyncNet(args.weights), {}, 0
    for path in args.videos:
        try:
            results[path] = found = network.score(path, crop=not args.whole_frames)
            terminal.say(f"{path}: {_words(found)}, offset {found['offset']:+d} frames of 40 ms")
        except UserError as error:
            failed += 1
            terminal.say(f"failed: {error}", error=True)
    if len(results) > 1:
        means = {name: np.mean([found[name] for found in results.values()]) for name in ("lse_d", "lse_c")}
        print(f"mean of {len(results)} videos: {_words(means)}")
    if args.json and results:
        with files.replacing(args.json) as temporary:
            temporary.write_text(json.dumps(results, indent=2) + "\n")
    if failed:
        kind = Incomplete if results else UserError
        raise kind(f"{failed} of {len(args.videos)} videos could not be scored; see above")


def _words(found) -> str:
    return f"LSE-D {found['lse_d']:.3f}, LSE-C {found['lse_c']:.3f}"
