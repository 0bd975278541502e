"""A photo's own teeth, for what a generator made of it."""

import cv2
import numpy as np
import pytest

from lipgan_keras.face import cropping
from lipgan_keras.face.detector import Face
from lipgan_keras.face.tracking import TrackedFace
from lipgan_keras.inference import detail, teeth

SIZE, TIMES = 96, 3
SKIN, LIP, DARK, TOOTH = (140, 165, 210), (110, 105, 190), (30, 25, 60), (225, 232, 238)
POINTS = np.float32([[38, 35], [82, 35], [60, 60], [42, 80], [78, 80]]) * 3


def picture(teeth=(), lips=True, colour=TOOTH, light=(1, 1, 1), shine=None):
    """A face of 300 pixels with a mouth from x 126 to 234 about y 240. It is open where it has `teeth`; these and
    `shine` are boxes x1, y1, x2, y2.
    """
    image = np.full((380, 380, 3), SKIN, np.uint8)
    if lips:
        cv2.ellipse(image, (180, 244), (52, 28), 0, 0, 360, LIP, -1)
        cv2.ellipse(image, (180, 244), (44, 16), 0, 0, 360, DARK if teeth else LIP, -1)
    for x1, y1, x2, y2 in [*teeth, *([shine] if shine else [])]:
        image[y1:y2, x1:x2] = colour
    image = cv2.GaussianBlur(image, (0, 0), 1.0).astype(np.float32)
    image += np.random.default_rng(0).normal(0, 2, image.shape)
    return np.clip(image * light, 0, 255).astype(np.uint8)


ROW = [(150 + 10 * i, 234, 159 + 10 * i, 248) for i in range(6)]


def face():
    return TrackedFace(0, 0, Face(np.zeros(4, np.float32), POINTS, 1.0), np.array([36.0, 36, 324, 324]))


def kept(image, painted=1.0, one=None, down=0):
    """How far a black crop is the image's again where the generator painted, or moved pixels `down`, (288,288) in 0..1,
    and the image's crop.
    """
    one = one or face()
    motion = np.zeros((SIZE * TIMES, SIZE * TIMES, 3), np.float32)
    motion[..., 1], motion[..., 2] = -8 * down / (SIZE * TIMES), 1 - painted
    result = np.zeros((SIZE * TIMES, SIZE * TIMES, 3), np.float32)
    if found := teeth.seen(image, one, TIMES, SIZE):
        found.keep(result, motion, 0)
    own = cropping.extract(image, one.box, SIZE * TIMES, one.angle)
    return result.max(axis=-1) / own.max(axis=-1), own


def in_crop(box):
    x1, y1, x2, y2 = (side - 36 for side in box)
    return slice(y1, y2), slice(x1, x2)


@pytest.mark.parametrize("light", [(1, 1, 1), (0.8, 0.9, 1), (1.05, 0.95, 0.9), (0.45, 0.45, 0.45)])
def test_teeth_stay_where_the_mouth_is_painted(light):
    share, _ = kept(picture(ROW, light=light))
    for x1, y1, x2, y2 in ROW:
        assert share[in_crop((x1 + 1, y1 + 2, x2 - 1, y2 - 2))].mean() > 0.9
    assert share[in_crop((150, 256, 210, 300))].max() < 0.1  # the lower lip, which goes with the jaw
    assert share[in_crop((60, 40, 300, 220))].max() == 0


def test_lips_that_are_moved_over_teeth_hide_them():
    assert kept(picture(ROW), painted=0.1, down=-20)[0].max() < 0.05
    assert kept(picture(ROW), painted=0.1, down=20)[0].max() < 0.05


def test_teeth_that_are_moved_a_little_are_in_their_place():
    share, _ = kept(picture(ROW), painted=0.1, down=2)
    assert share[in_crop((152, 238, 208, 245))].mean() > 0.9 and share[in_crop((152, 251, 208, 260))].max() < 0.1


def test_the_dark_beside_teeth_is_none():
    image = picture(ROW)
    image[234:248, 120:149] = 62
    share, _ = kept(image)
    assert share[in_crop((152, 238, 208, 245))].mean() > 0.9 and share[in_crop((120, 230, 144, 252))].max() < 0.1


