"""Presets, and what exports say and refuse; tests_docs/test_exports.py runs every format."""

import json
import shutil
import sys
import types

import h5py
import numpy as np
import pytest

from helpers import synthetic
from helpers.checks import ROOT, assert_one_line
from lipgan_keras import LipSync, audio, checkpoints, networks
from lipgan_keras.checkpoints import hub, presets
from lipgan_keras.config import ModelConfig
from lipgan_keras.exports import command, description, formats, writer
from lipgan_keras.face import cropping, regions
from lipgan_keras.utils.errors import UserError

BLOCKS = {"face_encoder": "small", "audio_encoder": "small", "decoder": "small"}
SMALL = ModelConfig(crop="dlib", alignment="released", audio_offset_ms=-320.0, step=7, **BLOCKS)
FOREIGN = b"precious, and of somebody else"


@pytest.fixture(scope="module")
def small(tmp_path_factory, small_blocks):
    """A folder with generator.h5 and the preset of it, preset/, that nobody changes."""
    folder = tmp_path_factory.mktemp("small")
    models = {"generator": networks.build(SMALL)}
    checkpoints.save_checkpoint(folder / "generator.h5", models, SMALL, split={"held_out": ["a/b"]})
    LipSync(folder / "generator.h5").save_to_preset(folder / "preset")
    return folder


@pytest.fixture
def preset(small, tmp_path):
    return shutil.copytree(small / "preset", tmp_path / "preset")


def call(*arguments, capfd):
    return synthetic.call("lipgan_keras.checkpoints", *arguments, capfd=capfd)


def change(path, *keys, value):
    about = json.loads(path.read_text())
    place = about
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    path.write_text(json.dumps(about))


def test_a_preset_holds_all_of_a_generator(small):
    """Three files; the weights, what they were trained on, the crop and the place of the audio windows."""
    folder = small / "preset"
    assert {path.name for path in folder.iterdir()} == set(presets.FILES)
    lipsync = LipSync.from_preset(folder, batch_size=3, audio_offset_ms=40)
    assert lipsync.batch_size == 3 and lipsync.config == SMALL.with_audio_offset(40)
    one, config = checkpoints.load_generator(folder)
    other, _ = checkpoints.load_generator(small / "generator.h5")
    assert config == SMALL
    for mine, theirs in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert checkpoints.read_split(folder) == {"held_out": ["a/b"]} and checkpoints.read_networks(folder) == [
        "generator"
    ]
    assert checkpoints.read_training(folder) is None


def test_presets_by_name(small, monkeypatch, tmp_path):
    assert LipSync.from_preset("lipsync").config == checkpoints.read_config(checkpoints.SHIPPED)
    assert LipSync.from_preset(small / "generator.h5").config == SMALL
    with pytest.raises(UserError, match="lipsink: no such preset; choose one of 'lipsync', .* hf://user/name"):
        LipSync.from_preset("lipsink")
    with pytest.raises(UserError, match="holds no config.json"):
        LipSync.from_preset(tmp_path)
    monkeypatch.setattr(checkpoints, "SHIPPED", tmp_path / "gone.h5")
    with pytest.raises(UserError, match="gone.h5: the checkpoint that ships is missing"):
        LipSync.from_preset("lipsync")


@pytest.mark.parametrize(
    ("file", "keys", "value", "words"),
    [
        ("config.json", ["registered_name"], "keras_hub>BertBackbone", "describes 'keras_hub>BertBackbone'"),
        ("config.json", ["config"], [], "describes no model"),
        ("config.json", ["config", "width"], 1e9, "width 1e.09 is out of range"),
        ("config.json", ["config", "face_encoder"], "mobilenet", "does not hold the weights of what config.json"),
        ("config.json", ["config", "decoder"], "../x", "decoder is no name of a block"),
        ("config.json", ["config", "decoder"], "mine", "decoder 'mine' is unknown"),
        ("config.json", ["metadata", "format"], 9, "was written by a newer lipgan_keras"),
        ("preprocessor.json", ["config", "audio_converter", "stride"], 160, "says stride 160, .* computes 200"),
        ("preprocessor.json", ["config", "audio_converter"], None, "has no image_converter and no audio_converter"),
        ("preprocessor.json", ["config", "image_converter", "crop"], "other", "crop is 'other'"),
        ("preprocessor.json", ["config", "audio_converter", "audio_offset_ms"], "40", "audio_offset_ms is '40', not a"),
    ],
)
def test_refuses_presets_that_say_other_things(preset, file, keys, value, words):
    change(preset / file, *keys, value=value)
    with pytest.raises(UserError, match=f"preset.*{words}"):
        checkpoints.load_generator(preset)


