"""Files of Keras 2.2.4, which say nothing of their configuration: it is told by the shapes of their layers."""

from __future__ import annotations

import dataclasses
import itertools
import re

from ..config import IMG_SIZES, ModelConfig
from ..utils.errors import UserError

KINDS = ("conv2d", "conv2d_transpose", "spectral_conv2d", "batch_normalization", "instance_normalization")
CALLED = {"sync": "lip-sync discriminator", "quality": "visual-quality discriminator"}
LAYER = re.compile(rf"({'|'.join(KINDS)})(?:_(\d+))?")  # of the original's networks, and the first of ours
NOT_ONE = "name a checkpoint of this project or a Keras 2.2.4 HDF5 file"


def kind_and_number(layer: str) -> tuple[str, int]:
    """A layer's name without its number at the end, and that: 0 if there is none."""
    kind, number = re.fullmatch(r"(.+?)(?:_(\d+))?", layer).groups()
    return kind, int(number or 0)


def config_of_shapes(weights, path):
    config, _ = _recognise({layer: _shapes(w) for layer, w in weights.items()})
    if config is None:
        raise UserError(f"{path}: is HDF5 but holds no LipGAN model; {NOT_ONE}")
    # The released mel code and the released MFCC code place their windows differently; both crop as dlib does.
    alignment = "released" if config.audio == "mel" else "centred"
    return dataclasses.replace(config, alignment=alignment, crop="dlib")


def _shapes(weights):
    return {name: tuple(array.shape) for name, array in weights.items()}


def _recognise(shapes):
    """Tell a model by its shapes: (ModelConfig, "generator" | "discriminator"), or (None, None)."""
    kernels = [w.get("kernel", ()) for layer, w in shapes.items() if kind_and_number(layer)[0] == "conv2d"]
    if not kernels or any(len(kernel) != 4 for kernel in kernels):
        return None, None
    size, _, channels, _ = kernels[0]
    if channels == 6 and size in (7, 11):
        network, variant = "generator", "residual" if size == 7 else "basic"
    elif channels == 3 and size == 7:
        network, variant = "discriminator", "residual"
    else:
        return None, None
    audio = "mfcc" if any(kernel[:2] == (4, 5) for kernel in kernels) else "mel"
    width = max(kernel[3] for kernel in kernels) / 512  # not the first's, which small widths do not go below
    levels = sum(kernel[0] == kernel[1] > 3 for kernel in kernels)  # the larger model's top one has a large kernel
    img_size = IMG_SIZES[levels > (3 if size == 11 else 2)]
    return ModelConfig(variant, audio, width, img_size), network


def refuse_misfit(network, wanted, stored, path, config=None, grown=False):
    """Raise a UserError where layers or shapes differ; `config` is what a file of this project says of itself, and
    `grown` allows layers that the file has not.
    """
    ours = {layer: _shapes(w) for layer, w in wanted.items()}
    theirs = {layer: _shapes(w) for layer, w in stored.items()}
    for mine, other in paired_layers(ours, theirs):
        if ours.get(mine) != theirs.get(other) and not (grown and other is None):
            break
    else:
        return
    difference = (
        f"its {other or mine} {_words(theirs.get(other))}, the model's {mine or other} {_words(ours.get(mine))}"
    )
    if network in CALLED:
        raise UserError(f"{path}: does not fit the {CALLED[network]}: {difference}")
    (mine, _), (held, kind) = _recognise(ours), _recognise(theirs)
    plain = config is None or config.is_preset
    held = f"; the file holds a {_kind(held, kind) if plain else f'generator, {config}'}" if held or not plain else ""
    raise UserError(f"{path}: does not fit the {_kind(*_recognise(ours)) if mine else network}: {difference}{held}")


def _kind(config, network):
    variant = f"{config.variant} " if network == "generator" else ""
    return f"{variant}{config.audio} {network}, width {config.width:g}, img_size {config.img_size}"


def _words(shapes):
    if shapes is None:
        return "is missing"
    return "has " + ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in shapes.items())


def paired_layers(ours, theirs):
    """Layer names of both sides, paired within each kind by order; None where one side has fewer."""
    others = sorted({kind_and_number(layer)[0] for layer in (*ours, *theirs)} - set(KINDS))
    for kind in (*KINDS, *others):
        left, right = ([layer for layer in side if kind_and_number(layer)[0] == kind] for side in (ours, theirs))
        yield from itertools.zip_longest(left, right)
