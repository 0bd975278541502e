"""train.py: its files, exact resumption on both backends, and what it says about bad input."""

import dataclasses
import json
import os
import re
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event

import train as script_module
from helpers.backends import without_tensorflow
from helpers.checks import ROOT, assert_one_line
from helpers.clips import make_clip, make_root
from helpers.logdirs import arrays_of, rows_of
from lipgan_keras import checkpoints, gan, networks
from lipgan_keras.config import BLOCKS, ModelConfig
from lipgan_keras.data import clip_folder, splits
from lipgan_keras.data.clip_folder import Clip
from lipgan_keras.data.dataset import Dataset
from lipgan_keras.data.loader import Loader
from lipgan_keras.gan import LipGAN
from lipgan_keras.training import callbacks, trainer
from lipgan_keras.training import config as training_config
from lipgan_keras.training import validation as training_validation
from lipgan_keras.training.config import TrainConfig
from lipgan_keras.training.validation import Validation
from lipgan_keras.utils import errors as utils_errors
from lipgan_keras.utils.backend import keras
from lipgan_keras.utils.errors import UserError

pytestmark = [pytest.mark.filterwarnings("ignore:Even though the `tf.config"), pytest.mark.slow]

TINY = ["--model", "basic", "--width", "0.125", "--batch_size", "4", "--val_fraction", "0.25"]
LOSSES = ["disc", "unsync", "sync", "total", "mae", "lip_mae", "lip_share", "adv"]
VALIDATION = ["val_mae", "val_lip_mae", "val_lip_mae_wrong_sound", "val_disc_accuracy"]


@pytest.fixture(scope="module")
def root(made_once):
    # No black images, on which the paper's instance normalisation has gradients beyond float32.
    return made_once("clips_to_train_on", lambda folder: make_root(folder, frames=range(20, 34)))


@pytest.fixture
def train(root, monkeypatch):
    """A function: run train.py's `main` in this process."""

    def run(logdir, *flags, data_root=root):
        flags = [*TINY, "--data_root", data_root, "--logdir", logdir, *flags]
        monkeypatch.setattr(sys, "argv", ["train.py", *map(str, flags)])
        script_module.main()

    return run


JOINT = ["--recipe", "lipgan", "--steps", "12", "--checkpoint_freq", "4"]


@pytest.fixture(scope="module")
def whole_run(root, made_once):
    """A folder with the logdir `log` of a run, and the file `traces`: how often it ran the Python code of its step."""

    def make(folder):
        traces, step = [], LipGAN._iteration
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(LipGAN, "_iteration", lambda *args: traces.append(1) or step(*args))
            flags = [*TINY, "--data_root", root, "--logdir", folder / "log", *JOINT]
            patch.setattr(sys, "argv", ["train.py", *map(str, flags)])
            script_module.main()
        (folder / "traces").write_text(str(len(traces)))

    return made_once("whole_run", make)


@pytest.fixture(scope="module")
def unbroken(whole_run, tmp_path_factory):
    """The logdir of a run that nothing happened to; this process's own copy, as a training locks its logdir."""
    return shutil.copytree(whole_run / "log", tmp_path_factory.mktemp("unbroken") / "log")


@pytest.fixture(scope="module")
def small(small_blocks):
    """Flags of a generator that takes a fraction of the time, for what does not depend on the generator."""
    return ["--plugin", small_blocks, *(word for kind in BLOCKS for word in (f"--{kind}", "small"))]


@pytest.fixture
def small_start(small, tmp_path):
    """A checkpoint of the generator of `small`, whose normalisation has statistics of its own."""
    config = ModelConfig("basic", "mel", 0.125, **dict.fromkeys(BLOCKS, "small"))
    generator, rng = networks.build(config), np.random.default_rng(0)
    for layer in generator.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in layer.get_weights()])
    checkpoints.save_checkpoint(tmp_path / "start.h5", {"generator": generator}, config)
    return tmp_path / "start.h5"


def assert_same_rows(rows, others):
    assert len(rows) == len(others)
    for row, other in zip(rows, others, strict=True):
        assert row == pytest.approx(other, rel=1e-5, abs=1e-5)


def events_of(logdir):
    """Every TensorBoard event: records of length, its checksum, bytes, their checksum."""
    events = []
    for path in sorted(logdir.glob("events.out.tfevents.*")):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            events.append(Event.FromString(data[12 : 12 + length]))
            data = data[16 + length :]
    return events


def no_stray_files(logdir):
    files = {path.name for path in logdir.rglob("*") if path.is_file()}
    samples = {path.name for path in (logdir / "samples").iterdir()}
    rest = {name for name in files - samples if not name.startswith("events.out.tfevents.")}
    return rest - {".lock", "looked_through.json"} == {"checkpoint.h5", "log.csv"} and all(
        name.startswith("step_") for name in samples
    )


def test_what_a_run_leaves(unbroken):
    assert no_stray_files(unbroken)
    rows = rows_of(unbroken)
    assert [row["step"] for row in rows] == [4, 8, 12] and list(rows[0]) == ["step", *LOSSES, *VALIDATION]
    assert all(np.isfinite(list(row.values())).all() for row in rows)

    scalars, images = {}, []
    for event in events_of(unbroken):
        for value in event.summary.value:
            if value.HasField("image"):
                images.append((event.step, value.image))
            else:
                scalars[event.step, value.tag] = value.simple_value
    expected = {(row["step"], name): value for row in rows for name, value in row.items() if name != "step"}
    assert scalars == pytest.approx(expected, rel=1e-6)
    assert [step for step, _ in images] == [4, 8, 12]

    grid = cv2.imread(str(unbroken / "samples" / "step_00000012.png"))
    assert grid.shape == (8 * 96, 4 * 96, 3)
    assert np.array_equal(cv2.imdecode(np.frombuffer(images[-1][1].encoded_image_string, "uint8"), 1), grid)
    identity, masked, truth, output = np.split(grid[:96], 4, axis=1)
    assert np.array_equal(masked[:48], truth[:48]) and not masked[48:].any()
    assert truth.std() == 0 and abs(int(identity[0, 0, 0]) - int(truth[0, 0, 0])) >= 6 and output.std() > 0

    config = checkpoints.read_config(unbroken / "checkpoint.h5")
    assert config == ModelConfig("basic", "mel", 0.125, step=12, sync_width=0.125)
    assert checkpoints.read_training(unbroken / "checkpoint.h5")["recipe"] == "lipgan"


