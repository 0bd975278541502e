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
import math
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from ..config import ALIGNMENTS, BLOCKS, CROPS, IMG_SIZES, VARIANTS, WINDOW_SHAPE, ModelConfig
from ..utils import files, h5, jsontext, kinds, limits
from ..utils.errors import UserError
from . import keras2
from .keras2 import config_of_shapes, paired_layers, refuse_misfit

if TYPE_CHECKING:
    from ..utils.backend import keras


FORMAT = 2
PLAIN_FORMAT = 1  # of networks that versions of before `blocks` can build
STATE = ("optimizers", "raw", "split")  # what is no network
MOST_SPLIT_BYTES = 256 << 20
NARROW = 0.5  # widths that are built without a look at how many weights there are
LEAST_WEIGHTS = 4_000_000  # of the smallest network of the project, with a width of 1
SPLIT_KINDS = {"filelists": str | None, "val_fraction": float, "seed": int}  # of what `training` says of the clips
# By benchmarks/default_checkpoint.py; see docs/model_card.md
SHIPPED = Path(__file__).parent.parent / "weights" / "lipsync.h5"


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
            text = np.frombuffer(json.dumps(split).encode("ascii"), np.uint8)
            file.create_dataset("split", data=text, compression="gzip")
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
    wanted = model_weights(model)
    with _open(path) as file:
        config = _config(file, path)
        stored = _stored_weights(file, path, model.name)
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

    with _open(path) as file:
        config = _config(file, path)
        _stored_weights(file, path, "generator")
    try:
        model = networks.build(config)
    except UserError as error:  # a block that is not registered
        raise UserError(f"{path}: {error}") from error
    load_weights(model, path)
    return model, config.with_audio_offset(audio_offset_ms)


def read_config(path: str | os.PathLike) -> ModelConfig:
    """The configuration of a checkpoint, without its weights."""
    with _open(path) as file:
        return _config(file, path)


def read_networks(path: str | os.PathLike) -> list[str]:
    """The names of the networks that a checkpoint of this project holds; none for a Keras 2.2.4 file."""
    with _open(path) as file:
        _config(file, path)
        return _networks(file) if "lipgan_keras" in file.attrs else []


def _networks(file):
    return [name for name in file if name not in STATE]


def check_holds(path: str | os.PathLike, network: str) -> None:
    """Raise the UserError of `load_weights` if a checkpoint holds no such network."""
    with _open(path) as file:
        if "lipgan_keras" not in file.attrs:
            raise UserError(f"{path}: holds no {keras2.CALLED[network]}; choose a checkpoint of this project with one")
        _config(file, path)
        _stored_weights(file, path, network)


def read_training(path: str | os.PathLike) -> dict | None:
    """What `save_checkpoint` was given as `training`.

    Raises:
        UserError: it cannot be read, or what decides which clips are held out is not of its kind.
    """
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


def read_split(path: str | os.PathLike) -> dict | None:
    """What `save_checkpoint` was given as `split`; exports keep it. None in a Keras 2.2.4 file.

    Raises:
        UserError: it cannot be read.
    """
    with _open(path) as file:
        if "lipgan_keras" not in file.attrs or "split" not in file:
            return None
        try:
            found = jsontext.parse(h5.octets(file["split"], MOST_SPLIT_BYTES))
            if not isinstance(found, dict):
                raise ValueError("no object")
            return found
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: what it says of held-out clips cannot be read, the file is damaged") from error


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


def check_out(out: str | os.PathLike, *inputs: str | os.PathLike | None) -> None:
    """See that a generator's file can be written there: see `files.check_outfile`. What train.py goes on from stays."""
    files.check_outfile(out, *inputs, suffix=None, mark=_is_export)


def _is_export(path):
    try:
        with _open(path) as file:
            return "lipgan_keras" in file.attrs and "training" not in file.attrs
    except UserError:
        return False


def model_weights(model: keras.Model) -> dict[str, dict[str, keras.Variable]]:
    """{layer: {weight: variable}} of the layers that have weights, in the order in which they were made."""
    weights = {layer.name: _named(layer) for layer in model.layers if layer.weights}
    return {name: weights[name] for name in sorted(weights, key=_order)}


def _named(layer) -> dict[str, keras.Variable]:
    """A layer's weights by name; where layers within it have some of the same name, by their paths below it.

    Keras numbers layers through all models of a process; here each kind begins anew within each layer.
    """
    if len({variable.name for variable in layer.weights}) == len(layer.weights):
        return {variable.name: variable for variable in layer.weights}
    named, seen = {}, {}
    for variable in layer.weights:
        *parts, name = variable.path.removeprefix(f"{layer.name}/").split("/")
        for depth, part in enumerate(parts):
            kind = keras2.kind_and_number(part)[0]
            known = seen.setdefault((*parts[:depth], kind), [])
            known.extend([part] if part not in known else [])
            parts[depth] = f"{kind}_{known.index(part)}" if known.index(part) else kind
        path = "/".join((*parts, name))
        while path in named:  # of two models within one layer, whose layers have the same names
            path += "_"
        named[path] = variable
    return named


