"""The losses, as functions of tensors that return scalars.

The first two are LipGAN's (K R et al. 2019, section 4.3); the others are this project's lip-weighted reconstruction,
and those of the lip-sync and the visual-quality discriminator.
"""

from .utils.backend import keras

ops = keras.ops

TEMPERATURE = 0.1  # of `matching`; similarities are -1..1


def contrastive(label, distance):
    """mean((1 - y) d^2 + y max(0, 1 - d)^2).

    The paper's text gives a margin of 2, the released code uses 1, as here.

    Args:
        label: scalar or (B,1), 0 for a synced pair, 1 for an unsynced or generated one.
        distance: (B,1), the discriminator's output, 0..2.
    """
    return ops.mean((1.0 - label) * ops.square(distance) + label * ops.square(ops.maximum(0.0, 1.0 - distance)))


def mean_absolute_error(targets, predictions):
    """Mean absolute difference of targets and predictions over everything, in the unit of the images (0..1)."""
    return ops.mean(ops.abs(targets - predictions))


def lip_weighted_mae(targets, predictions, masks, weight):
    """Weighted mean of the absolute difference: `weight` inside the lips, 1 outside, 1 + (weight - 1) m in between.

    With weight 1 it is `mean_absolute_error`.

    Args:
        targets, predictions: (B,H,W,3) in 0..1.
        masks: (B,H,W,1) in 0..1, 1 inside the lips (`regions.lip_mask`).
        weight: scalar, 0 or more.
    """
    weights = 1.0 + (weight - 1.0) * masks
    return ops.mean(weights * ops.abs(targets - predictions)) / ops.mean(weights)


def lip_parts(targets, predictions, masks):
    """The mean absolute error's two parts, inside and outside of the lips: they sum to it. See `lip_weighted_mae`."""
    error = ops.abs(targets - predictions)
    return ops.mean(masks * error), ops.mean((1.0 - masks) * error)


def matching(mouths, sounds, relation):
    """Each mouth has to be nearer to its own audio than to the wrong ones: softmax cross-entropy of cosine
    similarities.

    The multi-way matching of Chung, Chung and Kang 2019 (arXiv 1809.08001): unlike a pair-wise loss it goes on learning
    from the hard ones after other clips' sounds are told apart.

    Args:
        mouths: (B,n), unit vectors.
        sounds: (M,n), unit vectors.
        relation: (B,M), 1 for a mouth's own audio (one in each row), -1 for wrong ones, 0 for what is left out.
    """
    logits = ops.matmul(mouths, ops.transpose(sounds)) / TEMPERATURE
    own = ops.maximum(relation, 0.0)
    compared = ops.where(ops.abs(relation) > 0.5, logits, -1e9)
    return ops.mean(ops.logsumexp(compared, axis=1) - ops.sum(own * logits, axis=1))


def hinge_discriminator(real, fake, weights):
    """Hinge loss of a GAN's discriminator (Lim and Ye 2017, arXiv 1705.02894): real logits above 1, fake ones below -1.

    Args:
        real, fake: (B,h,w,1) logits.
        weights: (B,h,w,1), those of a weighted mean over the places.
    """
    loss = ops.maximum(0.0, 1.0 - real) + ops.maximum(0.0, 1.0 + fake)
    return ops.mean(weights * loss) / ops.mean(weights)


def hinge_generator(fake, weights):
    """What the generator minimises against `hinge_discriminator`."""
    return -ops.mean(weights * fake) / ops.mean(weights)
