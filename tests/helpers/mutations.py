"""Damages files: bits, ends and pieces of any of them, and of known formats keys, kinds, shapes, links and values.

`mutate(path, rng)` changes a file in place, and says how in a few words. It needs h5py and numpy alone.
"""

import csv
import io
import json
import zipfile
from pathlib import Path

import h5py
import numpy as np

ODD = (None, True, -1, 0, 2**31, 2**70, 1e308, float("nan"), float("inf"), "", "x", "../../x", "\0", "\ud800", [], {})
ODD += ([1, 2], {"a": 1}, "9" * 5000, [[[[1]]]], -0.5, "NaN", 10**400)


def mutate(path, rng: np.random.Generator) -> str:
    """Change the file `path` in place; what was changed, in words."""
    ways = [bytes_of] * 2 + KNOWN.get(Path(path).suffix, [])
    way = ways[rng.integers(len(ways))]
    return f"{way.__name__}: {way(path, rng)}"


def pick(rng, items):
    return items[int(rng.integers(len(items)))]


def bytes_of(path, rng):
    """Flipped, cut, doubled, cleared or strange bytes."""
    data = bytearray(Path(path).read_bytes())
    kind = pick(rng, ["flip", "flip", "flips", "cut", "clear", "double", "noise", "append", "empty", "front"])
    at = int(rng.integers(max(1, len(data))))
    if kind in ("flip", "front") and data:
        at = at if kind == "flip" else at % min(len(data), 512)
        data[at] ^= 1 << int(rng.integers(8))
    elif kind == "flips" and data:
        for place in rng.integers(len(data), size=int(rng.integers(1, 64))):
            data[place] = int(rng.integers(256))
    elif kind == "cut":
        del data[at:]
    elif kind == "clear":
        data[at : at + 64] = bytes(len(data[at : at + 64]))
    elif kind == "double":
        data[at:at] = data[at : at + int(rng.integers(1, 200))]
    elif kind == "noise":
        data[at : at + 16] = rng.bytes(int(rng.integers(1, 64)))
    elif kind == "append":
        data += rng.bytes(int(rng.integers(1, 64)))
    elif kind == "empty":
        data = bytearray()
    Path(path).write_bytes(data)
    return f"{kind} at {at}"


def odd_json(text, rng):
    """A JSON text with one value that is another, or missing."""
    value = json.loads(text)
    places = []

    def visit(one):
        if isinstance(one, dict | list):
            for key in one if isinstance(one, dict) else range(len(one)):
                places.append((one, key))
                visit(one[key])

    visit(value)
    if not places or rng.random() < 0.05:
        return pick(
            rng, ["[" * 3000, "{}", "[]", "null", "1e999", "NaN", '"x"', "", "\ufeff{}", '{"a":' * 40 + "1" + "}" * 40]
        )
    outer, key = pick(rng, places)
    if rng.random() < 0.25:
        del outer[key]
    else:
        outer[key] = pick(rng, ODD)
    return json.dumps(value)


def json_of(path, rng):
    text = odd_json(Path(path).read_text(encoding="utf-8"), rng)
    Path(path).write_bytes(text.encode("utf-8", "surrogatepass"))
    return text[:80]


def text_of(path, rng):
    lines = Path(path).read_text(encoding="utf-8").split("\n")
    kind = pick(
        rng, ["cell", "cell", "drop", "quote", "zero", "long", "invalid", "wide", "many", "separators", "number"]
    )
    at = int(rng.integers(len(lines)))
    if kind == "cell":
        cells = next(csv.reader([lines[at]]), [""]) or [""]
        cells[int(rng.integers(len(cells)))] = pick(rng, [str(odd) for odd in ODD if "\ud800" != odd])
        out = io.StringIO()
        csv.writer(out).writerow(cells)
        lines[at] = out.getvalue().rstrip("\r\n")
    elif kind == "drop":
        del lines[at]
    elif kind == "quote":
        lines[at] = f'"{lines[at]}'
    elif kind == "zero":
        lines[at] += "\0"
    elif kind == "long":
        lines[at] += "x" * 200_000
    elif kind == "wide":
        lines[at] += "," * 5000
    elif kind == "many":
        lines[at] = "\n".join([lines[at]] * 50)
    elif kind == "separators":
        lines[at] = pick(rng, ["\x1c", "\u2028", "\r", "\x85", "../..", "/", "\\", "٣", "0:1e999", "nan:nan"])
    elif kind == "number":
        lines[at] = lines[at].replace("1", "9" * 5000).replace("0", "1e400")
    data = "\n".join(lines).encode()
    Path(path).write_bytes(b"\xff\xfe" + data if kind == "invalid" else data)
    return f"{kind} in line {at}"


