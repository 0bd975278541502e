"""What `LipSync` and the flags of inference.py do beside making a face speak."""

import csv
import dataclasses
import itertools
import threading

import av
import cv2
import numpy as np
import pytest

from helpers import synthetic
from helpers.checks import assert_one_line
from helpers.synthetic import RATE, PaintedSound, beeps, number, numbered_image, steady
from lipgan_keras import LipSync, checkpoints
from lipgan_keras.config import ModelConfig
from lipgan_keras.face import cropping, detector
from lipgan_keras.inference import batch, blend, engine, reference
from lipgan_keras.inference import output as inference_output
from lipgan_keras.inference.blend import Composer
from lipgan_keras.inference.occlusion import OcclusionDetector
from lipgan_keras.inference.options import Summary
from lipgan_keras.inference.reference import References, Seen
from lipgan_keras.media import audio_file, video_reader
from lipgan_keras.media import probe as media_probe
from lipgan_keras.media.video_writer import VideoWriter
from lipgan_keras.utils.errors import Incomplete, UserError


@pytest.fixture
def painter(monkeypatch):
    painter = PaintedSound(ModelConfig("basic", "mel", 0.125))
    monkeypatch.setattr(detector, "detect", synthetic.detect)
    monkeypatch.setattr(engine, "load", lambda *_: painter)
    monkeypatch.setattr(checkpoints, "read_config", lambda path: painter.config)
    return painter


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    """A folder with face.mp4 (1 s at 25 fps), face.png and speech.wav (0.8 s)."""
    folder = tmp_path_factory.mktemp("media")
    synthetic.write(folder / "face.mp4", steady(25, 1), 1)
    cv2.imwrite(str(folder / "face.png"), numbered_image(77))
    audio_file.save_wav(folder / "speech.wav", beeps([(0.2, 0.4)], 0.8))
    return folder


@pytest.fixture
def written(monkeypatch):
    """The images that were given to the encoder."""
    images, write = [], VideoWriter.write
    monkeypatch.setattr(VideoWriter, "write", lambda self, image, *a: images.append(image) or write(self, image, *a))
    return images


# Only what must change


@pytest.mark.parametrize("region", blend.REGIONS)
def test_outside_the_mask_no_bit_changes(tmp_path, painter, written, region):
    noise = np.random.default_rng(0).integers(60, 160, (128, 128, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), noise)
    audio_file.save_wav(tmp_path / "a.wav", beeps([(0.02, 0.1)], 0.12))
    LipSync(painter).run(tmp_path / "a.png", tmp_path / "a.wav", tmp_path / "b.mp4", region=region)
    box = cropping.crop_box(synthetic.detect([noise])[0][0])
    changed = np.stack([(image != noise).any(axis=-1) for image in written]).any(axis=0)
    rows, columns = np.nonzero(changed)
    assert len(rows) > 100
    assert (
        rows.min() >= box[1] - 1
        and rows.max() <= box[3] + 1
        and columns.min() >= box[0] - 1
        and columns.max() <= box[2] + 1
    )
    if region != "face":
        assert rows.min() >= (box[1] + box[3]) / 2 - 1  # the generator draws the lower half alone


def test_a_covered_mouth_is_left_alone(tmp_path, media, painter, monkeypatch):
    """But in a box of the user's, or with the original's rectangle."""
    asked, strengths = [], []

    def half(self, image, face, time):
        asked.append((image, time))
        return 0.5

    monkeypatch.setattr(OcclusionDetector, "__call__", half)
    monkeypatch.setattr(Composer, "__call__", lambda self, image, face, crop: strengths.append(face.strength) or image)
    for options in ({"region": "face"}, {"box": (20, 120, 10, 110)}, {}):
        strengths.clear()
        LipSync(painter).run(media / "face.mp4", media / "speech.wav", tmp_path / "b.mp4", **options)
        assert strengths == 20 * [1.0 if options else 0.5]
    source = itertools.islice(video_reader.read_frames(media / "face.mp4"), 20)
    for (image, time), frame in zip(asked, source, strict=True):  # in order, once each
        assert np.array_equal(image, frame.image) and time == pytest.approx(frame.time)