def test_a_turned_crop():
    one = face()
    one.angle = 0.2
    turned = cv2.getRotationMatrix2D((179.5, 179.5), -np.degrees(0.2), 1)
    one.face = Face(one.face.box, (POINTS @ turned[:, :2].T + turned[:, 2]).astype(np.float32), 1.0)
    share, _ = kept(cv2.warpAffine(picture(ROW), turned, (380, 380), borderMode=cv2.BORDER_REPLICATE), one=one)
    assert share[in_crop((152, 237, 208, 245))].mean() > 0.8


@pytest.mark.parametrize(
    "what",
    [
        {"lips": False},
        {},
        {"teeth": [(164, 229, 196, 243)]},  # narrower than a third of the mouth
        {"shine": (172, 252, 190, 260)},
        {"shine": (158, 250, 202, 259)},
        {"shine": (150, 250, 210, 259)},
        {"shine": (175, 240, 250, 250)},  # a cigarette
        {"shine": (150, 272, 210, 290)},  # a beard below the lip
        {"teeth": [(150, 250, 210, 259)]},  # the lower row, which goes with the jaw
        {"teeth": ROW, "light": (0.45, 0.75, 1)},  # a yellow lamp: skin and teeth are hardly told apart
        {"teeth": [(100, 222, 260, 330)], "lips": False},  # a white beard
        {"teeth": [(140, 236, 220, 246)], "lips": False, "colour": (175, 190, 215)},  # a pale scar: there is no lip
    ],
)
def test_what_is_no_row_of_teeth(what):
    assert kept(picture(**what))[0].max() == 0


@pytest.mark.parametrize(("between", "first"), [([(150, 242, 210, 246)], 258), ([], 250)])
def test_a_lower_row_goes_with_the_jaw(between, first):
    share, _ = kept(picture([(150, 228, 210, 242), *between, (148, 246, 212, 262)]))
    assert share[in_crop((154, 232, 206, 240))].mean() > 0.9 and share[in_crop((154, first, 206, 262))].max() < 0.2


def test_a_generator_that_moves_nothing_keeps_its_crop():
    made = np.random.default_rng(1).integers(0, 255, (SIZE, SIZE, 3), np.uint8)
    result = detail.crop_of(picture(ROW), face(), made / np.float32(255), None, teeth=teeth.seen)
    np.testing.assert_array_equal(result, made)


def test_they_are_in_the_crop_of_a_still():
    black = np.zeros((SIZE, SIZE, 3), np.float32)
    row = in_crop((154, 238, 206, 245))
    for corners in (False, True):
        result, without = (
            detail.crop_of(picture(ROW), face(), black, black, teeth=found, mouth_known=corners)
            for found in (teeth.seen, None)
        )
        assert result[row].mean() > 0.85 * np.mean(TOOTH) and np.abs(result.astype(int) - without).mean() < 10
        assert (without[row] if corners else without).max() == 0


def test_a_mouth_at_the_edge_of_its_crop():
    one = face()
    for box in ([0, 0, 90, 90], [-2000, -2000, 4000, 4000], [300, 300, 340, 340]):
        one.box = np.array(box, float)
        assert kept(picture(ROW), one=one)[0].max() == 0


def test_grey_pictures_show_no_teeth():
    grey = cv2.cvtColor(picture(ROW), cv2.COLOR_BGR2GRAY)
    assert kept(cv2.merge([grey] * 3))[0].max() == 0


@pytest.mark.parametrize(("size", "times"), [(96, 1), (192, 1), (192, 2)])
def test_other_sizes(size, times):
    side, scale = size * times, size * times / 288
    result, motion = np.zeros((side, side, 3), np.float32), np.zeros((side, side, 3), np.float32)
    teeth.seen(picture(ROW), face(), times, size).keep(result, motion, 0)
    rows, columns = (
        slice(round(part.start * scale), round(part.stop * scale)) for part in in_crop((154, 238, 206, 245))
    )
    assert result[rows, columns].mean() > 0.85 * np.mean(TOOTH) and result.mean() < 10
