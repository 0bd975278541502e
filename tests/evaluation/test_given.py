"""Networks that the user gives as ONNX files: LPIPS and ArcFace, here of a few operations with known answers."""

import dataclasses

import cv2
import numpy as np
import pytest

from helpers.checks import assert_one_line
from helpers.synthetic import call
from lipgan_keras.evaluation.given import Given
from lipgan_keras.evaluation.metrics import learned
from lipgan_keras.evaluation.metrics.register import Frames
from lipgan_keras.face import regions
from lipgan_keras.utils.errors import UserError


def field(number, value):
    """A field of a protocol buffer: a number, a text, or a message."""

    def varint(n):
        return bytes([n & 127 | 128]) + varint(n >> 7) if n > 127 else bytes([n])

    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def tensor(name, *shape):
    dims = b"".join(field(1, field(1, n) if isinstance(n, int) else field(2, n)) for n in shape)
    return field(1, name) + field(2, field(1, field(1, 1) + field(2, dims)))


def node(kind, inputs, output, **attributes):
    content = b"".join(field(1, name) for name in inputs) + field(2, output) + field(4, kind)
    for name, value in attributes.items():
        numbers = field(3, value) if isinstance(value, int) else b"".join(field(8, n) for n in value)
        content += field(5, field(1, name) + numbers + field(20, 2 if isinstance(value, int) else 7))
    return content


def onnx(path, nodes, inputs, outputs):
    """Write an ONNX model; the format is onnx.proto's."""
    graph = b"".join(field(1, n) for n in nodes) + field(2, "graph")
    graph += b"".join(field(11, i) for i in inputs) + b"".join(field(12, o) for o in outputs)
    path.write_bytes(field(1, 7) + field(7, graph) + field(8, field(1, "") + field(2, 13)))
    return path


IMAGES = ("n", 3, "h", "w")


@pytest.fixture
def distance(tmp_path):
    """The mean square of the difference of two images."""
    nodes = [
        node("Sub", ["a", "b"], "d"),
        node("Mul", ["d", "d"], "s"),
        node("ReduceMean", ["s"], "out", axes=(1, 2, 3)),
    ]
    inputs = [tensor("a", *IMAGES), tensor("b", *IMAGES)]
    return onnx(tmp_path / "lpips.onnx", nodes, inputs, [tensor("out", "n", 1, 1, 1)])


@pytest.fixture
def embedding(tmp_path):
    """The mean colours of 16 squares of a face."""
    nodes = [
        node("AveragePool", ["a"], "p", kernel_shape=(28, 28), strides=(28, 28)),
        node("Flatten", ["p"], "out", axis=1),
    ]
    return onnx(tmp_path / "face.onnx", nodes, [tensor("a", "n", 3, 112, 112)], [tensor("out", "n", 48)])


def frames(truth, generated):
    landmarks = np.tile(regions.default_landmarks(96), (len(truth), 1, 1))
    return Frames(truth, generated, landmarks.astype("float32"), np.zeros(truth.shape[:3], "float32"))


def test_distance_of_crops(distance):
    network = Given(distance, "lpips")
    truth = np.zeros((2, 96, 96, 3), "uint8")
    other = truth.copy()
    other[1, ..., 2] = 255  # red, in BGR
    found = learned.lpips(frames(truth, other), network)
    np.testing.assert_allclose(found, [0, 4 / 3], rtol=1e-5)


def test_likeness_of_faces(embedding):
    network = Given(embedding, "arcface")
    assert network.size == 112
    rng = np.random.default_rng(0)
    truth = 255 * np.kron(rng.integers(0, 2, (3, 4, 4, 3), dtype="uint8"), np.ones((1, 24, 24, 1), "uint8"))
    other = truth.copy()
    other[1] = 255 - other[1]
    found = learned.identity_similarity(frames(truth, other), network)
    np.testing.assert_allclose(found, [1, -1, 1], atol=0.02)


def test_places_of_points_are_by_least_squares():
    rng = np.random.default_rng(0)
    points, places = rng.normal(size=(2, 5, 2))
    matrix = learned._similarity(points, places)
    turned = matrix[:, :2] @ np.array([[0.0, -0.3], [0.3, 0.0]]) + matrix[:, :2]

    def error(matrix):
        return np.square(points @ matrix[:, :2].T + matrix[:, 2] - places).sum()

    for other in (matrix + [[0, 0, 0.05], [0, 0, 0]], matrix * [[1.05, 1.05, 1]], np.c_[turned, matrix[:, 2]]):
        assert error(other) > error(matrix)
    exact = np.array([[0.8, -0.6, 3.0], [0.6, 0.8, -2.0]])
    np.testing.assert_allclose(learned._similarity(points, points @ exact[:, :2].T + exact[:, 2]), exact, atol=1e-9)


def test_eyes_and_mouth_come_where_arcface_has_them():
    """Cut of the crop, and of the whole image that it is a part of, at half the size."""
    points = regions.default_landmarks(96)
    crop = np.zeros((1, 96, 96, 3), "uint8")
    for x, y in np.rint(points).astype(int):
        crop[0, y - 1 : y + 2, x - 1 : x + 2] = 255
    whole = np.zeros((1, 100, 120, 3), "uint8")
    whole[0, 30:78, 50:98] = cv2.resize(crop[0], (48, 48), interpolation=cv2.INTER_AREA)
    shown = frames(crop, crop)
    both = dataclasses.replace(shown, full_truth=whole, full_generated=whole, boxes=np.array([[50.0, 30, 98, 78]]))
    for of, full in ((shown, None), (both, whole)):
        cut = learned._cut(crop[0], full, of, 0, 112)
        for x, y in learned.ARCFACE.astype(int):
            assert cut[y - 6 : y + 7, x - 6 : x + 7].max() > 100


def test_what_is_no_such_network_is_named(distance, embedding, tmp_path):
    for path, kind, words in (
        (distance, "arcface", "has 2 inputs and 1 outputs, not 1 and 1"),
        (embedding, "lpips", "has 1 inputs"),
        (onnx(tmp_path / "flat.onnx", [node("Relu", ["a"], "out")], [tensor("a", "n", 3)], [tensor("out", "n", 3)]),
         "arcface", "not images of 3 channels"),
        (tmp_path / "gone.onnx", "arcface", "cannot be read as ONNX"),
    ):  # fmt: skip
        with pytest.raises(UserError) as error:
            Given(path, kind)
        assert str(path) in str(error.value) and words in str(error.value) and "\n" not in str(error.value)


def test_evaluate_refuses_a_bad_network_first_and_says_what_is_missing(tmp_path, capfd):
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"no network")
    for folder in ("generated", "truth"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.mp4").write_bytes(b"no video")
    flags = ["--generated", tmp_path / "generated", "--truth", tmp_path / "truth", "--out", tmp_path / "out"]
    result = call("evaluate.py", *flags, "--metrics", "lpips", "--lpips", bad, capfd=capfd)
    assert_one_line(result, bad, "cannot be read", "give an ONNX file of LPIPS")
    result = call("evaluate.py", *flags, "--metrics", "psnr", "identity_similarity", "lpips", capfd=capfd)
    assert "give --arcface" in result.stdout and "give --lpips" in result.stdout
