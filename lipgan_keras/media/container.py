"""Media files opened by PyAV, for pictures and sound alike: only files, and only formats that hold their own data."""

import contextlib
import io
import os
from collections.abc import Iterator
from typing import Any

import av
import av.logging

from ..utils.errors import UserError
from ..utils.files import regular

# Errors reach the user as one UserError line. Any level but None lets decoder threads wait for the lock of Python that
# the thread that closes the file holds, for ever.
av.logging.set_level(None)

MOST_PIXELS = 1 << 27  # of a picture, or a frame of a video; each takes up to 16 bytes while it is decoded
# What people have. Play lists and scripts (hls, dash, concat, sdp, ...), which read other files, are not among them,
# nor are devices, or what needs to be told its rate. Names are those of libavformat.
FORMATS = (
    "3dostr aac ac3 aiff amr ape apng asf au avi avif av1 avs2 caf dts dv eac3 f4v flac flv gif gxf h261 h263 h264 "
    "hevc ivf ircam loas matroska matroska,webm m4v mjpeg mlp mov mov,mp4,m4a,3gp,3g2,mj2 mp3 mpc mpc8 mpeg mpegts "
    "mpegvideo mxf nut obu ogg oma qcp rm rso smjpeg sox tak truehd tta ty vc1 voc w64 wav webm wsvqa wtv wv xwma "
    "yuv4mpegpipe"
)
# Not PyAV's `options`, which also go to the streams: PyAV before 18 may crash on those.
_OPTIONS = {"protocol_whitelist": "file", "format_whitelist": FORMATS.replace(" ", ",")}


@contextlib.contextmanager
def open_container(
    path: str | os.PathLike, data: bytes | memoryview | None = None, wanted: str = "a media file"
) -> Iterator[Any]:
    """Open a media file.

    Args:
        path: the file.
        data: its bytes, where there is no such file; `path` is its name then.
        wanted: what the file is to hold, for the error.

    Raises:
        UserError: no such file, not a regular file, not allowed to be read, or not of the formats of `FORMATS`.
    """
    if data is None and not os.path.isfile(regular(path)):
        what = "is a folder" if os.path.isdir(path) else "no such file"
        raise UserError(f"{path}: {what}; check the path")
    # "file:" so that no name is taken for an address
    source = f"file:{os.fspath(path)}" if data is None else io.BytesIO(data)
    try:
        container = av.open(source, container_options=_OPTIONS, metadata_errors="replace")
    except PermissionError as error:
        raise UserError(f"{path}: may not be read; check its permissions") from error
    except (av.error.FFmpegError, OSError) as error:
        raise UserError(
            f"{path}: is not {wanted} that can be read ({error.strerror}); is it complete? "
            "Convert it to MP4 and try again"
        ) from error
    with container:
        yield container
