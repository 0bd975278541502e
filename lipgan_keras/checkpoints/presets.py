"""A generator as a folder of three files, named as those of keras-hub's presets.

    config.json         `config`: which generator it is (of `ModelConfig`); `metadata`: versions and licence
    model.weights.h5    its weights as Keras's `save_weights` writes them, and a dataset `split`, see `splits`
    preprocessor.json   `config`: what the generator is to be given; crop, alignment and offset are read from here

Both JSON files have the keys of a serialised Keras object (module, class_name, config, registered_name). Nothing is
deserialised, though: only values of known names and kinds are read. A folder may hold other files, such as README.md.
"""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py

from .. import __version__
from ..config import SAMPLE_RATE, STEPS_PER_SECOND, WINDOW_SHAPE, ModelConfig
from ..utils import files, h5, jsontext
from ..utils.errors import UserError
from . import configs, keras2, splits

if TYPE_CHECKING:
    from ..utils.backend import keras

FILES = CONFIG, WEIGHTS, PREPROCESSOR = "config.json", "model.weights.h5", "preprocessor.json"
FORMAT = 1
MOST_BYTES = {CONFIG: 1 << 20, WEIGHTS: 4 << 30, PREPROCESSOR: 1 << 20}  # the widest generator has 3.2 GB
MODEL, LIPSYNC = "lipgan_keras>Generator", "lipgan_keras>LipSync"  # registered names
ARCHITECTURE = ("variant", "audio", "width", "img_size", "face_encoder", "audio_encoder", "decoder", "step")
HELD = "generator"  # the one network
ADVICE = f"name the folder of a preset, which holds {', '.join(FILES)}"


def preprocessor(config: ModelConfig) -> dict[str, dict[str, Any]]:
    """What a generator is to be given, in the words of keras-hub's converters: the `config` of preprocessor.json."""
    rows, steps = WINDOW_SHAPE[config.audio]
    return {
        "image_converter": {
            "image_size": [config.img_size, config.img_size],
            "scale": 1 / 255,
            "channels": "BGR",
            "crop": config.crop,
        },
        "audio_converter": {
            "features": config.audio,
            "sampling_rate": SAMPLE_RATE,
            "stride": SAMPLE_RATE // STEPS_PER_SECOND[config.audio],
            "num_mels" if config.audio == "mel" else "num_coefficients": rows,
            "window_steps": steps,
            "alignment": config.alignment,
            "audio_offset_ms": config.audio_offset_ms,
        },
    }


def save(
    folder: str | os.PathLike,
    generator: keras.Model,
    config: ModelConfig,
    split: dict | None = None,
    licence: str | None = None,
) -> None:
    """Write a generator as a preset, whole or not at all.

    Args:
        generator: of `networks.build(config)`.
        split: see `checkpoints.save_checkpoint`.
        licence: of the weights, where it is known.

    Raises:
        UserError: what is there is no preset, or holds more than one; or the folder cannot be written.
    """
    from ..utils.backend import keras

    check_outfolder(folder)
    about = {
        CONFIG: {
            "module": "lipgan_keras.networks",
            "class_name": "Generator",
            "config": {"name": "generator", **{name: getattr(config, name) for name in ARCHITECTURE}},
            "registered_name": MODEL,
            "metadata": {
                "format": FORMAT,
                "lipgan_keras_version": __version__,
                "keras_version": keras.__version__,
                "parameter_count": generator.count_params(),
                "license": licence,
            },
        },
        PREPROCESSOR: {
            "module": "lipgan_keras",
            "class_name": "LipSync",
            "config": preprocessor(config),
            "registered_name": LIPSYNC,
        },
    }
    with files.replacing_folder(folder) as temporary:
        files.check_room(temporary, 5 * generator.count_params())
        for name, values in about.items():
            (temporary / name).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
        generator.save_weights(temporary / WEIGHTS)
        if split is not None:
            with h5py.File(temporary / WEIGHTS, "a") as file:
                splits.write(file, split)


def check_outfolder(folder: str | os.PathLike, *inputs: str | os.PathLike | None) -> None:
    """See that a preset can be written there: over none of the inputs, and over nothing but an earlier preset.

    Raises:
        UserError: it cannot.
    """
    folder = Path(folder)
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UserError(f"{folder}: is a file; name a folder for the preset")
    for path in inputs:
        if (
            path is not None
            and os.path.exists(path)
            and folder.resolve() in (Path(path).resolve(), Path(path).parent.resolve())
        ):
            raise UserError(f"{folder}: is an input too; name another folder")
    found = sorted(os.listdir(folder))
    others = [name for name in found if name not in FILES]
    if others:
        raise UserError(f"{folder}: holds {others[0]}, which is no file of a preset; name another folder")
    if found:
        try:
            read_config(folder)
        except UserError as error:
            raise UserError(f"{folder}: is there already, and no preset of this; name another folder") from error


