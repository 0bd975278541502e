"""SyncNet's two networks, one for lips and one for audio. Keras is loaded when they are built."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..utils.backend import keras

SIZE = 224
RUN = 5  # frames that the lip stream sees
SOUND_STEPS = 20  # MFCC frames that the audio stream hears, 4 to a frame of the image


def build_lip() -> keras.Model:
    """(N,5,224,224,3) float32, BGR 0..255, five frames at 25 fps -> (N,1024) float32.

    The one convolution over time takes in all five frames, so here they are 15 channels and all is two-dimensional.
    """
    from ..utils.backend import keras

    layers = keras.layers
    frames = layers.Input((RUN, SIZE, SIZE, 3))
    x = layers.Permute((2, 3, 1, 4))(frames)
    x = layers.Reshape((SIZE, SIZE, 3 * RUN))(x)
    x = _conv(x, 0, 96, 7, 2)
    x = layers.MaxPooling2D(3, 2)(x)
    x = _conv(x, 4, 256, 5, 2, pad=1)
    x = layers.MaxPooling2D(3, 2)(layers.ZeroPadding2D(1)(x))  # after a ReLU zeros are as good as -infinity
    for number in (8, 11, 14):
        x = _conv(x, number, 256, 3, pad=1)
    x = layers.MaxPooling2D(3, 2)(x)
    x = _conv(x, 18, 512, 6)
    return keras.Model(frames, _head(x), name="lip")


def build_sound() -> keras.Model:
    """(N,13,20,1) float32, `syncnet.mfcc` of 0.2 s -> (N,1024) float32."""
    from ..utils.backend import keras

    layers = keras.layers
    sound = layers.Input((13, SOUND_STEPS, 1))
    x = _conv(sound, 0, 64, 3, pad=1)
    x = _conv(x, 4, 192, 3, pad=1)
    x = layers.MaxPooling2D(3, (1, 2))(x)
    x = _conv(x, 8, 384, 3, pad=1)
    for number in (11, 14):
        x = _conv(x, number, 256, 3, pad=1)
    x = layers.MaxPooling2D(3, 2)(x)
    x = _conv(x, 18, 512, (5, 4))
    return keras.Model(sound, _head(x), name="sound")


def _conv(x, number, channels, size, strides=1, pad=0):
    """Convolution, batch norm, ReLU. Layers carry the numbers that they have in the PyTorch file."""
    from ..utils.backend import keras

    layers = keras.layers
    if pad:
        x = layers.ZeroPadding2D(pad)(x)
    x = layers.Conv2D(channels, size, strides, name=f"conv_{number}")(x)
    x = layers.BatchNormalization(epsilon=1e-5, name=f"conv_{number + 1}")(x)
    return layers.ReLU()(x)


def _head(x):
    from ..utils.backend import keras

    layers = keras.layers
    x = layers.Dense(512, name="full_0")(layers.Flatten()(x))
    x = layers.BatchNormalization(epsilon=1e-5, name="full_1")(x)
    return layers.Dense(1024, name="full_3")(layers.ReLU()(x))
