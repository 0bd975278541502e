"""What every command has in common: nothing that it did not write is written over."""

import os
import shutil

import cv2
import numpy as np
import pytest

from helpers import synthetic
from helpers.checks import assert_one_line
from helpers.clips import make_root
from lipgan_keras import checkpoints, networks
from lipgan_keras.config import ModelConfig
from lipgan_keras.face.photos import shipped_photos
from lipgan_keras.media import audio_file

CONFIG = ModelConfig("basic", "mel", 0.125)
FOREIGN = b"precious, and of somebody else"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A folder with generator.h5, run.h5 (which train.py goes on from), face.png, speech.wav, face.mp4 and clips/."""
    folder = tmp_path_factory.mktemp("inputs")
    models = {"generator": networks.build(CONFIG)}
    checkpoints.save_checkpoint(folder / "generator.h5", models, CONFIG)
    checkpoints.save_checkpoint(folder / "run.h5", models, CONFIG, training={"seed": 0})
    cv2.imwrite(str(folder / "face.png"), np.full((96, 96, 3), 128, np.uint8))
    audio_file.save_wav(folder / "speech.wav", np.zeros(8000, np.float32))
    (folder / "face.mp4").write_bytes(FOREIGN)
    make_root(folder / "clips", clips=1)
    return folder


COMMANDS = [
    # The command, {0} is what it is to write; its suffix; which of the inputs it is to refuse
    ("lipgan_keras.checkpoints export {i}/generator.h5 {0}", ".h5", "generator.h5"),
    ("lipgan_keras.checkpoints export {i}/generator.h5 {0}", ".h5", "run.h5"),
    ("lipgan_keras.checkpoints convert {i}/generator.h5 {0}", ".h5", "generator.h5"),
    ("lipgan_keras.sync_accuracy --checkpoint {i}/run.h5 --data_root {i}/clips --json {0}", "", "run.h5"),
    ("lipgan_keras.syncnet score {i}/face.mp4 --weights {i}/run.h5 --json {0}", ".json", "face.mp4"),
    ("lipgan_keras.syncnet convert {i}/run.h5 {0}", ".h5", "run.h5"),
    ("lipgan_keras.judging summarise {i}/face.mp4 --json {0}", ".json", None),
    ("lipgan_keras.report {i}/face.mp4 --out {0}", ".html", None),
    ("lipgan_keras.demo --photo {i}/face.png --outfile {0}", ".mp4", None),
    ("lipgan_keras.live --face {i}/face.mp4 --audio {i}/speech.wav --sink {0}", ".mp4", "face.mp4"),
    ("inference.py --face {i}/face.mp4 --audio {i}/speech.wav --outfile {0}", ".mp4", "face.mp4"),
    ("inference.py --face {i}/face.png --audio {i}/speech.wav --outfile {i}/new.mp4 --preview {0}", ".png", "face.png"),
    ("preprocess.py --final_data_root {i}/clips --pack {0}", ".pack", "face.mp4"),
    ("preprocess.py --final_data_root {i}/clips --pack {0}", "", "clips/main/video/clip0/0.jpg"),
]


@pytest.mark.parametrize("command, suffix, own", COMMANDS)
def test_inputs_and_foreign_files_are_not_written_over(inputs, tmp_path, capfd, command, suffix, own):
    foreign, link = tmp_path / f"foreign{suffix}", tmp_path / f"link{suffix}"
    foreign.write_bytes(FOREIGN)
    outs = [foreign]
    if own:
        os.link(inputs / own, link)
        outs += [link, inputs / own]
    for out in outs:
        before = out.read_bytes()
        assert_one_line(synthetic.call(*command.format(out, i=inputs).split(), capfd=capfd), f"{out}: ")
        assert out.read_bytes() == before
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")] and not (inputs / "new.mp4").exists()


def test_a_photo_that_is_called_as_the_sound_of_the_demo(inputs, tmp_path, capfd):
    photo = shutil.copy(inputs / "face.png", tmp_path / "a_sound.wav")
    result = synthetic.call("lipgan_keras.demo", "--photo", photo, "--outfile", tmp_path / "a.mp4", capfd=capfd)
    assert_one_line(result, "a_sound.wav: is an input too")


def test_folders_of_others(inputs, tmp_path, capfd):
    files = ("results/notes.txt", "run/log.csv", "puppets/main/astronaut/00001.mp4", "others/results.json")
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(FOREIGN if "json" not in name else b'{"name": "mine"}')
    flags = ["--checkpoint", inputs / "generator.h5", "--data_root", inputs / "clips", "--baseline", "frozen"]
    for folder, name in (("results", "notes.txt"), ("others", "results.json")):
        result = synthetic.call("evaluate.py", *flags, "--out", tmp_path / folder, capfd=capfd)
        assert_one_line(result, f"{tmp_path / folder}: holds {name}")
    result = synthetic.call(
        "train.py", "--data_root", inputs / "clips", "--logdir", tmp_path / "run", "--seed", 1, capfd=capfd
    )
    assert_one_line(result, "log.csv: is there already")
    photo = shipped_photos()["astronaut"]
    result = synthetic.call(
        "lipgan_keras.puppets", "--out", tmp_path / "puppets", "--clips", 1, "--photo", photo, capfd=capfd
    )
    assert_one_line(result, "00001.mp4: is there, but no clip of a puppet")
    for name in files:
        assert (tmp_path / name).read_bytes() in (FOREIGN, b'{"name": "mine"}')


def test_an_output_of_before_is_replaced(inputs, tmp_path, capfd):
    out, pack = tmp_path / "out.h5", tmp_path / "clips.pack"
    for _ in range(2):
        made = synthetic.call("lipgan_keras.checkpoints", "export", inputs / "run.h5", out, capfd=capfd)
        assert made.returncode == 0, made.stderr
        made = synthetic.call("preprocess.py", "--final_data_root", inputs / "clips", "--pack", pack, capfd=capfd)
        assert made.returncode == 0, made.stderr
