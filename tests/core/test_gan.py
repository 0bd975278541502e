import itertools
import json
import sys

import numpy as np
import pytest

from helpers.backends import without_tensorflow
from helpers.checks import TESTS, noise_batch
from lipgan_keras import gan, losses, networks, unsynced
from lipgan_keras.config import BLOCKS, MOUTH_SIZE
from lipgan_keras.face import cropping, regions
from lipgan_keras.gan import LipGAN, Weights
from lipgan_keras.networks import SpectralConv2D
from lipgan_keras.utils.backend import keras, precision
from lipgan_keras.utils.errors import UserError

pytestmark = pytest.mark.usefixtures("small_blocks")


def assert_golden(steps, golden):
    expected = json.loads((golden / "trajectory_mel_basic.json").read_text())["steps"]
    assert len(steps) == len(expected)
    for ours, theirs in zip(steps, expected, strict=True):
        assert set(ours) == {"disc", "unsync", "sync", "total", "mae", "lip_mae", "lip_share", "adv"}
        for name in ("sync", "total", "mae", "adv"):
            assert ours[name] == pytest.approx(theirs[name], rel=0.01), name
        if theirs["unsync"] > 1e-3:
            assert ours["unsync"] == pytest.approx(theirs["unsync"], rel=0.15)
    # Only if the fakes are evaluated before the unsynced pairs are trained on is this near the original's 0.0074.
    assert steps[-1]["disc"] < 0.013


@pytest.mark.slow
def test_the_golden_trajectory(golden, golden_checkpoint):
    from helpers.trajectory import replay

    files = golden_checkpoint("mel_basic.full.h5"), golden_checkpoint("mel_discriminator.full.h5")
    assert_golden(list(replay(*files)), golden)


@pytest.mark.slow
def test_the_golden_trajectory_on_jax_without_tensorflow(golden, golden_checkpoint, script, tmp_path):
    pytest.importorskip("jax")
    files = golden_checkpoint("mel_basic.full.h5"), golden_checkpoint("mel_discriminator.full.h5")
    result = script(TESTS / "helpers" / "trajectory.py", *files, env=without_tensorflow(tmp_path))
    assert result.returncode == 0, result.stderr
    assert_golden(json.loads(result.stdout), golden)


@pytest.fixture
def model(small_blocks):
    return build(("generator", "discriminator"))


def weights(network):
    return {v.path: np.array(v) for v in network.variables}


def assign(network, values):
    for v in network.variables:
        v.assign(values[v.path])


@pytest.mark.parametrize("coin", [True, False])
@pytest.mark.slow
def test_what_the_coin_decides(coin):
    """Follow the discriminator through the step by hand: same losses, same weights, in the reference's order."""
    model = build(("generator", "discriminator"), generator="basic")
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
    fakes = np.array(model.generator([faces, audio], training=False))
    rolled = np.roll(audio, 10, axis=0)
    logs = model.train_iteration(faces, audio, targets, train_on_fakes=coin)

    twin.compile(keras.optimizers.Adam(1e-3), loss=lambda y, d: losses.contrastive(y, d), run_eagerly=True)
    ones, zeros = np.ones((12, 1), "float32"), np.zeros((12, 1), "float32")

    def loss(step, *batch):
        twin.reset_metrics()  # Keras 3.12 gives the mean since then
        return step(*batch)

    disc = loss(twin.train_on_batch if coin else twin.test_on_batch, [fakes, audio], ones)
    unsync = loss(twin.test_on_batch if coin else twin.train_on_batch, [targets, rolled], ones)
    sync = loss(twin.train_on_batch, [targets, audio], zeros)
    assert logs["disc"] == pytest.approx(float(disc), rel=1e-3)
    assert logs["unsync"] == pytest.approx(float(unsync), rel=1e-3)
    assert logs["sync"] == pytest.approx(float(sync), rel=1e-3)
    assert len({logs["disc"], logs["unsync"], logs["sync"]}) == 3
    for mine, theirs in zip(twin.variables, d.variables, strict=True):
        np.testing.assert_allclose(np.array(mine), np.array(theirs), atol=2e-5)
    assert any(not np.array_equal(before[v.path], np.array(v)) for v in d.variables)


