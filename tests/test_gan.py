import json
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import noise_batch

from lipgan_keras import gan, losses, networks
from lipgan_keras.backend import keras
from lipgan_keras.cli import UserError
from lipgan_keras.gan import LipGAN

# A module that makes TensorFlow and mtcnn look as if they were not installed.
BLOCKED = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('tensorflow', 'mtcnn'):
            raise ModuleNotFoundError(f'No module named {name!r}', name=name)
sys.meta_path.insert(0, Blocked())
"""


def without_tensorflow(tmp_path):
    """Environment for a subprocess on JAX that can import neither TensorFlow nor mtcnn."""
    (tmp_path / "site").mkdir(exist_ok=True)
    (tmp_path / "site" / "sitecustomize.py").write_text(BLOCKED)
    root = str(Path(gan.__file__).parent.parent)
    return {"KERAS_BACKEND": "jax", "PYTHONPATH": f"{tmp_path / 'site'}:{root}", "JAX_PLATFORMS": "cpu"}


def assert_golden(steps, golden):
    expected = json.loads((golden / "trajectory_mel_basic.json").read_text())["steps"]
    assert len(steps) == len(expected)
    for ours, theirs in zip(steps, expected, strict=True):
        assert set(ours) == {"disc", "unsync", "sync", "total", "mae", "adv"}
        for name in ("sync", "total", "mae", "adv"):
            assert ours[name] == pytest.approx(theirs[name], rel=0.01), name
        if theirs["unsync"] > 1e-3:
            assert ours["unsync"] == pytest.approx(theirs["unsync"], rel=0.15)
    # Only if the fakes are evaluated before the unsynced pairs are trained on is this near the original's 0.0074.
    assert steps[-1]["disc"] < 0.013


def test_the_golden_trajectory(golden, golden_checkpoint):
    from trajectory import replay

    files = golden_checkpoint("mel_basic.full.h5"), golden_checkpoint("mel_discriminator.full.h5")
    assert_golden(list(replay(*files)), golden)


def test_the_golden_trajectory_on_jax_without_tensorflow(golden, golden_checkpoint, script, tmp_path):
    pytest.importorskip("jax")
    files = golden_checkpoint("mel_basic.full.h5"), golden_checkpoint("mel_discriminator.full.h5")
    result = script(Path(__file__).parent / "trajectory.py", *files, env=without_tensorflow(tmp_path))
    assert result.returncode == 0, result.stderr
    assert_golden(json.loads(result.stdout), golden)


@pytest.fixture
def model():
    return LipGAN(networks.build_generator("basic", width=0.125), networks.build_discriminator(width=0.125), lr=1e-3)


def weights(network):
    return {v.path: np.array(v) for v in network.variables}


def assign(network, values):
    for v in network.variables:
        v.assign(values[v.path])


@pytest.mark.parametrize("coin", [True, False])
def test_what_the_coin_decides(model, coin):
    """Follow the discriminator through the step by hand: same losses, same weights, in the reference's order."""
    faces, audio, targets = noise_batch(12)
    d = model.discriminator
    for layer in d.layers:  # embeddings with a common part: distances below 1, so that every loss is above 0
        if layer.name == "conv2d_6":
            layer.bias.assign(np.full(layer.bias.shape, 2.0))
        if layer.name == "instance_normalization_11":
            layer.beta.assign([2.0])
    before = weights(d)
    twin = networks.build_discriminator(width=0.125)
    for mine, theirs in zip(twin.variables, d.variables, strict=True):
        mine.assign(theirs)
    fakes = model.generator.predict_on_batch([faces, audio])
    rolled = np.roll(audio, 10, axis=0)
    logs = model.train_iteration(faces, audio, targets, train_on_fakes=coin)

    twin.compile(keras.optimizers.Adam(1e-3), loss=lambda y, d: losses.contrastive(y, d))
    ones, zeros = np.ones((12, 1), "float32"), np.zeros((12, 1), "float32")
    if coin:
        disc = twin.train_on_batch([fakes, audio], ones)
        unsync = twin.test_on_batch([targets, rolled], ones)
    else:
        disc = twin.test_on_batch([fakes, audio], ones)
        unsync = twin.train_on_batch([targets, rolled], ones)
    sync = twin.train_on_batch([targets, audio], zeros)
    assert logs["disc"] == pytest.approx(float(disc), rel=1e-3)
    assert logs["unsync"] == pytest.approx(float(unsync), rel=1e-3)
    assert logs["sync"] == pytest.approx(float(sync), rel=1e-3)
    assert len({logs["disc"], logs["unsync"], logs["sync"]}) == 3
    for mine, theirs in zip(twin.variables, d.variables, strict=True):
        np.testing.assert_allclose(np.array(mine), np.array(theirs), atol=2e-5)
    assert any(not np.array_equal(before[v.path], np.array(v)) for v in d.variables)


