"""Augmentation: the same draw for all of a sample, landmarks that follow, levels that are what was asked."""

import concurrent.futures
import itertools

import cv2
import librosa
import numpy as np
import pytest

from lipgan_keras import audio
from lipgan_keras.config import SAMPLE_RATE
from lipgan_keras.data import augment, augment_audio, music
from lipgan_keras.data import noise as data_noise
from lipgan_keras.data.augment_audio import Sound
from lipgan_keras.face import cropping, regions
from lipgan_keras.media import audio_file
from lipgan_keras.utils.errors import UserError

IMAGE_NAMES = ("flip", "crop", "colour")


def random_image(seed, size=96):
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)


def draw_change(rng, size, names):
    return augment.ImageChange.draw(rng, 1, size, names)[0]


def drawn(sound, seed):
    return sound.changes(np.random.default_rng(seed), 1)[0]


def decibel(ratio):
    return 20 * np.log10(ratio)


@pytest.fixture(scope="module")
def pieces():
    return [music.music(6.0, np.random.default_rng(seed)) for seed in range(16)]


# ------------------------------------------------------------------------------------------------------------ images


@pytest.mark.parametrize("size", [96, 192])
def test_the_same_seed_gives_the_same_image_and_another_seed_another(size):
    image = random_image(0, size)
    before = image.copy()
    new = [draw_change(np.random.default_rng(seed), size, IMAGE_NAMES).apply(image) for seed in (1, 1, 2)]
    assert all(one.shape == image.shape and one.dtype == np.uint8 for one in new)
    np.testing.assert_array_equal(new[0], new[1])
    assert (new[0] != new[2]).any() and (new[0] != image).any()
    np.testing.assert_array_equal(image, before)


def test_nothing_drawn_changes_nothing():
    image, landmarks = random_image(0), regions.default_landmarks()
    for names in ((), ("gain", "noise")):
        change = draw_change(np.random.default_rng(0), 96, names)
        np.testing.assert_array_equal(change.apply(image), image)
        np.testing.assert_array_equal(change.points(landmarks), landmarks)


def test_the_identity_frame_moves_on_its_own():
    """So that where its eyes are against the target's tells nothing of the target's mouth; with "crop" alone."""
    image = np.zeros((96, 96, 3), np.uint8)
    image[30:34, 46:50] = 255

    def at(changed):
        weight = changed[..., 0].astype(float)
        return np.array([(weight * axis).sum() / weight.sum() for axis in np.mgrid[:96, :96]])

    changes = [draw_change(np.random.default_rng(seed), 96, IMAGE_NAMES) for seed in range(40)]
    apart = np.stack([at(p.apply(image, identity=True)) - at(p.apply(image)) for p in changes])
    assert 0.8 < apart.std() and np.abs(apart).max() < 5.5
    for name in set(IMAGE_NAMES) - {"crop"}:
        change = draw_change(np.random.default_rng(0), 96, (name,))
        np.testing.assert_array_equal(change.apply(image, identity=True), change.apply(image))


@pytest.mark.parametrize("name", IMAGE_NAMES)
def test_each_name_does_its_own_part(name):
    """An image that only that part can change, and one that it cannot."""
    across = np.linspace(0, 255, 96).astype(np.uint8)[None, :, None].repeat(96, 0).repeat(3, 2)
    grey = np.full((96, 96, 3), 100, np.uint8)
    changes = [draw_change(np.random.default_rng(seed), 96, (name,)) for seed in range(20)]
    changed = [not np.array_equal(change.apply(across), across) for change in changes]
    assert 3 < sum(changed) < 17 if name == "flip" else sum(changed) > 15
    same = [np.array_equal(change.apply(grey), grey) for change in changes]
    assert not any(same) if name == "colour" else all(same)
    if name == "flip":
        mirrored = next(change for change, does in zip(changes, changed, strict=True) if does)
        image = random_image(0)
        np.testing.assert_array_equal(mirrored.apply(image), image[:, ::-1])


