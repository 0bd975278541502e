"""SyncNet's weights: from the released PyTorch file, and kept as HDF5."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

import h5py
import numpy as np

from ..utils import files, h5, processes
from ..utils.errors import UserError
from .syncnet_networks import build_lip, build_sound

if TYPE_CHECKING:
    from ..utils.backend import keras

FORMAT = 1  # of the weights file
NOT_ONE = "give a file that `python -m lipgan_keras.syncnet convert` wrote"


STREAMS = {"lip": build_lip, "sound": build_sound}
# Names of PyTorch's file
_MODULES = {"lip": {"conv": "netcnnlip", "full": "netfclip"}, "sound": {"conv": "netcnnaud", "full": "netfcaud"}}
_PARAMETERS = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def _weights(models) -> Iterator[tuple[str, str, str, keras.Variable]]:
    """(stream, layer, name, variable) of all."""
    for stream, model in models.items():
        for layer in model.layers:
            for variable in layer.weights:
                yield stream, layer.name, variable.name, variable


def convert(source: str | os.PathLike, out: str | os.PathLike) -> None:
    """Rewrite the weights released as `syncnet_v2.model`, a PyTorch state dict, as an HDF5 file for `SyncNet`.

    Nothing but arrays is read from it (`weights_only`); no code in it runs.

    Raises:
        UserError: torch is missing, no such file, not a state dict, or not SyncNet's: the first array that is missing
            or of another shape is named.
    """
    files.check_outfile(out, source, suffix=".h5", mark=b"lipgan_keras_syncnet")
    state = _state_dict(source)
    models = {stream: build() for stream, build in STREAMS.items()}
    data = io.BytesIO()  # HDF5 that meets a full disc ends in a crash, not in an error
    with h5py.File(data, "w") as file:
        file.attrs["lipgan_keras_syncnet"] = FORMAT
        for stream, layer, name, variable in _weights(models):
            kind, number = layer.split("_")
            key = f"{_MODULES[stream][kind]}.{number}.{_PARAMETERS[name]}"
            file[f"{stream}/{layer}/{name}"] = _array(state, key, tuple(variable.shape), source)
    with files.replacing(out) as temporary:
        temporary.write_bytes(data.getbuffer())


def _state_dict(path) -> dict:
    if not os.path.isfile(files.regular(path)):
        raise UserError(f"{path}: no such file; name the released syncnet_v2.model")
    try:
        with processes.signals_put_off(), files.quiet_stderr():
            import torch
    except ImportError as error:
        raise UserError(f"{path}: reading a PyTorch file needs torch, once; run: pip install torch") from error
    try:
        with warnings.catch_warnings(), files.quiet_stderr():
            warnings.simplefilter("ignore")
            state = torch.load(path, map_location="cpu", weights_only=True)
    except PermissionError as error:
        raise UserError(f"{path}: may not be read; check its permissions") from error
    except Exception as error:  # of many kinds, from deep within
        raise UserError(
            f"{path}: is not a PyTorch file of weights alone, or is damaged; name the released syncnet_v2.model"
        ) from error
    if not isinstance(state, dict):
        raise UserError(f"{path}: holds no PyTorch state dict; name the released syncnet_v2.model")
    return {key: value for key, value in state.items() if isinstance(value, torch.Tensor)}


def _array(state, key, wanted, path) -> np.ndarray:
    if key not in state:
        raise UserError(f"{path}: is not SyncNet, it holds no {key}; name the released syncnet_v2.model")
    value = state[key].float().numpy()
    if value.ndim == 5:  # channels out, in, frames, rows, columns
        value = value.transpose(3, 4, 2, 1, 0).reshape(*value.shape[3:], -1, len(value))
    elif value.ndim == 4:
        value = value.transpose(2, 3, 1, 0)
    elif value.ndim == 2:
        value = value.T
    if value.shape != wanted:
        shapes = " and ".join("x".join(map(str, shape)) for shape in (value.shape, wanted))
        raise UserError(
            f"{path}: is another SyncNet, {key} is not of its shape ({shapes}); name the released syncnet_v2.model"
        )
    if not np.isfinite(value).all():
        raise UserError(f"{path}: {key} holds infinite numbers or NaN, the file is damaged; download it again")
    return np.ascontiguousarray(value)


def check(path) -> None:
    """Refuse a file that is no SyncNet's; without Keras, which takes seconds to load.

    Raises:
        UserError: it holds no SyncNet, or a newer one.
    """
    with h5.opened(path, NOT_ONE) as file:
        if "lipgan_keras_syncnet" not in file.attrs:
            raise UserError(f"{path}: holds no SyncNet; {NOT_ONE}")
        if h5.whole_number(file, "lipgan_keras_syncnet") > FORMAT:
            raise UserError(f"{path}: was written by a newer lipgan_keras; update this one")


def load_weights(models, path) -> None:
    check(path)
    wanted = list(_weights(models))
    with h5.opened(path, NOT_ONE) as file:
        values = [(variable, _dataset(file, path, "/".join(names), variable)) for *names, variable in wanted]
    for variable, value in values:
        variable.assign(value)


def _dataset(file, path, key, variable) -> np.ndarray:
    if key not in file:
        raise UserError(f"{path}: holds no {key}; {NOT_ONE}")
    dataset = file[key]
    if not isinstance(dataset, h5py.Dataset) or dataset.shape != tuple(variable.shape):
        raise UserError(f"{path}: its {key} is not SyncNet's; {NOT_ONE}")
    return np.asarray(h5.numbers(dataset, path, NOT_ONE), np.float32)
