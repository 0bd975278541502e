import importlib.util
import json
import lzma
import sys
import weakref

import cv2
import h5py
import numpy as np
import pytest

from helpers import synthetic
from helpers.checks import GOLDEN, assert_one_line
from lipgan_keras.evaluation import syncnet, syncnet_weights
from lipgan_keras.evaluation.syncnet import SyncNet
from lipgan_keras.face import detector
from lipgan_keras.face.detector import Face
from lipgan_keras.media import audio_file, video_reader
from lipgan_keras.media.video_reader import Frame
from lipgan_keras.utils.errors import UserError

needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")


def unpacked(name, folder):
    path = folder / name
    path.write_bytes(lzma.decompress((GOLDEN / f"{name}.xz").read_bytes()))
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return unpacked("syncnet_golden.weights.h5", tmp_path_factory.mktemp("syncnet"))


@pytest.fixture(scope="module")
def network(weights):
    return SyncNet(weights)


class Vectors(SyncNet):
    """In place of the network: vectors that tell the frame's grey and the sound's level, once each."""

    def __init__(self):
        self.table = np.random.default_rng(3).standard_normal((256, 1024)).astype(np.float32)
        self.batches = []

    def _predict(self, stream, batch, size=syncnet.BATCH):
        batch = np.asarray(batch)
        self.batches.append(len(batch))
        assert stream == "lip" and batch.shape[1:] == (5, 224, 224, 3) and batch.dtype == np.uint8
        return self.table[batch[:, 0, 112, 112, 0]]

    def sound_features(self, wave, count):
        return self.table[np.round(wave[: 640 * count : 640] * 256).astype(int)]


def shades(count):
    """Grey of each frame: no two alike."""
    return np.random.default_rng(4).permutation(200)[:count]


def sound_of(greys):
    return np.repeat(greys / 256, 640).astype(np.float32)


def plain(greys):
    return np.broadcast_to(greys[:, None, None, None], (len(greys), 224, 224, 3)).astype(np.uint8)


# ---------------------------------------------------------------------------------------------------------------------
# Against the golden numbers


def test_golden_features(network, golden):
    rng = np.random.RandomState(31)
    lip = (rng.rand(2, 3, 5, 224, 224) * 255).astype(np.float32)
    sound = (rng.standard_normal((2, 1, 13, 20)) * 10).astype(np.float32)
    ours = {
        "lip": network.models["lip"].predict_on_batch(lip.transpose(0, 2, 3, 4, 1)),
        "audio": network.models["sound"].predict_on_batch(sound.transpose(0, 2, 3, 1)),
    }
    theirs = np.load(golden / "syncnet_features.npz")
    for name, features in ours.items():
        np.testing.assert_allclose(features, theirs[name], rtol=1e-4, atol=1e-4 * np.abs(theirs[name]).max())


@pytest.mark.real
@pytest.mark.slow
def test_golden_scores(network, golden, real_clips, monkeypatch):
    truth = json.loads((golden / "syncnet_scores.json").read_text())["bbaf2n"]
    lips = []
    lip_features = network.lip_features

    def once(crops):
        lips.append(lips[0] if lips else lip_features(crops))  # both times the same frames
        return lips[0]

    monkeypatch.setattr(network, "lip_features", once)
    found = syncnet.score(network, real_clips / "bbaf2n.mpg", crop=False, sound=golden / "bbaf2n.wav")
    np.testing.assert_allclose(found["distances"], truth["mean_distance_by_shift"], rtol=1e-3)
    assert (found["offset"], found["positions"]) == (truth["offset"], truth["positions"])
    own = syncnet.score(network, real_clips / "bbaf2n.mpg", crop=False)
    assert own["lse_d"] == pytest.approx(truth["lse_d"], rel=5e-3)
    assert own["lse_c"] == pytest.approx(truth["lse_c"], abs=0.02)
    assert own["offset"] == truth["offset"]


@pytest.mark.real
def test_real_faces_are_cropped(real_clips):
    frames = video_reader.read_frames(real_clips / "portrait_700p30.mp4", exact=False)
    crops = list(syncnet.face_crops(f for f, _ in zip(syncnet.at_25_fps(frames), range(24), strict=False)))
    assert len(crops) == 24 and {stretch for _, stretch in crops} == {0}
    assert {image.shape for image, _ in crops} == {(224, 224, 3)}
    for image, _ in crops[::8]:
        (face,) = detector.detect([image])[0]
        width, height = face.box[2:] - face.box[:2]
        assert max(width, height) == pytest.approx(224 / 1.4 * 0.5 * 2, rel=0.1)  # 2 s of 2.8 s
        assert face.box[1] == pytest.approx(0, abs=16)


