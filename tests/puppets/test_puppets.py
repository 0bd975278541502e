"""Puppets: the sound carries the mouth, the image shows it, and the files keep both in time."""

import dataclasses
import json
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

from lipgan_keras.data import clip_folder
from lipgan_keras.data.clip_folder import Clip
from lipgan_keras.face import aperture, detector, regions
from lipgan_keras.face import photos as face_photos
from lipgan_keras.media import audio_file, probe, video_reader
from lipgan_keras.puppets import __main__, speech, utterance
from lipgan_keras.puppets import clips as puppets_clips
from lipgan_keras.puppets import photos as puppets_photos
from lipgan_keras.puppets.camera import Place
from lipgan_keras.puppets.face import Puppet
from lipgan_keras.utils import cli
from lipgan_keras.utils.errors import UserError

NAMES = ["grace_hopper", "astronaut"]


@pytest.fixture(scope="module")
def faces():
    """The shipped photos as puppets."""
    return {name: puppets_photos.load_puppet(file) for name, file in face_photos.shipped_photos().items()}


def mouth(image):
    """The part of a frame of an unmoved puppet around its mouth and chin."""
    return image[130:210, 85:171].astype(float)


def darkest(image):
    """Minus the brightness of the darkest twentieth of the mouth: what an opening mouth shows."""
    grey = np.sort(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)[142:185, 104:152].ravel())
    return -grey[: len(grey) // 20].mean()


def test_speech_is_what_the_mouth_says():
    correlations = []
    for seed in range(4):
        wave, opening, width = speech.synthesise_speech(6.0, np.random.default_rng(seed))
        assert wave.shape == (96000,) and wave.dtype == np.float32 and 0.2 < np.abs(wave).max() <= 1
        assert opening.shape == width.shape == (150,) and opening.dtype == width.dtype == np.float32
        assert opening.min() == 0 and 0.75 < opening.max() <= 1 and opening.std() > 0.15
        assert -1 <= width.min() < -0.3 and 0.3 < width.max() <= 1
        heard = speech.articulation_from_speech(wave)
        level = np.sqrt((wave.reshape(150, 640) ** 2).mean(1))
        assert level[opening > 0.5].mean() > 3 * level[opening < 0.02].mean()
        correlations.append([np.corrcoef(opening, heard[0])[0, 1], np.corrcoef(width, heard[1])[0, 1]])
    assert np.mean(correlations, axis=0) == pytest.approx([0.97, 0.75], abs=0.12)


def test_the_first_formant_follows_the_opening():
    wave, opening, _ = speech.synthesise_speech(20.0, np.random.default_rng(3))
    spectra = np.abs(np.fft.rfft(wave.reshape(-1, 640) * np.hanning(640), axis=1)) ** 2  # 25 Hz a bin
    voiced = spectra[:, 4:120].sum(1) > np.median(spectra[:, 4:120].sum(1))
    centroid = (spectra[:, 8:45] * np.arange(8, 45)).sum(1) / spectra[:, 8:45].sum(1) * 25
    assert np.corrcoef(centroid[voiced], opening[voiced])[0, 1] > 0.7
    assert centroid[voiced & (opening > 0.8)].mean() > 1.4 * centroid[voiced & (opening < 0.3)].mean()


def test_speech_is_deterministic_and_takes_any_rate():
    first, again = (speech.synthesise_speech(2.0, np.random.default_rng(5)) for _ in range(2))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first[0], speech.synthesise_speech(2.0, np.random.default_rng(6))[0])
    wave, opening, width = speech.synthesise_speech(2.0, np.random.default_rng(5), fps=30)
    assert len(wave) == 32000 and len(opening) == len(width) == 60
    wave, opening, width = speech.synthesise_speech(0.01, np.random.default_rng(5))
    assert len(wave) == 640 and len(opening) == len(width) == 1