# The identity frame


class Moves:
    """In place of an engine whose generator moves pixels: keeps what it is given."""

    name = "moves"

    def __init__(self, decoder):
        self.config, self.given = ModelConfig("basic", "mel", 0.125, decoder=decoder), []

    def generate(self, faces, sound):
        self.given += list(faces)
        motion = np.zeros((len(faces), 96, 96, 3), np.float32)
        motion[..., 2] = 1
        return faces[..., :3], motion


@pytest.mark.parametrize("decoder", ["warp", ""])
@pytest.mark.parametrize("options", [{}, {"region": "face"}, {"box": (20, 120, 10, 110)}])
def test_a_video_is_given_a_mouth_that_rests(tmp_path, media, painter, monkeypatch, decoder, options):
    """But in a box of the user's, with the original's rectangle, and by a generator that moves no pixels."""
    looked_at, crops = [], []
    monkeypatch.setattr(Composer, "__call__", lambda self, image, face, crop: crops.append(crop) or image)
    monkeypatch.setattr(References, "look", lambda self, seen: looked_at.append(seen))
    monkeypatch.setattr(References, "__call__", lambda self, seen: Seen(0 * seen.image, seen.face, 0 * seen.crop))
    engine = Moves(decoder)
    LipSync(engine).run(media / "face.mp4", media / "speech.wav", tmp_path / "b.mp4", **options)
    rests = decoder == "warp" and not options
    assert len(engine.given) == 20 and len(looked_at) == 20 * rests
    for faces in engine.given:
        assert faces[:48, :, 3:].any() and faces[..., :3].any() != rests
    assert len(crops) == 20 and all(crop[len(crop) // 2 + 2 :].any() != rests for crop in crops)  # so are pixels moved


# Time


RATES = {"23.976": 24000 / 1001, "25": 25, "29.97": 30000 / 1001, "30": 30, "50": 50, "60": 60, "variable": None}
BEEPS = [(0.33, 0.53), (0.91, 1.08), (1.39, 1.62), (2.05, 2.3)]


class OpenMouth:
    """In place of an engine: a dark mouth, open as far as the middle step of its window is loud."""

    name = "mouth"
    config = ModelConfig("basic", "mel", 0.125)

    def __call__(self, face, window):
        output = face[..., :3].copy()
        loud = np.clip((window[:, :, window.shape[2] // 2, 0].mean(1) + 4) / 8, 0, 1)
        y, x = np.mgrid[:96, :96]
        for crop, opening in zip(output, loud, strict=True):
            crop[np.hypot((x - 48) / 12, (y - 62) / (1 + 9 * opening)) < 1] = 0.05
        return output


@pytest.mark.parametrize("name", RATES)
def test_lips_keep_time_with_the_sound(tmp_path, media, monkeypatch, name):
    """The dark mouth is largest when the sound is loud: the middles of both agree within a frame, at every rate."""
    monkeypatch.setattr(detector, "detect", synthetic.detect)
    times = synthetic.uneven(2.5) if name == "variable" else steady(RATES[name], 2.5)
    source = synthetic.write(tmp_path / "a.mp4", times, 2.6, audio=(beeps(BEEPS, 2.6), RATE))
    LipSync(OpenMouth()).run(source, source, tmp_path / "b.mp4", sharpen=0)
    frames = list(video_reader.read_frames(tmp_path / "b.mp4"))
    np.testing.assert_allclose([frame.time for frame in frames[: len(times)]], times, atol=2e-3)
    dark = np.array([np.mean(frame.image[64:, 40:88] < 60) for frame in frames])
    middles = np.array([frame.time + frame.duration / 2 for frame in frames])
    loud = np.clip((dark - dark.min()) / (dark.max() - dark.min()) - 0.5, 0, None)
    heard = np.abs(audio_file.load_audio(tmp_path / "b.mp4")) > 0.05
    moments = np.flatnonzero(heard) / RATE
    longest = max(np.diff(times))
    for start, end in BEEPS:
        near = (middles > start - 0.15) & (middles < end + 0.15)
        seen = (loud[near] * middles[near]).sum() / loud[near].sum()
        sound = moments[(moments > start - 0.15) & (moments < end + 0.15)].mean()
        assert abs(seen - sound) < longest


def test_start_and_end(tmp_path, media, painter, written):
    LipSync(painter).run(media / "face.mp4", media / "speech.wav", tmp_path / "b.mp4", start=0.2, end=0.4)
    there = [5, 6, 7, 8, 9]
    assert [number(image) for image in written] == there + there[::-1] + there + there[::-1]
    times = [frame.time for frame in video_reader.read_frames(tmp_path / "b.mp4")]
    np.testing.assert_allclose(times, np.arange(20) / 25, atol=2e-3)
    for options, words in (
        ({"start": 3}, "before --start"),
        ({"start": 0.5, "end": 0.5}, "not after --start"),
        ({"start": float("nan")}, "--start nan: is out of range"),
        ({"start": 0.999, "box": (9, 99, 9, 99)}, "has no frame"),
    ):
        with pytest.raises(UserError, match=words):
            LipSync(painter).run(media / "face.mp4", media / "speech.wav", tmp_path / "c.mp4", **options)


def test_a_part_that_begins_amid_a_frame(tmp_path, media, painter):
    summary = LipSync(painter).run(media / "face.mp4", media / "speech.wav", tmp_path / "b.mp4", start=0.21, end=0.39)
    frames = list(video_reader.read_frames(tmp_path / "b.mp4"))
    assert summary.frames == len(frames) <= 24 and min(frame.duration for frame in frames) > 5e-3
    assert media_probe.probe(tmp_path / "b.mp4").duration == pytest.approx(0.8, abs=0.01)


def test_a_still_has_no_parts(tmp_path, media, painter, capfd):
    assert (
        LipSync(painter).run(media / "face.png", media / "speech.wav", tmp_path / "b.mp4", start=1, end=2).frames == 20
    )
    assert "--start and --end are for videos" in capfd.readouterr().err


def test_a_slide_show_has_as_many_mouths_as_any_video(tmp_path, painter):
    source = synthetic.write(tmp_path / "a.mp4", [0.0, 1.0, 1.05], 1.5)
    audio_file.save_wav(tmp_path / "a.wav", beeps([(0.2, 0.4)], 1.5))
    summary = LipSync(painter).run(source, tmp_path / "a.wav", tmp_path / "b.mp4")
    assert summary.frames == 25 + 1 + 11
    assert [number(f.image) for f in video_reader.read_frames(tmp_path / "b.mp4")] == [0] * 25 + [1] + [2] * 11


def test_the_face_is_looked_for_in_the_part(tmp_path, media, painter):
    source = synthetic.write(tmp_path / "a.mp4", steady(25, 8), 8, lambda i: numbered_image(i, face=100 <= i < 115))
    LipSync(painter).run(source, media / "speech.wav", tmp_path / "b.mp4", start=4, end=4.6)
    for options, words in (
        ({"start": 5}, r"no face found in 48 frames from 5\.0 to 5\.8 s"),
        ({}, r"from 0\.0 to 0\.8 s"),
    ):
        with pytest.raises(UserError, match=words):
            LipSync(painter).run(source, media / "speech.wav", tmp_path / "b.mp4", **options)


def test_a_file_that_says_to_be_longer_than_it_is(tmp_path, media, painter, monkeypatch):
    probe = media_probe.probe
    monkeypatch.setattr(media_probe, "probe", lambda path: dataclasses.replace(probe(path), duration=9.0))
    source = synthetic.write(tmp_path / "a.mp4", steady(25, 0.4), 0.4)
    assert LipSync(painter).run(source, media / "speech.wav", tmp_path / "b.mp4").frames == 20


def test_resize_factor(tmp_path, media, painter):
    summary = LipSync(painter).run(media / "face.mp4", media / "speech.wav", tmp_path / "b.mp4", resize_factor=2)
    frames = list(video_reader.read_frames(tmp_path / "b.mp4"))
    assert frames[0].image.shape == (64, 64, 3) and [number(f.image) for f in frames] == list(range(20))
    assert summary.frames == 20 and summary.frames_without_face == 0


def test_a_video_that_breaks_in_the_middle(tmp_path, media, painter, monkeypatch):
    """What could be decoded is kept, and sound and video end there."""
    read = video_reader.read_frames

    def breaking(path, start=0.0, damage=None):
        for frame in read(path, start, damage=damage):
            if frame.time > 0.39:
                raise UserError(f"{path}: breaks at 0.40 s")
            yield frame

    monkeypatch.setattr(video_reader, "read_frames", breaking)
    audio_file.save_wav(tmp_path / "short.wav", beeps([(0.1, 0.2)], 0.36))
    whole = LipSync(painter).run(media / "face.mp4", tmp_path / "short.wav", tmp_path / "b.mp4")
    assert whole.broken is None and whole.seconds == pytest.approx(0.36)
    summary = LipSync(painter).run(media / "face.mp4", media / "speech.wav", tmp_path / "b.mp4")
    back = LipSync(painter).run(media / "face.mp4", media / "speech.wav", tmp_path / "c.mp4", end=0.2)
    assert back.broken is None and back.frames == 20
    monkeypatch.undo()
    assert summary.broken.endswith("breaks at 0.40 s") and "ends early" in str(summary)
    assert summary.frames == 10 and summary.seconds == pytest.approx(0.4)
    assert media_probe.probe(tmp_path / "b.mp4").duration == pytest.approx(0.4, abs=0.01)
    assert len(audio_file.load_audio(tmp_path / "b.mp4")) / RATE == pytest.approx(0.4, abs=0.1)


def test_damage_is_said_however_often_the_video_is_played(tmp_path, media, painter, monkeypatch):
    """The sound ends in a later pass, before the damage comes again."""
    read, passes = video_reader.read_frames, []

    def damaged(path, start=0.0, exact=True, damage=None):
        passes.append(damage)
        if len(passes) == 1:
            damage.append((0.28, 0.3))
        yield from read(path, start)

    monkeypatch.setattr(video_reader, "read_frames", damaged)
    summary = LipSync(painter).run(media / "face.mp4", media / "speech.wav", tmp_path / "b.mp4", end=0.35)
    assert len(passes) > 2 and not summary.complete
    assert (
        summary.damaged
        == f"{media / 'face.mp4'}: its picture is damaged from 0.28 to 0.30 s, which is not used; copy the file again"
    )


def test_a_stop_keeps_what_is_made(tmp_path, media, painter):
    """A whole MP4 of the frames so far, and its sound ends with them."""
    done = []
    summary = LipSync(painter).run(
        media / "face.mp4",
        media / "speech.wav",
        tmp_path / "b.mp4",
        callback=lambda *both: done.append(both),
        stop=lambda: len(done) >= 8,
    )
    assert summary.stopped and not summary.complete and "it was stopped there" in str(summary)
    assert summary.frames == 8 and summary.seconds == pytest.approx(8 / 25)
    frames = list(video_reader.read_frames(tmp_path / "b.mp4"))
    assert [number(frame.image) for frame in frames] == list(range(8))
    assert media_probe.probe(tmp_path / "b.mp4").duration == pytest.approx(8 / 25, abs=0.01)
    assert len(audio_file.load_audio(tmp_path / "b.mp4")) / RATE == pytest.approx(8 / 25, abs=0.1)
    assert not list(tmp_path.glob(".*"))
    # One that comes after the last frame stops nothing.
    whole = LipSync(painter).run(
        media / "face.mp4", media / "speech.wav", tmp_path / "c.mp4", stop=lambda: len(done) >= 28,
        callback=lambda *both: done.append(both),
    )  # fmt: skip
    assert whole.complete and whole.frames == 20


@pytest.mark.parametrize("at", ["load", "look", "generate"])
def test_a_stop_waits_for_no_stage(tmp_path, media, painter, monkeypatch, at):
    """Neither loading, nor looking for the face, nor a batch under way is waited for. Nothing is made then."""
    reached, go_on = threading.Event(), threading.Event()

    def stuck(*arguments):
        reached.set()
        assert go_on.wait(60)
        return painter if at == "load" else [[] for _ in arguments[0]]

    if at == "load":
        monkeypatch.setattr(engine, "load", stuck)
    elif at == "look":
        monkeypatch.setattr(detector, "detect", stuck)
    else:
        monkeypatch.setattr(PaintedSound, "__call__", lambda self, *inputs: stuck(*inputs))
    try:
        with pytest.raises(UserError, match="stopped before its first frame"):
            LipSync(painter if at != "load" else "generator.h5").run(
                media / "face.png", media / "speech.wav", tmp_path / "b.mp4", stop=reached.is_set
            )
    finally:
        go_on.set()
    assert not list(tmp_path.iterdir())


# Which face


def test_box_in_place_of_a_detector(tmp_path, media, painter, written, monkeypatch):
    def never(images):
        raise AssertionError("looked for faces")

    monkeypatch.setattr(detector, "detect", never)
    for face in ("face.mp4", "face.png"):
        written.clear()
        LipSync(painter).run(
            media / face, media / "speech.wav", tmp_path / "b.mp4", box=(20, 120, 10, 110), region="face"
        )
        image = written[7]
        assert abs(int(image[95, 60, 0]) - synthetic.FACE) > 5  # painted
        assert np.abs(image[:20].astype(int) - numbered_image(number(image))[:20]).mean() < 3
    with pytest.raises(UserError, match="--box 20 200 10 110"):
        LipSync(painter).run(media / "face.png", media / "speech.wav", tmp_path / "b.mp4", box=(20, 200, 10, 110))


def test_box_and_pads_count_in_pixels_of_the_source(tmp_path, media, painter, written):
    cv2.imwrite(str(tmp_path / "a.png"), numbered_image(3, (256, 256)))
    options = {"box": (40, 240, 20, 220), "region": "face", "pads": (0, 0, 0, 20)}
    LipSync(painter).run(tmp_path / "a.png", media / "speech.wav", tmp_path / "b.mp4", resize_factor=2, **options)
    rows, columns = np.nonzero((written[7].astype(int) != numbered_image(3)).any(axis=-1))
    assert (
        written[7].shape == (128, 128, 3) and columns.min() >= 9 and 117 <= columns.max() <= 121 and rows.max() >= 118
    )
    with pytest.raises(UserError, match="--pads -90 -90 0 0: leaves nothing of the --box"):
        LipSync(painter).run(
            tmp_path / "a.png", media / "speech.wav", tmp_path / "b.mp4", box=(40, 220, 20, 220), pads=(-90, -90, 0, 0)
        )


def two_faces(images):
    """A face in the left half of each image and a larger one in the right."""
    found = []
    for image in images:
        width = image.shape[1]
        pair = []
        for x, scale in ((0.27, 0.7), (0.73, 0.9)):
            (face,) = synthetic.detect([image])[0]
            middle = np.array([width / 2, image.shape[0] / 2])
            moved = (face.landmarks - middle) * scale + (x * width, image.shape[0] / 2)
            box = ((face.box.reshape(2, 2) - middle) * scale + (x * width, image.shape[0] / 2)).ravel()
            pair.append(dataclasses.replace(face, landmarks=moved.astype("float32"), box=box.astype("float32")))
        found.append(pair[::-1])
    return found


def test_each_of_two_people_is_given_their_own_mouth_that_rests(tmp_path, media, painter, monkeypatch):
    """The left one's rests in frame 4, the right one's in frame 12; their chins tell the frame."""

    def draw(i):
        image = numbered_image(i, (256, 128))
        image[90:, :128], image[90:, 128:] = 30 + 5 * i, 240 - 5 * i
        return image

    def mouth(seen):
        chin = float(seen.crop[-6:-2, 40:56].mean())
        return min(abs(chin - (30 + 5 * 4)), abs(chin - (240 - 5 * 12))) / 255, 1.0

    monkeypatch.setattr(detector, "detect", two_faces)
    monkeypatch.setattr(reference, "_mouth", mouth)
    monkeypatch.setattr(reference, "BETTER", 0.01)
    synthetic.write(tmp_path / "two.mp4", steady(25, 1), 1, draw, size=(256, 128))
    engine = Moves("warp")
    LipSync(engine).run(tmp_path / "two.mp4", media / "speech.wav", tmp_path / "b.mp4", face_index="all")
    chins = np.array([faces[-6:-2, 40:56, :3].mean() * 255 for faces in engine.given]).reshape(20, 2)
    np.testing.assert_allclose(np.sort(chins, axis=1)[16:], np.tile([50.0, 180.0], (4, 1)), atol=4)


@pytest.mark.parametrize(
    "index, left, right", [(None, False, True), (0, True, False), (1, False, True), ("all", True, True)]
)
@pytest.mark.parametrize("face", ["video", "image"])
def test_face_index(tmp_path, media, painter, written, monkeypatch, face, index, left, right):
    monkeypatch.setattr(detector, "detect", two_faces)
    size = (256, 128)
    source = tmp_path / "a.png"
    cv2.imwrite(str(source), numbered_image(3, size))
    if face == "video":
        source = synthetic.write(tmp_path / "a.mp4", steady(25, 1), 1, lambda i: numbered_image(i, size), size=size)
    written.clear()
    LipSync(painter).run(source, media / "speech.wav", tmp_path / "b.mp4", face_index=index, region="face")
    change = np.abs(written[7][64:].astype(int) - synthetic.FACE).max(axis=(0, 2)) > 10
    assert (change[: 128 - 20].any(), change[128 + 20 :].any()) == (left, right)


def test_a_face_index_that_is_not_there(tmp_path, media, painter):
    for face in ("face.png", "face.mp4"):
        with pytest.raises(UserError, match="no face with --face_index 3 found"):
            LipSync(painter).run(media / face, media / "speech.wav", tmp_path / "b.mp4", face_index=3)


def test_a_small_face_is_said(tmp_path, media, painter, capfd):
    cv2.imwrite(str(tmp_path / "a.png"), numbered_image(1, (64, 64)))
    LipSync(painter).run(tmp_path / "a.png", media / "speech.wav", tmp_path / "b.mp4")
    assert "a face of 26 pixels" in capfd.readouterr().err


# What it says


def test_progress_summary_and_metadata(tmp_path, media, painter):
    calls = []
    summary = LipSync(painter).run(
        media / "face.mp4", media / "speech.wav", tmp_path / "b.mp4", callback=lambda *both: calls.append(both)
    )
    assert calls == [(i + 1, 20) for i in range(20)]
    assert summary.engine == "painted" and summary.real_time_factor > 0
    assert set(summary.stages) == {"read", "find faces", "generate", "paste", "write"}
    with av.open(str(tmp_path / "b.mp4")) as container:
        comment = container.metadata["comment"]
    assert "Synthetic" in comment and "lipgan_keras" in comment


def test_label(tmp_path, media, painter, written):
    for label in (False, True):
        LipSync(painter).run(media / "face.png", media / "speech.wav", tmp_path / "b.mp4", label=label)
    corner = [image[110:, :80] for image in (written[3], written[-3])]
    assert (corner[0] == numbered_image(77)[110:, :80]).all() and (corner[1] > 200).any() and (corner[1] < 30).any()


def test_preview(tmp_path, media, painter):
    LipSync(painter).run(
        media / "face.mp4", media / "speech.wav", tmp_path / "b.mp4", preview=tmp_path / "p.png", region="face"
    )
    sheet = cv2.imread(str(tmp_path / "p.png"))
    side = inference_output.PREVIEW_SIDE
    assert sheet.shape[0] == 2 * side and sheet.shape[1] == 4 * side  # of 20 frames
    source, result = sheet[:side].astype(int), sheet[side:].astype(int)
    assert np.abs(source - result)[side // 2 + 10 :].mean() > 5 > np.abs(source - result)[: side // 4].mean()
    with pytest.raises(UserError, match="PNG"):
        LipSync(painter).run(media / "face.png", media / "speech.wav", tmp_path / "b.mp4", preview=tmp_path / "p.jpg")
    before = (media / "face.png").read_bytes()
    with pytest.raises(UserError, match="is an input too"):
        LipSync(painter).run(media / "face.png", media / "speech.wav", tmp_path / "b.mp4", preview=media / "face.png")
    assert (media / "face.png").read_bytes() == before


# Many at once


def run(capfd, *arguments):
    return synthetic.call("inference.py", "--checkpoint_path", __file__, *arguments, capfd=capfd)


def table(path, rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("face", "audio", "outfile"), *rows])
    return path


def test_batch(tmp_path, media, painter, capfd):
    odd = tmp_path / '-it\'s "ünïcödé" 名.png'
    cv2.imwrite(str(tmp_path / "a.png"), numbered_image(1))
    (tmp_path / "a.png").rename(odd)
    rows = [
        (media / "face.png", media / "speech.wav", "one.mp4"),
        (tmp_path / "none.png", media / "speech.wav", "two.mp4"),
        (odd.name, media / "speech.wav", f"{odd.stem}.mp4"),
        (media / "face.mp4", media / "speech.wav", ""),
    ]
    pairs = table(tmp_path / "pairs.csv", rows)
    first = run(capfd, "--batch", pairs, "--results_dir", tmp_path / "results")
    assert first.returncode == 1 and "3 made, 0 skipped (there already), 1 failed" in first.stdout
    assert "none.png: no such file" in first.stderr and "1 of 4 could not be made" in first.stderr.splitlines()[-1]
    for name in ("one.mp4", f"{odd.stem}.mp4", "results/face_speech.mp4"):
        assert len(list(video_reader.read_frames(tmp_path / name))) == 20
    cv2.imwrite(str(tmp_path / "none.png"), numbered_image(2))
    before = (tmp_path / "one.mp4").stat().st_mtime_ns
    again = run(capfd, "--batch", pairs, "--results_dir", tmp_path / "results")
    assert again.returncode == 0 and "1 made, 3 skipped (there already), 0 failed" in again.stdout
    assert (tmp_path / "one.mp4").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "results, kind",
    [
        ([None, "damaged at 1.0 s"], Incomplete),
        ([None, UserError("no face")], Incomplete),
        ([UserError("no face")] * 2, UserError),
        ([None, None], None),
    ],
)
def test_what_a_batch_lacks(tmp_path, capsys, results, kind):
    """A video that ends early, or is not there, is said on standard error, and in what is raised."""
    left = list(results)

    class Stub:
        def run(self, face, audio, outfile, **options):
            result = left.pop(0)
            if isinstance(result, Exception):
                raise result
            outfile.write_bytes(b"made")
            return Summary(outfile, broken=result)

    pairs = table(tmp_path / "pairs.csv", [("a.png", "a.wav", f"{i}.mp4") for i in range(2)])
    if kind is None:
        batch.run(Stub(), pairs, tmp_path)
    else:
        with pytest.raises(UserError) as caught:
            batch.run(Stub(), pairs, tmp_path)
        assert type(caught.value) is kind and "pairs.csv" in str(caught.value)
    said = capsys.readouterr()
    assert said.err.count("damaged at 1.0 s") == ("damaged at 1.0 s" in results) and not left


def test_two_names_of_one_file_in_a_batch(tmp_path, capsys):
    """Some discs take capital letters for small ones, so that a row names another's file. A hard link does so here."""

    class Stub:
        def run(self, face, audio, outfile, **options):
            outfile.write_bytes(b"made")
            outfile.with_name("B.mp4").hardlink_to(outfile)
            return Summary(outfile)

    pairs = table(tmp_path / "pairs.csv", [("a.png", "a.wav", "b.mp4"), ("a.png", "a.wav", "B.mp4")])
    with pytest.raises(Incomplete, match="1 of 2 could not be made"):
        batch.run(Stub(), pairs, tmp_path)
    assert "B.mp4: is the same file as" in capsys.readouterr().err


def test_a_pair_that_fails_oddly_stops_no_other(tmp_path, media, painter, capfd, monkeypatch):
    call = PaintedSound.__call__

    def failing(self, face, window):
        if len(self.batches) == 2:
            self.batches.append(0)
            raise RuntimeError("out of\nmemory")
        return call(self, face, window)

    monkeypatch.setattr(PaintedSound, "__call__", failing)
    rows = [(media / "face.png", media / "speech.wav", f"{i}.mp4") for i in range(3)]
    (tmp_path / "pairs.csv").write_text(
        "Face , audio,OUTFILE\n" + "".join(",".join(map(str, row)) + "\n" for row in rows)
    )
    result = run(capfd, "--batch", tmp_path / "pairs.csv")
    assert result.returncode == 1 and "2 made, 0 skipped (there already), 1 failed" in result.stdout
    assert "RuntimeError: out of memory" in result.stderr and "Traceback" not in result.stderr
    assert sorted(p.name for p in tmp_path.glob("*.mp4")) == ["0.mp4", "2.mp4"]


def test_tables_that_are_none(tmp_path, media, painter, capfd):
    rows = [(media / "face.png", media / "speech.wav", "one.mp4")] * 2
    assert_one_line(run(capfd, "--batch", table(tmp_path / "twice.csv", rows)), "twice.csv", "lines 2 and 3")
    rows = [(media / "face.png", media / "speech.wav", name) for name in ("one.mp4", f"../{tmp_path.name}/one.mp4")]
    assert_one_line(run(capfd, "--batch", table(tmp_path / "spelt.csv", rows)), "spelt.csv", "lines 2 and 3")
    rows = [(media / "face.mp4", media / "speech.wav", media / "face.mp4")]
    assert_one_line(run(capfd, "--batch", table(tmp_path / "own.csv", rows)), "own.csv", "line 2", "an input")
    (tmp_path / "blank.csv").write_text("face,audio\n\n\na,\n")
    assert_one_line(run(capfd, "--batch", tmp_path / "blank.csv"), "blank.csv", "line 4")
    assert_one_line(run(capfd, "--batch", tmp_path / "blank.csv", "--preview", "p.png"), "--preview")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    assert_one_line(run(capfd, "--batch", tmp_path / "other.csv"), "other.csv", "face,audio,outfile")
    (tmp_path / "empty.csv").write_text("face,audio\n")
    assert_one_line(run(capfd, "--batch", tmp_path / "empty.csv"), "empty.csv", "no rows")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    assert_one_line(run(capfd, "--batch", tmp_path / "binary.csv"), "binary.csv", "cannot be read")
    assert_one_line(run(capfd, "--batch", tmp_path / "other.csv", "--face", media / "face.png"), "--face", "--batch")
    assert_one_line(run(capfd, "--face", media / "face.png"), "--audio")


# Bad input


def test_flags_out_of_range(tmp_path, media, painter, capfd):
    face = ["--face", media / "face.png", "--audio", media / "speech.wav", "--outfile", tmp_path / "b.mp4"]
    for flag, *values in (
        ("--sharpen", "-1"),
        ("--sharpen", "nan"),
        ("--start", "-1"),
        ("--end", "0"),
        ("--resize_factor", "0.5"),
        ("--region", "nose"),
        ("--face_index", "-1"),
        ("--face_index", "both"),
        ("--engine", "magic"),
        ("--box", "5", "4", "0", "10"),
        ("--box", "a", "1", "2", "3"),
    ):
        assert_one_line(run(capfd, *face, flag, *values), flag)
    assert not (tmp_path / "b.mp4").exists()


def test_odd_sizes_of_images(tmp_path, media, painter):
    cv2.imwrite(str(tmp_path / "dot.png"), np.full((1, 1, 3), 110, np.uint8))
    with pytest.raises(UserError, match=r"dot\.png"):
        LipSync(painter).run(tmp_path / "dot.png", media / "speech.wav", tmp_path / "b.mp4", max_side=0)
    cv2.imwrite(str(tmp_path / "wide.png"), np.full((64, 16000, 3), 110, np.uint8))
    with pytest.raises(UserError, match="16000x64 pixels.*--resize_factor 2"):
        LipSync(painter).run(tmp_path / "wide.png", media / "speech.wav", tmp_path / "b.mp4", max_side=0)
