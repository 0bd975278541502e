"""Teeth that a generator painted."""

import cv2
import numpy as np
import pytest

from lipgan_keras.face.detector import Face
from lipgan_keras.face.tracking import TrackedFace
from lipgan_keras.inference import detail, paint

SIZE, TOP = 96, 46
LANDMARKS = np.float32([[31, 20], [65, 20], [48, 39], [34, 59], [62, 59]])
SKIN, LIP, DARK, LILAC = (60, 18, 28), (45, 34, 20), (15, 8, 6), (60, 9, 8)  # L*, a*, b*
TEETH = np.s_[55:61, 40:56]  # rows and columns, of a mouth that is 28 wide


def bgr(*lab):
    return cv2.cvtColor(np.float32([[lab]]), cv2.COLOR_LAB2BGR)[0, 0] * 255


def lab(pixels):
    return cv2.cvtColor(np.float32(pixels) / 255, cv2.COLOR_BGR2LAB)


def crop(colour, at=TEETH, painted=0.5, skin=SKIN, under=LIP):
    """What was made, what was moved, and the mask: the colour was painted over moved lips."""
    moved = np.full((SIZE, SIZE, 3), bgr(*skin), np.float32)
    moved[50:70, 34:62] = bgr(*under)
    mask = np.ones((SIZE, SIZE), np.float32)
    mask[at] = 1 - painted
    made = mask[..., None] * moved + (1 - mask[..., None]) * bgr(*colour)
    return made, moved[TOP:], mask[TOP:]


@pytest.mark.parametrize("painted", [0.45, 0.7, 1.0])
def test_lilac_teeth_become_as_pale_as_the_light_has_them(painted):
    made, moved, mask = crop(LILAC, painted=painted)
    found, surer = paint.whitened(made.copy(), moved, mask, LANDMARKS)
    teeth = lab(found)[TEETH][1:-1, 2:-2]
    np.testing.assert_allclose(teeth[..., 0], LILAC[0], atol=3)
    np.testing.assert_allclose(teeth[..., 1:], np.broadcast_to((18 - 10.5, 28 - 9.5), teeth[..., 1:].shape), atol=2)
    assert surer[55 - TOP + 1 : 61 - TOP - 1, 42:54].max() < 0.1 and (surer <= mask).all()
    changed = np.abs(found - made).max(axis=-1) > 0.5
    assert not changed[: 55 - 3].any() and not changed[61 + 3 :].any() and not changed[:, :36].any()


@pytest.mark.parametrize(
    "given",
    [
        {"colour": DARK},
        {"colour": LIP},
        {"colour": (55, 24, 22)},  # a tongue
        {"colour": LILAC, "painted": 0.15},
        {"colour": LILAC, "at": np.s_[57:59, 47:49]},  # a spot
        {"colour": LILAC, "at": np.s_[70:76, 40:56]},  # below the mouth
        {"colour": LILAC, "skin": (0, 0, 0)},
    ],
)
def test_what_is_no_tooth_stays(given):
    made, moved, mask = crop(**given)
    found, same = paint.whitened(made.copy(), moved, mask, LANDMARKS)
    np.testing.assert_allclose(found, made, atol=0.5)
    np.testing.assert_allclose(same, mask, atol=0.01)


@pytest.mark.parametrize("skin", [(60, 0, 0), (60, 5, -12)])
def test_teeth_are_never_more_coloured_than_skin(skin):
    """In a grey picture, and in blue light."""
    made, moved, mask = crop((62, skin[1] - 6, skin[2]), skin=skin)
    teeth = lab(paint.whitened(made, moved, mask, LANDMARKS)[0])[TEETH]
    assert (teeth[1:-1, 2:-2, 1:] < np.float32(skin[1:]) + 1.5).all()


@pytest.mark.parametrize("move", [(0, -200), (200, 0), (0, 0)])
def test_a_face_that_is_elsewhere_changes_nothing(move):
    made, moved, mask = crop(LILAC)
    points = LANDMARKS + np.float32(move) if any(move) else np.tile(LANDMARKS.mean(axis=0), (5, 1))
    found, same = paint.whitened(made.copy(), moved, mask, np.float32(points))
    np.testing.assert_array_equal(found, made)
    np.testing.assert_array_equal(same, mask)


def test_a_frame_has_them_but_not_in_a_box_that_the_user_gave():
    made, moved, mask = crop(LILAC)
    image = np.concatenate([made[:TOP], moved]).astype(np.uint8)
    box = np.array([0.0, 0, SIZE, SIZE])
    one = TrackedFace(0, 0, Face(np.zeros(4, np.float32), LANDMARKS, 1.0), box, 0.0)
    motion = np.zeros((SIZE, SIZE, 3), np.float32)
    motion[..., 2] = np.concatenate([np.ones((TOP, SIZE), np.float32), mask])
    before = motion.copy()
    pale, as_made = (detail.crop_of(image, one, made / 255, motion, corners=corners) for corners in (True, False))
    np.testing.assert_array_equal(as_made, np.rint(made).astype(np.uint8))
    assert np.abs(lab(pale)[57, 48] - (60, 7.5, 18.5)).max() < 3
    np.testing.assert_array_equal(motion, before)
