import itertools
import weakref

import cv2
import numpy as np
import pytest

from lipgan_keras.face import cropping, detector, identities, photos, regions, sampling, smoothing, tracking
from lipgan_keras.face.detector import Face
from lipgan_keras.media import video_reader
from lipgan_keras.media.video_reader import Frame
from lipgan_keras.media.video_writer import VideoWriter
from lipgan_keras.utils.errors import UserError

FRONTAL = np.array([[30, 30], [70, 30], [50, 52], [35, 75], [65, 75]], np.float32)  # a face in a box of 100 x 130
INFERENCE = {"every": 4, "bridge": 5, "fade": 3, "upright": True}


def face(x=0.0, y=0.0, scale=1.0, landmarks=FRONTAL):
    return Face(np.float32([x, y, x + 100 * scale, y + 130 * scale]), np.float32(landmarks * scale + (x, y)), 1.0)


def noise_frames(count, scene=lambda i: 0, fps=25):
    """Frames whose image is another one in each scene; no two of them are the same object."""
    scenes = {
        s: np.random.default_rng(s).integers(0, 255, (120, 160, 3), dtype=np.uint8) for s in map(scene, range(count))
    }
    scenes = {s: cv2.resize(cv2.resize(image, (8, 6)), (160, 120)) for s, image in scenes.items()}
    return [Frame(scenes[scene(i)].copy(), i / fps, 1 / fps) for i in range(count)]


@pytest.fixture
def track(monkeypatch):
    """A function: track frames in which the detector sees what faces_of(i) gives; `looks` are the frames it saw."""

    def run(frames, faces_of, **arguments):
        images = {id(frame.image): i for i, frame in enumerate(frames)}
        numbers = {id(frame): i for i, frame in enumerate(frames)}
        run.looks = []

        def detect(looked_at):
            seen = [images[id(image)] for image in looked_at]
            run.looks += seen
            return [faces_of(i) for i in seen]

        monkeypatch.setattr(detector, "detect", detect)
        result = list(tracking.track(frames, **arguments))
        assert [numbers[id(t.frame)] for t in result] == list(range(len(frames)))  # each once, in order
        return result

    return run


def lefts(result):
    """Where the one face of each frame begins, or None."""
    assert all(len(t.faces) <= 1 for t in result)
    return [float(t.faces[0].face.box[0]) if t.faces else None for t in result]


def strengths(result):
    return [t.faces[0].strength if t.faces else 0 for t in result]


def empty(result):
    return {i for i, t in enumerate(result) if not t.faces}


# One person, every frame


def test_tracking_steadies_the_box(track):
    rng = np.random.default_rng(0)
    jitter = rng.normal(0, 1, (60, 5, 2)).astype(np.float32)
    moving = [face(i, 0, landmarks=FRONTAL + jitter[i]) for i in range(60)]
    ideal = np.array([cropping.crop_box(face(i)) for i in range(60)])
    raw = np.array([cropping.crop_box(f) for f in moving]) - ideal
    smooth, rough = (
        np.array([t.faces[0].box for t in track(noise_frames(60), lambda i: [moving[i]], smooth=smooth)]) - ideal
        for smooth in (True, False)
    )
    assert smooth[5:-5].std() < 0.6 * raw.std()
    assert np.diff(smooth, axis=0).std() < 0.3 * np.diff(raw, axis=0).std()
    assert np.abs(smooth[5:-5].mean(0)).max() < 0.5  # it does not lag behind
    np.testing.assert_allclose(rough, raw, atol=1e-4)


@pytest.mark.parametrize("arguments", [{}, INFERENCE])
@pytest.mark.parametrize("batch_size", [1, 3, 16, 64])
@pytest.mark.parametrize("count", [1, 2, 5, 37])
def test_every_frame_comes_out_whatever_the_batch(track, count, batch_size, arguments):
    result = track(noise_frames(count), lambda i: [face()], batch_size=batch_size, **arguments)
    assert not empty(result) and set(strengths(result)) == {1}
    assert len(track.looks) == len(set(track.looks))


def speaking(i, x=0.0, scale=1.0):
    """A face whose jaw takes the corners of the mouth along, six frames a syllable."""
    jaw = np.float32([[0, 0]] * 3 + [[0, 3 + 3 * np.sin(2 * np.pi * i / 6)]] * 2)
    return face(x, 0, scale, FRONTAL + jaw)


