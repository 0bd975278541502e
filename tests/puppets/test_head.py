"""3D heads: a face model is read, fitted to a photo and drawn back into it; what is said of a frame is true of it."""

import json
import os

import cv2
import numpy as np
import pytest

from lipgan_keras.data.clip_folder import Clip
from lipgan_keras.face import aperture, detector, landmarks68
from lipgan_keras.face.photos import shipped_photos
from lipgan_keras.media import video_reader
from lipgan_keras.puppets import clips as puppets_clips
from lipgan_keras.puppets import face_model, fitting, heads, raster, skin, utterance
from lipgan_keras.puppets.face_model import CONTROLS, FaceModel
from lipgan_keras.puppets.head import Head
from lipgan_keras.puppets.phones import Phone
from lipgan_keras.utils.errors import UserError

COLUMNS = np.linspace(-8, 8, 33)
ABOVE, BELOW = np.linspace(8, -3.3, 24), np.linspace(-3.36, -9, 13)


def landmark_places():
    """(68, 2): about where a face has them."""
    turn = np.linspace(np.pi, 2 * np.pi, 17)
    jaw = np.column_stack([7.2 * np.cos(turn), 3 + 10.4 * np.sin(turn)])
    brow = np.array([[1.2, 6], [2.2, 6.3], [3.5, 6.4], [4.8, 6], [5.8, 5.2]])
    bridge = np.array([[0, 3.7], [0, 2.6], [0, 1.6], [0, 0.4]])
    wings = np.column_stack([np.linspace(-1.25, 1.25, 5), np.full(5, -1.2)])
    eye = np.array([[1.8, 3.2], [2.7, 3.9], [3.8, 3.9], [4.5, 3.4], [3.8, 3.0], [2.7, 3.0]])
    mirror = [-1, 1]
    lips = np.array([[-2.5, 0], [-1.7, 0.7], [-0.7, 1.0], [0, 0.9], [0.7, 1.0], [1.7, 0.7], [2.5, 0], [1.8, -0.7]])
    lips = np.concatenate([lips, [[1.0, -1.0], [0, -1.1], [-1.0, -1.0], [-1.8, -0.7]]]) + [0, -3.3]
    inner = np.array([[-2.2, 0], [-1, 0], [0, 0], [1, 0], [2.2, 0], [1, -0.06], [0, -0.06], [-1, -0.06]]) + [0, -3.3]
    left = eye[[3, 2, 1, 0, 5, 4]] * mirror
    return np.concatenate([jaw, (brow * mirror)[::-1], brow, bridge, wings, left, eye, lips, inner])


def surface(x, y):
    """A head's z, with a nose."""
    bump = 1.6 * np.exp(-((x / 1.0) ** 2) - ((y - 0.6) / 1.2) ** 2)
    return 11.5 - 0.11 * x**2 - 0.03 * (y + 1) ** 2 + bump