@pytest.mark.slow
def test_which_weights_move_in_which_update(model):
    """Each update, run alone, moves its own network's trainable weights and nothing else."""
    (batch,) = gan.make_batch(*noise_batch(4), [1, 2, 3, 0], True)
    batch = {k: keras.ops.convert_to_tensor(v) for k, v in batch.items()}
    generator, discriminator = weights(model.generator), weights(model.discriminator)
    moving = {v.path for v in model.generator.variables} - {v.path for v in model.generator.trainable_variables}

    model._train_discriminator([batch | {"fakes": batch["targets"][::-1]}])
    after = weights(model.discriminator)
    assert all(np.array_equal(generator[k], v) for k, v in weights(model.generator).items())
    changed = {k for k in after if not np.array_equal(after[k], discriminator[k])}
    assert {v.path for v in model.discriminator.variables if v.name == "kernel"} <= changed

    discriminator = after
    model._train("generator", model._generator_loss, [batch])
    assert all(np.array_equal(discriminator[k], v) for k, v in weights(model.discriminator).items())
    after = weights(model.generator)
    changed = {k for k in after if not np.array_equal(after[k], generator[k])}
    assert {v.path for v in model.generator.variables if v.name == "kernel"} <= changed
    assert moving <= changed  # batch statistics, because the generator trains in training mode


@pytest.mark.slow
def test_the_generator_feels_the_discriminator(model):
    """The adversarial term reaches the generator: without it the same step moves the weights elsewhere."""
    batch = tensors(gan.make_batch(*noise_batch(4))[0])
    start = weights(model.generator)
    kernels = [v.path for v in model.generator.variables if v.name == "kernel"]
    model._train("generator", model._generator_loss, [batch])
    with_term = weights(model.generator)
    other = LipGAN(model.generator, model.discriminator, lr=1e-3, weights=Weights(disc=0.0))
    assign(model.generator, start)
    other._train("generator", other._generator_loss, [batch])
    assert any(not np.allclose(with_term[k], weights(model.generator)[k], atol=1e-6) for k in kernels)


@pytest.mark.slow
def test_unet_trains_the_generator_alone(eagerly):
    model = LipGAN(networks.build_generator("basic", width=0.125), lr=1e-3)
    batch = noise_batch(2)
    first = model.train_iteration(*batch)
    assert set(first) == {"total", "mae", "lip_mae", "lip_share"} and first["total"] == first["mae"]
    for _ in range(5):
        last = model.train_iteration(*batch)
    assert last["mae"] < first["mae"]


@pytest.mark.parametrize("size", [*range(2, 26), 96])
def test_unsynced_pairs_are_never_synced(size):
    order = unsynced.unsynced_order(np.eye(size, dtype=bool))
    assert (order != np.arange(size)).all()
    if 10 % size:
        np.testing.assert_array_equal(np.arange(size)[order], np.roll(np.arange(size), 10))  # the reference's


def test_equal_sounds_make_no_unsynced_pair():
    audio = np.random.default_rng(0).standard_normal((16, 80, 27, 1)).astype("float32")
    audio[[0, 3, 6, 9, 12]] = -4  # silence
    same = unsynced.same_windows(audio)
    order = unsynced.unsynced_order(same)
    assert not same[np.arange(16), order].any()
    with pytest.raises(UserError, match="batch_size 4"):
        unsynced.unsynced_order(np.ones((4, 4), dtype=bool))


@pytest.mark.slow
def test_a_batch_of_one_is_refused(model):
    with pytest.raises(UserError, match="batch_size 1"):
        model.train_iteration(*noise_batch(1))


def test_contrastive_loss():
    d = np.array([[0.0], [0.5], [2.0]], "float32")
    assert float(losses.contrastive(0.0, d)) == pytest.approx((0 + 0.25 + 4) / 3)
    assert float(losses.contrastive(1.0, d)) == pytest.approx((1 + 0.25 + 0) / 3)
    assert sys.float_info.epsilon > abs(float(losses.mean_absolute_error(d, d)))


# The extensions: lip-weighted loss, lip-sync and visual-quality discriminator


