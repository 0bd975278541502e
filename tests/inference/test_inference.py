"""inference.py: what comes out is as long as the sound, in time with it, and whole or not there."""

import dataclasses
import os
import resource
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from helpers import synthetic
from helpers.checks import ROOT, TESTS, assert_one_line
from helpers.synthetic import (
    BLANK,
    RATE,
    PaintedSound,
    beeps,
    loudness_painted,
    number,
    numbered_image,
    onset,
    steady,
    uneven,
)
from lipgan_keras import LipSync, audio, checkpoints, networks
from lipgan_keras.audio import WindowClock
from lipgan_keras.config import ModelConfig
from lipgan_keras.face import cropping, detector
from lipgan_keras.face import photos as face_photos
from lipgan_keras.inference import blend
from lipgan_keras.inference import engine as inference_engine
from lipgan_keras.media import audio_file, probe, video_reader
from lipgan_keras.media.video_writer import VideoWriter
from lipgan_keras.puppets import photos
from lipgan_keras.utils.errors import UserError

CONFIG = ModelConfig("basic", "mel", 0.125)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "generator.h5"
    checkpoints.save_checkpoint(path, {"generator": networks.build(CONFIG)}, CONFIG)
    return path


@pytest.fixture
def quick(monkeypatch):
    """The synthetic detector, and a synthetic generator in place of every checkpoint; gives the latter."""
    painter = PaintedSound(ModelConfig("basic", "mel", 0.125))

    def load(path, engine="auto", batch_size=16, audio_offset_ms=None):
        painter.config = painter.config.with_audio_offset(audio_offset_ms or 0.0)
        return painter

    monkeypatch.setattr(detector, "detect", synthetic.detect)
    monkeypatch.setattr(inference_engine, "load", load)
    monkeypatch.setattr(checkpoints, "read_config", lambda path: painter.config)
    return painter


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    """A folder with face.mp4 (1 s, 25 frames, beep at 0.4 s), face.png, speech.wav (2.3 s)."""
    folder = tmp_path_factory.mktemp("media")
    synthetic.write(folder / "face.mp4", steady(25, 1), 1, audio=(beeps([(0.4, 0.5)], 1), RATE))
    cv2.imwrite(str(folder / "face.png"), numbered_image(77))
    audio_file.save_wav(folder / "speech.wav", beeps([(0.5, 0.7), (1.3, 1.5)], 2.3))
    return folder


def talk(face, sound, out, audio_offset_ms=None, batch_size=16, **options):
    model = LipSync("checkpoint", batch_size=batch_size, audio_offset_ms=audio_offset_ms)
    return model.run(face, sound, out, **{"region": "face"} | options)


def check_length(path, seconds, fps=25):
    """The file lasts `seconds`, video and sound, within one frame; returns its frames."""
    frames = list(video_reader.read_frames(path))
    assert frames[0].time == 0
    assert frames[-1].time + frames[-1].duration == pytest.approx(seconds, abs=0.01)
    assert probe.probe(path).duration == pytest.approx(seconds, abs=1 / fps)
    assert len(audio_file.load_audio(path)) / RATE == pytest.approx(seconds, abs=1 / fps)
    return frames


# The flash and the beep


FLASH = {"25": (steady(25, 1.6), 20), "29.97": (steady(30000 / 1001, 1.6), 25), "uneven": (uneven(1.6), 16)}


@pytest.mark.parametrize("name", FLASH)
@pytest.mark.slow
def test_flash_and_beep_stay_in_their_place(tmp_path, checkpoint, name):
    """With the real detector and a real network."""
    times, at = FLASH[name]
    puppet = photos.load_puppet(next(iter(face_photos.shipped_photos().values())))

    def draw(i):
        image = puppet.render(0.5 + 0.4 * np.sin(i), 0.0)
        if i == at:
            image[:92] = 255
        return image

    sound = beeps([(times[at], times[at] + 0.04)], 1.6, 48000, tone=1000)
    source = synthetic.write(tmp_path / "a.mp4", times, 1.6, draw, (sound, 48000), size=(256, 256))
    summary = LipSync(checkpoint).run(source, source, tmp_path / "b.mp4")
    assert (summary.frames, summary.frames_without_face) == (len(times), 0)
    frames = check_length(tmp_path / "b.mp4", 1.6)
    np.testing.assert_allclose([frame.time for frame in frames], times, atol=1e-3)
    flashes = [frame.time for frame in frames if frame.image[:40].mean() > 250]
    assert flashes == pytest.approx([times[at]], abs=1e-3)
    assert onset(audio_file.load_audio(tmp_path / "b.mp4")) == pytest.approx(times[at], abs=0.005)
    for before, after in zip(
        video_reader.read_frames(source), frames, strict=True
    ):  # the mouth is new, the forehead is not
        change = np.abs(before.image.astype(float) - after.image).mean(axis=2)
        assert change[:90].mean() < 3 < change[150:190, 100:156].mean()


