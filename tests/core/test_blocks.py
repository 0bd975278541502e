"""Blocks by name: the contract, what a user's own file may hold, and its way from training to speech."""

import itertools
import re
import runpy
import sys

import cv2
import h5py
import numpy as np
import pytest

import train as script_module
from helpers import synthetic
from helpers.checks import ROOT, assert_one_line, noise_batch
from helpers.clips import make_root
from lipgan_keras import blocks, checkpoints, networks
from lipgan_keras.config import BLOCKS, IMG_SIZES, WINDOW_SHAPE, ModelConfig
from lipgan_keras.inference import engine, motion, openvino_graph
from lipgan_keras.utils import cli
from lipgan_keras.utils.backend import keras
from lipgan_keras.utils.errors import UserError
from lipgan_keras.utils.layers import Blend, Warp

layers = keras.layers
MODERN = {"face_encoder": "mobilenet", "audio_encoder": "attention", "decoder": "film"}
DECORATED = 4 if sys.version_info >= (3, 11) else 5  # Python 3.10 names the line of the function, not of its decorator
EXAMPLE = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "blocks.md").read_text(encoding="utf-8"), re.DOTALL)[1]
# Layers of a user's own, layers within layers, state that is no weight, and maps of some sides only.
ODD = """
import keras
from lipgan_keras.blocks import by_side, decoder, face_encoder


class Twice(keras.layers.Layer):
    def build(self, shape):
        self.inner = [keras.layers.Dense(shape[-1]), keras.layers.Dense(shape[-1])]
        for one in self.inner:
            one.build(shape)

    def call(self, x):
        return x + self.inner[1](self.inner[0](x))


@face_encoder("odd")
def odd(b, face):
    x = b.conv(layers.AveragePooling2D(b.img_size // 12)(face), 32)
    x = layers.Activation("tanh")(x)
    y = layers.Activation("tanh")(b.conv(x, 32, s=4))
    y = keras.Sequential([layers.Dense(8), layers.Dropout(0.1), layers.Dense(8), layers.BatchNormalization()])(y)
    y = Twice()(layers.Reshape((9, 8))(y))
    y = layers.MultiHeadAttention(2, 4)(y, y)
    return [x, layers.Reshape((3, 3, 8))(y)], layers.Dense(8)(layers.GlobalAveragePooling2D(keepdims=True)(x))


@decoder("odd")
def flat(b, maps, face_embedding, audio_embedding):
    x = layers.Dense(8)(layers.Concatenate()([face_embedding, audio_embedding]))
    x = layers.Add()([layers.UpSampling2D(3)(x), layers.Conv2D(8, 1)(by_side(maps)[3])])
    return b.prediction(layers.UpSampling2D(b.img_size // 3)(x))
"""


@pytest.fixture(scope="module")
def plugin(tmp_path_factory):
    """A file with the document's example and more, loaded once; what it registers is gone afterwards."""
    path = tmp_path_factory.mktemp("plugin") / "own.py"
    path.write_text(EXAMPLE + ODD)
    blocks.load_plugin(path)
    yield path
    for kind, name in [key for key, file in blocks.FILES.items() if file == str(path)]:
        del blocks.REGISTRY[kind][name], blocks.FILES[kind, name]


@pytest.fixture
def registry(monkeypatch):
    """What a test registers is gone afterwards."""
    for kind, registered in blocks.REGISTRY.items():
        monkeypatch.setitem(blocks.REGISTRY, kind, dict(registered))
    monkeypatch.setattr(blocks, "FILES", dict(blocks.FILES))


def randomised(model):
    """The model, whose weights are such that each matters."""
    rng = np.random.default_rng(0)
    for v in model.weights:
        positive = "variance" in v.path
        v.assign(rng.uniform(0.7, 1.4, v.shape) if positive else np.asarray(v) + rng.normal(0, 0.02, v.shape))
    return model


def inputs(config, count=2):
    rng = np.random.default_rng(1)
    faces = rng.random((count, config.img_size, config.img_size, 6), np.float32)
    return [faces, rng.standard_normal((count, *WINDOW_SHAPE[config.audio], 1), np.float32)]