def read_config(folder: str | os.PathLike) -> ModelConfig:
    """The configuration of a preset, without its weights.

    Raises:
        UserError: a file is missing or too large, says something of another kind, or what this version cannot do.
    """
    folder = Path(folder)
    _check_files(folder)
    found, about = _read(folder / CONFIG, MODEL), folder / PREPROCESSOR
    form = (found.get("metadata") or {}).get("format") if isinstance(found.get("metadata"), dict | None) else None
    if isinstance(form, int) and form > FORMAT:
        raise UserError(f"{folder / CONFIG}: was written by a newer lipgan_keras; update this one")
    given = _read(about, LIPSYNC)["config"]
    parts = {name: given.get(name) for name in ("image_converter", "audio_converter")}
    if not all(isinstance(part, dict) for part in parts.values()):
        raise UserError(f"{about}: has no {' and no '.join(parts)}; {ADVICE}")
    values = {name: found["config"].get(name, "" if name.endswith("coder") else None) for name in ARCHITECTURE}
    values |= {"crop": parts["image_converter"].get("crop")}
    values |= {name: parts["audio_converter"].get(name) for name in ("alignment", "audio_offset_ms")}
    config = configs.of_values(values, folder)
    for part, wanted in preprocessor(config).items():
        for name, value in wanted.items():
            if parts[part].get(name) != value:
                raise UserError(
                    f"{about}: says {name} {parts[part].get(name)!r:.40}, and this version computes {value!r}; "
                    "take the preset as it was published"
                )
    with h5.opened(folder / WEIGHTS, ADVICE) as file:
        if not config.other_blocks:
            configs.check_size("generator", config.width, h5.arrays(file), folder)
    return config


def _check_files(folder):
    """See that all three are there, and not too large, before any of them is read."""
    for name in FILES:
        path = files.regular(folder / name)
        if not path.is_file():
            raise UserError(f"{folder}: holds no {name}; {ADVICE}")
        if path.stat().st_size > MOST_BYTES[name]:
            raise UserError(
                f"{path}: is larger than {MOST_BYTES[name] >> 20:,} MiB, which no file of a preset is; {ADVICE}"
            )


def _read(path, registered):
    """A serialised object with a `config`, of this registered name."""
    try:
        found = jsontext.read(path, most_bytes=MOST_BYTES[CONFIG])
    except UserError:
        raise
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as JSON; {ADVICE}") from error
    if not isinstance(found, dict) or not isinstance(found.get("config"), dict):
        raise UserError(f"{path}: describes no model; {ADVICE}")
    if found.get("registered_name") != registered:
        name = found.get("registered_name")
        raise UserError(f"{path}: describes {name!r:.60}, not {registered!r}; name a preset of this project")
    return found


def networks(folder: str | os.PathLike) -> list[str]:
    """The names of the networks that a preset holds."""
    read_config(folder)
    return [HELD]


def check_holds(folder: str | os.PathLike, network: str) -> ModelConfig:
    """See that a preset holds this network.

    Returns:
        Its configuration.

    Raises:
        UserError: it holds the generator alone.
    """
    config = read_config(folder)
    if network != HELD:
        called = keras2.CALLED.get(network, network)
        raise UserError(f"{folder}: holds no {called} (a preset holds the generator); choose a checkpoint with one")
    return config


def read_training(folder: str | os.PathLike) -> None:
    """Nothing: a preset is not trained on."""
    read_config(folder)


def read_split(folder: str | os.PathLike) -> dict | None:
    """See `checkpoints.read_split`."""
    _check_files(Path(folder))
    with h5.opened(Path(folder, WEIGHTS), ADVICE) as file:
        return splits.read(file, Path(folder, WEIGHTS))


def load_weights(generator: keras.Model, folder: str | os.PathLike) -> ModelConfig:
    """Read the weights of a preset into a generator.

    Returns:
        The preset's configuration.

    Raises:
        UserError: see `checkpoints.load_weights`. The model may then hold some of the weights.
    """
    config, path = check_holds(folder, generator.name), Path(folder, WEIGHTS)
    with h5.opened(path, ADVICE) as file:
        for array in h5.arrays(file):
            if array.name != f"/{splits.NAME}":
                h5.numbers(array, path, ADVICE)  # finite, and no more than it declares
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Keras's, of what it then refuses
            generator.load_weights(path)
    except Exception as error:  # of many kinds
        raise UserError(f"{path}: does not hold the weights of what {CONFIG} describes, {config}; {ADVICE}") from error
    return config