# The sound window


BEEPS = [(0.33, 0.53), (0.91, 1.08), (1.39, 1.62), (2.05, 2.3)]


def centroids(frames):
    """Moments around which the painted mouths are loud, of the beeps in BEEPS, by the middles of the frames."""
    middles = np.array([frame.time + frame.duration / 2 for frame in frames])
    loud = np.array([loudness_painted(frame.image) for frame in frames])
    loud = np.clip((loud - loud.min()) / (loud.max() - loud.min()) - 0.5, 0, None)
    found = []
    for start, end in BEEPS:
        near = (middles > start - 0.12) & (middles < end + 0.12)
        found.append((loud[near] * middles[near]).sum() / loud[near].sum())
    return np.array(found)


WINDOWS = {
    "25": (steady(25, 2.6), {}),
    "29.97": (steady(29.97, 2.6), {}),
    "uneven": (uneven(2.6), {}),
    "forward and back": (steady(25, 0.8), {}),
    "late video": ([0.21 + t for t in steady(25, 2.4)], {}),
    "still": (None, {}),
    "still at 50": (None, {"fps": 50}),
    "static": (steady(30, 1), {"static": True}),
}


@pytest.mark.parametrize("name", WINDOWS)
def test_every_mouth_hears_the_middle_of_its_frame(tmp_path, media, quick, name):
    times, options = WINDOWS[name]
    audio_file.save_wav(tmp_path / "a.wav", beeps(BEEPS, 2.6))
    face, sound = media / "face.png", tmp_path / "a.wav"
    if times:
        face = synthetic.write(tmp_path / "a.mp4", times, times[-1] + 0.04, audio=(beeps(BEEPS, 2.6), RATE))
    if name == "late video":
        sound = face  # whose sound starts 0.21 s before its video
    talk(face, sound, tmp_path / "b.mp4", **options)
    frames = check_length(tmp_path / "b.mp4", len(audio_file.load_audio(sound)) / RATE)
    error = centroids(frames) - np.mean(BEEPS, axis=1)
    assert abs(error.mean()) < 0.008 and np.abs(error).max() < 0.025, error
    heard = np.concatenate(quick.windows)
    features = audio.features(audio_file.load_audio(sound), "mel")
    expected = audio.windows(features, [frame.time + frame.duration / 2 for frame in frames], "mel")
    same = np.mean(np.all(np.abs(heard - expected) < 1e-4, axis=(1, 2, 3)))
    assert same > 0.9 if name == "uneven" else same == 1  # where a middle lies halfway, times kept to 11 us decide


def test_offset_and_released_windows(tmp_path, media, quick):
    audio_file.save_wav(tmp_path / "a.wav", beeps(BEEPS, 2.6))
    middle = np.mean(BEEPS, axis=1)
    talk(media / "face.png", tmp_path / "a.wav", tmp_path / "b.mp4", audio_offset_ms=100)
    error = centroids(list(video_reader.read_frames(tmp_path / "b.mp4"))) - (middle - 0.1)
    assert abs(error.mean()) < 0.02
    quick.config = dataclasses.replace(quick.config, alignment="released")
    # Undoes int(80 i / 25) + 13
    talk(media / "face.png", tmp_path / "a.wav", tmp_path / "b.mp4", audio_offset_ms=-142.5)
    error = centroids(list(video_reader.read_frames(tmp_path / "b.mp4"))) - middle
    assert abs(error.mean()) < 0.012


