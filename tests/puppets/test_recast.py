"""Recast clips: other people, the same movements, and on the side of their sources."""

import json
import shutil

import cv2
import numpy as np
import pytest

from helpers import synthetic
from helpers.clips import POINTS, find, make_clip, make_root
from lipgan_keras.config import ModelConfig
from lipgan_keras.data import pack, preprocess, splits
from lipgan_keras.data.dataset import Dataset
from lipgan_keras.puppets import recast
from lipgan_keras.utils.errors import UserError

FRAMES = 24
SMOOTH = np.linspace(0, 2 * np.pi, FRAMES)


def landmarks_of_a_jaw(drop=6.0, drift=2.0):
    """(FRAMES, 5, 2): the corners of the mouth fall and rise twice, while the head drifts."""
    points = np.tile(POINTS, (FRAMES, 1, 1)).astype(float)
    points[:, 3:, 1] += (drop * np.sin(SMOOTH) ** 2)[:, None]
    return points + (drift * np.sin(SMOOTH / 2))[:, None, None]


def dotted(points):
    """Grey crops with a white dot at each landmark."""
    images = []
    for five in points:
        image = np.full((96, 96, 3), (90, 110, 140), np.uint8)
        for x, y in five:
            cv2.circle(image, (round((x - 0.5) * 16), round((y - 0.5) * 16)), 32, (255, 255, 255), -1, cv2.LINE_AA, 4)
        images.append(image)
    return images


def plain(seed, mirrored=False):
    """A person with no camera or skin that would hide the dots."""
    made_up = recast.MadeUp(np.random.default_rng(seed))
    made_up.camera.numbers.update(reduced=1.0, blur=0.0, noise=0.0, quality=None)
    made_up.skin.gain[:] = 1
    made_up.mirrored = mirrored
    return made_up


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("mirrored", [False, True])
def test_landmarks_go_where_the_face_goes(seed, mirrored):
    points = landmarks_of_a_jaw()
    frames, moved, _ = plain(seed, mirrored).frames(dotted(points), points)
    assert moved.shape == points.shape and moved.dtype == np.float32
    assert (moved[:, 0, 0] < moved[:, 1, 0]).all() and (moved[:, 3, 0] < moved[:, 4, 0]).all()  # in the image's order
    for i in (0, 7, 16):
        for x, y in moved[i]:
            column, row = int(x - 0.5), int(y - 0.5)
            part = frames[i][row - 3 : row + 5, column - 3 : column + 5].astype(float).min(2)
            weight = np.maximum(part - np.median(frames[i]) - 30, 0)
            rows, columns = np.mgrid[row - 3 : row + 5, column - 3 : column + 5] + 0.5
            found = (weight * columns).sum() / weight.sum(), (weight * rows).sum() / weight.sum()
            assert np.hypot(found[0] - x, found[1] - y) < 1.2


def test_a_person_is_the_same_in_all_frames_and_another_for_each_number():
    points = np.tile(POINTS, (FRAMES, 1, 1)).astype(float)
    still = [np.random.default_rng(5).integers(0, 255, (96, 96, 3), np.uint8)] * FRAMES
    made, *_ = plain(1).frames(still, points)
    assert all((image == made[0]).all() for image in made)
    other, *_ = plain(2).frames(still, points)
    assert np.abs(made[0].astype(int) - other[0]).mean() > 3


def test_what_the_jaw_does_moves_no_nose():
    """A change of shape that hung on the mouth's corners would tell how open the mouth is."""
    points = landmarks_of_a_jaw(drift=0)
    axes = recast.steady_axes(points)
    nose = np.array([a.to_face(p[2:3])[0] for a, p in zip(axes, points, strict=True)])
    unsteady = np.array([recast.Axes(p).to_face(p[2:3])[0] for p in points])
    assert np.ptp(nose[:, 1]) < 0.3 * np.ptp(unsteady[:, 1])


