"""What is wrong is said before Keras is loaded, which takes most of the seconds that a command has to start."""

import json
import subprocess
import sys

import pytest

from helpers.backends import blocked
from helpers.checks import ROOT
from helpers.clips import make_root
from lipgan_keras import TrainConfig
from lipgan_keras.utils.errors import UserError

# Runs main() of modules one after another, where neither Keras nor what it computes with can be imported.
DRIVER = """
import contextlib, importlib, io, json, sys
from lipgan_keras.utils import cli
said = []
for module, *arguments in json.loads(sys.argv[1]):
    sys.argv = [module, *arguments]
    with contextlib.redirect_stderr(io.StringIO()) as stderr, contextlib.redirect_stdout(io.StringIO()):
        try:
            cli.run(importlib.import_module(module).main)
            code = 0
        except SystemExit as end:
            code = end.code
    said.append([code, stderr.getvalue()])
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with what is none of what its name says, an empty folder, and clips to train on."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "empty").mkdir()
    (folder / "bad.jpg").write_text("no picture")
    (folder / "bad.h5").write_bytes(bytes(range(256)) * 20)
    make_root(folder / "clips", frames=range(14, 18))
    return folder


def test_before_keras_is_loaded(files):
    bad, empty, clips = files / "bad.h5", files / "empty", files / "clips"
    cases = {
        ("train", "--data_root", files / "none"): "no such folder",
        ("train", "--data_root", empty): "holds no preprocessed clip",
        ("train", "--data_root", bad): "is no pack of clips",
        ("train", "--data_root", clips, "--filelists", empty): "has no train.txt",
        ("train", "--data_root", clips, "--resume_gen", bad): "is not an HDF5 file",
        ("train", "--data_root", clips, "--recipe", "sync", "--resume_sync", files / "none.h5"): "no such file",
        ("train", "--data_root", clips, "--freeze_norm"): "name it with --resume_gen",
        ("preprocess", "--videos_data_root", empty, "--final_data_root", files / "out"): "holds no video file",
        ("inference", "--face", files / "bad.jpg", "--audio", bad): "is a text file",
        ("inference", "--face", bad, "--audio", bad): "is not a picture or a video",
        ("inference", "--face", files / "bad.jpg", "--audio", bad, "--checkpoint_path", bad): "is not an HDF5 file",
        ("evaluate", "--checkpoint", bad, "--data_root", clips): "is not an HDF5 file",
        ("evaluate", "--checkpoint", bad, "--data_root", clips, "--order", "face_sound"): "columns of --filelist",
        ("evaluate", "--checkpoint", bad, "--data_root", clips, "--whole_frames"): "are crops of faces",
        ("lipgan_keras.sync_accuracy", "--checkpoint", bad, "--data_root", clips): "is not an HDF5 file",
        ("lipgan_keras.syncnet", "score", "--weights", bad, bad): "is not an HDF5 file",
        ("lipgan_keras.exports.command", "info", bad): "is not an HDF5 file",
        ("lipgan_keras.exports.command", "export", bad, files / "out", "--format", "onnx"): "is not an HDF5 file",
    }
    commands = json.dumps([list(map(str, command)) for command in cases])
    program = blocked("keras", "tensorflow", "jax", "torch", "mtcnn") + DRIVER
    result = subprocess.run(
        [sys.executable, "-c", program, commands], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr
    for (command, words), (code, stderr) in zip(cases.items(), json.loads(result.stdout), strict=True):
        assert code == 2 and words in stderr and stderr.count("\n") == 1, (command, code, stderr)


def test_a_run_that_goes_on_needs_no_more_what_it_began_with(files, tmp_path):
    options = TrainConfig(str(files / "clips"), logdir=str(tmp_path), resume_gen=str(files / "none.h5"))
    with pytest.raises(UserError, match=r"none\.h5: no such file"):
        options.check_files()
    (tmp_path / "checkpoint.h5").touch()
    options.check_files()