def test_the_step_is_traced_once(whole_run):
    """Neither validation nor a checkpoint makes it be traced again."""
    assert (whole_run / "traces").read_text() == "1"


def test_both_optimizers_and_the_batch_statistics_move(unbroken):
    arrays = arrays_of(unbroken / "checkpoint.h5")
    assert arrays["optimizers/generator/0000"] == 12
    assert arrays["optimizers/discriminator/0000"] == 24
    means = [array for name, array in arrays.items() if name.endswith("/moving_mean")]
    assert means and all(array.any() for array in means)


def start(logdir, root, *flags, env=None):
    flags = [*TINY, "--data_root", root, "--logdir", logdir, *flags]
    return subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *map(str, flags)],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | (env or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(process, what, seconds=200):
    end = time.monotonic() + seconds
    while not what():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.002)


def test_a_killed_run_goes_on_as_if_it_had_not_been(unbroken, root, train, tmp_path):
    """SIGKILL while a checkpoint is being written."""
    logdir = tmp_path / "log"
    killed = start(logdir, root, *JOINT)
    wait_for(killed, lambda: (logdir / "checkpoint.h5").exists())
    wait_for(killed, lambda: any(logdir.glob(".checkpoint.*")))
    killed.kill()
    killed.communicate()
    step = checkpoints.read_config(logdir / "checkpoint.h5").step
    assert step in (4, 8)
    with open(logdir / "log.csv", "a") as file:
        file.write("9,0.1,0.")  # a row cut short
    (logdir / ".log.stray.tmp.csv").write_text("")
    (logdir / "samples" / ".step_00000008.stray.tmp.png").write_text("")

    train(logdir, *JOINT)
    assert_same_rows(rows_of(logdir), rows_of(unbroken))
    assert no_stray_files(logdir)
    one, other = arrays_of(logdir / "checkpoint.h5"), arrays_of(unbroken / "checkpoint.h5")
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_allclose(one[name], other[name], atol=1e-5, err_msg=name)
    starts = [event.step for event in events_of(logdir) if event.HasField("session_log")]
    assert starts == [1, step + 1]  # TensorBoard drops what came from there on, and only that


def test_one_run_at_a_time_until_the_user_interrupts_it(root, train, tmp_path, small):
    logdir = tmp_path / "log"
    process = start(logdir, root, *small, "--recipe", "unet", "--steps", 100_000, "--checkpoint_freq", 4)
    wait_for(process, lambda: (logdir / "checkpoint.h5").exists())
    holder = f"on {socket.gethostname()}, process {process.pid}, since 2"
    with pytest.raises(UserError, match=rf"log: another training is under way there \({holder}.*--logdir"):
        train(logdir, "--recipe", "unet", "--steps", 100_000)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors and "Error" not in errors, errors
    assert checkpoints.read_config(logdir / "checkpoint.h5").step >= 4 and no_stray_files(logdir)


def test_a_state_of_other_kinds_is_not_resumed(train, unbroken, tmp_path):
    for change, words in (
        ({"batch_size": "4"}, "batch_size is '4', not a whole number"),
        ({"augment": [1]}, r"augment is \[1\], not a list or null"),
        ({"lip_means": [0.1]}, r"lip_means is \[0.1\], not a list"),
    ):
        logdir = shutil.copytree(unbroken, tmp_path / "log", dirs_exist_ok=True)
        with h5py.File(logdir / "checkpoint.h5", "a") as file:
            file.attrs["training"] = json.dumps(json.loads(file.attrs["training"]) | change)
        with pytest.raises(UserError, match=f"checkpoint.h5: in what it says of its training {words}"):
            train(logdir, *JOINT)


def test_more_steps_than_at_first(train, tmp_path, eagerly, capsys, small):
    flags = [*small, "--recipe", "unet", "--checkpoint_freq", "2", "--val_fraction", "0"]
    train(tmp_path / "one", *flags, "--steps", "5")
    one = rows_of(tmp_path / "one")
    assert [row["step"] for row in one] == [2, 4, 5] and list(one[0]) == [
        "step",
        "total",
        "mae",
        "lip_mae",
        "lip_share",
    ]
    train(tmp_path / "two", *flags, "--steps", "3")
    train(tmp_path / "two", *flags, "--steps", "5")
    two = rows_of(tmp_path / "two")
    assert [row["step"] for row in two] == [2, 3, 4, 5]
    assert_same_rows([two[0], two[3]], [one[0], one[2]])
    assert (two[1]["mae"] + two[2]["mae"]) / 2 == pytest.approx(one[1]["mae"], rel=1e-5)
    capsys.readouterr()
    train(tmp_path / "two", *flags, "--steps", "5")
    assert "has 5 steps already" in capsys.readouterr().out


# Every part that there is, with short runs of frames.
WHOLE = ["--recipe", "lipsync", "--disc_weight", 0.01, "--sync_frames", 2]
OPTIMISED = ["--ema", 0.6, "--lr_schedule", "cosine", "--warmup", 2, "--clipnorm", 0.5]
WHOLE_LOSSES = ["disc", "unsync", "sync", "match", "quality", "total", "mae", "lip_mae", "lip_share"]


@pytest.fixture
def kept(monkeypatch):
    """From now on every checkpoint is kept under its step's number besides."""
    save = checkpoints.save_checkpoint

    def save_and_keep(path, models, config, *rest):
        save(path, models, config, *rest)
        shutil.copy(path, path.with_name(f"kept{config.step}.h5"))

    monkeypatch.setattr(checkpoints, "save_checkpoint", save_and_keep)


