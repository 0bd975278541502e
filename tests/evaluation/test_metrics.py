import json

import cv2
import numpy as np
import pytest

from lipgan_keras.data import scoring
from lipgan_keras.evaluation import config, statistics, syncnet
from lipgan_keras.evaluation.metrics import images as metrics_images
from lipgan_keras.evaluation.metrics import movement, position, register, sound
from lipgan_keras.evaluation.metrics.register import Frames
from lipgan_keras.face import aperture, cropping, landmarks68, regions


def test_lip_mae_is_the_weighted_mean():
    rng = np.random.default_rng(0)
    mask = rng.random((3, 8, 9), "float32")
    truth, prediction = rng.random((2, 3, 8, 9, 3), "float32")
    expected = [
        np.sum(m[..., None] * np.abs(t - p)) / (3 * m.sum()) for m, t, p in zip(mask, truth, prediction, strict=True)
    ]
    assert scoring.lip_mae(mask, truth, prediction) == pytest.approx(expected, rel=1e-6)


def test_lip_mae_sees_the_lips_alone():
    mask = np.zeros((2, 4, 4))
    mask[0, 2:] = 0.5
    truth, prediction = np.zeros((2, 4, 4, 3)), np.zeros((2, 4, 4, 3))
    prediction[:, :2] = 1.0
    prediction[:, 2:] = 0.25
    error = scoring.lip_mae(mask, truth, prediction)
    assert error[0] == pytest.approx(0.25) and np.isnan(error[1])  # an empty mask has no error


def test_bootstrap_interval():
    rng = np.random.default_rng(0)
    values = rng.normal(3.0, 1.0, 400)
    low, high = statistics.bootstrap_interval(values)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)
    assert statistics.bootstrap_interval(values) == (low, high)
    narrow = statistics.bootstrap_interval(values, level=0.5)
    assert low < narrow[0] < narrow[1] < high


def test_frames_of_one_clip_are_drawn_together():
    """20 clips of 50 equal frames tell as much as 20 values, not as 1000."""
    clip = np.random.default_rng(0).normal(0.0, 1.0, 20)
    low, high = statistics.bootstrap_interval(np.repeat(clip, 50), np.repeat(np.arange(20), 50))
    one_by_one = statistics.bootstrap_interval(np.repeat(clip, 50))
    assert high - low == pytest.approx(2 * 1.96 * clip.std() / np.sqrt(20), rel=0.15)
    assert high - low > 5 * (one_by_one[1] - one_by_one[0])


def test_sharpness_is_the_strength_of_fine_detail():
    x = np.arange(96)
    waves = [128 + 40 * np.sin(2 * np.pi * x / period) for period in (4, 48)]  # fine, coarse
    images = np.stack([np.repeat(np.tile(wave, (96, 1))[..., None], 3, axis=-1) for wave in waves]).astype("uint8")
    masks = np.zeros((2, 96, 96))
    masks[:, 20:70, 20:70] = 1
    fine, coarse = metrics_images.sharpness(images, masks)
    assert fine == pytest.approx(40 / np.sqrt(2), rel=0.1) and coarse < 0.1 * fine
    half = images.copy()
    half[0, :20] = half[0, 70:] = 0  # not in the mask, but for the blur's reach
    assert metrics_images.sharpness(half[:1], masks[:1])[0] == pytest.approx(fine, rel=0.15)
    assert np.isnan(metrics_images.sharpness(images[:1], masks[:1] * 0)[0])


# ---------------------------------------------------------------------------------------------------------------------
# The register

SIZE = register.SIZE
POINTS = regions.default_landmarks()
MASK = regions.lip_mask(POINTS)
PER_FRAME = [name for name, metric in register.METRICS.items() if metric.per == "frame"]
X, Y = np.meshgrid(np.arange(SIZE) + 0.5, np.arange(SIZE) + 0.5)
JAW = ((Y > 52) & (Y < 84) & (X > 30) & (X < 66))[..., None]  # within what speech moves


