"""The detail of a face, for what a generator made of it."""

import cv2
import numpy as np
import pytest

from lipgan_keras.face import cropping
from lipgan_keras.face.detector import Face
from lipgan_keras.face.tracking import TrackedFace
from lipgan_keras.inference import detail
from lipgan_keras.utils.layers import Warp

SIZE = 96


def face(side, angle=0.0):
    landmarks = np.float32([[30, 30], [70, 30], [50, 52], [35, 75], [65, 75]])
    return TrackedFace(
        0, 0, Face(np.zeros(4, np.float32), landmarks, 1.0), np.array([20.0, 10, 20 + side, 10 + side]), angle
    )


@pytest.fixture(scope="module")
def image():
    noise = np.random.default_rng(0).integers(0, 255, (120, 130, 3), np.uint8)
    return cv2.resize(noise, (1000, 950), interpolation=cv2.INTER_CUBIC)


def still(share):
    motion = np.zeros((SIZE, SIZE, 3), np.float32)
    motion[..., 2] = share
    return motion


def crop(image, one, side=SIZE):
    return cropping.extract(image, one.box, side, one.angle)


@pytest.mark.parametrize("side", [50, 96, 104])
def test_small_faces_have_no_more_detail(image, side):
    made = np.random.default_rng(1).random((SIZE, SIZE, 3), np.float32)
    for motion in (None, still(1)):
        found = detail.crop_of(image, face(side), made, motion, mouth_known=False)
        np.testing.assert_array_equal(found, np.rint(made * 255).astype(np.uint8))
    assert len(detail.crop_of(image, face(400), made, None)) == SIZE
    own = crop(image, face(side))
    np.testing.assert_array_equal(detail.crop_of(image, face(side), own.astype(np.float32) / 255, still(1)), own)


@pytest.mark.parametrize(("side", "times"), [(110, 2), (192, 2), (300, 4), (900, 8)])
@pytest.mark.parametrize("angle", [0.0, 0.3])
def test_what_is_not_moved_is_the_face_itself(image, side, times, angle):
    one = face(side, angle)
    made = crop(image, one).astype(np.float32) / 255
    found = detail.crop_of(image, one, made, still(1))
    assert len(found) == times * SIZE
    assert np.abs(found.astype(int) - crop(image, one, times * SIZE))[len(found) // 2 :].max() <= 2


def test_what_is_moved_takes_its_detail_along(image):
    one, motion = face(300), still(1)
    motion[..., 0], motion[..., 1] = 4 / 12, -2 / 12  # pixels of the crop
    made = np.asarray(Warp()([crop(image, one)[None].astype(np.float32) / 255, motion[None, ..., :2]]))[0]
    found = detail.crop_of(image, one, made, motion).astype(int)
    large = crop(image, one, 4 * SIZE).astype(int)
    rows = slice(2 * SIZE, -16)  # of the lower half
    inside = np.abs(found[rows, 16:-32] - large[2 * SIZE - 8 : -16 - 8, 16 + 16 : -32 + 16])
    assert inside.mean() < 1 < np.abs(found - large)[rows, 16:-32].mean()


def test_what_is_painted_stays(image):
    made = np.random.default_rng(1).random((SIZE, SIZE, 3), np.float32)
    found = detail.crop_of(image, face(300), made, still(0))
    grown = cv2.resize(made * np.float32(255), None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
    assert np.abs(found - np.clip(grown, 0, 255)).max() <= 1


def with_mouth(side, roll=0.0, angle=0.0, yaw=0.0):
    """A face in a crop that is turned by `angle`. Its mouth is 28 of 96 pixels wide, or less where it looks aside."""
    points = np.float32([[32, 40], [64, 40], [48, 56], [34, 72], [62, 72]]) - 48
    points[:, 0] *= np.cos(np.radians(yaw))
    points = points @ rotation(roll).T + 48
    box = np.array([20.0, 10, 20 + side, 10 + side])
    middle, scale = (box[:2] + box[2:]) / 2, side / SIZE
    seen = middle + ((points - 48) * scale) @ rotation(angle).T
    return points, TrackedFace(0, 0, Face(np.zeros(4, np.float32), np.float32(seen), 1.0), box, np.radians(angle))


def rotation(degrees):
    turn = np.radians(degrees)
    return np.float32([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])


def around(point, times):
    x, y = np.int32(np.rint(point * times))
    return np.s_[y - 1 : y + 2, x - 1 : x + 2]


@pytest.mark.parametrize("side", [90, 400])
@pytest.mark.parametrize(("roll", "angle"), [(0, 0), (20, 0), (0, 25)])
def test_the_corners_of_a_mouth_are_not_painted(image, side, roll, angle):
    points, one = with_mouth(side, roll, angle)
    black = np.zeros((SIZE, SIZE, 3), np.float32)
    found = detail.crop_of(image, one, black, still(0))
    own, times, middle = crop(image, one, len(found)), len(found) / SIZE, points[3:].mean(0)
    for corner in points[3:]:
        at = around(middle + 1.15 * (corner - middle), times)
        assert np.abs(found[at].astype(int) - own[at]).max() <= 12
        assert not found[around(middle + 0.4 * (corner - middle), times)].any()
    assert not found[around(middle, times)].any() and not found[-2:, len(found) // 2].any()
    down = rotation(roll) @ np.float32([0, 20])
    assert not found[around(middle + down, times)].any() and not found[around(points[3] + down, times)].any()
    assert not detail.crop_of(image, one, black, still(0), mouth_known=False)[SIZE:].any()


def test_the_mouth_of_a_turned_face_is_not_taken_for_a_narrow_one(image):
    points, one = with_mouth(90, yaw=70)
    assert np.ptp(points[3:, 0]) < 10  # the mouth and the nose are 16 apart
    found = detail.crop_of(image, one, np.zeros((SIZE, SIZE, 3), np.float32), still(0))
    assert not found[around(points[3:].mean(0) + (2, 0), 1)].any()
