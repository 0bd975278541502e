import dataclasses
import json

import h5py
import numpy as np
import pytest

from helpers import synthetic
from helpers.checks import assert_one_line, noise_batch
from lipgan_keras import checkpoints, networks
from lipgan_keras.checkpoints import keras2
from lipgan_keras.config import ModelConfig
from lipgan_keras.utils.errors import UserError

SMALL = ModelConfig("basic", "mel", 0.125)


def flat(model):
    return np.concatenate([np.ravel(w) for w in model.get_weights()])


@pytest.fixture(scope="module")
def small():
    """A generator that nobody changes."""
    return networks.build(SMALL)


def test_saves_and_loads_everything(tmp_path, small):
    config = ModelConfig("basic", "mel", 0.125, alignment="released", audio_offset_ms=-320.0, crop="dlib", step=7)
    path = tmp_path / "model.h5"
    checkpoints.save_checkpoint(path, {"generator": small}, config, training={"seed": 3})
    other, read = checkpoints.load_generator(path)
    assert read == config
    assert checkpoints.read_training(path) == {"seed": 3}
    np.testing.assert_array_equal(flat(other), flat(small))
    assert [p.name for p in tmp_path.iterdir()] == ["model.h5"]
    assert checkpoints.load_generator(path, audio_offset_ms=40)[1].audio_offset_ms == 40


@pytest.mark.parametrize("first", [0, 1, 38])
def test_reads_layer_numbers_from_any_start_and_with_gaps(tmp_path, small, first):
    path = tmp_path / "keras.h5"
    with h5py.File(path, "w") as file:  # as Keras 2.2.4's `save_weights` lays it out
        for layer, weights in checkpoints.model_weights(small).items():
            kind, number = keras2.LAYER.fullmatch(layer).groups()
            number = int(number) - 1 + first + (int(number) > 5)
            name = f"{kind}_{number}" if number else kind
            for weight, variable in weights.items():
                file[f"{name}/{name}/{weight}:0"] = np.asarray(variable) + 1
    other = networks.build(SMALL)
    config = checkpoints.load_weights(other, path)
    np.testing.assert_allclose(flat(other), flat(small) + 1)
    assert (config.alignment, config.crop, config.variant) == ("released", "dlib", "basic")


def test_tells_what_a_keras_file_holds(golden_checkpoint):
    config = checkpoints.read_config(golden_checkpoint("mel_residual.weights.h5"))
    assert (config.variant, config.audio, config.width) == ("residual", "mel", 1)
    assert (config.alignment, config.crop) == ("released", "dlib")
    config = checkpoints.read_config(golden_checkpoint("mfcc_basic.weights.h5"))
    assert (config.variant, config.audio, config.alignment) == ("basic", "mfcc", "centred")


@pytest.mark.parametrize(
    ("file", "model", "words"),
    [
        ("mel_residual.weights.h5", ("basic", "mel"), "conv2d_1 has .*7x7x6x32.*11x11x6x32.*residual mel generator"),
        ("mel_basic.full.h5", ("basic", "mfcc"), "conv2d_9 has .*3x3x1x32.*3x3x1x128.*holds a basic mel generator"),
        ("mfcc_discriminator.weights.h5", ("basic", "mel"), "conv2d_1 has .*holds a mfcc discriminator"),
    ],
)
@pytest.mark.slow
def test_refuses_a_file_that_does_not_fit(golden_checkpoint, file, model, words):
    model = networks.build_generator(*model)
    before = flat(model)
    with pytest.raises(UserError, match=words):
        checkpoints.load_weights(model, golden_checkpoint(file))
    np.testing.assert_array_equal(flat(model), before)


@pytest.mark.slow
def test_the_offset_is_kept_when_saved_again(golden_checkpoint, tmp_path, capfd):
    source, ours = golden_checkpoint("mel_basic.full.h5"), tmp_path / "ours.h5"
    flags = ("--audio_offset_ms", "-320")
    made = synthetic.call("lipgan_keras.checkpoints", "convert", source, ours, *flags, capfd=capfd)
    assert made.returncode == 0, made.stderr
    shown = synthetic.call("lipgan_keras.checkpoints", "info", ours, capfd=capfd)
    assert json.loads(shown.stdout)["audio_offset_ms"] == -320
    assert json.loads(shown.stdout)["alignment"] == "released"
    again = synthetic.call("lipgan_keras.checkpoints", "convert", ours, tmp_path / "again.h5", capfd=capfd)
    assert again.returncode == 0, again.stderr
    assert checkpoints.read_config(tmp_path / "again.h5").audio_offset_ms == -320