def assert_goes_on(train, unbroken, step, flags):
    """From the checkpoint that was `kept` at a step, a run ends with the state and the rows of the unbroken one."""
    resumed = unbroken.with_name(f"resumed{step}")
    resumed.mkdir()
    shutil.copy(unbroken / f"kept{step}.h5", resumed / "checkpoint.h5")
    shutil.copy(unbroken / "log.csv", resumed)
    train(resumed, *flags)
    one, other = (arrays_of(logdir / "checkpoint.h5") for logdir in (unbroken, resumed))
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_allclose(one[name], other[name], atol=1e-5, err_msg=name)
    assert_same_rows(rows_of(resumed), rows_of(unbroken))
    means = [checkpoints.read_training(logdir / "checkpoint.h5")["lip_means"] for logdir in (unbroken, resumed)]
    assert means[0] == pytest.approx(means[1], rel=1e-5)


def test_all_networks_go_on_exactly(train, tmp_path, eagerly, kept, monkeypatch, small):
    """With every part that there is, and the running means behind the share."""
    monkeypatch.setattr(training_validation, "SOUND_USED", 0.0)  # at the first checkpoint
    flags = [*small, *WHOLE, *OPTIMISED, "--lip_share", 0.3, "--checkpoint_freq", 1, "--steps", 3]
    unbroken = tmp_path / "unbroken"
    train(unbroken, *flags)
    rows = rows_of(unbroken)
    held = [checkpoints.read_networks(unbroken / f"kept{step}.h5") for step in (1, 2, 3)]
    assert held == [["discriminator", "generator", "sync"], *2 * [["discriminator", "generator", "quality", "sync"]]]
    assert ["quality" in row for row in rows] == [False, True, True]
    assert set(WHOLE_LOSSES) <= set(rows[-1]) and {"val_sync_accuracy", "val_disc_accuracy", "lip_weight"} <= set(
        rows[-1]
    )
    last = arrays_of(unbroken / "kept3.h5")
    assert last["optimizers/quality/0000"] == 3 - 1
    # The averages are what a checkpoint gives, the weights are kept beside them.
    assert {name.split("/")[1] for name in last if name.startswith("raw/")} == {"generator", "sync"}
    average = last["generator/conv2d_1/kernel"]
    found = [name for name in last if not name.startswith("generator") and np.array_equal(average, last[name])]
    assert [name.split("/")[:2] for name in found] == [["optimizers", "generator"]]
    for step in (1, 2):
        assert_goes_on(train, unbroken, step, flags)
    assert min(checkpoints.read_training(unbroken / "checkpoint.h5")["lip_means"]) > 0


def test_frozen_normalisation_goes_on_exactly(train, small_start, tmp_path, eagerly, kept, small):
    flags = [*small, "--recipe", "unet", "--ema", 0.6, "--freeze_norm", "--resume_gen", small_start]
    flags += ["--checkpoint_freq", 2, "--steps", 4]
    train(tmp_path / "unbroken", *flags)
    assert_goes_on(train, tmp_path / "unbroken", 2, flags)
    given, one = (arrays_of(path) for path in (small_start, tmp_path / "unbroken" / "checkpoint.h5"))
    same = {name for name in given if name.startswith("generator/") and np.allclose(given[name], one[name], atol=1e-7)}
    assert same == {name for name in given if name.startswith("generator/batch_normalization")} != set()


def test_a_part_that_starts_between_checkpoints_goes_on_exactly(train, tmp_path, eagerly, kept, small):
    flags = [*small, "--recipe", "lipsync", "--sync_weight", 0]
    flags += ["--checkpoint_freq", 2, "--steps", 4, "--quality_start", 3]
    unbroken = tmp_path / "unbroken"
    train(unbroken, *flags)
    assert [checkpoints.read_networks(unbroken / f"kept{step}.h5") for step in (2, 4)] == [
        ["generator"],
        ["generator", "quality"],
    ]
    last = arrays_of(unbroken / "kept4.h5")
    assert last["optimizers/quality/0000"] == 4 - 3
    assert_goes_on(train, unbroken, 2, flags)


def test_an_expert_is_trained_and_then_frozen(train, tmp_path, eagerly, capsys, small):
    flags = ["--sync_frames", 2, "--checkpoint_freq", 2, "--width", 0.125]
    train(tmp_path / "sync", "--recipe", "sync", *flags, "--steps", 2)
    expert = tmp_path / "sync" / "checkpoint.h5"
    assert checkpoints.read_networks(expert) == ["sync"] and not (tmp_path / "sync" / "samples").exists()
    assert list(rows_of(tmp_path / "sync")[-1]) == ["step", "match", "val_sync_accuracy"]

    train(
        tmp_path / "log", "--recipe", "lipsync", "--sync_mode", "expert", "--resume_sync", expert, "--width", 0.25,
        "--checkpoint_freq", 2, "--steps", 2, "--quality_weight", 0, *small,
    )  # fmt: skip
    before, after = arrays_of(expert), arrays_of(tmp_path / "log" / "checkpoint.h5")
    mine = [name for name in after if name.startswith("sync/")]
    assert mine and all(np.array_equal(before[name], after[name]) for name in mine)
    assert not any(name.startswith("optimizers/sync") for name in after)
    config = checkpoints.read_config(tmp_path / "log" / "checkpoint.h5")
    assert (config.width, config.sync_width, config.sync_frames) == (0.25, 0.125, 2)
    assert "match" not in rows_of(tmp_path / "log")[-1] and "match_adv" in rows_of(tmp_path / "log")[-1]


def test_the_documents_say_whose_each_column_of_the_log_is():
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8").split("## Log columns")[1].split("\n## ")[0]
    named = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    whole = TrainConfig("", recipe="lipsync", disc_weight=0.01, lip_share=0.4).completed()
    models = dict.fromkeys(("generator", "sync", "discriminator"))
    assert len(named) == len(set(named))
    assert set(named) == {*callbacks._columns(whole, True), *training_validation.columns_of(models)}