def test_steady_crops_do_not_follow_the_jaw(track):
    """They follow the head, as it moves and comes nearer."""
    follows, steady = (
        np.array([t.faces[0].box for t in track(noise_frames(60), lambda i: [speaking(i)], style=style, smooth=False)])
        for style in ("lipgan_keras", "steady")
    )
    assert np.ptp(follows, axis=0).max() > 5 * np.ptp(steady[12:-12], axis=0).max()
    np.testing.assert_allclose(steady.mean(0), follows.mean(0), atol=0.5)
    moving = [speaking(i, 2 * i, 1 + 0.005 * i) for i in range(60)]
    result = track(noise_frames(60), lambda i: [moving[i]], style="steady", smooth=False)
    low = FRONTAL + np.float32([[0, 0]] * 3 + [[0, 3]] * 2)  # where the mouth is on average
    rest = np.array([cropping.crop_box(face(2 * i, 0, 1 + 0.005 * i, low)) for i in range(60)])
    assert np.abs([t.faces[0].box for t in result] - rest)[12:-12].max() < 1.0
    # Of crops that are made without a video
    landmarks = np.array([one.landmarks for one in moving])
    np.testing.assert_allclose(
        [t.faces[0].box for t in result], [cropping.landmarks_box(p) for p in smoothing.steadied(landmarks)], atol=1e-3
    )


def test_steady_crops_begin_anew_where_the_scene_does(track):
    wide = FRONTAL + np.float32([[0, 0]] * 3 + [[0, 20]] * 2)
    seen = [face() if i < 20 else face(landmarks=wide) for i in range(40)]
    result = track(noise_frames(40, lambda i: int(i >= 20)), lambda i: [seen[i]], style="steady")
    boxes = [t.faces[0].box for t in result]
    np.testing.assert_allclose(boxes, [cropping.crop_box(one) for one in seen], atol=1e-3)


def test_a_steady_mouth_of_a_face_without_a_nose():
    """Where nose and eyes are one point, nothing can be said from it."""
    flat = np.stack([FRONTAL, FRONTAL + 1])
    flat[:, 2] = flat[:, :2].mean(1)
    np.testing.assert_array_equal(smoothing.steadied(flat), flat)


def test_a_cut_resets_the_smoothing(track):
    result = track(noise_frames(40, lambda i: int(i >= 20)), lambda i: [face(0 if i < 20 else 25, 0)])
    np.testing.assert_allclose(lefts(result), [0] * 20 + [25] * 20, atol=1e-4)


@pytest.mark.parametrize("blinded", [True, False])
def test_a_flash_of_light_is_no_cut(track, blinded):
    """The image changes and the face stays: no reset, and nobody else is taken."""
    frames = noise_frames(30)
    frames[15] = Frame(np.full_like(frames[0].image, 255), frames[15].time, frames[15].duration)
    other = face(60, 0, 1.3)

    def seen(i):
        return [] if blinded and i == 15 else [face(0.5 * (i % 2))] + [other] * (i > 0)

    result = track(frames, seen)
    assert empty(result) == ({15} if blinded else set())
    assert np.abs(np.diff([x for x in lefts(result) if x is not None])).max() < 0.3
    assert len({t.faces[0].track for t in result if t.faces}) == 1


def test_a_jump_of_the_face_resets_the_smoothing(track):
    result = track(noise_frames(40), lambda i: [face(0 if i < 20 else 40, 0)])
    np.testing.assert_allclose(lefts(result), [0] * 20 + [40] * 20, atol=1e-4)


def test_frames_without_a_face_have_none(track):
    missing = {0, 7, 20, 21, 22, 23, 24, 25, 39}
    assert empty(track(noise_frames(40), lambda i: [] if i in missing else [face(i, 0)])) == missing
    assert empty(track(noise_frames(5), lambda i: [])) == set(range(5))
    assert track([], lambda i: []) == []


def test_the_same_person_is_followed(track):
    """Another, larger face comes in later, and stays alone for a moment: it is not taken."""
    small, large = face(0, 0), face(300, 0, 2.0)

    def seen(i):
        return [small] if i < 10 else [large] if 15 <= i < 20 else [large, small]

    assert lefts(track(noise_frames(40), seen)) == [None if 15 <= i < 20 else 0 for i in range(40)]


