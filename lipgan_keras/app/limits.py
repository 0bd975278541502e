"""What a visitor's files may be: looked at before anything in them is decoded."""

import contextlib
import dataclasses
import os
from pathlib import Path

from ..media import container, demux, image_file, probe
from ..utils.errors import UserError

MEGABYTE = 1 << 20


@dataclasses.dataclass(frozen=True)
class Limits:
    """Of one visitor's work.

    Attributes:
        seconds: of sound.
        megabytes: of a file, 2^20 bytes each.
        megapixels: of a picture, or of a frame of a video, 10^6 pixels each.
        waiting: runs that may wait for their turn.
        live: visitors who may speak live at once; 0: nobody.
        live_seconds: that one of them may speak.
    """

    seconds: float = 120.0
    megabytes: float = 100.0
    megapixels: float = 25.0
    waiting: int = 8
    live: int = 1
    live_seconds: float = 300.0

    @property
    def bytes(self) -> int:
        """Of a file, at most."""
        return round(self.megabytes * MEGABYTE)

    def check_face(self, path: str | os.PathLike) -> None:
        """See that a picture or a video may be used.

        Raises:
            UserError: it is too large, or neither a picture nor a video.
        """
        self._check_size(path)
        kind = probe.file_kind(path)
        size = None
        if kind == "video":
            with demux.open_media(path) as (_, stream):
                size = stream.codec_context.width, stream.codec_context.height
        else:
            with contextlib.suppress(OSError, ValueError):  # whoever decodes it says what is wrong with it
                size = image_file.declared_size(path)
        if size and size[0] * size[1] > self.megapixels * 1e6:
            raise UserError(
                f"{path}: has {size[0]}x{size[1]} pixels, {size[0] * size[1] / 1e6:.0f} million, and "
                f"{self.megapixels:g} million are the most here; make it smaller"
            )

    def check_sound(self, path: str | os.PathLike) -> None:
        """See that a file with sound may be used; one that does not say how long it is will be cut.

        Raises:
            UserError: it is too large, has no sound, or lasts too long.
        """
        self._check_size(path)
        if not Path(path).stat().st_size:
            raise UserError(f"{path}: is empty; give a file with sound")
        with container.open_container(path, wanted="a file with sound") as opened:
            stream = opened.streams.best("audio")
            if stream is None:
                raise UserError(f"{path}: has no sound; give a recording of someone who speaks")
            seconds = float(stream.duration * stream.time_base) if stream.duration else (opened.duration or 0) / 1e6
        if seconds > self.seconds + 0.5:
            raise UserError(
                f"{path}: lasts {seconds:.0f} seconds, and {self.seconds:g} are the most here; give a part of it"
            )

    def _check_size(self, path):
        try:
            size = os.stat(path).st_size
        except OSError:
            raise UserError(f"{path}: is no longer here; give it again") from None
        if size > self.bytes:
            raise UserError(
                f"{path}: has {size / MEGABYTE:.0f} MB, and {self.megabytes:g} MB are the most here; make it smaller"
            )
