"""The identity frame for a face in a video."""

import dataclasses

import cv2
import numpy as np

from lipgan_keras.face import cropping
from lipgan_keras.face.detector import Face
from lipgan_keras.face.tracking import TrackedFace
from lipgan_keras.inference.reference import MOST, MOST_TRACKS, References, Seen

SIDE = 96


def frame(open_by, x=40, nose=0, track=0, shade=200):
    """An image with a mouth that is dark for so many rows, and the face in it; `nose` turns it."""
    image = np.full((220, 260, 3), shade, np.uint8)
    image[110 + 72 - open_by // 2 : 110 + 72 + (open_by + 1) // 2, x + 34 : x + 62] = 20
    for eye in (x + 32, x + 64):
        image[148:152, eye - 4 : eye + 4] = 60
    points = np.float32([[32, 40], [64, 40], [48 + nose, 56], [34, 72], [62, 72]]) + (x, 110)
    box = np.array([x, 110.0, x + SIDE, 110 + SIDE])
    return seen(image, TrackedFace(track, 0, Face(box.astype(np.float32), points, 1.0), box))


def seen(image, face):
    return Seen(image, face, cropping.extract(image, face.box, SIDE, face.angle))


def looked_at(*frames):
    references = References()
    for one in frames:
        references.look(one)
    return references


def mouth_of(image, face, _):
    x, y = face.face.landmarks[3:].mean(0).astype(int)
    return image[y - 12 : y + 12, x - 10 : x + 10]


def test_the_mouth_that_rests_is_taken_wherever_the_head_is():
    shut, wide = frame(2), frame(20, x=120)
    for references in (looked_at(shut, wide), looked_at(wide, shut)):
        image, face, crop = references(wide)
        np.testing.assert_array_equal(mouth_of(image, face, crop), mouth_of(*shut))
        assert image.size < shut[0].size  # a part of it
        np.testing.assert_allclose(face.face.landmarks - face.box[:2], shut[1].face.landmarks - shut[1].box[:2])


def test_a_face_that_is_turned_is_none_of_them():
    wide = frame(20, nose=12)
    image, face, crop = looked_at(frame(2))(wide)
    assert image is wide[0] and face is wide[1] and crop is wide[2]


def test_nobody_gets_another_persons_mouth():
    wide = frame(20, track=1)
    np.testing.assert_array_equal(mouth_of(*looked_at(frame(2, track=0), wide)(wide)), mouth_of(*wide))


def test_it_stays_with_a_frame_until_one_is_clearly_better():
    references = looked_at(frame(6, shade=200))
    first, *_ = references(frame(20))
    references.look(frame(6, shade=201))
    assert references(frame(20))[0] is first
    references.look(frame(0, shade=202))
    assert references(frame(20))[0].max() == 202


def test_it_keeps_few_and_those_that_are_used():
    references = looked_at(frame(0, shade=201))
    for nose in range(-30, 31, 4):
        references.look(frame(9, nose=nose))
        assert references(frame(20))[0].max() == 201
    assert len(references._tracks[0]) == MOST
    for track in range(1, 30):
        references.look(frame(2, track=track))
    assert len(references._tracks) == MOST_TRACKS


def test_what_only_looks_shut_is_not_taken():
    shut, wide = frame(3), frame(20)
    blurred = seen(cv2.GaussianBlur(frame(20)[0], (0, 0), 9), frame(20)[1])
    small = seen(cv2.resize(frame(0)[0], None, fx=0.5, fy=0.5), scaled(frame(0)[1], 0.5))
    beyond = seen(frame(20)[0][:180], frame(20)[1])
    dark = frame(0, shade=120)
    coming = seen(frame(0)[0], dataclasses.replace(frame(0)[1], strength=0.5))
    for other in (blurred, small, beyond, dark, coming):
        image, face, crop = looked_at(shut, other)(wide)
        np.testing.assert_array_equal(mouth_of(image, face, crop), mouth_of(*shut))
        image, *_ = looked_at(other)(wide)
        assert image is wide[0] or other is blurred


def test_a_hand_that_was_there_from_the_start_is_forgotten_when_it_goes():
    hand, wide = frame(0), frame(20)
    gone = seen(frame(3)[0], dataclasses.replace(frame(3)[1], strength=0.0))  # so it is said at that moment
    assert looked_at(hand)(wide)[0].min() == hand[0].min()
    references = looked_at(hand, gone)
    assert references(wide)[0] is wide[0]
    references.look(frame(3))
    np.testing.assert_array_equal(mouth_of(*references(wide)), mouth_of(*frame(3)))


def test_a_sharper_frame_takes_a_blurs_place():
    shut = frame(3)
    blurred = seen(cv2.GaussianBlur(shut[0], (0, 0), 5), shut[1])
    np.testing.assert_array_equal(mouth_of(*looked_at(blurred, shut)(frame(20))), mouth_of(*shut))


def scaled(face, times):
    found = dataclasses.replace(face.face, landmarks=face.face.landmarks * np.float32(times))
    return dataclasses.replace(face, face=found, box=face.box * times)
