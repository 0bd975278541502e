"""How synced and unsynced pairs are told apart, and the figures that come of it."""

import json
import sys

import numpy as np
import pytest

from helpers.checks import assert_one_line
from helpers.clips import find, make_clip, make_root
from lipgan_keras import checkpoints, networks
from lipgan_keras.config import ModelConfig
from lipgan_keras.data import scoring, splits
from lipgan_keras.data.dataset import Dataset
from lipgan_keras.evaluation import sync_accuracy
from lipgan_keras.inference import models
from lipgan_keras.utils.errors import UserError

CONFIG = ModelConfig("basic", "mel", 0.125, sync_frames=3, sync_width=0.125)


def test_the_best_threshold_and_its_accuracy():
    synced, unsynced = np.array([0.9, 0.8, 0.4]), np.array([0.1, 0.5, 0.3])
    threshold = scoring.best_threshold(synced, unsynced)
    assert 0.3 < threshold < 0.4 or 0.5 < threshold < 0.8
    assert scoring.accuracy(synced, unsynced, threshold) == pytest.approx(5 / 6)
    assert scoring.accuracy(unsynced, synced, threshold) < 0.5
    assert scoring.accuracy(synced, synced, scoring.best_threshold(synced, synced)) == 0.5
    apart = np.array([2.0, 3.0]), np.array([-1.0, 1.0])
    assert scoring.accuracy(*apart, scoring.best_threshold(*apart)) == 1


def test_each_run_gives_one_synced_and_one_shifted_pair(tmp_path):
    """A judge that knows the answer is always right, a blind one half of the time."""
    make_root(tmp_path, clips=2, frames=range(30), seconds=2.0)
    config = ModelConfig("basic", "mel", sync_frames=3)
    data = Dataset(find(tmp_path), config, 2, generator=False, sync=True)

    class Knowing:
        def predict_on_batch(self, inputs):
            mouths, sounds = inputs
            right = []
            for mouth, sound in zip(mouths, sounds, strict=True):
                number = int(np.rint(mouth[24, 24, 0] * 255))
                windows = [np.moveaxis(data.windows(c, range(number, number + 3))[..., 0], 0, -1) for c in range(2)]
                right.append(any(np.array_equal(window, sound) for window in windows))
            return np.ones((len(right), 1)), np.array(right, float)[:, None]

    class Blind:
        def predict_on_batch(self, inputs):
            return np.ones((len(inputs[0]), 1))

    scores = scoring.score({"sync": Knowing(), "discriminator": Blind()}, scoring.draw(data, 30))
    assert len(scores.runs) == 30 and (scores.synced["sync"] == 1).all() and (scores.unsynced["sync"] == 0).all()
    assert scoring.held_out_accuracy(scores, scores) == {"sync": 1.0, "discriminator": 0.5}
    distance = np.abs(scores.runs[:, 1] - scores.runs[:, 2])
    assert distance.min() >= 3


@pytest.fixture
def run(monkeypatch):
    def run(*flags):
        monkeypatch.setattr(sys, "argv", ["sync_accuracy", *map(str, flags)])
        sync_accuracy.main()

    return run


@pytest.fixture
def puppets(tmp_path):
    """Preprocessed clips and the truth of each: the mouth opens with every tenth frame's end."""
    for i in range(4):
        make_clip(tmp_path / "crops" / "main" / "face" / f"{i}", frames=range(30), seconds=1.4, seed=i)
        truth = tmp_path / "videos" / "main" / "face"
        truth.mkdir(parents=True, exist_ok=True)
        opening = np.zeros(30) if i == 0 else (np.arange(30) % 10) / 10
        np.savez(truth / f"{i}.npz", opening=opening.astype("float32"))
    models = {"sync": networks.build(CONFIG, "sync"), "discriminator": networks.build_discriminator(width=0.125)}
    checkpoints.save_checkpoint(tmp_path / "both.h5", models, CONFIG)
    return tmp_path


