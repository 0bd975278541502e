"""The shipped generator, and small ones of the paper, in every format: others compute what Keras does."""

import json
import os
import re
import subprocess
import sys
import warnings
import wave

import cv2
import numpy as np
import pytest

from helpers.backends import without_tensorflow
from helpers.checks import ROOT, assert_one_line
from lipgan_keras import audio, checkpoints, networks
from lipgan_keras.config import ModelConfig
from lipgan_keras.exports import formats, writer
from lipgan_keras.face import cropping, photos, regions
from lipgan_keras.media import video_reader
from lipgan_keras.puppets import speech
from lipgan_keras.utils import openvino_core
from lipgan_keras.utils.backend import keras

SUFFIXES = {name: form.suffixes[0] if form.suffixes else "" for name, form in formats.FORMATS.items()}
TOLERANCE = 1e-3  # float32 of other libraries; what is measured is 1e-5
CONFIGS = {
    "residual mel": ModelConfig("residual", "mel", 0.0625, crop="dlib", alignment="released"),
    "basic mfcc": ModelConfig("basic", "mfcc", 0.0625),
}


def real_inputs(kind, size=96):
    """Crops of two photos, a little shifted, and speech."""
    rng, crops = np.random.default_rng(0), []
    for name, path in photos.shipped_photos().items():
        photo, box = video_reader.read_image(path), np.array(photos.PHOTO_CROPS[name], float)
        for shift in rng.uniform(-0.04, 0.04, (2, 4)):
            crops.append(cropping.extract(photo, box + shift * (box[2] - box[0]), size))
    faces = np.stack([regions.assemble(crop, crop)[0] for crop in crops])
    sound = speech.synthesise_speech(1.0, rng)[0]
    return faces, audio.windows_of(sound, np.linspace(0.2, 0.8, len(faces)), kind)


def random_inputs(kind, size=96, count=3):
    rng = np.random.default_rng(1)
    faces = rng.random((count, size, size, 6), np.float32)
    return faces, rng.uniform(-4, 4, (count, *((80, 27) if kind == "mel" else (12, 35)), 1)).astype(np.float32)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """{name: (checkpoint, [inputs], [what Keras makes of them])}"""
    folder, found = tmp_path_factory.mktemp("models"), {}
    for name, config in {"shipped": None, **CONFIGS}.items():
        path = checkpoints.SHIPPED
        if config:
            path = folder / f"{name}.h5"
            generator = networks.build(config)
            rng = np.random.default_rng(2)
            for layer in generator.layers:  # whose normalisation does something
                if layer.name.startswith("batch_normalization"):
                    layer.set_weights([rng.uniform(0.7, 1.3, weight.shape) for weight in layer.weights])
            checkpoints.save_checkpoint(path, {"generator": generator}, config)
        generator, config = checkpoints.load_generator(path)
        given = [real_inputs(config.audio), random_inputs(config.audio)]
        given.append(tuple(one[:1] for one in given[0]))  # another batch size
        made = [np.asarray(generator(list(one), training=False)) for one in given]
        assert all(one.std() > 1e-3 for one in made)
        found[name] = path, given, made
    return found


def run_keras(path):
    model = keras.saving.load_model(path)  # in safe mode, as is the default
    return lambda faces, sound: model.predict_on_batch([faces, sound])


def run_savedmodel(path):
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    serve = loaded.signatures["serving_default"]
    return lambda faces, sound: serve(input_face=tf.constant(faces), input_audio=tf.constant(sound))["prediction"]


def run_openvino(path):
    core = openvino_core.import_openvino().Core()
    model = core.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda faces, sound: model({"input_face": faces, "input_audio": sound})["prediction"]


def run_onnx(path):
    session = pytest.importorskip("onnxruntime").InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [one.shape[0] for one in (*session.get_inputs(), *session.get_outputs())] == ["batch"] * 3
    return lambda faces, sound: session.run(["prediction"], {"input_face": faces, "input_audio": sound})[0]


def run_litert(path):
    interpreter = pytest.importorskip("ai_edge_litert.interpreter").Interpreter(str(path))
    runner = interpreter.get_signature_runner("serving_default")
    return lambda faces, sound: runner(input_face=faces, input_audio=sound)["prediction"]


RUNNERS = {
    "keras": run_keras,
    "savedmodel": run_savedmodel,
    "openvino": run_openvino,
    "onnx": run_onnx,
    "litert": run_litert,
}