@pytest.mark.parametrize("seed", range(3))
def test_a_voice_is_another_in_time_with_its_source(seed):
    made_up = recast.MadeUp(np.random.default_rng(seed))
    time = np.arange(3 * 16000) / 16000
    syllables = np.maximum(np.sin(2 * np.pi * 3 * time), 0) ** 2  # three a second
    wave = (0.3 * syllables * np.sin(2 * np.pi * 200 * time)).astype(np.float32)
    said = made_up.say(wave)
    assert said.shape == wave.shape and said.dtype == np.float32

    def loudness(x):
        return np.convolve(np.abs(x), np.ones(160) / 160, "same")[::16]

    a, b = loudness(wave), loudness(said)
    lags = range(-100, 101)  # milliseconds
    best = max(lags, key=lambda lag: np.corrcoef(a[100:-100], np.roll(b, -lag)[100:-100])[0, 1])
    assert abs(best) <= 15
    pitch = np.abs(np.fft.rfft(said)).argmax() / 3
    assert pitch == pytest.approx(200 * made_up.voice, rel=0.02)


def test_recasting_a_folder(tmp_path, capsys):
    root = make_root(tmp_path / "crops", clips=6, frames=range(FRAMES))
    assert recast.recast(root, 2) == 12
    assert "12 clips recast" in capsys.readouterr().out
    clips = {clip.name: clip for clip in find(root)}
    made = [clip for clip in clips.values() if clip.kind == "recast"]
    assert len(made) == 12 and {clip.kind for clip in clips.values()} == {"real", "recast"}
    for clip in made:
        source = clips[clip.source]
        assert clip.speaker == source.speaker == "video"
        assert clip.frames.tolist() == source.frames.tolist() and (clip.start == source.start).all()
        assert clip.has_sound and len(clip.wave()) == len(source.wave())
        assert clip.image(0, 96).shape == (96, 96, 3)

    # What is there is kept, and nobody is made of a made-up person.
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*.npz")}
    shutil.rmtree(made[0].folder)
    assert recast.recast(root, 2) == 1
    assert {path for path in root.rglob("*.npz")} == set(before)
    kept = [path for path in before if made[0].folder not in path.parents]
    assert all(path.stat().st_mtime_ns == before[path] for path in kept)


def test_no_recast_of_a_held_out_clip_is_trained_on(tmp_path):
    root = make_root(tmp_path / "crops", clips=8, frames=range(FRAMES))
    recast.recast(root, 2)
    pack.write(root, pack.clip_folders(root), tmp_path / "crops.pack", 10**8)
    for data in (root, tmp_path / "crops.pack"):
        train, held_out = splits.split_clips(find(data), 0.3)
        sides = [{clip.source for clip in side} for side in (train, held_out)]
        assert all(sides) and not sides[0] & sides[1]
        assert all(sum(clip.source == source for clip in train + held_out) == 3 for source in sides[0] | sides[1])


@pytest.mark.slow
def test_the_script_recasts_and_says_what_is_wrong(tmp_path, script):
    root = make_root(tmp_path / "crops", clips=1, frames=range(FRAMES))
    done = script("preprocess.py", "--final_data_root", root, "--recast", 1, "--num_workers", 1)
    assert done.returncode == 0 and "1 clips recast" in done.stdout
    assert (root / "recast" / "main" / "video" / "clip0-recast1" / "source.txt").read_text() == "video/clip0\n"
    wrong = script("preprocess.py", "--final_data_root", tmp_path / "none", "--recast", 1)
    assert wrong.returncode == 2
    assert wrong.stderr == f"preprocess.py: error: {tmp_path / 'none'}: no such folder; give the folder that " + (
        "preprocess.py wrote\n"
    )


def test_clips_that_cannot_be_recast(tmp_path, capsys):
    make_clip(tmp_path / "other" / "v" / "1", "wav2lip")
    with pytest.raises(UserError, match="none of its clips has landmarks and sound"):
        recast.recast(tmp_path / "other", 1)
    root = make_root(tmp_path / "crops", clips=2, frames=range(FRAMES))
    (root / "main" / "video" / "clip1" / "3.jpg").write_text("no picture")
    assert recast.recast(root, 1) == 1
    said = capsys.readouterr()
    assert "1 clips recast" in said.out and "clip1/3.jpg: cannot be read as a picture" in said.err
    assert not list(root.rglob("*.partial"))


