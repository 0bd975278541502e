"""Preprocessed clips in folders, and packed into one file to carry them to where training runs.

A pack is a ZIP file of the clips' folders, and unzipped it is them again, for `clip_folder`: images are byte for
byte the JPEG files they were, arrays are compressed (npz), and audio is audio.flac, which holds the samples of
audio.wav without loss (where it would not, audio.wav stays). mels.npz is left out where it is what the audio gives.
Members of the ZIP file itself are not compressed, so that `dataset` reads them out of one memory map that all threads
share.
"""

import functools
import io
import mmap
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from tqdm import tqdm

from .. import audio
from ..media import audio_file
from ..utils import files as utils_files
from ..utils import npz, tables
from ..utils.errors import UserError

SOUND = "audio.flac"
SOURCE = "source.txt"  # see `clip_folder.Clip`
COMMENT = b"lipgan_keras pack 1"
NAMES = re.compile(r"[0-9]{1,9}\.(jpg|npz)|audio\.(wav|flac)|mels\.npz|landmarks\.npz|source\.txt")
HEADER = struct.Struct("<4s2HH2H3L2H")  # of a member, in front of its name and data
AGAIN = "make it again with preprocess.py --pack"


def clip_folders(data_root: str | os.PathLike) -> list[Path]:
    """The folders of clips below a folder, sorted, without hidden ones, which are half-written; or those in a pack.

    Raises:
        UserError: there is no such folder or pack, or no clip in it.
    """
    check_root(data_root)
    return list(_clip_folders(data_root))


def check_root(data_root: str | os.PathLike) -> None:
    """Refuse what has no clip below it; a folder is read up to its first one.

    Raises:
        UserError: there is no such folder or pack, or no clip in it.
    """
    if not os.path.exists(utils_files.regular(data_root)):
        raise UserError(f"{data_root}: no such folder; give the folder or the pack that preprocess.py wrote")
    if next(_clip_folders(data_root), None) is None:
        raise UserError(
            f"{data_root}: holds no preprocessed clip (folders of 0.jpg, 1.jpg, ...); run preprocess.py first"
        )


def _clip_folders(data_root):
    if os.path.isfile(data_root):
        yield from read(data_root)
        return
    for folder, subfolders, files in os.walk(data_root):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        if any(name.endswith(".jpg") and name[:-4].isdecimal() for name in files):
            yield Path(folder)


def read_list(path: Path) -> set[str] | None:
    """The names in a list file; None: no such file.

    A line holds `<video>/<clip>`, or more or less of the end of a clip's path: it names all clips whose paths end so. A
    `.mp4` at its end and a second column are ignored.
    """
    if not utils_files.regular(path).is_file():
        return None
    lines = tables.lines(path, "a list of <video>/<clip> lines", "check --filelists")
    return {line[0].removesuffix(".mp4").strip("/") for line in lines}


def is_named(folder: Path, names: set[str]) -> bool:
    """Whether a list names a clip's folder."""
    return not names.isdisjoint(names_of(folder))


def names_of(folder: Path) -> list[str]:
    """By which a list may name a clip's folder, the shortest first."""
    return ["/".join(folder.parts[-depth:]) for depth in range(1, len(folder.parts) + 1)]