def test_both_frames_are_changed_alike():
    """Two frames that differ in the mouth only: the change must leave it so, whichever comes first."""
    one = random_image(0)
    other = one.copy()
    other[60:80, 30:66] = random_image(1)[60:80, 30:66]
    for seed in range(30):
        change = draw_change(np.random.default_rng(seed), 96, IMAGE_NAMES)
        first, second = change.apply(one), change.apply(other)
        np.testing.assert_array_equal(first, change.apply(one))
        assert (first != second).any()
        np.testing.assert_array_equal(first[:48], second[:48])


@pytest.mark.parametrize("size", [96, 192])
def test_landmarks_follow_the_image(size):
    rng = np.random.default_rng(3)
    centre = np.arange(size) + 0.5
    for seed in range(40):
        change = draw_change(np.random.default_rng(seed), size, ("flip", "crop"))
        points = rng.uniform(0.2 * size, 0.8 * size, (5, 2))
        moved = change.points(points.astype(np.float32))
        assert moved.dtype == np.float32 and moved.shape == (5, 2)
        order = [1, 0, 2, 4, 3] if change.flip else range(5)
        for point, expected in zip(points[order], moved, strict=True):
            dot = np.exp(-((centre - point[0]) ** 2 + (centre[:, None] - point[1]) ** 2) / 8)
            image = change.apply(np.rint(255 * dot).astype(np.uint8)[..., None].repeat(3, 2))[..., 0].astype(float)
            found = np.array([(image * centre).sum(), (image * centre[:, None]).sum()]) / image.sum()
            np.testing.assert_allclose(found, expected, atol=0.1)


def mouths(change, run, box):
    return augment.mouths([change], [run], box[None], 48)[0]


def test_mouths_are_bent_and_recoloured_for_the_discriminator():
    box = regions.mouth_box(regions.default_landmarks())
    plain = cropping.crop_matrices(box, 96, 48)
    places = np.arange(96) + 0.5
    run = np.random.default_rng(0).integers(0, 256, (2, 96, 96, 3), np.uint8)
    grey = run[..., :1].repeat(3, 3)
    ratios, mixed = [], []
    for seed in range(40):
        change = draw_change(np.random.default_rng(seed), 96, IMAGE_NAMES)
        for first, last, matrix, even in zip(
            box[:2][::-1], box[2:][::-1], cropping.crop_matrices(box, 96, 48, 1.0, change.bend), plain, strict=False
        ):
            at = matrix @ places
            assert (np.diff(at) > 0).all() and first < at[0] and at[-1] < last  # in order, from one end to the other
            np.testing.assert_allclose(matrix.sum(axis=1), 1, rtol=1e-5)
            ratios.append(np.diff(at).max() / np.diff(even @ places).max())
        new = mouths(change, run, box)
        assert new.shape == (48, 48, 6) and new.dtype == np.float32 and 0 <= new.min() and new.max() <= 1
        np.testing.assert_allclose(mouths(change, run[1:], box), new[..., 3:], atol=1e-6)  # all frames alike
        change.table = None
        coloured, of_grey = mouths(change, run, box), mouths(change, grey, box)
        np.testing.assert_allclose(of_grey[..., 0], of_grey[..., 1], atol=1e-6)
        change.mix = np.eye(3, dtype=np.float32)
        mixed.append(np.abs(mouths(change, run, box) - coloured).mean())
        sides = np.diff(augment.mouth_boxes([change], box[None])[0].reshape(2, 2), axis=0)[0]
        assert (np.abs(sides / np.diff(box.reshape(2, 2), axis=0)[0] - 1) <= augment.BOX_ZOOM + 1e-5).all()
    assert 1.2 < max(ratios) < 1.4 and min(ratios) < 1.1
    assert max(mixed) > 0.05
    quiet = draw_change(np.random.default_rng(0), 96, ("gain",))
    np.testing.assert_array_equal(cropping.crop_matrices(box, 96, 48, 1.0, quiet.bend)[0], plain[0])
    np.testing.assert_allclose(mouths(quiet, run, box), cropping.mouths_of(run, *plain), atol=1e-5)


