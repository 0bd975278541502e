"""The lip mask, and the landmarks of crops that have none."""

import numpy as np
import pytest

from helpers.faces import FRONTAL, face
from lipgan_keras.config import CROPS
from lipgan_keras.face import cropping, regions


def ellipse_of(mask):
    """Middle, and angle in degrees of the longer axis."""
    y, x = np.mgrid[: len(mask), : len(mask)] + 0.5
    weight = mask / mask.sum()
    middle = (x * weight).sum(), (y * weight).sum()
    x, y = x - middle[0], y - middle[1]
    values, vectors = np.linalg.eigh(
        [[(weight * x * x).sum(), (weight * x * y).sum()], [(weight * x * y).sum(), (weight * y * y).sum()]]
    )
    axis = vectors[:, 1] * np.sign(vectors[0, 1])
    return middle, np.degrees(np.arctan2(axis[1], axis[0])), 4 * np.sqrt(values[::-1])


@pytest.mark.parametrize("angle", [0, 20, -35])
def test_lip_mask_lies_on_the_mouth(angle):
    turn = np.radians(angle)
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    points = (cropping.to_crop(FRONTAL, cropping.crop_box(face())) - 48) @ rotation + 48
    mask = regions.lip_mask(points)
    assert mask.shape == (96, 96) and mask.dtype == np.float32 and mask.min() == 0 and mask.max() == 1
    for point in points[3:]:
        assert mask[int(point[1]), int(point[0])] > 0.4
    middle = points[3:].mean(0)
    down = np.array([-np.sin(turn), np.cos(turn)])
    apart = np.linalg.norm(points[4] - points[3])
    for along, wanted in ((0, 0.99), (0.35, 0.99), (-0.15, 0.8)):  # open mouths go down
        x, y = middle + along * apart * down
        assert mask[int(y), int(x)] >= wanted
    assert mask[int(points[2][1]), int(points[2][0])] == 0  # not the nose
    (x, y), found, _ = ellipse_of(mask)
    assert found == pytest.approx(angle, abs=2)
    np.testing.assert_allclose((x, y), middle + 0.23 * apart * down, atol=1)


def test_lip_mask_of_a_turned_face_stays_wide():
    frontal = regions.default_landmarks(96)
    turned = frontal.copy()
    turned[3:, 0] = 50, 54
    width = [float(regions.lip_mask(p).max(0).sum()) for p in (frontal, turned)]
    assert width[1] > 0.6 * width[0]
    assert np.isfinite(regions.lip_mask(np.full((5, 2), 48.0))).all()


def test_lip_mask_of_a_profile_keeps_height_and_lies_below_the_nose():
    """The corners of a profile lie close together, on any line and in any order."""
    profile = np.array([[60, 20], [62, 20], [74, 40], [60, 59], [63, 59]], np.float32)
    swapped = profile[[0, 1, 2, 4, 3]]
    upright = profile.copy()
    upright[3:] = [[61, 57], [62, 60]]
    for points in (profile, swapped, upright):
        mask = regions.lip_mask(points)
        rows = np.flatnonzero(mask.max(1) > 0.5)
        assert 22 < len(rows) < 30 and mask[59, 61] > 0.9 and mask[67, 61] > 0.9 and mask[49, 61] < 0.5
        middle, _, _ = ellipse_of(mask)
        np.testing.assert_allclose(middle, (61.5, 65), atol=2)


@pytest.mark.parametrize("x", [-20, 3, 93, 130])
def test_lip_mask_at_the_edge_of_the_crop(x):
    points = regions.default_landmarks(96) + np.float32([x - 48, 0])
    wide = regions.lip_mask(points + np.float32([96, 0]), 288)
    np.testing.assert_allclose(regions.lip_mask(points), wide[:96, 96:192], atol=1e-5)


@pytest.mark.parametrize("style", CROPS)
@pytest.mark.parametrize("size", [96, 192])
def test_default_landmarks(style, size):
    found = cropping.to_crop(FRONTAL, cropping.crop_box(face(), style), size)
    np.testing.assert_allclose(regions.default_landmarks(size, style), found, atol=0.06 * size)