def test_another_person_is_taken_when_the_first_is_gone(track):
    result = track(noise_frames(60), lambda i: [face(0, 0)] if i < 20 else [face(300, 0)])
    assert lefts(result) == [0] * 20 + [None] * identities.PATIENCE + [300] * (40 - identities.PATIENCE)


def test_after_a_cut_the_largest_is_taken(track):
    def seen(i):
        return [face(0, 0)] if i < 20 else [face(200, 0), face(500, 0, 2.0)]

    result = track(noise_frames(40, lambda i: int(i >= 20)), seen)
    assert lefts(result) == pytest.approx([0] * 20 + [500] * 20)


# Looks now and then


def test_a_look_now_and_then_is_enough(track):
    frames = noise_frames(200)
    full = track(frames, lambda i: [face(i, 0.5 * i)])
    result = track(frames, lambda i: [face(i, 0.5 * i)], every=4)
    np.testing.assert_allclose(lefts(result), lefts(full), atol=0.01)
    assert len(track.looks) <= 52


def test_frames_at_uneven_times_are_interpolated_in_time(track):
    times = np.cumsum(np.random.default_rng(0).uniform(0.01, 0.1, 40))
    frames = [Frame(frame.image, float(time), 0.04) for frame, time in zip(noise_frames(40), times, strict=True)]
    result = track(frames, lambda i: [face(50 * times[i], 0)], every=4, smooth=False)
    np.testing.assert_allclose(lefts(result), 50 * times, atol=0.01)


@pytest.mark.parametrize("at", range(17, 22))
def test_cuts_and_jumps_are_found_to_the_frame(track, at):
    for frames in (noise_frames(40), noise_frames(40, lambda i: int(i >= at))):
        result = track(frames, lambda i: [face(0 if i < at else 40, 0)], **INFERENCE)
        np.testing.assert_allclose(lefts(result), [0] * at + [40] * (40 - at), atol=1e-4)
        assert [t.faces[0].track for t in result] == [0] * at + [1] * (40 - at)
        assert set(strengths(result)) == {1} and len(track.looks) < 20


@pytest.mark.parametrize("at", range(17, 22))
def test_a_cut_between_two_looks_that_agree(track, at):
    """For one frame the image is another, without a face."""
    result = track(noise_frames(40, lambda i: int(i == at)), lambda i: [] if i == at else [face()], **INFERENCE)
    assert empty(result) == {at} and set(strengths(result)) == {0, 1}


def test_a_miss_is_made_good(track):
    """The detector misses a face in frames of its choice."""
    missed = {3, 15, 16, 31}
    assert empty(track(noise_frames(40), lambda i: [] if i in missed else [face()], every=4)) == missed
    assert not empty(track(noise_frames(40), lambda i: [] if i in missed else [face()], **INFERENCE))


def test_fast_moves_are_looked_at(track):
    def place(i):
        return 60 * np.sin(max(0, i - 30) / 3)

    result = track(noise_frames(60), lambda i: [face(place(i), 0)], every=4, smooth=False)
    assert np.abs(np.array(lefts(result)) - [place(i) for i in range(60)]).max() < 4
    assert len(track.looks) < 45


# Gaps, flashes, fades


def test_short_gaps_are_bridged_and_long_ones_are_not(track):
    gaps = {*range(10, 15), *range(30, 36)}
    result = track(noise_frames(50), lambda i: [] if i in gaps else [face(i, 0)], bridge=5, smooth=False)
    assert empty(result) == set(range(30, 36))
    np.testing.assert_allclose(lefts(result)[:30], range(30), atol=1e-3)
    assert len({t.faces[0].track for t in result[:30]}) == 1


def test_nothing_is_painted_on_what_is_put_between(track):
    """A title between two shots of one person."""
    for scene in (lambda i: int(10 <= i < 13), lambda i: 0):
        result = track(noise_frames(30, scene), lambda i: [] if 10 <= i < 13 else [face()], **INFERENCE)
        assert empty(result) == (set(range(10, 13)) if scene(11) else set())


def test_flashes_are_left_out(track):
    false = face(300, 0, 3.0)

    def seen(i):
        return [false] * (i < 2 or 20 <= i < 22) + [face()] * (i > 0)

    result = track(noise_frames(40), seen, **INFERENCE)
    assert lefts(result)[1:] == [0] * 39 and result[0].faces == []
    result = track(noise_frames(40), lambda i: [face()] * (20 <= i < 22), **INFERENCE)
    assert empty(result) == set(range(40))
    two = track(noise_frames(30, lambda i: (i >= 10) + (i >= 12)), lambda i: [face(40 * (10 <= i < 12))], **INFERENCE)
    assert not empty(two)  # a shot of two frames


