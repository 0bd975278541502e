"""Files from elsewhere: whatever is in them, they are read or refused in one line, with little memory.

Every kind of file that a command reads is damaged by `helpers.mutations` and read by `helpers.readers`. Those whose
readers need no Keras are read in a process of their own, so that one that ends with a crash is seen.
"""

import json
import os
import subprocess
import sys
import types
import zlib

import h5py
import numpy as np
import pytest

from helpers import readers
from helpers.checks import ROOT, TESTS
from lipgan_keras import checkpoints
from lipgan_keras.config import ModelConfig
from lipgan_keras.evaluation import fid, jobs, summary, sync_accuracy, syncnet_weights
from lipgan_keras.training.callbacks import Log
from lipgan_keras.utils import h5, jsontext, npz
from lipgan_keras.utils.errors import UserError

TIMES = 12  # damages of a kind of file; `readers.py` by itself does as many as are asked for


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    readers.make(folder)
    return folder


@pytest.fixture
def checkpoint(good, tmp_path):
    path = tmp_path / "model.h5"
    path.write_bytes((good / "checkpoint.h5").read_bytes())
    return path


@pytest.mark.slow
def test_damaged_files_are_read_or_refused(good):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(TESTS)])}
    command = [sys.executable, str(TESTS / "helpers" / "readers.py"), str(good), str(TIMES), "7"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    *failures, last = map(json.loads, done.stdout.splitlines())
    assert not failures and last == {"failures": 0}, failures[:3]


def read_syncnet(path):
    variable = readers.Weight("kernel", (3, 4))
    layer = types.SimpleNamespace(name="conv_0", weights=[variable])
    syncnet_weights.load_weights({"lip": types.SimpleNamespace(layers=[layer])}, path)


def read_log(path):
    log = object.__new__(Log)
    log.logdir, log.columns, log.run = path.parent, ["step", "mae"], types.SimpleNamespace(step=4)
    log._cut_log()


def read_features(path):
    """As a video's record has them."""
    job, settings = jobs.Job("a"), types.SimpleNamespace(out=path.parent.parent)
    assert job.place(settings.out, ".fid.npz") == path
    summary._fid(settings, [job], [{"status": "ok"}])


# {kind: (file, what reads it)}, with Keras
LOADED = {
    "syncnet": ("syncnet.h5", read_syncnet),
    "log": ("log.csv", read_log),
    "features": ("videos/a.fid.npz", read_features),
    "puppet": ("puppet.npz", lambda path: sync_accuracy.true_opening(path.parent / "puppet", path.parent, path.parent)),
    "results": ("results.json", readers.read_results),
}


@pytest.mark.slow
def test_damaged_files_are_read_or_refused_by_what_loads_keras(good, monkeypatch):
    monkeypatch.setattr(fid, "FEATURES", 3)
    monkeypatch.setattr(fid.Statistics.__init__, "__defaults__", (3,))
    with h5py.File(good / "syncnet.h5", "w") as file:
        file.attrs["lipgan_keras_syncnet"] = 1
        file["lip/conv_0/kernel"] = np.zeros((3, 4), "f4")
    (good / "log.csv").write_text("step,mae\n2,0.5\n4,0.25\n6,0.2\n", encoding="utf-8")
    (good / "videos").mkdir()
    np.savez(good / "videos" / "a.fid.npz", truth=np.ones((4, 3), "f4"), generated=np.zeros((4, 3), "f4"))
    for name, read in LOADED.values():
        read(good / name)
    monkeypatch.setattr(readers.read_results, "pages", True)
    found = [failure for kind in LOADED for failure in readers.attack(good, TIMES, 7, [kind], LOADED, memory=4 << 30)]
    assert not found, found[:3]


def test_weights_that_are_not_finite_are_named(checkpoint):
    with h5py.File(checkpoint, "a") as file:
        file["generator/conv2d_2/bias"][3] = np.nan
    with pytest.raises(UserError, match="model.h5: /generator/conv2d_2/bias holds infinite numbers or NaN"):
        checkpoints.load_weights(readers.network("generator"), checkpoint)


@pytest.mark.parametrize(
    ("link", "words"),
    [
        (h5py.SoftLink("/generator"), "links to other files or places"),
        (h5py.ExternalLink("other.h5", "x"), "links to other files or places"),
    ],
)
def test_links_at_any_level_are_refused(checkpoint, link, words):
    """Also where nobody would look: `read_config` needs nothing but an attribute."""
    with h5py.File(checkpoint, "a") as file:
        file["a/b/c/d"] = link
    with pytest.raises(UserError, match=words):
        checkpoints.read_config(checkpoint)


def test_groups_within_themselves_are_refused(checkpoint):
    with h5py.File(checkpoint, "a") as file:
        file["generator/again"] = file["generator"]
    with pytest.raises(UserError, match="holds .* twice"):
        checkpoints.read_networks(checkpoint)


def test_arrays_that_declare_terabytes_are_refused(checkpoint):
    with h5py.File(checkpoint, "a") as file:
        file.create_dataset("optimizers/x", (2**20, 2**20), "f4", chunks=(512, 512), compression="gzip")
    with pytest.raises(UserError, match=r"declares /optimizers/x of 1048576x1048576, over 4 GiB"):
        checkpoints.read_config(checkpoint)


def test_compressed_pieces_that_become_more_than_they_say_are_refused(checkpoint):
    with h5py.File(checkpoint, "a") as file:
        del file["generator/conv2d_2/kernel"]
        made = file.create_dataset("generator/conv2d_2/kernel", (3, 3, 8, 64), "f4", chunks=True, compression="gzip")
        made.id.write_direct_chunk((0, 0, 0, 0), zlib.compress(bytes(1 << 26)))
    with pytest.raises(UserError, match="/generator/conv2d_2/kernel cannot be read"):
        checkpoints.load_weights(readers.network("generator"), checkpoint)


def test_a_network_that_is_not_there_is_not_built(checkpoint, monkeypatch):
    """4 is within the limits, and would take 3 GB."""
    with h5py.File(checkpoint, "a") as file:
        file.attrs["config"] = json.dumps(vars(ModelConfig("basic", width=4.0)))
    with pytest.raises(UserError, match="model.h5: .* width of 4, and it holds .* weights, too few"):
        checkpoints.load_generator(checkpoint)


def test_a_file_that_has_changed_is_looked_through_again(checkpoint):
    checkpoints.read_config(checkpoint)
    with h5py.File(checkpoint, "a") as file:
        file["late"] = h5py.SoftLink("/")
    with pytest.raises(UserError, match="links"), h5.opened(checkpoint, ""):
        pass


def test_npz_members_that_lie_are_refused(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros(1 << 20), y=np.ones(3))
    with pytest.raises(UserError, match=r"a.npz: holds 8 MiB, and 1 are the most; preprocess it again"):
        npz.read(tmp_path / "a.npz", most_bytes=1 << 20)
    assert npz.read(tmp_path / "a.npz", ["y"], most_bytes=1 << 20)[0]["y"].tolist() == [1, 1, 1]
    np.savez(tmp_path / "b.npz", x=np.array([{}], object))
    with pytest.raises(UserError, match="b.npz: cannot be read .x is object"):
        npz.read(tmp_path / "b.npz", ["x"])


@pytest.mark.parametrize("text", ["[" * 3000, '{"a":' * 40 + "1" + "}" * 40, "NaN", "1e999", "9" * 30, '"\\u0000"'])
def test_json_that_is_no_plain_data_is_refused(text):
    with pytest.raises(ValueError, match=r"deep|levels|number|large|zero"):
        jsontext.parse(text)
