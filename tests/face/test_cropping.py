"""Where the crop of a face lies, what its pixels are, and points in it."""

import cv2
import numpy as np
import pytest

from helpers.faces import FRONTAL, face
from lipgan_keras.config import CROPS
from lipgan_keras.face import cropping
from lipgan_keras.utils.errors import UserError


def test_crop_holds_mouth_and_chin_in_its_lower_half():
    box = cropping.crop_box(face())
    width, height = box[2:] - box[:2]
    assert width == pytest.approx(height)
    points = cropping.to_crop(FRONTAL, box)
    assert (points[3:, 1] > 54).all() and (points[3:, 1] < 64).all()  # rows 48 to 95 hold the mouth
    assert points[3:].mean(0)[0] == pytest.approx(48)
    unit = 75 - 30
    chin, brows = cropping.to_crop([[50, 75 + 0.8 * unit], [50, 30 - 0.4 * unit]], box)
    assert chin[1] < 0.95 * 96 and brows[1] > 0


@pytest.mark.parametrize("style", CROPS)
def test_crop_moves_and_grows_with_the_face(style):
    box = cropping.crop_box(face(), style)
    np.testing.assert_allclose(cropping.crop_box(face(7, -3, 2.0), style), box * 2 + (7, -3, 7, -3), atol=1e-4)
    np.testing.assert_allclose(cropping.crop_box(face(), style, (1, 2, 3, 4)), box + (-3, -1, 4, 2), atol=1e-9)


def test_crop_of_a_turned_and_of_a_tilted_face():
    box = cropping.crop_box(face())
    turned = FRONTAL * (0.5, 1) + (25, 0)
    nodding = FRONTAL * (1, 0.7)
    for landmarks in (turned, nodding):
        other = cropping.crop_box(face(landmarks=landmarks))
        assert (other[2] - other[0]) / (box[2] - box[0]) == pytest.approx(1, abs=0.05)
    angle = np.radians(30)
    rotation = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    tilted = (FRONTAL - 50) @ rotation + 50
    chin = (np.array([50, 75 + 0.8 * 45]) - 50) @ rotation + 50
    other = cropping.crop_box(face(landmarks=tilted))
    assert (chin > other[:2]).all() and (chin < other[2:]).all()


def test_bad_styles_and_pads_are_refused():
    with pytest.raises(ValueError, match="style"):
        cropping.crop_box(face(), "oval")
    with pytest.raises(UserError, match="--pads"):
        cropping.crop_box(face(), pads=(-80, -80, 0, 0))


def test_extract_of_a_whole_box_is_the_image():
    image = np.random.default_rng(0).integers(0, 255, (120, 140, 3), dtype=np.uint8)
    np.testing.assert_array_equal(cropping.extract(image, (10, 20, 106, 116)), image[20:116, 10:106])


def test_extract_takes_means_of_areas():
    image = np.random.default_rng(0).integers(0, 255, (400, 400, 3), dtype=np.uint8)
    means = image[32:224, 16:208].reshape(96, 2, 96, 2, 3).mean((1, 3))
    np.testing.assert_allclose(cropping.extract(image, (16, 32, 208, 224)), means, atol=1)
    ramp = np.repeat(np.linspace(0, 255, 400)[None], 400, 0)[..., None].repeat(3, 2)
    for shift in (0, 0.25, 0.5):  # fractions of a pixel count
        crop = cropping.extract(ramp.astype(np.float32), (100 + shift, 100, 250 + shift, 250))
        centres = 100 + shift + (np.arange(96) + 0.5) * 150 / 96 - 0.5
        np.testing.assert_allclose(crop[40, :, 0], centres * 255 / 399, atol=0.02)


def test_extract_repeats_the_edge_beyond_the_image():
    image = np.zeros((50, 50, 3), np.uint8)
    image[:, 0], image[0, :, 1] = (9, 9, 9), 200
    crop = cropping.extract(image, (-40, -40, 8, 8), 48)
    assert (crop[:39, 41:, 1] >= 199).all() and (crop[41:, :39] == 9).all()


def test_points_in_the_crop():
    points = cropping.to_crop([[10, 20], [58, 68]], (10, 20, 106, 212))
    np.testing.assert_allclose(points, [[0, 0], [48, 24]])


def test_a_turned_crop_sets_a_tilted_head_upright():
    """Positive angles lead from x to y: what lies to the right of the middle, then below it, comes out on the right."""
    image = np.zeros((200, 200, 3), np.uint8)
    image[140:144, 98:102] = 255
    crop = cropping.extract(image, (50, 50, 150, 150), 100, np.radians(90))
    y, x = np.argwhere(crop[..., 0] > 127).mean(0) + 0.5
    np.testing.assert_allclose((x, y), (92, 50), atol=0.1)
    np.testing.assert_allclose(
        cropping.to_crop([100, 142], (50, 50, 150, 150), 100, np.radians(90)), (92, 50), atol=1e-4
    )


@pytest.mark.parametrize("box", [(40, 30, 160, 150), (35.5, 20.25, 180, 110)])
@pytest.mark.parametrize("angle", [0.3, -1.2])
def test_points_land_where_turned_crops_show_them(box, angle):
    for point in ((80, 70), (110, 95), (120, 60)):
        image = cv2.circle(np.zeros((200, 220, 3), np.float32), point, 4, (1, 1, 1), -1)
        crop = cropping.extract(image, box, 96, angle)[..., 0]
        x, y = ((crop * grid).sum() / crop.sum() + 0.5 for grid in np.mgrid[:96, :96][::-1])
        np.testing.assert_allclose(cropping.to_crop(np.add(point, 0.5), box, 96, angle), (x, y), atol=0.1)
