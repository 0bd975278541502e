"""Where a network looks.

Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391) tells which places of an image speak for a discriminator's score. The
mean activation maps tell at which places a generator's decoder is active.
"""

from collections.abc import Callable, Sequence

import numpy as np

from ..utils import backend
from ..utils.backend import keras
from ..utils.errors import UserError

layers, ops = keras.layers, keras.ops

# What each discriminator of `networks` says of a sample, from its outputs: (B,), higher is more in sync, or more real.
SCORES: dict[str, Callable] = {
    "discriminator": lambda distance: -distance[:, 0],
    "sync": lambda towers: ops.sum(towers[0] * towers[1], axis=-1),
    "quality": lambda logits: ops.mean(logits, axis=(1, 2, 3)),
}


def depends_on(model: keras.Model) -> dict[str, frozenset[int]]:
    """Of each operation of a functional model, its layers too, the numbers of the inputs that reach its output."""
    reached = {id(tensor): frozenset([number]) for number, tensor in enumerate(model.inputs)}
    found = {}
    for step in model.operations:  # from the inputs to the outputs
        tensors = keras.tree.flatten([step.input, step.output])  # what an input layer gives out is reached already
        found[step.name] = frozenset().union(*(reached.get(id(tensor), ()) for tensor in tensors))
        reached |= {id(tensor): found[step.name] for tensor in keras.tree.flatten(step.output)}
    return found


def grad_cam(
    model: keras.Model,
    inputs: np.ndarray | Sequence[np.ndarray],
    side: int = 6,
    against: bool = False,
    score: Callable | None = None,
) -> np.ndarray:
    """Which places of the images speak for a high score.

    Each channel of an inner layer weighs as much as its mean gradient. The map is the weighted sum of the channels,
    where that is above 0.

    Args:
        model: a discriminator of `networks`, or a functional model whose first input is images.
        inputs: what it takes, B samples; the images come first.
        side: of the inner layer, the last one of so many places a side that sees the images alone.
        against: the places that speak for a low score.
        score: takes the model's outputs and returns (B,); None: that of `SCORES` by the model's name.

    Returns:
        (B,side,side) float32, 0 or more. It has no unit: use it to compare places of one image.

    Raises:
        UserError: no layer has so many places, or the backend is neither TensorFlow nor JAX.
    """
    images, *others = inputs if isinstance(inputs, (list, tuple)) else [inputs]
    score = score or SCORES[model.name]
    seen = depends_on(model)
    # Of one channel are logits: all of the answer, and no evidence for it.
    sides = {
        layer.output.shape[1]: layer
        for layer in model.layers
        if seen[layer.name] == {0}
        and len(layer.output.shape) == 4
        and layer.output.shape[-1] > 1
        and not isinstance(layer, layers.InputLayer)
    }
    if side not in sides:
        raise UserError(f"{model.name}: no layer has {side} places a side; choose one of {', '.join(map(str, sides))}")
    inner = sides[side].output
    maps = keras.Model(model.inputs[0], inner).predict_on_batch(images)
    head = keras.Model([inner, *model.inputs[1:]], model.output)
    others = [ops.convert_to_tensor(other) for other in others]

    def total(maps):
        return ops.sum(score(head([maps, *others], training=False)))

    gradient = backend.gradient(total, maps) * (-1 if against else 1)
    weights = gradient.mean(axis=(1, 2), keepdims=True)
    return np.maximum((weights * maps).sum(axis=-1), 0).astype("float32")


def decoder_maps(generator: keras.Model, faces: np.ndarray, audio: np.ndarray) -> dict[int, np.ndarray]:
    """How active the generator's decoder is at each place, from coarse to fine.

    Args:
        generator: of `networks`.
        faces, audio: B samples, see `networks.build_generator`.

    Returns:
        {side: (B,side,side) float32}: means over the channels of the last layer of each size before the image.
    """
    seen = depends_on(generator)
    last = {
        layer.output.shape[1]: layer.output
        for layer in generator.layers
        if seen[layer.name] == {0, 1}
        and isinstance(layer, layers.Activation)
        and len(layer.output.shape) == 4
        and layer.output is not generator.output
    }
    found = keras.Model(generator.inputs, list(last.values())).predict_on_batch([faces, audio])
    return {side: np.abs(maps).mean(axis=-1).astype("float32") for side, maps in zip(last, found, strict=True)}
