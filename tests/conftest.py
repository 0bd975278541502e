"""Fixtures that every wing shares, markers, and the number of processes."""

import fcntl
import lzma
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import runs
from helpers.checks import GOLDEN, ROOT, TESTS


def pytest_configure(config):
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a background job of a shell; scripts would ignore it too
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("markers", "real: needs real clips, in the folder that LIPGAN_CLIPS names")
    runs.use_own_cache(config)
    config.addinivalue_line("markers", "slow: takes seconds; left out by -m 'not slow'")
    if "PYTEST_XDIST_WORKER" in os.environ:  # processes share the cores, so that each needs one thread
        os.environ |= dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"), "1")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """Up to 4, for the memory's sake (1.5 GB each)."""
    return runs.processes(config, 4)


@pytest.fixture(autouse=True)
def same_weights():
    """Each test begins with the same random state, from which Keras draws the weights of new networks."""
    random.seed(0)


@pytest.fixture
def golden():
    return GOLDEN


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    """A function: name, function that fills an empty folder -> that folder, which the processes of a run share.

    One process fills it and the others wait, so that a costly fixture takes its time once. Nobody may change it.
    """
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "made_once"

    def folder(name, make):
        shared.mkdir(exist_ok=True)
        place, done = shared / name, shared / f"{name}.done"
        with open(shared / f"{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                shutil.rmtree(place, ignore_errors=True)  # half of it, where its making failed
                place.mkdir()
                make(place)
                done.touch()
        return place

    return folder


@pytest.fixture(scope="module")
def small_blocks(tmp_path_factory):
    """A plugin with the blocks "small" of a quick generator, which are there for the tests of a module."""
    from lipgan_keras import blocks

    # A copy, as a file of the same path and content is run but once.
    path = shutil.copy(TESTS / "helpers" / "small_blocks.py", tmp_path_factory.mktemp("plugin"))
    blocks.load_plugin(path)
    yield path
    for kind, registered in blocks.REGISTRY.items():
        del registered["small"], blocks.FILES[kind, "small"]


@pytest.fixture(scope="session")
def golden_checkpoint(tmp_path_factory):
    """A function: name -> path of the decompressed Keras 2.2.4 checkpoint."""
    folder = tmp_path_factory.mktemp("checkpoints")

    def path(name):
        target = folder / name
        if not target.exists():
            target.write_bytes(lzma.decompress((GOLDEN / f"{name}.xz").read_bytes()))
        return target

    return path


@pytest.fixture
def real_clips():
    if "LIPGAN_CLIPS" not in os.environ:
        pytest.skip("LIPGAN_CLIPS is not set")
    return Path(os.environ["LIPGAN_CLIPS"])


@pytest.fixture
def eagerly():
    """Tiny runs are over before TensorFlow would have traced a graph."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture
def script(tmp_path):
    """A function: run a script (or, with "-m", a module) of the project in an empty folder."""

    def run(*arguments, env=None, cwd=tmp_path, timeout=300):
        arguments = [str(a) for a in arguments]
        if arguments[0].endswith(".py"):
            arguments[0] = str(ROOT / arguments[0])
        environment = os.environ | {"PYTHONPATH": str(ROOT)} | (env or {})
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=cwd,
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run
