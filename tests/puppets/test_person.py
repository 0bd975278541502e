"""Made-up people: shape, colours, pose and camera change the image, and the points go along."""

import copy
import dataclasses

import cv2
import numpy as np
import pytest

from lipgan_keras.face import photos as face_photos
from lipgan_keras.puppets import photos
from lipgan_keras.puppets.camera import Camera, Place, Pose
from lipgan_keras.puppets.person import Axes, Person

LANDMARKS = np.array([[70, 80], [114, 80], [92, 105], [75, 130], [109, 130]], float)  # 1 face unit is 50 pixels


@pytest.fixture(scope="module")
def puppet():
    return photos.load_puppet(next(iter(face_photos.shipped_photos().values())))


def dots(points, shape=(200, 190, 3)):
    """A black image with a white dot at each point."""
    image = np.zeros(shape, np.uint8)
    for x, y in points:
        cv2.circle(image, (round(x), round(y)), 3, (255, 255, 255), -1, cv2.LINE_AA)
    return image


def dot_near(image, point, reach=9):
    """The bright dot's middle, pixels (centres at whole numbers)."""
    x, y = np.rint(point).astype(int)
    part = image[y - reach : y + reach + 1, x - reach : x + reach + 1].max(2).astype(float)
    assert part.max() > 100
    part = np.maximum(part - 40, 0)
    rows, columns = np.mgrid[y - reach : y + reach + 1, x - reach : x + reach + 1]
    return np.array([(part * columns).sum(), (part * rows).sum()]) / part.sum()


def test_axes_go_there_and_back():
    turned = LANDMARKS @ np.array([[0.9, 0.3], [-0.3, 0.9]]) + [20, -5]
    axes = Axes(turned)
    there = axes.to_face(turned)
    np.testing.assert_allclose(there[:2].mean(0), 0, atol=1e-9)
    np.testing.assert_allclose(there[3:].mean(0), [0, 1], atol=1e-9)
    assert there[0, 0] == pytest.approx(-0.44) and there[1, 0] == pytest.approx(0.44)
    np.testing.assert_allclose(axes.to_photo(there), turned, atol=1e-9)
    u, v = axes.grid((200, 190, 3))
    np.testing.assert_allclose(axes.to_photo(np.array([u[50, 60], v[50, 60]])), [60, 50], atol=1e-3)


@pytest.mark.parametrize("seed", range(4))
def test_points_go_where_the_shape_takes_them(seed):
    person, axes = Person(np.random.default_rng(seed)), Axes(LANDMARKS)
    moved = axes.to_photo(person.moved(axes.to_face(LANDMARKS)))
    assert 0.7 < np.linalg.norm(moved - LANDMARKS, axis=1).max() < 15
    for before, after in zip(
        LANDMARKS, moved, strict=True
    ):  # a dot is warped too, which moves its middle by a part of a pixel
        np.testing.assert_allclose(dot_near(person.shape(dots([before]), axes), after), after, atol=0.7)


def test_people_differ_in_colour_and_none_disappears(puppet):
    axes = Axes(np.array(puppet.geometry.landmarks))
    u, v = axes.grid(puppet.photo.shape)
    cheeks = (np.abs(np.abs(u) - 0.5) < 0.14) & (np.abs(v - 0.6) < 0.16)
    seen = []
    for seed in range(12):
        person = Person(np.random.default_rng(seed))
        seen.append(np.median(person.colour(puppet.photo, axes)[cheeks].mean(1)))
        again = Person(np.random.default_rng(seed))
        assert again.numbers == person.numbers
    assert min(seen) > 40 and max(seen) < 235 and np.std(seen) > 25
    dark, pale = Person(np.random.default_rng(0)), Person(np.random.default_rng(0))
    dark.numbers["skin"], pale.numbers["skin"] = 0.5, 5.0
    dark, pale = (person.colour(puppet.photo, axes)[cheeks].mean() for person in (dark, pale))
    assert pale > dark + 60


def test_points_go_where_the_pose_takes_them(puppet):
    marks = np.array(puppet.geometry.landmarks)
    for i, turn in enumerate([(0, 0), (14, 0), (-14, 6), (8, -8)]):
        place = Place((6.0, -4.0), 5.0, (1.05, 0.98), turn)
        expected = puppet.landmarks(0, 0, place) - 0.5
        for number in range(3):  # eyes and nose; MTCNN's corners are not the corners
            dotted = copy.copy(puppet)
            dotted.photo = dots([marks[number]], puppet.photo.shape)
            assert np.abs(dot_near(dotted.render(0, 0, place), expected[number]) - expected[number]).max() < 1.2
        straight = puppet.landmarks(0, 0, dataclasses.replace(place, turn=(0, 0))) - 0.5
        moved = np.linalg.norm(expected - straight, axis=1)
        assert moved[2] > 4 if i else moved.max() == 0  # the nose stands out


def test_corners_are_where_the_mouth_ends(puppet):
    ends = [puppet.geometry.upper[0], puppet.geometry.upper[-1]]
    found = {}
    for opening, width in ((0, 0), (1, 0), (0, -1), (0, 1)):
        expected = puppet.corners(opening, width) - 0.5
        for side in range(2):
            dotted = copy.copy(puppet)
            dotted.photo = dots([ends[side]], puppet.photo.shape)
            frame = dotted.render(opening, width)
            assert np.abs(dot_near(frame, expected[side], 7) - expected[side]).max() < 2.5
        found[opening, width] = expected
    apart = {key: np.ptp(points[:, 0]) for key, points in found.items()}
    assert apart[0, -1] < 0.8 * apart[0, 0] < apart[0, 1] / 1.1
    assert found[1, 0][:, 1].mean() > found[0, 0][:, 1].mean() + 2  # the jaw takes them down


