"""Faces that lie on their side, stand on their head, or are small beside others."""

import cv2
import numpy as np
import pytest

from helpers.faces import FRONTAL, face
from lipgan_keras.face import looks, photos, tracking
from lipgan_keras.face.detector import Face
from lipgan_keras.media import video_reader
from lipgan_keras.media.video_reader import Frame


@pytest.fixture(scope="module")
def hopper():
    image = video_reader.read_image(photos.shipped_photos()["grace_hopper"])
    return cv2.resize(image, (256, 300), interpolation=cv2.INTER_AREA)


@pytest.mark.parametrize("turn", range(4))
def test_points_are_turned_with_the_image(turn):
    image = np.zeros((40, 60, 3), np.uint8)
    image[7, 11] = 255
    ((y, x),) = np.argwhere(looks.turned(image, turn)[..., 0])
    seen = Face(np.float32([x, y, x + 1, y + 1]), np.full((5, 2), (x + 0.5, y + 0.5), np.float32), 1.0)
    back = looks.turned_back(seen, turn, (40, 60))
    np.testing.assert_array_equal(back.box, (11, 7, 12, 8))
    np.testing.assert_array_equal(back.landmarks, np.full((5, 2), (11.5, 7.5)))


@pytest.mark.parametrize("turn", [1, 2])
def test_a_face_is_found_as_it_lies(hopper, turn):
    lying = looks.turned(hopper, -turn)
    assert looks.find_turn([lying]) == turn
    ((upright,),), ((found,),) = looks.detect([hopper]), looks.detect([lying], turn)
    np.testing.assert_allclose(looks.turned_back(upright, turn, lying.shape[:2]).landmarks, found.landmarks, atol=1e-3)
    # Crops of it are upright, those that never turn with the head too.
    for upright in (True, False):
        ((one,),) = (tracked.faces for tracked in tracking.track([Frame(lying, 0, 1)], turn=turn, upright=upright))
        across, down = (found.landmarks[1] - found.landmarks[0]), found.landmarks[3:].mean(0) - found.landmarks[2]
        axis = np.array([np.cos(one.angle), np.sin(one.angle)])
        assert across @ axis > 0.9 * np.hypot(*across)
        assert down @ (-axis[1], axis[0]) > 0.9 * np.hypot(*down)


def test_upright_pictures_are_not_turned(monkeypatch):
    """Nor are they tried at other turns."""
    images = [video_reader.read_image(path) for path in photos.shipped_photos().values()]
    assert [looks.find_turn([image]) for image in images] == [0] * len(images)
    monkeypatch.setattr(looks, "turned", None)
    assert looks.find_turn(images) == 0
    monkeypatch.undo()
    assert looks.find_turn([np.zeros((90, 90, 3), np.uint8)]) is None


def test_what_is_like_a_face():
    likely = looks.likeness(face())
    assert likely > looks.SURE
    for degrees in (-45, 20, 45):
        a = np.radians(degrees)
        turn = np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])
        assert looks.likeness(face(landmarks=FRONTAL @ turn)) == pytest.approx(likely, abs=0.1)
    low, aside, above = (FRONTAL.copy() for _ in range(3))
    low[2, 1] += 18
    aside[2, 0] += 25
    above[:2] = (50, 20), (52, 40)
    for points in (low, aside, above, FRONTAL[:, ::-1]):
        assert looks.likeness(face(landmarks=points)) < likely - 1


def test_a_small_face_beside_a_large_one(hopper):
    picture = np.full((700, 900, 3), 110, np.uint8)
    picture[:, :597] = cv2.resize(hopper, (597, 700), interpolation=cv2.INTER_CUBIC)
    small = cv2.resize(hopper[:, ::-1], None, fx=0.3, fy=0.3, interpolation=cv2.INTER_AREA)
    picture[40 : 40 + small.shape[0], 750 : 750 + small.shape[1]] = small
    (large,) = looks.detect([picture])[0]
    found = looks.detect([picture], small=True)[0]
    assert len(found) == 2
    np.testing.assert_array_equal(found[0].landmarks, large.landmarks)
    width = found[1].box[2] - found[1].box[0]
    assert looks.SMALL_FACE * 0.8 < width < 45 and found[1].box[0] > 750
    frame = Frame(picture, 0, 1)
    ((first, second),) = (tracked.faces for tracked in tracking.track([frame], people="all", small=True))
    assert (first.index, second.index) == (0, 1) and second.face.box[0] > 750
