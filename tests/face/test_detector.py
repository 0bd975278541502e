"""The detector on a photo and on images of mixed sizes, and which face is taken."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import matplotlib.cbook
import numpy as np
import pytest

from helpers.backends import without_tensorflow
from helpers.faces import face
from lipgan_keras.face import detector, mtcnn_finder, mtcnn_process
from lipgan_keras.utils.backend import keras


@pytest.fixture(scope="session")
def photo():
    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as file:
        return cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_COLOR)


def test_mtcnn_finds_the_face_and_orders_its_landmarks(photo):
    (found,) = detector.detect([photo])[0]
    eye, other_eye, nose, corner, other_corner = found.landmarks
    assert eye[0] < nose[0] < other_eye[0] and corner[0] < nose[0] < other_corner[0]
    assert max(eye[1], other_eye[1]) < nose[1] < min(corner[1], other_corner[1])
    assert found.score > 0.95 and found.box.shape == (4,)
    assert (found.landmarks > found.box[:2]).all() and (found.landmarks < found.box[2:]).all()
    (mirrored,) = detector.detect([np.ascontiguousarray(photo[:, ::-1])])[0]
    expected = (photo.shape[1], 0) + found.landmarks[[1, 0, 2, 4, 3]] * (-1, 1)
    np.testing.assert_allclose(mirrored.landmarks, expected, atol=8)


def test_batches_of_mixed_sizes(photo):
    small = cv2.resize(photo, None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA)
    blank = np.zeros((100, 120, 3), np.uint8)
    tiny = np.zeros((9, 12, 3), np.uint8)
    found = detector.detect([blank, photo, small, tiny, photo, blank])
    assert [len(f) for f in found] == [0, 1, 1, 0, 1, 0]
    alone = detector.detect([photo])[0][0]
    for i, scale in ((1, 1), (4, 1), (2, 0.4)):
        np.testing.assert_allclose(found[i][0].landmarks / scale, alone.landmarks, atol=8)
    assert detector.detect([]) == []


def test_a_small_face_is_found_in_the_second_look(photo):
    height, width = 720, 1280
    image = np.full((height, width, 3), 90, np.uint8)
    small = cv2.resize(photo, (82, 96), interpolation=cv2.INTER_AREA)
    image[300:396, 600:682] = small
    (found,) = detector.detect([image])[0]
    assert 600 < found.landmarks[:, 0].min() and found.landmarks[:, 0].max() < 682


def test_openvino_finds_what_tensorflow_finds(photo, monkeypatch):
    """Its networks stand in the place of TensorFlow's, and see the same, whatever the size and the number of images."""
    images = [photo, photo[:, ::-1], cv2.resize(photo, None, fx=0.4, fy=0.4), np.zeros((99, 99, 3), np.uint8)]
    expected = detector.detect(images)
    monkeypatch.setitem(detector._asked, "openvino", False)
    detector.expect_many()
    stages = mtcnn_finder.load(True).stages
    assert len(stages) == 3 and not any(isinstance(stage.model, keras.Model) for stage in stages)
    for found, theirs in zip(detector.detect(images), expected, strict=True):
        assert len(found) == len(theirs)
        for one, other in zip(found, theirs, strict=True):
            np.testing.assert_allclose(one.landmarks, other.landmarks, atol=0.5)
            np.testing.assert_allclose(one.box, other.box, atol=0.5)
            assert one.score == pytest.approx(other.score, abs=1e-3)


@pytest.mark.slow
def test_a_process_of_its_own_finds_the_same_whatever_keras_runs_on(photo, script, tmp_path):
    """It is started where Keras does not run on TensorFlow, again if it was killed, and ends with its parent."""
    cv2.imwrite(str(tmp_path / "photo.png"), photo)
    code = """
import sys, cv2, numpy as np
from lipgan_keras.face import detector
image, found = cv2.imread("photo.png"), []
found += detector.detect([image, image[::2, ::2]])
detector._started[0]._process.kill()
detector.expect_many()
found += detector.detect([image])
assert "tensorflow" not in sys.modules
np.save("found.npy", [face.landmarks for faces in found for face in faces])
print(detector._started[0]._process.pid)
"""
    result = script("-c", code, env={"KERAS_BACKEND": "numpy"})
    assert result.returncode == 0, result.stderr
    expected = [faces[0].landmarks for faces in detector.detect([photo, photo[::2, ::2], photo])]
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), expected, atol=1e-3)
    end = time.monotonic() + 60
    while running(int(result.stdout)):
        assert time.monotonic() < end
        time.sleep(0.1)


def running(pid):
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "(zombie)" not in status.read_text()


@pytest.fixture
def started(monkeypatch):
    """A process that finds faces for this one."""
    process = mtcnn_process.MtcnnProcess()
    monkeypatch.setattr(detector, "_started", [process])
    yield process
    process._process.kill()


def test_this_process_goes_on_where_the_other_was_killed(photo, started):
    """Two threads see it: one waits for the other's answer."""
    threading.Timer(0.5, started._process.kill).start()  # amid its imports
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(detector.detect, [[photo], [photo]]))
    assert [len(faces) for (faces,) in found] == [1, 1] and not detector._started


def test_after_ctrl_c_faces_are_found_again(photo, started, monkeypatch):
    def interrupted(stream):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(mtcnn_process, "_read", interrupted)
        with pytest.raises(KeyboardInterrupt):
            detector.detect([photo])
    assert len(detector.detect([photo])[0]) == 1 and not detector._started


@pytest.mark.slow
def test_openvino_runs_the_networks_where_unused_imports_are_left_out(script):
    code = """
import sys
from lipgan_keras.face import mtcnn_finder, mtcnn_process
mtcnn_process.leave_out()
print([type(stage.model).__name__ for stage in mtcnn_finder.load(True).stages])
print([name for name in mtcnn_process.UNUSED if sys.modules[name]])
"""
    result = script("-c", code, env={"KERAS_BACKEND": "tensorflow"})
    assert result.stdout.splitlines() == ["['function', 'function', 'function']", "[]"], result.stderr


@pytest.mark.slow
def test_detection_without_tensorflow_says_what_to_do(script, tmp_path):
    code = """
import numpy as np
from lipgan_keras.evaluation.metrics import position, register
from lipgan_keras.face import detector
print(register.METRICS["lmd_5"].missing())
detector.detect([np.zeros((99, 99, 3), np.uint8)])
"""
    result = script("-c", code, env=without_tensorflow(tmp_path) | {"KERAS_BACKEND": "numpy"})
    for said in (result.stdout, result.stderr):
        assert "face detection needs mtcnn; run: pip install mtcnn tensorflow" in said


def test_select_takes_the_largest():
    assert detector.select([]) is None
    assert detector.select([face(), face(scale=2), face(scale=1.5)]).box[2] == 200
