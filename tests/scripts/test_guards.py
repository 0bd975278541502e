"""What every command has in common: nothing that it did not write is written over."""

import os
import resource
import shutil
import signal
import threading

import cv2
import numpy as np
import pytest

from helpers import synthetic
from helpers.checks import assert_one_line
from helpers.clips import make_root
from lipgan_keras import checkpoints, networks
from lipgan_keras.config import ModelConfig
from lipgan_keras.data import clip_folder, look_through, pack, preprocess
from lipgan_keras.evaluation import fid, mean_opinion, report, syncnet_weights
from lipgan_keras.face.photos import shipped_photos
from lipgan_keras.inference import batch
from lipgan_keras.media import audio_file, probe, video_reader, video_writer
from lipgan_keras.puppets import demo, phones, photos, speech, utterance
from lipgan_keras.puppets.face_model import FaceModel
from lipgan_keras.utils import plugin, tables
from lipgan_keras.utils.errors import UserError

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
    ("lipgan_keras.checkpoints export {i}/generator.h5 {0} --format openvino", ".xml", "generator.h5"),
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


def test_the_sound_of_an_earlier_demo_is_known(inputs, tmp_path):
    for seconds in (1, 1.5, 2.03):
        wave, *_ = speech.synthesise_speech(seconds, np.random.default_rng(demo.SOUND_SEED))
        audio_file.save_wav(tmp_path / "a_sound.wav", wave)
        assert demo._is_sound(tmp_path / "a_sound.wav")
    assert not demo._is_sound(inputs / "speech.wav") and not demo._is_sound(inputs / "face.png")


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


@pytest.mark.parametrize(
    "command",
    [
        "lipgan_keras.checkpoints export {i}/run.h5 {0}",
        "preprocess.py --final_data_root {i}/clips --pack {0}",
    ],
)
def test_a_full_disc_is_said_of_the_output(inputs, tmp_path, capfd, command):
    out = tmp_path / "out"
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, before[1]))
    try:
        result = synthetic.call(*command.format(out, i=inputs).split(), capfd=capfd)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert_one_line(result, f"{out}: File too large; free some space")
    assert os.listdir(tmp_path) == []


# --------------------------------------------------------------------------------------- pipes that nobody writes to

READERS = {
    "checkpoint": checkpoints.read_config,
    "sound": audio_file.load_audio,
    "sound in memory": audio_file.pcm,
    "sound of a video": lambda path: video_writer.VideoWriter(path.parent / "new.mp4", 64, 64, 25, audio=path),
    "face": probe.probe,
    "picture": video_reader.read_image,
    "photo": photos.load_puppet,
    "clips": pack.clip_folders,
    "list": pack.read_list,
    "list of videos": lambda path: preprocess.find_videos(path.parent, path.stem, path.parent),
    "list of pairs": lambda path: tables.lines(path, "a list", ""),
    "table": lambda path: batch.read_pairs(path, path.parent),
    "answers": mean_opinion.read,
    "results": report.load,
    "weights of SyncNet": lambda path: syncnet_weights.load_weights({}, path),
    "SyncNet": lambda path: syncnet_weights.convert(path, path.parent / "new.h5"),
    "InceptionV3": fid.Inception,
    "phones": phones.read,
    "sentences": utterance.read_texts,
    "face model": FaceModel.load,
    "plugin": plugin.run,
}


def in_time(work, *arguments):
    """What it returns or raises, unless it waits for a pipe."""
    ended = []

    def run():
        try:
            ended.append(work(*arguments))
        except BaseException as error:  # noqa: BLE001 - handed on
            ended.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive(), "waits"
    return ended[0]


@pytest.mark.parametrize("name", READERS)
def test_a_pipe_is_refused_by_whatever_reads_it(tmp_path, name):
    path = tmp_path / "pipe.txt"
    os.mkfifo(path)
    result = in_time(READERS[name], path)
    if name == "sound in memory":
        assert result is None
    else:
        assert isinstance(result, UserError) and str(result) == f"{path}: is a pipe; give a file", result


def test_a_pipe_in_a_clip(tmp_path):
    root = make_root(tmp_path / "clips", clips=1)
    folder = next(path.parent for path in root.rglob("0.jpg"))
    clip = clip_folder.Clip(folder)
    for name in ("0.jpg", "audio.wav", "landmarks.npz"):
        (folder / name).unlink()
        os.mkfifo(folder / name)
    for name, work, argument in (("0.jpg", clip.read, "0.jpg"), ("landmarks.npz", clip_folder.Clip, folder)):
        result = in_time(work, argument)
        assert isinstance(result, UserError) and str(result).startswith(f"{folder / name}: "), result
    assert "not made by this program" in in_time(preprocess.finished, folder, 96)
    assert in_time(look_through.look_through, [clip])[0] == {0: [0]}
    broken = {}
    assert in_time(look_through.hearable, [clip], broken) == [] and "is a pipe" in broken[folder]


@pytest.mark.parametrize(
    "command",
    [
        "inference.py --face {0} --audio {0}",
        "inference.py --batch {0}",
        "lipgan_keras.live --face {1} --audio {0} --sink {0}.mp4",
        "lipgan_keras.checkpoints info {0}",
        "evaluate.py --generated {0} --truth {0}",
        "train.py --data_root {0} --logdir {2}",
    ],
)
def test_a_pipe_on_the_command_line(inputs, tmp_path, capfd, command):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    words = command.format(path, inputs / "face.png", tmp_path / "logs").split()
    assert_one_line(synthetic.call(*words, capfd=capfd), f"{path}: is a pipe; give a file")
