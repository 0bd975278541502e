import cv2
import numpy as np
import pytest

from lipgan_keras.evaluation.metrics import images
from lipgan_keras.face import cropping, detector, photos, regions, tracking
from lipgan_keras.face.detector import Face
from lipgan_keras.face.tracking import TrackedFace
from lipgan_keras.inference import blend
from lipgan_keras.inference.blend import Composer
from lipgan_keras.inference.occlusion import OcclusionDetector
from lipgan_keras.media import video_reader
from lipgan_keras.media.video_reader import Frame
from lipgan_keras.puppets import photos as puppets_photos

SIZE = 360


def a_face(middle=(180.0, 180.0), side=150.0, roll=0.0, upright=True, landmarks=None, strength=1.0):
    """A face whose crop is `side` wide, its head tilted by `roll` radians; landmarks are of an upright crop, 0..1."""
    points = regions.default_landmarks(1) if landmarks is None else np.asarray(landmarks, np.float32)
    turn = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    points = ((points - 0.5) * side @ turn.T + middle).astype(np.float32)
    middle = np.array(middle)
    box = np.concatenate([middle - side / 2, middle + side / 2])
    return TrackedFace(0, 0, Face(box.astype(np.float32), points, 1.0), box, roll * upright, strength)


def looking(degrees):
    """Landmarks of a head turned to the right: a cylinder with a nose."""
    radius, angle = 0.35, np.radians(degrees)
    around = np.radians([-31, 31, 0, -24, 24])
    out = np.array([1, 1, 1.27, 1, 1])  # a nose 0.4 times as far out as the eyes are apart, as 3D heads have it
    x = 0.5 + radius * out * np.sin(around + angle)
    return np.stack([x, [0.21, 0.21, 0.41, 0.615, 0.615]], axis=1)


