import json

import numpy as np
import pytest

from lipgan_keras import checkpoints, networks
from lipgan_keras.checkpoints import keras2
from lipgan_keras.utils.backend import keras
from lipgan_keras.utils.errors import UserError

GOLDEN = [
    ("mel_basic", "mel_basic.full.h5"),
    ("mel_residual", "mel_residual.weights.h5"),
    ("mel_discriminator", "mel_discriminator.full.h5"),
    ("mfcc_basic", "mfcc_basic.weights.h5"),
    ("mfcc_discriminator", "mfcc_discriminator.weights.h5"),
]


def build(name, width=1.0):
    audio, variant = name.split("_")
    if variant == "discriminator":
        return networks.build_discriminator(audio, width)
    return networks.build_generator(variant, audio, width)


@pytest.mark.parametrize(("name", "file"), GOLDEN)
@pytest.mark.slow
def test_outputs_are_the_originals(name, file, golden, golden_checkpoint):
    rng = np.random.RandomState(11)
    pair, face = rng.rand(3, 96, 96, 6), rng.rand(3, 96, 96, 3)
    sound = rng.standard_normal((3, 80, 27, 1)) if name.startswith("mel") else rng.standard_normal((3, 12, 35, 1)) * 3
    model = build(name)
    checkpoints.load_weights(model, golden_checkpoint(file))
    inputs = [face if "discriminator" in name else pair, sound]
    output = model.predict_on_batch([x.astype("float32") for x in inputs])
    np.testing.assert_allclose(output, np.load(golden / "outputs.npz")[name], atol=1e-5, rtol=0)


@pytest.mark.parametrize("audio", ["mel", "mfcc"])
@pytest.mark.parametrize("variant", ["basic", "residual", "discriminator"])
def test_layers_are_the_originals(audio, variant, golden):
    expected = json.loads((golden / f"{audio}_layers.json").read_text())[variant]
    model = build(f"{audio}_{variant}")
    assert model.count_params() == expected["parameters"]
    assert {i.name: list(i.shape[1:]) for i in model.inputs} == expected["inputs"]
    ours = {
        layer: {name: list(v.shape) for name, v in weights.items()}
        for layer, weights in checkpoints.model_weights(model).items()
    }
    if (audio, variant) == ("mfcc", "residual"):  # it has no golden output, so every name counts
        assert ours == expected["layers"]
    pairs = list(keras2.paired_layers(ours, sorted(expected["layers"], key=checkpoints.layers.order)))
    assert [ours[mine] for mine, _ in pairs] == [expected["layers"][theirs] for _, theirs in pairs]


@pytest.mark.parametrize("name", ["mel_basic", "mel_residual", "mfcc_basic", "mfcc_residual"])
@pytest.mark.slow
def test_width_scales_every_channel_count(name):
    full, small = build(name), build(name, 0.125)
    for a, b in zip(full.layers, small.layers, strict=True):
        if isinstance(a, (keras.layers.Conv2D, keras.layers.Conv2DTranspose)) and a.filters != 3:
            assert b.filters == max(8, a.filters // 8)
    assert small.output_shape == (None, 96, 96, 3)


def test_refuses_other_sizes_by_name():
    for build_one in (networks.build_generator, networks.build_discriminator):
        with pytest.raises(UserError, match="img_size 128"):
            build_one(img_size=128)
    with pytest.raises(UserError, match="'spectrogram'"):
        networks.build_generator(audio="spectrogram")
    with pytest.raises(UserError, match="'unet'"):
        networks.build_generator("unet")
    with pytest.raises(UserError, match="width 0"):
        networks.build_generator(width=0)