def test_a_window_is_a_part_of_the_frame(puppet):
    rng = np.random.default_rng(3)
    other = puppet.as_person(Person(rng), rng)
    place = Place((3.0, 2.0), -4.0, (1.0, 1.0), (7.0, -3.0))
    whole = other.render(0.7, 0.2, place)
    x1, y1, x2, y2 = window = (48, 64, 208, 224)
    part = other.render(0.7, 0.2, place, window)
    assert np.abs(part.astype(int) - whole[y1:y2, x1:x2]).max() <= 2
    for seed in range(8):
        camera = Camera(np.random.default_rng(seed))
        full = camera(whole, 4)
        cut = camera(whole[y1:y2, x1:x2], 4, x1, y1)
        assert np.abs(cut.astype(int) - full[y1:y2, x1:x2])[16:-16, 16:-16].mean() < 0.5
        if camera.numbers["noise"]:
            assert np.any(camera(whole, 5) != full)


def test_the_camera_softens_and_adds_noise(puppet):
    frame = puppet.render(0, 0)

    def detail(image):
        return np.abs(np.diff(image.astype(float), axis=1)).mean()

    camera = Camera(np.random.default_rng(0))
    plain = {"reduced": 1.0, "blur": 0.0, "noise": 0.0, "noise_grain": 0.0, "quality": None, "seed": 1}
    camera.numbers = plain
    np.testing.assert_array_equal(camera(frame, 0), frame)
    for name, value, more in (("reduced", 2.0, False), ("blur", 1.2, False), ("noise", 6.0, True)):
        camera.numbers = plain | {name: value}
        assert bool(detail(camera(frame, 0)) > detail(frame)) == more, name
    camera.numbers = plain | {"quality": 25}
    assert 1 < np.abs(camera(frame, 0).astype(float) - frame).mean() < 12


def test_a_smile_raises_the_corners_of_the_mouth():
    def mouth_of(smile):
        person = Person(np.random.default_rng(1))
        person.numbers["smile"] = smile
        return person.moved(np.array([[-0.4, 1.0], [0.0, 1.0], [0.4, 1.0]]))

    rest, smile = mouth_of(0.0), mouth_of(0.1)
    raised, wider = rest[:, 1] - smile[:, 1], np.abs(smile[:, 0] - smile[1, 0]) - np.abs(rest[:, 0] - rest[1, 0])
    assert raised[1] < 0.01 and all(0.05 < corner < 0.15 for corner in raised[[0, 2]]) and all(wider[[0, 2]] > 0.02)
    drawn = {
        smiling: [Person(np.random.default_rng(s), smiling).numbers["smile"] for s in range(50)]
        for smiling in (False, True)
    }
    assert not any(drawn[False]) and max(drawn[True]) > 0.08 and 10 < np.count_nonzero(drawn[True]) < 45


def test_lips_may_be_thinner_and_paler(puppet):
    axes = Axes(np.array(puppet.geometry.landmarks))
    u, v = axes.grid(puppet.photo.shape)
    cheeks = (np.abs(np.abs(u) - 0.5) < 0.14) & (np.abs(v - 0.6) < 0.16)

    def with_lips(**numbers):
        person = Person(np.random.default_rng(4))
        person.numbers.update(numbers)
        return person

    def height(person):
        (_, above), (_, below) = person.moved(np.array([[0.0, 0.95], [0.0, 1.06]]))
        return below - above

    assert height(with_lips(lip_thinness=0.6)) < 0.75 * height(with_lips())

    def reddest(person):  # how much redder than cheeks the reddest part of the lips is
        lab = cv2.cvtColor(person.colour(puppet.photo, axes), cv2.COLOR_BGR2LAB).astype(float)
        return np.percentile(lab[..., 1][(np.abs(u) < 0.4) & (np.abs(v - 1) < 0.15)], 95) - np.median(
            lab[..., 1][cheeks]
        )

    assert reddest(with_lips(lip_paleness=0.8)) < 0.6 * reddest(with_lips())
    names = ("lip_thinness", "lip_paleness")
    plain, clear = (Person(np.random.default_rng(1), smiling).numbers for smiling in (False, True))
    assert not any(plain[name] for name in names) and all(clear[name] > 0 for name in names)


def test_good_cameras_lose_less():
    cameras = {
        good: [Camera(np.random.default_rng(seed), good).numbers for seed in range(200)] for good in (False, True)
    }

    def spoilt(good, name, nothing):
        values = [camera[name] - nothing for camera in cameras[good]]
        return np.count_nonzero(values), np.max(values)

    for name, nothing in (("reduced", 1), ("blur", 0), ("noise", 0)):
        (often, worst), (rarely, at_most) = (spoilt(good, name, nothing) for good in (False, True))
        assert 0 < rarely < 0.5 * often and 0 < at_most < 0.5 * worst, name
    assert min(camera["quality"] or 99 for camera in cameras[True]) >= 60


def test_a_head_moves_slowly():
    for seed in range(5):
        pose = Pose.drawn(100, 25.0, 256, np.random.default_rng(seed))
        assert pose.shift.shape == pose.zoom.shape == pose.turn.shape == (100, 2) and pose.angle.shape == (100,)
        assert np.abs(np.diff(pose.shift, axis=0)).max() < 2 and np.abs(np.diff(pose.turn, axis=0)).max() < 2
        assert np.abs(pose.turn).max() < 25 and np.abs(pose.shift).max() < 35
