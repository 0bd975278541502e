import concurrent.futures
import dataclasses
import functools
import json
import os
import sys
import zipfile

import numpy as np
import pytest

from helpers.checks import noise_batch
from lipgan_keras import checkpoints, networks
from lipgan_keras.config import ModelConfig
from lipgan_keras.inference import engine, openvino_graph
from lipgan_keras.utils import backend, openvino_core
from lipgan_keras.utils.errors import UserError

HAS_BFLOAT16 = "BF16" in openvino_core.core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
SMALL = ModelConfig("basic", "mel", 0.125)


@pytest.fixture(autouse=True)
def cache_folder(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


@pytest.fixture
def float32(monkeypatch):
    monkeypatch.setattr(openvino_graph, "TOLERANCE", -1.0)


@functools.cache
def made(config, seed):
    """A generator that nobody changes, whose normalisation does something."""
    rng = np.random.default_rng(seed)
    generator = networks.build(config)
    for layer in generator.layers:
        if layer.name.startswith("batch_normalization"):
            shape = layer.gamma.shape
            moments = [rng.uniform(0.7, 1.3, shape), rng.normal(0, 0.3, shape), rng.normal(0, 0.1, shape)]
            layer.set_weights([*moments, rng.uniform(0.4, 0.9, shape)])
    return generator


def make_checkpoint(path, config=SMALL, seed=0):
    """A checkpoint, and its generator."""
    generator = made(config, seed)
    checkpoints.save_checkpoint(path, {"generator": generator}, config)
    return generator


def call(generator, inputs):
    return np.asarray(generator(inputs, training=False))


def inputs(config=SMALL, count=5):
    rng = np.random.default_rng(1)
    faces = rng.random((count, config.img_size, config.img_size, 6), np.float32)
    return faces, rng.standard_normal((count, *((80, 27) if config.audio == "mel" else (12, 35)), 1), np.float32)


@pytest.mark.parametrize(
    ("variant", "audio", "img_size"),
    [("residual", "mel", 96), ("basic", "mfcc", 96), ("residual", "mfcc", 192), ("basic", "mel", 192)],
)
@pytest.mark.slow
def test_openvino_computes_what_keras_does(tmp_path, float32, variant, audio, img_size):
    config = ModelConfig(variant, audio, 0.125, img_size)
    generator = make_checkpoint(tmp_path / "model.h5", config)
    batch = inputs(config)
    expected = call(generator, batch)
    run = engine.load(tmp_path / "model.h5", "openvino", batch_size=2)
    assert (run.name, run.batch_size, run.config) == ("OpenVINO float32", 2, config)
    assert expected.std() > 1e-3  # or there would be nothing to compare
    output = run(*batch)
    assert output.dtype == np.float32
    np.testing.assert_allclose(output, expected, atol=1e-4, rtol=0)
    np.testing.assert_allclose(run(batch[0][:1], batch[1][:1]), expected[:1], atol=1e-4, rtol=0)
    assert run(batch[0][:0], batch[1][:0]).shape == (0, img_size, img_size, 3)


def test_keras_computes_the_same(tmp_path, eagerly):
    generator = make_checkpoint(tmp_path / "model.h5")
    run = engine.load(tmp_path / "model.h5", "keras", batch_size=2, audio_offset_ms=40)
    np.testing.assert_allclose(run(*inputs()), call(generator, inputs()), atol=1e-4, rtol=0)
    assert run.name.startswith(f"Keras {backend.BACKEND}")
    assert run.config == dataclasses.replace(SMALL, audio_offset_ms=40)
    assert [path.name for path in tmp_path.iterdir()] == ["model.h5"]


def graphs(cache_folder):
    """All files below the cache folder: they should be graphs and nothing else."""
    found = [path for path in cache_folder.rglob("*") if not path.is_dir()]
    assert all(path.parent == cache_folder / "lipgan_keras" and path.suffix == ".openvino" for path in found), found
    return found


@pytest.mark.slow
def test_runs_files_of_keras_2(golden, golden_checkpoint):
    rng = np.random.RandomState(11)
    pair, _ = rng.rand(3, 96, 96, 6), rng.rand(3, 96, 96, 3)  # as the golden outputs were made
    sound = rng.standard_normal((3, 12, 35, 1)) * 3
    run = engine.load(golden_checkpoint("mfcc_basic.weights.h5"), "openvino", batch_size=4)
    tolerance = 0.01 if "bfloat16" in run.name else 1e-5
    np.testing.assert_allclose(run(pair, sound), np.load(golden / "outputs.npz")["mfcc_basic"], atol=tolerance, rtol=0)
    assert run.config.crop == "dlib"


@pytest.mark.skipif(not HAS_BFLOAT16, reason="this CPU has no bfloat16")
def test_bfloat16_only_where_it_is_near(tmp_path, monkeypatch, cache_folder):
    monkeypatch.setattr(openvino_graph, "FASTER", 0.0)
    make_checkpoint(tmp_path / "model.h5")
    near = engine.load(tmp_path / "model.h5", "openvino", batch_size=5)
    (kept,) = graphs(cache_folder)
    error, speedup = json.loads(zipfile.ZipFile(kept).read("about.json"))["bfloat16"]
    assert near.name == "OpenVINO bfloat16" and 0 < error <= 0.01 and speedup > 0
    with monkeypatch.context() as patch:
        patch.setattr(openvino_graph, "FASTER", speedup * 1.01)  # what was measured is kept with the graph
        assert engine.load(tmp_path / "model.h5", "openvino", batch_size=5).name == "OpenVINO float32"
    monkeypatch.setattr(openvino_graph, "TOLERANCE", error / 2)
    far = engine.load(tmp_path / "model.h5", "openvino", batch_size=5)
    assert far.name == "OpenVINO float32"
    assert 0 < np.abs(near(*inputs()) - far(*inputs())).max() < 0.02


TWO = """
import signal, sys
from lipgan_keras.inference import engine
heard = []
signal.signal(signal.SIGUSR1, lambda *_: heard.append(1))
first, second = (engine.load(sys.argv[1], "openvino") for _ in range(2))
del first
signal.raise_signal(signal.SIGUSR1)
del second
signal.raise_signal(signal.SIGUSR1)
print(len(heard))
"""


@pytest.mark.slow
def test_signals_after_an_engine_is_gone(tmp_path, script):
    """OpenVINO brings a stack for signal handlers along, and takes it away."""
    make_checkpoint(tmp_path / "model.h5")
    engine.load(tmp_path / "model.h5", "openvino")  # which keeps the graph, so that the script loads no Keras
    (tmp_path / "two.py").write_text(TWO)
    result = script(tmp_path / "two.py", tmp_path / "model.h5")
    assert result.returncode == 0 and result.stdout.strip() == "2", result.stderr


def refuse(*args, **kwargs):
    raise AssertionError("the graph is made again")


@pytest.mark.slow
def test_the_graph_is_kept_until_the_checkpoint_changes(tmp_path, monkeypatch, float32, cache_folder):
    path = tmp_path / "a name with spaces.h5"
    make_checkpoint(path)
    first = engine.load(path, "openvino", batch_size=5)(*inputs())
    with monkeypatch.context() as patch:
        patch.setattr(openvino_graph, "convert", refuse)
        again = engine.load(path, "openvino", batch_size=2, audio_offset_ms=-80)
    np.testing.assert_allclose(again(*inputs()), first, atol=1e-6, rtol=0)
    assert again.config.audio_offset_ms == -80
    other = make_checkpoint(path, seed=1)
    changed = engine.load(path, "openvino", batch_size=5)(*inputs())
    np.testing.assert_allclose(changed, call(other, inputs()), atol=1e-4, rtol=0)
    assert np.abs(first - call(other, inputs())).max() > 1e-3
    assert [p.name for p in tmp_path.iterdir()] == [path.name] and len(graphs(cache_folder)) == 2
    monkeypatch.setattr(openvino_graph, "convert", refuse)
    path.rename(tmp_path / "renamed.h5")  # the content decides
    engine.load(tmp_path / "renamed.h5", "openvino")


@pytest.mark.slow
def test_a_graph_of_other_code_is_made_again(tmp_path, monkeypatch, cache_folder):
    for pattern in ("networks*", "checkpoints", "inference/openvino*"):
        assert pattern in openvino_graph.CODE and list(openvino_graph.ROOT.glob(pattern))
    (tmp_path / "code").mkdir()
    monkeypatch.setattr(openvino_graph, "ROOT", tmp_path / "code")
    make_checkpoint(tmp_path / "model.h5")
    for text in ("old", "new"):
        (tmp_path / "code" / "networks.py").write_text(text)
        openvino_graph._code.cache_clear()  # as in another process
        engine.load(tmp_path / "model.h5", "openvino", batch_size=1)
    openvino_graph._code.cache_clear()
    assert len(graphs(cache_folder)) == 2


@pytest.mark.slow
def test_the_cache_keeps_what_was_used_last(tmp_path, monkeypatch, cache_folder):
    monkeypatch.setattr(openvino_graph, "KEPT", 2)
    folder = cache_folder / "lipgan_keras"
    for name in "abc":
        make_checkpoint(tmp_path / f"{name}.h5", seed=ord(name))
    engine.load(tmp_path / "a.h5", "openvino", batch_size=1)
    (first,) = graphs(cache_folder)
    os.utime(first, (1, 1))
    (folder / ".killed.tmp.openvino").write_text("")
    os.utime(folder / ".killed.tmp.openvino", (1, 1))
    engine.load(tmp_path / "b.h5", "openvino", batch_size=1)
    (second,) = set(graphs(cache_folder)) - {first}
    os.utime(second, (2, 2))
    engine.load(tmp_path / "a.h5", "openvino", batch_size=1)  # now the second is the older one
    engine.load(tmp_path / "c.h5", "openvino", batch_size=1)
    assert len(graphs(cache_folder)) == 2 and first.is_file() and not second.is_file()


@pytest.mark.slow
def test_a_damaged_graph_is_made_again(tmp_path, monkeypatch, float32, cache_folder):
    path = tmp_path / "model.h5"
    expected = call(make_checkpoint(path), inputs())
    engine.load(path, "openvino", batch_size=5)
    (kept,) = graphs(cache_folder)
    data = kept.read_bytes()
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 0x40
    for damaged in (data[: len(data) // 2], bytes(flipped)):
        kept.write_bytes(damaged)
        np.testing.assert_allclose(engine.load(path, "openvino", batch_size=5)(*inputs()), expected, atol=1e-4, rtol=0)
    monkeypatch.setattr(openvino_graph, "convert", refuse)
    engine.load(path, "openvino")


def test_a_cache_folder_that_cannot_be_written_is_no_error(tmp_path, cache_folder):
    make_checkpoint(tmp_path / "model.h5")
    (cache_folder / "lipgan_keras").write_text("")  # root may write to read-only folders, but not into a file
    assert engine.load(tmp_path / "model.h5", "openvino").name.startswith("OpenVINO")
    assert [p.name for p in tmp_path.iterdir()] == ["model.h5"]


def test_many_may_write_and_read_at_once(tmp_path):
    model = openvino_graph.convert(made(SMALL, 0))
    place = tmp_path / "model.openvino"
    openvino_graph._write_cache(place, model, {"key": 1}, openvino_graph.Low(0.5, 2.0))

    def use(i):
        if i % 2:
            openvino_graph._write_cache(place, model, {"key": 1}, openvino_graph.Low(0.5, 2.0))
        return openvino_graph._read_cache(openvino_core.core(), place, {"key": 1})

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert all(found and found[1] == (0.5, 2.0) for found in pool.map(use, range(16)))
    assert [p.name for p in tmp_path.iterdir()] == ["model.openvino"]


def test_threads_take_turns(tmp_path, float32):
    make_checkpoint(tmp_path / "model.h5")
    run = engine.load(tmp_path / "model.h5", "openvino", batch_size=2)
    faces, sound, _ = noise_batch(8)
    expected = run(faces, sound)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda i: run(faces[i : i + 1], sound[i : i + 1])[0], list(range(8)) * 3))
    np.testing.assert_allclose(results, np.concatenate([expected] * 3), atol=1e-6, rtol=0)


@pytest.mark.slow
def test_no_network_and_of_a_kept_graph_no_keras(tmp_path, script):
    make_checkpoint(tmp_path / "model.h5")
    code = """
import sys
calls = []
talking = ("socket.connect", "socket.getaddrinfo", "socket.sendto")
sys.addaudithook(lambda event, args: event in talking and calls.append(event))
from lipgan_keras.inference import engine
run = engine.load("model.h5", "openvino", batch_size=1)
import numpy as np
run(np.zeros((1, 96, 96, 6), np.float32), np.zeros((1, 80, 27, 1), np.float32))
print([name for name in ("keras", "tensorflow") if name in sys.modules], calls)
"""
    home = tmp_path / "home"
    home.mkdir()
    for loaded in ("['keras', 'tensorflow']", "[]"):
        done = script("-c", code, env={"HOME": str(home)})
        assert (done.returncode, done.stdout.strip(), done.stderr) == (0, f"{loaded} []", "")
    assert not (home / "intel").exists()  # where OpenVINO's telemetry would keep an identity of the user


@pytest.mark.slow
def test_auto_takes_what_is_there(tmp_path, monkeypatch):
    path = tmp_path / "model.h5"
    make_checkpoint(path)
    monkeypatch.setattr(engine, "GPU_DEVICES", ())
    assert engine.load(path).name.startswith("OpenVINO")
    with monkeypatch.context() as patch:
        patch.setattr(engine, "_sees_gpu", lambda: True)
        assert engine.load(path).name == f"Keras {backend.BACKEND} (GPU)"
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert engine.load(path).name == f"Keras {backend.BACKEND}"
    with pytest.raises(UserError, match="pip install openvino"):
        engine.load(path, "openvino")
    with pytest.raises(UserError, match="engine 'tensorrt' is unknown; choose one of auto, openvino, keras"):
        engine.load(path, "tensorrt")


def test_refuses_what_is_no_checkpoint(tmp_path):
    (tmp_path / "model.h5").write_bytes(b"hello\n")
    for choice in engine.ENGINES:
        with pytest.raises(UserError, match="model.h5: is not an HDF5 file"):
            engine.load(tmp_path / "model.h5", choice)
    assert [p.name for p in tmp_path.iterdir()] == ["model.h5"]
