"""Files of Keras 2.2.4, which say nothing of their configuration: it is told by the shapes of their layers."""

from __future__ import annotations

import dataclasses
import itertools
import re

from ..config import IMG_SIZES, ModelConfig
from ..utils.errors import UserError

KINDS = ("conv2d", "conv2d_transpose", "spectral_conv2d", "batch_normalization", "instance_normalization")
CALLED = {"sync": "lip-sync discriminator", "quality": "visual-quality discriminator"}
LAYER = re.compile(rf"({'|'.join(KINDS)})(?:_(\d+))?")
NOT_ONE = "name a checkpoint of this project or a Keras 2.2.4 HDF5 file"


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
    kernels = [w.get("kernel", ()) for layer, w in shapes.items() if LAYER.fullmatch(layer)[1] == "conv2d"]
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


def refuse_misfit(network, wanted, stored, path):
    ours = {layer: _shapes(w) for layer, w in wanted.items()}
    theirs = {layer: _shapes(w) for layer, w in stored.items()}
    for mine, other in paired_layers(ours, theirs):
        if ours.get(mine) != theirs.get(other):
            break
    else:
        return
    difference = (
        f"its {other or mine} {_words(theirs.get(other))}, the model's {mine or other} {_words(ours.get(mine))}"
    )
    if network in CALLED:
        raise UserError(f"{path}: does not fit the {CALLED[network]}: {difference}")
    held, kind = _recognise(theirs)
    held = f"; the file holds a {_kind(held, kind)}" if held else ""
    raise UserError(f"{path}: does not fit the {_kind(*_recognise(ours))}: {difference}{held}")


def _kind(config, network):
    variant = f"{config.variant} " if network == "generator" else ""
    return f"{variant}{config.audio} {network}, width {config.width:g}, img_size {config.img_size}"


def _words(shapes):
    if shapes is None:
        return "is missing"
    return "has " + ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in shapes.items())


def paired_layers(ours, theirs):
    """Layer names of both sides, paired within each kind by order; None where one side has fewer."""
    for kind in KINDS:
        left, right = ([layer for layer in side if LAYER.fullmatch(layer)[1] == kind] for side in (ours, theirs))
        yield from itertools.zip_longest(left, right)
