"""The original LipGAN's command lines, of both its branches, with every flag that its scripts know."""

import shutil

import pytest

from helpers import synthetic
from helpers.checks import ROOT
from lipgan_keras import lipsync
from lipgan_keras.data import preprocess
from lipgan_keras.training import trainer
from lipgan_keras.utils import original_flags

SHIPPED = ROOT / "lipgan_keras" / "weights" / "lipsync.h5"


@pytest.fixture
def told(monkeypatch):
    """What the trainer and the preprocessing were told."""
    found = []
    monkeypatch.setattr(trainer, "train", found.append)
    monkeypatch.setattr(preprocess, "preprocess", lambda options, *_: found.append(options) or [])
    return found


@pytest.fixture
def crops(tmp_path):
    """A folder of one preprocessed clip."""
    clip = tmp_path / "crops" / "train" / "video" / "00001"
    clip.mkdir(parents=True)
    for name in ("0.jpg", "audio.wav"):
        (clip / name).touch()
    return tmp_path / "crops"


TRAINING = ["--model", "basic", "--checkpoint_freq", 500, "--batch_size", 16, "--lr", "5e-4", "--img_size", 96]
TRAINING += ["--epochs", 20000000, "--n_gpu", 1]


def test_train(told, crops, tmp_path, capfd):
    files = ["--resume_gen", SHIPPED, "--resume_disc", SHIPPED, "--all_images", "filenames.pkl"]
    result = synthetic.call(
        "train.py", "--data_root", crops, "--logdir", tmp_path / "logs", *files, *TRAINING, capfd=capfd
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr.splitlines() == [
        "train.py: --all_images filenames.pkl: no list of images is kept here, the folder is looked through each time"
    ]
    (options,) = told
    assert (options.recipe, options.model, options.lr, options.devices) == ("lipgan", "basic", 5e-4, 1)
    assert options.resume_gen == options.resume_disc == str(SHIPPED)


def test_train_unet(told, crops, tmp_path, capfd):
    files = ["--resume", SHIPPED, "--checkpoint_name", "unet.h5", "--all_images", "filenames.pkl"]
    result = synthetic.call(
        "train_unet.py", "--data_root", crops, "--logdir", tmp_path / "logs", *files, *TRAINING, capfd=capfd
    )
    assert result.returncode == 0, result.stderr
    assert "train_unet.py: --checkpoint_name unet.h5: is checkpoint.h5 here, in --logdir\n" in result.stderr
    assert len(result.stderr.splitlines()) == 2
    assert (told[0].recipe, told[0].resume_gen) == ("unet", str(SHIPPED))
    synthetic.call("train_unet.py", "--data_root", crops, capfd=capfd)
    assert told[1].completed().lr == 1e-3 and told[1].logdir == "logs/"


def test_names_of_the_original_s_checkpoints(told, crops, tmp_path, capfd):
    """A script that goes on from logs/gen.h5 finds what train.py wrote there."""
    logs = tmp_path / "logs"
    logs.mkdir()
    shutil.copy(SHIPPED, logs / "checkpoint.h5")
    flags = ["--data_root", crops, "--logdir", tmp_path / "more", "--resume_gen", logs / "gen.h5"]
    result = synthetic.call("train.py", *flags, "--resume_disc", logs / "disc.h5", capfd=capfd)
    assert result.returncode == 0 and len(result.stderr.splitlines()) == 2
    used = f"{logs}/gen.h5: is not there; {logs}/checkpoint.h5, which train.py writes, is used\n"
    assert result.stderr.startswith(used)
    assert told[0].resume_gen == told[0].resume_disc == str(logs / "checkpoint.h5")
    assert original_flags.checkpoint(str(logs / "other.h5")) == str(logs / "other.h5")


def test_preprocess(told, tmp_path, capfd):
    flags = ["--split", "pretrain", "--num_workers", 10, "--filelists", tmp_path, "--img_size", 96]
    result = synthetic.call(
        "preprocess.py", "--videos_data_root", tmp_path, "--final_data_root", tmp_path / "out", *flags, capfd=capfd
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert told[0].split == "pretrain"


INFERENCE = ["--face_det_checkpoint", "mmod.dat", "--mat", "a.mat", "--fps", 25, "--max_sec", 240, "--pads", 0, 0, 0, 0]
INFERENCE += ["--face_det_batch_size", 64, "--lipgan_batch_size", 256, "--n_gpu", 1, "--img_size", 96]


@pytest.mark.parametrize("model, static", [("residual", "True"), ("basic", "False")])
def test_batch_inference(monkeypatch, tmp_path, capfd, model, static):
    """The line about --model comes where the checkpoint holds another; the result has the original's name."""
    made = []

    class Summary:
        complete = True

    def run(self, face, audio, outfile, progress, **options):
        made.append((face, audio, outfile, options["static"]))
        return Summary()

    monkeypatch.setattr(lipsync.LipSync, "run", run)
    face, audio = tmp_path / "face.jpg", tmp_path / "speech.wav"
    face.touch(), audio.touch()
    files = ["--checkpoint_path", SHIPPED, "--face", face, "--audio", audio, "--results_dir", tmp_path]
    result = synthetic.call("batch_inference.py", *files, "--model", model, "--static", static, *INFERENCE, capfd=capfd)
    assert result.returncode == 0, result.stderr
    assert made == [(str(face), str(audio), str(tmp_path / "result_voice.mp4"), static == "True")]
    lines = result.stderr.splitlines()
    assert [line.split(": ")[1].split()[0] for line in lines[:3]] == [
        "--face_det_checkpoint",
        "--mat",
        "--face_det_batch_size",
    ]
    other = f"batch_inference.py: --model residual: {SHIPPED} holds basic mel, decoder warp, width 0.5"
    assert [line.startswith(other) for line in lines[3:]] == [True] * (model == "residual")
