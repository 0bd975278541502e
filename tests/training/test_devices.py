"""train.py on several devices and hosts with JAX: the losses of one device, a kill, and what cannot be."""

import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from helpers.backends import without_tensorflow
from helpers.clips import make_root
from helpers.logdirs import arrays_of, rows_of
from lipgan_keras.config import BLOCKS
from lipgan_keras.training import command, devices
from lipgan_keras.utils import backend
from lipgan_keras.utils.errors import UserError

PATIENCE = 400  # seconds; machines that run tests are busy
pytestmark = [pytest.mark.slow, pytest.mark.timeout(4 * PATIENCE)]

# The step of generator and lip-sync discriminator: the former's runs divide among no two devices, the rest does.
JOINT = ["--recipe", "lipsync", "--quality_weight", "0", "--ema", "0.9", "--sync_frames", "2"]
TINY = ["--width", 0.125, "--batch_size", 12, "--checkpoint_freq", 1, "--val_fraction", 0.25, "--num_workers", 1]
# The runs of a process one after another: `train.py`, and then flags, again and again.
DRIVER = """
import functools, os, sys, jax, train
from lipgan_keras.utils import cli
seconds = int(os.environ["HEARTBEAT"])
jax.distributed.initialize = functools.partial(jax.distributed.initialize, heartbeat_timeout_seconds=seconds)
runs = " ".join(sys.argv[1:]).split(" -- ")
for flags in runs:
    sys.argv = ["train.py", *flags.split(" ")]
    cli.run(train.main)
assert not {"tensorflow", "mtcnn"} & sys.modules.keys()
"""


@pytest.fixture(scope="module")
def flags(tmp_path_factory, small_blocks):
    root = make_root(tmp_path_factory.mktemp("clips"), frames=range(20, 34))
    blocks = [word for kind in BLOCKS for word in (f"--{kind}", "small")]
    return list(map(str, [*TINY, "--plugin", small_blocks, *blocks, "--data_root", root]))


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A function: start runs of train.py in one process, on so many virtual devices.

    Of a host that says nothing for `heartbeat` seconds JAX thinks that it has ended, and aborts those that wait for it.
    """
    pytest.importorskip("jax")
    folder, started = tmp_path_factory.mktemp("jax"), []
    (folder / "driver").write_text(DRIVER)
    env = os.environ | without_tensorflow(folder) | {"JAX_COMPILATION_CACHE_DIR": str(folder / "cache")}
    # Compiles sooner, and once: `two` and the hosts that start again find it done.
    env |= {"JAX_DISABLE_MOST_OPTIMIZATIONS": "true", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}

    def run(*arguments, virtual=1, heartbeat=10):
        flags = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={virtual}", "HEARTBEAT": str(heartbeat)}
        process = subprocess.Popen(
            [sys.executable, str(folder / "driver"), *map(str, arguments)],
            env=env | flags,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def ended(process):
    stdout, stderr = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, stderr
    return stdout


@pytest.fixture(scope="module")
def runs(flags, start, tmp_path_factory):
    """A folder with the logdirs of runs of 5 steps: of the joint step `one` on one device, and `two` on two, which went
    on after 3; `plain` of the generator alone, on one device.
    """
    folder = tmp_path_factory.mktemp("runs")
    plain = [*flags, "--recipe", "unet", "--logdir", folder / "plain", "--steps", 5, "--"]
    one = [*flags, *JOINT, "--logdir", folder / "one", "--steps", 5, "--"]
    two = [*flags, *JOINT, "--logdir", folder / "two", "--devices", 2, "--steps"]
    stdout = ended(start(*plain, *one, *two, 3, "--", *two, 5, virtual=2))
    assert "on 2 devices" in stdout and "goes on from step 3" in stdout
    return folder


def assert_alike(logdir, other):
    """The same losses and validation; the same weights, but for roundings that Adam's first steps enlarge."""
    rows, others = rows_of(logdir), rows_of(other)
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5] == [row["step"] for row in others]
    for row, theirs in zip(rows, others, strict=True):
        for values in (row, theirs):
            values.pop("val_sync_accuracy", None)  # of few pairs, each of which roundings may turn
        assert row == pytest.approx(theirs, rel=1e-3, abs=1e-3)
    arrays, their_arrays = (arrays_of(place / "checkpoint.h5") for place in (logdir, other))
    assert len(arrays) > 50
    for name in arrays:
        np.testing.assert_allclose(arrays[name], their_arrays[name], atol=2e-3, err_msg=name)


