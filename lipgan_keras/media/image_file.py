"""Still images, and animated WebP, which PyAV cannot read.

OpenCV decodes what is opaque, at any depth. Pillow decodes what is transparent, and AVIF, turns it as EXIF says, and
knows animations.
"""

import io
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps, ImageSequence, PngImagePlugin

from ..utils.errors import UserError
from ..utils.files import quiet_stderr

# Pillow warns above this and refuses twice as much, which is where OpenCV does.
Image.MAX_IMAGE_PIXELS = 1 << 29
PngImagePlugin.MAX_TEXT_CHUNK = 1 << 26  # bytes of a PNG's texts, such as what an editor says of its work


def read_still(path) -> np.ndarray:
    """`video_reader.read_image` of a file that is known to be a still."""
    with quiet_stderr():  # libpng and others complain there, besides returning nothing
        try:
            data = Path(path).read_bytes()
            image = _decode_transparent(data)
            if image is None:
                image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        except Exception:  # noqa: BLE001 - Pillow's decoders raise all sorts
            image = None
    if image is None:
        raise UserError(f"{path}: is a damaged picture; copy or download it again")
    return image


def _decode_transparent(data: bytes) -> np.ndarray | None:
    try:
        # Not by its name: of a mapped file Pillow (13.0) garbles TIFF that EXIF lays on its side.
        with Image.open(io.BytesIO(data)) as image:
            if _is_deep(image):
                raw = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
                return over_white(np.uint8(raw // 257)) if raw.ndim == 3 and raw.shape[2] == 4 else None
            # Pillow cannot make colours of 16-bit grey, the one kind that it keeps at its depth.
            if image.format == "AVIF" or (image.has_transparency_data and image.mode != "I;16"):
                return _bgr(ImageOps.exif_transpose(image))
    except Exception:  # noqa: BLE001 - what Pillow cannot read, OpenCV may
        pass
    return None


def _is_deep(image) -> bool:
    """Whether one colour of 16 bits is transparent, which Pillow looks for among its 8 bits."""
    key = image.info.get("transparency")
    return image.mode == "RGB" and isinstance(key, tuple) and max(key) > 255


def _bgr(image: Image.Image) -> np.ndarray:
    if image.has_transparency_data:
        return over_white(np.asarray(image.convert("RGBA"))[..., [2, 1, 0, 3]])
    return np.ascontiguousarray(np.asarray(image.convert("RGB"))[..., ::-1])


def over_white(image: np.ndarray) -> np.ndarray:
    """Lay BGRA, uint8 (height, width, 4), over white: (height, width, 3) uint8."""
    colour, alpha = image[..., :3].astype(np.float32), image[..., 3:] / np.float32(255)
    return np.rint(255 + (colour - 255) * alpha).astype(np.uint8)


def transpose(image, transposed):
    return image.swapaxes(0, 1) if transposed else image


def is_animated(path) -> bool:
    """Whether a GIF, PNG or WebP file has more than one frame; False for what Pillow cannot read."""
    try:
        with Image.open(path) as image:
            return image.is_animated
    except Exception:  # noqa: BLE001 - Pillow's decoders raise all sorts; who reads the file says what is wrong
        return False


def webp_frames(path) -> Iterator[tuple[float, float, np.ndarray]]:
    """(time, duration, image) of an animated WebP."""
    time = 0.0
    try:
        with Image.open(path) as animation:
            for frame in ImageSequence.Iterator(animation):
                image = _bgr(frame)  # decodes it: only then is its duration known
                duration = max(frame.info["duration"], 10) / 1000  # 0 means as fast as possible
                yield time, duration, image
                time += duration
    except Exception as error:  # noqa: BLE001 - Pillow's decoders raise all sorts
        raise UserError(f"{path}: this animated WebP cannot be read; convert it to MP4 (H.264)") from error