def test_parts_that_do_not_go_together(train, unbroken, tmp_path):
    def refused(match, *flags, data_root=None):
        options = {} if data_root is None else {"data_root": data_root}
        with pytest.raises(UserError, match=match) as error:
            train(tmp_path / "log", *flags, **options)
        assert "\n" not in str(error.value)

    ours = unbroken / "checkpoint.h5"
    refused("holds no lip-sync discriminator .it holds: discriminator and generator", *WHOLE, "--resume_sync", ours)
    refused("no such file", *WHOLE, "--resume_sync", tmp_path / "none.h5")
    refused("--sync_mode expert: needs the checkpoint", "--recipe", "lipsync", "--sync_mode", "expert")
    refused("--resume_sync .*no lip-sync discriminator", "--recipe", "unet", "--resume_sync", ours)
    refused("--lip_share makes its own --lip_weight", "--lip_share", 0.5, "--lip_weight", 3)
    refused("--sync_frames 40: no clip", "--recipe", "sync", "--sync_frames", 40)
    refused("batch_size 4 holds no run of 5 frames", "--recipe", "lipsync")
    refused("--recipe sync has no generator", "--recipe", "sync", "--resume_gen", ours)
    refused("--lip_weight: --recipe sync trains the lip-sync", "--recipe", "sync", "--lip_weight", 2)
    refused("--quality_start: there is no visual-quality", "--recipe", "lipgan", "--quality_start", 2)
    refused("--freeze_norm: keeps the statistics .* --resume_gen", "--recipe", "unet", "--freeze_norm")
    refused("--freeze_norm: --recipe sync has no generator", "--recipe", "sync", "--freeze_norm")
    refused("--sync_mode expert: there is no lip-sync", "--recipe", "unet", "--sync_mode", "expert")
    refused("--augment none: goes with no other", "--recipe", "unet", "--augment", "none", "flip")
    refused("--lr_schedule cosine: ends with the last step", "--recipe", "unet", "--lr_schedule", "cosine")
    refused("--warmup 9: is not over", "--recipe", "unet", "--warmup", 9, "--steps", 9)
    refused("--augment voice", "--audio", "mfcc", "--augment", "voice")
    refused("add --augment noise", "--recipe", "unet", "--noise_dir", tmp_path)
    noise = ["--recipe", "lipsync", "--sync_frames", 2, "--noise_dir"]
    refused("no such folder", *noise, tmp_path / "none")
    (tmp_path / "silent").mkdir()
    (tmp_path / "silent" / "notes.txt").write_text("no sound")
    refused("silent: ", *noise, tmp_path / "silent")
    assert not (tmp_path / "log" / "checkpoint.h5").exists()


def test_lip_weight_zero_is_off(prepared, tmp_path):
    assert prepared(tmp_path / "a", "--recipe", "unet", "--lip_weight", 0)[0].weighting.lips == 1
    assert prepared(tmp_path / "b", "--recipe", "unet", "--lip_weight", 3)[0].weighting.lips == 3


def test_folders_without_landmarks_are_named_once(train, tmp_path, eagerly, capsys, small):
    root = make_root(tmp_path / "data", layout="wav2lip")
    train(tmp_path / "log", *small, "--recipe", "unet", "--steps", 4, "--checkpoint_freq", 2, data_root=root)
    assert capsys.readouterr().out.count("have no landmarks") == 1


DRIVER = """
import shutil, sys
from pathlib import Path
import train
from lipgan_keras import checkpoints

save = checkpoints.save_checkpoint
def save_and_keep(path, models, config, *rest):
    save(path, models, config, *rest)
    shutil.copy(path, path.with_name(f"kept{config.step}.h5"))

checkpoints.save_checkpoint = save_and_keep
unbroken, resumed = Path("unbroken"), Path("resumed")
flags = sys.argv[1:]
sys.argv = ["train.py", "--logdir", str(unbroken), *flags]
train.main()
resumed.mkdir()
shutil.copy(unbroken / "kept2.h5", resumed / "checkpoint.h5")
shutil.copy(unbroken / "log.csv", resumed)
sys.argv = ["train.py", "--logdir", str(resumed), *flags]
train.main()
assert not {"tensorflow", "mtcnn"} & sys.modules.keys()
"""