def stand_in():
    """Arrays and landmarks of a small model: a mask with a slit, something behind it, and a plate for each jaw."""
    x, y = np.meshgrid(COLUMNS, np.concatenate([ABOVE, BELOW]))
    face = np.column_stack([x.ravel(), y.ravel(), surface(x, y).ravel()])
    number = np.arange(len(face)).reshape(x.shape)
    # Counter-clockwise, seen from the front
    quads = np.stack([number[:-1, :-1], number[1:, :-1], number[1:, 1:], number[:-1, 1:]], -1)
    slit = np.abs(COLUMNS[:-1] + 0.25) < 2.3
    keep = np.ones(quads.shape[:2], bool)
    keep[len(ABOVE) - 1, slit] = False
    faces = [quads[keep]]
    vertices, materials = [face], [np.zeros(keep.sum(), int)]

    def plate(left, right, bottom, top, depth, material):
        first = sum(map(len, vertices))
        corners = [(left, top), (left, bottom), (right, bottom), (right, top)]
        vertices.append(np.array([(*corner, depth) for corner in corners]))
        faces.append(first + np.arange(4)[None])
        materials.append(np.array([material]))

    plate(-3, 3, -7, -1, 6.0, 1)  # socket
    plate(-9, 9, -9, 8, -2.0, 1)  # back of the head: larger than the socket
    faces.append(faces[-1])
    materials.append(materials[-1])
    plate(-2.5, 2.5, -2.5, -1, 8.5, 2)
    plate(-2.5, 2.5, -6, -4.6, 8.5, 2)
    plate(-2.4, 2.4, -3.4, -2.4, 9.2, 3)
    plate(-2.4, 2.4, -4.7, -3.5, 9.0, 3)
    vertices, count = np.concatenate(vertices), len(face)
    lower = vertices[:, 1] < -3.33
    lower[count : count + 8] = False
    x, y = vertices[:, 0], vertices[:, 1]
    mouth = np.exp(-(((y + 3.3) / 2.5) ** 2) - (x / 4) ** 2)
    inside = np.clip(1 - (np.abs(x) / 2.4) ** 8, 0, 1)
    inside[count:] = 1
    jaw = np.column_stack([0 * x, -3.5 * lower * inside * np.exp(-((np.minimum(y + 3.3, 0) / 5) ** 2)), -1.0 * lower])
    moved = {"jawOpen": jaw, "mouthClose": -jaw * (np.arange(len(x)) < count)[:, None]}
    moved["mouthPucker"] = np.column_stack([-0.3 * x * mouth, 0 * x, 0.8 * mouth])
    for shape in [s for control in CONTROLS.values() for s in control]:
        moved.setdefault(shape, np.column_stack([0.1 * x * mouth, np.where(lower, -0.1, 0.1) * mouth, 0 * x]))
    waves = [np.column_stack([np.sin(k * y / 5), 0.5 * np.cos(k * x / 6), 0 * x]) for k in (1, 2, 3)]
    scale, arrays = 1e-4, {"neutral": vertices.astype(np.float32)}
    for name, offsets in (("expression", list(moved.values())), ("identity", waves)):
        arrays[name] = np.rint(np.array(offsets) / scale).astype(np.int32)
        arrays[f"{name}_scale"] = np.full(len(offsets), scale, np.float32)
    arrays["expression_names"] = np.array(list(moved))
    arrays["quads"], arrays["material"] = np.concatenate(faces).astype(np.int32), np.concatenate(materials)
    arrays["material_names"] = np.array(["M_Face", "M_BackHead", "M_GumsTongue", "M_Teeth"])
    places = landmark_places()
    far = np.hypot(*(places[:, None] - face[None, :, :2]).transpose(2, 0, 1))
    return arrays, far.argmin(1).tolist()


@pytest.fixture(scope="module")
def parts():
    return stand_in()


def write(folder, arrays, landmarks):
    np.savez(folder / "model.npz", **arrays)
    (folder / "vertex_indices.json").write_text(json.dumps({"idx_to_landmark_verts": landmarks}))
    return folder / "model.npz"


@pytest.fixture(scope="module")
def model(parts, tmp_path_factory):
    return FaceModel.load(write(tmp_path_factory.mktemp("model"), *parts))


@pytest.fixture(scope="module")
def posed(model):
    """A photo, and points in it where the model is in a known pose."""
    true = fitting.Fit(
        9.0,
        np.array([0.1, -0.05, 0.08]),
        np.array([130.0, 120.0]),
        np.array([0.5, -0.4, 0.3]),
        {},
        None,
        None,
        True,
        0,
        0,
    )
    points = true.project(model.shape(true.identity))[model.landmarks, :2]
    rng = np.random.default_rng(3)
    photo = cv2.resize(rng.uniform(-12, 12, (16, 16, 3)), (260, 260)) + [110, 140, 190]
    return np.uint8(photo), true, points


@pytest.fixture(scope="module")
def head(model, posed):
    photo, _, points = posed
    return Head(photo, fitting.fit_points(model, fitting.five_of(points), points), model, 96)


def test_parts_are_found(model):
    kinds = set(model.kinds.tolist())
    assert kinds == {face_model.SKIN, face_model.SOCKET, face_model.GUMS, face_model.TEETH, face_model.HEAD}
    rims = model.landmarks[list(face_model.LOWER_RIM)], model.landmarks[list(face_model.UPPER_RIM)]
    assert model.lower[rims[0]].all() and not model.lower[rims[1]].any()
    teeth = np.unique(model.triangles[model.kinds == face_model.TEETH])
    assert model.lower[teeth].any() and not model.lower[teeth].all()
    for name in CONTROLS:
        assert model.control(name).shape == model.neutral.shape