def batch_of(runs=2, frames=2, size=96, seed=0):
    """A batch with everything in it, of noise: `runs` runs of `frames` frames and as many wrong sounds again."""
    rng = np.random.default_rng(seed)
    inputs, audio, targets = noise_batch(runs * frames)
    mask = regions.lip_mask(regions.default_landmarks(size, "dlib"), size)[..., None]
    masks = np.stack([mask] * len(targets))
    (batch,) = gan.make_batch(inputs, audio, targets, np.roll(np.arange(runs * frames), 1), True, masks)
    matrices = cropping.crop_matrices((20, 40, 76, 96), size, MOUTH_SIZE)
    batch |= {name: np.stack([m] * runs) for name, m in zip(("crop_rows", "crop_columns"), matrices, strict=True)}
    uint8 = (targets.reshape(runs, frames, size, size, 3) * 255).astype("uint8")
    batch["mouths"] = np.stack([cropping.mouths_of(run, *matrices) for run in uint8])
    own = np.moveaxis(audio.reshape(runs, frames, 80, 27), 1, -1)
    batch["sounds"] = np.concatenate([own, rng.standard_normal(own.shape).astype("float32")])
    batch["relation"] = np.concatenate([2 * np.eye(runs) - 1, -np.ones((runs, runs))], axis=1).astype("float32")
    return batch


def tensors(batch):
    return {name: keras.ops.convert_to_tensor(value) for name, value in batch.items()}


def build(parts, frames=2, generator="small", **options):
    """generator: name of its blocks; what the paper's learns, and how, is the golden trajectory's to tell."""
    width = 0.125
    models = {
        "generator": lambda: networks.build_generator(width=width, **dict.fromkeys(BLOCKS, generator)),
        "discriminator": lambda: networks.build_discriminator(width=width),
        "sync": lambda: networks.build_sync_discriminator(width=width, frames=frames),
        "quality": lambda: networks.build_quality_discriminator(width),
    }
    models = {"generator": None} | {name: models[name]() for name in parts}
    return LipGAN(**models, lr=1e-3, **options)


def moved(networks_before, model):
    """Names of the networks of which any weight is another than before."""
    return {
        name
        for name, network in model.models.items()
        if any(not np.array_equal(networks_before[name][v.path], np.array(v)) for v in network.variables)
    }


@pytest.fixture(scope="module")
def whole(small_blocks):
    return build(("generator", "discriminator", "sync", "quality"), weights=Weights(6.0, None, 0.01, 0.1, 0.1))


@pytest.mark.slow
def test_each_update_moves_one_network(whole):
    batch = tensors(batch_of())
    batch["fakes"] = batch["targets"][::-1]
    updates = {
        "discriminator": lambda: whole._train_discriminator([batch]),
        "sync": lambda: whole._train("sync", whole._sync_loss, [batch]),
        "quality": lambda: whole._train("quality", whole._quality_loss, [batch]),
        "generator": lambda: whole._train("generator", whole._generator_loss, [batch]),
    }
    for name, run in updates.items():
        before = {n: weights(network) for n, network in whole.models.items()}
        logs = run()
        assert moved(before, whole) == {name}
        assert all(np.isfinite(float(value)) for value in logs.values())
        kernels = {v.path for v in whole.models[name].trainable_variables if v.name == "kernel"}
        assert all(
            not np.array_equal(before[name][v.path], np.array(v))
            for v in whole.models[name].variables
            if v.path in kernels
        )


@pytest.mark.parametrize("part, weight", [("sync", "sync"), ("quality", "quality"), ("discriminator", "disc")])
@pytest.mark.slow
def test_the_generator_feels_each_discriminator(part, weight):
    batch = tensors(batch_of())
    model = build(("generator", part))
    start = weights(model.generator)
    kernels = [v.path for v in model.generator.variables if v.name == "kernel"]

    def kernels_after(term):
        assign(model.generator, start)
        parts = {"disc": 0.0, "sync": 0.0, "quality": 0.0, weight: term}
        fresh = LipGAN(**{"generator": model.generator, part: model.models[part]}, lr=1e-3, weights=Weights(**parts))
        fresh._train("generator", fresh._generator_loss, [batch])
        return np.concatenate([weights(model.generator)[k].ravel() for k in kernels])

    without, again, with_term = kernels_after(0.0), kernels_after(0.0), kernels_after(1.0)
    assert np.abs(without - again).max() < 1e-5 < np.abs(without - with_term).max()


