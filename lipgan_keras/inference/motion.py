"""What a generator says of how it moved the identity frame's pixels, beside its image."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..utils.backend import keras


def with_motion(generator: keras.Model) -> keras.Model:
    """A generator that also gives its flow and its mask, (B,S,S,6) float32 in all; one that moves nothing as it is."""
    from ..blocks import keras, layers, motion

    parts = motion(generator)
    if not parts:
        return generator
    joined = layers.Concatenate(dtype="float32", name="with_motion")([generator.output, parts["flow"], parts["mask"]])
    return keras.Model(generator.inputs, joined, name="generator")