@pytest.mark.parametrize("size", [96, 192])
def test_mouths_are_those_of_the_changed_images(size):
    """What `apply` moves is folded into the cut: the same as of the images that it makes,
    up to how it interpolates.
    """
    rng = np.random.default_rng(0)
    run = np.stack(
        [
            cv2.resize(rng.integers(0, 256, (9, 9, 3), np.uint8), (size, size), interpolation=cv2.INTER_CUBIC)
            for _ in range(3)
        ]
    )
    landmarks = regions.default_landmarks(size) + rng.uniform(-0.05, 0.05, (3, 5, 2)).astype(np.float32) * size
    drawn = augment.ImageChange.draw(np.random.default_rng(1), 40, size, (*IMAGE_NAMES, "blur"))
    boxes = np.stack([regions.mouth_box(change.points(landmarks)) for change in drawn])
    together = augment.mouths(drawn, [run] * 40, boxes, 48)
    for change, box, cut in zip(drawn, augment.mouth_boxes(drawn, boxes), together, strict=True):
        changed = np.stack([change.apply(image) for image in run])
        if change.flip:  # the bend is mirrored, too
            box = np.array([size - box[2], box[1], size - box[0], box[3]])
        rows, columns = cropping.crop_matrices(box, size, 48, change.blur, change.bend)
        expected = (
            cropping.mouths_of(changed, rows, columns[::-1, ::-1] if change.flip else columns).reshape(-1, 3)
            @ change.mix
        )
        assert np.abs(cut.reshape(-1, 3) - expected).mean() < 0.01


def test_a_flip_swaps_left_and_right():
    landmarks = regions.default_landmarks()
    flips = 0
    for seed in range(20):
        change = draw_change(np.random.default_rng(seed), 96, ("flip",))
        moved = change.points(np.stack([landmarks, landmarks + 2]))
        assert (moved[:, 0, 0] < moved[:, 1, 0]).all() and (moved[:, 3, 0] < moved[:, 4, 0]).all()
        flips += change.flip
        if change.flip:
            np.testing.assert_allclose(moved[1, 3], [96 - landmarks[4, 0] - 2, landmarks[4, 1] + 2], atol=1e-4)
    assert 3 < flips < 17


@pytest.mark.parametrize("size", [96, 192])
def test_the_mouth_stays_in_the_lower_half(size):
    """The topmost lips that occur, and the lowest; what the generator sees must never hold any."""
    lips = np.float32([[0.5, 0.53], [0.5, 0.53], [0.5, 0.53], [0.25, 0.85], [0.75, 0.85]]) * size
    moved = np.stack([draw_change(np.random.default_rng(seed), size, IMAGE_NAMES).points(lips) for seed in range(1000)])
    assert (moved[:, :3, 1] >= size / 2).all()
    assert (moved > 0).all() and (moved < size).all()
    spread = np.ptp(moved, axis=0) / size
    assert (spread[2] > 0.04).all()  # and it does move


# ------------------------------------------------------------------------------------------------------------- sound


def test_mix_has_the_ratio_that_was_asked():
    rng = np.random.default_rng(0)
    speech, noise = 0.05 * rng.standard_normal(16000), rng.standard_normal(16000)
    for snr in (0, 7, 20):
        mixed = data_noise.mix(speech, noise, snr)
        assert mixed.dtype == np.float32 and mixed.shape == speech.shape
        assert decibel(data_noise.level(speech) / data_noise.level(mixed - speech)) == pytest.approx(snr, abs=0.01)
    pause = data_noise.mix(np.zeros(16000), noise, 6, rms=0.1)
    assert decibel(0.1 / data_noise.level(pause)) == pytest.approx(6, abs=0.01)
    repeated = data_noise.mix(np.zeros(8), noise[:3], 0, rms=0.1)
    np.testing.assert_allclose(repeated[3:6], data_noise.mix(np.zeros(3), noise[:3], 0, rms=0.1))
    assert np.abs(data_noise.mix(speech * 20, noise, 0)).max() == 1
    assert not data_noise.mix(np.zeros(100), noise, 0).any()
    np.testing.assert_array_equal(data_noise.mix(speech, np.zeros(9), 0), speech.astype(np.float32))