@pytest.fixture(autouse=True)
def finders(monkeypatch):
    """In place of dlib and MTCNN: the mouth's points lie about the middle of what is red, as its size spreads them."""

    def find(image, count):
        red = (image[..., 2] > 200) & (image[..., 0] < 50) & (image[..., 1] < 50)
        places = np.argwhere(red)[:, ::-1] + 0.5
        if not len(places):
            return np.full((count, 2), np.nan)
        side = np.sqrt(len(places)) * np.linspace(-0.5, 0.5, count)[:, None]
        return places.mean(axis=0) + side * np.array([1, 0.5])

    monkeypatch.setattr(landmarks68, "mouth", lambda image, points: find(image, 20))
    monkeypatch.setattr(landmarks68, "corners", lambda crops: np.stack([find(crop, 2) for crop in crops]))


def face_crop(mouth=(48, 60), wide=12, high=8, seed=0, size=SIZE):
    """A face-like crop: soft noise and a red mouth of so many pixels about a place."""
    noise = np.random.default_rng(seed).normal(0, 1, (size, size, 3))
    image = 128 + 60 * cv2.GaussianBlur(noise, (0, 0), 1.2) + 50 * np.sin(np.arange(size) / 9)[:, None, None]
    image = np.clip(image, 60, 250)
    x, y = (np.arange(size) + 0.5) * SIZE / size, ((np.arange(size) + 0.5) * SIZE / size)[:, None]
    image[(np.abs(x - mouth[0]) < wide / 2) & (np.abs(y - mouth[1]) < high / 2)] = (20, 20, 220)
    return image.astype("uint8")


def frames(truth, generated, points=POINTS, full=None, boxes=None):
    truth, generated = np.asarray(truth), np.asarray(generated)
    points = np.broadcast_to(points, (len(truth), 5, 2)).astype("float32")
    masks = np.stack([regions.lip_mask(p) for p in points])
    return Frames(truth, generated, points, masks, *(full or (None, None)), boxes)


class Distance:
    """In place of LPIPS's network."""

    size = SIZE

    def __call__(self, one, other):
        return np.abs(one.astype("float32") - other).mean(axis=(1, 2, 3))[:, None]


class Embedding:
    """In place of ArcFace's network: the picture itself."""

    size = 112

    def __call__(self, images):
        return images.reshape(len(images), -1).astype("float32") - 128


GIVEN = {"lpips": Distance(), "arcface": Embedding()}


def of_frames(name):
    """The function of a measure; networks that users give are stand-ins."""
    metric = register.METRICS[name]
    return lambda shown: metric.fn(shown, *([GIVEN[metric.given]] if metric.given else []))


def measure(name, *arguments, **more):
    metric = register.METRICS[name]
    values = of_frames(name)(frames(*arguments, **more))
    assert values.shape == (len(arguments[0]),)
    return metric.reduce(values)


def blurred(images, sigma):
    return np.stack([cv2.GaussianBlur(image, (0, 0), sigma) for image in images])


def shifted(images, pixels):
    move = np.float64([[1, 0, pixels], [0, 1, 0]])
    return np.stack([cv2.warpAffine(image, move, (SIZE, SIZE), borderMode=cv2.BORDER_REPLICATE) for image in images])


def test_the_register_is_complete():
    assert {
        "psnr", "psnr_mouth", "ssim", "ssim_mouth", "lip_mae", "lip_share",
        "lmd", "lmd_normalised", "lmd_5", "lmd_5_normalised",
        "spurious_motion", "spurious_motion_worst", "mouth_flicker", "sharpness_ratio", "opening_correlation",
        "murmur", "sensitivity_3", "sensitivity_5", "sensitivity_10", "sensitivity_other",
        "sync_preference", "lse_d", "lse_c", "av_offset", "fid", "lpips", "identity_similarity",
    } == set(register.METRICS)  # fmt: skip
    for name, metric in register.METRICS.items():
        assert metric.name == name and metric.title and metric.source and callable(metric.fn) and metric.fn.__doc__
        described = json.loads(json.dumps(metric.describe()))
        assert set(described) == {"title", "unit", "better", "range", "source"} and len(described["range"]) == 2
    assert set(config.EARLIER.values()) <= set(register.METRICS) and not set(config.EARLIER) & set(register.METRICS)
    with pytest.raises(AssertionError):
        register.register("psnr", "", "", None, (0, 1), "")(lambda frames: None)  # a name stands for one thing


