"""Whether an image file can be whole, told by its ends, and how large it says that it is, without decoding."""

import io
from pathlib import Path

from PIL import Image

from ..utils import files
from ..utils.errors import UserError

START, END = b"\xff\xd8\xff", b"\xff\xd9"
TAIL = 64  # bytes at the end in which the marker is looked for: some programs fill files up
MOST_SIDE = 4096  # pixels of a saved image
_SIZES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # markers of segments that tell the size


def looks_whole(path: Path) -> bool:
    """Whether a file begins and ends as a JPEG does, or begins as none, which `cv2.imdecode` may know all the same."""
    try:
        with open(files.regular(path), "rb") as file:
            head = file.read(len(START))
            file.seek(0, 2)
            file.seek(max(0, file.tell() - TAIL))
            return _fit(head, file.read(TAIL))
    except (OSError, UserError):
        return False


def is_closed(data: bytes | memoryview) -> bool:
    """The same of what a file holds."""
    return _fit(bytes(data[: len(START)]), bytes(data[-TAIL:]))


def _fit(head, tail):
    return len(head) == len(START) and (head != START or END in tail)


def check(data: bytes | memoryview) -> None:
    """See that an image is no JPEG that is cut short, and not too large to decode.

    Raises:
        UserError: it is, in words without its name.
    """
    if not is_closed(data):
        raise UserError("is cut short")
    if max(_sides(data)) > MOST_SIDE:
        raise UserError(f"says that it is larger than {MOST_SIDE} pixels")


def _sides(data):
    """(rows, columns) as its header says; zeros where there is none, which decoding will find."""
    if bytes(data[: len(START)]) != START:
        try:
            with Image.open(io.BytesIO(data)) as image:
                return image.size
        except Exception:  # noqa: BLE001 - of many kinds; it is no image that anyone knows
            return 0, 0
    at = 2
    while at + 9 < len(data) and data[at] == 0xFF:
        if data[at + 1] in _SIZES:
            return data[at + 5] << 8 | data[at + 6], data[at + 7] << 8 | data[at + 8]
        at += 1 if data[at + 1] == 0xFF else 2 + (data[at + 2] << 8 | data[at + 3])
    return 0, 0