def two_hosts(start, flags, logdir, steps, **options):
    """Two processes that train together on this machine; options of `start`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{free.getsockname()[1]}"
    ours = [*flags, "--recipe", "unet", "--logdir", logdir, "--steps", steps, "--hosts", 2, "--coordinator", place]
    return [start(*ours, "--host_id", number, **options) for number in (0, 1)]


def wait_for_checkpoint(process, logdir):
    end = time.monotonic() + PATIENCE
    while not (logdir / "checkpoint.h5").exists():
        assert time.monotonic() < end and process.poll() is None, process.communicate()
        time.sleep(0.01)


def test_two_devices_do_what_one_does(runs):
    assert_alike(runs / "two", runs / "one")


def test_two_hosts_and_a_kill(runs, flags, start, tmp_path):
    """One of two processes is killed; both are started again, and end as if nothing had been. Number 0 alone writes."""

    def both():
        return two_hosts(start, flags, tmp_path / "log", 5)

    first, second = both()
    wait_for_checkpoint(first, tmp_path / "log")
    second.send_signal(signal.SIGKILL)
    _, stderr = first.communicate(timeout=PATIENCE)
    assert first.returncode and "another host has ended, or is out of reach; start all of them again" in stderr, stderr
    first, second = both()
    assert "on 2 devices of 2 hosts" in ended(first) and "steps" not in ended(second)  # what Gloo prints is there
    assert_alike(tmp_path / "log", runs / "plain")
    assert len(list((tmp_path / "log").glob("events.*"))) == 2


def test_sigterm_ends_a_host_that_waits_for_another(flags, start, tmp_path):
    """It waits in native code, where Python's handlers do not run."""
    # Longer than all else here: JAX must not be sooner.
    first, second = two_hosts(start, flags, tmp_path / "log", 10000, heartbeat=PATIENCE)
    wait_for_checkpoint(first, tmp_path / "log")
    second.send_signal(signal.SIGSTOP)
    time.sleep(1)  # now the first is in a step that the second has no part in
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=PATIENCE)
    assert first.returncode == 128 + signal.SIGTERM
    assert (tmp_path / "log" / "checkpoint.h5").exists() and not list((tmp_path / "log").glob(".*partial*"))


def test_what_is_divided():
    """Keras asks about a part's shape alone: nothing is divided whose part is as long as what is whole."""
    assert devices.divisible({96, 9, 288, 1}, 4, 1) == {96, 288}
    assert devices.divisible({96, 9, 288, 1}, 8, 2) == {96, 288}
    assert devices.divisible({16, 3, 6, 24}, 8, 4) == {16}  # 24 / 4 is as long as the whole 6
    assert devices.divisible({16, 6, 24, 4}, 8, 4) == set()


@pytest.mark.parametrize(
    "name, asked, words",
    [
        ("tensorflow", {"devices": 2}, "--devices 2: KERAS_BACKEND=tensorflow trains on one device.*KERAS_BACKEND=jax"),
        ("tensorflow", {"devices": 1, "hosts": 2}, "--hosts: .*KERAS_BACKEND=jax"),
        ("jax", {"devices": 999}, "--devices 999: JAX sees"),
        ("jax", {"devices": 1, "hosts": 2}, "--hosts 2: goes with --host_id, 0 to 1"),
        ("jax", {"devices": 1, "hosts": 2, "host_id": 2}, "--hosts 2: goes with --host_id, 0 to 1"),
        ("jax", {"devices": 1, "hosts": 2, "host_id": 0}, "--hosts 2: goes with --coordinator"),
        ("jax", {"devices": 1, "hosts": 2, "host_id": 0, "coordinator": "here"}, "--coordinator"),
    ],
)
def test_what_cannot_be(monkeypatch, name, asked, words):
    pytest.importorskip("jax")
    monkeypatch.setattr(backend, "BACKEND", name)
    with pytest.raises(UserError, match=words), devices.opened(**asked):
        pass


def test_a_batch_that_does_not_divide():
    with pytest.raises(UserError, match="--batch_size 10: does not divide among 4 devices; use 8, for example"):
        devices.Devices([f"cpu:{number}" for number in range(4)]).check(10)


def test_the_originals_name_of_the_flag(monkeypatch, tmp_path):
    make_root(tmp_path, clips=1, frames=range(12, 14))
    told = []
    monkeypatch.setattr("lipgan_keras.training.trainer.train", told.append)
    monkeypatch.setattr("sys.argv", ["train.py", "--data_root", str(tmp_path), "--n_gpu", "2"])
    command.main()
    assert told[0].devices == 2