def test_the_command(run, puppets, capsys):
    flags = ["--data_root", puppets / "crops", "--checkpoint", puppets / "both.h5", "--val_fraction", 0.8]
    run(*flags, "--puppets", puppets / "videos", "--json", puppets / "out.json")
    lines = capsys.readouterr().out.splitlines()
    assert "half of them in sync" in lines[0] and [line.split()[0] for line in lines[1:4]] == [
        "lip-sync",
        "contrastive",
        "oracle",
    ]
    results = json.loads((puppets / "out.json").read_text())
    assert set(results) == {"pairs", "clips", "sync", "discriminator", "oracle", "different_pairs"}
    assert results["clips"] == 2 and 0.5 <= results["oracle"]["all"] <= 1.0
    assert all(0 <= results[name][kind] <= 1 for name in ("sync", "discriminator") for kind in ("all", "different"))


@pytest.mark.slow
def test_the_split_is_that_of_the_training(run, puppets, capsys):
    """Without flags the checkpoint tells what was held out."""
    models = {"sync": networks.build(CONFIG, "sync")}
    lists = puppets / "lists"
    lists.mkdir()
    (lists / "train.txt").write_text("face/0\nface/1\nface/2\n")
    (lists / "val.txt").write_text("face/3\n")
    training = {"filelists": str(lists), "val_fraction": 0.05, "seed": 4}
    checkpoints.save_checkpoint(puppets / "lists.h5", models, CONFIG, None, training)
    checkpoints.save_checkpoint(
        puppets / "half.h5", models, CONFIG, None, training | {"filelists": None, "val_fraction": 0.5}
    )
    crops = find(puppets / "crops")
    kept = splits.Split.of((crops[:1], crops[2:]), 0.05).stored()
    checkpoints.save_checkpoint(puppets / "named.h5", models, CONFIG, split=kept)
    checkpoints.save_checkpoint(puppets / "unnamed.h5", models, CONFIG)
    for name, clips, why in (
        ("lists.h5", "of 1 held-out", "val.txt names, as in training"),
        ("half.h5", "of 2 held-out", "measured on 2 of 4 clips, those that the split of before held out"),
        ("named.h5", "of 2 held-out", "measured on 2 of 4 clips, those that training held out"),
        ("unnamed.h5", "of 1 held-out", "nothing is known of what"),
    ):
        run("--data_root", puppets / "crops", "--checkpoint", puppets / name, "--pairs", 20)
        out = capsys.readouterr().out
        assert clips in out and why in out


def test_the_oracle_cannot_tell_a_mouth_at_rest(puppets):
    clips = find(puppets / "crops")
    runs = np.array([[0, 3, 9], [1, 3, 13], [1, 3, 8]])
    differences = sync_accuracy.opening_differences(clips, runs, 3, puppets / "crops", puppets / "videos")
    assert differences == pytest.approx([0, 0, 0.5], abs=0.03)


@pytest.mark.slow
def test_bad_input(run, script, puppets, tmp_path):
    crops = ["--data_root", puppets / "crops"]
    with pytest.raises(UserError, match="no such file"):
        run(*crops, "--checkpoint", tmp_path / "none.h5")
    checkpoints.save_checkpoint(tmp_path / "gen.h5", {"generator": networks.build(CONFIG)}, CONFIG)
    with pytest.raises(UserError, match="gen.h5: holds neither a lip-sync nor a contrastive"):
        run(*crops, "--checkpoint", tmp_path / "gen.h5")
    with pytest.raises(UserError, match="no clip is held out"):
        run(*crops, "--checkpoint", puppets / "both.h5", "--val_fraction", 0)
    with pytest.raises(UserError, match="no truth of a puppet"):
        run(*crops, "--checkpoint", puppets / "both.h5", "--val_fraction", 0.5, "--puppets", tmp_path / "crops")
    flags = [
        "-m",
        "lipgan_keras.sync_accuracy",
        "--data_root",
        tmp_path / "nowhere",
        "--checkpoint",
        puppets / "both.h5",
    ]
    assert_one_line(script(*flags), "nowhere", "no such folder")


def test_a_checkpoint_of_the_original(golden_checkpoint):
    found, config = models.load_discriminators(golden_checkpoint("mel_discriminator.full.h5"))
    assert set(found) == {"discriminator"} and config.audio == "mel" and config.audio_offset_ms == -320
