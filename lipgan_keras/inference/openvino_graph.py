"""The OpenVINO graph of a generator: made from the Keras model once, and kept."""

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import os
import shutil
import statistics
import tempfile
import time
import zipfile
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import platformdirs

from .. import __version__, audio, checkpoints
from ..config import SAMPLE_RATE
from ..face import cropping, photos, regions
from ..face.photos import shipped_photos
from ..media import video_reader
from ..utils import files, jsontext, openvino_core, processes
from ..utils.errors import UserError
from . import motion

TOLERANCE = 0.02  # how far bfloat16 may be from float32, at most
FASTER = 1.1  # times as fast as float32 it has to be
TRIALS = 5
FORMAT = 4  # of the kept graph
KEPT = 8  # graphs in the user's cache folder; of the checkpoint that ships one has 21 MB
ROOT = Path(__file__).parent.parent
CODE = ("networks*", "blocks*", "config.py", "checkpoints", "utils/layers.py")  # what makes a graph
CODE += ("inference/openvino*", "inference/motion*")
LEFT_SECONDS = 3600.0  # an unfinished file of this age has been left by a process that was killed
MOST_BYTES = 8 << 30  # of a kept graph


def load_compiled(checkpoint, config, batch_size):
    """(function of [faces, sound], name)."""
    try:
        ov = openvino_core.import_openvino()
    except ImportError as error:
        raise UserError(
            "engine 'openvino' is not installed; run: pip install openvino, or choose engine keras"
        ) from error
    core = openvino_core.core()
    key = {
        "format": FORMAT,
        "checkpoint": files.digest(*checkpoints.files_of(checkpoint)),
        "code": _code(),
        "openvino": ov.__version__,
        "keras": importlib.metadata.version("keras"),
        "lipgan_keras": __version__,
        "blocks": _blocks(checkpoint, config),
        "bfloat16": "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"),
        "cpu": core.get_property("CPU", "FULL_DEVICE_NAME"),
    }
    place = _cache_place(key)
    model, low = _read_cache(core, place, key) or (None, None)
    if model is None:
        model = convert(motion.with_motion(checkpoints.load_generator(checkpoint)[0]))
        low = _try_bfloat16(model, config) if key["bfloat16"] else None
        _write_cache(place, model, key, low)
    precise = low is None or not (low.error <= TOLERANCE and low.speedup >= FASTER)  # NaN is no small error
    run = _compile(model, batch_size, "f32" if precise else "bf16")
    return run, f"OpenVINO {'float32' if precise else 'bfloat16'}"


def _blocks(checkpoint, config):
    """What changes with the code of blocks that do not come with the project."""
    if not config.other_blocks:
        return None
    from .. import blocks

    try:
        return blocks.digest(config)
    except UserError as error:
        raise UserError(f"{checkpoint}: {error}") from error


def convert(generator):
    """The OpenVINO graph of a Keras generator.

    Not by Keras's `export`: that of 3.15 needs TensorFlow, and loses the padding of the MFCC networks on the way.

    Args:
        generator: a model of `networks.build_generator`.

    Returns:
        `openvino.Model` with the same inputs and output, the batch size left open.

    Raises:
        Unsupported: a block holds a layer that `openvino_layers` does not know.
    """
    openvino_core.import_openvino()
    from . import openvino_layers

    return openvino_layers.graph(generator)


def _compile(model, batch_size, precision):
    model = model.clone()
    model.reshape({tensor: [batch_size, *list(tensor.partial_shape)[1:]] for tensor in model.inputs})
    request = openvino_core.infer_request(model, precision, _threads())

    def run(batch):
        request.infer([np.ascontiguousarray(array, np.float32) for array in batch], share_inputs=True)
        return request.get_output_tensor().data.copy()

    return run


def _threads() -> int:
    """All cores but one, which decoding, detection and encoding keep busy anyway; or what the environment says."""
    cores = processes.cores()
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return int(limit) if limit.isdecimal() and int(limit) else max(min(cores, 2), cores - 1)


class Low(NamedTuple):
    """What bfloat16 costs and brings: the largest difference from float32, and how many times as fast it is."""

    error: float
    speedup: float


