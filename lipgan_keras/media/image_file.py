"""Still images, and animated WebP, which PyAV cannot read.

Pillow reads what the file says: size, turn, colour profile, animation. OpenCV decodes what is opaque, at any depth.
Pillow decodes what is transparent, AVIF, HEIC, and what is not of sRGB.
"""

import contextlib
import io
import math
import warnings
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageCms, ImageOps, ImageSequence, PngImagePlugin

from ..utils.errors import UserError
from ..utils.files import quiet_stderr
from .container import MOST_PIXELS

_STRIP = 256  # rows that are laid over white at once
Image.MAX_IMAGE_PIXELS = MOST_PIXELS  # Pillow warns above, and refuses twice as much
PngImagePlugin.MAX_TEXT_CHUNK = 1 << 26  # bytes of a PNG's texts, such as what an editor says of its work
with contextlib.suppress(ImportError):
    import pillow_heif

    pillow_heif.register_heif_opener()
HEIC = "HEIF" in Image.MIME  # whether such pictures can be read here


def read_still(path) -> np.ndarray:
    """`video_reader.read_image` of a file that is known to be a still."""
    image = None
    with quiet_stderr():  # libpng and others complain there, besides returning nothing
        try:
            data = Path(path).read_bytes()
            _check_size(path, data)
            image = _decode(data)
        except UserError:
            raise
        except Exception:  # noqa: BLE001 - decoders raise all sorts
            pass
    if image is None:
        raise UserError(f"{path}: is a damaged picture; copy or download it again")
    return image


def declared_size(source) -> tuple[int, int]:
    """(width, height) as the beginning of a picture, a path or an open file, says them; of a bomb 65,536 each.

    Raises:
        OSError, ValueError: Pillow knows no such picture.
    """
    try:
        with _opened(source) as image:
            return image.size
    except Image.DecompressionBombError:
        return 1 << 16, 1 << 16


@contextlib.contextmanager
def _opened(source):
    """`PIL.Image.open` without its warning of large pictures, which `_check_size` refuses in a line of its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = Image.open(source)
    with image:
        yield image


def fitted(image: np.ndarray, side: int) -> np.ndarray:
    """An image with no side longer than `side` pixels: itself, or made smaller."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return image
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _check_size(path, data: bytes) -> None:
    """Before anything is decoded: a small file may be a large picture."""
    if math.prod(declared_size(io.BytesIO(data))) > MOST_PIXELS:
        raise UserError(
            f"{path}: has more than the {MOST_PIXELS / 1e6:.0f} million pixels that are read here; make it smaller"
        )


def _decode(data: bytes) -> np.ndarray | None:
    # Not by its name: of a mapped file Pillow (13.0) garbles TIFF that EXIF lays on its side.
    with Image.open(io.BytesIO(data)) as image:
        if _is_deep(image):
            raw = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
            if raw is not None and raw.ndim == 3 and raw.shape[2] == 4:
                return _turned(over_white(np.uint8(raw // 257)), image)
        to_srgb = _to_srgb(image)
        # Pillow cannot make colours of 16-bit grey, the one kind that it keeps at its depth.
        if image.format in ("AVIF", "HEIF") or to_srgb or (image.has_transparency_data and image.mode != "I;16"):
            with contextlib.suppress(Exception):  # what Pillow cannot decode, OpenCV may
                shown = ImageOps.exif_transpose(image)
                return _bgr(to_srgb(shown) if to_srgb else shown)
        found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        if found is not None:
            return found
        raw = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        return _turned(_of_floats(raw), image) if raw is not None and raw.dtype.kind == "f" else None


def _of_floats(raw):
    """A picture of floats, 0 to 1, such as some TIFF are."""
    grey = np.rint(255 * np.clip(np.nan_to_num(raw), 0, 1)).astype(np.uint8)
    return cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR) if grey.ndim == 2 else np.ascontiguousarray(grey[..., :3])


def _turned(pixels, image):
    """As EXIF says, which OpenCV leaves out of account where it is to change nothing else."""
    orientation = image.getexif().get(0x112, 1)
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    flips = {2: (1,), 3: (0, 1), 4: (0,), 6: (1,), 7: (0, 1), 8: (0,)}.get(orientation, ())
    return np.ascontiguousarray(np.flip(pixels, flips))


def _to_srgb(image):
    """What turns the colours of this picture's profile into those of sRGB; None: they are, or it has none."""
    profile = image.info.get("icc_profile")
    if not profile or image.mode not in ("RGB", "RGBA"):
        return None
    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "srgb" in ImageCms.getProfileDescription(own).lower():
            return None
        change = ImageCms.buildTransform(own, ImageCms.createProfile("sRGB"), image.mode, image.mode)
    except (ImageCms.PyCMSError, OSError, ValueError):  # a damaged profile
        return None
    return lambda shown: ImageCms.applyTransform(shown, change)


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
    found = np.empty((*image.shape[:2], 3), np.uint8)
    for top in range(0, len(image), _STRIP):  # in floats the whole of a large picture would take gigabytes
        part = image[top : top + _STRIP]
        colour, alpha = part[..., :3].astype(np.float32), part[..., 3:] / np.float32(255)
        found[top : top + _STRIP] = np.rint(255 + (colour - 255) * alpha)
    return found


def transpose(image, transposed):
    return image.swapaxes(0, 1) if transposed else image


def is_animated(path) -> bool:
    """Whether a GIF, PNG or WebP file has more than one frame; False for what Pillow cannot read."""
    try:
        with _opened(path) as image:
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