def test_mfcc_windows(tmp_path, media, quick):
    quick.config = dataclasses.replace(quick.config, audio="mfcc")
    talk(media / "face.mp4", media / "speech.wav", tmp_path / "b.mp4")
    features = audio.mfcc(audio_file.load_audio(media / "speech.wav"))
    middles = [f.time + f.duration / 2 for f in video_reader.read_frames(tmp_path / "b.mp4")]
    heard = np.concatenate(quick.windows)
    same = np.all(np.abs(heard - audio.windows(features, middles, "mfcc")) < 1e-3, axis=(1, 2, 3))
    assert heard.shape[1:] == (12, 35, 1) and same.mean() > 0.9


def test_batches_do_not_matter(tmp_path, media, quick):
    images = []
    for size in (1, 7, 256):
        quick.batches.clear()
        talk(media / "face.mp4", media / "speech.wav", tmp_path / "b.mp4", batch_size=size)
        assert max(quick.batches) == min(size, 58) and sum(quick.batches) == 58
        images.append(np.stack([frame.image for frame in video_reader.read_frames(tmp_path / "b.mp4")]))
    np.testing.assert_array_equal(images[0], images[1])
    np.testing.assert_array_equal(images[0], images[2])


# Length and order


def test_a_short_video_goes_forward_and_back(tmp_path, media, quick):
    audio_file.save_wav(tmp_path / "a.wav", beeps(BEEPS, 3.3))
    summary = talk(media / "face.mp4", tmp_path / "a.wav", tmp_path / "b.mp4")
    frames = check_length(tmp_path / "b.mp4", 3.3)
    there = list(range(25))
    assert [number(f.image) for f in frames] == (there + there[::-1] + there + there[::-1])[: len(frames)]
    assert len(frames) == summary.frames == 83 and summary.seconds == pytest.approx(3.3)
    np.testing.assert_allclose([f.time for f in frames], np.arange(83) / 25, atol=2e-3)


def test_an_uneven_video_goes_back_at_its_own_pace(tmp_path, quick):
    times = uneven(0.8)
    source = synthetic.write(tmp_path / "a.mp4", times, 0.8)
    audio_file.save_wav(tmp_path / "a.wav", beeps(BEEPS, 1.6))
    talk(source, tmp_path / "a.wav", tmp_path / "b.mp4")
    frames = check_length(tmp_path / "b.mp4", 1.6)
    assert [number(f.image) for f in frames] == [*range(len(times)), *reversed(range(len(times)))]
    back = sorted(1.6 - end for end in [*times[1:], 0.8])
    np.testing.assert_allclose([f.time for f in frames], times + back, atol=2e-3)


def test_a_long_video_is_cut(tmp_path, media, quick):
    audio_file.save_wav(tmp_path / "a.wav", beeps([(0.1, 0.2)], 0.53))
    summary = talk(media / "face.mp4", tmp_path / "a.wav", tmp_path / "b.mp4")
    frames = check_length(tmp_path / "b.mp4", 0.53)
    assert [number(f.image) for f in frames] == list(range(14)) and summary.frames == 14


@pytest.mark.parametrize("sound", ["speech.wav", "face.mp4", "other.mp4"])
def test_sound_from_anywhere(tmp_path, media, quick, sound):
    source = media / sound
    if sound == "other.mp4":
        source = synthetic.write(tmp_path / sound, steady(10, 1.4), 1.4, audio=(beeps([(0.3, 0.6)], 1.4, 44100), 44100))
    seconds, start = {"speech.wav": (2.3, 0.5), "face.mp4": (1, 0.4), "other.mp4": (1.4, 0.3)}[sound]
    talk(media / "face.mp4", source, tmp_path / "b.mp4")
    check_length(tmp_path / "b.mp4", seconds)
    assert onset(audio_file.load_audio(tmp_path / "b.mp4")) == pytest.approx(start, abs=0.005)


@pytest.mark.parametrize("seconds", [1 / 16000, 0.004, 0.05])
@pytest.mark.parametrize("face", ["face.mp4", "face.png"])
def test_sound_of_next_to_nothing(tmp_path, media, quick, face, seconds):
    audio_file.save_wav(tmp_path / "a.wav", beeps([(0, 1)], seconds))
    summary = talk(media / face, tmp_path / "a.wav", tmp_path / "b.mp4")
    assert summary.frames == len(list(video_reader.read_frames(tmp_path / "b.mp4"))) >= 1


def test_max_sec(tmp_path, media, quick, capfd):
    talk(media / "face.mp4", media / "speech.wav", tmp_path / "b.mp4", max_sec=0.7)
    assert len(check_length(tmp_path / "b.mp4", 0.7)) == 18
    assert "--max_sec" in capfd.readouterr().err


