"""The weights of a model, and those of a file, by the names of layers and weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import h5py

from ..utils.errors import UserError
from . import keras2

if TYPE_CHECKING:
    from ..utils.backend import keras

STATE = ("optimizers", "raw", "split")  # what is no network


def networks_of(file: h5py.File) -> list[str]:
    """The names of the networks that a project file holds."""
    return [name for name in file if name not in STATE]


def model_weights(model: keras.Model) -> dict[str, dict[str, keras.Variable]]:
    """{layer: {weight: variable}} of the layers that have weights, in the order in which they were made."""
    weights = {layer.name: _named(layer) for layer in model.layers if layer.weights}
    return {name: weights[name] for name in sorted(weights, key=order)}


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


def order(layer):
    kind, number = keras2.kind_and_number(layer)
    return (keras2.KINDS.index(kind), "") if kind in keras2.KINDS else (len(keras2.KINDS), kind), number


def stored_weights(file, path, network=None):
    """{layer: {weight: dataset}} of a network in a project file, or of the one model in a Keras 2.2.4 file."""
    if "lipgan_keras" in file.attrs:
        if network not in file:
            held = " and ".join(keras2.CALLED.get(name, name) for name in networks_of(file)) or "nothing"
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
    return {name: weights[name] for name in sorted(weights, key=order)}