def test_faces_that_enter_and_leave_fade(track):
    result = track(noise_frames(60), lambda i: [face()] * (10 <= i < 30 or i >= 50), **INFERENCE)
    ramp = [0.25, 0.5, 0.75]
    assert strengths(result) == pytest.approx([0] * 10 + ramp + [1] * 14 + ramp[::-1] + [0] * 20 + ramp + [1] * 7)


@pytest.mark.parametrize("people", tracking.PEOPLE)
@pytest.mark.parametrize("arguments", [{}, INFERENCE, {"every": 7, "bridge": 2, "smooth": False}, {"fade": 6}])
def test_anything_may_happen(track, people, arguments):
    """Faces that come, go, leap and shake their heads, in videos that cut, flash and go black."""
    for seed in range(4):
        rng = np.random.default_rng(seed)
        shots = np.cumsum(rng.random(150) < 0.08)
        frames = noise_frames(150, lambda i, shots=shots: int(shots[i]))
        for i in range(0, 150, 11):
            frames[i].image[:] = rng.integers(0, 256)
        seen = [
            [face(*rng.normal(150 * k, 15, 2), scale=rng.uniform(0.2, 1.5)) for k in range(4) if rng.random() < 0.6]
            for _ in frames
        ]
        for t in track(frames, seen.__getitem__, people=people, **arguments):
            assert len(t.faces) <= (1 if people == "one" else 8)
            assert len({one.track for one in t.faces}) == len({one.index for one in t.faces}) == len(t.faces)
            for one in t.faces:
                assert np.isfinite(one.box).all() and 0 < one.strength <= 1 and abs(one.angle) <= np.pi


# Many people


def test_all_are_followed_from_left_to_right(track):
    """One comes in on the left later and one leaves; their numbers stay."""
    a, b, c = face(200), face(400, 0, 1.2), face(0)

    def seen(i):
        return [b] * (i < 25) + [a] + [c] * (i >= 15)

    result = track(noise_frames(40), seen, people="all", **INFERENCE)
    places = [{one.index: round(float(one.face.box[0])) for one in t.faces} for t in result]
    assert places[0] == {0: 200, 1: 400} and places[20] == {2: 0, 0: 200, 1: 400} and places[39] == {2: 0, 0: 200}
    assert [one.index for one in result[20].faces] == [2, 0, 1]  # from left to right
    assert len({one.track for t in result for one in t.faces}) == 3


def test_people_of_another_scene_are_ranked_anew(track):
    def seen(i):
        return [face(200 if i < 20 else 900), face(500 if i < 20 else 700)]

    result = track(noise_frames(40, lambda i: int(i >= 20)), seen, people="all")
    assert [round(float(one.face.box[0])) for one in sorted(result[30].faces, key=lambda o: o.index)] == [700, 900]
    assert {one.index for one in result[30].faces} == {0, 1}
    assert not {one.track for one in result[19].faces} & {one.track for one in result[20].faces}


def test_a_late_find_on_the_left_does_not_change_ranks(track):
    """The detector sees the left one of two a frame later, and a flash of a third."""
    result = track(
        noise_frames(30),
        lambda i: [face(400)] + [face(100)] * (i > 0) + [face(900)] * (i == 1),
        people="all",
        bridge=5,
    )
    assert {round(float(one.face.box[0])): one.index for one in result[10].faces} == {100: 0, 400: 1}
    assert [one.index for one in result[0].faces] == [1]


def test_people_who_pass_each_other_keep_their_numbers(track):
    result = track(noise_frames(50), lambda i: [face(10 * i, 0), face(500 - 10 * i, 90)], people="all")
    first, last = ({one.index: float(one.face.box[1]) for one in t.faces} for t in (result[0], result[-1]))
    assert first == pytest.approx(last)


def test_who_stands_where_another_stood_stays_who_it_is(track):
    result = track(noise_frames(40), lambda i: [face()] * (i < 10) + [face(max(0, 300 - 10 * i), 0)], people="all")
    assert len({t.faces[-1].track for t in result}) == 1