@pytest.mark.parametrize(
    "change, said",
    [
        ({"neutral": None}, "holds no neutral"),
        ({"expression_names": None}, "holds no expression_names"),
        ({"identity": np.zeros((3, 5, 3), np.int16)}, "identity has the shape"),
        ({"quads": np.full((1, 4), 10**6), "material": np.zeros(1, int)}, "quads name vertices"),
        ({"quads": np.zeros((1, 4))}, "quads is float64"),
        ({"identity_scale": np.full(3, np.nan)}, "not finite"),
        ({"material_names": np.array(["M_Face"] * 4)}, "has no material M_BackHead"),
        ({"neutral": np.array(["x"])}, "neutral is"),
    ],
)
def test_unfit_file_is_named(parts, tmp_path, change, said):
    arrays = {name: value for name, value in (parts[0] | change).items() if value is not None}
    path = write(tmp_path, arrays, parts[1])
    with pytest.raises(UserError, match=said) as error:
        FaceModel.load(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_model_without_an_expression_is_refused(parts, tmp_path):
    arrays = dict(parts[0])
    arrays["expression_names"] = np.array([str(n).replace("jawOpen", "other") for n in arrays["expression_names"]])
    with pytest.raises(UserError, match="no expression jawOpen"):
        FaceModel.load(write(tmp_path, arrays, parts[1]))


def test_what_is_no_model_is_refused(parts, tmp_path):
    with pytest.raises(UserError, match="no such file"):
        FaceModel.load(tmp_path / "none.npz")
    path = tmp_path / "model.npz"
    path.write_bytes(b"no archive")
    with pytest.raises(UserError, match="model.npz: cannot be read .File is not a zip file"):
        FaceModel.load(path)
    np.savez(path, neutral=np.array([{"a": 1}], dtype=object))
    with pytest.raises(UserError, match="model.npz: cannot be read .neutral is object"):
        FaceModel.load(path)
    path = write(tmp_path, *parts)
    for text in ("", "[]", "[" * 100_000, '{"idx_to_landmark_verts": [1, 2]}', '{"idx_to_landmark_verts": [-1]}'):
        (tmp_path / "vertex_indices.json").write_text(text)
        with pytest.raises(UserError, match="idx_to_landmark_verts"):
            FaceModel.load(path)
    (tmp_path / "vertex_indices.json").unlink()
    with pytest.raises(UserError, match="no such file"):
        FaceModel.load(path)


def test_nearer_triangle_hides_the_other():
    far, near = [[0, 0, 0], [0, 9, 0], [9, 9, 0]], [[0, 4, 1], [0, 9, 1], [5, 9, 1]]
    points, triangles = np.array(far + near, float), np.array([[0, 1, 2], [3, 4, 5]])
    view = raster.View(points, triangles, (12, 10))
    assert view.nearest[8, 1] == 1 and view.nearest[3, 1] == 0 and view.nearest[0, 8] == -1
    told = view.spread(points[:, :2])
    np.testing.assert_allclose(told[8, 1], [1, 8], atol=1e-5)
    np.testing.assert_allclose(told[3, 2], [2, 3], atol=1e-5)
    assert (raster.View(points, triangles[:, ::-1], (12, 10), front=True).nearest == -1).all()
    assert (raster.View(points, triangles, (12, 10), front=True).nearest >= 0).any()
    np.testing.assert_allclose(raster.normals(points * [1, -1, 1], triangles)[0], [0, 0, 1], atol=1e-12)


def test_pose_is_found(model, posed):
    _, true, points = posed
    fit = fitting.fit_points(model, fitting.five_of(points), points)
    assert fit.error < 0.6
    assert fit.scale == pytest.approx(true.scale, rel=0.05)
    np.testing.assert_allclose(np.degrees(fit.angles), np.degrees(true.angles), atol=4)
    five = fitting.fit_points(model, fitting.five_of(points))
    assert five.scale == pytest.approx(true.scale, rel=0.1) and five.landmarks.shape == (68, 2)
    np.testing.assert_allclose(five.landmarks[48:], points[48:], atol=0.05 * five.width)


def test_larger_photo_has_the_same_fit(model, posed):
    _, _, points = posed
    fit = fitting.fit_points(model, fitting.five_of(points), points)
    larger = fit.scaled(2)
    places = model.shape(fit.identity, fit.expression)
    np.testing.assert_allclose(larger.project(places)[:, :2], fit.project(places)[:, :2] * 2 + 0.5, atol=1e-9)


def test_photo_without_a_face_is_refused(model, monkeypatch):
    monkeypatch.setattr(detector, "detect", lambda images: [[] for _ in images])
    with pytest.raises(UserError, match="no face found"):
        fitting.fit_photo(np.zeros((50, 50, 3), np.uint8), model, name="a.jpg")


def test_face_that_does_not_fit_is_refused(model, posed, monkeypatch):
    monkeypatch.setattr(landmarks68, "available", lambda: "not here")
    photo, _, points = posed
    five = fitting.five_of(points)
    assert not fitting.fit_photo(photo, model, five).seen
    five[2] += [0, 45]
    five[3:] -= [0, 40]
    with pytest.raises(UserError, match=r"a.jpg: a face that the model does not fit \(error \d+\.\d %\)"):
        fitting.fit_photo(photo, model, five, "a.jpg", 2.0)


def test_frames_and_what_is_said_of_them(head):
    frame = head.render({"jaw": 0.8})
    assert frame.shape == (96, 96, 3) and frame.dtype == np.uint8
    np.testing.assert_array_equal(frame, head.render({"jaw": 0.8}))
    truth = head.truth({"jaw": 0.8})
    assert truth["lips"].shape == truth["teeth"].shape == (96, 96) and truth["lips"].any()
    assert truth["landmarks68"].shape == (68, 2) and truth["landmarks"].shape == (5, 2)
    larger = head.truth({"jaw": 0.8}, size=192)
    np.testing.assert_allclose(larger["landmarks68"], truth["landmarks68"] * 2 + 0.5, atol=1e-6)
    assert head.render({}, (20, 5, 3), size=64).shape == (64, 64, 3)
    with pytest.raises(ValueError, match="no such control"):
        head.render({"jow": 1.0})


def test_jaw_opens_and_close_closes(head):
    opened = [head.truth({"jaw": jaw})["aperture"] for jaw in (0, 0.2, 0.5, 1.0)]
    assert opened[0] == 0 and (np.diff(opened) > 0.005).all()
    half, shut = (head.truth({"jaw": 0.5, "close": close})["aperture"] for close in (0.5, 1))
    assert 0 < half < opened[2] and shut == 0
    assert not head.truth({"jaw": 0.5, "close": 1})["teeth"].any() and head.truth({"jaw": 0.8})["teeth"].any()
    assert head.truth({"pucker": 1})["width"] < 0.9 * head.truth({})["width"]
    assert head.truth({"pucker": 1})["protrusion"] > 0.02


def test_only_what_moves_is_changed(head):
    before, after = (head.render(controls).astype(int) for controls in ({}, {"jaw": 0.8}))
    eyes = int(head.truth({})["landmarks68"][28, 1])
    assert np.abs(after - before)[:eyes].max() <= 2
    assert np.abs(after - before)[eyes:].max() > 40


def test_head_turns(head):
    straight, right = (head.truth({}, turn)["landmarks68"] for turn in ((0, 0), (25, 0)))
    assert (right[30] - right[[36, 45]].mean(0))[0] > (straight[30] - straight[[36, 45]].mean(0))[0] + 2
    assert head.truth({}, (0, 20))["landmarks68"][30, 1] > straight[30, 1] + 1
    frame, turned = head.render({}), head.render({}, (25, 0))
    np.testing.assert_allclose(turned[:, [0, -1]].astype(int), frame[:, [0, -1]], atol=3)


def test_sides_of_a_head_are_flattened_and_its_front_is_not(head):
    points = np.zeros_like(head._source)
    points[:, 2] = np.linspace(1, -2, len(points)) * head.fit.width
    points[head.model.landmarks[[2, 14]], 2] = 0  # the jaw's outline
    depth, order = head._flattened(points), points[:, 2].argsort(kind="stable")
    assert (np.diff(depth[order]) >= 0).all()  # what was in front stays in front
    np.testing.assert_array_equal(depth[points[:, 2] > 0], points[points[:, 2] > 0, 2])
    assert 0.3 < depth[-1] / points[-1, 2] < 0.45


def test_hair_beside_a_face_is_told_from_skin():
    photo = np.full((60, 90, 3), (110, 140, 200), np.uint8)
    photo[:, :30] = (30, 40, 50)  # hair
    photo[:, 60:] = (200, 170, 60)  # a bright background
    points = np.array([[10, 30], [45, 30], [80, 30], [500, 30]])
    found = skin.hair_at(photo, points, np.array([110, 140, 200]), 60.0)
    np.testing.assert_allclose(found, [1, 0, 0, 0], atol=0.05)


@pytest.fixture
def look(model, parts, posed, tmp_path, monkeypatch):
    photo, _, points = posed
    monkeypatch.setattr(heads, "_heads", {})
    fit = fitting.fit_points(model, fitting.five_of(points), points)
    return heads.HeadLook("somebody", photo, fit, str(write(tmp_path, *parts)))


M_AA_PAUSE = [Phone("m", 0, 0.24), Phone("aa", 0.24, 0.6), Phone("pau", 0.6, 0.8)]


def said(phones=M_AA_PAUSE):
    speech = utterance.Speech(np.zeros(round(phones[-1].end * 16000), np.float32), phones)
    return utterance.plain_utterance(phones[-1].end, [speech], np.random.default_rng(0))


@pytest.mark.parametrize("who", ["photo", "made up", "mirrored"])
def test_crops_of_a_head_and_their_truth(look, who):
    made_up = who != "photo"
    take = heads.HeadTake(look, said(), np.random.default_rng(2), made_up, 128, made_up)
    if made_up:
        take.made_up.mirrored = who == "mirrored"
    crops = take.crops(96)
    assert len(crops.images) == 20 and all(image.shape == (96, 96, 3) for image in crops.images)
    assert crops.landmarks.shape == (20, 5, 2) and crops.truth["landmarks68"].shape == (20, 68, 2)
    assert crops.truth["aperture"][:5].max() == 0 and crops.truth["aperture"][12] > 0.02  # m, aa
    assert set(crops.truth) >= {"opening", "width", "protrusion", "corners", "fps"}
    # Where preprocessing would have cut: eyes above, mouth below the middle, whoever it is.
    eyes, mouth = crops.landmarks[:, :2].mean(1), crops.landmarks[:, 3:].mean(1)
    np.testing.assert_allclose(((eyes + mouth) / 2)[:, 0], 48, atol=4)
    assert (eyes[:, 1] < 40).all() and (mouth[:, 1] > 52).all()
    lips = crops.truth["landmarks68"][:, 48:68]
    assert (np.abs(lips.mean(1) - mouth) < 6).all()
    assert (lips[:, 0, 0] < lips[:, 6, 0]).all()  # also of a mirrored head
    masks = np.unpackbits(crops.truth["lips"], axis=-1)[..., :96].astype(bool)
    rows, columns = np.nonzero(masks[12])
    assert len(rows) > 100 and abs(columns.mean() - mouth[12, 0]) < 4
    assert abs(rows.min() - lips[12, :, 1].min()) < 4


def test_a_folder_of_heads(look, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="gone.npz: "):
        puppets_clips.make_clips(tmp_path, 1, photos=["a.jpg"], face_model=tmp_path / "gone.npz")
    monkeypatch.setattr(heads.HeadLook, "load", classmethod(lambda cls, photo, path: look))
    options = {"seconds": 0.4, "photos": ["somebody.jpg"], "face_model": look.path, "seed": 3}
    (folder,) = puppets_clips.make_clips(tmp_path / "crops", 1, crops=True, varied=True, **options)
    clip = Clip(folder, tmp_path / "crops")
    assert clip.kind == "puppet" and clip.speaker == "somebody" and clip.shown == 10
    with np.load(folder.with_name("00001.npz")) as truth:
        assert truth["landmarks68"].shape == (10, 68, 2) and json.loads(str(truth["drawn"]))["made_up"]["skin"]
    before = (folder / "landmarks.npz").stat().st_mtime_ns
    puppets_clips.make_clips(tmp_path / "crops", 1, crops=True, varied=True, **options)
    assert (folder / "landmarks.npz").stat().st_mtime_ns == before
    (video,) = puppets_clips.make_clips(tmp_path / "videos", 1, **options)
    with np.load(video.with_suffix(".npz")) as truth:
        assert truth["lips"].shape == (10, 256, 32) and truth["opening"].shape == (10,)
    assert sum(1 for _ in video_reader.read_frames(video)) == 10
    (smiles,) = puppets_clips.make_clips(tmp_path / "smiles", 1, crops=True, clear=True, **options)
    with np.load(smiles.with_name("00001.npz")) as truth:
        drawn = json.loads(str(truth["drawn"]))
    assert drawn["made_up"]["skin"] and drawn["smile"]["smile"] > 0.5


def test_a_head_smiles_with_its_teeth_and_its_lips_still_meet(look):
    """Or with its lips shut, which only speech parts."""

    def truth(smiles, seed=2):
        take = heads.HeadTake(look, said(M_AA_PAUSE), np.random.default_rng(seed), False, 128, False, smiles)
        truth = take.truth()
        return take, {"teeth": np.unpackbits(truth["teeth"], axis=-1).sum((1, 2)), "aperture": truth["aperture"]}

    take, smiling = truth(True)
    _, plain = truth(False)
    m, rest = slice(1, 5), -1
    assert smiling["teeth"][rest] > 20 + plain["teeth"][rest] and smiling["aperture"][rest] > 0.01
    assert smiling["aperture"][m].max() == 0 and not smiling["teeth"][m].any()
    assert smiling["aperture"][12] >= plain["aperture"][12] - 1e-6  # aa
    assert all(0.4 < controls["smile"] <= 1 for controls in take.controls)
    shut = next(seed for seed in range(20) if not truth(True, seed)[0].numbers["smile"]["upper_up"])
    toothy = smiling
    take, smiling = truth(True, shut)
    assert all(0.4 < controls["smile"] <= 1 for controls in take.controls)
    assert smiling["aperture"][rest] < 0.7 * toothy["aperture"][rest]
    assert smiling["teeth"][rest] < 0.7 * toothy["teeth"][rest]
    assert smiling["aperture"][12] >= plain["aperture"][12] - 1e-6


@pytest.fixture(scope="module")
def real():
    if "LIPGAN_FACE_MODEL" not in os.environ:
        pytest.skip("LIPGAN_FACE_MODEL is not set")
    photos = shipped_photos()
    if "grace_hopper" not in photos:
        pytest.skip("matplotlib is not installed")
    missing = landmarks68.available()
    if missing:
        pytest.skip(missing)
    photo = cv2.imread(str(photos["grace_hopper"]))
    model = FaceModel.load(os.environ["LIPGAN_FACE_MODEL"])
    five = np.array([(218.8, 189.6), (306.2, 185.4), (265.3, 237.7), (230.3, 276.8), (301.4, 271.8)])
    return Head(photo, fitting.fit_photo(photo, model, five), model, 256)


SAID = {
    "rest": {},
    "AA": {"jaw": 0.7, "lower_down": 0.2},
    "IY": {"jaw": 0.25, "stretch": 0.7, "lower_down": 0.4, "upper_up": 0.3},
    "UW": {"jaw": 0.3, "pucker": 0.8},
    "M": {"jaw": 0.3, "close": 1.0, "press": 0.4},
    "L": {"jaw": 0.4, "tongue": 1.0, "lower_down": 0.3},
}


@pytest.mark.parametrize("said", SAID)
def test_landmarks_are_seen_where_they_are(real, said):
    assert real.fit.error < 2
    frame, truth = real.render(SAID[said]), real.truth(SAID[said])
    seen = landmarks68.mouth(frame, truth["landmarks"] + 0.5) - 0.5
    width = np.ptp(real.truth({})["landmarks68"][:17, 0])
    assert np.hypot(*(seen - truth["landmarks68"][48:]).T).mean() < 0.025 * width


def test_shut_lips_show_no_gap(real):
    def darkest(controls):
        lips = real.truth(controls)["landmarks68"][48:60]
        (x1, y1), (x2, y2) = np.floor(lips.min(0)).astype(int), np.ceil(lips.max(0)).astype(int)
        middle = slice(x1 + (x2 - x1) // 4, x2 - (x2 - x1) // 4)
        return cv2.cvtColor(real.render(controls), cv2.COLOR_BGR2GRAY)[y1:y2, middle].min()

    photo = darkest({})
    for jaw in (0.0, 0.3, 0.8):
        truth = real.truth({"jaw": jaw, "close": 1.0})
        assert truth["aperture"] == 0 and not truth["teeth"].any()
        assert darkest({"jaw": jaw, "close": 1.0}) > 0.75 * photo


def test_opening_is_seen(real):
    rng = np.random.default_rng(1)
    jaws = rng.uniform(0, 0.8, 24)
    frames = np.array([real.render({"jaw": jaw, "lower_down": 0.3 * jaw}) for jaw in jaws])
    truths = [real.truth({"jaw": jaw, "lower_down": 0.3 * jaw}) for jaw in jaws]
    seen = aperture.mouth_aperture(frames, np.array([truth["landmarks"] for truth in truths]))
    assert np.corrcoef(seen, [truth["aperture"] for truth in truths])[0, 1] > 0.95
