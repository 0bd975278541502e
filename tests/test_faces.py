import itertools

import cv2
import matplotlib.cbook
import numpy as np
import pytest

from lipgan_keras import faces, video
from lipgan_keras.cli import UserError
from lipgan_keras.faces import Face
from lipgan_keras.video import Frame

FRONTAL = np.array([[30, 30], [70, 30], [50, 52], [35, 75], [65, 75]], np.float32)  # a face in a box of 100 x 130


def face(x=0.0, y=0.0, scale=1.0, landmarks=FRONTAL):
    return Face(np.float32([x, y, x + 100 * scale, y + 130 * scale]), np.float32(landmarks * scale + (x, y)), 1.0)


@pytest.fixture(scope="session")
def photo():
    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as file:
        return cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_COLOR)


def test_mtcnn_finds_the_face_and_orders_its_landmarks(photo):
    (found,) = faces.detect([photo])[0]
    eye, other_eye, nose, corner, other_corner = found.landmarks
    assert eye[0] < nose[0] < other_eye[0] and corner[0] < nose[0] < other_corner[0]
    assert max(eye[1], other_eye[1]) < nose[1] < min(corner[1], other_corner[1])
    assert found.score > 0.95 and found.box.shape == (4,)
    assert (found.landmarks > found.box[:2]).all() and (found.landmarks < found.box[2:]).all()
    (mirrored,) = faces.detect([np.ascontiguousarray(photo[:, ::-1])])[0]
    expected = (photo.shape[1], 0) + found.landmarks[[1, 0, 2, 4, 3]] * (-1, 1)
    np.testing.assert_allclose(mirrored.landmarks, expected, atol=8)


def test_batches_of_mixed_sizes(photo):
    small = cv2.resize(photo, None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA)
    blank = np.zeros((100, 120, 3), np.uint8)
    tiny = np.zeros((9, 12, 3), np.uint8)
    found = faces.detect([blank, photo, small, tiny, photo, blank])
    assert [len(f) for f in found] == [0, 1, 1, 0, 1, 0]
    alone = faces.detect([photo])[0][0]
    for i, scale in ((1, 1), (4, 1), (2, 0.4)):
        np.testing.assert_allclose(found[i][0].landmarks / scale, alone.landmarks, atol=8)
    assert faces.detect([]) == []


def test_a_small_face_is_found_in_the_second_look(photo):
    height, width = 720, 1280
    picture = np.full((height, width, 3), 90, np.uint8)
    small = cv2.resize(photo, (82, 96), interpolation=cv2.INTER_AREA)
    picture[300:396, 600:682] = small
    (found,) = faces.detect([picture])[0]
    assert 600 < found.landmarks[:, 0].min() and found.landmarks[:, 0].max() < 682


def test_detection_without_tensorflow_says_what_to_do(script):
    code = "import numpy as np; from lipgan_keras import faces; faces.detect([np.zeros((99, 99, 3), np.uint8)])"
    result = script("-c", code, env={"KERAS_BACKEND": "numpy"})
    assert "UserError" in result.stderr and "KERAS_BACKEND=tensorflow" in result.stderr


def test_select_takes_the_largest():
    assert faces.select([]) is None
    assert faces.select([face(), face(scale=2), face(scale=1.5)]).box[2] == 200


# Crops


def test_crop_holds_mouth_and_chin_in_its_lower_half():
    box = faces.crop_box(face())
    width, height = box[2:] - box[:2]
    assert width == pytest.approx(height)
    points = faces.to_crop(FRONTAL, box)
    assert (points[3:, 1] > 54).all() and (points[3:, 1] < 64).all()  # rows 48 to 95 hold the mouth
    assert points[3:].mean(0)[0] == pytest.approx(48)
    unit = 75 - 30
    chin, brows = faces.to_crop([[50, 75 + 0.8 * unit], [50, 30 - 0.4 * unit]], box)
    assert chin[1] < 0.95 * 96 and brows[1] > 0


@pytest.mark.parametrize("style", faces.STYLES)
def test_crop_moves_and_grows_with_the_face(style):
    box = faces.crop_box(face(), style)
    np.testing.assert_allclose(faces.crop_box(face(7, -3, 2.0), style), box * 2 + (7, -3, 7, -3), atol=1e-4)
    np.testing.assert_allclose(faces.crop_box(face(), style, (1, 2, 3, 4)), box + (-3, -1, 4, 2), atol=1e-9)


def test_crop_of_a_turned_and_of_a_tilted_face():
    box = faces.crop_box(face())
    turned = FRONTAL * (0.5, 1) + (25, 0)
    nodding = FRONTAL * (1, 0.7)
    for landmarks in (turned, nodding):
        other = faces.crop_box(face(landmarks=landmarks))
        assert (other[2] - other[0]) / (box[2] - box[0]) == pytest.approx(1, abs=0.05)
    angle = np.radians(30)
    rotation = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    tilted = (FRONTAL - 50) @ rotation + 50
    chin = (np.array([50, 75 + 0.8 * 45]) - 50) @ rotation + 50
    other = faces.crop_box(face(landmarks=tilted))
    assert (chin > other[:2]).all() and (chin < other[2:]).all()