def _order(layer):
    kind, number = keras2.kind_and_number(layer)
    return (keras2.KINDS.index(kind), "") if kind in keras2.KINDS else (len(keras2.KINDS), kind), number


def _open(path):
    return h5.opened(path, keras2.NOT_ONE)


def _stored_weights(file, path, network=None):
    """{layer: {weight: dataset}} of a network in a project file, or of the one model in a Keras 2.2.4 file."""
    if "lipgan_keras" in file.attrs:
        if network not in file:
            held = " and ".join(keras2.CALLED.get(name, name) for name in _networks(file)) or "nothing"
            called = keras2.CALLED.get(network, network)
            raise UserError(f"{path}: holds no {called} (it holds: {held}); choose a checkpoint with one")
        return _walk(file[network], path, lambda parts: (parts[0], "/".join(parts[1:])) if len(parts) > 1 else None)

    def of_keras(parts):
        # A file of a model within a model nests its layers; the first name that is a layer's counts.
        layer = next((part for part in parts[:-1] if keras2.LAYER.fullmatch(part)), None)
        return layer and (layer, parts[-1].split(":")[0])

    return _walk(file["model_weights"] if "model_weights" in file else file, path, of_keras)


def _walk(file, path, place):
    """{layer: {weight: dataset}} of a group; `place` gives both names for the path of a dataset, or None."""
    weights = {}

    def visit(group, above):
        for name in group:
            item, parts = group[name], (*above, name)
            if isinstance(item, h5py.Group):
                visit(item, parts)
            elif found := place(parts):
                weights.setdefault(found[0], {})[found[1]] = item

    if isinstance(file, h5py.Group):
        visit(file, ())
    if not weights:
        raise UserError(f"{path}: holds no layer of LipGAN; {keras2.NOT_ONE}")
    return {name: weights[name] for name in sorted(weights, key=_order)}


def _config(file, path):
    if "lipgan_keras" not in file.attrs:
        return config_of_shapes(_stored_weights(file, path), path)
    try:
        if h5.whole_number(file, "lipgan_keras") > FORMAT:
            raise UserError(f"{path}: was written by a newer lipgan_keras; update this one")
        values = jsontext.parse(h5.text(file, "config") or "", finite=False)
        if not isinstance(values, dict):
            raise ValueError("no object")
        names = [field.name for field in dataclasses.fields(ModelConfig)]
        # Files of before there was a lip-sync discriminator, or blocks, do not name these.
        later = [name for name in names if name.startswith("sync_") or name in BLOCKS]
        missing = [name for name in names if name not in values and name not in later]
        if missing:
            raise ValueError(f"no {missing[0]}")
    except UserError:
        raise
    except ValueError as error:
        raise UserError(
            f"{path}: its configuration cannot be read, or is not of this version; {keras2.NOT_ONE}"
        ) from error
    wrong = kinds.first_wrong(values, ModelConfig) or limits.wrong({name: values.get(name) for name in names})
    if wrong:
        raise UserError(f"{path}: in its configuration {wrong}; {keras2.NOT_ONE}")
    config = ModelConfig(**{name: values[name] for name in names if name in values})
    known = {"variant": VARIANTS, "audio": WINDOW_SHAPE, "img_size": IMG_SIZES, "alignment": ALIGNMENTS, "crop": CROPS}
    for name, choices in known.items():
        if getattr(config, name) not in choices:
            raise UserError(
                f"{path}: in its configuration {name} is {getattr(config, name)!r:.40}, which this version does not "
                f"know; {keras2.NOT_ONE}"
            )
    for kind in BLOCKS:
        if not re.fullmatch(f"|{limits.BLOCK_NAME.pattern}", getattr(config, kind)):
            raise UserError(f"{path}: in its configuration {kind} is no name of a block; {keras2.NOT_ONE}")
    _check_size(file, path, config)
    return config


def _check_size(file, path, config):
    """See that a file whose configuration says that its networks are wide holds wide ones, before they are built.

    Raises:
        UserError: it does not.
    """
    widths = {"generator": config.width, "discriminator": config.width, "sync": config.sync_width}
    for network, width in widths.items():
        if width > NARROW and network in file and not (network == "generator" and config.other_blocks):
            stored = _stored_weights(file, path, network)
            count = sum(math.prod(item.shape) for weights in stored.values() for item in weights.values())
            if count < LEAST_WEIGHTS * width**2:
                raise UserError(
                    f"{path}: its configuration says that the {network} has a width of {width:g}, and it holds "
                    f"{count:,} weights, too few for that; {keras2.NOT_ONE}"
                )
