"""Replays the golden trajectory and prints its losses as JSON: `trajectory.py GENERATOR DISCRIMINATOR`.

A script of its own, so that a test can run it on another backend.
"""

import json
import sys

import numpy as np

from lipgan_keras import checkpoints, networks
from lipgan_keras.gan import LipGAN


def replay(generator_file, discriminator_file):
    generator, discriminator = networks.build_generator("basic"), networks.build_discriminator()
    checkpoints.load_weights(generator, generator_file)
    checkpoints.load_weights(discriminator, discriminator_file)
    model = LipGAN(generator, discriminator)
    rng = np.random.RandomState(23)
    for _ in range(6):
        truth, reference = rng.rand(12, 96, 96, 3).astype("float32"), rng.rand(12, 96, 96, 3).astype("float32")
        audio, coin = rng.standard_normal((12, 80, 27, 1)).astype("float32"), bool(rng.randint(2))
        masked = truth.copy()
        masked[:, 48:] = 0
        faces = np.concatenate([reference, masked], axis=-1)
        yield model.train_iteration(faces, audio, truth, train_on_fakes=coin)


if __name__ == "__main__":
    print(json.dumps(list(replay(*sys.argv[1:]))))