def test_bad_styles_and_pads_are_refused():
    with pytest.raises(ValueError, match="style"):
        faces.crop_box(face(), "oval")
    with pytest.raises(UserError, match="--pads"):
        faces.crop_box(face(), pads=(-80, -80, 0, 0))


def test_extract_of_a_whole_box_is_the_picture():
    image = np.random.default_rng(0).integers(0, 255, (120, 140, 3), dtype=np.uint8)
    np.testing.assert_array_equal(faces.extract(image, (10, 20, 106, 116)), image[20:116, 10:106])


def test_extract_takes_means_of_areas():
    image = np.random.default_rng(0).integers(0, 255, (400, 400, 3), dtype=np.uint8)
    means = image[32:224, 16:208].reshape(96, 2, 96, 2, 3).mean((1, 3))
    np.testing.assert_allclose(faces.extract(image, (16, 32, 208, 224)), means, atol=1)
    ramp = np.repeat(np.linspace(0, 255, 400)[None], 400, 0)[..., None].repeat(3, 2)
    for shift in (0, 0.25, 0.5):  # fractions of a pixel count
        crop = faces.extract(ramp.astype(np.float32), (100 + shift, 100, 250 + shift, 250))
        centres = 100 + shift + (np.arange(96) + 0.5) * 150 / 96 - 0.5
        np.testing.assert_allclose(crop[40, :, 0], centres * 255 / 399, atol=0.02)


def test_extract_repeats_the_edge_beyond_the_picture():
    image = np.zeros((50, 50, 3), np.uint8)
    image[:, 0], image[0, :, 1] = (9, 9, 9), 200
    crop = faces.extract(image, (-40, -40, 8, 8), 48)
    assert (crop[:39, 41:, 1] >= 199).all() and (crop[41:, :39] == 9).all()


def test_points_in_the_crop():
    points = faces.to_crop([[10, 20], [58, 68]], (10, 20, 106, 212))
    np.testing.assert_allclose(points, [[0, 0], [48, 24]])


@pytest.mark.parametrize(
    "box", [(40.3, 30.7, 160.9, 151.2), (-20, -10, 90, 100), (120, 100, 260, 240), (90, 50, 130, 90)]
)
@pytest.mark.parametrize("whole", [False, True])
def test_paste_blends_inside_its_box_only(box, whole):
    image = np.random.default_rng(0).integers(50, 200, (200, 220, 3), dtype=np.uint8)
    before = image.copy()
    result = faces.paste(image, box, np.full((96, 96, 3), 255, np.uint8), whole)
    np.testing.assert_array_equal(image, before)
    changed = (result != image).any(2)
    y, x = np.nonzero(changed)
    middle = box[1] + 0.37 * (box[3] - box[1])
    assert x.min() + 1 > box[0] and x.max() < box[2] and y.max() < box[3]
    assert y.min() + 1 > (box[1] if whole else middle)
    u, v = (box[0] + box[2]) / 2, box[1] + 0.7 * (box[3] - box[1])
    if u < 220 and v < 200:
        assert (result[int(v), int(u)] == 255).all()  # mouth and chin are replaced


def test_pasting_back_what_was_cut_changes_little(photo):
    box = faces.crop_box(faces.detect([photo])[0][0])
    result = faces.paste(photo, box, faces.extract(photo, box, 256), whole=True)
    assert np.abs(result.astype(int) - photo).mean() < 0.5


def test_no_edge_shows():
    image = np.full((200, 200, 3), 100, np.uint8)
    result = faces.paste(image, (20, 20, 180, 180), np.full((96, 96, 3), 140, np.uint8)).astype(int)
    assert np.abs(np.diff(result, axis=0)).max() <= 6 and np.abs(np.diff(result, axis=1)).max() <= 6


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
    points = (faces.to_crop(FRONTAL, faces.crop_box(face())) - 48) @ rotation + 48
    mask = faces.lip_mask(points)
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
    frontal = faces.default_landmarks(96)
    turned = frontal.copy()
    turned[3:, 0] = 50, 54
    width = [float(faces.lip_mask(p).max(0).sum()) for p in (frontal, turned)]
    assert width[1] > 0.6 * width[0]
    assert np.isfinite(faces.lip_mask(np.full((5, 2), 48.0))).all()