def test_mfcc_of_python_speech_features(golden):
    theirs = {
        0: [8.707, -10.744, 9.85, 8.564, 10.427, 7.611, -1.752, -6.872, -3.878, 1.674, -4.552, 4.32, -0.96],
        100: [19.708, -2.965, -1.444, 30.6, 20.361, -14.255, -24.769, 4.419, 0.573, -4.477, 9.053, -13.903, -0.819],
        -1: [10.335, -9.788, 14.184, 13.135, 11.316, 10.555, 4.443, 12.323, 9.727, 14.656, -0.958, -0.795, 2.512],
    }
    wave = audio_file.load_audio(golden / "bbaf2n.wav")
    ours = syncnet.mfcc(wave)
    assert ours.shape == (297, 13)
    for step, values in theirs.items():
        np.testing.assert_allclose(ours[step], values, atol=1e-3)
    np.testing.assert_array_equal(syncnet.mfcc(np.rint(wave * 32768).astype(np.int16)), ours)
    silence = syncnet.mfcc(np.zeros(500, np.float32))
    np.testing.assert_allclose(silence, [[-36.044] + 12 * [0]] * 2, atol=1e-3)
    long = np.tile(wave, 15)  # more than one piece of frames
    np.testing.assert_allclose(syncnet.mfcc(long)[:290], ours[:290], atol=1e-4)


# ---------------------------------------------------------------------------------------------------------------------
# Weights


@needs_torch
def test_convert(weights, tmp_path, capfd):
    source, out = unpacked("syncnet_golden.model", tmp_path), tmp_path / "out.weights.h5"
    result = synthetic.call("lipgan_keras.syncnet", "convert", source, out, capfd=capfd)
    assert (result.returncode, result.stderr) == (0, "") and str(out) in result.stdout
    with h5py.File(out) as one, h5py.File(weights) as other:
        names = []
        other.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        assert len(names) == 2 * (6 * 6 + 6 + 2)
        for name in names:
            np.testing.assert_array_equal(one[name][()], other[name][()])


class Dangerous:
    def __reduce__(self):
        return print, ("code ran",)


@needs_torch
def test_convert_refuses_other_files(tmp_path, capfd):
    import torch

    files = {f"{name}.model": tmp_path / f"{name}.model" for name in ("text", "other", "shape", "list", "code", "cut")}
    files["text.model"].write_text("no weights")
    torch.save({"netcnnaud.0.weight": torch.zeros(64, 1, 3, 3), "note": "text"}, files["other.model"])
    torch.save({f"{net}.0.weight": torch.zeros(9, 9) for net in ("netcnnaud", "netcnnlip")}, files["shape.model"])
    torch.save([torch.zeros(3)], files["list.model"])
    torch.save({"netcnnaud.0.weight": Dangerous()}, files["code.model"])
    files["cut.model"].write_bytes(lzma.decompress((GOLDEN / "syncnet_golden.model.xz").read_bytes())[:100_000])
    for path in (tmp_path / "missing.model", *files.values()):
        result = synthetic.call("lipgan_keras.syncnet", "convert", path, tmp_path / "out.h5", capfd=capfd)
        assert_one_line(result, path)
        assert "code ran" not in result.stdout
        if path == files["other.model"]:
            assert "netcnnlip" in result.stderr
    assert not (tmp_path / "out.h5").exists()


def test_convert_says_what_to_install(tmp_path, monkeypatch):
    path = tmp_path / "syncnet_v2.model"
    path.write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UserError, match="syncnet_v2.model.*pip install torch"):
        syncnet_weights.convert(path, tmp_path / "out.h5")


def test_wrong_weights_are_named(network, weights, tmp_path):
    text, other, shape, link = (tmp_path / name for name in ("text.h5", "other.h5", "shape.h5", "link.h5"))
    text.write_text("no weights")
    for path in (other, shape, link):
        with h5py.File(path, "w") as file:
            if path != other:
                file.attrs["lipgan_keras_syncnet"] = 1
            if path == shape:
                file["lip/conv_0/kernel"] = np.zeros((7, 7, 3, 96))
            if path == link:
                file["lip"] = h5py.ExternalLink(str(weights), "/lip")
    for path in (tmp_path / "missing.h5", text, other, shape, link, tmp_path):
        with pytest.raises(UserError, match=f"{path}.*convert"):
            syncnet_weights.load_weights(network.models, path)


# ---------------------------------------------------------------------------------------------------------------------
# Distances