@pytest.mark.slow
def test_nothing_drawn_leaves_the_sound_alone():
    assert drawn(Sound(("flip", "crop", "colour")), 0) == augment_audio.Change(1.0)
    assert 8 < sum(drawn(Sound(("noise",)), seed).noisy for seed in range(40)) < 32


def test_gain_alone_is_one_factor():
    wave = np.random.default_rng(0).uniform(-0.4, 0.4, 8000).astype(np.float32)
    gains = []
    for seed in range(100):
        change = drawn(Sound(("gain",)), seed)
        louder = change(wave, 0.1)
        gain = louder[0] / wave[0]
        np.testing.assert_allclose(louder, gain * wave, atol=1e-6)
        np.testing.assert_array_equal(change(wave[100:200], 0.7), louder[100:200])
        assert louder.dtype == np.float32 and np.abs(change(np.ones(5, np.float32), 1)).max() <= 1
        gains.append(decibel(gain))
    assert -12 <= min(gains) < -10 and 4 < max(gains) <= 6


@pytest.mark.slow
def test_noise_has_the_level_of_the_clip_and_not_of_the_stretch():
    """In silence what is left is the noise: 0 to 20 dB below the clip's level, the same under loud speech."""
    sound = Sound(("noise",))
    silence = np.zeros(round(augment_audio.PIECE_SECONDS * SAMPLE_RATE), np.float32)
    speech = 0.05 * np.random.default_rng(0).standard_normal(len(silence)).astype(np.float32)
    ratios, heard = [], set()
    for seed in range(60):
        change = drawn(sound, seed)
        if not change.noisy:
            continue
        noise = change(silence, 0.01)
        ratios.append(decibel(0.01 / data_noise.level(noise)))
        heard.add(tuple(np.round(noise[:8000:100] / np.abs(noise).max(), 3)))
        np.testing.assert_allclose(change(speech, 0.01) - speech, noise, atol=1e-6)
        np.testing.assert_allclose(change(silence, 0.02), 2 * noise, atol=1e-6)
        np.testing.assert_array_equal(change(silence[:6000], 0.01), change(silence[:6000], 0.01))
        assert decibel(0.01 / data_noise.level(change(silence[:6000], 0.01))) > -0.01  # never louder than 0 dB
    assert -0.01 < min(ratios) < 4 and 16 < max(ratios) < 20.01
    assert abs(np.mean(ratios) - 10) < 4
    assert len(heard) > 12  # different pieces


def test_gain_does_not_change_the_ratio_to_the_noise():
    silence, speech = np.zeros(8000, np.float32), 0.02 * np.random.default_rng(0).standard_normal(8000)
    sound, seen = Sound(("gain", "noise")), 0
    for seed in range(12):
        change = drawn(sound, seed)
        noise = change(silence, 0.02)
        if noise.any():
            seen += 1
            assert decibel(data_noise.level(change(speech, 0.02) - noise) / data_noise.level(noise)) > -0.1
    assert seen