def test_a_wide_preset_is_not_built_before_its_weights_are_counted(preset):
    for kind in BLOCKS:
        change(preset / "config.json", "config", kind, value="")
    with pytest.raises(UserError, match="the generator has a width of 1, and it holds .* too few for that"):
        checkpoints.load_generator(preset)


def damaged(preset):
    data = (preset / "model.weights.h5").read_bytes()
    yield "config.json", None, "holds no config.json"
    yield "preprocessor.json", b"{" * 100_000, "cannot be read as JSON"
    yield "config.json", b" " * (2 << 20), "is larger than 1 MiB"
    yield "model.weights.h5", data[: len(data) // 2], "cut short"
    yield "model.weights.h5", b"text", "is not an HDF5 file"


def test_refuses_presets_with_damaged_files(preset, capfd):
    for name, data, words in damaged(preset):
        before = (preset / name).read_bytes()
        (preset / name).unlink() if data is None else (preset / name).write_bytes(data)
        assert_one_line(call("info", preset, capfd=capfd), "preset", words)
        (preset / name).write_bytes(before)
    with h5py.File(preset / "model.weights.h5", "a") as file:
        file["layers/conv2d/vars/0"][:] = np.nan  # as another program may have left it
    with pytest.raises(UserError, match="holds infinite numbers or NaN"):
        checkpoints.load_generator(preset)
    with h5py.File(preset / "model.weights.h5", "a") as file:
        del file["layers/conv2d/vars/0"]
        file["layers/conv2d/vars/0"] = h5py.ExternalLink("other.h5", "x")
    with pytest.raises(UserError, match="links to other files"):
        checkpoints.read_config(preset)


def test_a_preset_replaces_nothing_but_a_preset(small, preset, tmp_path, capfd):
    source = small / "generator.h5"
    for _ in range(2):
        made = call("export", source, preset, "--format", "preset", capfd=capfd)
        assert made.returncode == 0, made.stderr
    (preset / "README.md").write_bytes(FOREIGN)
    assert checkpoints.read_config(preset) == SMALL  # as a repository has one
    refused = call("export", source, preset, "--format", "preset", capfd=capfd)
    assert_one_line(refused, f"{preset}: holds README.md")
    assert (preset / "README.md").read_bytes() == FOREIGN
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text("{}")
    with pytest.raises(UserError, match="is there already, and no preset"):
        LipSync(source).save_to_preset(tmp_path / "other")
    with pytest.raises(UserError, match="is an input too"):
        LipSync(small / "preset").save_to_preset(small / "preset")
    with pytest.raises(UserError, match="was given an engine"):
        LipSync(types.SimpleNamespace(config=SMALL)).save_to_preset(tmp_path / "engine")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "preset"]


class Hub:
    """In place of huggingface_hub: repositories in a folder, and a cache."""

    def __init__(self, folder, sha="c" * 40, error=None):
        self.folder, self.sha, self.error, self.cached, self.asked = folder, sha, error, False, []

    def HfApi(self, **_):  # noqa: N802 - as it is called there
        return self

    def model_info(self, repository, revision, files_metadata, timeout):
        self.asked.append((repository, revision))
        if self.error:
            raise self.error
        sizes = {path.name: path.stat().st_size for path in self.folder.iterdir()}
        siblings = [types.SimpleNamespace(rfilename=name, size=size) for name, size in sizes.items()]
        return types.SimpleNamespace(sha=self.sha, siblings=siblings)

    def snapshot_download(self, repository, revision, allow_patterns, local_files_only=False, **_):
        assert sorted(allow_patterns) == sorted(presets.FILES)
        if local_files_only and not self.cached:
            raise FileNotFoundError("not in the cache")
        assert local_files_only or not self.error
        self.cached = True
        return str(self.folder)


def named(name, *bases, status=None):
    """An error as huggingface_hub raises it."""
    error = type(name, bases or (OSError,), {})("many\nlines")
    error.response = types.SimpleNamespace(status_code=status)
    return error


