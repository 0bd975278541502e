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
    its own place plus the flow, x and y in eighths of the side. Between pixels by cubic convolution (Keys 1981) with
    OpenCV's and PyTorch's A = -0.75, which keeps fine detail that bilinear interpolation loses. What lies beyond the
    edge repeats it.
    """

    def call(self, inputs):
        image, flow = inputs
        side = image.shape[1]
        along = ops.arange(side, dtype="float32")
        places = ops.stack(ops.meshgrid(along, along), -1) + flow * (side / 8)
        places = ops.clip(places, -1.0, float(side))  # what is further out looks the same
        first = ops.floor(places)
        part = places - first
        weights = [_far(1 + part), _near(part), _near(1 - part), _far(2 - part)]
        # The edge is continued by 2 pixels before the image and 3 behind it; then each pixel holds the 4 in a row.
        around = ops.clip(ops.arange(-2, side + 3), 0, side - 1)
        image = ops.take(ops.take(image[..., :3], around, axis=1), around, axis=2)
        pixels = ops.concatenate([image[:, :, i : i + side + 2] for i in range(4)], -1)
        pixels = ops.reshape(pixels, (-1, 12))
        first = ops.cast(first, "int32") + 1
        rows = ops.arange(ops.shape(flow)[0])[:, None, None] * (side + 5) + first[..., 1]
        across = ops.concatenate([ops.repeat(weight[..., :1], 3, -1) for weight in weights], -1)
        down = [
            weight[..., 1:] * ops.take(pixels, (rows + i) * (side + 2) + first[..., 0], axis=0)
            for i, weight in enumerate(weights)
        ]
        lines = ops.reshape(across * sum(down), (-1, side, side, 4, 3))
        return ops.sum(lines, axis=3)


def _near(distance, a=-0.75):
    """The weight of a pixel 0 to 1 pixels away."""
    return ((a + 2) * distance - (a + 3)) * distance * distance + 1


def _far(distance, a=-0.75):
    """The weight of a pixel 1 to 2 pixels away."""
    return ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a


@keras.saving.register_keras_serializable("lipgan_keras")
class Blend(keras.layers.Layer):
    """Takes [a, b (B,S,S,3), mask (B,S,S,1) in 0..1] and gives (B,S,S,3): b where the mask is 1, a where it is 0."""

    def call(self, inputs):
        a, b, mask = inputs
        return a + mask * (b - a)
