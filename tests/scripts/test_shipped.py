"""The checkpoint that ships: what it holds, that a photo speaks with it, and the demo."""

import os
import re

import cv2
import h5py
import numpy as np
import pytest

from helpers.checks import assert_one_line
from lipgan_keras import LipSync, checkpoints
from lipgan_keras.data import preprocess, scoring
from lipgan_keras.data.clip_folder import Clip
from lipgan_keras.evaluation.generated_clips import ClipGenerator
from lipgan_keras.evaluation.tally import Openings
from lipgan_keras.face import aperture, detector, photos, regions
from lipgan_keras.inference import engine, models
from lipgan_keras.live import show
from lipgan_keras.media import audio_file, video_reader
from lipgan_keras.puppets import demo, speech

MIB = 1 << 20
UNHEARD = 777  # seed of a sound that no clip had


@pytest.mark.slow
def test_it_is_small_and_holds_both_networks():
    with h5py.File(checkpoints.SHIPPED) as file:
        sizes = {name: [] for name in file}
        file.visititems(
            lambda name, item: (
                sizes[name.split("/")[0]].append(item.id.get_storage_size()) if isinstance(item, h5py.Dataset) else None
            )
        )
    assert sizes.keys() == {"generator", "sync", "split"}
    assert sum(sizes["generator"]) < 16 * MIB and os.path.getsize(checkpoints.SHIPPED) < 24 * MIB
    assert checkpoints.load_generator(checkpoints.SHIPPED)[1].step >= 1000
    assert set(models.load_discriminators(str(checkpoints.SHIPPED))[0]) == {"sync"}


def opening_of(path, points):
    """How far the mouth seems to be open in each frame of a photo's video."""
    images = np.stack([frame.image for frame in video_reader.read_frames(path)])
    return aperture.mouth_aperture(images, np.broadcast_to(points, (len(images), 5, 2)), below_teeth=True)


@pytest.mark.slow
def test_a_photo_speaks_and_is_silent(tmp_path):
    """A face that it was not trained on follows a sound that it never heard;
    noise of a quiet room leaves its mouth still.
    """
    photo = photos.shipped_photos()["astronaut"]
    face = next(iter(video_reader.read_frames(photo))).image
    points = detector.detect([face])[0][0].landmarks
    wave, opening, _ = speech.synthesise_speech(4.0, np.random.default_rng(UNHEARD))
    hush = 1e-3 * np.random.default_rng(0).standard_normal(len(wave)).astype(np.float32)
    seen = {}
    for name, sound in (("speech", wave), ("hush", hush)):
        audio_file.save_wav(tmp_path / "a.wav", sound)
        LipSync().run(photo, tmp_path / "a.wav", tmp_path / f"{name}.mp4")
        seen[name] = opening_of(tmp_path / f"{name}.mp4", points)
    frames = min(len(seen["speech"]), len(opening))
    assert np.corrcoef(seen["speech"][:frames], opening[:frames])[0, 1] > 0.8
    assert np.corrcoef(seen["speech"][:frames], np.roll(opening[:frames], 12))[0, 1] < 0.4  # a wrong one's
    assert np.std(seen["hush"]) < 0.1 * np.std(seen["speech"])
    # She smiles. Where the mouth is widest open her upper teeth are as white as in the photo.
    wide = opening[:frames] > np.quantile(opening[:frames], 0.9)
    images = [frame.image for frame in video_reader.read_frames(tmp_path / "speech.mp4")][:frames]
    teeth = [upper_teeth(image, points) for image, open_wide in zip(images, wide, strict=True) if open_wide]
    assert np.mean(teeth) > 0.85 * upper_teeth(face, points)


def upper_teeth(image, points):
    """How light a picture is below the middle of the upper lip."""
    (left, y), (right, other_y) = points[3:]
    width, top = right - left, round((y + other_y) / 2 + 0.12 * (right - left))
    rows, columns = slice(top, top + round(0.08 * width)), slice(round(left + 0.3 * width), round(right - 0.3 * width))
    return cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)[rows, columns].mean()


@pytest.mark.slow
def test_the_demo(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr("sys.argv", ["demo", "--outfile", str(tmp_path / "a.mp4"), "--seconds", "2"])
    demo.main()
    out = capfd.readouterr().out
    assert (tmp_path / "a.mp4").exists() and (tmp_path / "a_sound.wav").exists()
    assert float(re.search(r"correlation of (-?\d\.\d\d)", out)[1]) > 0.7


@pytest.mark.slow
def test_a_demo_of_no_face(tmp_path, script):
    (tmp_path / "no.png").write_text("text")
    assert_one_line(
        script("-m", "lipgan_keras.demo", "--photo", tmp_path / "no.png", "--outfile", tmp_path / "a.mp4"), "no.png"
    )
    assert not (tmp_path / "a.mp4").exists()


def test_live_speaks_with_it(tmp_path):
    audio_file.save_wav(tmp_path / "a.wav", speech.synthesise_speech(1.0, np.random.default_rng(UNHEARD))[0])
    face = photos.shipped_photos()["astronaut"]
    summary = show.live(None, face, tmp_path / "a.wav", tmp_path / "a.mp4")
    assert summary.shown > 10
    photo = next(iter(video_reader.read_frames(face))).image
    points = detector.detect([photo])[0][0].landmarks
    widest = int(np.argmax(opening_of(tmp_path / "a.mp4", points)))
    images = [frame.image for frame in video_reader.read_frames(tmp_path / "a.mp4")]
    assert upper_teeth(images[widest], points) > 0.85 * upper_teeth(photo, points)


@pytest.mark.real
@pytest.mark.slow
def test_lips_of_real_strangers_follow_their_audio(real_clips, tmp_path):
    """Of the two that nothing was trained on; docs/model_card.md has figures of more."""
    generator = engine.load(checkpoints.SHIPPED, "auto", 64)
    figures = []
    for name in ("lrwp9a", "pwij3p"):
        assert preprocess.preprocess_clip(real_clips / f"{name}.mpg", tmp_path / "grid" / name, 96) is None
        one = ClipGenerator(Clip(tmp_path / "grid" / name), generator.config, generator)
        targets, openings = one.targets, Openings()
        truth, masks = one.truth(targets), regions.lip_mask(one.points(targets), 96)
        right = one.say(targets, one.data.windows(0, targets))
        wrong = one.say(targets, one.wrong_sounds()["10"](targets))
        openings.add(one.points(targets), truth, right)
        frozen = np.broadcast_to(one.identity, truth.shape)
        errors = [scoring.lip_mae(masks, truth / 255, made / 255).mean() for made in (right, wrong, frozen)]
        figures.append([np.corrcoef(*openings.found())[0, 1], errors[1] / errors[0], errors[0] / errors[2]])
    correlation, sensitivity, of_frozen = np.mean(figures, axis=0)
    assert correlation > 0.85 and sensitivity > 1.08 and of_frozen < 0.82