@pytest.mark.parametrize("samples", [0, 1, 300, 640, 16000])
def test_silence_keeps_the_mouth_shut(samples):
    opening, width = speech.articulation_from_speech(np.zeros(samples, np.float32))
    assert len(opening) == len(width) == max(1, samples // 640)
    assert np.all(opening == 0) and np.all(width == 0)


@pytest.mark.parametrize("name", NAMES)
def test_the_mouth_opens_and_nothing_else_moves(faces, name):
    puppet = faces[name]
    frames = [puppet.render(opening, 0.0) for opening in (0, 0.25, 0.5, 0.75, 1)]
    assert frames[0].shape == (256, 256, 3) and frames[0].dtype == np.uint8
    for frame in frames[1:]:
        np.testing.assert_array_equal(frame[:110], frames[0][:110])  # eyes and nose
    # Wide open, the column through the middle of the mouth shows some 10 pixels of 96 that are neither lip nor skin:
    # where the closed mouth has its line, the lower lip is that far below.
    closed, wide = mouth(frames[0]), mouth(frames[-1])
    assert np.abs(wide - closed).mean() > 12
    change = np.abs(wide - closed).mean(2)[:, 38:48].mean(1) > 25
    assert change.sum() * 96 / 150 > 8
    distances = [np.abs(mouth(frame) - closed).mean() for frame in frames]
    assert distances == sorted(distances) and distances[1] > 2
    narrow, spread = (mouth(puppet.render(0.3, width)) for width in (-1, 1))
    assert np.abs(narrow - spread).mean() > 6


def test_a_smile_with_teeth_is_closed(faces):
    def teeth(image):  # bright and grey
        lips = image[153:172, 110:142].astype(int)
        return ((lips.min(2) > 130) & (np.ptp(lips, axis=2) < 30)).sum()

    puppet = faces["astronaut"]
    untouched = dataclasses.replace(puppet.geometry, lower=puppet.geometry.upper, rest_width=1.0)
    smile = Puppet(puppet.photo, untouched)  # the teeth are taken for a part of the lower lip
    assert teeth(smile.render(0, 0)) > 40 and teeth(puppet.render(0.3, 1)) > 40
    assert teeth(puppet.render(0, 0)) < 15 and teeth(puppet.render(0, -1)) < 15


def test_mirror_and_light(faces):
    puppet = faces["grace_hopper"]
    mirrored = puppet.mirrored()
    assert mirrored.name == "grace_hopper_mirrored"
    frame, other = puppet.render(0.6, 0.3), mirrored.render(0.6, 0.3)[:, ::-1]
    # The frame's middle lies between two pixels, so that the mirror image is one pixel off.
    assert np.abs(frame[:, 1:].astype(float) - other[:, :-1]).mean() < 3
    varied = puppet.varied(np.random.default_rng(2)).render(0.6, 0.3)
    assert 1 < np.abs(frame.astype(float) - varied).mean() < 40
    moved = puppet.render(0.6, 0.3, Place(shift=(5, -3)))
    assert np.abs(moved[:-3, 5:].astype(float) - frame[3:, :-5])[20:-20, 20:-20].mean() < 2


def test_the_lip_line_of_a_given_photo_is_found():
    photo = cv2.imread(str(face_photos.shipped_photos()["grace_hopper"]))
    landmarks = np.array([[220, 190], [308, 186], [268, 237], [232, 277], [304, 273]], float)
    found = puppets_photos._find_mouth(photo, (178, 110, 351, 330), landmarks)
    by_hand = puppets_photos._SHIPPED["grace_hopper"]
    for x in (250, 268, 290):
        line = [
            np.mean([np.interp(x, *zip(*edge, strict=True)) for edge in (g.upper, g.lower)]) for g in (found, by_hand)
        ]
        assert abs(line[0] - line[1]) < 3


def test_clip_is_in_time(tmp_path, faces):
    wave, opening, width = speech.synthesise_speech(3.0, np.random.default_rng(0))
    path = tmp_path / "new" / "clip.mp4"
    puppets_clips.write_clip(path, faces["astronaut"], wave, opening, width, np.random.default_rng(1))
    info = probe.probe(path)
    assert (info.width, info.height, info.has_audio) == (256, 256, True)
    assert info.fps == pytest.approx(25) and info.duration == pytest.approx(3.0, abs=0.001)
    frames = list(video_reader.read_frames(path))
    assert [round(frame.time * 25, 3) for frame in frames] == list(range(75))
    dark = [darkest(frame.image) for frame in frames]
    at = [
        np.corrcoef(dark[max(0, lag) : 75 + min(0, lag)], opening[max(0, -lag) : 75 - max(0, lag)])[0, 1]
        for lag in (-2, -1, 0, 1, 2)
    ]
    assert max(at) == at[2] > 0.8
    sound = audio_file.load_audio(path)
    assert abs(len(sound) - 48000) <= 1024
    lags = np.correlate(sound[:40000], wave[800:39200], "valid")
    assert abs(np.argmax(lags) - 800) < 160  # 10 ms
    with np.load(path.with_suffix(".npz")) as truth:
        np.testing.assert_array_equal(truth["opening"], opening)
        np.testing.assert_array_equal(truth["width"], width)
        assert truth["fps"] == 25
    assert sorted(os.listdir(path.parent)) == ["clip.mp4", "clip.npz"]


@pytest.mark.slow
def test_make_clips(tmp_path):
    paths = puppets_clips.make_clips(tmp_path / "a", 5, seed=3, seconds=0.6)
    names = [f"main/{name}" for name in (*NAMES, "grace_hopper_mirrored", "astronaut_mirrored")]
    expected = [*(f"{name}/00001.mp4" for name in names), "main/grace_hopper/00002.mp4"]
    assert [str(path.relative_to(tmp_path / "a")) for path in paths] == expected
    contents = [path.read_bytes() for path in paths]
    assert len(set(contents)) == 5
    # Again in another place, by two processes: the same bytes.
    again = puppets_clips.make_clips(tmp_path / "b", 5, seed=3, seconds=0.6, num_workers=2)
    assert [path.read_bytes() for path in again] == contents
    # A rerun makes what is missing or was made otherwise, and nothing else.
    before = [path.stat().st_mtime_ns for path in paths]
    paths[1].unlink()
    paths[2].with_suffix(".npz").write_bytes(b"broken")
    puppets_clips.make_clips(tmp_path / "a", 5, seed=3, seconds=0.6)
    changed = [path.stat().st_mtime_ns != time for path, time in zip(paths, before, strict=True)]
    assert changed == [False, True, True, False, False]
    assert [path.read_bytes() for path in paths] == contents
    puppets_clips.make_clips(tmp_path / "a", 1, seed=4, seconds=0.6)
    assert paths[0].read_bytes() != contents[0]


def test_given_speech_moves_the_mouth(tmp_path):
    wave, _, _ = speech.synthesise_speech(4.0, np.random.default_rng(8))
    audio_file.save_wav(tmp_path / "speech.wav", wave)
    (path,) = puppets_clips.make_clips(tmp_path, 1, seconds=2.0, speech=[tmp_path / "speech.wav"])
    sound = audio_file.load_audio(path)[:32000]
    first = np.argmax(np.correlate(wave, sound[:16000], "valid"))
    with np.load(path.with_suffix(".npz")) as truth:
        opening = truth["opening"]
    assert len(opening) == 50
    expected, _ = speech.articulation_from_speech(wave[first : first + 32000])
    assert np.corrcoef(opening, expected)[0, 1] > 0.95


def test_a_varied_sound_is_speech_noise_or_silence_and_only_speech_moves_the_mouth():
    real, _, _ = speech.synthesise_speech(5.0, np.random.default_rng(1))
    kinds = set()
    for seed in range(50):
        sound = utterance.draw_utterance(1.0, [utterance.Speech(real)], np.random.default_rng(seed))
        kinds |= {(sound.numbers["sound"], sound.numbers.get("besides"))}
        assert sound.wave.shape == (16000,) and np.abs(sound.wave).max() <= 1
        assert sound.opening.shape == sound.width.shape == (25,)
        still = sound.numbers["sound"] in ("silence", "music")
        assert not sound.opening.any() and not sound.width.any() if still else sound.opening.max() > 0.2
    assert {kind for kind, _ in kinds} == {"synthesised", "speech", "music", "silence"}
    assert {besides for _, besides in kinds} == {None, "music", "noise"}
    assert utterance.draw_utterance(1.0, [], np.random.default_rng(7)).numbers["sound"] != "speech"


def test_voices_vary():
    def spectrum(seed):
        wave, opening, _ = speech.synthesise_speech(3.0, np.random.default_rng(seed), varied=True)
        assert np.isfinite(wave).all() and np.abs(wave).max() <= 1 and opening.max() > 0.5
        power = (np.abs(np.fft.rfft(wave)) ** 2).reshape(-1)[: 8000 * 3]
        return (power * np.arange(len(power)) / 3).sum() / power.sum()

    centres = [spectrum(seed) for seed in range(10)]
    assert max(centres) > 1.8 * min(centres)


@pytest.fixture(scope="module")
def crops(tmp_path_factory):
    """Varied crops, 1.6 s each, and their folder."""
    root = tmp_path_factory.mktemp("crops")
    return root, puppets_clips.make_clips(root, 12, seed=2, seconds=1.6, varied=True, crops=True)


@pytest.mark.slow
def test_crops_are_what_training_reads(crops):
    root, paths = crops
    assert paths[0] == root / "main" / "grace_hopper" / "00001" and len(set(paths)) == 12
    clips = clip_folder.find_clips(root, "mel", progress=False)
    assert [clip.folder for clip in clips] == sorted(paths)
    for clip in clips[:2]:
        assert clip.layout == "lipgan_keras" and list(clip.frames) == list(range(40))
        np.testing.assert_allclose(clip.start * 25, np.arange(40), atol=1e-6)
        assert clip.image(3, 96).shape == (96, 96, 3) and clip.saved_size == 96
        assert np.abs(clip.landmarks - regions.default_landmarks()).max() < 15
        assert np.all(np.abs(clip.landmarks[:, 3:].mean(1) - regions.default_landmarks()[3:].mean(0)) < 5)
        assert len(clip.wave()) == 25600 and clip.features("mel").shape[0] == 80
        with np.load(f"{clip.folder}.npz") as truth:
            assert truth["opening"].shape == (40,) and truth["landmarks"].shape == (40, 5, 2)
            assert {"person", "camera", "sound"} <= json.loads(str(truth["drawn"])).keys()
    other, again = root / "other", [path for path in paths[:2]]
    fresh = puppets_clips.make_clips(other, 2, seed=2, seconds=1.6, varied=True, crops=True)
    for new, old in zip(fresh, again, strict=False):
        for name in sorted(os.listdir(old)):
            if not name.endswith(".npz"):
                assert (new / name).read_bytes() == (old / name).read_bytes()
    # Kept as they are; made anew with another seed; what somebody else made is left alone.
    before = (fresh[0] / "0.jpg").stat().st_mtime_ns
    puppets_clips.make_clips(other, 1, seed=2, seconds=1.6, varied=True, crops=True)
    assert (fresh[0] / "0.jpg").stat().st_mtime_ns == before
    puppets_clips.make_clips(other, 1, seed=9, seconds=0.4, varied=True, crops=True)
    assert len(list(fresh[0].glob("*.jpg"))) == 10
    (fresh[1] / "landmarks.npz").unlink()
    with pytest.raises(UserError, match="00001: is there"):
        puppets_clips.make_clips(other, 2, seed=2, seconds=1.6, varied=True, crops=True)


def drawn(paths):
    """What was drawn for clips."""
    found = []
    for path in paths:
        with np.load(f"{path}.npz") as truth:
            found.append(json.loads(str(truth["drawn"])))
    return found


@pytest.mark.slow
def test_clear_puppets(crops, tmp_path):
    """Better cameras, smiles, and mouths that differ less; not those of the varied ones that were there."""
    script = [
        sys.executable,
        "-m",
        "lipgan_keras.puppets",
        "--out",
        tmp_path,
        "--seconds",
        0.2,
        "--crops",
        "--num_workers",
        1,
    ]
    for flags in (["--clips", 1, "--varied"], ["--clips", 16, "--clear"]):
        result = subprocess.run([str(word) for word in script + flags], check=False, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
    varied, clear = (
        drawn(paths) for paths in (crops[1], sorted(path.with_suffix("") for path in tmp_path.rglob("0*.npz")))
    )
    assert len(varied) == 12 and len(clear) == 16
    assert max(d["camera"]["noise"] for d in clear) <= 2.8 < max(d["camera"]["noise"] for d in varied)
    for name, (low, high) in {"upper_teeth": (0.13, 0.18), "lower_teeth": (0, 0.05), "raised": (0.25, 0.45)}.items():
        assert all(low <= d["mouth"][name] <= high for d in clear) and not all(
            low <= d["mouth"][name] <= high for d in varied
        )
    assert all(len(d["mouth"]["teeth"]) == 3 for d in varied)
    assert any(d["person"]["smile"] for d in clear) and not any(d["person"]["smile"] for d in varied)


def mouth_seen(clip, i):
    """Its width over the distance of the eyes, and its brightest pixels."""
    eyes, corners = (clip.landmarks[i, a] - clip.landmarks[i, b] for a, b in ((1, 0), (4, 3)))
    (x1, x2), y = clip.landmarks[i, 3:, 0].astype(int), int(clip.landmarks[i, 3:, 1].mean())
    grey = clip.image(i, 96)[y - 3 : y + 8, x1:x2].mean(-1)
    return np.hypot(*corners) / np.hypot(*eyes), np.percentile(grey, 90)


@pytest.mark.slow
def test_clear_puppets_grin_where_nobody_hears_it(tmp_path):
    photos = [face_photos.shipped_photos()["grace_hopper"]]
    puppets_clips.make_clips(tmp_path, 12, seed=1, seconds=1.6, crops=True, clear=True, photos=photos)
    clips = clip_folder.find_clips(tmp_path, "mel", progress=False)
    grinning = [clip for clip in clips if len(clip.frames) > clip.shown]
    assert len(clips) == 12 and 4 <= len(grinning) <= 11 and {clip.shown for clip in clips} == {40}
    wider, brighter = [], []
    for clip in grinning:
        assert len(clip.frames) == 53 and len(clip.wave()) == 25600
        (numbers,) = drawn([clip.folder])
        assert 0 <= numbers["grin"]["opening"] <= 1 and numbers["grin"]["smile"] > numbers["person"]["smile"]
        with np.load(f"{clip.folder}.npz") as truth:
            assert truth["opening"].shape == (40,)
            shut = int(np.argmin(truth["opening"]))

        (width, light), (rest_width, rest_light) = mouth_seen(clip, 45), mouth_seen(clip, shut)
        wider.append(width / rest_width)
        brighter.append(light / rest_light)
    assert min(wider) > 1.02 and np.median(brighter) > 1.02
    name = grinning[0].folder.name
    options = {"seed": 1, "seconds": 1.6, "crops": True, "clear": True, "photos": photos, "grins": False}
    without = puppets_clips.make_clips(tmp_path, int(name), **options)[-1]  # made anew
    assert len(Clip(without).frames) == 40


def test_the_opening_can_be_seen(crops):
    seen = []
    for path in crops[1]:
        clip = Clip(path)
        with np.load(f"{path}.npz") as truth:
            opening = truth["opening"]
        if opening.std() > 0.1:
            images = np.stack([clip.image(i, 96) for i in range(len(opening))])
            seen.append(np.corrcoef(aperture.mouth_aperture(images, clip.landmarks), opening)[0, 1])
    assert len(seen) >= 8 and np.mean(seen) > 0.9 and min(seen) > 0.5


@pytest.mark.slow
def test_crops_agree_with_those_of_the_video(tmp_path, crops):
    pytest.importorskip("mtcnn")
    from lipgan_keras.data import preprocess

    for path, video_path in zip(
        crops[1], puppets_clips.make_clips(tmp_path, 2, seed=2, seconds=1.6, varied=True), strict=False
    ):
        target = tmp_path / "crops" / path.parent.name
        assert preprocess.preprocess_clip(video_path, target, 96) is None
        with np.load(path / "landmarks.npz") as ours, np.load(target / "landmarks.npz") as theirs:
            assert ours.keys() - theirs.keys() == {"made_with"}
            np.testing.assert_array_equal(ours["frames"], theirs["frames"])
            np.testing.assert_allclose(ours["time"], theirs["time"], atol=1e-3)
            np.testing.assert_allclose(ours["duration"], theirs["duration"], atol=1e-3)
            a, b = ours["box"], theirs["box"]
            side = np.ptp(b[:, ::2], axis=1)
            assert np.abs(a - b).mean() < 0.04 * side.mean() and np.abs(a - b).max() < 0.1 * side.mean()
            away = np.linalg.norm(ours["landmarks"] - theirs["landmarks"], axis=2)  # pixels of 96
            assert away.mean() < 2.5 and away.max() < 6
        with np.load(path / "mels.npz") as ours, np.load(target / "mels.npz") as theirs:
            assert ours["spec"].shape == theirs["spec"].shape and np.abs(ours["spec"] - theirs["spec"]).mean() < 0.1
        with np.load(path.with_suffix(".npz")) as ours, np.load(video_path.with_suffix(".npz")) as theirs:
            for name in ("opening", "width", "landmarks", "corners", "drawn"):
                np.testing.assert_array_equal(ours[name], theirs[name])


def test_bad_input_is_one_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "text.jpg").write_text("no picture")

    def said(*flags):
        monkeypatch.setattr(sys, "argv", ["puppets", "--out", str(tmp_path / "out"), *flags])
        with pytest.raises(SystemExit) as stop:
            cli.run(__main__.main)
        assert stop.value.code == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        return line

    assert "missing.jpg" in said("--photo", str(tmp_path / "missing.jpg"))
    assert "text.jpg" in said("--photo", str(tmp_path / "text.jpg"))
    assert "missing.wav" in said("--speech", str(tmp_path / "missing.wav"))
    assert "--clips" in said("--clips", "0")
    (tmp_path / "out").rmdir()
    (tmp_path / "out").write_text("a file")
    assert "cannot write" in said("--clips", "1")


@pytest.mark.slow
def test_shipped_photos_need_neither_detector_nor_tensorflow(tmp_path):
    program = (
        "import sys; sys.modules.update(mtcnn=None, tensorflow=None, keras=None)\n"
        "from lipgan_keras.puppets import clips; clips.make_clips(sys.argv[1], 2, seconds=0.2)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, capture_output=True)
    assert len(list(tmp_path.rglob("*.mp4"))) == 2


def test_the_detector_finds_puppets_and_refuses_a_photo_without_a_face(tmp_path, faces):
    pytest.importorskip("mtcnn")
    frames = [
        puppet.render(opening, width, Place(angle=angle))
        for puppet in faces.values()
        for opening, width, angle in ((0, 0, -3), (0.2, -1, 0), (0.3, 1, 3), (1, 0, -3), (1, -0.6, 3))
    ]
    for found in detector.detect(frames):
        face = detector.select(found)
        assert face is not None
        corners = np.asarray(face.landmarks)[3:]
        assert np.all(np.abs(corners - [128, 158]) < [35, 14])
    cv2.imwrite(str(tmp_path / "noise.png"), np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8))
    with pytest.raises(UserError, match="noise.png: no face"):
        puppets_photos.load_puppet(tmp_path / "noise.png")
    # Of a video the frame with the lips shut is taken.
    opening = np.ones(8)
    opening[5] = 0
    rng = np.random.default_rng(0)
    puppets_clips.write_clip(tmp_path / "v.mp4", faces["astronaut"], np.zeros(5120), opening, np.zeros(8), rng)
    image, _ = puppets_photos.shut_lips(tmp_path / "v.mp4")
    frames = [frame.image for frame in video_reader.read_frames(tmp_path / "v.mp4")]
    assert [np.array_equal(image, frame) for frame in frames] == [i == 5 for i in range(8)]
    # A copy of a shipped photo is a given photo: the mouth is found by the detector.
    photo = cv2.imread(str(face_photos.shipped_photos()["grace_hopper"]))
    cv2.imwrite(str(tmp_path / "my photo.png"), photo)
    given = puppets_photos.load_puppet(tmp_path / "my photo.png")
    assert given.name == "my_photo"
    assert np.abs(mouth(given.render(1, 0)) - mouth(given.render(0, 0))).mean() > 12
