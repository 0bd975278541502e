"""preprocess.py: the grid, the files, the lists, and runs that are resumed, killed or given bad videos."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import av.logging
import cv2
import numpy as np
import pytest

from helpers import synthetic
from helpers.checks import ROOT, TESTS, assert_one_line
from helpers.synthetic import RATE, beeps, number, numbered_image, onset, steady, uneven
from lipgan_keras.config import WINDOW_SHAPE, ModelConfig
from lipgan_keras.data import claims
from lipgan_keras.data import preprocess as data_preprocess
from lipgan_keras.data.clip_folder import Clip
from lipgan_keras.data.dataset import Dataset
from lipgan_keras.face import cropping, detector
from lipgan_keras.face import photos as face_photos
from lipgan_keras.media import audio_file
from lipgan_keras.puppets import clips, photos, preprocessing
from lipgan_keras.utils.errors import UserError

PATIENCE = 200.0  # seconds in which a command ends, on a machine that does other work too


@pytest.fixture
def quick(monkeypatch):
    """The synthetic detector."""
    monkeypatch.setattr(detector, "detect", synthetic.detect)


@pytest.fixture
def quick_script(tmp_path_factory):
    """A function: start preprocess.py with the synthetic detector, in its workers too, as a process group."""
    site = tmp_path_factory.mktemp("site")
    (site / "sitecustomize.py").write_text(
        "from helpers import synthetic\nfrom lipgan_keras.face import detector\ndetector.detect = synthetic.detect\n",
        encoding="utf-8",
    )
    started = []

    def start(root, out, *arguments, **env):
        paths = os.pathsep.join(map(str, (site, TESTS, ROOT)))
        process = subprocess.Popen(
            [sys.executable, ROOT / "preprocess.py", "--videos_data_root", root, "--final_data_root", out, *arguments],
            env=os.environ | {"PYTHONPATH": paths} | env,
            cwd=site,
            text=True,
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.communicate()


def group_is_gone(process, seconds=10.0):
    """Whether every process of the group has ended."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def wait_for(condition, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def partials(out):
    """Half-written clips, and claims on clips."""
    # `rglob` would end with an error where a folder is renamed meanwhile
    return [name for _, *found in os.walk(out) for name in sum(found, []) if name.startswith(".")]


def numbers(folder):
    return sorted(int(path.stem) for path in folder.glob("*.jpg"))


def crop(folder, n):
    return cv2.imread(str(folder / f"{n}.jpg"))


def clip(path, seconds=0.6, fps=25, draw=numbered_image, sound=True):
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = beeps([(0.2, 0.3)], seconds) if sound else None
    return synthetic.write(path, steady(fps, seconds), seconds, draw, (wave, RATE) if sound else None)


# The grid


@pytest.mark.parametrize(
    "times", [steady(25, 1), steady(30, 1), steady(50, 1), steady(29.97, 1), steady(10, 1), uneven(1)]
)
def test_the_grid_takes_the_nearest_frame(times):
    ends = [*times[1:], 1.0]
    tracked = [
        SimpleNamespace(frame=SimpleNamespace(time=t, duration=end - t)) for t, end in zip(times, ends, strict=True)
    ]
    grid = list(data_preprocess.on_grid(tracked))
    assert [n for n, _ in grid] == list(range(25))
    for n, chosen in grid:
        assert abs(chosen.frame.time - n / 25) == pytest.approx(np.abs(np.array(times) - n / 25).min(), abs=1e-6)


def test_the_grid_has_no_frame_for_holes():
    times = [0.11, 0.15, 0.19, 1.0, 1.04]  # starts late, and freezes
    tracked = [SimpleNamespace(frame=SimpleNamespace(time=t, duration=0.04)) for t in times]
    chosen = {n: t.frame.time for n, t in data_preprocess.on_grid(tracked)}
    assert chosen == {2: 0.11, 3: 0.11, 4: 0.15, 5: 0.19, 6: 0.19, 24: 1.0, 25: 1.0, 26: 1.04}