def test_the_seed_decides_the_sound_whichever_thread_comes_first():
    wave = 0.1 * np.random.default_rng(0).standard_normal(8000).astype(np.float32)

    def heard(sound, seed):
        return drawn(sound, seed)(wave, 0.1)

    one, other = Sound(("gain", "noise"), seed=5), Sound(("gain", "noise"), seed=5)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        first = list(pool.map(lambda seed: heard(one, seed), range(24)))
    second = [heard(other, seed) for seed in reversed(range(24))][::-1]
    np.testing.assert_array_equal(first, second)
    assert len({sound.tobytes() for sound in first}) == 24
    third = [heard(Sound(("gain", "noise"), seed=6), seed) for seed in range(4)]
    assert any((a != b).any() for a, b in zip(first, third, strict=False))  # other music


def test_noise_comes_from_the_folder(tmp_path):
    time = np.arange(32000) / SAMPLE_RATE
    audio_file.save_wav(tmp_path / "deep" / "er" / "tone.wav", 0.3 * np.sin(2 * np.pi * 1000 * time))
    audio_file.save_wav(tmp_path / "short.wav", 0.1 * np.sin(2 * np.pi * 1000 * time[:800]))
    audio_file.save_wav(tmp_path / "silent.wav", np.zeros(1000))
    (tmp_path / "readme.txt").write_text("no sound\n")
    sound, seen = Sound(("noise",), tmp_path), 0
    for seed in range(24):
        if (change := drawn(sound, seed)).noisy:
            noise = change(np.zeros(8000, np.float32), 0.1)
            spectrum = np.abs(np.fft.rfft(noise * np.hanning(8000))) ** 2
            assert spectrum[480:521].sum() > 0.99 * spectrum.sum() > 0
            assert -0.1 < decibel(0.1 / data_noise.level(noise)) < 20.1
            seen += 1
    assert seen > 4


def test_a_quiet_part_of_a_noise_stays_quiet_and_a_loud_one_is_no_louder_than_asked(tmp_path):
    loud = np.where(np.arange(64000) < 16000, 0.5, 0.01) * np.sin(np.arange(64000))
    audio_file.save_wav(tmp_path / "loud_then_soft.wav", loud)
    sound = Sound(("noise",), tmp_path)
    changes = [drawn(sound, seed) for seed in range(200)]
    ratios = [decibel(0.1 / data_noise.level(change(np.zeros(6000), 0.1))) for change in changes if change.noisy]
    assert -0.01 < min(ratios) < 3 and max(ratios) > 30


def test_another_voice_is_another_speaker_at_another_microphone():
    """A peak of the spectrum goes up or down with the formants; the tone that is added is smooth."""
    windows = np.full((40, 80, 27, 2), -2, np.float32)
    windows[:, 40] = 2
    changes = Sound(("gain", "voice")).changes(np.random.default_rng(0), 40)
    heard = augment_audio.speak(changes, windows.copy())
    assert heard.dtype == np.float32 and np.abs(heard).max() <= 4
    np.testing.assert_array_equal(heard, heard[:, :, :1, :1] + np.zeros_like(heard))  # the same at all times
    hertz = librosa.mel_frequencies(82, fmin=55, fmax=7600)[1:-1]
    peaks = hertz[(heard[:, :, 0, 0] - [change.tone for change in changes]).argmax(axis=1)] / hertz[40]
    np.testing.assert_allclose(peaks, [change.formants for change in changes], rtol=0.04)
    assert min(peaks) < 0.92 and max(peaks) > 1.08
    tones = np.array([change.tone for change in changes])
    assert 0.2 < tones.std() < 0.5 and np.abs(np.diff(tones)).max() < 0.2
    alone = augment_audio.speak([augment_audio.Change(0.5)], windows[:1].copy())
    np.testing.assert_array_equal(alone, windows[:1])


