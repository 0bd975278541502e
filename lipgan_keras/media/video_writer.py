"""Frames and audio into an MP4 file: H.264 and AAC."""

import contextlib
import errno
import itertools
import os
import sys
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter

from ..utils.errors import UserError
from . import clock, container, converter, demux

_AAC_RATES = (7350, 8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
_AAC_FRAME = 1024
_CLOCK = 90000  # ticks a second of the written video track
# x264's. Mouths come out nearer to what was made than with "fast" and 18, for less work: docs/benchmarks.md
PRESET, CRF = "veryfast", 16
CHROMA = -6  # chroma-qp-offset: else a small face's teeth take the colour of the lips about them


class VideoWriter:
    """Write H.264 (yuv420p, BT.709) and AAC into an MP4 that browsers play, its index in front.

    A context manager. Sound goes in along with the frames. The file is written at `path` directly; give it a
    temporary name (`files.replacing`) where a half-written file would hurt.

    Args:
        path: the MP4 file.
        width, height: of the frames; odd ones are padded by repeating the last column or row.
        fps: the nominal rate, for rate control and for frames written without a duration.
        audio: a file with audio, or (wave, rate): float array (n,) or (n, 1, 2 or 6 channels) in -1..1 at `rate` Hz,
            or an iterator of mono pieces (n,), taken as they are needed, about 0.1 s ahead of the video.
            Its own rate and channels are kept where AAC has them (of a file's more than two, 5.1 stays, others become
            stereo). The audio starts at time 0 of its file's clock; gaps in it become silence.
        max_seconds: the audio is cut here.
        sample_aspect_ratio: width of a pixel over its height.
        duration: the audio is cut or padded with silence to last this many seconds; without it, it keeps its length.
        crf: x264's quality, smaller is better.
        metadata: tags of the file, such as "title" and "comment".

    Raises:
        UserError: no such audio file, or no audio in it.
        OSError: the file cannot be written (no space left, ...), with its name.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        width: int,
        height: int,
        fps: float,
        audio: str | os.PathLike | tuple[np.ndarray | Iterator[np.ndarray], int] | None = None,
        max_seconds: float | None = None,
        sample_aspect_ratio: Fraction | float = 1,
        duration: float | None = None,
        crf: float = CRF,
        metadata: dict[str, str] | None = None,
    ):
        self.path = os.fspath(path)
        self._size = width, height
        self._step = 1 / fps
        self._last = -1
        self._durations: dict[int, int] = {}
        self._reformatter = VideoReformatter()
        self._sound = None
        if audio is not None:
            end = min((s for s in (max_seconds, duration) if s is not None), default=None)
            self._sound = _Sound(audio, end, duration is not None)
        try:
            with self._errors():
                self._container = av.open(f"file:{self.path}", "w", format="mp4", options={"movflags": "+faststart"})
                self._container.metadata.update(metadata or {})
                self._open_streams(width + width % 2, height + height % 2, fps, crf, Fraction(sample_aspect_ratio))
                self._container.start_encoding()  # opens the file
        except BaseException:
            self._abandon()
            raise

    def _open_streams(self, width, height, fps, crf, ratio):
        rate = Fraction(fps).limit_denominator(1001)
        # No B-frames: MP4 keeps durations in decoding order, so that with them the last frame's would be another's.
        options = {"crf": str(crf), "preset": PRESET, "bf": "0", "x264-params": f"chroma-qp-offset={CHROMA}"}
        self._video = self._container.add_stream("libx264", rate=rate, options=options)
        context = self._video.codec_context
        context.width, context.height, context.pix_fmt = width, height, "yuv420p"
        context.time_base = self._video.time_base = Fraction(1, _CLOCK)
        context.sample_aspect_ratio = ratio.limit_denominator(1000)
        context.colorspace = context.color_primaries = context.color_trc = 1  # BT.709
        context.color_range = 1  # limited
        self._audio = None
        if self._sound:
            self._audio = self._container.add_stream("aac", rate=self._sound.rate, layout=self._sound.layout)
            self._audio.codec_context.bit_rate = 96000 * self._sound.channels

    def write(self, image: np.ndarray, time: float, duration: float | None = None) -> None:
        """Add a frame.

        Args:
            image: (height, width, 3) BGR uint8.
            time: seconds, later than the frame before. Kept to 1/90000 s.
            duration: seconds; it counts for the last frame, others last until the next one. Default: 1 / fps.
        """
        width, height = self._size
        if image.shape != (height, width, 3):
            raise ValueError(f"a frame of shape {image.shape} in a video of {(height, width, 3)}")
        if height % 2 or width % 2:
            image = cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        frame = self._reformatter.reformat(
            av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "bgr24"),
            format="yuv420p",
            interpolation=converter.ACCURATE_TO_WRITE,
            dst_colorspace="ITU709",
            src_color_range="JPEG",
            dst_color_range="MPEG",
        )
        frame.colorspace, frame.color_range = 1, 1
        frame.pts = max(round(time * _CLOCK), self._last + 1)
        frame.time_base = Fraction(1, _CLOCK)
        self._last = frame.pts
        self._durations[frame.pts] = max(1, round((self._step if duration is None else duration) * _CLOCK))
        with self._errors():
            self._mux_video(frame)
            if self._audio:
                self._mux_audio(frame.pts / _CLOCK)

    def _mux_video(self, frame):
        for packet in self._video.encode(frame):
            packet.duration = self._durations.pop(packet.pts, packet.duration)
            self._container.mux(packet)

    def _mux_audio(self, until):
        for frame in self._sound.frames(until):
            self._container.mux(self._audio.encode(frame))

    def cut_sound(self, seconds: float) -> None:
        """End the audio earlier than was said at first; what is written already stays."""
        if self._sound:
            self._sound.cut(seconds)

    def close(self) -> None:
        """Finish the file."""
        with self._errors():
            self._mux_video(None)
            if self._audio:
                self._mux_audio(float("inf"))
                self._container.mux(self._audio.encode(None))
            self._container.close()
        if self._sound:
            self._sound.close()

    def _abandon(self):
        with contextlib.suppress(Exception):
            self._container.close()
        if self._sound:
            self._sound.close()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace) -> None:
        if kind is not None:
            self._abandon()
            return
        try:
            self.close()
        except BaseException:
            self._abandon()
            raise

    @contextlib.contextmanager
    def _errors(self):
        try:
            yield
        except av.error.FFmpegError as error:
            code = error.errno if error.errno in errno.errorcode else errno.EIO
            raise OSError(code, error.strerror, self.path) from None


class _Sound:
    """The audio of a file or an array, from time 0 on, as frames for the AAC encoder."""

    def __init__(self, audio, end: float | None, pad: bool):
        self._opened = contextlib.ExitStack()
        if isinstance(audio, tuple):
            wave, self._source_rate = audio[0], int(audio[1])
            if isinstance(wave, Iterator):
                self.channels = 1
                self._blocks = (np.asarray(block, np.float32)[None] for block in wave)
            else:
                wave = np.asarray(wave, np.float32)
                wave = wave[None] if wave.ndim == 1 else wave.T
                self.channels = len(wave)
                if self.channels not in (1, 2, 6):
                    raise ValueError(f"a wave of {self.channels} channels; 1, 2 and 6 can be written")
                self._blocks = (wave[:, i : i + 65536] for i in range(0, wave.shape[1], 65536))
        else:
            opened, stream = self._opened.enter_context(_open_sound(audio))
            self._source_rate = stream.codec_context.sample_rate
            self.channels = stream.codec_context.layout.nb_channels
        if self.channels not in (1, 2, 6):
            self.channels = 2
        self.layout = {1: "mono", 2: "stereo", 6: "5.1"}[self.channels]
        self.rate = min((r for r in _AAC_RATES if r >= self._source_rate), default=_AAC_RATES[-1])
        if not isinstance(audio, tuple):
            blocks = _sound_blocks(audio, opened, stream, self.layout, self._source_rate)
            first = next(blocks, None)
            if first is None:
                self.close()
                raise UserError(f"{audio}: its sound cannot be decoded; convert it to WAV and try again")
            self._blocks = itertools.chain([first], blocks)
        self._left = sys.maxsize if end is None else round(end * self.rate)
        self._pad = pad
        self._position = 0
        self._queue = self._encodable()

    def frames(self, until: float) -> Iterator[Any]:
        """The next frames, up to the one that holds second `until`."""
        while self._position <= until * self.rate:
            frame = next(self._queue, None)
            if frame is None:
                return
            self._position += frame.samples
            yield frame

    def cut(self, seconds):
        """No sound after this moment, or after what was taken already."""
        self._left = min(self._left, max(0, round(seconds * self.rate) - self._position))

    def close(self):
        self._opened.close()

    def _encodable(self):
        silence = itertools.repeat(np.zeros((self.channels, _AAC_FRAME), np.float32)) if self._pad else ()
        blocks = itertools.chain(self._resampled(), silence)
        pending = np.zeros((self.channels, 0), np.float32)
        position = 0
        while self._left > 0:
            block = next(blocks, None) if pending.shape[1] < min(_AAC_FRAME, self._left) else pending[:, :0]
            if block is None and not pending.shape[1]:
                return
            if block is not None:
                pending = np.concatenate([pending, block], axis=1)
                if pending.shape[1] < min(_AAC_FRAME, self._left):
                    continue
            samples = pending[:, : min(_AAC_FRAME, self._left)]
            pending = pending[:, samples.shape[1] :]
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), "fltp", self.layout)
            frame.sample_rate, frame.time_base, frame.pts = self.rate, Fraction(1, self.rate), position
            position += samples.shape[1]
            self._left -= samples.shape[1]
            yield frame

    def _resampled(self):
        if self._source_rate == self.rate:
            yield from self._blocks
            return
        resampler = av.AudioResampler("fltp", self.layout, self.rate)
        position = 0
        for block in self._blocks:
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), "fltp", self.layout)
            frame.sample_rate, frame.time_base = self._source_rate, Fraction(1, self._source_rate)
            frame.pts = position
            position += block.shape[1]
            yield from (out.to_ndarray() for out in resampler.resample(frame))
        yield from (out.to_ndarray() for out in resampler.resample(None))


@contextlib.contextmanager
def _open_sound(path) -> Iterator[tuple[Any, Any]]:
    with container.open_container(path, wanted="a file with sound") as opened:
        if not opened.streams.audio:
            raise UserError(f"{path}: has no sound; name a file with an audio track")
        yield opened, opened.streams.best("audio")  # the one that `audio_file.load_audio` hears


def _sound_blocks(path, opened, stream, layout, rate) -> Iterator[np.ndarray]:
    """Float blocks (channels, n) that follow on each other from time 0 of the file's clock."""
    file_clock, position, started = clock.Clock(path, opened), 0, False
    resampler, setup = None, None
    for frame, _ in demux.decoded_frames(opened, stream, file_clock):
        if frame is None:
            continue
        if setup != (frame.format.name, frame.layout.name, frame.sample_rate):  # may change in mid-stream
            setup = (frame.format.name, frame.layout.name, frame.sample_rate)
            resampler = av.AudioResampler("fltp", layout, rate)
        time = None if frame.pts is None else float(file_clock.seconds(frame.pts, frame.time_base))
        frame.pts = None  # the resampler is to count samples only
        for out in resampler.resample(frame):
            block = out.to_ndarray()
            missing = 0 if time is None else round(time * rate) - position
            time = None
            if started and abs(missing) <= 0.05 * rate:
                missing = 0
            started = True
            while missing > 0:
                silence = np.zeros((len(block), min(missing, rate)), np.float32)
                missing -= silence.shape[1]
                position += silence.shape[1]
                yield silence
            block = block[:, -missing:] if missing else block
            position += block.shape[1]
            if block.shape[1]:
                yield block