@pytest.mark.parametrize("fps", [25, 30, 50])
def test_jpg_n_is_time_n_over_25(tmp_path, monkeypatch, quick, fps):
    whole = np.array([0.0, 0.0, 128.0, 128.0])
    monkeypatch.setattr(cropping, "crop_box", lambda *_: whole)  # so that the crops show their numbers
    source = clip(tmp_path / "a.mp4", 2, fps)
    assert data_preprocess.preprocess_clip(source, tmp_path / "out", 96) is None
    assert numbers(tmp_path / "out") == list(range(50))
    for n in range(50):
        assert abs(number(crop(tmp_path / "out", n)) / fps - n / 25) <= 0.5 / fps + 1e-6
    with np.load(tmp_path / "out" / "landmarks.npz") as saved:
        shown = [number(crop(tmp_path / "out", n)) / fps for n in range(50)]
        np.testing.assert_allclose(saved["time"], shown, atol=1e-3)
        np.testing.assert_allclose(saved["duration"], 1 / fps, atol=1e-3)


def test_frames_without_a_face_leave_a_gap(tmp_path, quick):
    source = clip(tmp_path / "a.mp4", 1.2, draw=lambda i: numbered_image(i, face=not 10 <= i < 15))
    assert data_preprocess.preprocess_clip(source, tmp_path / "out", 96) is None
    expected = [n for n in range(30) if not 10 <= n < 15]
    assert numbers(tmp_path / "out") == expected
    with np.load(tmp_path / "out" / "landmarks.npz") as saved:
        np.testing.assert_array_equal(saved["frames"], expected)
        np.testing.assert_allclose(saved["time"], np.array(expected) / 25, atol=1e-3)
        assert saved["landmarks"].shape == (25, 5, 2) and saved["box"].shape == (25, 4) and saved["img_size"] == 96


# The flash and the beep


FLASH = {"25": (steady(25, 1.6), 20), "29.97": (steady(30000 / 1001, 1.6), 25), "uneven": (uneven(1.6), 16)}


@pytest.fixture(scope="module")
def puppet():
    return photos.load_puppet(next(iter(face_photos.shipped_photos().values())))


@pytest.fixture(scope="module", params=FLASH)
def flash(request, puppet, tmp_path_factory):
    """A puppet with a white flash above its brows and a beep while it lasts: path, preprocessed folder, start, end."""
    times, at = FLASH[request.param]
    folder = tmp_path_factory.mktemp("flash")
    start, end = times[at], times[at + 1]

    def draw(i):
        image = puppet.render(0.5 + 0.4 * np.sin(i), 0.0)
        if i == at:
            image[:92] = 255
        return image

    sound = beeps([(start, end)], 1.6, 44100, tone=1000)
    synthetic.write(folder / "a.mp4", times, 1.6, draw, (sound, 44100), size=(256, 256))
    assert data_preprocess.preprocess_clip(folder / "a.mp4", folder / "out", 96) is None
    return SimpleNamespace(path=folder / "a.mp4", folder=folder / "out", start=start, end=end)