EQUAL = {"psnr": 100, "psnr_mouth": 100, "ssim": 1, "ssim_mouth": 1, "lip_share": np.nan, "sharpness_ratio": 1}
EQUAL |= {"identity_similarity": 1}


@pytest.mark.parametrize("name", PER_FRAME)
def test_equal_videos(name):
    images = np.stack([face_crop(seed=seed) for seed in range(3)])
    full = [cv2.copyMakeBorder(image, 50, 40, 60, 30, cv2.BORDER_REFLECT) for image in images]
    for more in ({}, {"full": (full, full), "boxes": np.tile([60.0, 50, 156, 146], (3, 1))}):
        assert measure(name, images, images, **more) == pytest.approx(EQUAL.get(name, 0), nan_ok=True)


@pytest.mark.parametrize("name", PER_FRAME)
def test_worse_is_worse(name):
    """The more a result is blurred, or shifted, the worse each measure of the image is."""
    truth = np.stack([face_crop(seed=seed) for seed in range(2)])
    better = {"sharpness_ratio": "higher", "mouth_flicker": "lower"}.get(name, register.METRICS[name].better)
    sign = {"higher": -1, "lower": 1}.get(better, 0)
    if name.startswith(("lmd", "lip_share")):
        changes = [shifted(truth, pixels) for pixels in (1, 2, 4)]
    elif name.startswith("spurious"):  # an image that jumps to and fro
        changes = [np.stack([truth[0], shifted(truth[:1], pixels)[0]]) for pixels in (1, 2, 4)]
        truth = truth[[0, 0]]
    elif name == "mouth_flicker":
        changes = [np.stack([truth[0], shifted(truth[:1], pixels)[0], truth[0]]) for pixels in (1, 2, 4)]
        truth = truth[[0, 0, 0]]
    else:
        changes = [blurred(truth, sigma) for sigma in (0.7, 1.5, 3)]
    values = [measure(name, truth, truth), *(measure(name, truth, change) for change in changes)]
    if sign:
        assert np.all(np.diff(values) * sign > 0), values
    low, high = register.METRICS[name].range
    assert all((low is None or value >= low) and (high is None or value <= high) for value in values[1:])


def test_psnr_of_a_known_difference():
    truth = np.full((1, SIZE, SIZE, 3), 100, np.uint8)
    assert measure("psnr", truth, truth + 10) == pytest.approx(20 * np.log10(25.5))
    one = truth.copy()
    one[0, 0, 0, 0] += 1
    value = measure("psnr", truth, one)
    assert value == pytest.approx(10 * np.log10(255**2 * SIZE * SIZE * 3)) and value < metrics_images.MOST_PSNR


def test_ssim_of_flat_images():
    """Where nothing varies it is (2ab + c) / (a^2 + b^2 + c), c = (0.01 * 255)^2."""
    a, b = 60, 140
    flat = [np.full((1, SIZE, SIZE, 3), grey, np.uint8) for grey in (a, b)]
    expected = (2 * a * b + 2.55**2) / (a * a + b * b + 2.55**2)
    assert measure("ssim", *flat) == pytest.approx(expected) and measure("ssim_mouth", *flat) == pytest.approx(expected)