def test_names_that_flags_list_are_those_registered():
    assert {kind: set(names) for kind, names in BLOCKS.items()} == {k: set(r) for k, r in blocks.REGISTRY.items()}


FACE_ENCODERS, DECODERS = ([*BLOCKS[kind], "odd"] for kind in ("face_encoder", "decoder"))
# At 192 pixels the odd decoder shows with the odd face encoder all that it does.
TOGETHER = [
    (face_encoder, decoder, img_size)
    for face_encoder, decoder, img_size in itertools.product(FACE_ENCODERS, DECODERS, IMG_SIZES)
    if img_size == 96 or decoder != "odd" or face_encoder == "odd"
]


@pytest.mark.parametrize(("face_encoder", "decoder", "img_size"), TOGETHER)
def test_any_face_encoder_goes_with_any_decoder(plugin, face_encoder, decoder, img_size):
    audio_encoder = [*BLOCKS["audio_encoder"], "mixer"][len(face_encoder + decoder) % 4]
    named = {"face_encoder": face_encoder, "audio_encoder": audio_encoder, "decoder": decoder}
    config = ModelConfig("basic", "mfcc" if img_size == 192 else "mel", 0.125, img_size, **named)
    output = np.asarray(networks.build(config)(inputs(config, 1), training=False))
    assert output.shape == (1, img_size, img_size, 3) and 0 <= output.min() < output.max() <= 1


@pytest.mark.parametrize("audio", WINDOW_SHAPE)
@pytest.mark.slow
def test_audio_reaches_the_image(audio):
    config = ModelConfig("basic", audio, 0.125, **MODERN)
    model = randomised(networks.build(config))
    faces, windows = inputs(config)
    one, other = (np.asarray(model([faces, sound], training=False)) for sound in (windows, windows[::-1].copy()))
    assert np.abs(one - other).max() > 1e-3


@pytest.mark.slow
def test_every_layer_of_the_alternatives_learns(eagerly):
    config = ModelConfig("basic", "mel", 0.125, **MODERN)
    model = networks.build(config)
    before = model.get_weights()
    model.compile("sgd", "mae")
    model.train_on_batch(inputs(config), noise_batch(2)[2])
    for variable, old in zip(model.weights, before, strict=True):
        # Softmax does not see a bias of the keys, batch normalisation none before it.
        assert not np.array_equal(np.asarray(variable), old) or "bias" in variable.path, variable.path


@pytest.mark.slow
def test_saved_and_read_whatever_the_numbers_of_keras(tmp_path, plugin):
    config = ModelConfig("basic", "mel", 0.125, face_encoder="odd", audio_encoder="attention", decoder="odd")
    path, model = tmp_path / "model.h5", randomised(networks.build(config))
    checkpoints.save_checkpoint(path, {"generator": model}, config)
    layers.Dense(1), layers.MultiHeadAttention(1, 1), keras.Sequential()  # which move Keras's numbers on
    other, read = checkpoints.load_generator(path)
    assert read == config
    names = [[weight.path for weight in one.weights] for one in (model, other)]
    assert names[0] != names[1]
    for one, two in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    batch = inputs(config)
    np.testing.assert_array_equal(other(batch, training=False), model(batch, training=False))
    with h5py.File(path) as file:
        assert file.attrs["lipgan_keras"] == 2  # an older version would build other networks
        stored = set()
        file["generator"].visit(stored.add)
    assert {"multi_head_attention_1/query/kernel", "positions_1/table", "dense_1/kernel"} <= stored


def test_the_papers_networks_are_saved_as_before(tmp_path):
    config = ModelConfig("basic", "mel", 0.125)
    checkpoints.save_checkpoint(tmp_path / "model.h5", {"generator": networks.build(config)}, config)
    with h5py.File(tmp_path / "model.h5") as file:
        assert file.attrs["lipgan_keras"] == 1


