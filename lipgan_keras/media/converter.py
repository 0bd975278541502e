"""Decoded frames of a video as upright BGR arrays of one size; interlaced and HDR ones by libavfilter."""

from collections.abc import Iterable, Iterator

import av
import av.filter
import cv2
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from . import demux
from .image_file import over_white, transpose

# ffmpeg's numbers for matrix coefficients (ITU-T H.273) to swscale's names, which differ between 470BG and 170M
_MATRICES = {1: "ITU709", 4: "FCC", 5: "ITU601", 6: "ITU601", 7: "SMPTE240M", 9: "BT2020", 10: "BT2020"}
_FULL_RANGE = 2  # AVCOL_RANGE_JPEG
_HDR = {16, 18}  # transfer characteristics of H.273: PQ (SMPTE ST 2084), and HLG (ARIB STD-B67)
# Full horizontal chroma, and accurate rounding. A writer halves colour in both directions; bicubic keeps more of it.
ACCURATE, ACCURATE_TO_WRITE = (int(how) | 0x2000 | 0x40000 for how in (Interpolation.BILINEAR, Interpolation.BICUBIC))

# Every frame that is marked interlaced is made of its own lines, at the same rate; others pass.
_DEINTERLACE = "bwdif", "mode=send_frame:parity=auto:deint=interlaced"
# To the colours of an ordinary screen, brightness mapped to what that shows.
_TO_SDR = (
    "scale",
    "out_transfer=bt709:out_primaries=bt709:out_color_matrix=bt709:out_range=full:intent=relative_colorimetric",
)


class Converter:
    """av.VideoFrame to upright BGR arrays, all of one size: `shape` (height, width), or the first one's.

    `exact` False is swscale's quick way, see `video_reader.read_frames`.
    """

    def __init__(self, exact: bool = True, shape: tuple[int, int] | None = None):
        self._reformatter = VideoReformatter()
        self._interpolation = ACCURATE if exact else int(Interpolation.BILINEAR)
        self._shape = shape
        self._to_sdr = Filter(_TO_SDR, ("format", "bgr24"))

    def __call__(self, frame) -> np.ndarray:
        transparent = frame.format.has_palette or any(c.is_alpha for c in frame.format.components)
        if int(frame.color_trc) in _HDR and not transparent:
            image = next(iter(self._to_sdr(frame))).to_ndarray(format="bgr24")
        else:
            image = self._reformat(frame, "bgra" if transparent else "bgr24")
        if transparent:
            image = over_white(image) if image[..., 3].min() < 255 else np.ascontiguousarray(image[..., :3])
        transposed, flips = demux.upright_turn(frame)
        if transposed or flips:
            image = np.ascontiguousarray(np.flip(transpose(image, transposed), flips))
        if self._shape is None:
            self._shape = image.shape[:2]
        return image if image.shape[:2] == self._shape else fitted(image, *self._shape)

    def _reformat(self, frame, wanted):
        if frame.format.is_rgb or frame.format.has_palette:
            colours = {}
        else:
            custom = "ITU709" if frame.height >= 720 else "ITU601"
            full = frame.color_range == _FULL_RANGE or frame.format.name.startswith("yuvj")
            grey = len(frame.format.components) == 1 and frame.color_range == 0  # swscale knows what is usual
            matrix = _MATRICES.get(int(frame.colorspace), custom)
            colours = {
                "src_colorspace": matrix,
                # Means nothing to BGR, but PyAV before 17 ignores the others where this one is the same.
                "dst_colorspace": "ITU601" if matrix == "ITU709" else "ITU709",
                "src_color_range": None if grey else "JPEG" if full else "MPEG",
                "dst_color_range": "JPEG",
            }
        return self._reformatter.reformat(
            frame, format=wanted, interpolation=self._interpolation, **colours
        ).to_ndarray()


def fitted(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Scale an image (h,w,3) to fit into (height,width,3); what is left over beside or above it is black."""
    scale = min(height / image.shape[0], width / image.shape[1])
    size = min(width, round(image.shape[1] * scale)), min(height, round(image.shape[0] * scale))
    image = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    left, top = (width - size[0]) // 2, (height - size[1]) // 2
    return cv2.copyMakeBorder(
        image, top, height - size[1] - top, left, width - size[0] - left, cv2.BORDER_CONSTANT, value=0
    )


class Filter:
    """Frames through filters of libavfilter, each (name, arguments); made anew where the frames change."""

    def __init__(self, *filters: tuple[str, str]):
        self._filters = filters
        self._graph, self._kind = None, None

    def __call__(self, frame) -> Iterator[av.VideoFrame]:
        """Give a frame, None at the end, and take what comes out."""
        if frame is not None:
            kind = frame.width, frame.height, frame.format.name, frame.time_base, frame.colorspace, frame.color_range
            if kind != self._kind:
                yield from self._drained()
                self._build(frame)
                self._kind = kind
            self._graph.push(frame)
        elif self._graph is not None:
            yield from self._drained()
            return
        yield from self._pulled()

    def _build(self, frame):
        self._graph = av.filter.Graph()
        last = self._graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format.name, time_base=frame.time_base
        )
        for name, arguments in (*self._filters, ("buffersink", None)):
            following = self._graph.add(name, arguments)
            last.link_to(following)
            last = following
        self._graph.configure()

    def _pulled(self):
        while self._graph is not None:
            try:
                yield self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return

    def _drained(self):
        if self._graph is not None:
            self._graph.push(None)
            yield from self._pulled()
            self._graph = None


def deinterlaced(frames: Iterable[tuple[float, float | None, av.VideoFrame]]) -> Iterator[tuple]:
    """What `demux.timed_frames` gives, each frame that is interlaced made whole. Times stay."""
    through, waiting = Filter(_DEINTERLACE), []
    active = False
    for time, duration, frame in frames:
        active = active or frame.interlaced_frame
        if not active:
            yield time, duration, frame
            continue
        waiting.append((time, duration))
        for whole in through(frame):
            yield *waiting.pop(0), whole
    if active:
        for whole in through(None):
            if waiting:
                yield *waiting.pop(0), whole
