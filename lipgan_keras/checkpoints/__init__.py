"""Checkpoints: the project's own (one HDF5 file with weights and configuration) and those of Keras 2.2.4.

A project checkpoint holds arrays and two JSON strings, nothing else:

- attributes: `lipgan_keras` (format number), `config` (ModelConfig), `training` (optional: what `train.py` resumes)
- groups: one for each network, `<network>/<layer>/<weight>`, and `optimizers/<network>/<index>`; where a network's
  weights are averages over training, also `raw/<network>/<index>`, those that training goes on with. The weight of a
  layer within a layer is a path: `<network>/<layer>/<inner layer>/<weight>`
- dataset: `split` (optional: JSON, compressed), which clips the weights were trained on and which were held out

No object is deserialised and no code is run when one is read: a block of the generator that is no block of the
project's is named, and has to be registered before (`blocks.load_plugin`)::

    python -m lipgan_keras.checkpoints info FILE
    python -m lipgan_keras.checkpoints convert FILE OUT [--audio_offset_ms MS]
    python -m lipgan_keras.checkpoints export FILE OUT [--float16] [--sync]  # generator (and lip-sync
                                                                             # discriminator) alone
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from ..config import ModelConfig
from ..utils import files, h5, jsontext, kinds, limits
from ..utils.errors import UserError
from . import configs, keras2, presets, splits
from .keras2 import config_of_shapes, paired_layers, refuse_misfit
from .layers import model_weights, networks_of, stored_weights

if TYPE_CHECKING:
    from ..utils.backend import keras


FORMAT = 2
PLAIN_FORMAT = 1  # of networks that versions of before `blocks` can build
SPLIT_KINDS = {"filelists": str | None, "val_fraction": float, "seed": int}  # of what `training` says of the clips
# By benchmarks/default_checkpoint.py; see docs/model_card.md
SHIPPED = Path(__file__).parent.parent / "weights" / "lipsync.h5"
SHIPPED_LICENCE = "MIT; trained on clips of the GRID audiovisual sentence corpus (CC BY 4.0), see docs/model_card.md"


def save_checkpoint(
    path: str | os.PathLike,
    models: dict[str, keras.Model],
    config: ModelConfig,
    optimizers: dict[str, keras.optimizers.Optimizer] | None = None,
    training: dict | None = None,
    raw: dict[str, list[np.ndarray]] | None = None,
    split: dict | None = None,
    float16: bool = False,
) -> None:
    """Write one file, all or nothing: a run killed at any moment leaves the old file or the new one.

    Args:
        models: networks by name, "generator", "discriminator", "sync" and "quality".
        optimizers: by the same names, for an exact continuation.
        training: anything JSON can hold; `read_training` gives it back.
        raw: where `models` hold averages, the weights to go on with, by the same names; `load_raw` gives them back.
        split: anything JSON can hold; `read_split` gives it back. (No attribute, which holds 64 KB: names may be many.)
        float16: keep kernels in half precision, compressed: 45 % of the size. What is small stays as it is.

    Raises:
        UserError: the configuration has a number out of its range, or the folder cannot be written.
    """
    limits.checked(**dataclasses.asdict(config))
    from ..utils.backend import keras

    # Made in memory: HDF5 that meets a full disc ends in a crash, not in an error.
    data = io.BytesIO()
    with h5py.File(data, "w") as file:
        file.attrs["lipgan_keras"] = PLAIN_FORMAT if config.is_preset else FORMAT
        file.attrs["config"] = json.dumps(dataclasses.asdict(config))
        if training is not None:
            file.attrs["training"] = json.dumps(training)
        if split is not None:
            splits.write(file, split)
        for network, model in models.items():
            for layer, weights in model_weights(model).items():
                for name, variable in weights.items():
                    value = keras.ops.convert_to_numpy(variable)
                    half = float16 and value.ndim > 1 and value.dtype.kind == "f"
                    half = half and np.abs(value).max(initial=0) < np.finfo("float16").max
                    packed = {"compression": "gzip", "compression_opts": 9, "shuffle": True} if half else {}
                    file.create_dataset(
                        f"{network}/{layer}/{name}", data=value.astype("float16") if half else value, **packed
                    )
        for network, optimizer in (optimizers or {}).items():
            for index, variable in enumerate(optimizer.variables):
                file[f"optimizers/{network}/{index:04d}"] = keras.ops.convert_to_numpy(variable)
        for network, values in (raw or {}).items():
            for index, value in enumerate(values):
                file[f"raw/{network}/{index:04d}"] = value
    with files.replacing(path) as temporary, open(temporary, "wb") as file:
        file.write(data.getbuffer())
        file.flush()
        os.fsync(file.fileno())  # the rename must not reach the disc before the data


def or_shipped(path: str | os.PathLike | None) -> str | os.PathLike:
    """`path`, or for None the checkpoint that ships with the project.

    Raises:
        UserError: it is not there.
    """
    if path is None and not SHIPPED.is_file():
        raise UserError(
            f"{SHIPPED}: the checkpoint that ships is missing; get the project anew, or name one with --checkpoint_path"
        )
    return SHIPPED if path is None else path


def licence_of(path: str | os.PathLike) -> str | None:
    """That of the weights that ship; None of others, whose licence is not known here."""
    return SHIPPED_LICENCE if SHIPPED.is_file() and os.path.samefile(path, SHIPPED) else None


def find_preset(preset: str | os.PathLike) -> str | os.PathLike:
    """Where a preset is: see `hub.find`."""
    from . import hub

    return or_shipped(hub.find(preset))


def load_weights(model: keras.Model, path: str | os.PathLike, grown: bool = False) -> ModelConfig:
    """Read into `model` (any of `networks`) the weights of a project or Keras 2.2.4 checkpoint.

    Layers of one kind, which is their name without the number at its end, are matched in the order of these numbers,
    which need not start at 1 and may have gaps: Keras numbers unnamed layers through all models of a process. Nothing
    is changed if the file does not fit.

    Args:
        grown: whether the model may have more layers than the file, behind its own; they stay as they are.

    Returns:
        The file's configuration; for a Keras 2.2.4 file what its shapes tell.

    Raises:
        UserError: no such file, not a checkpoint, cut short, or of another model: then the first layer that differs is
            named, and what the file holds where that can be told.
    """
    if os.path.isdir(path):
        return presets.load_weights(model, path)
    wanted = model_weights(model)
    with _open(path) as file:
        config = _config(file, path)
        stored = stored_weights(file, path, model.name)
        refuse_misfit(model.name, wanted, stored, path, config if "lipgan_keras" in file.attrs else None, grown)
        values = [
            (variable, h5.numbers(stored[theirs][name], path, keras2.NOT_ONE))
            for ours, theirs in paired_layers(wanted, stored)
            if theirs
            for name, variable in wanted[ours].items()
        ]
    for variable, value in values:
        variable.assign(value)
    return config


def load_generator(path: str | os.PathLike, audio_offset_ms: float | None = None) -> tuple[keras.Model, ModelConfig]:
    """Build the generator that a checkpoint holds and load it; `audio_offset_ms` overrides the file's.

    Raises:
        UserError: see `load_weights`.
    """
    from .. import networks

    if os.path.isdir(path):
        config = presets.read_config(path)
    else:
        with _open(path) as file:
            config = _config(file, path)
            stored_weights(file, path, "generator")
    try:
        model = networks.build(config)
    except UserError as error:  # a block that is not registered
        raise UserError(f"{path}: {error}") from error
    load_weights(model, path)
    return model, config.with_audio_offset(audio_offset_ms)


def read_config(path: str | os.PathLike) -> ModelConfig:
    """The configuration of a checkpoint, without its weights."""
    if os.path.isdir(path):
        return presets.read_config(path)
    with _open(path) as file:
        return _config(file, path)


def read_networks(path: str | os.PathLike) -> list[str]:
    """The names of the networks that a checkpoint of this project holds; none for a Keras 2.2.4 file."""
    if os.path.isdir(path):
        return presets.networks(path)
    with _open(path) as file:
        _config(file, path)
        return networks_of(file) if "lipgan_keras" in file.attrs else []


def check_holds(path: str | os.PathLike, network: str) -> None:
    """Raise the UserError of `load_weights` if a checkpoint holds no such network."""
    if os.path.isdir(path):
        presets.check_holds(path, network)
        return
    with _open(path) as file:
        if "lipgan_keras" not in file.attrs:
            raise UserError(f"{path}: holds no {keras2.CALLED[network]}; choose a checkpoint of this project with one")
        _config(file, path)
        stored_weights(file, path, network)


def read_training(path: str | os.PathLike) -> dict | None:
    """What `save_checkpoint` was given as `training`.

    Raises:
        UserError: it cannot be read, or what decides which clips are held out is not of its kind.
    """
    if os.path.isdir(path):
        return presets.read_training(path)
    with _open(path) as file:
        try:
            state = jsontext.parse(h5.text(file, "training") or "null", finite=False)
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: what it says of its training cannot be read, the file is damaged") from error
    if not isinstance(state, dict | None):
        raise UserError(f"{path}: what it says of its training is no list of values by name, the file is damaged")
    check_training(state or {}, SPLIT_KINDS, path)
    return state


def check_training(state: dict, declared: dict | type, path: str | os.PathLike) -> None:
    """See that what a checkpoint says of its training is of the kinds that a dataclass, or {name: kind}, declares.

    Raises:
        UserError: a value is not.
    """
    wrong = kinds.first_wrong(state, declared) or limits.wrong({k: state[k] for k in state if k in _declared(declared)})
    if wrong:
        raise UserError(f"{path}: in what it says of its training {wrong}; the file is damaged")


def _declared(kinds_of):
    return kinds_of if isinstance(kinds_of, dict) else {field.name for field in dataclasses.fields(kinds_of)}


def files_of(path: str | os.PathLike) -> list[Path]:
    """The files whose content makes a checkpoint: itself, or those of the folder that is a preset."""
    return [Path(path, name) for name in presets.FILES] if os.path.isdir(path) else [Path(path)]


def read_split(path: str | os.PathLike) -> dict | None:
    """What `save_checkpoint` was given as `split`; exports keep it. None in a Keras 2.2.4 file.

    Raises:
        UserError: it cannot be read.
    """
    if os.path.isdir(path):
        return presets.read_split(path)
    with _open(path) as file:
        return splits.read(file, path) if "lipgan_keras" in file.attrs else None


def load_optimizers(optimizers: dict[str, keras.optimizers.Optimizer], path: str | os.PathLike) -> None:
    """Restore built optimizers from a project checkpoint.

    Raises:
        UserError: the file has none, or they do not fit.
    """
    with _open(path) as file:
        for network, optimizer in optimizers.items():
            for index, variable in enumerate(optimizer.variables):
                key = f"optimizers/{network}/{index:04d}"
                if not _fits(file, key, variable):
                    raise UserError(f"{path}: holds no state of the {network}'s optimizer that fits; use --resume_gen")
                variable.assign(h5.numbers(file[key], path, keras2.NOT_ONE))


def load_raw(models: dict[str, keras.Model], path: str | os.PathLike) -> None:
    """Put the weights to go on with in place of the averages that `load_weights` read.

    Raises:
        UserError: the file has none, or they do not fit.
    """
    with _open(path) as file:
        for network, model in models.items():
            keys = [f"raw/{network}/{index:04d}" for index in range(len(model.weights))]
            for key, variable in zip(keys, model.weights, strict=True):
                if not _fits(file, key, variable):
                    raise UserError(
                        f"{path}: holds no weights of the {network} beside its averages that fit; use --resume_gen"
                    )
            model.set_weights([h5.numbers(file[key], path, keras2.NOT_ONE) for key in keys])


def _fits(file, key, variable):
    return isinstance(file.get(key), h5py.Dataset) and file[key].shape == tuple(variable.shape)


def export(path: str | os.PathLike, out: str | os.PathLike, float16: bool = False, sync: bool = False) -> ModelConfig:
    """Write what inference needs of a checkpoint: the generator, and with `sync` the lip-sync discriminator. What
    they were trained on stays known.

    Raises:
        UserError: the file does not hold them.
    """
    check_out(out, path)
    generator, config = load_generator(path)
    models = {"generator": generator}
    if sync:
        check_holds(path, "sync")
        from .. import networks

        models["sync"] = networks.build(config, "sync")
        load_weights(models["sync"], path)
    save_checkpoint(out, models, config, split=read_split(path), float16=float16)
    return config


def save_preset(
    path: str | os.PathLike, folder: str | os.PathLike, audio_offset_ms: float | None = None
) -> ModelConfig:
    """Write the generator of a checkpoint as a preset: see `presets`. What it was trained on stays known.

    Raises:
        UserError: the file holds no generator, or something else is in the folder.
    """
    presets.check_outfolder(folder, path)
    generator, config = load_generator(path, audio_offset_ms)
    presets.save(folder, generator, config, read_split(path), licence_of(path))
    return config


def check_out(out: str | os.PathLike, *inputs: str | os.PathLike | None) -> None:
    """See that a generator's file can be written there: see `files.check_outfile`. What train.py goes on from stays."""
    files.check_outfile(out, *inputs, suffix=None, mark=_is_export)


def _is_export(path):
    try:
        with _open(path) as file:
            return "lipgan_keras" in file.attrs and "training" not in file.attrs
    except UserError:
        return False


def _open(path):
    return h5.opened(path, keras2.NOT_ONE)


def _config(file, path):
    if "lipgan_keras" not in file.attrs:
        return config_of_shapes(stored_weights(file, path), path)
    try:
        if h5.whole_number(file, "lipgan_keras") > FORMAT:
            raise UserError(f"{path}: was written by a newer lipgan_keras; update this one")
        values = jsontext.parse(h5.text(file, "config") or "", finite=False)
    except UserError:
        raise
    except ValueError as error:
        raise configs.unreadable(path) from error
    config = configs.of_values(values, path)
    widths = {"generator": config.width, "discriminator": config.width, "sync": config.sync_width}
    for network, width in widths.items():
        if width > configs.NARROW and network in file and not (network == "generator" and config.other_blocks):
            stored = stored_weights(file, path, network)
            configs.check_size(network, width, (item for weights in stored.values() for item in weights.values()), path)
    return config