def test_one_frame_video(tmp_path, media, quick):
    source = synthetic.write(tmp_path / "a.mp4", [0.0], 0.04)
    talk(source, media / "speech.wav", tmp_path / "b.mp4")
    frames = check_length(tmp_path / "b.mp4", 2.3)
    assert len(frames) == 58 and {number(f.image) for f in frames} == {0}


def test_static_uses_the_first_frame_with_a_face(tmp_path, media, quick):
    source = synthetic.write(tmp_path / "a.mp4", steady(30, 1), 1, lambda i: numbered_image(i, face=i > 3))
    summary = talk(source, media / "speech.wav", tmp_path / "b.mp4", static=True, fps=20)
    frames = check_length(tmp_path / "b.mp4", 2.3, 20)
    assert {number(f.image) for f in frames} == {4} and len(frames) == 46 and summary.frames_without_face == 0


# Faces that come and go


def test_frames_without_a_face_pass_through(tmp_path, media, quick):
    def draw(i):
        return numbered_image(i, face=not 8 <= i < 15)

    source = synthetic.write(tmp_path / "a.mp4", steady(25, 1), 1, draw)
    summary = talk(source, media / "speech.wav", tmp_path / "b.mp4")
    frames = check_length(tmp_path / "b.mp4", 2.3)
    there = list(range(25))
    assert [number(f.image) for f in frames] == (there + there[::-1] + there)[: len(frames)]
    blank = [f for f in frames if 8 <= number(f.image) < 15]
    assert summary.frames_without_face == len(blank) == 7 * 2
    for frame in blank:
        assert np.abs(frame.image.astype(float) - draw(number(frame.image))).mean() < 2
        assert abs(loudness_painted(frame.image) * 255 - BLANK) < 4
    assert quick.batches  # the others went through it


@pytest.mark.slow
def test_no_face_at_all_is_said_soon(tmp_path, media, checkpoint, monkeypatch):
    """The real detector, and a long video, of which few frames are looked at."""
    looked, detect = [], detector.detect
    monkeypatch.setattr(detector, "detect", lambda images: looked.append(len(images)) or detect(images))
    texture = np.random.default_rng(0).integers(0, 255, (12, 16, 3), np.uint8)
    image = cv2.resize(texture, (320, 240), interpolation=cv2.INTER_CUBIC)
    source = synthetic.write(tmp_path / "a.mp4", steady(25, 25), 25, lambda i: image, size=(320, 240))
    with pytest.raises(UserError, match=r"a\.mp4: no face found"):
        LipSync(checkpoint).run(source, media / "speech.wav", tmp_path / "b.mp4")
    assert 0 < sum(looked) < 125
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_no_face_while_the_sound_lasts(tmp_path, media, quick):
    source = synthetic.write(tmp_path / "a.mp4", steady(25, 4), 4, lambda i: numbered_image(i, face=i > 80))
    (tmp_path / "b.mp4").write_bytes(b"the old one of lipgan_keras")
    with pytest.raises(UserError, match="no face"):
        talk(source, media / "speech.wav", tmp_path / "b.mp4")
    assert (tmp_path / "b.mp4").read_bytes() == b"the old one of lipgan_keras"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mp4", "b.mp4"]


# Images of all kinds