def npz_of(path, rng):
    """One array missing, of another type or shape, strange numbers in it, or a header that lies."""
    with zipfile.ZipFile(path) as file:
        members = {info.filename: file.read(info) for info in file.infolist()}
    name = pick(rng, list(members))
    array = np.load(io.BytesIO(members[name]), allow_pickle=False)
    kind = pick(rng, ["drop", "dtype", "shape", "value", "header", "name", "large", "bomb", "twice", "packed"])
    packing = zipfile.ZIP_STORED
    if kind == "drop":
        del members[name]
    elif kind == "dtype":
        dtypes = ["O", "U8", "S3", "c16", "?", "i1", "u8", "f2", ">f4", "M8[s]", "f8,i4", "f8"]
        members[name] = _npy(np.resize(np.zeros(1, pick(rng, dtypes)), array.shape))
    elif kind == "shape":
        shapes = [(), (0,), (1,), (*array.shape, 1), (2, *array.shape), array.shape[1:], (0, 5, 2), (3,)]
        members[name] = _npy(np.resize(array, pick(rng, shapes)).astype(array.dtype))
    elif kind == "value" and array.dtype.kind in "fiu":
        array = np.atleast_1d(array.copy())
        value = pick(rng, [np.nan, np.inf, -1e30, 1e18, -1, 0])
        with np.errstate(all="ignore"):
            array.flat[int(rng.integers(max(1, array.size)))] = np.array(value).astype(array.dtype)
        members[name] = _npy(array.reshape(np.load(io.BytesIO(members[name])).shape))
    elif kind == "header":
        lies = [
            "(1000000000000,)",
            "(-1,)",
            "(2,",
            "(1e9,)",
            "[3]",
            "(9,)*9",
            "__import__('os')",
            "(4294967296, 4294967296)",
        ]
        members[name] = _header(f"{{'descr': '<f8', 'fortran_order': False, 'shape': {pick(rng, lies)}, }}") + bytes(64)
    elif kind == "name":
        members["../" + name] = members.pop(name)
    elif kind == "large":
        members[name] = _header("{'descr': '|u1', 'fortran_order': True, 'shape': (20000000,), }") + bytes(20_000_000)
        packing = zipfile.ZIP_DEFLATED
    elif kind == "packed":
        packing = pick(rng, [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, zipfile.ZIP_DEFLATED])
    with zipfile.ZipFile(path, "w", packing) as file:
        for member, data in members.items():
            file.writestr(member, data)
            if kind == "twice" and member == name:
                file.writestr(zipfile.ZipInfo(member), data)
    if kind == "bomb":  # another size in the directory
        data = bytearray(Path(path).read_bytes())
        at = data.rfind(b"PK\x01\x02")
        data[at + 20 : at + 28] = rng.integers(0, 256, 8, np.uint8).tobytes()
        Path(path).write_bytes(data)
    return f"{kind} of {name}"


def _npy(array):
    data = io.BytesIO()
    np.lib.format.write_array(data, array, allow_pickle=True)
    return data.getvalue()


