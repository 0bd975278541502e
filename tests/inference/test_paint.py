"""Teeth that a generator painted."""

import cv2
import numpy as np
import pytest

from lipgan_keras.face.detector import Face
from lipgan_keras.face.tracking import TrackedFace
from lipgan_keras.inference import detail, paint

SIZE, TOP = 96, 46
LANDMARKS = np.float32([[31, 20], [65, 20], [48, 39], [34, 59], [62, 59]])  # the mouth is 28 wide
SKIN, LIP, LILAC = (60, 18, 28), (45, 34, 20), (60, 7, 8)  # L*, a*, b*
TEETH = (18 - 10.7, 28 - 9.2)  # a*, b*
ROW = np.s_[56:61, 40:56]


def bgr(*lab):
    return cv2.cvtColor(np.float32([[lab]]), cv2.COLOR_LAB2BGR)[0, 0] * 255


def lab(pixels):
    return cv2.cvtColor(np.float32(pixels) / 255, cv2.COLOR_BGR2LAB)


def crop(colour=LILAC, at=ROW, painted=0.5, skin=SKIN):
    """What was made, what was moved, and the mask: the colour was painted over moved lips."""
    moved = np.full((SIZE, SIZE, 3), bgr(*skin), np.float32)
    moved[50:70, 34:62] = bgr(*LIP)
    mask = np.ones((SIZE, SIZE), np.float32)
    mask[at] = 1 - painted
    made = mask[..., None] * moved + (1 - mask[..., None]) * bgr(*colour)
    return made, moved[TOP:], mask[TOP:]


@pytest.mark.parametrize("painted", [0.45, 0.7, 1.0])
@pytest.mark.parametrize("colour", [LILAC, (75, 3, 10), (50, 9, 6)])
def test_teeth_get_the_colour_that_the_light_gives_them(colour, painted):
    made, moved, mask = given = crop(colour, painted=painted)
    before = [part.copy() for part in given]
    found, surer = paint.recoloured(made, moved, mask, LANDMARKS)
    teeth = lab(found)[ROW][1:-1, 2:-2]
    np.testing.assert_allclose(teeth[..., 0], min(colour[0], SKIN[0]), atol=3)
    np.testing.assert_allclose(teeth[..., 1:], np.broadcast_to(TEETH, teeth[..., 1:].shape), atol=2)
    assert surer[57 - TOP : 60 - TOP, 42:54].max() < 0.1 and (surer <= mask).all()
    outside = np.ones((SIZE, SIZE), bool)
    outside[ROW] = False
    assert np.abs(found - made)[outside].max() < 1  # nothing is painted there
    for part, was in zip(given, before, strict=True):
        np.testing.assert_array_equal(part, was)


def test_a_thin_row_is_whole():
    at = np.s_[57:59, 40:56]
    found = lab(paint.recoloured(*crop(at=at, painted=1.0), LANDMARKS)[0])[at]
    assert np.abs(found[:, 2:-2, 1:] - TEETH).max() < 1.5


@pytest.mark.parametrize(
    "given",
    [
        {"colour": (15, 8, 6)},  # the dark of the mouth
        {"colour": (24, 4, 4), "skin": (30, 14, 15)},  # the same, nearly as light as dark skin
        {"colour": LIP},
        {"colour": (50, 20, 14), "skin": (60, 22, 20)},  # a tongue under red light
        {"painted": 0.15},
        {"at": np.s_[57:59, 47:49]},  # a spot
        {"at": np.s_[48:51, 40:56]},  # a moustache
        {"at": np.s_[66:72, 40:56]},  # the lower lip
        {"at": np.s_[57:60, 61:72]},  # beside the mouth
        {"skin": (0, 0, 0)},
    ],
)
def test_what_is_no_upper_tooth_stays(given):
    made, moved, mask = crop(**given)
    found, same = paint.recoloured(made, moved, mask, LANDMARKS)
    np.testing.assert_allclose(found, made, atol=0.5)
    np.testing.assert_allclose(same, mask, atol=0.01)


@pytest.mark.parametrize("skin, teeth", [((60, 0, 0), (0, 0)), ((60, 5, -12), (2, -12)), ((70, 11, 9), (2, 4))])
def test_the_least_colour_of_teeth(skin, teeth):
    """In a grey picture, in blue light, and on pale skin."""
    found = lab(paint.recoloured(*crop((60, skin[1] - 9, skin[2]), skin=skin), LANDMARKS)[0])[ROW]
    assert np.abs(found[1:-1, 2:-2, 1:] - teeth).max() < 1.5


def test_skin_is_measured_between_eyes_and_mouth():
    made = np.zeros((SIZE, SIZE, 3), np.float32)
    made[38:51, 31:65] = bgr(*SKIN)
    np.testing.assert_allclose(paint.skin_of(made, LANDMARKS), SKIN, atol=0.5)


@pytest.mark.parametrize(
    "points", [LANDMARKS - (0, 200), LANDMARKS + (200, 0), np.tile(LANDMARKS.mean(axis=0), (5, 1))]
)
def test_a_face_that_is_elsewhere_changes_nothing(points):
    made, moved, mask = crop()
    found, same = paint.recoloured(made, moved, mask, np.float32(points))
    np.testing.assert_array_equal(found, made)
    np.testing.assert_array_equal(same, mask)


@pytest.mark.parametrize("times", [1, 4])
@pytest.mark.parametrize("region, box", [("jaw", None), ("face", None), ("jaw", (10, 90, 10, 90))])
def test_a_frame_has_them(times, region, box):
    """But not in the original's rectangle, nor in a box that the user gave. Stripes of the moved lips are hidden."""
    made, moved, mask = crop()
    image = cv2.resize(np.concatenate([made[:TOP], moved]), None, fx=times, fy=times, interpolation=cv2.INTER_NEAREST)
    image[TOP * times :, ::2] *= 1.1 if times > 1 else 1
    face = Face(np.zeros(4, np.float32), LANDMARKS * times, 1.0)
    one = TrackedFace(0, 0, face, np.array([0.0, 0, SIZE, SIZE]) * times, 0.0)
    motion = np.zeros((SIZE, SIZE, 3), np.float32)
    motion[..., 2] = np.concatenate([np.ones((TOP, SIZE), np.float32), mask])
    found = detail.cropper(region, box, still=False)(image.clip(0, 255).astype(np.uint8), one, made / 255, motion)
    teeth = found[57 * times : 60 * times, 44 * times : 52 * times]
    is_tooth = np.abs(lab(teeth)[..., 1:] - TEETH).max() < 4
    assert is_tooth == (region == "jaw" and not box)
    if is_tooth:
        assert np.abs(np.diff(teeth.astype(int), axis=1)).max() <= 2