def test_visual_quality_is_judged_below_the_true_upper_half():
    model, batch = build(("generator", "quality")), tensors(batch_of())
    fakes = 1 - batch["targets"]
    pasted, targets = np.array(model._pasted(batch, fakes)), np.array(batch["targets"])
    assert np.array_equal(pasted[:, :48], targets[:, :48]) and np.array_equal(pasted[:, 48:], np.array(fakes)[:, 48:])
    # What the upper half of a fake is makes no difference to either loss.
    other = keras.ops.concatenate([0 * fakes[:, :48], fakes[:, 48:]], axis=1)
    start = {n: weights(network) for n, network in model.models.items()}
    values = []
    rounded = keras.ops.round(255 * fakes) / 255  # nor what is finer than a step of the true images
    for one in (fakes, other, rounded):
        assign(model.quality, start["quality"])
        values.append(float(model._train("quality", model._quality_loss, [batch | {"fakes": one}])["quality"]))
    assert values[0] == pytest.approx(values[1], abs=1e-6) == values[2]


def test_visual_quality_is_a_matter_of_detail():
    """Of colours nothing is seen, so that a blur is: whole images teach colours first."""
    model = networks.build_quality_discriminator(0.125)
    dark, bright = (np.full((1, 96, 96, 3), value, "float32") for value in (0.2, 0.8))
    assert np.ptp(np.stack([model(dark), model(bright)]), axis=0) == pytest.approx(0, abs=1e-4)
    detail = np.random.default_rng(0).normal(0, 0.05, dark.shape).astype("float32")
    assert np.abs(np.array(model(dark + detail)) - np.array(model(dark))).max() > 1e-2


@pytest.mark.slow
def test_lips_learn_to_move_before_the_mask_shows_it():
    """Of a generator that moves pixels what it moved is compared on its own, and painting has its price."""
    networks_of = dict.fromkeys(BLOCKS, "small") | {"decoder": "warp"}
    (batch,) = gan.make_batch(*noise_batch(3))
    batch = tensors(batch)
    generator = networks.build_generator(width=0.125, **networks_of)
    start = generator.get_weights()

    def after(**weights):
        generator.set_weights(start)
        model = LipGAN(generator, lr=1e-2, weights=Weights(**weights))
        logs = [model._train("generator", model._generator_loss, [batch]) for _ in range(2)]
        return {k: [float(one[k]) for one in logs] for k in logs[0]}

    with_both = after(painted=0.5)
    assert with_both["painted"][0] == pytest.approx(0.5) and with_both["painted"][1] < 0.5
    half = batch["targets"] - batch["faces"][..., :3]
    assert with_both["moved"][0] == pytest.approx(float(keras.ops.mean(keras.ops.abs(half))), rel=1e-4)
    assert with_both["total"][0] == pytest.approx(with_both["mae"][0] + 0.5 * with_both["moved"][0] + 0.25, rel=1e-4)
    without = after(moved=0.0, painted=0.0)
    assert without["total"][0] == pytest.approx(without["mae"][0], rel=1e-5)


def test_an_expert_does_not_learn():
    model = build(("generator", "sync"), weights=Weights(sync=0.1), train_sync=False)
    assert set(model.optimizers) == {"generator"}
    before = {n: weights(network) for n, network in model.models.items()}
    logs = model._iteration([tensors(batch_of())])
    assert moved(before, model) == {"generator"}
    assert "match_adv" in logs and "match" not in logs


@pytest.mark.slow
def test_the_lip_sync_discriminator_alone():
    model = build(("sync",))
    batch = {name: value for name, value in batch_of(4).items() if name in ("mouths", "sounds", "relation")}
    losses_seen = [float(model._iteration([tensors(batch)])["match"]) for _ in range(12)]
    assert losses_seen[-1] < losses_seen[0]


def test_the_mouths_of_generated_frames_are_cut_like_real_ones(whole):
    """What `_match` cuts out of the targets, had the generator painted them, is what the data pipeline cut out."""
    batch = batch_of(runs=3)
    seen = []
    tower, whole.mouth_tower = (
        whole.mouth_tower,
        lambda x, training: seen.append(np.array(x)) or tower(x, training=training),
    )
    try:
        whole._match(tensors(batch), keras.ops.convert_to_tensor(batch["targets"]))
    finally:
        whole.mouth_tower = tower
    assert np.abs(seen[0] - batch["mouths"]).max() < 1.1 / 255  # the real ones were rounded to 8 bits
    shuffled = seen[0].reshape(3, 48, 48, 2, 3)[:, :, :, ::-1].reshape(seen[0].shape)
    assert np.abs(shuffled - batch["mouths"]).max() > 0.1