@pytest.mark.slow
def test_other_blocks_are_told_by_name(tmp_path):
    config = ModelConfig("basic", "mel", 0.125, **MODERN)
    checkpoints.save_checkpoint(tmp_path / "model.h5", {"generator": networks.build(config)}, config)
    for other in (ModelConfig("basic", "mel", 0.125), ModelConfig("basic", "mel", 0.125, decoder="film")):
        with pytest.raises(UserError, match=r"model\.h5: does not fit the .*: .*audio_encoder attention, decoder film"):
            checkpoints.load_weights(networks.build(other), tmp_path / "model.h5")


@pytest.mark.parametrize(("audio_encoder", "audio"), [("attention", "mel"), ("mixer", "mfcc")])
@pytest.mark.slow
def test_openvino_runs_them(tmp_path, monkeypatch, plugin, audio, audio_encoder):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(openvino_graph, "TOLERANCE", -1.0)  # float32
    config = ModelConfig("basic", audio, 0.125, **MODERN | {"audio_encoder": audio_encoder})
    model = randomised(networks.build(config))
    checkpoints.save_checkpoint(tmp_path / "model.h5", {"generator": model}, config)
    run = engine.load(tmp_path / "model.h5", "openvino", batch_size=2)
    np.testing.assert_allclose(run(*inputs(config)), model(inputs(config), training=False), atol=1e-3, rtol=0)