@pytest.fixture(scope="module")
def image():
    """Smooth colours with fine grain."""
    rng = np.random.default_rng(3)
    coarse = cv2.resize(rng.uniform(70, 180, (6, 6, 3)), (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    return np.clip(coarse + rng.normal(0, 3, coarse.shape), 0, 255).astype(np.uint8)


def whole(face, region, shape=(SIZE, SIZE)):
    (x1, y1, x2, y2), weight = Composer(region).mask(shape, face)
    result = np.zeros(shape, np.float32)
    result[y1:y2, x1:x2] = weight
    return result


def in_crop(face, shape=(SIZE, SIZE)):
    """(H,W,2): the place of every pixel's centre in the crop, 0..1."""
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    return cropping.to_crop(np.stack([x, y], axis=-1), face.box, 1, face.angle)


FACES = {
    "upright": a_face(),
    "tilted": a_face(roll=0.4),
    "tilted in an upright crop": a_face(roll=-0.3, upright=False),
    "turned": a_face(landmarks=looking(25)),
    "half outside": a_face(middle=(20.3, 330.7)),
    "quite outside": a_face(middle=(-400, 90)),
    "tiny": a_face(side=9),
    "large": a_face(side=500),
    "entering": a_face(strength=0.3),
    "gone": a_face(strength=0),
    "one point": a_face(landmarks=np.full((5, 2), 0.5)),
}


@pytest.mark.parametrize("region", blend.REGIONS)
@pytest.mark.parametrize("name", FACES)
def test_what_the_mask_leaves_out_is_the_sources(image, region, name):
    face = FACES[name]
    before = image.copy()
    crop = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    result = Composer(region)(image, face, crop)
    mask = whole(face, region)
    assert np.array_equal(image, before) and not np.shares_memory(result, image)
    assert result.dtype == np.uint8 and result.shape == image.shape
    assert mask.min() >= 0 and mask.max() <= 1
    assert np.array_equal(result[mask == 0], image[mask == 0])
    # In front of the camera, the mask holds the mouth.
    if name not in ("quite outside", "gone", "one point"):
        strongest = min(face.strength, 1)
        assert mask.max() == pytest.approx(strongest, abs=0.3 if name == "tiny" else 1e-3)
        assert not np.array_equal(result, image)
    if name in ("quite outside", "gone"):
        assert not mask.any()


@pytest.mark.parametrize("region", ["mouth", "jaw"])
@pytest.mark.parametrize("name", ["upright", "tilted", "tilted in an upright crop", "turned", "large"])
def test_nothing_of_the_copied_half_nor_of_the_crops_edges_is_shown(region, name):
    shape = (800, 800)
    face = FACES[name]
    face = a_face((400, 400), 300, face.angle) if name == "tilted" else face
    mask, place = whole(face, region, shape), in_crop(face, shape)
    shown = place[mask > 0]
    assert len(shown) > 1000
    assert shown[:, 1].min() > 0.5 + 1 / 96
    assert shown.min() > 0.01 and shown.max() < 0.99


def test_the_mask_covers_lips_and_the_jaw_mask_the_chin():
    face = a_face()
    place = in_crop(face)
    mouth, jaw = whole(face, "mouth"), whole(face, "jaw")

    def at(mask, x, y):
        return mask[np.unravel_index(np.square(place - (x, y)).sum(-1).argmin(), mask.shape)]

    for mask in (mouth, jaw):
        for point in [(0.355, 0.615), (0.645, 0.615), (0.5, 0.57), (0.5, 0.7)]:  # corners, lips, a mouth that opens
            assert at(mask, *point) > 0.85, point
        assert at(mask, 0.1, 0.6) == at(mask, 0.9, 0.6) == 0
    assert at(jaw, 0.5, 0.86) > 0.6 and at(mouth, 0.5, 0.89) == 0
    assert np.all(jaw >= mouth - 0.02)


def test_the_mask_is_soft():
    for region in ("mouth", "jaw"):
        mask = whole(a_face(), region)
        steps = np.abs(np.diff(mask, axis=0)).max(), np.abs(np.diff(mask, axis=1)).max()
        assert max(steps) < 0.3
    assert set(np.unique(whole(a_face(), "face"))) == {0, 1}


def test_the_mask_follows_the_heads_roll():
    straight, tilted = whole(a_face(), "jaw"), whole(a_face(roll=0.5), "jaw")
    matrix = cv2.getRotationMatrix2D((179.5, 179.5), -np.degrees(0.5), 1)
    assert np.abs(cv2.warpAffine(straight, matrix, (SIZE, SIZE)) - tilted).mean() < 1e-3


def test_a_turned_faces_mask_narrows_on_the_far_side():
    previous = np.inf
    for degrees in (0, 15, 25):
        face = a_face(landmarks=looking(degrees))
        columns = np.flatnonzero(whole(face, "jaw").max(axis=0) > 0)
        middle = face.face.landmarks[3:, 0].mean()
        far, near = columns[-1] - middle, middle - columns[0]
        outline = 105 + 0.35 * 150 + 75 - middle  # of looking()'s cylinder
        assert far < previous and far < outline and near >= far - 1
        previous = far
        mirrored = a_face(landmarks=looking(-degrees))
        assert np.abs(whole(mirrored, "jaw")[:, ::-1] - whole(face, "jaw")).max() < 0.02


@pytest.mark.parametrize("region", ["mouth", "jaw"])
@pytest.mark.parametrize("roll", [0.0, 0.35])
def test_a_crop_of_the_image_itself_changes_little(image, region, roll):
    face = a_face((183.4, 171.2), 150, roll)
    crop = cropping.extract(image, face.box, 96, face.angle)
    errors = []
    for sharpen in (0.0, 1.0):
        result = Composer(region, sharpen)(image, face, crop)
        errors.append(np.abs(result.astype(float) - image)[whole(face, region) > 0.9].mean())
    blurred = cv2.GaussianBlur(image, (0, 0), 4)
    assert errors[0] < 1.1 * np.abs(blurred.astype(float) - image).mean()  # grain is lost, all is in its place
    assert errors[1] < {"mouth": 0.98, "jaw": 0.75}[region] * errors[0]  # the source's own grain, but on the lips


def test_a_192_pixel_crop_lies_where_a_96_pixel_crop_does(image):
    face = a_face(side=170)
    results = [Composer("jaw", 0)(image, face, cropping.extract(image, face.box, size)) for size in (96, 192)]
    smooth = [cv2.GaussianBlur(r, (0, 0), 3).astype(float) for r in results]
    assert np.abs(smooth[0] - smooth[1]).max() < 3


def test_colours_are_matched_at_the_seam(image):
    face = a_face()
    tint = np.array([25, -20, 12])
    crop = np.clip(cropping.extract(image, face.box, 96).astype(int) + tint, 0, 255).astype(np.uint8)
    for region in ("mouth", "jaw"):
        inside = whole(face, region) > 0.9
        change = (Composer(region)(image, face, crop).astype(float) - image)[inside].mean(axis=0)
        assert np.abs(change).max() < 1.5
    inside = whole(face, "face") > 0
    change = (Composer("face")(image, face, crop).astype(float) - image)[inside].mean(axis=0)
    assert change == pytest.approx(tint, abs=2)  # as the original


def test_background_in_the_rim_is_no_colour_to_be_matched():
    """The new chin ends higher than the old one: black below it must not make the mouth lighter."""
    image = np.full((SIZE, SIZE, 3), 150, np.uint8)
    crop = np.full((96, 96, 3), 140, np.uint8)
    crop[82:] = 20
    result = Composer("jaw", 0)(image, a_face(), crop)
    assert result[int(105 + 62 * 150 / 96), 180] == pytest.approx([150, 150, 150], abs=5)


@pytest.mark.parametrize("side", [70.4, 150.0, 253.7])
def test_the_crop_lies_to_the_fraction_of_a_pixel(side):
    x, y = np.meshgrid(np.arange(SIZE), np.arange(SIZE))
    waves = 128 + 50 * np.sin(x * 0.15) + 50 * np.sin(y * 0.15)
    image = np.repeat(np.rint(waves).astype(np.uint8)[..., None], 3, axis=-1)
    for roll in (0.0, 0.4):
        face = a_face((180.3, 171.8), side, roll)
        result = Composer("face")(image, face, cropping.extract(image, face.box, 96, face.angle))
        inside = np.all(np.abs(in_crop(face) - 0.5) < 0.47, axis=-1)
        error = result[inside].astype(float) - image[inside]
        assert np.abs(error).mean() < 0.8, (roll, np.abs(error).mean())


def test_a_dark_mouth_stays_dark():
    """What differs inside of the rim is the mouth, not a colour to be matched."""
    image = np.full((SIZE, SIZE, 3), 150, np.uint8)
    crop = np.full((96, 96, 3), 140, np.uint8)
    cv2.ellipse(crop, (48, 61), (11, 5), 0, 0, 360, (30, 20, 60), -1)
    result = Composer("jaw", 0)(image, a_face(), crop)
    x, y = 180, int(105 + 61 * 150 / 96)
    assert result[y, x] == pytest.approx([40, 30, 70], abs=6)
    assert result[int(105 + 78 * 150 / 96), x] == pytest.approx([150, 150, 150], abs=3)


def test_the_face_region_is_the_crop_as_it_is(image):
    face = a_face(middle=(180, 170), side=96)
    crop = np.random.default_rng(1).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    expected = image.copy()
    expected[122:218, 132:228] = crop
    assert np.array_equal(Composer("face")(image, face, crop), expected)


def striped(vertical):
    """A face of even skin with stripes where the lips are."""
    image = np.full((SIZE, SIZE, 3), 150, np.uint8)
    x, y = np.meshgrid(np.arange(SIZE), np.arange(SIZE))
    stripes = 150 + 60 * np.sign(np.sin((x if vertical else y) * 2.0))
    lips = ((x - 180) / 20) ** 2 + ((y - 200) / 10) ** 2 < 1
    image[lips] = stripes[lips, None]
    return image, lips


def test_no_ghost_of_the_sources_lips():
    """Where the source has stripes and the new mouth is plain, the result is plain."""
    for vertical in (False, True):
        image, lips = striped(vertical)
        plain = np.full((96, 96, 3), 150, np.uint8)
        result = Composer("jaw", 1)(image, a_face(), plain)
        before, after = (p[lips].astype(float)[:, 0] - 150 for p in (image, result))
        assert np.abs(after).max() < 0.12 * np.abs(before).max()


def test_sharpen_gives_a_soft_mouth_the_sources_detail(image):
    face = a_face(side=200)
    soft = cropping.extract(cv2.GaussianBlur(image, (0, 0), 2), face.box, 96)
    mask = whole(face, "jaw") > 0.9
    own, *made = images.sharpness(
        [image, *(Composer("jaw", sharpen)(image, face, soft) for sharpen in (0, 0.5, 1))], [mask] * 4
    )
    assert made[0] < 0.3 * own
    assert made[0] < made[1] < made[2] and 0.6 * own < made[2] < 1.1 * own


def test_sharpening_is_bounded():
    """Grain in the source does not blow up what little there is in a crop."""
    rng = np.random.default_rng(5)
    image = rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    crop = np.clip(128 + rng.normal(0, 2, (96, 96, 3)), 0, 255).astype(np.uint8)
    face = a_face()
    lips = whole(face, "mouth") > 0.999
    soft, sharp = (Composer("mouth", s)(image, face, crop).astype(float)[lips].mean(-1).std() for s in (0, 1))
    assert 1.2 * soft < sharp < (blend.MAX_GAIN + 0.3) * soft


def test_yaw():
    for degrees in (0, 10, 20, 30, 40):
        assert blend.yaw(looking(degrees)) == pytest.approx(-blend.yaw(looking(-degrees)), abs=1e-6)
    turning = [blend.yaw(looking(degrees)) for degrees in (-40, -20, 0, 20, 40)]
    assert np.all(np.diff(turning) > 8) and turning[2] == pytest.approx(0, abs=1e-6)
    assert turning == pytest.approx([-40, -20, 0, 20, 40], abs=4)
    roll = np.array([[0.6, -0.8], [0.8, 0.6]])
    assert blend.yaw(looking(20) @ roll.T * 300 + 7) == pytest.approx(turning[3], abs=1e-3)
    assert np.isfinite(blend.yaw(np.zeros((5, 2))))


def test_a_face_turned_too_far_fades_back_to_the_source(image):
    crop = np.random.default_rng(2).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    turning = [looking(degrees) for degrees in range(0, 80, 2)]
    strength = [blend.turned(points) for points in turning]
    assert strength[0] == 1 and strength[-1] == 0
    assert np.all(np.diff(strength) <= 0) and np.min(np.diff(strength)) > -0.5  # no jump
    for region in blend.REGIONS:
        assert np.array_equal(Composer(region)(image, a_face(landmarks=turning[-1]), crop), image)
        assert not np.array_equal(Composer(region)(image, a_face(landmarks=turning[5]), crop), image)


def test_unknown_region():
    with pytest.raises(ValueError, match="chin"):
        Composer("chin")


@pytest.mark.real
def test_real_mouths_of_other_frames_are_as_sharp_as_the_source(real_clips):
    """A stand-in for a perfect generator: another frame's face on this one's eyes and nose, at 96 pixels."""
    for name in ("sbia1a.mpg", "portrait_700p30.mp4"):
        frames = [frame.image for frame in video_reader.sample_frames(real_clips / name, 4)]
        found = [detector.select(seen) for seen in detector.detect(frames)]
        ratios = []
        for i in range(len(frames)):
            j = (i + 1) % len(frames)
            face = TrackedFace(0, 0, found[i], cropping.crop_box(found[i]))
            matrix = cropping.pose(found[j].landmarks, found[i].landmarks)
            other = cv2.warpAffine(frames[j], matrix, frames[i].shape[1::-1], borderMode=cv2.BORDER_REPLICATE)
            crop = cropping.extract(other, face.box, 96)
            mask = whole(face, "mouth", frames[i].shape[:2]) > 0.9
            made = [Composer("jaw", sharpen)(frames[i], face, crop) for sharpen in (0, 1)]
            values = images.sharpness([frames[i], *made], [mask] * 3)
            ratios.append(values[1:] / values[0])
        soft, sharp = np.mean(ratios, axis=0)
        assert soft < 0.88 and 0.9 < sharp < 1.15, (name, soft, sharp)


# ----------------------------------------------------------------------------------------------- hands before the mouth


def a_person(lips=1.0, light=1.0, shift=0.0, hand=None):
    """A face of flat skin with lips, at `a_face()`; a hand of the very same skin reaches up to row `hand`."""
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    mouth = a_face().face.landmarks[3:].mean(0)
    image = np.full((SIZE, SIZE, 3), (110, 130, 180), np.float32) + 6 * np.sin(x / 9)[..., None]
    inside = np.square((x - mouth[0]) / 22) + np.square((y - mouth[1]) / (7 * lips)) < 1
    image[inside] = (80, 70, 160)
    image[inside & (np.abs(y - mouth[1]) < 7 * lips - 6)] = (20, 20, 40)  # the inside of an open mouth
    if hand is not None:
        image[(y > hand) & (np.abs(x - mouth[0]) < 70)] = (110, 130, 180)
    return np.clip(np.roll(image, round(shift), 1) * light, 0, 255).astype(np.uint8)


def answers(frames, fps=25, faces_of=lambda i: a_face()):
    uncovered = OcclusionDetector()
    return [uncovered(frame, faces_of(i), i / fps) for i, frame in enumerate(frames)]


def test_mouths_that_move_in_changing_light_are_never_taken_for_covered():
    frames = range(75)
    opening = [1.5 - np.cos(i / 2) / 2 + (i == 40) for i in frames]
    assert answers([a_person(lips=o) for o in opening]) == [1] * 75
    assert answers([a_person(lips=o, light=max(0.05, 1 - i / 60)) for i, o in enumerate(opening)]) == [1] * 75
    assert answers([a_person(lips=o, light=1 if i % 20 < 10 else 0.5) for i, o in enumerate(opening)]) == [1] * 75


@pytest.mark.parametrize("speed", [40, 2])
@pytest.mark.slow
def test_nothing_is_drawn_on_a_hand(speed):
    """Of the person's own colour, that comes soon or slowly, and stays for 3 s."""
    mouth = a_face().face.landmarks[3:].mean(0)[1]
    way = [mouth + 70 - speed * i for i in range(int(105 / speed))]
    frames = [a_person() for _ in range(25)] + [a_person(hand=row) for row in way + [mouth - 35] * 75 + way[::-1]]
    found = answers([*frames, *[a_person() for _ in range(10)]])
    assert found[:25] == [1] * 25 and found[-1] == 1
    assert max(found[25 + len(way) : 100 + len(way)]) == 0
    back = np.diff(found[100 + len(way) :])
    assert back.max() <= 0.2 + 1e-6  # it comes back gradually


def test_a_covered_mouth_is_one_persons():
    """And whoever is seen with a covered mouth first is believed when it is free."""
    free, covered = a_person(), a_person(hand=150)
    people = [a_face(), TrackedFace(1, 1, a_face().face, a_face().box)]
    uncovered = OcclusionDetector()
    for i in range(50):
        one = uncovered(covered if i > 25 else free, people[0], i / 25)
        other = uncovered(free if i > 25 else covered, people[1], i / 25)
    assert one == 0 and other == 1


@pytest.mark.real
@pytest.mark.slow
def test_hands_before_real_mouths(real_clips):
    for name in ("pwij3p.mpg", "lbbc2a.mpg"):
        seen = list(tracking.follow(video_reader.read_frames(real_clips / name)))[:50]
        uncovered, found = OcclusionDetector(), []
        for i, (frame, one) in enumerate(seen):
            image = frame.image
            if i >= 25:  # forehead over mouth and chin
                image = image.copy()
                (x, y), apart = one.face.landmarks[2], float(np.ptp(one.face.landmarks[[0, 3], 1]))
                skin = image[int(y - 0.45 * apart) : int(y - 0.1 * apart), int(x - 0.2 * apart) : int(x + 0.2 * apart)]
                top, left = int(y + 0.15 * apart), int(x - 0.6 * apart)
                image[top : top + int(apart), left : left + int(1.2 * apart)] = cv2.resize(
                    skin, (int(1.2 * apart), int(apart))
                )
            found.append(uncovered(image, one, frame.time))
        assert found[:25] == [1] * 25 and found[25:] == [0] * 25


@pytest.mark.slow
def test_wide_open_mouths_of_puppets_are_not_covered():
    """From closed to wide open and back in a quarter of a second."""
    for photo in photos.shipped_photos().values():
        puppet = puppets_photos.load_puppet(photo)
        frames = [Frame(puppet.render(0.5 + 0.5 * np.sin(i), 0.0), i / 25, 1 / 25) for i in range(50)]
        seen = [one for _, one in tracking.follow(iter(frames))]
        assert answers([frame.image for frame in frames], faces_of=seen.__getitem__) == [1] * 50


@pytest.mark.parametrize("region", blend.REGIONS)
def test_what_is_kept_is_the_images(image, region):
    crop = np.full((96, 96, 3), (40, 90, 200), np.uint8)
    crop[60:70] = 255
    keep = np.zeros((SIZE, SIZE), np.float32)
    keep[:, :170] = 1
    result = Composer(region, keep=keep)(image, a_face(), crop)
    np.testing.assert_array_equal(result[:, :170], image[:, :170])
    np.testing.assert_array_equal(result[:, 170:], Composer(region)(image, a_face(), crop)[:, 170:])
    assert not np.array_equal(result, image)


def test_a_still_is_composed_as_any_image_is(image):
    crops = np.random.default_rng(0).integers(0, 255, (2, 96, 96, 3), np.uint8)
    face, still = a_face(), Composer(still=True)
    for crop in (*crops, crops[0]):
        np.testing.assert_array_equal(still(image, face, crop), Composer()(image, face, crop))
    other = image[::-1].copy()
    np.testing.assert_array_equal(still(other, face, crops[0]), Composer()(other, face, crops[0]))