def test_distances_are_those_of_the_definition():
    greys = shades(40)
    vectors = Vectors()
    heard = np.roll(greys, 7)[:37]  # less sound than frames
    found = vectors.distances(plain(greys), sound_of(heard))
    n = 37 - 5
    padded = np.concatenate([np.zeros((15, 1024)), vectors.table[heard[:n]], np.zeros((15, 1024))])
    wanted = [
        np.mean([np.sqrt(((vectors.table[greys[i]] - padded[i + shift] + 1e-6) ** 2).sum()) for i in range(n)])
        for shift in range(31)
    ]
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    assert max(vectors.batches) == syncnet.BATCH


@pytest.mark.parametrize("early", [-9, 0, 4])
def test_offset_and_confidence(early):
    greys = shades(120)
    found = syncnet.summary(Vectors().distances(plain(greys[20:100]), sound_of(greys[20 + early : 100 + early])))
    assert found["offset"] == early
    # Some of the sound that belongs to the frames lies beyond its end, where features are zeros.
    assert found["lse_d"] == pytest.approx(abs(early) / 75 * 32, rel=0.1, abs=1e-3)
    assert found["lse_c"] == pytest.approx(np.sort(found["distances"])[15] - min(found["distances"]))
    assert found["lse_c"] > 20


def test_too_few_frames():
    vectors = Vectors()
    assert vectors.distances(plain(shades(6)), sound_of(shades(6))).shape == (31,)
    for frames, sound in ((5, 6), (6, 5), (0, 6)):
        with pytest.raises(ValueError, match="needed"):
            vectors.distances(plain(shades(frames)), sound_of(shades(sound)))
    with pytest.raises(ValueError, match="shape"):
        vectors.distances(np.zeros((9, 96, 96, 3), np.uint8), sound_of(shades(9)))


def test_only_runs_that_show_the_face_count():
    greys = shades(40)
    crops = [(image, 0 if i < 20 else 1) for i, image in enumerate(plain(greys))]
    crops[10] = (None, None)
    means, positions, frames = Vectors()._distances(crops, sound_of(greys))
    assert positions == 35 - 5 - 4 and frames == 40  # without the gap; without those over the cut
    assert syncnet.summary(means)["offset"] == 0 and min(means) < 1e-3


# ---------------------------------------------------------------------------------------------------------------------
# Images


def shown(times, end):
    frames = [
        Frame(np.full((1, 1), i), t, u - t) for i, (t, u) in enumerate(zip(times, [*times[1:], end], strict=False))
    ]
    found = list(syncnet.at_25_fps(frames))
    np.testing.assert_allclose([f.time for f in found], np.arange(len(found)) / 25)
    return [int(f.image[0, 0]) for f in found]


def test_at_25_fps():
    assert shown(np.arange(20) / 25, 0.8) == list(range(20))
    jitter = np.random.default_rng(0).uniform(-0.0015, 0.0015, 20)
    assert shown(np.maximum(0, np.arange(20) / 25 + jitter), 0.8) == list(range(20))
    assert shown(np.arange(20) / 50, 0.4) == list(range(0, 20, 2))
    assert shown(np.arange(5) / 12.5, 0.4) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert shown(np.arange(12) / 30, 0.4) == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10]
    assert shown([0.1, 0.13], 0.2) == [0, 0, 0, 0, 1]  # nothing is shown before
    assert shown([0.0, 0.01, 0.09], 0.1) == [0, 1, 1]
    assert list(syncnet.at_25_fps([])) == []


def face_in(box):
    corners = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])
    box = np.array(box, np.float32)
    return Face(box, (box[:2] + corners * (box[2:] - box[:2])).astype(np.float32), 0.9)


def seen(monkeypatch, boxes):
    """Crops of images whose blue is the column and green the row, with a face at each box (None: without)."""
    image = np.zeros((200, 240, 3), np.uint8)
    image[..., 0], image[..., 1] = np.arange(240), np.arange(200)[:, None]
    held = []

    def detect(images):
        held.append(len(images))
        return [[face_in(box)] if box else [] for box in boxes[sum(held) - len(images) : sum(held)]]

    monkeypatch.setattr(detector, "detect", detect)
    return list(syncnet.face_crops(Frame(image.copy(), i / 25, 0.04) for i in range(len(boxes))))


def test_the_crop_is_the_authors(monkeypatch):
    boxes = [(100, 60, 130, 100)] * 20
    boxes[9] = (102, 62, 133, 106)  # the median does not see it
    crops = seen(monkeypatch, boxes)
    assert {stretch for _, stretch in crops} == {0}
    image = crops[9][0]
    # s = 20, centre (115, 80): rows 60 to 116, columns 87 to 143
    assert image[112, :, 0].astype(float) == pytest.approx(87 + (np.arange(224) + 0.5) / 4 - 0.5, abs=1)
    assert image[:, 112, 1].astype(float) == pytest.approx(60 + (np.arange(224) + 0.5) / 4 - 0.5, abs=1)
    assert image[..., 2].max() == 0
    np.testing.assert_array_equal(crops[8][0], image)