def damaged(tmp_path, small):
    path = tmp_path / "good.h5"
    checkpoints.save_checkpoint(path, {"generator": small}, SMALL)
    data = path.read_bytes()
    yield "missing.h5", None, "no such file"
    yield "empty.h5", b"", "not an HDF5 file, or is cut short"
    yield "random.h5", np.random.default_rng(0).bytes(100_000), "not an HDF5 file"
    yield "half.h5", data[: len(data) // 2], "cut short"
    yield "text.h5", b"hello\n", "not an HDF5 file"


def test_damaged_files_get_one_line(script, tmp_path, small):
    for name, data, words in damaged(tmp_path, small):
        if data is not None:
            (tmp_path / name).write_bytes(data)
        with pytest.raises(UserError, match=words):
            checkpoints.load_generator(tmp_path / name)
    assert_one_line(script("-m", "lipgan_keras.checkpoints", "info", "half.h5"), "half.h5", "cut short")


@pytest.mark.parametrize(
    "change", [{"width": 1e9}, {"variant": "other"}, {"alignment": 3}, {"img_size": None}, {"step": "x"}]
)
def test_refuses_configurations_it_does_not_know(tmp_path, small, change):
    path = tmp_path / "model.h5"
    checkpoints.save_checkpoint(path, {"generator": small}, SMALL)
    with h5py.File(path, "a") as file:
        file.attrs["config"] = json.dumps(dataclasses.asdict(SMALL) | change)
    with pytest.raises(UserError, match="configuration"):
        checkpoints.load_generator(path)


@pytest.mark.parametrize("version", ["x", [1, 2], float("inf"), b"\xff"])
def test_refuses_versions_that_are_no_number(tmp_path, small, version):
    path = tmp_path / "model.h5"
    checkpoints.save_checkpoint(path, {"generator": small}, SMALL)
    with h5py.File(path, "a") as file:
        file.attrs["lipgan_keras"] = version
    with pytest.raises(UserError, match="model.h5: its configuration cannot be read"):
        checkpoints.read_config(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"width": "0.5"}, "width is '0.5', not a finite number"),
        ({"width": True}, "width is True, not a finite number"),
        ({"audio_offset_ms": float("nan")}, "audio_offset_ms is nan, not a finite number"),
        ({"step": "7"}, "step is '7', not a whole number"),
        ({"sync_frames": 5.0}, "sync_frames is 5.0, not a whole number"),
        ({"crop": ["dlib"]}, "crop is ..dlib.., not a string"),
    ],
)
def test_refuses_configurations_of_other_kinds(tmp_path, small, change, words):
    path = tmp_path / "model.h5"
    checkpoints.save_checkpoint(path, {"generator": small}, SMALL)
    with h5py.File(path, "a") as file:
        file.attrs["config"] = json.dumps(dataclasses.asdict(SMALL) | change)
    with pytest.raises(UserError, match=f"model.h5: in its configuration {words}"):
        checkpoints.read_config(path)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"seed": "3"}, "seed is '3', not a whole number"),
        ({"val_fraction": None}, "val_fraction is None, not a finite number"),
        ([3], "no list of values by name"),
    ],
)
def test_refuses_what_is_said_of_a_training_in_other_kinds(tmp_path, small, state, words):
    path = tmp_path / "model.h5"
    checkpoints.save_checkpoint(path, {"generator": small}, SMALL, training=state)
    with pytest.raises(UserError, match=f"model.h5: .*{words}"):
        checkpoints.read_training(path)