def _header(text):
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def h5_of(path, rng):
    """A dataset or attribute that is missing, of another kind, elsewhere, too large, or not finite."""
    with h5py.File(path, "r+") as file:
        places = []
        file.visit(places.append)
        name = pick(rng, places)
        array = isinstance(file[name], h5py.Dataset)
        kinds = ["drop", "group", "dtype", "shape", "value", "value", "huge", "soft", "external", "hard", "outside"]
        kinds += ["virtual", "rename", "type", "bomb"]
        kind = pick(rng, [*["attribute"] * 3, *["json"] * 4, *kinds])
        if kind in ("attribute", "json") and len(file.attrs):
            attribute = pick(rng, list(file.attrs))
            if kind == "json" and isinstance(file.attrs[attribute], str):
                file.attrs[attribute] = odd_json(file.attrs[attribute], rng).encode("utf-8", "replace")[:60_000]
            else:
                odd = [odd for odd in ODD if odd not in (None, "\0", "\ud800", {}, {"a": 1}, 2**70, 10**400)]
                odd += [
                    b"\xff",
                    np.zeros(9),
                    np.array(["a", "b"], "S1"),
                    h5py.Empty("f"),
                    np.float16(2),
                    np.zeros((2, 0)),
                ]
                odd += ["{", "[1]", "null", np.void(b"abc")]
                file.attrs[attribute] = pick(rng, odd)
            return f"{kind} {attribute}"
        old = np.array(file[name]) if array else None
        if kind in ("value", "dtype", "shape", "huge", "bomb") and not array:
            kind = "drop"
        moved = file[name]
        if kind not in ("hard", "value"):
            del file[name]
        if kind == "group":
            file.create_group(f"{name}/x")
        elif kind == "dtype":
            file[name] = pick(rng, [old.astype(bool), old.astype("c8"), old.astype("S4"), "text", h5py.Empty("f"),
                                    old.astype("f8") * 1e300, old.astype("i8"), np.zeros(3, "f8,i4")])  # fmt: skip
        elif kind == "shape":
            file[name] = pick(rng, [old[..., None], old.ravel(), np.float32(1), old[:0] if old.ndim else old])
        elif kind == "value":
            flat = np.atleast_1d(old).astype("f8").ravel()
            if flat.size:
                flat[int(rng.integers(flat.size))] = pick(rng, [np.nan, np.inf, -np.inf, 1e300])
            with np.errstate(all="ignore"):
                changed = flat.reshape(old.shape).astype("f4" if old.dtype.kind == "f" else old.dtype)
            del file[name]
            file[name] = changed
        elif kind == "huge":
            shape = pick(rng, [(10**12,), (2**20, 2**20), (2**14,) * 4, (10**9,)])
            chunks = tuple(min(n, 64) for n in shape)
            file.create_dataset(name, shape, "f4", chunks=chunks, compression="gzip")
        elif kind == "bomb":  # a piece that becomes far more than it says
            import zlib

            made = file.create_dataset(name, old.shape or (1,), "f4", chunks=old.shape or (1,), compression="gzip")
            if made.size:
                made.id.write_direct_chunk((0,) * made.ndim, zlib.compress(bytes(64 << 20)))
        elif kind == "soft":
            file[name] = h5py.SoftLink(pick(rng, ["/", "/nowhere", f"/{name}", f"/{pick(rng, places)}"]))
        elif kind == "external":
            file[name] = h5py.ExternalLink(pick(rng, ["other.h5", "/etc/passwd", Path(path).name]), f"/{name}")
        elif kind == "hard":
            target = pick(rng, places)
            file[f"{name if not array else name.rpartition('/')[0] or '/'}/again"] = file[target]
        elif kind == "outside" and array:
            file.create_dataset(name, old.shape or (1,), "f4", external=[("/etc/passwd", 0, 4 * max(1, old.size))])
        elif kind == "virtual" and array and old.ndim:
            layout = h5py.VirtualLayout(old.shape, "f4")
            layout[...] = h5py.VirtualSource("other.h5", "x", old.shape)
            file.create_virtual_dataset(name, layout)
        elif kind == "rename":
            file[
                pick(rng, [f"{name}_9999999999999999999999", f"{name}\n", "generator/x", f"{name}/y", "optimizers/x"])
            ] = moved
        elif kind == "type":
            file[name] = np.dtype("f8,i4")
        return f"{kind} {name}"


def zip_of(path, rng):
    """A member of a ZIP file that is missing, damaged, packed or called otherwise."""
    with zipfile.ZipFile(path) as file:
        comment, members = file.comment, {info.filename: file.read(info) for info in file.infolist()}
    name = pick(rng, list(members))
    kind = pick(rng, ["drop", "name", "inside", "inside", "packed", "comment"])
    if kind == "drop":
        del members[name]
    elif kind == "name":
        names = [
            "../x/0.jpg",
            "/x/0.jpg",
            "a/b/99999999999.jpg",
            "0.jpg",
            "x/audio.wav",
            "x/landmarks.npz",
            "ä/0.jpg",
            "x",
        ]
        members[pick(rng, names)] = members.pop(name)
    elif kind == "inside":
        data = bytearray(members[name])
        for place in rng.integers(max(1, len(data)), size=8) if data else ():
            data[place] = int(rng.integers(256))
        members[name] = bytes(data)
    packing = pick(rng, [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA]) if kind == "packed" else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", packing) as file:
        file.comment = b"x" if kind == "comment" else comment
        for member, data in members.items():
            file.writestr(zipfile.ZipInfo(member), data, packing)
    return f"{kind} of {name}"


KNOWN = {".json": [json_of] * 4, ".csv": [text_of] * 4, ".txt": [text_of] * 4, ".npz": [npz_of] * 4}
KNOWN |= {".h5": [h5_of] * 8, ".pack": [zip_of] * 2, ".openvino": [zip_of] * 2}
