"""Still images, and animated WebP, which PyAV cannot read."""

import os
from collections.abc import Iterator

import cv2
import numpy as np

from ..utils.errors import UserError
from ..utils.files import quiet_stderr


def read_still(path) -> np.ndarray:
    """`read_image` of a file that is known to be a still."""
    with quiet_stderr():  # libpng and others complain there, besides returning nothing
        image = _decode_still(np.fromfile(path, np.uint8))
    if image is None:
        raise UserError(f"{path}: is a damaged picture; copy or download it again")
    return image


def _decode_still(data: np.ndarray) -> np.ndarray | None:
    try:
        raw = cv2.imdecode(data, cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
        if raw is not None and raw.ndim == 3 and raw.shape[2] == 4:
            image = over_white(raw)
            upright = cv2.imdecode(data, cv2.IMREAD_COLOR)  # only this one heeds EXIF
            return _like(image, cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION), upright)
        return cv2.imdecode(data, cv2.IMREAD_COLOR)
    except cv2.error:
        return None


def over_white(image: np.ndarray) -> np.ndarray:
    """Lay BGRA, uint8 or uint16, over white: (height, width, 3) uint8."""
    scale = 255 / np.iinfo(image.dtype).max
    colour, alpha = image[..., :3].astype(np.float32) * scale, image[..., 3:].astype(np.float32) * (scale / 255)
    return np.rint(255 + (colour - 255) * alpha).astype(np.uint8)


def _like(image: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Turn `image` the way that `before` became `after`, one of the eight EXIF orientations."""
    for transposed in (False, True):
        for flips in ((), (0,), (1,), (0, 1)):
            if np.array_equal(np.flip(transpose(before, transposed), flips), after):
                return np.ascontiguousarray(np.flip(transpose(image, transposed), flips))
    return image


def transpose(image, transposed):
    return image.swapaxes(0, 1) if transposed else image


def webp_frames(path) -> Iterator[tuple[float, float, np.ndarray]]:
    """(time, duration, image) of an animated WebP, of which OpenCV reads 32 frames at a time."""
    time, first = 0.0, 0
    while True:
        try:
            with quiet_stderr():
                read, animation = cv2.imreadanimation(os.fspath(path), start=first, count=32)
        except (cv2.error, AttributeError):
            read = False
        if not read or not len(animation.frames):
            break
        for image, milliseconds in zip(animation.frames, np.ravel(animation.durations), strict=False):
            duration = max(float(milliseconds), 10.0) / 1000  # 0 means as fast as possible
            yield time, duration, over_white(image) if image.shape[2] == 4 else image
            time += duration
        first += len(animation.frames)
    if first == 0:
        raise UserError(f"{path}: this animated WebP cannot be read; convert it to MP4 (H.264)")
