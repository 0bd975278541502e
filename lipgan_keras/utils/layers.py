"""Layers that Keras does not have, and the numbers of those that it names."""

from collections.abc import Iterable

from .backend import keras

ops = keras.ops

# What `Blocks` numbers itself, from 1 as Keras 2.2.4 did; Keras numbers what a block leaves unnamed from here on.
NUMBERED = "activation add batch_normalization concatenate conv2d conv2d_transpose zero_padding2d flatten leaky_re_lu"
NUMBERED += " depthwise_conv2d dense layer_normalization multi_head_attention positions"
FIRST_FREE = 1000


def keep_names_apart(kinds: Iterable[str]) -> None:
    """Move Keras's numbers for unnamed layers out of the way of those that `Blocks` gives."""
    for kind in kinds:
        while keras.backend.get_uid(kind) < FIRST_FREE:
            pass


@keras.saving.register_keras_serializable("lipgan_keras")
class Positions(keras.layers.Layer):
    """Adds a learned vector to each of the T places of (B,T,n)."""

    def build(self, input_shape):
        self.table = self.add_weight(
            name="table", shape=input_shape[1:], initializer=keras.initializers.RandomNormal(0, 0.02)
        )

    def call(self, x):
        return x + ops.cast(self.table, x.dtype)


@keras.saving.register_keras_serializable("lipgan_keras")
class Warp(keras.layers.Layer):
    """Moves the pixels of an image by a flow, as spatial transformers sample (Jaderberg et al. 2015, arXiv 1506.02025).

    Takes [image (B,S,S,n), flow (B,S,S,2)] and gives (B,S,S,3): at each pixel the first three channels of the image at
    its own place plus the flow, x and y in eighths of the side. Between pixels by bilinear interpolation; what lies
    beyond the edge repeats it.
    """

    def call(self, inputs):
        image, flow = inputs
        side = image.shape[1]
        along = ops.arange(side, dtype="float32")
        places = ops.stack(ops.meshgrid(along, along), -1) + flow * (side / 8)
        places = ops.clip(places, 0.0, side - 1.0)
        first = ops.floor(places)
        part = places - first
        first = ops.cast(first, "int32")
        last = ops.minimum(first + 1, side - 1)
        pixels = ops.reshape(image[..., :3], (-1, 3))
        rows = ops.arange(ops.shape(image)[0])[:, None, None] * side

        def at(x, y):
            return ops.take(pixels, (rows + y[..., 1]) * side + x[..., 0], axis=0)

        above = at(first, first) + part[..., :1] * (at(last, first) - at(first, first))
        below = at(first, last) + part[..., :1] * (at(last, last) - at(first, last))
        return above + part[..., 1:] * (below - above)


@keras.saving.register_keras_serializable("lipgan_keras")
class Blend(keras.layers.Layer):
    """Takes [a, b (B,S,S,3), mask (B,S,S,1) in 0..1] and gives (B,S,S,3): b where the mask is 1, a where it is 0."""

    def call(self, inputs):
        a, b, mask = inputs
        return a + mask * (b - a)