def test_a_preset_from_the_hub(preset, monkeypatch):
    """The Hub is asked for a branch each time, for a commit once; where nothing answers, the cache does."""
    fake = Hub(preset)
    monkeypatch.setitem(sys.modules, "huggingface_hub", fake)
    assert LipSync.from_preset("hf://some.one/talks", audio_offset_ms=0).config == SMALL.with_audio_offset(0)
    LipSync.from_preset("hf://some.one/talks@v1")
    assert fake.asked == [("some.one/talks", None), ("some.one/talks", "v1")]
    fake.error = named("ConnectError", Exception)
    assert LipSync.from_preset("hf://some.one/talks").config == SMALL and len(fake.asked) == 3
    LipSync.from_preset(f"hf://some.one/talks@{fake.sha}")
    assert len(fake.asked) == 3  # a commit that is there
    fake.cached = False
    with pytest.raises(UserError, match=r"cannot be downloaded \(ConnectError: many lines\); check the network"):
        LipSync.from_preset("hf://some.one/talks")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (named("GatedRepoError", type("RepositoryNotFoundError", (OSError,), {})), "is gated; accept its terms"),
        (named("RepositoryNotFoundError"), "no such repository on huggingface.co, or a private one"),
        (named("RevisionNotFoundError"), "has no such revision"),
        (named("HfHubHTTPError", status=403), "may not be read with this account"),
        (named("HfHubHTTPError", status=500), "cannot be downloaded"),
    ],
)
def test_what_the_hub_refuses_is_one_line(preset, monkeypatch, error, words):
    fake = Hub(preset, error=error)
    monkeypatch.setitem(sys.modules, "huggingface_hub", fake)
    with pytest.raises(UserError, match=f"^hf://a/b: {words}") as raised:
        LipSync.from_preset("hf://a/b")
    assert "\n" not in str(raised.value)


def test_repositories_are_looked_at_before_they_are_downloaded(preset, monkeypatch):
    fake = Hub(preset)
    fake.snapshot_download = None
    monkeypatch.setitem(sys.modules, "huggingface_hub", fake)
    with monkeypatch.context() as patch:
        patch.setitem(presets.MOST_BYTES, "model.weights.h5", 1000)
        with pytest.raises(UserError, match="its model.weights.h5 is larger than"):
            hub.download("hf://a/b")
    (preset / "preprocessor.json").unlink()
    with pytest.raises(UserError, match="holds no preprocessor.json"):
        hub.download("hf://a/b")
    for name in ("hf://a", "hf://a/b/c", "hf://../b", "hf://a/b@-x", "hf://a/b?x"):
        with pytest.raises(UserError, match="is no name of a repository"):
            hub.download(name)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r'pip install "lipgan-keras\[hf\]"'):
        hub.download("hf://a/b")