def test_ssim_is_that_of_its_paper():
    """Local means and variances under a Gaussian of 1.5 pixels cut to 11 x 11, without its reach at the edges."""
    truth = face_crop()
    other = blurred(truth[None], 1)[0]
    values = []
    for a, b in zip(np.moveaxis(truth / 1.0, -1, 0), np.moveaxis(other / 1.0, -1, 0), strict=True):
        ma, mb, aa, bb, ab = (cv2.GaussianBlur(x, (11, 11), 1.5) for x in (a, b, a * a, b * b, a * b))
        c1, c2 = 2.55**2, 7.65**2
        local = (2 * ma * mb + c1) * (2 * (ab - ma * mb) + c2) / ((ma**2 + mb**2 + c1) * (aa - ma**2 + bb - mb**2 + c2))
        values.append(local[5:-5, 5:-5].mean())
    assert measure("ssim", truth[None], other[None]) == pytest.approx(np.mean(values), abs=1e-6)


@pytest.mark.parametrize(("of_mouth", "of_all"), [("psnr_mouth", "psnr"), ("ssim_mouth", "ssim")])
def test_the_mouth_alone(of_mouth, of_all):
    truth = face_crop()[None]
    elsewhere = truth.copy()
    elsewhere[:, :25] = 255 - elsewhere[:, :25]
    assert measure(of_mouth, truth, elsewhere) == pytest.approx(EQUAL[of_mouth])
    assert measure(of_all, truth, elsewhere) < 20
    mouth = truth.copy()
    mouth[:, 50:75, 30:66] = 255 - mouth[:, 50:75, 30:66]
    assert measure(of_mouth, truth, mouth) < measure(of_all, truth, mouth)
    away = regions.default_landmarks() + np.float32([500, 500])  # the mouth is not in the crop
    assert np.isnan(measure(of_mouth, truth, mouth, points=away))


def test_lip_error_and_share():
    truth = np.full((1, SIZE, SIZE, 3), 100, np.uint8)
    even = truth + 51
    assert measure("lip_mae", truth, even) == pytest.approx(0.2)
    assert measure("lip_share", truth, even) == pytest.approx(MASK.sum() / SIZE**2)
    inside, outside = truth.copy(), truth.copy()
    inside[:, MASK == 1] = 200
    outside[:, MASK == 0] = 200
    assert measure("lip_share", truth, inside) == pytest.approx(1) and measure("lip_share", truth, outside) == 0
    assert measure("lip_mae", truth, outside) == 0


def test_sharpness_is_relative_to_the_truth():
    noise = np.random.default_rng(0).normal(0, 10, (1, SIZE, SIZE, 1)) * np.ones(3)
    truth, twice = (np.clip(128 + factor * noise, 0, 255).astype("uint8") for factor in (1, 2))
    assert measure("sharpness_ratio", truth, twice) == pytest.approx(2, rel=0.05)
    assert measure("sharpness_ratio", twice, truth) == pytest.approx(0.5, rel=0.05)
    flat = np.full_like(truth, 128)
    assert measure("sharpness_ratio", truth, flat) == 0 and np.isnan(measure("sharpness_ratio", flat, truth))


def test_a_mouth_made_at_96_pixels_is_softer_than_a_large_face():
    size = 3 * SIZE
    full = np.random.default_rng(0).integers(60, 200, (size + 40, size + 40, 3)).astype("uint8")
    box = np.array([20.0, 20, 20 + size, 20 + size])
    crop = cropping.extract(full, box)
    pasted = full.copy()
    pasted[20 : 20 + size, 20 : 20 + size] = cv2.resize(crop, (size, size), interpolation=cv2.INTER_CUBIC)
    assert measure("sharpness_ratio", crop[None], crop[None]) == pytest.approx(1)  # crops do not tell
    assert measure("sharpness_ratio", crop[None], crop[None], full=([full], [pasted]), boxes=box[None]) < 0.6


