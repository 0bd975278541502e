"""What training accepts, loading accepts: both sides of each limit, by the parser, by TrainConfig and by the loader."""

import dataclasses
import json

import h5py
import numpy as np
import pytest

from helpers.checks import assert_one_line
from helpers.synthetic import call
from lipgan_keras import checkpoints, networks
from lipgan_keras.config import ModelConfig
from lipgan_keras.training.config import TrainConfig
from lipgan_keras.utils import cli, limits
from lipgan_keras.utils.errors import UserError

SMALL = ModelConfig("basic", "mel", 0.125)
FLAGS = ("width", "sync_frames", "audio_offset_ms", "steps", "seed")
KEPT = ("width", "sync_width", "sync_frames", "audio_offset_ms", "step")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """One whose weights nobody looks at."""
    path = tmp_path_factory.mktemp("limits") / "model.h5"
    with h5py.File(path, "w") as file:
        file.attrs["lipgan_keras"] = 2
        file["quality/conv2d/kernel"] = np.zeros((3, 3, 3, 8), "float32")
    return path


def sides(name):
    least, most = limits.LIMITS[name]
    step = 1 if isinstance(least, int) and name not in ("width", "audio_offset_ms") else 1e-6
    return (least, most), (least - step, most + step, most * 1e6)


@pytest.mark.parametrize("name", FLAGS)
def test_training_takes_what_is_in_a_range(name, tmp_path, capfd):
    for value in sides(name)[0]:
        TrainConfig("crops", **{name: value}).completed()
        assert cli.limited(name, type(value))(str(value)) == value
    for value in sides(name)[1]:
        with pytest.raises(UserError, match=f"{name} .* out of range|{name} is .*, not a whole number"):
            TrainConfig("crops", **{name: value}).completed()
        told = call(
            "train.py", "--data_root", tmp_path, f"--{name}={value!r}", "--logdir", tmp_path / "log", capfd=capfd
        )
        assert_one_line(told, f"--{name}")
    assert not (tmp_path / "log").exists()


@pytest.mark.parametrize("name", KEPT)
def test_loading_takes_what_is_in_a_range(name, checkpoint):
    def read(value):
        with h5py.File(checkpoint, "a") as file:
            file.attrs["config"] = json.dumps(dataclasses.asdict(SMALL) | {name: value})
        return checkpoints.read_config(checkpoint)

    for value in sides(name)[0]:
        assert getattr(read(value), name) == value
    for value in sides(name)[1]:
        with pytest.raises(UserError, match=f"model.h5: in its configuration {name} "):
            read(value)


@pytest.mark.parametrize("name", KEPT)
def test_nothing_is_saved_that_would_be_refused(name, tmp_path):
    for value in sides(name)[1]:
        with pytest.raises(UserError, match=f"{name} .* out of range"):
            checkpoints.save_checkpoint(tmp_path / "x.h5", {}, dataclasses.replace(SMALL, **{name: value}))
    assert not list(tmp_path.iterdir())


def test_flags_and_checkpoints_have_the_same_ranges():
    assert set(FLAGS) | set(KEPT) == set(limits.LIMITS)
    for name in ("width", "sync_width"):
        assert limits.LIMITS[name] == limits.LIMITS["width"]


def test_networks_are_built_within_the_limits():
    for network, wrong in (
        ("generator", {"width": 9.0}),
        ("sync", {"sync_width": 9.0}),
        ("sync", {"sync_frames": 1000}),
    ):
        with pytest.raises(UserError, match="out of range"):
            networks.build(dataclasses.replace(SMALL, **wrong), network)
    with pytest.raises(UserError, match="audio_offset_ms .* out of range"):
        SMALL.with_audio_offset(1e7)