def _try_bfloat16(model, config) -> Low:
    """On real faces, and blurred noise, and a sound. Some processors have bfloat16 and are slower with it."""
    rng = np.random.default_rng(0)
    size = config.img_size
    crops = [cv2.resize(rng.integers(0, 255, (8, 8, 3), np.uint8), (size, size), interpolation=cv2.INTER_LINEAR)]
    for name, path in shipped_photos().items():
        photo, box = video_reader.read_image(path), np.array(photos.PHOTO_CROPS[name], np.float64)
        for shift in rng.uniform(-0.04, 0.04, (6, 4)):
            crops.append(cropping.extract(photo, box + shift * (box[2] - box[0]), size))
    inputs = np.stack([regions.assemble(crop, crop)[0] for crop in crops])
    seconds = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    wave = (0.1 * rng.standard_normal(len(seconds)) * np.sin(np.pi * 4 * seconds) ** 2).astype(np.float32)
    windows = audio.windows_of(wave, np.linspace(0.1, 0.8, len(inputs)), config.audio)
    low, high = (_compile(model, len(inputs), precision) for precision in ("bf16", "f32"))
    error = float(np.abs(low([inputs, windows]) - high([inputs, windows]))[..., :3].max())
    ratios = [_seconds(high, inputs, windows) / _seconds(low, inputs, windows) for _ in range(TRIALS)]
    return Low(error, statistics.median(ratios))


def _seconds(run, *inputs):
    begin = time.perf_counter()
    run(inputs)
    return time.perf_counter() - begin


def _cache_place(key: dict) -> Path:
    """Where the graph of this key is kept: in the user's cache folder, under a name that changes with the key."""
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]
    return platformdirs.user_cache_path("lipgan_keras", appauthor=False) / f"{name}.openvino"


@functools.cache
def _code() -> str:
    """A digest of the code that makes a graph."""
    found = [path for pattern in CODE for path in ROOT.glob(pattern)]
    paths = {file for path in found for file in (path.rglob("*.py") if path.is_dir() else [path])}
    return files.digest(*sorted(paths))


def _read_cache(core, place, key):
    """(graph, `Low` or None where the CPU has no bfloat16); None: there is no graph, another's, or a damaged one."""
    if not place.is_file():
        return None
    try:
        with zipfile.ZipFile(place) as archive:  # which sees to it by checksums that nothing is damaged
            if sum(info.file_size for info in archive.infolist()) > MOST_BYTES:
                return None
            about = jsontext.parse(archive.read("about.json"), finite=False)
            if about["key"] != key:
                return None
            low = about["bfloat16"]
            model = core.read_model(archive.read("model.xml"), archive.read("model.bin"))
            found = model, None if low is None else Low(*map(float, low))
    except Exception:  # noqa: BLE001 - whatever is wrong with a kept graph, it is made again
        return None
    with contextlib.suppress(OSError):
        os.utime(place)  # the last use decides which graphs stay
    return found


def _write_cache(place, model, key, low):
    """Keep a graph. A folder that cannot be written is no error: the graph is then made again each time."""
    ov = openvino_core.import_openvino()
    try:
        with (
            files.replacing(place) as temporary,
            tempfile.TemporaryDirectory(prefix=".openvino.", dir=place.parent) as folder,
            zipfile.ZipFile(temporary, "w") as archive,
        ):
            ov.serialize(model, os.path.join(folder, "model.xml"))
            archive.writestr("about.json", json.dumps({"key": key, "bfloat16": low}))
            for name in ("model.xml", "model.bin"):
                archive.write(os.path.join(folder, name), name)
        _limit(place.parent)
    except (OSError, RuntimeError, UserError):  # RuntimeError is OpenVINO's for a file that it cannot write
        pass


def _limit(folder):
    """Keep the KEPT graphs that were used last, and remove what processes that were killed have left."""
    ages = []
    for path in folder.glob("*.openvino"):
        with contextlib.suppress(FileNotFoundError):  # another process removes the same
            ages.append((path.stat().st_mtime, path))
    finished = sorted((age for age in ages if not age[1].name.startswith(".")), reverse=True)
    for _, path in finished[KEPT:]:
        path.unlink(missing_ok=True)
    for path in folder.glob(".*"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > LEFT_SECONDS:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