@pytest.mark.parametrize("model", ["shipped", *CONFIGS])
@pytest.mark.parametrize("form", formats.FORMATS)
def test_other_programs_compute_what_keras_does(models, tmp_path, form, model):
    path, given, wanted = models[model]
    out = tmp_path / f"generator{SUFFIXES[form]}"
    if form == "onnx":
        pytest.importorskip("tf2onnx")
    places = writer.export(path, out, form)
    about = json.loads(places[-1].read_text())
    run, differences = RUNNERS[form](out), []
    for inputs, made in zip(given, wanted, strict=True):
        for one, said in zip(inputs, about["inputs"], strict=True):
            assert list(one.shape[1:]) == said["shape"][1:] and one.dtype == said["dtype"]
        found = np.asarray(run(*inputs))
        assert found.shape == made.shape and list(found.shape[1:]) == about["outputs"][0]["shape"][1:]
        differences.append(float(np.abs(found - made).max()))
    size = sum(file["bytes"] for file in about["files"].values())
    print(f"{form} {model}: {max(differences):.1e}, {size / 2**20:.1f} MiB, {sorted(about['files'])}")
    assert max(differences) < TOLERANCE
    if form == "savedmodel" and model == "basic mfcc":
        writer.export(path, out, form)  # over an earlier one
    assert {p.name for p in tmp_path.iterdir()} == {place.name for place in places if place.parent == tmp_path}


def call(*arguments, **environment):
    command = [sys.executable, "-m", "lipgan_keras.checkpoints", *map(str, arguments)]
    settings = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    return subprocess.run(command, env=settings, capture_output=True, text=True, check=False)


def test_a_keras_file_is_read_in_safe_mode_on_jax(models, tmp_path):
    """By a program that imports `lipgan_keras.networks`, for the layers of the decoder `warp`."""
    path, given, wanted = models["shipped"]
    writer.export(path, tmp_path / "g.keras", "keras")
    np.savez(tmp_path / "in.npz", faces=given[0][0], sound=given[0][1])
    code = (
        "import keras, numpy as np, lipgan_keras.networks; given = np.load('in.npz'); "
        "model = keras.saving.load_model('g.keras', safe_mode=True); "
        "np.save('out.npy', model.predict([given['faces'], given['sound']], verbose=0))"
    )
    environment = os.environ | without_tensorflow(tmp_path)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert np.abs(np.load(tmp_path / "out.npy") - wanted[0]).max() < TOLERANCE


def test_what_jax_can_make_and_what_it_says_of_the_rest(models, tmp_path):
    path, given, wanted = models["residual mel"]
    environment = without_tensorflow(tmp_path)
    made = call("export", path, tmp_path / "g.xml", "--format", "openvino", **environment)
    assert made.returncode == 0, made.stderr
    assert np.abs(run_openvino(tmp_path / "g.xml")(*given[0]) - wanted[0]).max() < TOLERANCE
    refused = call("export", path, tmp_path / "g.tflite", "--format", "litert", **environment)
    assert_one_line(refused, "--format litert", "KERAS_BACKEND is jax", "keras or openvino")
    assert not (tmp_path / "g.tflite").exists()


def test_the_client_of_the_page(models, tmp_path, monkeypatch):
    """docs/exports.md: numpy, Pillow and onnxruntime alone make the image that the project's own code makes."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("tf2onnx")
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "exports.md").read_text(), re.DOTALL)
    assert "lipgan_keras" not in code
    writer.export(checkpoints.SHIPPED, tmp_path / "generator.onnx", "onnx")
    name, path = next(iter(photos.shipped_photos().items()))
    crop = cropping.extract(video_reader.read_image(path), np.array(photos.PHOTO_CROPS[name], float), 96)
    cv2.imwrite(str(tmp_path / "crop.png"), crop)
    sound = np.round(speech.synthesise_speech(2.0, np.random.default_rng(3))[0] * 32767).astype("<i2")
    with wave.open(str(tmp_path / "speech.wav"), "wb") as file:
        file.setnchannels(1), file.setsampwidth(2), file.setframerate(16000)
        file.writeframes(sound.tobytes())
    monkeypatch.chdir(tmp_path)
    scope = {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exec(compile(code, "docs/exports.md", "exec"), scope)
    config = checkpoints.read_config(checkpoints.SHIPPED)
    start = scope["start"]
    windows = audio.WindowClock.of(config).windows_of(sound / 32768, np.array([start]), np.array([start + 0.04]))
    np.testing.assert_allclose(scope["window"][None, ..., None], windows, atol=1e-4)
    generator, _ = checkpoints.load_generator(checkpoints.SHIPPED)
    truth = np.asarray(generator([regions.assemble(crop, crop)[0][None], windows], training=False))[0]
    assert np.abs(cv2.imread(str(tmp_path / "mouth.png")) / 255 - truth.clip(0, 1)).max() < 1 / 255