def test_a_face_that_is_found_twice_is_one(track):
    result = track(noise_frames(10), lambda i: [face(), face(8, 4, 1.1), face(300)], people="all")
    assert all(len(t.faces) == 2 for t in result)


def test_unknown_people_are_refused():
    with pytest.raises(ValueError, match="people"):
        next(tracking.track([], people="some"))


# Upright crops


def tilted(angle, x=200.0, y=150.0):
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return face(x, y, landmarks=(FRONTAL - 50) @ turn + 50)


@pytest.mark.parametrize("degrees", [0, 12, -40, 170])
def test_upright_crops(track, degrees):
    angle = np.radians(degrees)
    pads = (10, -4, 0, 20)
    ((one,),) = (t.faces for t in track(noise_frames(1), lambda i: [tilted(angle)], upright=True, pads=pads))
    ((straight,),) = (t.faces for t in track(noise_frames(1), lambda i: [tilted(0)], upright=True, pads=pads))
    assert one.angle == pytest.approx(angle, abs=1e-5) and straight.angle == pytest.approx(0, abs=1e-6)
    found, wanted = (cropping.to_crop(f.face.landmarks, f.box, 96, f.angle) for f in (one, straight))
    np.testing.assert_allclose(found, wanted, atol=0.01)
    ((plain,),) = (t.faces for t in track(noise_frames(1), lambda i: [tilted(angle)]))
    assert plain.angle == 0


def test_roll_of_faces_that_turn_aside():
    """In profile eyes and corners lie close together, on any line."""
    profile = np.array([[60, 20], [62, 23], [74, 40], [60, 60], [62, 57]], np.float32)
    assert abs(np.degrees(smoothing.roll(profile))) < 3
    assert np.isfinite(smoothing.roll(np.zeros((5, 2))))


# The same crop throughout


def test_a_fixed_box_needs_no_detector(monkeypatch):
    monkeypatch.setattr(detector, "detect", None)
    frames = noise_frames(3)
    result = list(tracking.fixed_box(frames, (20, 110, 30, 120)))
    assert [t.frame for t in result] == frames
    for t in result:
        (one,) = t.faces
        np.testing.assert_array_equal(one.box, (30, 20, 120, 110))
        np.testing.assert_allclose(
            cropping.to_crop(one.face.landmarks, one.box), regions.default_landmarks(96), atol=1e-4
        )
        assert (one.angle, one.strength, one.index) == (0, 1, 0)
    ((one,),) = (t.faces for t in tracking.fixed_box(frames[:1], (20, 110, 30, 120), "dlib", (1, 2, 3, 4)))
    np.testing.assert_array_equal(one.box, (27, 19, 124, 112))


@pytest.mark.parametrize("box", [(50, 50, 0, 90), (50, 20, 0, 90), (0, 90, 160, 250), (-90, -10, 0, 100)])
def test_boxes_beside_the_image_are_refused(box):
    with pytest.raises(UserError, match="--box .*: .*; give "):
        list(tracking.fixed_box(noise_frames(1), box))


# Memory, a second pass, real detection


class Watched(Frame):
    __hash__ = object.__hash__


