"""The losses of LipGAN (K R et al. 2019, section 4.3), as functions of tensors that return scalars."""

from .backend import keras

ops = keras.ops


def contrastive(label, distance):
    """mean((1 - y) d^2 + y max(0, 1 - d)^2).

    The paper's text gives a margin of 2, the released code uses 1, as here.

    Args:
        label: scalar or (B,1), 0 for a synced pair, 1 for an unsynced or generated one.
        distance: (B,1), the discriminator's output, 0..2.
    """
    return ops.mean((1.0 - label) * ops.square(distance) + label * ops.square(ops.maximum(0.0, 1.0 - distance)))


def mean_absolute_error(targets, predictions):
    """Mean of |targets - predictions| over everything, in the unit of the images (0..1)."""
    return ops.mean(ops.abs(targets - predictions))