def test_lip_mask_of_a_profile_keeps_height_and_lies_below_the_nose():
    """The corners of a profile lie close together, on any line and in any order."""
    profile = np.array([[60, 20], [62, 20], [74, 40], [60, 59], [63, 59]], np.float32)
    swapped = profile[[0, 1, 2, 4, 3]]
    upright = profile.copy()
    upright[3:] = [[61, 57], [62, 60]]
    for points in (profile, swapped, upright):
        mask = faces.lip_mask(points)
        rows = np.flatnonzero(mask.max(1) > 0.5)
        assert 22 < len(rows) < 30 and mask[59, 61] > 0.9 and mask[67, 61] > 0.9 and mask[49, 61] < 0.5
        middle, _, _ = ellipse_of(mask)
        np.testing.assert_allclose(middle, (61.5, 65), atol=2)


@pytest.mark.parametrize("x", [-20, 3, 93, 130])
def test_lip_mask_at_the_edge_of_the_crop(x):
    points = faces.default_landmarks(96) + np.float32([x - 48, 0])
    wide = faces.lip_mask(points + np.float32([96, 0]), 288)
    np.testing.assert_allclose(faces.lip_mask(points), wide[:96, 96:192], atol=1e-5)


@pytest.mark.parametrize("style", faces.STYLES)
@pytest.mark.parametrize("size", [96, 192])
def test_default_landmarks(style, size):
    found = faces.to_crop(FRONTAL, faces.crop_box(face(), style), size)
    np.testing.assert_allclose(faces.default_landmarks(size, style), found, atol=0.06 * size)


# Tracking


def noise_frames(count, scene=lambda i: 0, fps=25):
    scenes = {
        s: np.random.default_rng(s).integers(0, 255, (120, 160, 3), dtype=np.uint8) for s in map(scene, range(count))
    }
    scenes = {s: cv2.resize(cv2.resize(image, (8, 6)), (160, 120)) for s, image in scenes.items()}
    return [Frame(scenes[scene(i)], i / fps, 1 / fps) for i in range(count)]


@pytest.fixture
def tracked(monkeypatch):
    """A function: track frames in which the detector sees what faces_of(i) gives."""

    def run(frames, faces_of, **arguments):
        numbers = {id(frame): i for i, frame in enumerate(frames)}
        counter = itertools.count()

        def detect(images):
            return [faces_of(next(counter)) for _ in images]

        monkeypatch.setattr(faces, "detect", detect)
        result = list(faces.track(frames, **arguments))
        assert [numbers[id(t.frame)] for t in result] == list(range(len(frames)))  # each once, in order
        return result

    return run


def test_tracking_steadies_the_box(tracked):
    rng = np.random.default_rng(0)
    jitter = rng.normal(0, 1, (60, 5, 2)).astype(np.float32)
    moving = [face(i, 0, landmarks=FRONTAL + jitter[i]) for i in range(60)]
    result = tracked(noise_frames(60), lambda i: [moving[i]])
    ideal = np.array([faces.crop_box(face(i)) for i in range(60)])
    raw = np.array([faces.crop_box(f) for f in moving]) - ideal
    smooth = np.array([t.box for t in result]) - ideal
    assert smooth[5:-5].std() < 0.6 * raw.std()
    assert np.diff(smooth, axis=0).std() < 0.3 * np.diff(raw, axis=0).std()
    assert np.abs(smooth[5:-5].mean(0)).max() < 0.5  # it does not lag behind


@pytest.mark.parametrize("batch_size", [1, 3, 16, 64])
def test_every_frame_comes_out_whatever_the_batch(tracked, batch_size):
    result = tracked(noise_frames(37), lambda i: [face()], batch_size=batch_size)
    assert all(t.face is not None for t in result)


def test_a_cut_resets_the_smoothing(tracked):
    result = tracked(noise_frames(40, lambda i: int(i >= 20)), lambda i: [face(0 if i < 20 else 25, 0)])
    left = [t.face.box[0] for t in result]
    np.testing.assert_allclose(left, [0] * 20 + [25] * 20, atol=1e-4)


def test_a_flash_is_no_cut(tracked):
    """The picture changes and the face stays: no reset, and nobody else is taken."""
    frames = noise_frames(30)
    frames[15] = Frame(np.full_like(frames[0].image, 255), frames[15].time, frames[15].duration)
    other = face(60, 0, 1.3)
    result = tracked(frames, lambda i: [face(0.5 * (i % 2)), other] if i else [face()])
    assert np.abs(np.diff([t.face.box[0] for t in result])).max() < 0.3


def test_a_jump_of_the_face_resets_the_smoothing(tracked):
    result = tracked(noise_frames(40), lambda i: [face(0 if i < 20 else 40, 0)])
    np.testing.assert_allclose([t.face.box[0] for t in result], [0] * 20 + [40] * 20, atol=1e-4)