@pytest.mark.parametrize("every", [1, 4])
@pytest.mark.parametrize("held", [1 << 28, 10 * 120 * 160 * 3])
def test_few_frames_are_held(monkeypatch, every, held):
    monkeypatch.setattr(detector, "detect", lambda images: [[face()] for _ in images])
    monkeypatch.setattr(sampling, "HELD_BYTES", held)
    frames, alive = [Watched(f.image, f.time, f.duration) for f in noise_frames(200)], weakref.WeakSet()
    frames.reverse()

    def read():
        while frames:
            frame = frames.pop()
            alive.add(frame)
            yield frame

    most = max(len(alive) for _ in tracking.track(read(), every=every, bridge=5, fade=3, batch_size=8))
    ahead = 5 + smoothing.FLASH + smoothing.SMOOTH_FRAMES
    assert most <= min(8 * every, held // (120 * 160 * 3)) + ahead + 2


def test_retrace_finds_the_same_faces(track):
    frames = noise_frames(30)
    first = track(frames, lambda i: [face(i, 0)] if i % 7 else [])
    records = [t.record for t in first]
    again = list(tracking.retrace(reversed(frames), records))[::-1]
    for a, b in zip(first, again, strict=True):
        assert b.frame is a.frame and b.faces is a.faces


def test_follow_gives_the_frames_with_a_face(track, monkeypatch):
    frames = noise_frames(5)
    monkeypatch.setattr(detector, "detect", lambda images: [[face()] * (i != 2) for i in range(len(images))])
    assert [frame.time for frame, _ in tracking.follow(frames)] == [frames[i].time for i in (0, 1, 3, 4)]


@pytest.mark.parametrize("arguments", [{}, INFERENCE])
def test_real_detection_follows_a_moving_photo(tmp_path, arguments):
    """The whole way: a video of a photo that shifts, tracked from the file."""
    photo = video_reader.read_image(next(iter(photos.shipped_photos().values())))
    small = cv2.resize(photo, (240, 280), interpolation=cv2.INTER_AREA)
    path = tmp_path / "a.mp4"
    with VideoWriter(path, 320, 280, 25) as writer:
        for i in range(24):
            image = np.full((280, 320, 3), 90, np.uint8)
            image[:, i : i + 240] = small
            writer.write(image, i / 25)
    boxes = np.array([t.faces[0].box for t in tracking.track(video_reader.read_frames(path), **arguments)])
    shift = (boxes[16, :] - boxes[8, :])[[0, 2]]
    np.testing.assert_allclose(shift, 8, atol=2)


# Real people, and what dlib's predictor and detector say about them


@pytest.mark.real
@pytest.mark.slow
def test_crops_of_real_people(real_clips, golden, monkeypatch):
    known = np.load(golden / "dlib_faces.npz")
    overlaps = []
    detect = detector.detect
    for path in sorted(real_clips.glob("*.mp*"))[1::2]:
        frames, found = list(video_reader.read_frames(path)), {}
        monkeypatch.setattr(detector, "detect", lambda images, found=found: _remember(images, detect(images), found))
        full = list(tracking.track(frames))
        assert all(t.faces for t in full), path
        people = [t.faces[0] for t in full]
        chin, lip, rectangle = (known[f"{path.stem}_{name}"] for name in ("chin", "upper_lip", "box"))
        boxes = np.array([one.box for one in people])
        side = boxes[:, 3] - boxes[:, 1]
        margin = (boxes[:, 3] - chin[:, 1]) / side
        assert margin.min() > 0.04 and np.median(margin) < 0.16
        assert ((lip[:, 1] - boxes[:, 1]) / side).min() > 0.51  # the lower half holds the lips
        for one in people:
            corners = cropping.to_crop(one.face.landmarks[3:], one.box, 1)
            assert ((corners > 0.2) & (corners < 0.8)).all()
        middle = (boxes[:, :2] + boxes[:, 2:]) / 2
        bends = middle[1:-1] - (middle[:-2] + middle[2:]) / 2
        assert np.sqrt((bends**2).mean()) < 0.001 * side.mean()
        dlib = np.array([cropping.crop_box(one.face, "dlib") for one in people])
        shared = np.clip(np.minimum(dlib[:, 2:], rectangle[:, 2:]) - np.maximum(dlib[:, :2], rectangle[:, :2]), 0, None)
        area = sum(np.prod(box[:, 2:] - box[:, :2], axis=1) for box in (dlib, rectangle)) - shared.prod(1)
        overlaps.append(shared.prod(1) / area)
        _check_sparse(frames, full, found, monkeypatch)
    assert np.concatenate(overlaps).mean() > 0.84 and np.concatenate(overlaps).min() > 0.68


def _remember(images, faces_of, found):
    found.update((id(image), seen) for image, seen in zip(images, faces_of, strict=True))
    return faces_of


def _check_sparse(frames, full, found, monkeypatch):
    """A look at every fourth frame misses nobody, and puts the landmarks where looking at all of them does."""
    looks = itertools.count()
    monkeypatch.setattr(detector, "detect", lambda images: [found[id(image)] for image in images if next(looks) >= 0])
    sparse = list(tracking.track(frames, **INFERENCE))
    assert all(len(t.faces) == 1 and t.faces[0].strength == 1 for t in sparse)
    pairs = [(a.faces[0].face, b.faces[0].face) for a, b in zip(full, sparse, strict=True)]
    width = np.mean([a.box[2] - a.box[0] for a, _ in pairs])
    error = np.array([np.hypot(*(a.landmarks - b.landmarks).T) for a, b in pairs]) / width
    assert error.mean() < 0.005 and error.max() < 0.02
    assert next(looks) < 0.3 * len(frames)