def test_jax_without_tensorflow(script, root, small_start, tmp_path, small):
    """Weights and all optimizers' state are the step's when a checkpoint is written in the midst of `fit`.

    With every part that there is, and the generator's normalisation frozen; the reference's step alone runs in
    test_gan.py.
    """
    pytest.importorskip("jax")
    (tmp_path / "driver").write_text(DRIVER)
    env = without_tensorflow(tmp_path) | {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache")}
    env["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "true"  # compiles sooner
    flags = [*TINY, *small, "--data_root", root, *WHOLE, *OPTIMISED, "--lip_share", 0.3, "--quality_start", 1]
    flags += ["--checkpoint_freq", 2, "--steps", 4, "--freeze_norm", "--resume_gen", small_start]
    result = script(tmp_path / "driver", *flags, env=env)
    assert result.returncode == 0, result.stderr
    assert_same_rows(rows_of(tmp_path / "resumed"), rows_of(tmp_path / "unbroken"))
    early, one = (arrays_of(tmp_path / "unbroken" / f"kept{step}.h5") for step in (2, 4))
    other = arrays_of(tmp_path / "resumed" / "checkpoint.h5")
    for name in one:
        np.testing.assert_allclose(one[name], other[name], atol=1e-5, err_msg=name)
        if name.split("/")[-1] in ("kernel", "moving_mean", "moving_variance"):
            frozen = name.startswith("generator/batch_normalization")
            assert frozen == np.allclose(one[name], early[name], rtol=1e-6, atol=0), name
    steps = {"generator": (2, 4), "discriminator": (4, 8), "sync": (2, 4), "quality": (1, 3)}  # it starts after a step
    for network, both in steps.items():
        assert (early[f"optimizers/{network}/0000"], one[f"optimizers/{network}/0000"]) == both
    shares = [checkpoints.read_training(tmp_path / "unbroken" / f"kept{step}.h5")["lip_means"] for step in (2, 4)]
    assert all(0 < early < later for early, later in zip(*shares, strict=True))


def test_fit_runs_the_step_of_train_iteration(unbroken, root, monkeypatch):
    """The first batches of a run of `fit`, given to `train_iteration` by hand: the losses of the first row."""
    clips = clip_folder.find_clips(root, "mel", progress=False)
    data = Dataset(splits.split_clips(clips, 0.25)[0], ModelConfig("basic"), 4)
    keras.utils.set_random_seed(0)
    generator = networks.build_generator("basic", width=0.125)
    model = LipGAN(generator, networks.build_discriminator(width=0.125))
    losses = []
    for number in range(4):
        (batch,) = data.batch(number)
        monkeypatch.setattr(gan, "unsynced_order", lambda same, order=batch["unsynced"]: order)
        coin = bool(batch["train_on_fakes"][0])
        losses.append(model.train_iteration(batch["faces"], batch["audio"], batch["targets"], coin, batch["masks"]))
    row = rows_of(unbroken)[0]
    means = {name: np.mean([step[name] for step in losses]) for name in LOSSES}
    # Adam's first steps amplify rounding, which depends on the number of threads.
    assert means == pytest.approx({name: row[name] for name in LOSSES}, rel=3e-4, abs=1e-7)


class Fitted(Exception):
    pass


@pytest.fixture
def prepared(train, monkeypatch):
    """A function: everything that train.py does before the first step; returns the LipGAN and its configuration."""

    def fit(model, *arguments, callbacks, **options):
        raise Fitted(model, callbacks[0].run.config)

    monkeypatch.setattr(LipGAN, "fit", fit)

    def run(*arguments, **options):
        with pytest.raises(Fitted) as caught:
            train(*arguments, **options)
        return caught.value.args

    return run


def test_where_there_is_a_gpu_processes_make_the_batches(train, tmp_path, eagerly, monkeypatch, small):
    for module in (trainer, callbacks):
        monkeypatch.setattr(module, "has_gpu", lambda: True)
    loaders = []
    loader = Loader
    monkeypatch.setattr(
        callbacks, "Loader", lambda *args, **options: loaders.append(loader(*args, **options)) or loaders[-1]
    )
    flags = [*small, "--recipe", "unet", "--steps", 2, "--num_workers", 2]
    train(tmp_path / "log", *flags)
    assert checkpoints.read_config(tmp_path / "log" / "checkpoint.h5").step == 2
    assert [(loader.workers, loader.blocks is not None) for loader in loaders] == [(2, True)]
    for module in (trainer, callbacks):
        monkeypatch.setattr(module, "has_gpu", lambda: False)
    train(tmp_path / "threads", *flags)
    assert [loader.blocks is not None for loader in loaders] == [True, False]
    assert_same_rows(rows_of(tmp_path / "log"), rows_of(tmp_path / "threads"))


def test_resume_gen_and_disc_load_weights_only(prepared, train, unbroken, golden_checkpoint, tmp_path):
    ours = unbroken / "checkpoint.h5"
    stored = arrays_of(ours)
    model, config = prepared(tmp_path / "a", "--steps", 9, "--resume_gen", ours, "--resume_disc", ours)
    assert config.step == 0 and config.alignment == "centred"
    for name, network in model.models.items():
        for layer, weights in checkpoints.model_weights(network).items():
            for key, variable in weights.items():
                np.testing.assert_array_equal(np.array(variable), stored[f"{name}/{layer}/{key}"])
        assert int(model.optimizers[name].iterations) == 0
    model, _ = prepared(tmp_path / "a", "--steps", 9)
    first = next(name for name in stored if name.startswith("generator/") and name.endswith("/kernel"))
    assert not np.array_equal(np.array(model.generator.get_weights()[0]), stored[first])

    # A file of Keras 2.2.4 hears what it heard when it was trained.
    theirs = golden_checkpoint("mel_basic.full.h5")
    flags = ["--steps", 9, "--recipe", "unet", "--width", 1]
    model, config = prepared(tmp_path / "b", *flags, "--resume_gen", theirs)
    expected, _ = checkpoints.load_generator(theirs)
    for mine, other in zip(model.generator.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, other)
    assert (config.alignment, config.audio_offset_ms, config.step) == ("released_training", 0.0, 0)
    _, config = prepared(
        tmp_path / "c", *flags, "--resume_gen", theirs, "--alignment", "released", "--audio_offset_ms", -320
    )
    assert (config.alignment, config.audio_offset_ms) == ("released", -320.0)

    with pytest.raises(
        UserError, match="mel_basic.full.h5: does not fit .*; the file holds a basic mel generator, width 1"
    ):
        train(tmp_path / "d", "--steps", 9, "--resume_gen", theirs)
    with pytest.raises(UserError, match="mel_basic.full.h5: does not fit the mel discriminator"):
        train(tmp_path / "d", "--steps", 9, "--resume_disc", theirs)
    with pytest.raises(UserError, match="has no contrastive discriminator"):
        train(tmp_path / "d", "--steps", 9, "--recipe", "unet", "--resume_disc", ours)
    with pytest.raises(UserError, match="no such file"):
        train(tmp_path / "d", "--steps", 9, "--resume_gen", tmp_path / "none.h5")


def test_the_crop_is_that_of_the_data(prepared, tmp_path, capfd):
    assert prepared(tmp_path / "a", "--steps", 9)[1].crop == "lipgan_keras"
    theirs = make_root(tmp_path / "theirs", layout="lipgan_mel")
    assert prepared(tmp_path / "b", "--steps", 9, data_root=theirs)[1].crop == "dlib"
    steady = make_root(tmp_path / "steady", steady=True)
    assert prepared(tmp_path / "c", "--steps", 9, data_root=steady)[1].crop == "steady"
    assert "crops and not" not in capfd.readouterr().err
    make_clip(steady / "main" / "video" / "other", seed=5, steady=False)
    assert prepared(tmp_path / "d", "--steps", 9, "--val_fraction", 0, data_root=steady)[1].crop == "steady"
    assert "1 of 5 clips have lipgan_keras crops and not steady ones; preprocess all" in capfd.readouterr().err


@pytest.mark.parametrize(
    "flag, value",
    [("seed", 7), ("batch_size", 5), ("lip_weight", 2.0), ("augment", "flip"), ("lip_share", 0.5), ("sync_frames", 3)]
    + [("recipe", "unet"), ("model", "residual"), ("width", 0.25), ("audio", "mfcc")]
    + [("audio_offset_ms", 40), ("ema", 0.5), ("warmup", 3), ("clipnorm", 2.0)],
)
def test_the_logdir_of_another_run(train, unbroken, flag, value):
    with pytest.raises(UserError, match=rf"checkpoint.h5: belongs to a run with --{flag} .*, not {value}"):
        train(unbroken, "--steps", 100, f"--{flag}", value)


@pytest.fixture
def other_data(unbroken, root, train, tmp_path, capsys):
    """A function: go on from `unbroken` with a copy of its clips, which lies in `crops`; what it prints."""
    shutil.copytree(unbroken, tmp_path / "log")
    shutil.copytree(root, tmp_path / "crops")

    def run(*flags):
        capsys.readouterr()
        train(tmp_path / "log", *JOINT, *flags, data_root=tmp_path / "crops")
        return capsys.readouterr().out

    return run


def test_going_on_with_other_data(other_data, train, unbroken, root, tmp_path):
    """Refused, or said where clips were only added, or are no longer there to train on."""
    video = tmp_path / "crops" / "main" / "video"
    held_out = sorted(checkpoints.read_split(unbroken / "checkpoint.h5")["held_out"])
    assert held_out == ["video/clip1", "video/clip2"]
    printed = other_data()
    assert "added" not in printed and f"was trained on clips below {root}, not {tmp_path / 'crops'}; those" in printed
    with pytest.raises(UserError, match="checkpoint.h5: belongs to a run with --val_fraction 0.25, not 0.5"):
        other_data("--val_fraction", 0.5)
    (tmp_path / "train.txt").write_text("video/clip0\nvideo/clip1\nvideo/clip2\n")
    with pytest.raises(UserError, match="checkpoint.h5: belongs to a run with --filelists unset, not"):
        other_data("--filelists", tmp_path)
    make_clip(video / "clip5", frames=range(20, 34), seed=5)  # whose hash holds it out
    (video / "clip5" / "source.txt").write_text("video/clip3")  # but not that of what it was made of
    assert "log: 1 clips were added, 1 to train on and 0 held out" in other_data()
    shutil.rmtree(video / "clip0")
    assert "1 of the 2 clips that it was trained on are no longer there" in other_data()
    shutil.rmtree(video / "clip2")
    with pytest.raises(UserError, match="checkpoint.h5: video/clip2, which this run has held out, is no longer there"):
        other_data()
    theirs = make_root(tmp_path / "theirs", frames=range(20, 34))
    (theirs / "main" / "video").rename(theirs / "main" / "another")
    with pytest.raises(UserError, match="checkpoint.h5: video/clip1, .* is no longer there, and 1 more"):
        train(tmp_path / "log", *JOINT, data_root=theirs)


def test_a_run_from_before_goes_on_with_its_old_split(other_data, root, tmp_path, eagerly):
    """Where the checkpoint does not name its held-out clips."""
    with h5py.File(tmp_path / "log" / "checkpoint.h5", "a") as file:
        del file["split"]
        training = json.loads(file.attrs["training"]) | {"filelists": None, "val_fraction": 0.25}
        file.attrs["training"] = json.dumps(training)
    with pytest.raises(UserError, match="checkpoint.h5: belongs to a run with --val_fraction 0.25, not 0.5"):
        other_data("--val_fraction", 0.5)
    printed = other_data("--steps", 13)
    assert printed.count("is from before held-out clips were named; they are those of the split of before") == 1
    assert "3 clips (0.0 min; real: 1 speaker, 0.0 min) to train on, 1 held out" in printed
    kept = checkpoints.read_split(tmp_path / "log" / "checkpoint.h5")
    _, (held_out,) = splits.permuted_split(clip_folder.find_clips(root, "mel"), 0.25, 0)
    assert list(kept["held_out"]) == [held_out.name] and kept["rule"] == splits.BEFORE
    make_clip(tmp_path / "crops" / "main" / "video" / "clip4", frames=range(20, 34), seed=5)
    printed = other_data("--steps", 13)  # from now on by name
    assert "1 clips were added, 1 to train on and 0 held out" in printed and "from before" not in printed


def test_what_the_weights_were_trained_on_stays_known(prepared, unbroken, tmp_path, capsys):
    """By a run that begins with them, which says where it holds out what they have seen."""
    ours = unbroken / "checkpoint.h5"
    theirs = make_root(tmp_path / "theirs", frames=range(20, 34))
    flags = ["--recipe", "unet", "--resume_gen", ours, "--steps", 2]
    prepared(tmp_path / "log", *flags, data_root=theirs)
    assert "held out now" not in capsys.readouterr().out
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "train.txt").write_text("video/clip1\n")
    (lists / "val.txt").write_text("video/clip3\nvideo/clip2\n")
    prepared(tmp_path / "log", *flags, "--filelists", lists, data_root=theirs)
    assert f"{ours}: was trained on 1 of the 2 clips that are held out now" in capsys.readouterr().out
    (lists / "train.txt").write_text("video/clip1\nvideo/clip3\n")
    prepared(tmp_path / "log", *flags, "--filelists", lists, data_root=theirs)
    assert "lists: 1 of the 2 clips that val.txt names are trained on too" in capsys.readouterr().out


def test_clips_that_are_left_out_are_counted(prepared, tmp_path, capsys):
    root = make_root(tmp_path / "data", frames=range(20, 34))
    make_clip(root / "main" / "short" / "0", frames=range(11))
    make_clip(root / "main" / "mute" / "0", "lipgan_mfcc")
    prepared(tmp_path / "log", "--steps", 9, data_root=root)
    out = capsys.readouterr().out
    assert "data: 2 of 6 clips are left out: 1 with under 12 frames, 1 with no sound for --audio mel\n" in out


def test_a_damaged_checkpoint_in_the_logdir(train, unbroken, tmp_path):
    shutil.copy(unbroken / "checkpoint.h5", tmp_path)
    os.truncate(tmp_path / "checkpoint.h5", 100_000)
    with pytest.raises(UserError, match="checkpoint.h5: is not an HDF5 file, or is cut short"):
        train(tmp_path, *JOINT)
    shutil.copy(unbroken / "checkpoint.h5", tmp_path)
    with h5py.File(tmp_path / "checkpoint.h5", "a") as file:
        file.attrs["training"] = json.dumps([1])[:-1]
    with pytest.raises(UserError, match="checkpoint.h5: "):
        train(tmp_path, *JOINT)
    for wrong in (np.frombuffer(b'{"rule": 3', "uint8"), np.frombuffer(b"{}", "uint8"), np.zeros(3)):
        shutil.copy(unbroken / "checkpoint.h5", tmp_path)
        with h5py.File(tmp_path / "checkpoint.h5", "a") as file:
            del file["split"]
            file["split"] = wrong
        with pytest.raises(UserError, match="checkpoint.h5: what it says of held-out clips cannot be read"):
            train(tmp_path, *JOINT)


def test_files_that_turn_out_bad_are_passed_over(train, tmp_path, small, capfd):
    """Those whose ends tell it at the start, others in the end; and a clip without sound is left out."""
    root = make_root(tmp_path / "data", clips=5)
    data = Dataset(clip_folder.find_clips(root, "mel", progress=False), ModelConfig("basic"), 4)
    late = {data._target(i) for i in range(60, 70)} - {data._target(i) for i in range(60)}
    assert late
    folder = root / "main" / "video"
    clip, frame = min(late)
    (folder / f"clip{clip}" / f"{frame}.jpg").write_text("text")
    cut = folder / f"clip{clip}" / f"{(frame + 1) % 14}.jpg"
    cut.write_bytes(cut.read_bytes()[:-100])
    shutil.copytree(folder / "clip0", folder / "clip9")
    (folder / "clip9" / "audio.wav").write_bytes(b"")
    train(tmp_path / "log", *small, "--recipe", "unet", "--val_fraction", 0, "--steps", 20, data_root=root)
    told = capfd.readouterr()
    assert f"1 images of 1 clips cannot be read, as {cut}, and are passed over" in told.err
    assert "1 clips are left out, as they cannot be read: " in told.err and "clip9/audio.wav: is no sound" in told.err
    assert "2 images could not be read, as " in told.out and "run preprocess.py again" in told.out


def test_a_loss_that_is_not_a_number(train, tmp_path, eagerly, small, monkeypatch):
    recipes = training_config.RECIPES  # as no flag takes such a number
    monkeypatch.setitem(recipes, "unet", dataclasses.replace(recipes["unet"], lr=1e36))
    with pytest.raises(UserError, match=r"log: the loss is not a number at step \d+; use a smaller --lr"):
        train(tmp_path / "log", *small, "--recipe", "unet", "--steps", 6, "--checkpoint_freq", 1)
    saved = arrays_of(tmp_path / "log" / "checkpoint.h5") if (tmp_path / "log" / "checkpoint.h5").exists() else {}
    assert all(np.isfinite(array).all() for array in saved.values())


@pytest.mark.parametrize(
    "error, words",
    [
        (MemoryError(), "use a smaller one, a smaller --cache_mb, or fewer --num_workers"),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate"), "use half of it (--accumulate 2"),
    ],
)
def test_too_little_memory(train, tmp_path, eagerly, small, monkeypatch, error, words):
    """The line names the flag to lower, and the run goes on from its checkpoint."""
    seen, step = [], LipGAN._iteration

    def fails(*args):
        seen.append(1)
        if len(seen) == 3:
            raise error
        return step(*args)

    monkeypatch.setattr(LipGAN, "_iteration", fails)
    flags = [*small, "--recipe", "unet", "--steps", 3, "--checkpoint_freq", 1]
    with pytest.raises(UserError, match=re.escape("--batch_size 4: there is too little memory")) as raised:
        train(tmp_path, *flags)
    assert words in str(raised.value) and checkpoints.read_config(tmp_path / "checkpoint.h5").step == 2
    train(tmp_path, *flags)
    assert checkpoints.read_config(tmp_path / "checkpoint.h5").step == 3


@pytest.fixture
def small_files():
    """A function: from now on no file may grow beyond so many bytes, as on a full disc."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disc(train, unbroken, tmp_path, small_files, eagerly):
    """Not enough for the checkpoint; not even for the image grid and the events."""
    logdir = tmp_path / "log"
    shutil.copytree(unbroken, logdir)
    for size in (1_000_000, 100_000):
        small_files(size)
        with pytest.raises(OSError) as error:
            train(logdir, *JOINT, "--steps", 14, "--checkpoint_freq", 1)
        small_files(resource.RLIM_INFINITY)
        said = utils_errors.describe_os_error(error.value)
        assert said.startswith(str(logdir)) and ": File too large" in said
        assert checkpoints.read_config(logdir / "checkpoint.h5").step == 12
        assert {path.name for path in logdir.rglob(".*")} <= {".lock"}
    train(logdir, *JOINT, "--steps", 13)
    assert [row["step"] for row in rows_of(logdir)] == [4, 8, 12, 13]


def test_bad_data_and_folders(train, tmp_path):
    with pytest.raises(UserError, match="none: no such folder"):
        train(tmp_path / "log", data_root=tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no preprocessed clip"):
        train(tmp_path / "log", data_root=tmp_path / "empty")
    make_clip(tmp_path / "short" / "v" / "c", frames=range(11))
    with pytest.raises(UserError, match="under 12 frames"):
        train(tmp_path / "log", data_root=tmp_path / "short")
    (tmp_path / "file").write_text("")
    for logdir in (tmp_path / "file", tmp_path / "file" / "log"):
        with pytest.raises(UserError, match="cannot write there"):
            train(logdir)
    with pytest.raises(UserError, match="batch_size 1 "):
        train(tmp_path / "log", "--batch_size", 1)


def test_one_line_in_the_terminal(script, tmp_path):
    make_clip(tmp_path / "short" / "v" / "c", frames=range(11))
    assert_one_line(script("train.py", "--data_root", tmp_path / "short"), "short", "under 12 frames")


@pytest.mark.parametrize(
    "flag, value",
    [("batch_size", -3), ("lr", "abc"), ("lr", 0), ("val_fraction", 1.5), ("steps", 0), ("img_size", 128), ("seed", -1)]
    + [("lip_weight", -1), ("disc_weight", -0.1), ("sync_weight", -1), ("quality_weight", "nan"), ("lip_share", 0)]
    + [("lip_share", 1), ("lip_share", 1.2), ("sync_frames", 0), ("quality_start", -1), ("augment", "fog")]
    + [
        ("recipe", "gan"),
        ("width", "nan"),
        ("epochs", 0),
        ("checkpoint_freq", 0),
        ("ema", 1),
        ("clipnorm", 0),
        ("precision", "half"),
    ],
)
def test_odd_flags(train, tmp_path, capsys, flag, value):
    with pytest.raises(SystemExit) as error:
        train(tmp_path / "log", "--steps", 1, f"--{flag}", value)
    lines = capsys.readouterr().err.strip().splitlines()
    assert error.value.code == 2 and len(lines) == 1 and f"--{flag}" in lines[0]
    assert not (tmp_path / "log").exists()


def test_validation_measures_lips_under_both_sounds(tmp_path):
    """A generator whose image is the sound's loudness: right under the right sound, wrong under another's."""

    class Loudness:
        def predict_on_batch(self, inputs):
            face, sound = inputs
            level = (sound[:, 40, 13, 0] + 4) / 8
            return np.broadcast_to(level[:, None, None, None], (*face.shape[:3], 3)).astype("float32")

    for i, level in enumerate((-4.0, 0.0, 4.0)):
        folder = make_clip(tmp_path / "v" / f"c{i}")
        np.savez(folder / "mels.npz", spec=np.full((80, 200), level))
        for n in range(14):
            cv2.imwrite(str(folder / f"{n}.jpg"), np.full((96, 96, 3), round((level + 4) / 8 * 255), "uint8"))
    clips = clip_folder.find_clips(tmp_path, "mel", progress=False)
    validation = Validation(clips, clips, ModelConfig("basic"), 0, {"generator": Loudness()})
    values = validation()
    assert validation.sound_used and list(values) == validation.columns
    assert values["val_mae"] < 0.02 and values["val_lip_mae"] < 0.02
    assert values["val_lip_mae_wrong_sound"] > 0.4
    assert len(validation.faces) == 42 and validation.grid().shape == (768, 384, 3)


def test_the_wrong_sound_of_the_validation_is_wrong(tmp_path):
    """It is no copy's of the clip, nor the same in itself, as two pauses are; and the same every time."""

    class Deaf:
        def predict_on_batch(self, inputs):
            return inputs[0][..., :3]

    for name, seed in (("a", 1), ("mirrored", 1), ("recast", 3), ("b", 2)):
        make_clip(tmp_path / "v" / name, frames=range(20), seed=seed)
    (tmp_path / "v" / "recast" / "source.txt").write_text("v/a")
    make_clip(tmp_path / "v" / "silent", frames=range(20), click=1.5)  # after its frames
    config = ModelConfig("basic")

    def heard(name):
        return list(Dataset([Clip(tmp_path / "v" / name)], config, 1, pairs=False).windows(0, range(20)))

    def place(window, windows):
        return next((i for i, other in enumerate(windows) if np.array_equal(window, other)), None)

    def drawn(*names):
        clips = [Clip(tmp_path / "v" / name) for name in names]
        return Validation(clips, clips, config, 0, {"generator": Deaf()})

    own = heard("a")
    for names in (("a",), ("a", "mirrored"), ("a", "recast"), ("a", "mirrored", "b")):
        validation = drawn(*names)
        assert np.array_equal(validation.wrong, drawn(*names).wrong)
        for right, wrong in zip(validation.audio, validation.wrong, strict=True):
            at, there = place(right, own), place(wrong, own)
            if at is not None and "b" not in names:
                assert abs(at - there) >= 3
            elif at is not None:
                assert there is None and place(wrong, heard("b")) is not None
    mixed = drawn("silent", "b")
    assert all(not np.array_equal(*pair) for pair in zip(mixed.audio, mixed.wrong, strict=True))
    nothing = drawn("silent")
    assert nothing.wrong is None and np.isnan(nothing()["val_lip_mae_wrong_sound"]) and not nothing.sound_used


def test_a_configuration_is_checked_before_anything_runs():
    """From Python nothing but `completed` stands between a wrong value and hours of work."""
    options = TrainConfig(Path("crops"), lr=np.float32(1e-4), augment=("gain", "flip")).completed()
    assert (options.data_root, options.augment) == ("crops", ["flip", "gain"]) and type(options.lr) is float
    wrong = {"lip_weight": "0.5", "val_fraction": 1.0, "batch_size": 0, "recipe": "wav2lip", "ema": float("nan")}
    for name, value in wrong.items():
        with pytest.raises(UserError, match=name):
            TrainConfig("crops", **{name: value}).completed()