def test_a_noise_folder_without_sound_is_one_line(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.wav").write_text("no sound\n")
    audio_file.save_wav(tmp_path / "silent" / "a.wav", np.zeros(1000))
    wrong = {"missing": "no such", "text/a.wav": "no such", "empty": "none", "text": "none", "silent": "none"}
    for name, words in wrong.items():
        with pytest.raises(UserError, match=words) as error:
            Sound(("noise",), tmp_path / name)
        assert str(error.value).startswith(f"{tmp_path / name}: ")
        assert "\n" not in str(error.value) and ";" in str(error.value)


# ------------------------------------------------------------------------------------------------------------- music


def test_music_is_loud_and_not_clipped(pieces):
    for piece in pieces:
        assert piece.dtype == np.float32 and piece.shape == (96000,)
        assert 0.9 < np.abs(piece).max() <= 1
        assert 0.05 < data_noise.level(piece)
        assert (np.abs(piece) > 0.99).sum() < 100
        seconds = np.sqrt((piece.reshape(-1, 16000) ** 2).mean(1))
        assert decibel(seconds.min() / data_noise.level(piece)) > -15
    for seconds in (0.001, 0.3, 1.2345):
        assert music.music(seconds, np.random.default_rng(0)).shape == (round(seconds * 16000),)


def test_every_piece_is_another_one_and_its_seed_repeats_it(pieces):
    np.testing.assert_array_equal(pieces[3], music.music(6.0, np.random.default_rng(3)))
    unit = np.stack(pieces) / np.linalg.norm(pieces, axis=1, keepdims=True)
    assert np.abs(unit @ unit.T - np.eye(len(pieces))).max() < 0.3
    tonal = np.abs(np.fft.rfft(pieces, axis=1))[:, 300:12000].reshape(len(pieces), -1, 30).sum(2)
    tonal /= np.linalg.norm(tonal, axis=1, keepdims=True)
    assert np.median(tonal @ tonal.T) < 0.8  # other keys and timbres, not the same ones at another time


def test_music_spreads_over_the_spectrum_and_has_onsets(pieces):
    edges = [60, 125, 250, 500, 1000, 2000, 4000, 6000]
    frequency = np.fft.rfftfreq(96000, 1 / SAMPLE_RATE)
    shares = []
    for piece in pieces:
        power = np.abs(np.fft.rfft(piece)) ** 2
        bands = [power[(frequency >= low) & (frequency < high)].sum() for low, high in itertools.pairwise(edges)]
        shares.append(bands / power.sum())
    assert (np.mean(shares, axis=0) > 0.01).all()  # of the energy of all pieces, in each octave
    assert np.max(shares) < 0.95 and np.mean(np.sum(shares, axis=1)) > 0.9
    onsets = []
    for piece in pieces:
        rise = np.maximum(0, np.diff(audio.melspectrogram(piece), axis=1)).mean(0)
        peak = (rise[1:-1] > rise[:-2]) & (rise[1:-1] >= rise[2:]) & (rise[1:-1] > 3 * np.median(rise) + 0.02)
        onsets.append(peak.sum() / 6)
    assert min(onsets) > 0.3 and np.median(onsets) > 1.5


def test_sounds_changed_together_are_those_changed_alone():
    rng = np.random.default_rng(0)
    stretches = rng.uniform(-0.8, 0.8, (40, 5000)).astype(np.float32)
    levels = rng.uniform(0.01, 0.5, 40)
    changes = Sound(("gain", "noise")).changes(rng, 40)
    assert 10 < sum(change.noisy for change in changes) < 30
    alone = [change(stretch, rms) for change, stretch, rms in zip(changes, stretches, levels, strict=True)]
    for change, stretch, rms, one in zip(changes, stretches, levels, alone, strict=True):
        expected = np.clip(change.gain * stretch, -1, 1)
        if change.noisy:
            start = int(change.at * (len(change.piece) - 4999))
            noise = change.piece[start : start + 5000]
            loud = max(change.piece_level, data_noise.level(noise))
            expected = data_noise.mix(change.gain * stretch, noise, change.snr_db, change.gain * rms, loud)
        np.testing.assert_allclose(one, expected, atol=1e-5)
    np.testing.assert_allclose(augment_audio.hear(changes, stretches, levels), alone, atol=1e-6)
