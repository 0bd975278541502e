"""What a generator says of how it moved the identity frame's pixels, beside its image."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from ..utils.backend import keras


def generated(engine: Callable, faces: np.ndarray, sound: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """What `Engine.generate` gives; of another object that makes images, as `LipSync` takes them, these alone."""
    generate = getattr(engine, "generate", None)
    return generate(faces, sound) if generate else (np.asarray(engine(faces, sound)), None)


def moved(image: np.ndarray, motion: np.ndarray, top: int, left: int = 0, how: int = cv2.INTER_CUBIC) -> np.ndarray:
    """Pixels of a square image, moved as `layers.Warp` does, to the place at `top` and `left` for which `motion` is:
    float32 of the motion's height and width.
    """
    height, width = motion.shape[:2]
    x, y = (motion[..., i] * np.float32(len(image) / 8) for i in range(2))
    x += np.arange(left, left + width, dtype=np.float32)
    y += np.arange(top, top + height, dtype=np.float32)[:, None]
    return cv2.remap(image, x, y, how, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)


def with_motion(generator: keras.Model) -> keras.Model:
    """A generator that also gives its flow and its mask, (B,S,S,6) float32 in all; one that moves nothing as it is."""
    from ..blocks import keras, layers, motion

    parts = motion(generator)
    if not parts:
        return generator
    joined = layers.Concatenate(dtype="float32", name="with_motion")([generator.output, parts["flow"], parts["mask"]])
    return keras.Model(generator.inputs, joined, name="generator")