def test_which_weights_move_in_which_update(model):
    """Each update, run alone, moves its own network's trainable weights and nothing else."""
    faces, audio, targets = noise_batch(4)
    (batch,) = gan.make_batch(faces, audio, targets, [1, 2, 3, 0], True)
    batch = {k: keras.ops.convert_to_tensor(v) for k, v in batch.items()}
    generator, discriminator = weights(model.generator), weights(model.discriminator)
    moving = {v.path for v in model.generator.variables} - {v.path for v in model.generator.trainable_variables}

    model._train_discriminator(batch, batch["targets"][::-1])
    after = weights(model.discriminator)
    assert all(np.array_equal(generator[k], v) for k, v in weights(model.generator).items())
    changed = {k for k in after if not np.array_equal(after[k], discriminator[k])}
    assert {v.path for v in model.discriminator.variables if v.name == "kernel"} <= changed

    discriminator = after
    model._train_generator(batch["faces"], batch["audio"], batch["targets"])
    assert all(np.array_equal(discriminator[k], v) for k, v in weights(model.discriminator).items())
    after = weights(model.generator)
    changed = {k for k in after if not np.array_equal(after[k], generator[k])}
    assert {v.path for v in model.generator.variables if v.name == "kernel"} <= changed
    assert moving <= changed  # batch statistics, because the generator trains in training mode


def test_the_generator_feels_the_discriminator(model):
    """The adversarial term reaches the generator: without it the same step moves the weights elsewhere."""
    batch = [keras.ops.convert_to_tensor(x) for x in noise_batch(4)]
    start = weights(model.generator)
    kernels = [v.path for v in model.generator.variables if v.name == "kernel"]
    model._train_generator(*batch)
    with_term = weights(model.generator)
    other = LipGAN(model.generator, model.discriminator, lr=1e-3, adversarial_weight=0.0)
    assign(model.generator, start)
    other._train_generator(*batch)
    assert any(not np.allclose(with_term[k], weights(model.generator)[k], atol=1e-6) for k in kernels)


def test_unet_trains_the_generator_alone():
    model = LipGAN(networks.build_generator("basic", width=0.125), lr=1e-3)
    batch = noise_batch(2)
    first = model.train_iteration(*batch)
    assert set(first) == {"total", "mae"} and first["total"] == first["mae"]
    for _ in range(5):
        last = model.train_iteration(*batch)
    assert last["mae"] < first["mae"]


@pytest.mark.parametrize("size", [*range(2, 26), 96])
def test_unsynced_pairs_are_never_synced(size):
    order = gan.unsynced_order(np.eye(size, dtype=bool))
    assert (order != np.arange(size)).all()
    if 10 % size:
        np.testing.assert_array_equal(np.arange(size)[order], np.roll(np.arange(size), 10))  # the reference's


def test_equal_sounds_make_no_unsynced_pair():
    audio = np.random.default_rng(0).standard_normal((16, 80, 27, 1)).astype("float32")
    audio[[0, 3, 6, 9, 12]] = -4  # silence
    same = gan.same_windows(audio)
    order = gan.unsynced_order(same)
    assert not same[np.arange(16), order].any()
    with pytest.raises(UserError, match="batch_size 4"):
        gan.unsynced_order(np.ones((4, 4), dtype=bool))


def test_a_batch_of_one_is_refused(model):
    with pytest.raises(UserError, match="batch_size 1"):
        model.train_iteration(*noise_batch(1))


def test_contrastive_loss():
    d = np.array([[0.0], [0.5], [2.0]], "float32")
    assert float(losses.contrastive(0.0, d)) == pytest.approx((0 + 0.25 + 4) / 3)
    assert float(losses.contrastive(1.0, d)) == pytest.approx((1 + 0.25 + 0) / 3)
    assert sys.float_info.epsilon > abs(float(losses.mean_absolute_error(d, d)))
