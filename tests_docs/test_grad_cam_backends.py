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
from lipgan_keras import networks
from lipgan_keras.evaluation.activations import decoder_maps, grad_cam
rng = np.random.default_rng(0)
def draw(*shape):
    return rng.random((2, *shape), "float32")
face, sound, mouths, sounds = draw(96, 96, 3), draw(80, 27, 1), draw(48, 48, 6), draw(80, 27, 2)
found = {}
for name, model, inputs in (
    ("discriminator", networks.build_discriminator(width=0.02), [face, sound]),
    ("sync", networks.build_sync_discriminator(width=0.02, frames=2), [mouths, sounds]),
    ("quality", networks.build_quality_discriminator(width=0.02), face),
):
    model.set_weights([rng.normal(0, 0.2, w.shape) + (w.ndim == 1) for w in model.get_weights()])
    found[name] = grad_cam(model, inputs)
generator = networks.build_generator("basic", width=0.02)
generator.set_weights([rng.normal(0, 0.2, w.shape) + (w.ndim == 1) for w in generator.get_weights()])
found |= {str(side): maps for side, maps in decoder_maps(generator, np.concatenate([face, face], -1), sound).items()}
np.savez(sys.argv[1], **found)
"""


def test_tensorflow_and_jax_agree(tmp_path):
    found = {}
    for backend in ("tensorflow", "jax"):
        environment = os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
        path = tmp_path / f"{backend}.npz"
        subprocess.run([sys.executable, "-c", PROGRAM, path], env=environment, check=True)
        found[backend] = dict(np.load(path))
    assert set(found["jax"]) == {"discriminator", "sync", "quality", "3", "6", "12", "24", "48", "96"}
    for name, ours in found["tensorflow"].items():
        size = int(name) if name.isdigit() else 6
        assert ours.shape == (2, size, size) and ours.max() > 0
        np.testing.assert_allclose(found["jax"][name], ours, rtol=1e-3, atol=1e-4 * ours.max(), err_msg=name)