def test_landmark_distance_is_in_crop_pixels():
    truth, moved = face_crop()[None], face_crop(mouth=(51, 56))[None]
    for name in ("lmd", "lmd_5"):
        assert measure(name, truth, moved) == pytest.approx(5)
        assert measure(f"{name}_normalised", truth, moved) == pytest.approx(5 / position.face_width(POINTS))
    # The same face in an image where its crop is 192 pixels wide: 6 and 8 of its pixels.
    full = [[np.pad(face_crop(mouth, size=192), ((30, 10), (40, 20), (0, 0)))] for mouth in ((48, 60), (51, 56))]
    box = np.array([[40.0, 30, 232, 222]])
    assert measure("lmd", truth, truth, full=tuple(full), boxes=box) == pytest.approx(5)
    assert np.isnan(measure("lmd_5", truth, truth * 0))  # no face found


def test_landmarks_are_looked_for_once(monkeypatch):
    calls, find = [], landmarks68.mouth
    monkeypatch.setattr(landmarks68, "mouth", lambda *arguments: calls.append(1) or find(*arguments))
    both = frames([face_crop()], [face_crop(mouth=(50, 60))])
    position.lmd(both), position.lmd_normalised(both)
    assert len(calls) == 2


def test_face_width_is_as_dlib_measures_it():
    assert position.face_width(POINTS) == pytest.approx(0.76 * SIZE, rel=0.05)
    assert position.face_width(2 * POINTS) == pytest.approx(2 * position.face_width(POINTS))


def patched(images, where, grey):
    """Copies with a patch in them."""
    result = np.array(images)
    result[np.broadcast_to(where, result.shape)] = grey
    return result


def test_spurious_motion_of_a_moved_patch():
    """A patch of 20 x 10 pixels outside the mouth that becomes 30 lighter: 30 times its share of what is looked at."""
    still = np.full((4, SIZE, SIZE, 3), 100, np.uint8)
    patch = ((X < 20) & (Y < 10))[..., None]
    result = still.copy()
    result[2:] = patched(still[2:], patch, 130)
    looked_at = (~movement._jaw(POINTS, SIZE)).sum()
    assert 0.55 * SIZE**2 < looked_at < 0.75 * SIZE**2
    values = movement.spurious_motion(frames(still, result))
    assert np.isnan(values[0]) and values[1:] == pytest.approx([0, 30 * 200 / looked_at, 0])
    assert measure("spurious_motion", still, result) == pytest.approx(10 * 200 / looked_at)
    assert measure("spurious_motion_worst", still, result) == pytest.approx(30 * 200 / looked_at)
    assert measure("spurious_motion", result, still) == pytest.approx(10 * 200 / looked_at)  # movement lost
    assert measure("spurious_motion", result, result) == 0  # the source moves as well
    assert measure("spurious_motion", still, patched(still, patch, 130)) == 0  # another colour, but it stays
    mouth = still.copy()
    mouth[2:] = patched(still[2:], JAW, 130)
    assert measure("spurious_motion", still, mouth) == 0  # what speech may move


def test_flicker_of_lips():
    even = np.stack([np.full((SIZE, SIZE, 3), 80 + 4 * i, np.uint8) for i in range(6)])  # changes, but evenly
    to_and_fro = even.copy()
    to_and_fro[1::2] = 110
    assert measure("mouth_flicker", even, even) == 0 == measure("mouth_flicker", to_and_fro, to_and_fro)
    values = movement.mouth_flicker(frames(even, to_and_fro))
    assert np.isnan(values[:2]).all()
    # 80, 110, 88, 110, 96, 110: second differences of 52, 44, 36, 28.
    assert values[2:] == pytest.approx([52, 44, 36, 28], abs=1e-4)
    assert measure("mouth_flicker", to_and_fro, even) == pytest.approx(-40, abs=1e-4)  # smoother than the truth
    beside = even.copy()
    beside[1::2] = patched(even[1::2], ((X < 20) & (Y < 10))[..., None], 200)
    assert measure("mouth_flicker", even, beside) == 0
    assert np.isnan(movement.mouth_flicker(frames(even[:2], even[:2]))).all()