@pytest.mark.parametrize("kind", ["mel", "mfcc"])
def test_the_description_says_what_the_code_computes(kind):
    """Its numbers alone make features, windows and the network's input."""
    config = ModelConfig("basic", kind, crop="steady", audio_offset_ms=80.0)
    about = json.loads(json.dumps(description.describe(config, "onnx", None)))
    sound, window = about["audio"], about["window"]
    filters = np.zeros((sound["bands"], sound["n_fft"] // 2 + 1))
    for row, (first, weights) in zip(filters, sound["filters"], strict=True):
        row[first : first + len(weights)] = weights
    ours = audio.mel_filters() if kind == "mel" else audio.htk_filters()
    np.testing.assert_allclose(filters, ours.toarray(), rtol=1e-6)
    example, clock = window["example"], audio.WindowClock.of(config)
    rate, steps = sound["steps_per_second"], window["steps"]
    centre = (example["start"] + example["end"]) / 2 + window["audio_offset_ms"] / 1000
    assert example["centre"] == pytest.approx(centre)
    assert example["first_step"] == int(rate * (centre - sound["first_step_seconds"]) + 0.5 + 1e-6) - steps // 2
    numbered = np.tile(np.arange(400, dtype=np.float32), (about["inputs"][1]["shape"][1], 1))
    heard = clock.windows(numbered, np.array([example["start"]]), np.array([example["end"]]))
    assert list(heard.shape[1:]) == about["inputs"][1]["shape"][1:] and heard[0, 0, 0, 0] == example["first_step"]
    np.testing.assert_allclose(audio.features(np.zeros(9000), kind)[:, 3], sound["silence"], atol=1e-5)


def test_the_description_says_how_the_faces_are_laid_out():
    about = description.describe(ModelConfig(img_size=192, decoder="warp"), "onnx", None)
    face = about["inputs"][0]
    crop = np.zeros((192, 192, 3), np.uint8)
    crop[..., 0], crop[..., 2] = 255, 51  # OpenCV's blue and red
    given, _ = regions.assemble(crop, crop)
    assert list(given.shape) == face["shape"][1:] and given.min() >= 0 and given.max() <= 1
    assert face["channels"][0] == "identity blue" and given[0, 0, 0] == 1
    assert face["channels"][5] == "target red" and given[0, 0, 5] == pytest.approx(0.2)
    first, end = face["hidden_rows"]
    assert not given[first:end, :, 3:].any() and given[:first, :, 3:].any(axis=(1, 2)).all() and end == 192
    assert "mixed" in about["outputs"][0]["meaning"]
    for key in about:
        assert f"`{key}`" in (ROOT / "docs" / "exports.md").read_text()


def test_the_description_says_where_the_crop_lies():
    for style in ("steady", "lipgan_keras", "dlib"):
        crop = description.describe(ModelConfig(crop=style), "onnx", None)["crop"]
        numbers = (cropping.SIDE, cropping.MIDDLE) if style != "dlib" else (cropping.DLIB_SIDE, *cropping.DLIB_MIDDLE)
        assert all(f"{number:g}" in crop["centre"] + crop["side"] for number in numbers) and crop["kind"] == style


def test_flags_and_names_that_do_not_go_together(small, tmp_path, capfd):
    source = small / "generator.h5"
    for flag in ("--float16", "--sync"):
        refused = call("export", source, tmp_path / "a.onnx", "--format", "onnx", flag, capfd=capfd)
        assert_one_line(refused, flag, "is for --format h5 alone")
    for form, suffix in (("onnx", ".onnx"), ("keras", ".keras"), ("litert", ".tflite"), ("openvino", ".xml")):
        refused = call("export", source, tmp_path / "a.h5", "--format", form, capfd=capfd)
        assert_one_line(refused, f"let its name end in {suffix}")
    assert set(command.OTHERS) == set(formats.FORMATS) and not list(tmp_path.iterdir())


def test_what_is_missing_is_named_with_the_command(monkeypatch):
    monkeypatch.setattr(formats.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="--format onnx: needs onnx and tf2onnx; run: pip install onnx tf2onnx"):
        formats.check(formats.FORMATS["onnx"])
    monkeypatch.setattr("lipgan_keras.utils.backend.BACKEND", "jax")
    with pytest.raises(UserError, match="is made by TensorFlow, and KERAS_BACKEND is jax; .* keras or openvino"):
        formats.check(formats.FORMATS["litert"])
    formats.check(formats.FORMATS["keras"])


def test_exports_replace_nothing_but_exports(small, tmp_path, capfd):
    source, out = small / "generator.h5", tmp_path / "a.xml"
    for name in ("a.xml", "a.bin", "a.xml.json"):
        (tmp_path / name).write_bytes(FOREIGN)
        refused = call("export", source, out, "--format", "openvino", capfd=capfd)
        assert_one_line(refused, f"{name}: is there already")
        assert [path.name for path in tmp_path.iterdir()] == [name] and (tmp_path / name).read_bytes() == FOREIGN
        (tmp_path / name).unlink()
    folder = tmp_path / "saved"
    folder.mkdir()
    (folder / "notes.txt").write_bytes(FOREIGN)
    refused = call("export", source, folder, "--format", "savedmodel", capfd=capfd)
    assert_one_line(refused, f"{folder}: holds notes.txt")
    for _ in range(2):
        made = call("export", small / "preset", out, "--format", "openvino", capfd=capfd)
        assert made.returncode == 0, made.stderr
    about = json.loads((tmp_path / "a.xml.json").read_text())
    assert about["window"]["audio_offset_ms"] == -320 and about["licence"]["weights"] is None
    assert sorted(about["files"]) == ["a.bin", "a.xml"]
    (tmp_path / "a.bin").write_bytes(FOREIGN)  # changed by somebody
    assert_one_line(call("export", source, out, "--format", "openvino", capfd=capfd), "a.bin: is there already")


def test_a_failing_format_leaves_nothing(small, tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("many\nlines")

    for name in ("keras", "savedmodel"):
        form = formats.dataclasses.replace(formats.FORMATS[name], write=fail)
        monkeypatch.setitem(formats.FORMATS, name, form)
        out = tmp_path / f"a{'.keras' if name == 'keras' else ''}"
        with pytest.raises(UserError, match=r"cannot have this generator \(RuntimeError: many lines\)"):
            writer.export(small / "generator.h5", out, name)
    assert not list(tmp_path.iterdir())