def test_rotated_phone_video(tmp_path, media, quick):
    upright = synthetic.write(
        tmp_path / "a.mp4", steady(25, 0.6), 0.6, lambda i: np.rot90(numbered_image(i, (96, 160))), size=(160, 96)
    )
    data = bytearray(upright.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    data[at : at + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 0x40000000)  # a quarter turn clockwise
    upright.write_bytes(data)
    talk(upright, media / "speech.wav", tmp_path / "b.mp4", max_sec=0.6)
    frames = check_length(tmp_path / "b.mp4", 0.6)
    assert frames[0].image.shape == (160, 96, 3)
    assert [number(f.image) for f in frames] == list(range(15))


def test_odd_sizes_and_pads(tmp_path, media, quick):
    cv2.imwrite(str(tmp_path / "a.png"), numbered_image(5, (133, 101)))
    talk(tmp_path / "a.png", media / "speech.wav", tmp_path / "b.mp4", max_sec=0.2, pads=(3, 30, 0, 5))
    frames = check_length(tmp_path / "b.mp4", 0.2)
    assert frames[0].image.shape == (102, 134, 3) and number(frames[0].image[:101, :133]) == 5


def test_pads_move_the_edges_outwards(tmp_path, media, quick, monkeypatch):
    boxes, extract = [], cropping.extract
    monkeypatch.setattr(cropping, "extract", lambda image, box, *a: boxes.append(box) or extract(image, box, *a))
    for pads in ((0, 0, 0, 0), (1, 2, 3, 4)):
        talk(media / "face.png", media / "speech.wav", tmp_path / "b.mp4", max_sec=0.04, pads=pads)
    np.testing.assert_allclose(boxes[1] - boxes[0], [-3, -1, 4, 2], atol=1e-6)


# The command line


def run(capfd, *arguments):
    return synthetic.call("inference.py", *arguments, capfd=capfd)


@pytest.mark.parametrize(
    "face, flags, expected",
    [
        ("face.png", [], [False]),
        ("face.mp4", [], [True]),
        ("face.mp4", ["--box", 0, 9, 0, 9], []),
        ("face.mp4", ["--engine", "keras"], []),
    ],
)
def test_the_detector_loads_beside(tmp_path, media, quick, capfd, monkeypatch, face, flags, expected):
    """With OpenVINO for a video; not where no face is looked for, or this process loads TensorFlow itself."""
    started = []
    monkeypatch.setattr(detector, "start_process", lambda openvino: started.append(openvino))
    monkeypatch.setattr(inference_engine, "GPU_DEVICES", ())
    run(capfd, "--checkpoint_path", tmp_path / "none", "--face", media / face, "--audio", media / "speech.wav", *flags)
    assert started == []  # what is wrong with a flag is said first
    out = ["--outfile", tmp_path / "none" / "a.txt"]
    run(capfd, "--checkpoint_path", __file__, "--face", media / face, "--audio", media / "speech.wav", *out, *flags)
    assert started == expected


def test_default_name_and_messages(tmp_path, media, quick, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    face, sound = media / "face.mp4", media / "speech.wav"
    required = ["--checkpoint_path", __file__, "--face", face, "--audio", sound]
    result = run(capfd, *required)
    assert result.returncode == 0
    assert result.stdout.startswith("results/face_speech.mp4: 2.30 s, 58 frames, 0 of them with no face; painted, ")
    assert "x real time" in result.stdout
    assert os.listdir("results") == ["face_speech.mp4"]
    mask = os.umask(0)
    os.umask(mask)
    assert Path("results/face_speech.mp4").stat().st_mode & 0o777 == 0o666 & ~mask
    assert run(capfd, *required, "--results_dir", "else/where").returncode == 0 and os.listdir("else/where")
    result = run(capfd, *required, "--fps", "30", "--outfile", "b.mp4")
    assert result.returncode == 0 and "--fps is for stills" in result.stderr
    assert len(list(video_reader.read_frames("b.mp4"))) == 58


@pytest.mark.slow
def test_bad_input_gets_one_line(tmp_path, media, checkpoint, capfd):
    def bad(*words, **flags):
        out = tmp_path / "out.mp4"
        given = {
            "checkpoint_path": checkpoint,
            "face": media / "face.png",
            "audio": media / "speech.wav",
            "outfile": out,
        }
        arguments = []
        for name, value in (given | flags).items():
            arguments += [f"--{name}", *(value if isinstance(value, list) else [value])]
        begin = time.monotonic()
        assert_one_line(run(capfd, *arguments), *words)
        assert time.monotonic() - begin < 10
        assert not out.exists() and not list(tmp_path.glob(".*"))

    def file(name, content):
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    mp4 = (media / "face.mp4").read_bytes()
    text, empty = file("text.mp4", b"hello\n" * 40), file("empty.mp4", b"")
    cut, noise = file("cut.mp4", mp4[: len(mp4) // 2]), file("noise.mp4", np.random.default_rng(0).bytes(5000))
    late = file("late.mp4", mp4.replace(b"moov", b"free"))
    silent = synthetic.write(tmp_path / "silent.mp4", steady(25, 0.4), 0.4)
    audio_file.save_wav(tmp_path / "nothing.wav", np.zeros(0, np.float32))
    none = tmp_path / "none.mp4"
    bad(none, "no such file", face=none)
    bad(none, "no such file", audio=none)
    bad(none, "no such file", checkpoint_path=none)
    bad(tmp_path, "is a folder", face=tmp_path)
    bad(tmp_path, audio=tmp_path)
    bad(text, "text file", face=text)
    bad(text, audio=text)
    bad(empty, "empty", face=empty)
    bad(empty, audio=empty)
    bad(cut, "cut off", face=cut)
    bad(late, "cut off", face=late)
    bad(noise, face=noise)
    bad(noise, audio=noise)
    bad(media / "speech.wav", "sound only", face=media / "speech.wav")
    bad(silent, "no audio stream", audio=silent)
    bad(media / "face.png", audio=media / "face.png")
    bad(tmp_path / "nothing.wav", "no sound", audio=tmp_path / "nothing.wav")

    bad(noise, "not an HDF5 file", checkpoint_path=noise)
    bad(text, checkpoint_path=text)
    weights = checkpoint.read_bytes()
    for share in (0.02, 0.5, 0.99):
        bad("cut.h5", checkpoint_path=file("cut.h5", weights[: int(share * len(weights))]))
    checkpoints.save_checkpoint(tmp_path / "d.h5", {"discriminator": networks.build(CONFIG, "discriminator")}, CONFIG)
    bad("d.h5", "holds no generator", checkpoint_path=tmp_path / "d.h5")
    checkpoints.save_checkpoint(
        tmp_path / "w.h5", {"generator": networks.build(CONFIG)}, ModelConfig("residual", "mel", 0.125)
    )
    bad("w.h5", "does not fit", "basic mel generator", checkpoint_path=tmp_path / "w.h5")

    bad(media / "face.mp4", "input", face=media / "face.mp4", outfile=media / "face.mp4")
    bad(media / "face.mp4", "input", audio=media / "face.mp4", outfile=media / "face.mp4")
    os.link(media / "face.mp4", tmp_path / "link.mp4")
    bad("link.mp4", "input", audio=media / "face.mp4", outfile=tmp_path / "link.mp4")
    bad("out.avi", ".mp4", outfile=tmp_path / "out.avi")
    (tmp_path / "folder.mp4").mkdir()
    bad("folder.mp4", "folder", outfile=tmp_path / "folder.mp4")
    bad(tmp_path / "text.mp4", "cannot write", outfile=tmp_path / "text.mp4" / "out.mp4")
    bad("/proc/x", "cannot write", outfile="/proc/x/out.mp4")

    bad("--pads", pads=[1, 2, 3])
    bad("--pads", pads=["a", 0, 0, 0])
    bad("--pads", "exceeds", pads=[100000, 0, 0, 0])
    bad("--lipgan_batch_size", lipgan_batch_size=-4)
    bad("--lipgan_batch_size", lipgan_batch_size=0)
    for value in ("-1", "0", "nan", "inf", "1e9", "many"):
        bad("--fps", fps=value)
    for value in ("-1", "0", "nan", "inf", "long"):
        bad("--max_sec", max_sec=value)
    bad("--audio_offset_ms", audio_offset_ms="nan")
    bad("--what", what=1)
    assert_one_line(run(capfd, "--face", media / "face.png"), "--audio")


def test_without_the_checkpoint_that_ships(tmp_path, media, monkeypatch, capfd):
    monkeypatch.setattr(checkpoints, "SHIPPED", tmp_path / "gone.h5")
    result = run(capfd, "--face", media / "face.png", "--audio", media / "speech.wav", "--outfile", tmp_path / "b.mp4")
    assert_one_line(result, "gone.h5", "--checkpoint_path")
    assert not (tmp_path / "b.mp4").exists()


def test_pads_that_leave_nothing(tmp_path, media, quick, capfd):
    required = ["--checkpoint_path", __file__, "--face", media / "face.png", "--audio", media / "speech.wav"]
    result = run(capfd, *required, "--outfile", tmp_path / "b.mp4", "--pads", -60, -60, 0, 0)
    assert_one_line(result, "--pads")


@pytest.mark.slow
def test_keras_2_checkpoint(tmp_path, media, golden_checkpoint, monkeypatch):
    """The released indexing and crop, and the offset."""
    puppet = photos.load_puppet(next(iter(face_photos.shipped_photos().values())))
    cv2.imwrite(str(tmp_path / "a.png"), puppet.render(0.3, 0.0))
    heard, centres = [], WindowClock.centres
    monkeypatch.setattr(WindowClock, "centres", lambda clock, *a: heard.append(clock) or centres(clock, *a))
    model = LipSync(golden_checkpoint("mel_basic.full.h5"), audio_offset_ms=-320)
    model.run(tmp_path / "a.png", media / "speech.wav", tmp_path / "b.mp4", max_sec=0.2)
    assert set(heard) == {WindowClock("mel", "released", -320)}
    assert len(check_length(tmp_path / "b.mp4", 0.2)) == 5


# Failures on the way


def test_a_full_disc_leaves_the_old_file(tmp_path, media, quick, capfd):
    noise = np.random.default_rng(0)
    source = synthetic.write(
        tmp_path / "a.mp4", steady(25, 1), 1, lambda i: noise.integers(0, 255, (128, 128, 3), np.uint8)
    )
    out = tmp_path / "b.mp4"
    out.write_bytes(b"the old one of lipgan_keras")
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, before[1]))
    try:
        result = run(
            capfd, "--checkpoint_path", __file__, "--face", source, "--audio", media / "speech.wav", "--outfile", out
        )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert result.returncode == 2 and "Traceback" not in result.stderr
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("inference.py: error: ") and f"{out}: File too large" in last, last
    assert out.read_bytes() == b"the old one of lipgan_keras" and sorted(os.listdir(tmp_path)) == ["a.mp4", "b.mp4"]


PROGRAM = """
import resource, sys
from helpers import synthetic
from lipgan_keras import LipSync, checkpoints
from lipgan_keras.config import ModelConfig
from lipgan_keras.face import detector
from lipgan_keras.inference import engine
from lipgan_keras.utils import cli
detector.detect = synthetic.detect
painter = synthetic.PaintedSound(ModelConfig("basic", "mel", 0.125))
checkpoints.read_config = lambda path: painter.config
engine.load = lambda *_: painter
"""


def program(code, *arguments, **env):
    paths = os.pathsep.join(map(str, (TESTS, ROOT)))
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM + code, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": paths} | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.slow
def test_memory_does_not_grow_with_length(tmp_path):
    synthetic.write(tmp_path / "a.mp4", steady(25, 3), 3, size=(640, 480))
    for seconds in (2, 10):
        audio_file.save_wav(tmp_path / f"{seconds}.wav", beeps([(0.1, 0.4)], seconds))
    code = """
for name in ("2", "10"):
    LipSync("c").run(f"{sys.argv[1]}/a.mp4", f"{sys.argv[1]}/{name}.wav", f"{sys.argv[1]}/out.mp4")
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""
    stdout, stderr = program(code, tmp_path).communicate(timeout=200)
    short, long = map(int, stdout.split())
    assert long - short < 60, stderr  # MiB; the frames of 8 s are 176


def test_ctrl_c_leaves_no_file(tmp_path, media):
    (tmp_path / "b.mp4").write_bytes(b"the old one of lipgan_keras")
    arguments = ["--checkpoint_path", __file__, "--face", media / "face.mp4", "--audio", media / "speech.wav"]
    code = "import inference\ncli.run(inference.main)"
    process = program(
        code, *arguments, "--outfile", tmp_path / "b.mp4", "--lipgan_batch_size", 4, SECONDS_A_FRAME="0.1"
    )
    end = time.monotonic() + 60
    while not list(tmp_path.glob(".*")):
        assert process.poll() is None and time.monotonic() < end, process.communicate()
        time.sleep(0.05)
    time.sleep(1)
    os.killpg(process.pid, signal.SIGINT)
    begin = time.monotonic()
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130 and time.monotonic() - begin < 8
    assert "Traceback" not in stderr and "Error" not in stderr and "Exception" not in stderr, stderr
    assert os.listdir(tmp_path) == ["b.mp4"] and (tmp_path / "b.mp4").read_bytes() == b"the old one of lipgan_keras"


@pytest.mark.slow
def test_the_real_program(tmp_path, script):
    puppet = photos.load_puppet(next(iter(face_photos.shipped_photos().values())))
    cv2.imwrite(str(tmp_path / "a.png"), puppet.render(0.3, 0.0))
    audio_file.save_wav(tmp_path / "a.wav", beeps([(0.1, 0.3)], 0.5))
    done = script("inference.py", "--face", "a.png", "--audio", "a.wav")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("results/a_a.mp4: 0.50 s, 12 frames, 0 of them with no face")
    assert "frame/s" in done.stderr and "rror" not in done.stderr and "arning" not in done.stderr
    check_length(tmp_path / "results" / "a_a.mp4", 0.5)


@pytest.mark.parametrize(
    ("size", "options", "expected"),
    [
        ((2400, 1800), {}, (1920, 1440)),
        ((2400, 1800), {"max_side": 0}, (2400, 1800)),
        ((2400, 1800), {"max_side": 800, "resize_factor": 2}, (800, 600)),
        ((1800, 2400), {"resize_factor": 2}, (900, 1200)),
    ],
)
def test_large_stills_become_what_phones_play(tmp_path, media, quick, capfd, size, options, expected):
    cv2.imwrite(str(tmp_path / "a.png"), numbered_image(77, size))
    talk(tmp_path / "a.png", media / "speech.wav", tmp_path / "b.mp4", max_sec=0.1, **options)
    with av.open(str(tmp_path / "b.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == expected
        level = container.streams.video[0].codec_context.extradata[3]
    said = capfd.readouterr().err.splitlines()
    assert [line for line in said if "--max_side 0" in line] == said[: not options]
    assert options or (level <= 51 and "1920x1440" in said[0])


def test_a_still_is_set_up_once(tmp_path, media, quick, monkeypatch):
    """What does not change from frame to frame is not computed for each."""
    calls = []
    for module, name in ((cropping, "extract"), (blend.Composer, "_shapes")):
        kept = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a, kept=kept, name=name: calls.append(name) or kept(*a))
    talk(media / "face.png", media / "speech.wav", tmp_path / "b.mp4", max_sec=1, region="jaw")
    assert sorted(calls) == ["_shapes", "extract"]
    moving = talk(media / "face.mp4", media / "speech.wav", tmp_path / "c.mp4", max_sec=1, region="jaw")
    assert calls.count("_shapes") == moving.frames + 1


def test_quiet_speech_is_heard_as_loud_speech_is(tmp_path, media, quick):
    """And the sound of the result stays as quiet as it was."""
    heard = []
    for decibel in (-15, -35):
        quick.windows.clear()
        wave = audio_file.load_audio(TESTS / "golden" / "bbaf2n.wav", 1.5) * np.float32(10 ** (decibel / 20))
        audio_file.save_wav(tmp_path / "a.wav", wave)
        talk(media / "face.png", tmp_path / "a.wav", tmp_path / "b.mp4")
        heard.append(np.concatenate(quick.windows))
        level = np.sqrt(np.square(audio_file.load_audio(tmp_path / "b.mp4")).mean() / np.square(wave).mean())
        assert 0.7 < level < 1.4
    assert np.abs(heard[0] - heard[1]).mean() < 0.2


def test_what_is_to_be_kept_is_the_source_s(tmp_path, media, quick, monkeypatch):
    written = []
    monkeypatch.setattr(VideoWriter, "write", lambda self, image, *_: written.append(image))
    mask = np.zeros((128, 128), np.uint8)
    mask[:, :64] = 255
    cv2.imwrite(str(tmp_path / "keep.png"), mask)
    frames = [frame.image for frame in video_reader.read_frames(media / "face.mp4")]
    talk(media / "face.mp4", media / "face.mp4", tmp_path / "b.mp4", keep=tmp_path / "keep.png")
    assert len(written) == len(frames)
    for image, frame in zip(written, frames, strict=True):
        np.testing.assert_array_equal(image[:, :64], frame[:, :64])
        assert not np.array_equal(image[:, 64:], frame[:, 64:])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("small.png", "is 60x128 pixels.*128x128"),
        ("white.png", "one grey"),
        ("face.mp4", "no still"),
        ("x", "no such file"),
    ],
)
def test_masks_that_say_nothing_are_refused(tmp_path, media, quick, name, said):
    cv2.imwrite(str(tmp_path / "small.png"), np.zeros((128, 60), np.uint8))
    cv2.imwrite(str(tmp_path / "white.png"), np.full((128, 128), 255, np.uint8))
    path = media / name if name == "face.mp4" else tmp_path / name
    with pytest.raises(UserError, match=f"{name}: .*{said}"):
        talk(media / "face.png", media / "speech.wav", tmp_path / "b.mp4", keep=path)
    assert not (tmp_path / "b.mp4").exists()