@pytest.mark.slow
def test_lip_share_is_reached_and_carries_no_gradient():
    batch = tensors(batch_of())
    generator = build(("generator",)).generator
    start = weights(generator)
    model = LipGAN(generator, lr=1e-3, weights=Weights(lip_share=0.5))
    first = model._train("generator", model._generator_loss, [batch])
    moved_to = weights(generator)
    assign(generator, start)
    # The same step with that weight as a constant moves the generator to the same place.
    constant = LipGAN(generator, lr=1e-3, weights=Weights(lips=float(first["lip_weight"])))
    constant._train("generator", constant._generator_loss, [batch])
    assert all(np.allclose(moved_to[path], value, atol=1e-5) for path, value in weights(generator).items())
    for _ in range(15):
        logs = model._train("generator", model._generator_loss, [batch])
    assert float(logs["lip_share"]) == pytest.approx(0.5, abs=0.05)
    assert float(logs["lip_weight"]) > 2


def test_the_share_of_the_lips_is_what_it_says():
    batch = batch_of()
    model = build(("generator",))
    prediction = np.array(batch["targets"]) + 0.1 * batch["masks"]  # wrong in the lips only
    _, logs = model._reconstruction(tensors(batch), keras.ops.convert_to_tensor(prediction))
    m = batch["masks"]
    assert float(logs["lip_share"]) == pytest.approx(float((m * m).sum() / m.sum()), rel=1e-4)
    assert float(logs["lip_mae"]) == pytest.approx(0.1 * float((m * m).sum() / m.sum()), rel=1e-4)


@pytest.mark.slow
def test_spectral_normalisation():
    layer = SpectralConv2D(5, 3, padding="same")
    x = np.random.default_rng(0).standard_normal((2, 8, 8, 4)).astype("float32")
    layer(x)
    layer.kernel.assign(7 * np.array(layer.kernel))
    for _ in range(500):
        layer(x, training=True)
    singular = np.linalg.svd(np.array(layer.kernel).reshape(-1, 5), compute_uv=False)[0]
    expected = keras.ops.conv(x, np.array(layer.kernel) / singular, padding="same")
    np.testing.assert_allclose(np.array(layer(x)), np.array(expected), rtol=1e-3, atol=1e-4)


COMBINATIONS = [
    [p for p, on in zip(("discriminator", "sync", "quality"), bits, strict=True) if on]
    for bits in itertools.product((0, 1), repeat=3)
]


@pytest.mark.parametrize("parts", COMBINATIONS, ids=lambda parts: "+".join(parts) or "none")
@pytest.mark.parametrize(
    "lips", [Weights(6.0, None, 0.01, 0.1, 0.1), Weights(1.0, 0.3, 0.01, 0.1, 0.1)], ids=["weight", "share"]
)
@pytest.mark.slow
def test_every_combination_trains(parts, lips):
    model = build(("generator", *parts), weights=lips)
    before = {n: weights(network) for n, network in model.models.items()}
    logs = model._iteration([tensors(batch_of())])
    assert moved(before, model) == {"generator", *parts}
    assert all(np.isfinite(float(value)) for value in logs.values())


@pytest.mark.slow
def test_averages_are_running_means_of_weights_and_statistics():
    """Those of the first steps reach back less far."""
    model = build(("generator", "discriminator"), ema=0.15)
    batch, expected = tensors(batch_of()), None
    with model.averaged():
        assert all(
            np.isfinite(w).all() and np.array_equal(w, v)
            for w, v in zip(model.generator.get_weights(), model.generator.weights, strict=True)
        )
    for momentum in (0, 0.1, 0.15):
        model._iteration([batch])
        now = model.generator.get_weights()
        expected = [momentum * e + (1 - momentum) * n for e, n in zip(expected or now, now, strict=True)]
    critic = model.discriminator.get_weights()
    with model.averaged() as raw:
        assert list(raw) == ["generator"]
        for average, value in zip(model.generator.get_weights(), expected, strict=True):
            np.testing.assert_allclose(average, value, atol=1e-6)
    assert all(map(np.array_equal, model.generator.get_weights(), now))
    assert all(map(np.array_equal, model.discriminator.get_weights(), critic))