def test_reads_no_other_file_through_links(tmp_path, small):
    path = tmp_path / "model.h5"
    checkpoints.save_checkpoint(tmp_path / "other.h5", {"generator": small}, SMALL)
    checkpoints.save_checkpoint(path, {"generator": small}, SMALL)
    with h5py.File(path, "a") as file:
        del file["generator/conv2d_1"]
        file["generator/conv2d_1"] = h5py.ExternalLink("other.h5", "generator/conv2d_1")
    with pytest.raises(UserError, match="links to other files"):
        checkpoints.load_generator(path)


def test_a_generator_alone_is_no_discriminator(tmp_path, small):
    path = tmp_path / "model.h5"
    checkpoints.save_checkpoint(path, {"generator": small}, SMALL)
    with pytest.raises(UserError, match="holds no discriminator .it holds: generator"):
        checkpoints.load_weights(networks.build(SMALL, "discriminator"), path)


@pytest.mark.slow
def test_half_precision_costs_little(tmp_path, golden_checkpoint):
    """Of a network with weights like trained ones: under 0.1 dB against a truth that it meets at 30 dB."""
    whole, half = tmp_path / "whole.h5", tmp_path / "half.h5"
    generator, config = checkpoints.load_generator(golden_checkpoint("mel_basic.full.h5"))
    checkpoints.save_checkpoint(whole, {"generator": generator}, config)
    checkpoints.save_checkpoint(half, {"generator": generator}, config, float16=True)
    assert half.stat().st_size < 0.5 * whole.stat().st_size
    faces, audio, _ = noise_batch(2)
    one = np.array(generator([faces, audio]))
    checkpoints.load_weights(generator, half)
    other = np.array(generator([faces, audio]))
    assert not np.array_equal(one, other)
    truth = one + np.random.default_rng(0).normal(0, 10 ** (-30 / 20), one.shape)
    psnr = [-10 * np.log10(np.mean((truth - x) ** 2)) for x in (one, other)]
    assert psnr[0] - psnr[1] < 0.1


@pytest.mark.slow
def test_the_split_stays_in_exports(tmp_path, small, golden_checkpoint, capfd):
    """However many clips were held out."""
    path, out = tmp_path / "all.h5", tmp_path / "out.h5"
    split = {"held_out": {f"speaker/{i:06d}": f"Sprecher ä/{i:06d}" for i in range(20_000)}}
    checkpoints.save_checkpoint(path, {"generator": small}, SMALL, split=split)
    assert checkpoints.read_split(path) == split and checkpoints.read_networks(path) == ["generator"]
    for command in (["export", path, out], ["export", path, out, "--float16"], ["convert", path, out]):
        out.unlink(missing_ok=True)
        made = synthetic.call("lipgan_keras.checkpoints", *command, capfd=capfd)
        assert made.returncode == 0 and checkpoints.read_split(out) == split, made.stderr
    checkpoints.save_checkpoint(path, {"generator": small}, SMALL)
    checkpoints.export(path, out)
    assert checkpoints.read_split(path) is None and checkpoints.read_split(out) is None
    assert checkpoints.read_split(golden_checkpoint("mel_basic.full.h5")) is None


@pytest.mark.slow
def test_export_of_generator_and_discriminator(tmp_path, small, capfd):
    path, out = tmp_path / "all.h5", tmp_path / "out.h5"
    sync = networks.build(SMALL, "sync")
    quality = networks.build(SMALL, "quality")
    checkpoints.save_checkpoint(
        path, {"generator": small, "sync": sync, "quality": quality}, SMALL, training={"seed": 3}
    )
    made = synthetic.call("lipgan_keras.checkpoints", "export", path, out, "--sync", "--float16", capfd=capfd)
    assert made.returncode == 0, made.stderr
    assert checkpoints.read_networks(out) == ["generator", "sync"] and checkpoints.read_training(out) is None
    exported = flat(checkpoints.load_generator(out)[0])
    np.testing.assert_allclose(exported, flat(small), rtol=1e-3, atol=1e-7)
    assert not np.array_equal(exported, flat(small)) and checkpoints.read_config(out) == SMALL
    checkpoints.save_checkpoint(path, {"generator": small}, SMALL)
    refused = synthetic.call("lipgan_keras.checkpoints", "export", path, out, "--sync", capfd=capfd)
    assert_one_line(refused, "all.h5", "holds no lip-sync discriminator")
