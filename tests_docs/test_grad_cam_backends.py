"""Grad-CAM says the same on both backends."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
PROGRAM = """
import sys
import numpy as np
from lipgan_keras.evaluation.activations import grad_cam
from lipgan_keras.utils.backend import keras
layers, rng = keras.layers, np.random.default_rng(0)
face, sound = keras.Input((12, 12, 3)), keras.Input((4, 4, 1))
x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu", kernel_initializer="zeros")(face)
seen, heard = layers.GlobalAveragePooling2D()(x), layers.Dense(8, kernel_initializer="zeros")(layers.Flatten()(sound))
model = keras.Model([face, sound], layers.Dot(1)([seen, heard]), name="discriminator")
model.set_weights([rng.normal(0, 0.5, w.shape) for w in model.get_weights()])
inputs = rng.random((2, 12, 12, 3), "float32"), rng.random((2, 4, 4, 1), "float32")
np.save(sys.argv[1], grad_cam(model, inputs))
"""


def test_tensorflow_and_jax_agree(tmp_path):
    found = {}
    for backend in ("tensorflow", "jax"):
        environment = os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
        path = tmp_path / f"{backend}.npy"
        subprocess.run([sys.executable, "-c", PROGRAM, path], env=environment, check=True)
        found[backend] = np.load(path)
    assert found["jax"].shape == (2, 6, 6) and found["jax"].max() > 0
    np.testing.assert_allclose(found["jax"], found["tensorflow"], rtol=1e-4, atol=1e-6)