@pytest.mark.slow
def test_a_schedule_goes_by_steps_and_gradients_are_clipped():
    """The contrastive discriminator makes two updates a step, and yet has the generator's learning rate."""
    schedule = keras.optimizers.schedules.PolynomialDecay(0.5, 4, 0.1)
    model = build(("generator", "discriminator"))
    model = LipGAN(model.generator, model.discriminator, lr=schedule, clipnorm=1e-3)
    batch = tensors(batch_of())
    for step in range(3):
        rates = [float(optimizer.learning_rate) for optimizer in model.optimizers.values()]
        assert rates == pytest.approx([0.5 - 0.1 * step] * 2)
        model._iteration([batch])
        if step == 0:  # Adam's first momentum is a tenth of the first gradient
            first = [np.array(v) for v in model.optimizers["generator"].variables if v.path.endswith("momentum")]
            assert np.sqrt(sum((m**2).sum() for m in first)) == pytest.approx(1e-4, rel=1e-3)


def test_frozen_normalisation():
    """Training sees what inference will, and leaves the normalisation alone."""
    generator = networks.build_generator("basic", width=0.125)
    model = LipGAN(generator, lr=1e-3, freeze_norm=True)
    batch = batch_of()
    before = weights(generator)
    seen = generator.predict_on_batch([batch["faces"], batch["audio"]])
    logs = model._iteration([tensors(batch)])
    assert float(logs["mae"]) == pytest.approx(np.abs(seen - batch["targets"]).mean(), rel=1e-4)
    same = {v.path for v in generator.variables if np.array_equal(before[v.path], np.array(v))}
    assert same == {v.path for v in generator.variables if "batch_normalization" in v.path}


@pytest.mark.slow
def test_mixed_precision():
    keras.utils.set_random_seed(7)
    with precision("mixed_bfloat16"):
        parts = ("generator", "discriminator", "sync", "quality")
        mixed = build(parts, generator="basic", weights=Weights(6.0, None, 0.01, 0.1, 0.1))
    assert keras.config.dtype_policy().name == "float32"
    same = build(parts, generator="basic", weights=mixed.weighting)
    for name, network in same.models.items():
        network.set_weights(mixed.models[name].get_weights())
    assert {layer.compute_dtype for layer in mixed.generator.layers if "conv" in layer.name} == {"bfloat16"}
    batch = tensors(batch_of(runs=6))  # the sync discriminator's log-odds hang on how many it normalises by
    ours, theirs = (model._iteration([batch]) for model in (mixed, same))
    assert {keras.backend.standardize_dtype(value.dtype) for value in ours.values()} == {"float32"}
    assert {v.dtype for v in mixed.variables} - {"int32", "int64"} == {"float32"}
    for name in theirs:
        assert float(ours[name]) == pytest.approx(float(theirs[name]), rel=0.03, abs=0.02), name


@pytest.mark.slow
def test_two_batches_a_step_do_what_one_of_both_does():
    """Where nothing crosses them: pairs lie within each, and the normalisation does not go by the batch."""
    model = build(("generator", "discriminator"), weights=Weights(6.0, None, 0.01), freeze_norm=True)
    inputs, audio, targets = noise_batch(8)
    order, before = np.array([1, 2, 3, 0, 5, 6, 7, 4]), {n: weights(network) for n, network in model.models.items()}
    (whole,) = gan.make_batch(inputs, audio, targets, order, True)
    halves = []
    for part in (slice(0, 4), slice(4, 8)):
        halves += gan.make_batch(inputs[part], audio[part], targets[part], order[part] % 4, True)
    logs, after = [], []
    for batches in ([whole], halves):
        fresh = LipGAN(**model.models, lr=1e-3, weights=model.weighting, freeze_norm=True)
        for name, network in fresh.models.items():
            assign(network, before[name])
        logs.append({name: float(value) for name, value in fresh._iteration([tensors(one) for one in batches]).items()})
        after.append({path: value for network in fresh.models.values() for path, value in weights(network).items()})
    assert logs[0] == pytest.approx(logs[1], rel=1e-4)
    assert {"disc", "sync", "adv", "total", "mae"} <= logs[0].keys()
    for path, value in after[0].items():
        np.testing.assert_allclose(value, after[1][path], atol=1e-4, err_msg=path)
