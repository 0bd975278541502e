"""Where a network looks, on networks whose answer is known."""

import numpy as np
import pytest

from lipgan_keras import networks
from lipgan_keras.evaluation import activations
from lipgan_keras.utils.backend import keras
from lipgan_keras.utils.errors import UserError

layers = keras.layers


@pytest.fixture(scope="module")
def judge():
    """Its score is the mean of an image less that of its mirror image, plus that of a sound: 0 for any image."""
    image, sound = keras.Input((6, 6, 1)), keras.Input((4, 4, 1))
    maps = layers.Activation("linear", name="maps")(layers.Concatenate()([image, image[:, :, ::-1]]))
    pooled = layers.GlobalAveragePooling2D()(maps)
    score = pooled[:, :1] - pooled[:, 1:] + layers.GlobalAveragePooling2D()(sound)
    return keras.Model([image, sound], score, name="judge")


def test_grad_cam_weighs_each_channel_by_its_gradient(judge):
    """Worked out by hand: the gradients are 1/36 and -1/36 everywhere."""
    rng = np.random.default_rng(0)
    image, sound = rng.random((3, 6, 6, 1), "float32"), rng.random((3, 4, 4, 1), "float32")
    difference = (image - image[:, :, ::-1])[..., 0] / 36
    for against in (False, True):
        heat = activations.grad_cam(judge, [image, sound], 6, against, score=lambda output: output[:, 0])
        np.testing.assert_allclose(heat, np.maximum(-difference if against else difference, 0), atol=1e-7)


def test_only_layers_that_see_the_images_alone_are_asked(judge):
    with pytest.raises(UserError, match="judge: no layer has 4 places a side; choose one of 6"):
        activations.grad_cam(judge, [np.zeros((1, 6, 6, 1)), np.zeros((1, 4, 4, 1))], 4, score=lambda output: output)


def test_what_each_layer_of_a_generator_depends_on():
    found = activations.depends_on(networks.build_generator("basic", width=0.02))
    assert found["input_face"] == found["conv2d_1"] == {0}
    assert found["input_audio"] == {1}
    assert found["prediction"] == found["concatenate_1"] == {0, 1}