def test_flash_and_beep_stay_in_their_place(flash):
    assert numbers(flash.folder) == list(range(40))
    forehead = np.array([crop(flash.folder, n)[:5].mean() for n in range(40)])
    bright = np.flatnonzero(forehead > 200)
    assert len(bright) in (1, 2) and np.all(np.abs(bright / 25 - flash.start) <= 0.04), bright
    assert np.median(forehead) < 150
    assert onset(audio_file.load_audio(flash.folder / "audio.wav")) == pytest.approx(flash.start, abs=0.005)
    with np.load(flash.folder / "mels.npz") as saved:
        mel = saved["spec"]
    assert mel.dtype == np.float32 and mel.shape == (80, 1 + 16000 * 1.6 // 200)
    tone = mel[mel.max(1).argmax()]
    loud = np.flatnonzero(tone > tone.max() - 0.5) / 80
    assert (loud[0] + loud[-1]) / 2 == pytest.approx((flash.start + flash.end) / 2, abs=0.02)


@pytest.mark.parametrize("kind", ["mel", "mfcc"])
def test_training_hears_the_beep_at_the_flash(flash, kind):
    data = Dataset([Clip(flash.folder)], ModelConfig("basic", kind, 0.125), 4, pairs=False)
    forehead = [data.image(0, i)[:5].mean() for i in range(40)]
    middles = np.array([data.window(0, i)[:, WINDOW_SHAPE[kind][1] // 2, 0] for i in range(40)])
    assert np.abs(middles - np.median(middles, axis=0)).sum(1).argmax() in np.flatnonzero(np.array(forehead) > 200)


def test_landmarks_are_in_crop_pixels(flash):
    with np.load(flash.folder / "landmarks.npz") as saved:
        points, boxes = saved["landmarks"], saved["box"]
    assert points.shape == (40, 5, 2) and boxes.shape == (40, 4)
    np.testing.assert_allclose(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1], atol=1e-3)
    mouth = points[:, 3:]
    assert np.all((mouth[..., 0] > 20) & (mouth[..., 0] < 76) & (mouth[..., 1] > 50) & (mouth[..., 1] < 76))
    assert np.all(mouth[:, 0, 0] + 15 < mouth[:, 1, 0]) and np.all(points[:, :2, 1] < 40)
    steps = np.diff((boxes[:, :2] + boxes[:, 2:]) / 2, axis=0)
    assert np.abs(steps).max() < 3  # a puppet that keeps still


# Which videos, and where to


def touch(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def found(root, split="train", filelists=None):
    return {str(s.relative_to(root)): str(n) for s, n in data_preprocess.find_videos(root, split, filelists)}


def test_every_video_below_the_root(tmp_path):
    touch(
        tmp_path,
        "main/v/00001.mp4",
        "main/v/00001.txt",
        "main/w/a b.MP4",
        "deep/er/x.mkv",
        "y.webm",
        "._y.webm",
        "z.jpg",
    )
    assert found(tmp_path) == {
        "deep/er/x.mkv": "deep/er/x",
        "main/v/00001.mp4": "main/v/00001",
        "main/w/a b.MP4": "main/w/a b",
        "y.webm": "y",
    }


def test_folders_that_are_named_as_a_split(tmp_path):
    """Those of LRW and of LRS3. The default, train, means every video where there is no list."""
    lrw = {f"ABOUT/{side}/ABOUT_00018.mp4": f"ABOUT/{side}/ABOUT_00018" for side in ("test", "train", "val")}
    touch(tmp_path / "lrw", *lrw)
    touch(tmp_path / "lrs3", "test/0Fi8/00001.mp4", "trainval/0Fi8/50001.mp4")
    assert found(tmp_path / "lrw") == lrw
    assert found(tmp_path / "lrw", "test") == {"ABOUT/test/ABOUT_00018.mp4": "ABOUT/test/ABOUT_00018"}
    assert found(tmp_path / "lrs3", "test") == {"test/0Fi8/00001.mp4": "test/0Fi8/00001"}
    with pytest.raises(UserError, match="has no folder val, but test, trainval; choose one of these"):
        found(tmp_path / "lrs3", "val")


def test_every_clip_has_a_folder_of_its_own(tmp_path):
    touch(tmp_path, "v/1.mp4", "v/1.mov", "v/2.mp4", "v.mp4", "w/x/y.mp4", "w.x.mp4")
    assert found(tmp_path) == {
        "v.mp4": "v.mp4",
        "v/1.mov": "v/1.mov",
        "v/1.mp4": "v/1.mp4",
        "v/2.mp4": "v/2",
        "w.x.mp4": "w.x",
        "w/x/y.mp4": "w/x/y",
    }


def test_list_files(tmp_path, monkeypatch):
    root = tmp_path / "data"
    touch(root, "main/v/1.mp4", "main/v/2.mp4", "main/v/3.mp4", "pretrain/v/1.mp4", "w/4.mkv")
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "train.txt").write_text("\ufeffv/1\r\nv/2 NF\n\nv/9 x\nv/1\nw/4\nv/3.mp4\n", encoding="utf-8")
    (tmp_path / "lists" / "pretrain.txt").write_text("v/1 MV\n", encoding="utf-8")
    listed = {
        "main/v/1.mp4": "main/v/1",
        "main/v/2.mp4": "main/v/2",
        "main/v/9.mp4": "main/v/9",
        "w/4.mkv": "w/4",
        "main/v/3.mp4": "main/v/3",
    }
    assert found(root, "train", tmp_path / "lists") == listed
    assert found(root, "pretrain", tmp_path / "lists") == {"pretrain/v/1.mp4": "pretrain/v/1"}  # not main's clip
    monkeypatch.chdir(tmp_path)
    assert len(found(root)) == 5  # no ./filelists/
    (tmp_path / "lists").rename(tmp_path / "filelists")
    assert found(root) == listed
    assert len(found(root, "test")) == 5


@pytest.mark.parametrize("text", [None, "", "\n \n", "/etc/passwd\n", "v/1\n../../x\n", b"\xff\xfe\x00"])
def test_bad_list_files(tmp_path, text):
    touch(tmp_path, "main/v/1.mp4")
    if text is not None:
        (tmp_path / "train.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match="train.txt"):
        data_preprocess.find_videos(tmp_path, "train", tmp_path)


# Finished, half-written, foreign


def test_what_is_finished(tmp_path, quick):
    source = clip(tmp_path / "a.mp4")
    assert data_preprocess.finished(tmp_path / "a", 96) is None
    assert data_preprocess.preprocess_clip(source, tmp_path / "a", 96) is None
    assert data_preprocess.finished(tmp_path / "a", 96) == "finished"
    assert "--img_size" in data_preprocess.finished(tmp_path / "a", 128)
    assert "--crop steady; " in data_preprocess.finished(tmp_path / "a", 96, "lipgan_keras")
    assert Clip(tmp_path / "a").crop == "steady"
    assert data_preprocess.preprocess_clip(source, tmp_path / "b", 96, "lipgan_keras") is None
    assert "--crop lipgan_keras; " in data_preprocess.finished(tmp_path / "b", 96)
    assert Clip(tmp_path / "b").crop == "lipgan_keras"
    for name, content in [
        ("mels.npz", b""),
        ("landmarks.npz", b""),
        ("landmarks.npz", b"PK\x03\x04"),
        ("landmarks.npz", b"x"),
    ]:
        foreign = tmp_path / f"{len(content)}{name}"
        touch(foreign, "0.jpg", name)
        (foreign / name).write_bytes(content)
        assert "not made by this program" in data_preprocess.finished(foreign, 96)


@pytest.mark.parametrize(
    "make, reason",
    [
        (lambda p: p.write_text("hello\n" * 99), "text"),
        (lambda p: p.touch(), ""),
        (lambda p: p.write_bytes(clip(p, 1).read_bytes()[:-3000]), ""),
        (lambda p: clip(p, sound=False), "no audio"),
        (lambda p: clip(p, draw=lambda i: numbered_image(i, face=False)), "no face"),
        (lambda p: None, "no such file"),
    ],
    ids=["text", "empty", "truncated", "silent", "faceless", "missing"],
)
def test_a_bad_video_says_why_and_leaves_nothing(tmp_path, quick, make, reason):
    source = tmp_path / "bad.mp4"
    make(source)
    said = data_preprocess.preprocess_clip(source, tmp_path / "out" / "bad", 96)
    assert said.startswith(f"{source}: ") and reason in said and "\n" not in said and "Error" not in said
    assert not list(tmp_path.glob("out/*"))


# Runs


@pytest.mark.slow
def test_run_resume_and_bad_videos(tmp_path, script, capfd):
    """The real program, with its real detector and a worker."""
    root, out = tmp_path / "in", tmp_path / "out"
    clips.make_clips(root, 1, seconds=0.6)
    name = next(root.glob("main/*/*.mp4")).relative_to(root).with_suffix("")
    (root / "main" / "bad").mkdir()
    (root / "main" / "bad" / "text.mp4").write_text("not a video\n" * 50, encoding="utf-8")
    clip(root / "main" / "bad" / "silent.mp4", sound=False)
    clip(root / "main" / "bad" / "faceless.mp4")
    touch(out, "main/bad/.silent.partial/0.jpg", f"{name.parent}/.{name.name}.partial/999.jpg")
    done = script("preprocess.py", "--videos_data_root", root, "--final_data_root", out, "--num_workers", 1)
    assert done.returncode == 1, done.stderr
    assert done.stdout == "1 clips done, 0 skipped (done before), 3 failed\n"
    *lines, last = done.stderr.splitlines()[-4:]
    for line, bad, reason in zip(
        lines, ("faceless", "silent", "text"), ("no face", "no audio", "text file"), strict=False
    ):
        assert f"{bad}.mp4: " in line and reason in line, line
    assert (
        last.endswith("3 clips failed, or lack a part; the lines above say why")
        and "Traceback" not in done.stderr
        and "leaked" not in done.stderr
    )
    assert numbers(out / name) == list(range(15))
    assert {p.name for p in (out / name).glob("*.*z") if p.is_file()} == {"mels.npz", "landmarks.npz"}
    assert partials(out) == [] and not (out / "main" / "bad" / "text").exists()

    # Again, with the bad ones gone and a foreign folder in the place of one more: nothing is touched.
    for path in (root / "main" / "bad").iterdir():
        path.unlink()
    clip(root / "main" / "bad" / "mine.mp4")
    touch(out, "main/bad/mine/precious.txt")
    before = {p: p.stat().st_mtime_ns for p in (out / name).iterdir()}
    again = synthetic.call("preprocess.py", "--videos_data_root", root, "--final_data_root", out, capfd=capfd)
    assert again.returncode == 1
    assert again.stdout.splitlines()[0] == "0 clips done, 1 skipped (done before), 1 failed"
    assert "not made by this program" in again.stderr
    assert before == {p: p.stat().st_mtime_ns for p in (out / name).iterdir()}
    assert [p.name for p in (out / "main" / "bad" / "mine").iterdir()] == ["precious.txt"]


@pytest.fixture
def five_clips(tmp_path):
    for i in range(5):
        clip(tmp_path / "in" / "v" / f"{i}.mp4")
    return tmp_path / "in", tmp_path / "out"


def whole(out):
    """Clips of the output, each of which must be complete."""
    folders = [path for path in (out / "v").iterdir() if not path.name.startswith(".")]
    assert all(numbers(folder) == list(range(15)) for folder in folders)
    return len(folders)


@pytest.mark.slow
def test_killed_and_run_again(five_clips, quick_script):
    root, out = five_clips
    process = quick_script(root, out, "--num_workers", "2", SECONDS_A_FRAME="0.08")
    wait_for(lambda: out.is_dir() and (out / "v").is_dir() and whole(out) >= 1 and partials(out))
    os.kill(process.pid, signal.SIGKILL)  # the parent alone: its workers must follow it
    process.communicate(timeout=PATIENCE)
    assert group_is_gone(process)
    assert 1 <= whole(out) < 5 and partials(out)
    process = quick_script(root, out)
    stdout, stderr = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0 and "Traceback" not in stderr
    assert whole(out) == 5 and not partials(out) and ", 0 failed" in stdout


def test_what_a_run_left_that_was_killed_before_it_said_who_it_is(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    mine = claims._host()
    names = [f".a.{host}-{pid}-0123abcd.claiming" for host, pid in ((mine, ended.pid), (mine, os.getpid()), ("x", 1))]
    for name in names:
        (tmp_path / name).mkdir()
    (tmp_path / names[0] / claims.RECORD).write_text("")  # its record is cut short
    claims.free_left([tmp_path / "a"])
    assert sorted(partials(tmp_path)) == sorted(names[1:])


def test_ctrl_c(five_clips, quick_script):
    root, out = five_clips
    process = quick_script(root, out, "--num_workers", "2", SECONDS_A_FRAME="1")
    wait_for(lambda: (out / "v").is_dir() and partials(out))
    os.killpg(process.pid, signal.SIGINT)
    begin = time.monotonic()
    _, stderr = process.communicate(timeout=PATIENCE)
    assert time.monotonic() - begin < 8
    assert process.returncode == 130
    assert "Traceback" not in stderr and "leaked" not in stderr and "rror" not in stderr, stderr
    assert whole(out) < 5 and not partials(out)
    assert group_is_gone(process)


def test_ctrl_c_at_the_start(five_clips, quick_script):
    root, out = five_clips
    process = quick_script(root, out)
    wait_for(out.is_dir)  # now it is starting its workers
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "Traceback" not in stderr and "Error" not in stderr, stderr
    assert group_is_gone(process)


@pytest.mark.slow
def test_a_video_that_kills_its_worker(five_clips, quick_script):
    root, out = five_clips
    for name in ("3.mp4", "4.mp4"):
        (root / "v" / name).unlink()
    clip(root / "v" / "1.mp4", draw=lambda i: numbered_image(200 + i))
    process = quick_script(root, out, "--num_workers", "2", DIE_AT="205")
    stdout, stderr = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1 and "Traceback" not in stderr
    # The pool that breaks may take along the word that a clip is done: it is then found to be there.
    done, skipped = (int(re.search(rf"(\d+) {what}", stdout)[1]) for what in ("clips done", "skipped"))
    assert done + skipped == 2 and "1 failed" in stdout and "1.mp4: the process that worked on it died" in stderr
    assert whole(out) == 2 and not partials(out)


# Runs that share a folder


@pytest.mark.slow
def test_two_runs_share_the_work(five_clips, quick_script):
    root, out = five_clips
    both = [quick_script(root, out, "--num_workers", "1", SECONDS_A_FRAME="0.02") for _ in range(2)]
    said = [process.communicate(timeout=PATIENCE) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sum(int(stdout.split(" clips done")[0]) for stdout, _ in said) == 5, said  # each was made once
    assert all(", 0 failed" in stdout and "Traceback" not in stderr for stdout, stderr in said), said
    assert whole(out) == 5 and not partials(out)


def test_shares_make_the_whole(tmp_path, monkeypatch):
    """Those of N jobs of a cluster: each clip is in one of them, and they differ in number by one at most."""
    touch(tmp_path / "in", *(f"{i}.mp4" for i in range(5)))
    shares = []

    def run(todo, *_):
        shares.append([path.name for path, _ in todo])
        yield from ((path, None) for path, _ in todo)

    monkeypatch.setattr(data_preprocess, "_run", run)
    for share in ("0/3", "1/3", "2/3"):
        flags = ["--videos_data_root", tmp_path / "in", "--final_data_root", tmp_path / "out", "--shard", share]
        monkeypatch.setattr(sys, "argv", ["preprocess.py", *map(str, flags)])
        preprocessing.main()
    assert sorted(map(len, shares)) == [1, 2, 2] and sorted(sum(shares, [])) == [f"{i}.mp4" for i in range(5)]


@pytest.mark.slow
def test_a_clip_that_another_run_is_making(tmp_path, quick, quick_script, capfd):
    source, out = clip(tmp_path / "in" / "v" / "1.mp4"), tmp_path / "out"
    process = quick_script(tmp_path / "in", out, SECONDS_A_FRAME="9")
    wait_for(lambda: list(out.rglob(".*.partial")))
    flags = ["--videos_data_root", tmp_path / "in", "--final_data_root", out]
    other = synthetic.call("preprocess.py", *flags, capfd=capfd)
    assert other.returncode == 0, other.stderr
    assert other.stdout.splitlines() == ["0 clips done, 0 skipped (done before), 0 failed, 1 being made by another run"]
    assert len(list(out.rglob(".*.partial"))) == 1
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=PATIENCE)
    assert group_is_gone(process)
    assert data_preprocess.preprocess_clip(source, out / "v" / "1", 96) is None
    assert whole(out) == 1 and not partials(out)


@pytest.mark.parametrize(
    "change, seconds, alive",
    [
        ({}, 9999, True),  # on this machine the process counts, and not when it touched its record
        ({"started": "1"}, 0, False),  # another process has its number now
        ({"pid": 2**30}, 0, False),
        ({"machine": "elsewhere"}, 60, True),
        ({"machine": "elsewhere"}, 9999, False),
    ],
)
def test_claims_of_dead_processes_are_freed(tmp_path, change, seconds, alive):
    target = tmp_path / "a"
    with claims.claim(target):
        (record,) = tmp_path.glob(f".a.claim/{claims.RECORD}")
        written = json.dumps(json.loads(record.read_text()) | change)
        record.write_text(written)
        os.utime(record, (time.time() - seconds,) * 2)
        with claims.claim(target) as partial:
            assert (partial is None) == alive
        left = tmp_path / ".a.host-1-0123abcd.claiming"  # of a process that was killed amid taking the claim
        left.mkdir()
        (left / claims.RECORD).write_text(written)
        os.utime(left / claims.RECORD, (time.time() - seconds,) * 2)
        claims.free_left([target])
        assert left.exists() == alive
        shutil.rmtree(left, ignore_errors=True)
        assert len(partials(tmp_path)) == (2 if alive else 0)
    assert not partials(tmp_path)


def test_a_process_that_was_taken_over_breaks_nothing(tmp_path, quick, monkeypatch):
    """One that stood still for minutes: its folder is gone, and another run has made the clip."""
    source, target = clip(tmp_path / "a.mp4"), tmp_path / "out" / "a"
    write = data_preprocess.write_jpeg

    def taken_over(path, image):
        monkeypatch.setattr(data_preprocess, "write_jpeg", write)
        (record,) = target.parent.glob(f".a.claim/{claims.RECORD}")
        record.write_text(json.dumps(json.loads(record.read_text()) | {"machine": "elsewhere"}))
        os.utime(record, (1, 1))
        assert data_preprocess.preprocess_clip(source, target, 96) is None
        write(path, image)

    monkeypatch.setattr(data_preprocess, "write_jpeg", taken_over)
    assert data_preprocess.preprocess_clip(source, target, 96) == data_preprocess.MADE_BEFORE
    assert numbers(target) == list(range(15)) and not partials(tmp_path)


def test_long_names_have_claims_too(tmp_path):
    one, other = (tmp_path / ("\u65e5" * 83 + last) for last in "ab")
    with claims.claim(one) as first, claims.claim(other) as second, claims.claim(one) as again:
        assert first.is_dir() and second.is_dir() and again is None
    assert not partials(tmp_path)


# Bad input


def test_bad_input_gets_one_line(tmp_path, capfd):
    root, out = tmp_path / "in", tmp_path / "out"
    touch(root, "a.mp4")
    touch(tmp_path, "file")
    (tmp_path / "empty").mkdir()

    def run(videos, folder, *more):
        return synthetic.call(
            "preprocess.py", "--videos_data_root", videos, "--final_data_root", folder, *more, capfd=capfd
        )

    assert_one_line(run(tmp_path / "none", out), tmp_path / "none", "no such folder")
    assert_one_line(run(tmp_path / "file", out), tmp_path / "file")
    assert_one_line(run(tmp_path / "empty", out), tmp_path / "empty", "no video")
    assert_one_line(run(root, tmp_path / "file" / "out"), tmp_path / "file" / "out", "cannot write")
    assert_one_line(run(root, "/proc/out"), "/proc/out", "cannot write")
    assert_one_line(run(root, out, "--filelists", tmp_path / "none"), tmp_path / "none", "--filelists")
    for flags in (
        ["--num_workers", "0"],
        ["--num_workers", "-2"],
        ["--num_workers", "two"],
        ["--img_size", "128"],
        ["--shard", "2/2"],
        ["--shard", "one"],
        ["--pack", "clips.pack", "--shard", "0/2"],
        ["--recast", "2", "--shard", "0/2"],
        ["--what"],
    ):
        assert_one_line(run(root, out, *flags), flags[0])
    assert_one_line(synthetic.call("preprocess.py", "--final_data_root", out, capfd=capfd), "--videos_data_root")


def test_none_of_the_videos_works(tmp_path, capfd, monkeypatch):
    touch(tmp_path, "in/a.mp4", "in/b.mp4")
    monkeypatch.setattr(data_preprocess, "_run", lambda todo, *_: ((source, "is empty") for source, _ in todo))
    result = synthetic.call(
        "preprocess.py", "--videos_data_root", tmp_path / "in", "--final_data_root", tmp_path / "out", capfd=capfd
    )
    assert result.returncode == 2 and "0 clips done, 0 skipped (done before), 2 failed" in result.stdout
    assert "none of its 2 videos" in result.stderr.strip().splitlines()[-1] and "Traceback" not in result.stderr


def test_a_full_disc_is_a_reason(tmp_path, quick, monkeypatch):
    source = clip(tmp_path / "a.mp4")

    def full(path, image):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(data_preprocess, "write_jpeg", full)
    said = data_preprocess.preprocess_clip(source, tmp_path / "out", 96)
    assert (
        said.startswith(f"{tmp_path / 'out'}: No space left")
        and "free some space" in said
        and not (tmp_path / "out").exists()
    )
    assert partials(tmp_path) == []


def test_default_flags_are_the_originals(monkeypatch):
    seen = []
    monkeypatch.setattr(data_preprocess, "preprocess", seen.append)
    monkeypatch.setattr(sys, "argv", ["preprocess.py", "--videos_data_root", "a", "--final_data_root", "b"])
    import preprocess

    preprocess.main()
    assert (seen[0].split, seen[0].num_workers, seen[0].img_size) == ("train", 10, 96)


def test_decoder_threads_never_wait_for_python():
    """With a log level set, PyAV's callback takes Python's lock in decoder threads: closing a file then may hang."""
    assert av.logging.get_level() is None