def test_grey_beyond_the_image(monkeypatch):
    image = seen(monkeypatch, [(0, 150, 40, 190)] * 13)[6][0]  # s = 20: rows 150 to 206, columns -8 to 48
    assert (image[:, :28] == 110).all() and (image[-20:] == 110).all()
    assert (image[:190, 40:, 2] == 0).all()


def test_frames_without_a_face(monkeypatch):
    box = (100, 60, 130, 100)
    assert seen(monkeypatch, [None] * 20) == [(None, None)] * 20
    gap = [stretch for _, stretch in seen(monkeypatch, [box] * 20 + [None] * 40 + [box] * 20)]
    assert gap[:20] == [gap[0]] * 20 and gap[20:60] == [None] * 40 and None not in gap[60:]
    bridged = [stretch for _, stretch in seen(monkeypatch, [box] * 20 + [None] * 10 + [box] * 20)]
    assert bridged == [0] * 50


def test_few_images_are_held(monkeypatch):
    monkeypatch.setattr(detector, "detect", lambda images: [[face_in((8, 8, 24, 30))] for _ in images])
    alive, most = weakref.WeakSet(), 0

    class Image(np.ndarray):
        __hash__ = object.__hash__

    def read():
        nonlocal most
        for i in range(400):
            image = np.zeros((32, 32, 3), np.uint8).view(Image)
            alive.add(image)
            most = max(most, len(alive))
            yield Frame(image, i / 25, 0.04)

    assert sum(1 for _ in syncnet.face_crops(syncnet.at_25_fps(read()))) == 400
    assert most < 80


# ---------------------------------------------------------------------------------------------------------------------
# Files


def clip(path, fps=25, seconds=2.0, sound=True):
    noise = synthetic.beeps([(0.3, 0.9)], seconds) if sound else None
    return synthetic.write(path, synthetic.steady(fps, seconds), seconds, audio=(noise, 16000) if sound else None)


def test_quick_colours_are_those_of_opencv(tmp_path):
    def draw(i):
        return cv2.applyColorMap(np.tile(np.arange(128, dtype=np.uint8) + 20 * i, (128, 1)), cv2.COLORMAP_JET)

    path = synthetic.write(tmp_path / "colours.mp4", synthetic.steady(25, 0.2), 0.2, draw)
    capture = cv2.VideoCapture(str(path))
    exact = list(video_reader.read_frames(path))
    for quick, accurate in zip(video_reader.read_frames(path, exact=False), exact, strict=True):
        theirs = capture.read()[1].astype(int)
        assert np.abs(quick.image - theirs).mean() < 0.1 * np.abs(accurate.image - theirs).mean()


def test_scores_of_files(network, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(detector, "detect", synthetic.detect)
    monkeypatch.setattr(syncnet, "SyncNet", lambda path: network)
    good, short = clip(tmp_path / "good.mp4", 30, 0.6), clip(tmp_path / "short.mp4", 25, 0.2)
    silent = clip(tmp_path / "silent.mp4", 25, 0.4, sound=False)
    blank = synthetic.write(
        tmp_path / "blank.mp4",
        synthetic.steady(25, 1),
        1,
        lambda i: synthetic.numbered_image(i, face=False),
        audio=(synthetic.beeps([], 1), 16000),
    )
    files = [good, short, silent, blank, tmp_path / "missing.mp4"]
    table = tmp_path / "scores.json"
    result = synthetic.call("lipgan_keras.syncnet", "score", "--weights", "w.h5", *files, "--json", table, capfd=capfd)
    *lines, last = result.stderr.splitlines()
    assert result.returncode == 1 and "4 of 5" in last
    assert "LSE-D" in result.stdout and str(good) in result.stdout
    for line, path, words in zip(lines, files[1:], ("too short", "no audio", "no face", "no such file"), strict=True):
        assert line.startswith(f"failed: {path}") and words in line
    found = json.loads(table.read_text())[str(good)]
    assert found["frames"] == 15 and found["positions"] == 10 and len(found["distances"]) == 31
    assert found["lse_d"] == min(found["distances"])


def test_a_still_and_a_file_without_weights(network, tmp_path):
    photo = tmp_path / "photo.png"
    cv2.imwrite(str(photo), synthetic.numbered_image(0))
    with pytest.raises(UserError, match="photo.png.*too short"):
        network.score(photo, crop=False, sound=sound_of(shades(20)))
    with pytest.raises(UserError, match="missing.h5.*no such file"):
        syncnet.score(tmp_path / "missing.h5", photo)