def test_frames_without_a_face_have_none(tracked):
    missing = {0, 7, 20, 21, 22, 23, 24, 25, 39}
    result = tracked(noise_frames(40), lambda i: [] if i in missing else [face(i, 0)])
    assert {i for i, t in enumerate(result) if t.face is None} == missing
    assert {i for i, t in enumerate(result) if t.box is None} == missing
    assert all(t.box is None for t in tracked(noise_frames(5), lambda i: []))


def test_the_same_person_is_followed(tracked):
    """Another, larger face comes in later, and stays alone for a moment: it is not taken."""
    small, large = face(0, 0), face(300, 0, 2.0)

    def seen(i):
        return [small] if i < 10 else [large] if 15 <= i < 20 else [large, small]

    result = tracked(noise_frames(40), seen)
    assert all(t.face is None if 15 <= i < 20 else t.face.box[0] == 0 for i, t in enumerate(result))


def test_another_person_is_taken_when_the_first_is_gone(tracked):
    result = tracked(noise_frames(60), lambda i: [face(0, 0)] if i < 20 else [face(300, 0)])
    taken = [i for i, t in enumerate(result) if t.face is not None and t.face.box[0] == 300]
    assert taken == list(range(20 + faces.PATIENCE, 60))


def test_after_a_cut_the_largest_is_taken(tracked):
    def seen(i):
        return [face(0, 0)] if i < 20 else [face(200, 0), face(500, 0, 2.0)]

    result = tracked(noise_frames(40, lambda i: int(i >= 20)), seen)
    assert [t.face.box[0] for t in result] == pytest.approx([0] * 20 + [500] * 20)


def test_tracking_looks_ahead_a_little_only(monkeypatch):
    monkeypatch.setattr(faces, "detect", lambda images: [[face()] for _ in images])
    pulled = 0

    def frames():
        nonlocal pulled
        for frame in noise_frames(200):
            pulled += 1
            yield frame

    for i, _ in enumerate(faces.track(frames(), batch_size=8)):
        assert pulled - i <= 8 + faces.SMOOTH_FRAMES


def test_retrace_finds_the_same_boxes(tracked):
    frames = noise_frames(30)
    first = tracked(frames, lambda i: [face(i, 0)] if i % 7 else [])
    records = [t.record for t in first]
    again = list(faces.retrace(reversed(frames), records))[::-1]
    for a, b in zip(first, again):
        assert b.frame is a.frame and b.face is a.face and b.box is a.box


def test_real_detection_follows_a_moving_photo(photo, tmp_path):
    """The whole way: a video of the photo that shifts, tracked from the file."""
    small = cv2.resize(photo, (240, 280), interpolation=cv2.INTER_AREA)
    path = tmp_path / "a.mp4"
    with video.VideoWriter(path, 320, 280, 25) as writer:
        for i in range(24):
            picture = np.full((280, 320, 3), 90, np.uint8)
            picture[:, i : i + 240] = small
            writer.write(picture, i / 25)
    boxes = np.array([t.box for t in faces.track(video.read_frames(path))])
    shift = (boxes[16, :] - boxes[8, :])[[0, 2]]
    np.testing.assert_allclose(shift, 8, atol=2)


# Real people, and what dlib's predictor and detector say about them


@pytest.mark.real
def test_crops_of_real_people(real_clips, golden):
    known = np.load(golden / "dlib_faces.npz")
    overlaps = []
    for path in sorted(real_clips.glob("*.mp*")):
        result = list(faces.track(video.read_frames(path)))
        assert all(t.face is not None for t in result), path
        chin, lip, rectangle = (known[f"{path.stem}_{name}"] for name in ("chin", "upper_lip", "box"))
        boxes = np.array([t.box for t in result])
        side = boxes[:, 3] - boxes[:, 1]
        margin = (boxes[:, 3] - chin[:, 1]) / side
        assert margin.min() > 0.04 and np.median(margin) < 0.16
        assert ((lip[:, 1] - boxes[:, 1]) / side).min() > 0.51  # the lower half holds the lips
        for t in result:
            corners = faces.to_crop(t.face.landmarks[3:], t.box, 1)
            assert ((corners > 0.2) & (corners < 0.8)).all()
        middle = (boxes[:, :2] + boxes[:, 2:]) / 2
        bends = middle[1:-1] - (middle[:-2] + middle[2:]) / 2
        assert np.sqrt((bends**2).mean()) < 0.001 * side.mean()
        dlib = np.array([faces.crop_box(t.face, "dlib") for t in result])
        shared = np.clip(np.minimum(dlib[:, 2:], rectangle[:, 2:]) - np.maximum(dlib[:, :2], rectangle[:, :2]), 0, None)
        area = sum(np.prod(box[:, 2:] - box[:, :2], axis=1) for box in (dlib, rectangle)) - shared.prod(1)
        overlaps.append(shared.prod(1) / area)
    assert np.concatenate(overlaps).mean() > 0.84 and np.concatenate(overlaps).min() > 0.68
