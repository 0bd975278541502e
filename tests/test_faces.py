import cv2
import matplotlib.cbook
import numpy as np
import pytest

from lipgan_keras.face import cropping, detector, regions
from lipgan_keras.face.detector import Face
from lipgan_keras.utils.errors import UserError

FRONTAL = np.array([[30, 30], [70, 30], [50, 52], [35, 75], [65, 75]], np.float32)  # a face in a box of 100 x 130


def face(x=0.0, y=0.0, scale=1.0, landmarks=FRONTAL):
    return Face(np.float32([x, y, x + 100 * scale, y + 130 * scale]), np.float32(landmarks * scale + (x, y)), 1.0)


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
    picture = np.full((height, width, 3), 90, np.uint8)
    small = cv2.resize(photo, (82, 96), interpolation=cv2.INTER_AREA)
    picture[300:396, 600:682] = small
    (found,) = detector.detect([picture])[0]
    assert 600 < found.landmarks[:, 0].min() and found.landmarks[:, 0].max() < 682


def test_detection_without_tensorflow_says_what_to_do(script):
    code = (
        "import numpy as np; from lipgan_keras.face import detector; detector.detect([np.zeros((99, 99, 3), np.uint8)])"
    )
    result = script("-c", code, env={"KERAS_BACKEND": "numpy"})
    assert "UserError" in result.stderr and "KERAS_BACKEND=tensorflow" in result.stderr


def test_select_takes_the_largest():
    assert detector.select([]) is None
    assert detector.select([face(), face(scale=2), face(scale=1.5)]).box[2] == 200


# Crops


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


@pytest.mark.parametrize("style", cropping.STYLES)
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


def test_extract_of_a_whole_box_is_the_picture():
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


def test_extract_repeats_the_edge_beyond_the_picture():
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


# The lip mask


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


@pytest.mark.parametrize("style", cropping.STYLES)
@pytest.mark.parametrize("size", [96, 192])
def test_default_landmarks(style, size):
    found = cropping.to_crop(FRONTAL, cropping.crop_box(face(), style), size)
    np.testing.assert_allclose(regions.default_landmarks(size, style), found, atol=0.06 * size)