def test_the_exit_code_says_how_much_was_recast(tmp_path, capfd):
    root = make_root(tmp_path / "crops", clips=2, frames=range(FRAMES))
    flags = ["--final_data_root", root, "--recast", 1, "--num_workers", 1]
    for clip, code, words in (("clip1", 1, "1 clips failed"), ("clip0", 2, "none of its clips could be recast")):
        (root / "main" / "video" / clip / "3.jpg").write_text("no picture")
        shutil.rmtree(root / "recast", ignore_errors=True)
        result = synthetic.call("preprocess.py", *flags, capfd=capfd)
        assert result.returncode == code and words in result.stderr.splitlines()[-1], result.stderr


def speech_with_pauses(frames, quiet):
    """(samples,) float32: noise in all frames but those of `quiet`, 40 dB below."""
    wave = np.random.default_rng(3).standard_normal(frames * 640).astype(np.float32) * 0.1
    for first, last in quiet:
        wave[first * 640 : last * 640] *= 0.01
    return wave


def test_the_longest_pause_is_found():
    times = np.arange(60) / 25
    wave = speech_with_pauses(60, [(5, 20), (40, 60)])

    def found(wave, numbers=range(60)):
        numbers = np.array(numbers)
        return recast.longest_pause(wave, numbers, times[numbers], times[numbers] + 0.04)

    assert found(wave) == (43, 17)  # frames 40 to 42 are too near to speech
    assert found(wave, np.arange(30)) == (8, 9)
    assert found(speech_with_pauses(60, [(5, 12)])) == (0, 0)
    assert found(wave[:0]) == (0, 0) == found(0 * wave)
    # The face is seen on after the audio's end, or is not seen for a while: nobody knows whether it speaks there.
    assert found(wave[: 30 * 640]) == (8, 9)
    seen = np.concatenate([np.arange(50), np.arange(52, 60)])
    assert found(speech_with_pauses(60, [(40, 60)]), seen) == (50, 8)


def test_some_people_listen_when_they_have_spoken(tmp_path, monkeypatch):
    monkeypatch.setattr(recast, "_LISTENERS", 0.8)
    root = make_root(tmp_path / "crops", clips=1, frames=range(FRAMES))
    folder = root / "main" / "video" / "clip0"
    preprocess.write_sound(folder, speech_with_pauses(FRAMES, [(10, FRAMES)]))
    recast.recast(root, 9)
    heard = {}
    for clip in find(root):
        if clip.kind == "recast":
            with np.load(clip.folder / "landmarks.npz") as saved:
                heard.setdefault(json.loads(str(saved["drawn"]))[2]["hears"], []).append(clip)
    assert set(heard) == {None, "music", "silence"}
    assert all(len(clip.frames) == FRAMES for clip in heard[None])
    for kind in ("music", "silence"):
        for clip in heard[kind]:
            assert np.flatnonzero(np.diff(clip.frames) != 1).tolist() == [FRAMES - 1]  # no run crosses the seam
            assert np.diff(clip.start) == pytest.approx(0.04 * np.diff(clip.frames))
            assert clip.spoken.tolist() == [True] * FRAMES + [False] * (len(clip.frames) - FRAMES)
            assert len(clip.frames) > FRAMES + 25 and len(clip.wave()) == pytest.approx(
                len(clip.frames) * 640 + 640, abs=640
            )
            # What follows shows frames of the pause, whose brightness rises and falls.
            shades = [clip.image(i, 96).mean() for i in range(FRAMES, len(clip.frames))]
            forth = np.arange(13, 23)
            shown = np.resize(np.concatenate([forth, forth[::-1] + 1]), len(shades))
            assert np.corrcoef(shades, shown)[0, 1] > 0.6
            heard_then = clip.wave()[(FRAMES + 2) * 640 :]
            assert kind == "silence" or np.std(heard_then) > 0.005

    clips = find(root)
    listeners = [clip for clip in clips if not clip.spoken.all()][:2]
    # The discriminators do not have to tell what one of them hears from what another hears.
    data = Dataset(clips, ModelConfig(), 4, pairs=False)
    first = [(clips.index(clip), FRAMES + 10) for clip in listeners]
    assert data._in_sync([*first, (first[0][0], 2)], 1).tolist() == [[True, True, False]] * 2 + [[False, False, True]]