def test_pixels_move_by_the_flow():
    image = np.random.default_rng(0).random((2, 8, 8, 6), np.float32)
    flow = np.zeros((2, 8, 8, 2), np.float32)
    np.testing.assert_array_equal(Warp()([image, flow]), image[..., :3])
    flow[0, ..., 0] = 2  # an eighth of the side is a pixel
    flow[1] = np.random.default_rng(1).normal(0, 3, (8, 8, 2))
    moved = np.asarray(Warp()([image, flow]))
    np.testing.assert_allclose(moved[0, :, :6], image[0, :, 2:, :3], atol=1e-6)
    np.testing.assert_allclose(moved[0, :, 6:], np.repeat(image[0, :, -1:, :3], 2, axis=1), atol=1e-6)  # the edge
    places = np.float32(np.meshgrid(np.arange(8), np.arange(8))).transpose(1, 2, 0) + flow[1]
    expected = cv2.remap(image[1, ..., :3], places, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    np.testing.assert_allclose(moved[1], expected, atol=1e-5)


def test_what_moves_pixels_begins_half_painted(tmp_path):
    """It may begin with the weights of the decoder that it goes on from, and says what it moves."""
    plain, config = (ModelConfig("basic", "mel", 0.125, decoder=name) for name in ("", "warp"))
    before, model = randomised(networks.build(plain)), networks.build(config)
    checkpoints.save_checkpoint(tmp_path / "plain.h5", {"generator": before}, plain)
    with pytest.raises(UserError, match="does not fit"):
        checkpoints.load_weights(model, tmp_path / "plain.h5")
    checkpoints.load_weights(model, tmp_path / "plain.h5", grown=True)
    batch = inputs(config)
    half = (np.asarray(before(batch, training=False)) + batch[0][..., :3]) / 2
    output = np.asarray(motion.with_motion(model)(batch, training=False))
    np.testing.assert_allclose(output[..., :3], half, atol=1e-5)
    assert output.shape == (2, 96, 96, 6) and (output[..., 3:5] == 0).all() and (output[..., 5] == 0.5).all()
    assert motion.with_motion(before) is before
    checkpoints.save_checkpoint(tmp_path / "warp.h5", {"generator": model}, config)
    with pytest.raises(UserError, match="does not fit"):  # the other way round there is nothing to go on from
        checkpoints.load_weights(before, tmp_path / "warp.h5", grown=True)


@pytest.mark.slow
def test_engines_say_what_moves(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(openvino_graph, "TOLERANCE", -1.0)  # float32
    config = ModelConfig("basic", "mel", 0.125, decoder="warp")
    model = randomised(networks.build(config))
    kernel = model.get_layer("flow").input._keras_history.operation.kernel
    kernel.assign(4 * kernel)  # so that pixels move far
    checkpoints.save_checkpoint(tmp_path / "model.h5", {"generator": model}, config)
    truth = np.asarray(motion.with_motion(model)(inputs(config, 3), training=False))
    assert np.abs(truth[..., 3:5]).max() > 0.1
    for name in ("openvino", "keras"):
        run = engine.load(tmp_path / "model.h5", name, batch_size=2)
        images, moves = run.generate(*inputs(config, 3))
        np.testing.assert_allclose(np.concatenate([images, moves], axis=-1), truth, atol=1e-3, rtol=0)
        np.testing.assert_array_equal(run(*inputs(config, 3)), images)


LAYERS = {
    "activations": lambda x: layers.Dense(5, "gelu")(layers.Dense(4, "tanh")(layers.Dense(4, "silu")(x))),
    "separable": lambda x: layers.SeparableConv2D(6, 3, 2, "same", activation="relu")(x),
    "depthwise": lambda x: layers.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False)(x),
    "dilated": lambda x: layers.Conv2D(4, 3, dilation_rate=2, padding="same")(x),
    "transposed": lambda x: layers.Conv2DTranspose(4, 4, 2, "same", activation="leaky_relu")(x),
    "average": lambda x: layers.AveragePooling2D(2)(layers.AveragePooling2D(3, 1, "same")(x)),
    "maximum": lambda x: layers.MaxPooling2D(3, 2, "same")(x),
    "moved": lambda x: Warp()([x, layers.Conv2D(2, 3, padding="same")(x)]),
    "blended": lambda x: Blend()([x, layers.Dense(8)(x), layers.Dense(1, "sigmoid")(x)]),
    "bilinear": lambda x: layers.UpSampling2D(2, interpolation="bilinear")(x),
    "nearest": lambda x: layers.UpSampling2D((2, 3))(x),
    "gate": lambda x: layers.Multiply()(
        [x, layers.Dense(8, "sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(x))]
    ),
    "normalised": lambda x: layers.LayerNormalization()(layers.BatchNormalization(scale=False, center=False)(x)),
    "shapes": lambda x: layers.Reshape((2, 3, -1))(layers.Dense(24)(layers.Flatten()(layers.Permute((3, 1, 2))(x)))),
    "joined": lambda x: layers.LeakyReLU(0.3)(
        layers.Concatenate(1)([x, layers.Maximum()([x, layers.Dropout(0.5)(x)])])
    ),
    "attention": lambda x: layers.Reshape((6, 6, 8))(
        (lambda y: layers.MultiHeadAttention(3, 5, 4, use_bias=False)(y, layers.Dense(8)(y)))(
            layers.Reshape((36, 8))(x)
        )
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_in_openvino_are_those_of_keras(name):
    x = keras.Input((6, 6, 8))
    model = randomised(keras.Model(x, LAYERS[name](x)))
    batch = np.random.default_rng(0).standard_normal((3, 6, 6, 8), np.float32)
    run = openvino_graph._compile(openvino_graph.convert(model), 3, "f32")
    np.testing.assert_allclose(run([batch]), model(batch, training=False), atol=1e-5, rtol=0)


class Own(layers.Dense):
    def call(self, x):
        return 2 * super().call(x)


REFUSED = {
    "'own.*Own": lambda x: Own(3)(x),
    "Multiply": lambda x: x * 2,
    "Dense": lambda x: (lambda layer: layer(layer(x)))(layers.Dense(8)),
    "MultiHeadAttention": lambda x: layers.Reshape((6, 6, 8))(
        (lambda y: layers.MultiHeadAttention(3, 5)(y, y, use_causal_mask=True))(layers.Reshape((36, 8))(x))
    ),
    "Sequential": lambda x: keras.Sequential([layers.Dense(3)])(x),
    "Activation": lambda x: layers.Activation(lambda v: v * 3)(x),
    "Dropout": lambda x: layers.Dropout(0.5)(x, training=True),
    "LayerNormalization": lambda x: layers.LayerNormalization(axis=1)(x),
    "Flatten": lambda x: layers.Reshape((1, 1, 288))(layers.Flatten(data_format="channels_first")(x)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_openvino_would_compute_otherwise_is_refused(name):
    x = keras.Input((6, 6, 8))
    with pytest.raises(UserError, match=f"OpenVINO cannot run the layer .*{name}"):
        openvino_graph.convert(keras.Model(x, REFUSED[name](x)))


@pytest.mark.slow
def test_a_block_of_ones_own_from_training_to_speech(tmp_path, monkeypatch, capfd, plugin, eagerly):
    monkeypatch.setattr(engine, "GPU_DEVICES", ())
    root, log, out = make_root(tmp_path / "data", frames=range(20, 34)), tmp_path / "log", tmp_path / "out.h5"
    flags = f"train.py --data_root {root} --logdir {log} --recipe unet --width 0.125 --batch_size 2 --ema 0.9".split()
    flags += ["--face_encoder", "odd", "--audio_encoder", "mixer", "--decoder", "odd", "--plugin", str(plugin)]

    def train(*more):
        monkeypatch.setattr(sys, "argv", [*flags, *more])
        script_module.main()

    train("--steps", "2")
    first = checkpoints.load_generator(log / "checkpoint.h5")[0].get_weights()
    train("--steps", "3")
    model, config = checkpoints.load_generator(log / "checkpoint.h5")
    assert config.step == 3 and config.blocks == {"face_encoder": "odd", "audio_encoder": "mixer", "decoder": "odd"}
    assert any(not np.array_equal(a, b) for a, b in zip(first, model.get_weights(), strict=True))
    with pytest.raises(UserError, match="belongs to a run with --decoder odd, not film"):
        train("--steps", "4", "--decoder", "film")
    with h5py.File(log / "checkpoint.h5") as file:
        assert str(plugin) not in str(dict(file.attrs))

    arguments = ("export", log / "checkpoint.h5", out, "--float16", "--plugin", plugin)
    made = synthetic.call("lipgan_keras.checkpoints", *arguments, capfd=capfd)
    assert made.returncode == 0, made.stderr
    run = engine.load(out, batch_size=2)
    assert run.name.startswith("Keras")
    said = capfd.readouterr().err.strip().splitlines()
    assert len(said) == 1 and re.search(r"out\.h5: OpenVINO cannot run the layer .*Keras runs", said[0])
    faces, windows = inputs(config)
    np.testing.assert_allclose(run(faces, windows), model([faces, windows], training=False), atol=0.01, rtol=0)
    with pytest.raises(UserError, match=r"out\.h5: OpenVINO cannot run the layer .*engine keras"):
        engine.load(out, "openvino")


def test_a_block_that_is_not_there_is_named(tmp_path, registry, script):
    config = ModelConfig("basic", "mel", 0.125, audio_encoder="wavelets")
    blocks.audio_encoder("wavelets")(
        lambda b, window: layers.Reshape((1, 1, 8))(layers.Dense(8)(layers.Flatten()(window)))
    )
    checkpoints.save_checkpoint(tmp_path / "model.h5", {"generator": networks.build(config)}, config)
    del blocks.REGISTRY["audio_encoder"]["wavelets"]
    words = "audio_encoder 'wavelets' is unknown; choose one of residual, basic, attention, .*--plugin FILE.py"
    for choice in ("keras", "openvino"):
        with pytest.raises(UserError, match=rf"model\.h5: {words}"):
            engine.load(tmp_path / "model.h5", choice)
    assert checkpoints.read_config(tmp_path / "model.h5") == config
    with pytest.raises(UserError, match="decoder 'unet' is unknown"):
        networks.build_generator(decoder="unet")


@pytest.mark.parametrize(
    ("kind", "block", "words"),
    [
        ("audio_encoder", lambda b, x: x, "returns 80x27x1; it is to return an embedding"),
        ("audio_encoder", lambda b, x: None, "returns a NoneType"),
        ("face_encoder", lambda b, x: x, "returns 96x96x6; it is to return a list of maps and an embedding"),
        ("face_encoder", lambda b, x: ([x], b.conv(x, 8)), "is to return a list of maps"),
        ("face_encoder", lambda b, x: ([x, x], x), "has a map 96x96x6; its sides are to be one of 48, 24, 12, 6, 3"),
        ("face_encoder", lambda b, x: ([b.conv(x, 8, s=5)], x), "has a map 20x20x8; its sides are to be one of 96, 48"),
        ("decoder", lambda b, maps, face, audio: maps[1], "returns 48x48x8; it is to return an image 96x96x3"),
        ("decoder", lambda b, maps, face, audio: maps[99], "test_blocks.py, line [0-9]+: IndexError: list index"),
    ],
)
def test_what_breaks_the_contract_is_told(registry, kind, block, words):
    blocks._register(kind, "broken")(block)
    with pytest.raises(UserError, match=rf"{kind} 'broken': .*{words}"):
        networks.build_generator("basic", width=0.125, **{kind: "broken"})


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("x = 1\n\nx = 1 / 0\n", "own.py, line 3: ZeroDivisionError: division by zero"),
        ("x = 1\nx = (\n", "own.py, line 2: SyntaxError"),
        ("import no_such_module\n", "own.py, line 1: ModuleNotFoundError"),
        ("raise SystemExit(3)\n", "own.py, line 1: SystemExit"),
        ("x = 1\n", "own.py: registers no block"),
        (
            EXAMPLE.replace('"mixer"', '"attention"'),
            f"own.py, line {DECORATED}: audio_encoder 'attention' is there already",
        ),
        (EXAMPLE.replace('"mixer"', '"a/b"'), "own.py, line 4: audio_encoder 'a/b': a name is"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(tmp_path, registry, capfd, code, words):
    (tmp_path / "own.py").write_text(code)
    arguments = ("export", tmp_path / "none.h5", tmp_path / "out.h5", "--plugin", tmp_path / "own.py")
    assert_one_line(synthetic.call("lipgan_keras.checkpoints", *arguments, capfd=capfd), words)
    assert [path.name for path in tmp_path.iterdir()] == ["own.py"]


def test_a_file_that_changed_is_run_again(tmp_path, registry):
    path = tmp_path / "own.py"
    for n in (8, 16):
        path.write_text(EXAMPLE.replace("b.channels(512)", str(n)).replace('"mixer"', '"mine"'))
        blocks.load_plugin(path)
        b = networks.Blocks(0.125)
        assert blocks.build("audio_encoder", "mine", b, keras.Input((80, 27, 1))).shape == (None, 1, 1, n)
    with pytest.raises(UserError, match="cannot be read"):
        blocks.load_plugin(tmp_path / "other.py")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*found in sys.modules")
def test_the_list_has_one_line_for_each(registry, tmp_path, monkeypatch, capsys):
    """What `python -m lipgan_keras.networks` runs, in a process that has loaded TensorFlow already."""
    for kind, names in BLOCKS.items():  # without those of other tests
        monkeypatch.setitem(blocks.REGISTRY, kind, {name: blocks.REGISTRY[kind][name] for name in names})
    monkeypatch.setattr(blocks, "FILES", {key: file for key, file in blocks.FILES.items() if key[1] in BLOCKS[key[0]]})
    classes = keras.saving.get_custom_objects()  # which running the module again replaces
    for name, one in dict(classes).items():
        monkeypatch.setitem(classes, name, one)
    (tmp_path / "own.py").write_text(EXAMPLE)
    monkeypatch.setattr(cli, "run", lambda main: main())
    monkeypatch.setattr(sys, "argv", ["networks", "--width", "0.125", "--plugin", str(tmp_path / "own.py")])
    runpy.run_module("lipgan_keras.networks", run_name="__main__")
    listed = capsys.readouterr()
    form = r"(\S+) +(\w+) +([\d,]+) parameters +([\d,.]+) MFLOPs +([\d.]+) ms"
    found = [re.fullmatch(form, line) for line in listed.out.splitlines()]
    assert all(found), listed.out
    expected = [(name, kind) for kind, names in BLOCKS.items() for name in names]
    expected.insert(6, ("mixer", "audio_encoder"))
    assert [one.groups()[:2] for one in found] == expected
    assert all(
        int(one[3].replace(",", "")) > 0 and float(one[4].replace(",", "")) > 0 and float(one[5]) > 0 for one in found
    )