def test_spurious_motion_around_the_crop():
    """In whole images it is looked for in twice the crop's box, at the crop's scale, inside the image."""
    still = np.full((2, SIZE, SIZE, 3), 100, np.uint8)
    full = np.full((2, 400, 500, 3), 100, np.uint8)
    box = np.tile([200.0, 104, 392, 296], (2, 1))  # looked at: 104 to 488, 8 to 392
    near, far = full.copy(), full.copy()
    near[1, 20:60, 120:160] = 150  # 40 x 40 pixels are 20 x 20 of the crop's
    far[1, 20:60, 10:90] = 150
    looked_at = (~movement._jaw(POINTS + SIZE // 2, 2 * SIZE)).sum()
    assert measure("spurious_motion", still, still, full=(full, near), boxes=box) == pytest.approx(50 * 400 / looked_at)
    assert measure("spurious_motion", still, still, full=(full, far), boxes=box) == 0
    high = box - [0, 100, 0, 100]  # 46 rows of the crop's lie above the image
    near[1] = 100
    near[1, 4:24, 120:140] = 150
    looked_at = (~movement._jaw(POINTS + SIZE // 2, 2 * SIZE))[46:].sum()
    expected = 50 * 100 / looked_at
    assert measure("spurious_motion", still, still, full=(full, near), boxes=high) == pytest.approx(expected)


def test_chunks_that_overlap_give_what_the_whole_gives():
    truth, result = (np.stack([face_crop(seed=seed + first) for seed in range(7)]) for first in (0, 50))
    for name in PER_FRAME:
        fn = of_frames(name)
        parts = [fn(frames(truth[:4], result[:4])), fn(frames(truth[2:], result[2:]))[2:]]
        np.testing.assert_allclose(np.concatenate(parts), fn(frames(truth, result)), err_msg=name)


def talking(openings, shifts, seed=0):
    """Crops of one face that open their mouth so far, each moved by a fraction of a pixel; and their landmarks."""
    crops, points = [], []
    for opening, shift in zip(openings, shifts, strict=True):
        crop = face_crop(wide=26, high=2, seed=seed)
        crop[(np.abs(X - 48) < 13) & (np.abs(Y - 60) < 1 + 8 * opening)] = (15, 10, 20)
        move = np.float64([[1, 0, shift], [0, 1, shift / 2]])
        crops.append(cv2.warpAffine(crop, move, (SIZE, SIZE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
        points.append(POINTS + np.float32([shift, shift / 2]))
    return np.stack(crops), np.stack(points)


def test_copying_the_identity_frame_scores_as_a_frozen_mouth():
    """A result that shows the identity frame again and again is no better than a mouth that never moves."""
    rng = np.random.default_rng(3)
    openings, shifts = 0.55 + 0.3 * np.sin(np.arange(24) / 2), rng.uniform(-0.1, 0.1, 24)
    shifts[0] = openings[0] = 0
    truth, points = talking(openings, shifts)
    copied = np.repeat(truth[:1], len(truth), axis=0)
    poses = [cropping.pose(points[0], one) for one in points]
    frozen = np.stack([cv2.warpAffine(truth[0], pose, (SIZE, SIZE), borderMode=cv2.BORDER_REPLICATE) for pose in poses])
    good, _ = talking(np.clip(openings + 0.15, 0, 1), shifts)
    for name in ("lip_mae", "psnr_mouth", "ssim_mouth"):
        both = [measure(name, truth[12:], result[12:], points=points[12:]) for result in (copied, frozen, good)]
        assert abs(both[0] - both[1]) < 0.25 * abs(both[2] - both[1]), (name, both)
    found = {
        name: aperture.mouth_aperture(images, points)
        for name, images in {"truth": truth, "copied": copied, "frozen": frozen, "good": good}.items()
    }
    assert movement.opening_correlation(found["truth"], found["good"]) > 0.95
    assert abs(movement.opening_correlation(found["truth"], found["copied"])) < 0.3
    assert abs(movement.opening_correlation(found["truth"], found["frozen"])) < 0.3
    # It does the same under any sound.
    assert sound.error_ratio(*[metrics_images.lip_error(frames(truth, copied, points))] * 2) == 1


# ---------------------------------------------------------------------------------------------------------------------
# Of whole videos


def test_opening_correlation():
    truth = np.sin(np.arange(50))
    assert movement.opening_correlation(truth, 3 * truth + 1) == pytest.approx(1)
    assert movement.opening_correlation(truth, -truth) == pytest.approx(-1)
    assert movement.opening_correlation(truth, np.cos(np.arange(50))) == pytest.approx(0, abs=0.05)
    assert (
        movement.opening_correlation(truth, np.full(50, 0.3)) == 0
    )  # a frozen mouth is no reason to leave a video out
    assert np.isnan(movement.opening_correlation(np.full(50, 0.3), truth))
    assert movement.opening_correlation(np.append(truth, np.nan), np.append(truth, 1.0)) == pytest.approx(1)


def test_murmur_is_movement_under_music_over_that_under_speech():
    speech = np.sin(np.arange(100))
    assert movement.murmur(0.25 * speech + 7, speech) == pytest.approx(0.25)
    assert movement.murmur(np.full(100, 0.9), speech) == pytest.approx(0)
    assert np.isnan(movement.murmur(speech, np.full(100, 0.9)))


def test_error_ratio():
    assert sound.error_ratio([0.1, 0.3, np.nan], [0.3, 0.5, 0.4]) == pytest.approx(2)
    assert sound.error_ratio([0.2], [0.2]) == 1
    assert np.isnan(sound.error_ratio([0.0], [0.2])) and np.isnan(sound.error_ratio([], []))


def test_ratio_interval_draws_pairs_and_groups():
    rng = np.random.default_rng(0)
    right = rng.uniform(0.1, 1.0, 400)
    ratio, low, high = statistics.ratio_interval(1.5 * right, right)
    assert ratio == pytest.approx(1.5) and low == pytest.approx(1.5) == high  # hard and easy frames are drawn together
    wrong = 1.5 * right + rng.normal(0, 0.2, 400)
    ratio, low, high = statistics.ratio_interval(wrong, right)
    assert ratio == pytest.approx(wrong.sum() / right.sum()) and low < ratio < high and high - low < 0.15
    groups = np.repeat(np.arange(20), 20)
    wrong = right * np.repeat(rng.uniform(1, 2, 20), 20)
    widths = [np.diff(statistics.ratio_interval(wrong, right, by)[1:])[0] for by in (groups, None)]
    assert widths[0] > 2 * widths[1]
    holed = statistics.ratio_interval(np.append(wrong, np.nan), np.append(right, 1.0))
    assert holed == statistics.ratio_interval(wrong, right) and np.isnan(statistics.ratio_interval([], [])[0])


def test_share_in_sync():
    assert sound.share_in_sync([0.9, 0.2], [0.1, 0.5]) == 0.5
    assert sound.share_in_sync([0.9, 0.2], [[0.1, 0.3, 0.95], [0.1, 0.0, -1]]) == pytest.approx(5 / 6)
    assert sound.share_in_sync([0.4, 0.4], [0.4, 0.4]) == 0.5  # one who sees nothing guesses


def test_lse_of_known_distances():
    distances = np.full(31, 10.0)
    distances[12] = 6.5
    assert syncnet.summary(distances) == {"lse_d": 6.5, "lse_c": 3.5, "offset": 3, "distances": list(distances)}


def test_reductions_pass_over_what_is_not_defined():
    values = np.array([np.nan, 1.0, 4.0])
    assert register.mean(values) == 2.5 and register.largest(values) == 4
    assert np.isnan(register.mean([np.nan])) and np.isnan(register.largest([]))