def source_in(folder: Path, read: Callable[[Path], bytes] = Path.read_bytes) -> str:
    """The `<video>/<clip>` of which a clip was made, as its source.txt says.

    Raises:
        UserError: it says no such thing.
    """
    path = folder / SOURCE
    try:
        lines = read(path).decode("utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError):
        lines = [""]
    parts = [part for part in lines[0].strip().split("/") if part]
    if not parts or any(line.strip() for line in lines[1:]):
        raise UserError(f"{path}: is to be one line, the <video>/<clip> that this clip was made of; write it so")
    return "/".join(parts[-2:])


def write(data_root: str | os.PathLike, folders: Sequence[Path], path: str | os.PathLike, max_bytes: int) -> int:
    """Pack clips of any layout that `clip_folder.Clip` knows.

    Args:
        data_root: a folder; the names in the pack are below it.
        folders: of the clips, below it.
        path: the file to write.
        max_bytes: at most so large.

    Returns:
        The size in bytes.

    Raises:
        UserError: they do not fit, or one of their files cannot be read; nothing is written then.
    """
    inside = []
    for folder in folders:
        names = {entry.name for entry in os.scandir(folder) if NAMES.fullmatch(entry.name) and entry.is_file()}
        names -= {SOUND} if "audio.wav" in names else set()
        inside.append((folder, sorted(names)))
    image_bytes = sum(
        (folder / name).stat().st_size for folder, names in inside for name in names if name.endswith(".jpg")
    )
    _check(data_root, path, image_bytes, max_bytes, "their pictures alone are")
    with utils_files.replacing(path) as temporary:
        with zipfile.ZipFile(temporary, "w") as file:
            file.comment = COMMENT
            for folder, names in tqdm(inside, "packing", unit="clip", leave=False, delay=1):
                for name in names:
                    packed = _packed(folder, name)
                    if packed is not None:
                        member = PurePosixPath(folder.relative_to(data_root)) / packed[0]
                        # One date for all, so that the same clips make the same bytes.
                        file.writestr(zipfile.ZipInfo(member.as_posix()), packed[1])
        size = temporary.stat().st_size
        _check(data_root, path, size, max_bytes, "they are")
    return size


def _check(data_root, path, size, max_bytes, words):
    if size > max_bytes:
        # Rounded up, so that what is named is enough.
        raise UserError(
            f"{path}: the clips below {data_root} do not fit into {max_bytes / 1e6:g} MB, {words} "
            f"{-(-size // 100_000) / 10:g} MB; allow more with --pack_mb, or name fewer clips in the lists of "
            "--filelists"
        )


def _packed(folder, name):
    """(name, bytes) of a clip's file in a pack; None: it can be left out."""
    path = folder / name
    if name.endswith(".jpg") or name == SOURCE:
        return name, utils_files.regular(path).read_bytes()
    if name == "audio.wav":
        flac = audio_file.flac(path)
        same = flac is not None and np.array_equal(
            audio_file.load_audio(path), audio_file.load_audio(folder / SOUND, data=flac)
        )
        return (SOUND, flac) if same else (name, path.read_bytes())
    if name == SOUND:
        return name, utils_files.regular(path).read_bytes()
    arrays, _ = npz.read(path, kinds="fiubU")
    sound = folder / "audio.wav"
    ours = name == "mels.npz" and (folder / "landmarks.npz").exists() and sound.exists()
    if ours and np.array_equal(arrays.get("spec"), audio.melspectrogram(audio_file.load_audio(sound))):
        return None
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)
    return name, packed.getvalue()


def is_pack(path: Path) -> bool:
    """Whether a file is one of `write`."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.comment == COMMENT
    except Exception:  # noqa: BLE001 - of many kinds, from deep within
        return False


def file_of(folder: Path) -> Path | None:
    """The pack in which a clip is whose folder lies, so to speak, below it, or is it; None: in no file."""
    return next((path for path in (folder, *folder.parents) if path.is_file()), None)


def read(path: str | os.PathLike) -> dict[Path, dict[str, memoryview]]:
    """{clip folder, as if the pack were a folder: {file name: bytes}}, in the order in which they were packed;
    memory-mapped.

    All of it is checked against its checksums.

    Raises:
        UserError: not a pack, or a damaged one.
    """
    return _read(os.fspath(path), os.path.abspath(path), os.stat(path).st_mtime_ns)


@functools.lru_cache(maxsize=4)
def _read(path, _absolute, _changed):
    clips = {}
    try:
        with open(path, "rb") as opened, zipfile.ZipFile(opened) as archive:
            comment, members = archive.comment, archive.infolist()
            data = memoryview(mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ))
    except PermissionError as error:
        raise UserError(f"{path}: may not be read; check its permissions") from error
    except Exception as error:  # of many kinds, from deep within
        raise UserError(
            f"{path}: is no pack of clips, or not all of one; {AGAIN}, or give a folder of clips"
        ) from error
    if comment != COMMENT:
        raise UserError(f"{path}: is a ZIP file, but no pack of clips; unzip it, or {AGAIN}")
    for member in members:
        name = PurePosixPath(member.filename)
        clip = clips.setdefault(Path(path) / name.parent, {})
        inside = ".." not in name.parts and not name.is_absolute() and NAMES.fullmatch(name.name)
        if not inside or name.name in clip:
            raise UserError(f"{path}: holds {ascii(member.filename)[:80]}, which no clip does, or twice; {AGAIN}")
        clip[name.name] = _content(data, member)
        if clip[name.name] is None:
            raise UserError(f"{path}: is damaged at {name}; {AGAIN}")
    return clips


def _content(data, member):
    """A member's bytes; None if they are not what they were."""
    start, size = member.header_offset, member.file_size
    if not 0 <= start <= len(data) - HEADER.size:
        return None
    magic, *_, name_length, extra = HEADER.unpack_from(data, start)
    start += HEADER.size
    name = bytes(data[start : start + name_length])
    start += name_length + extra
    whole = magic == b"PK\x03\x04" and name == member.orig_filename.encode() and start + size <= len(data)
    stored = member.compress_type == zipfile.ZIP_STORED and member.compress_size == size
    content = data[start : start + size]
    return content if whole and stored and zlib.crc32(content) == member.CRC else None
