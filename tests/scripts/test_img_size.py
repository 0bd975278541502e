"""--img_size 192: the larger networks, and a run through all three scripts with them."""

import sys
from types import SimpleNamespace

import cv2
import h5py
import numpy as np
import pytest

import inference
import preprocess
import train
from helpers import synthetic
from helpers.checks import noise_batch
from helpers.clips import make_clip
from helpers.synthetic import RATE, beeps, steady
from lipgan_keras import checkpoints, networks
from lipgan_keras.config import IMG_SIZES, VARIANTS, ModelConfig
from lipgan_keras.data import clip_folder
from lipgan_keras.data import preprocess as data_preprocess
from lipgan_keras.data.clip_folder import Clip
from lipgan_keras.face import detector
from lipgan_keras.media import video_reader
from lipgan_keras.training import trainer
from lipgan_keras.utils.backend import keras
from lipgan_keras.utils.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore:Even though the `tf.config")


def layers_of(model, kind):
    """In the order in which they were made."""
    found = [layer for layer in model.layers if type(layer) is kind]
    return sorted(found, key=lambda layer: int(layer.name.split("_")[-1]))


@pytest.mark.parametrize(
    ("variant", "audio", "parameters"),
    [
        ("basic", "mel", 21_500_627),
        ("residual", "mel", 49_605_587),
        ("basic", "mfcc", 24_952_979),
        ("residual", "mfcc", 71_402_195),
    ],
)
@pytest.mark.slow
def test_generator_has_one_more_level(variant, audio, parameters):
    small, large = (networks.build_generator(variant, audio, img_size=size) for size in (96, 192))
    assert large.output_shape == (None, 192, 192, 3) and large.input_shape[0] == (None, 192, 192, 6)
    assert large.count_params() == parameters
    convolutions = layers_of(large, keras.layers.Conv2D)
    assert convolutions[0].output.shape == (None, 192, 192, 16)
    assert convolutions[0].kernel_size == layers_of(small, keras.layers.Conv2D)[0].kernel_size
    assert convolutions[1].output.shape == (None, 96, 96, 32) and convolutions[1].strides == (2, 2)
    shapes = [layer.output.shape[1:] for layer in layers_of(large, keras.layers.Conv2DTranspose)]
    assert shapes[-2:] == [(96, 96, 32), (192, 192, 16)]
    assert shapes[:-1] == [layer.output.shape[1:] for layer in layers_of(small, keras.layers.Conv2DTranspose)]
    assert layers_of(large, keras.layers.Concatenate)[-1].output.shape == (None, 192, 192, 32)


@pytest.mark.parametrize(("audio", "parameters"), [("mel", 8_335_704), ("mfcc", 14_478_424)])
def test_discriminator_has_one_more_level(audio, parameters):
    model = networks.build_discriminator(audio, img_size=192)
    assert model.count_params() == parameters
    assert model.input_shape[0] == (None, 192, 192, 3) and model.output_shape == (None, 1)
    assert layers_of(model, keras.layers.Conv2D)[0].output.shape == (None, 96, 96, 32)


@pytest.mark.slow
def test_width_scales_it_too():
    first = layers_of(networks.build_generator("basic", "mel", 0.5, 192), keras.layers.Conv2D)[0]
    assert first.filters == 8  # never fewer
    assert layers_of(networks.build_generator("basic", "mel", 2, 192), keras.layers.Conv2D)[0].filters == 32


@pytest.mark.slow
def test_every_layer_learns():
    """No part of the larger network is cut off from its output."""
    model = networks.build_generator("residual", "mel", 0.125, 192)
    rng = np.random.default_rng(0)
    face, sound = rng.random((2, 192, 192, 6), "float32"), noise_batch(2)[1]
    before = model.get_weights()
    model.compile("sgd", "mae", run_eagerly=True)
    model.train_on_batch([face, sound], rng.random((2, 192, 192, 3), "float32"))
    for variable, old in zip(model.weights, before, strict=True):
        assert not np.array_equal(np.asarray(variable), old) or "bias" in variable.path, variable.path


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Generator checkpoints by img_size."""
    paths = {}
    for size in IMG_SIZES:
        config = ModelConfig("basic", "mel", 0.125, size)
        paths[size] = tmp_path_factory.mktemp("checkpoints") / f"{size}.h5"
        checkpoints.save_checkpoint(paths[size], {"generator": networks.build(config)}, config)
    return paths


@pytest.mark.slow
def test_a_checkpoint_says_its_size(saved):
    for size, path in saved.items():
        model, config = checkpoints.load_generator(path)
        assert config.img_size == size and model.output_shape == (None, size, size, 3)


@pytest.mark.parametrize(("mine", "other"), [(96, 192), (192, 96)])
def test_the_other_size_is_told_by_name(saved, mine, other):
    model = networks.build(ModelConfig("basic", "mel", 0.125, mine))
    with pytest.raises(UserError, match=rf"{other}\.h5: does not fit .*_size {mine}: .* holds .*_size {other}$"):
        checkpoints.load_weights(model, saved[other])


@pytest.mark.parametrize("audio", networks.AUDIO)
@pytest.mark.parametrize("img_size", IMG_SIZES)
@pytest.mark.slow
def test_a_bare_weights_file_tells_its_size(tmp_path, audio, img_size):
    """As for Keras 2.2.4's files, whose shapes are all there is."""
    models = [networks.build_generator(variant, audio, 0.125, img_size) for variant in VARIANTS]
    for model in (*models, networks.build_discriminator(audio, 0.125, img_size)):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.h5"
        with h5py.File(path, "w") as file:
            for layer, weights in checkpoints.model_weights(model).items():
                for name, variable in weights.items():
                    file[f"{layer}/{layer}/{name}:0"] = np.asarray(variable)
        config = checkpoints.read_config(path)
        assert (config.img_size, config.audio, config.width) == (img_size, audio, 0.125)


def test_landmarks_are_scaled_with_the_image(tmp_path):
    make_clip(tmp_path / "video" / "clip", size=192)
    with np.load(tmp_path / "video" / "clip" / "landmarks.npz") as saved:
        arrays = dict(saved)
    (clip,) = clip_folder.find_clips(tmp_path, "mel", progress=False)
    assert arrays["img_size"] == clip.saved_size == 192
    for size in IMG_SIZES:
        assert clip.image(3, size).shape == (size, size, 3)
        points = clip.points(3, size)
        assert points.dtype == np.float32
        np.testing.assert_allclose(points, arrays["landmarks"][3] * size / 192, rtol=1e-6)
    make_clip(tmp_path / "foreign" / "clip", "wav2lip")
    assert Clip(tmp_path / "foreign" / "clip").points(3, 192) is None


@pytest.mark.parametrize(("saved_size", "said"), [(96, True), (192, False)])
def test_training_says_that_images_are_enlarged(tmp_path, capsys, saved_size, said):
    clip = Clip(make_clip(tmp_path / "clip", size=saved_size))
    trainer._warn(SimpleNamespace(data_root=tmp_path, img_size=192, augment=[]), [clip])
    assert ("1 of 1 clips are enlarged from 96 pixels" in capsys.readouterr().out) == said


@pytest.fixture
def run(monkeypatch):
    """A function: run a script's `main` in this process, with the synthetic detector and without graphs."""
    import tensorflow as tf

    monkeypatch.setattr(detector, "detect", synthetic.detect)
    tf.config.run_functions_eagerly(True)

    def call(script, *flags):
        monkeypatch.setattr(sys, "argv", [f"{script.__name__}.py", *map(str, flags)])
        script.main()

    yield call
    tf.config.run_functions_eagerly(False)


@pytest.mark.slow
def test_preprocesses_trains_saves_and_infers(tmp_path, run, monkeypatch, saved):
    (tmp_path / "videos").mkdir()
    times = steady(25, 0.8)
    for name in ("a", "b"):
        speech = (beeps([(0.2 if name == "a" else 0.4, 0.6)], 0.8), RATE)
        synthetic.write(tmp_path / "videos" / f"{name}.mp4", times, 0.8, audio=speech, size=(256, 256))

    def in_this_process(todo, size, crop, workers):  # where the detector is the synthetic one
        for source, target in todo:
            yield source, data_preprocess.preprocess_clip(source, target, size, crop)

    monkeypatch.setattr(data_preprocess, "_run", in_this_process)
    crops, log = tmp_path / "crops", tmp_path / "log"
    run(preprocess, "--videos_data_root", tmp_path / "videos", "--final_data_root", crops, "--img_size", 192)
    assert cv2.imread(str(crops / "a" / "0.jpg")).shape == (192, 192, 3)
    flags = ["--data_root", crops, "--model", "basic", "--width", 0.125, "--batch_size", 4, "--img_size", 192]
    run(train, *flags, "--logdir", log, "--steps", 2, "--val_fraction", 0.5)
    config = checkpoints.read_config(log / "checkpoint.h5")
    assert (config.img_size, config.step) == (192, 2)
    grid = cv2.imread(str(next((log / "samples").iterdir())))
    assert grid.shape[0] % 192 == 0 and grid.shape[1] == 4 * 192
    face, out = tmp_path / "videos" / "a.mp4", tmp_path / "out.mp4"
    run(
        inference,
        "--checkpoint_path",
        log / "checkpoint.h5",
        "--face",
        face,
        "--audio",
        face,
        "--outfile",
        out,
        "--region",
        "face",
    )
    frames, before = list(video_reader.read_frames(out)), list(video_reader.read_frames(face))
    assert len(frames) == len(before) == 20 and frames[0].image.shape == (256, 256, 3)
    change = np.abs(frames[5].image.astype(float) - before[5].image).mean(axis=2)
    assert change[:90].mean() < 3 < change[150:180, 100:156].mean()

    with pytest.raises(UserError, match=r"96\.h5: does not fit .*img_size 192.*img_size 96$"):
        run(train, *flags, "--logdir", tmp_path / "other", "--steps", 2, "--resume_gen", saved[96])
