"""Where a network looks, on networks whose answer is known."""

import cv2
import numpy as np
import pytest

from helpers.checks import assert_one_line
from helpers.clips import make_root
from helpers.synthetic import call
from lipgan_keras import checkpoints, networks
from lipgan_keras.config import ModelConfig
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


def test_the_figure_of_two_checkpoints(tmp_path, capfd):
    """Of one without and of one with discriminators; a flat decoder is as dense on the lips as everywhere."""
    make_root(tmp_path / "crops", clips=2, frames=range(30), seconds=2.0)
    config = ModelConfig("basic", "mel", 0.02, sync_frames=3, sync_width=0.125)
    models = {"generator": networks.build_generator("basic", width=0.02)}
    checkpoints.save_checkpoint(tmp_path / "alone.h5", models, config)
    models |= {"sync": networks.build(config, "sync"), "discriminator": networks.build_discriminator(width=0.02)}
    checkpoints.save_checkpoint(tmp_path / "both.h5", models, config)
    out, paths = tmp_path / "figure.png", [tmp_path / "alone.h5", tmp_path / "both.h5"]

    def run(*flags):
        return call(
            "lipgan_keras.evaluation.activations", *paths, "--data_root", tmp_path / "crops", *flags, capfd=capfd
        )

    result = run("--out", out, "--samples", 4, "--names", "without", "with")
    assert result.returncode == 0, result.stderr
    first, second, last = result.stdout.splitlines()
    assert first.startswith("without: ") and "12 x 12" in first and "contrastive" not in first
    assert second.startswith("with: ") and "contrastive" in second and last == str(out)
    image = cv2.imread(str(out))
    height, width = image.shape[:2]
    # The right column has the lip-sync discriminator's map, in the second row alone.
    right = image[:, int(width * 0.88) :]
    assert (right[: height // 2] > 250).all() and (right[height // 2 :] < 200).any()

    assert_one_line(run("--out", out, "--names", "one"), "--names", "1 for 2")
    assert_one_line(run("--out", tmp_path / "alone.h5"), "alone.h5")
    cv2.imwrite(str(tmp_path / "photo.png"), image)
    assert_one_line(run("--out", tmp_path / "photo.png"), "photo.png")


def test_density_on_the_lips():
    lips = np.zeros((96, 96), "float32")
    lips[64:80, 32:64] = 1
    everywhere, there = np.full((12, 12), 1 / 144), np.zeros((12, 12))
    there[8:10, 4:8] = 1 / 8
    seen = activations.Seen("x.h5", np.zeros((96, 96, 3)), lips, {"all": everywhere, "lips": there}, None)
    assert seen.on_lips("all") == pytest.approx(1) and seen.on_lips("lips") == pytest.approx(144 / 8)
