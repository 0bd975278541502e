import concurrent.futures
import dataclasses
import itertools
import os
import shutil
import time

import cv2
import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from helpers.clips import POINTS, find, make_clip, make_root
from lipgan_keras import audio
from lipgan_keras.audio import WindowClock
from lipgan_keras.config import FPS, STEPS_PER_SECOND, WINDOW_SHAPE, ModelConfig
from lipgan_keras.data import augment, clip_folder, dataset
from lipgan_keras.data.augment_audio import Change, Sound
from lipgan_keras.data.dataset import Dataset
from lipgan_keras.data.loader import Loader
from lipgan_keras.face import cropping, regions, tracking
from lipgan_keras.media import audio_file, video_reader
from lipgan_keras.utils import npz
from lipgan_keras.utils.errors import UserError


def never_show(folder, numbers):
    """Give frames of a "lipgan_keras" clip no duration."""
    with np.load(folder / "landmarks.npz") as saved:
        arrays = dict(saved)
    arrays["duration"][np.isin(arrays["frames"], numbers)] = 0
    np.savez(folder / "landmarks.npz", **arrays)


def data_of(root, kind="mel", batch_size=4, **options):
    return Dataset(find(root, kind), ModelConfig("basic", kind), batch_size, **options)


# When frame 15 is shown, by layout: N/25 is the grid, the originals number from the fifth frame, and ours says
# itself.
MIDDLE = {"lipgan_mel": 19.5 / 25, "wav2lip": 15.5 / 25, "lipgan_keras": 15 / 25 + 0.05 + 0.015}


@pytest.mark.parametrize(
    "layout, kind, rate",
    [
        ("lipgan_mel", "mel", 16000),
        ("lipgan_mel", "mfcc", 16000),
        ("wav2lip", "mel", 44100),
        ("wav2lip", "mfcc", 44100),
        ("lipgan_keras", "mel", 16000),
        ("lipgan_keras", "mfcc", 16000),
    ],
)
def test_each_layout_has_its_sound_and_its_clock(tmp_path, layout, kind, rate):
    """A click in the middle of frame 15's time is in the middle of its window, and nowhere else."""
    make_clip(tmp_path / "v" / "c", layout, range(3, 25), MIDDLE[layout], rate, size=120, delay=0.05)
    data = data_of(tmp_path, kind)
    (clip,) = data.clips
    assert clip.layout == layout
    middle = WINDOW_SHAPE[kind][1] // 2

    def loudest(frame):
        window = data.window(0, frame)[..., 0]
        assert window.shape == WINDOW_SHAPE[kind]
        different = np.abs(window - audio.features(np.zeros(16000), kind)[:, :1]).max(axis=0) > 1e-3
        return np.flatnonzero(different).mean()

    at = clip.frames.tolist().index(15)
    assert abs(loudest(at) - middle) <= 1
    step = STEPS_PER_SECOND[kind] / 25
    assert loudest(at + 2) == pytest.approx(middle - 2 * step, abs=1.1)  # a later frame hears the click earlier
    assert loudest(at - 2) == pytest.approx(middle + 2 * step, abs=1.1)


def test_the_windows_that_the_mfcc_original_saved(tmp_path):
    make_clip(tmp_path / "main" / "v" / "c", "lipgan_mfcc", [0, 1, 2, 3, *range(10, 22)])
    (tmp_path / "main" / "v" / "c" / "30.jpg").write_bytes(b"a picture without a window")
    data = data_of(tmp_path, "mfcc")
    (clip,) = data.clips
    assert clip.layout == "lipgan_mfcc" and 30 not in clip.frames
    assert clip.start[0] == pytest.approx(4 / 25)
    assert all((data.window(0, i) == n).all() for i, n in enumerate(clip.frames))
    assert data.window(0, 0).shape == (12, 35, 1)
    data.config = data.config.with_audio_offset(80.0)
    assert (data.window(0, 0) == 2).all()


def test_offset_and_alignment_move_the_window(tmp_path):
    make_clip(tmp_path / "v" / "c", "wav2lip", range(25))
    data = data_of(tmp_path)
    mel = data.clips[0].features("mel")
    assert np.array_equal(data.window(0, 12)[..., 0], mel[:, 40 - 13 : 40 + 14])  # 12.5 / 25 s is step 40
    data.config = data.config.with_audio_offset(-100.0)
    assert np.array_equal(data.window(0, 12)[..., 0], mel[:, 32 - 13 : 32 + 14])
    data.config = dataclasses.replace(data.config, audio_offset_ms=0.0, alignment="released")
    assert np.array_equal(data.window(0, 12)[..., 0], mel[:, 38 : 38 + 27])  # int(80 * 12 / 25)


class Unchanged(Sound):
    """Draws changes that change nothing: gain 1, and noise without a sound or none."""

    def __init__(self, noisy):
        super().__init__(["gain", "noise"])
        self.drawn = Change(1.0, np.zeros(16000, np.float32)) if noisy else Change(1.0)

    def changes(self, rng, count):
        return [self.drawn] * count


@pytest.mark.parametrize("kind, samples", [("mel", 48000), ("mel", 47951), ("mfcc", 48000), ("mfcc", 47951)])
def test_augmentation_that_changes_nothing_is_not_heard(tmp_path, kind, samples):
    """Training with and without augmentation hears the same as inference, at a clip's edges too: frame by frame, in
    runs, and whether the clip's features are changed, or its waveform.
    """
    folder = make_clip(tmp_path / "v" / "c", "wav2lip", range(75), seconds=0.1)
    time, rng = np.arange(samples) / 16000, np.random.default_rng(0)
    voice = sum(np.sin(2 * np.pi * 120 * n * time + n) / n for n in range(1, 30)) + 0.3 * rng.standard_normal(samples)
    voice *= 0.1 * (1.2 + np.sin(2 * np.pi * 4 * time + 1))  # loud at either end
    audio_file.save_wav(folder / "audio.wav", voice)
    data = data_of(tmp_path, kind)
    (clip,) = data.clips
    expected = WindowClock.of(data.config).windows_of(clip.wave(), clip.start, clip.end)  # as in inference
    np.testing.assert_allclose(data.windows(0, range(75)), expected, rtol=0, atol=1e-4)
    for noisy in (False, True):
        data.sound = Unchanged(noisy)
        alone = [data.windows(0, [i], data.sound.drawn)[0] for i in range(75)]
        np.testing.assert_allclose(alone, expected, rtol=0, atol=1e-4)
        for frames in (1, 5):
            runs = [(0, first) for first in range(75 - frames + 1)]
            heard = np.moveaxis(data._sounds(runs, frames, rng), -1, 1)[..., None]
            for (_, first), windows in zip(runs, heard, strict=True):
                np.testing.assert_allclose(windows, expected[first : first + frames], rtol=0, atol=1e-4)


def test_a_spectrogram_stored_the_other_way_round(tmp_path):
    folder = make_clip(tmp_path / "v" / "c", "lipgan_mel")
    spec = np.load(folder / "mels.npz")["spec"]
    assert spec.shape == (80, 129)
    before = find(tmp_path)[0].features("mel")
    np.savez(folder / "mels.npz", spec=spec.T)
    assert np.array_equal(find(tmp_path)[0].features("mel"), before)
    np.savez(folder / "mels.npz", spec=spec[:40])
    with pytest.raises(UserError, match=r"mels.npz: spec has shape \(40, 129\)"):
        find(tmp_path)[0].features("mel")


def test_a_front_end_that_the_folder_lacks(tmp_path):
    make_clip(tmp_path / "a" / "v" / "c", "lipgan_mfcc")
    with pytest.raises(UserError, match="--audio mel"):
        find(tmp_path / "a", "mel")
    folder = make_clip(tmp_path / "b" / "v" / "c", "lipgan_mel")
    (folder / "audio.wav").unlink()
    assert len(find(tmp_path / "b", "mel")) == 1
    with pytest.raises(UserError, match="--audio mfcc"):
        find(tmp_path / "b", "mfcc")


def test_which_folders_are_clips(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        find(tmp_path / "none")
    with pytest.raises(UserError, match="no preprocessed clip"):
        find(tmp_path)
    make_clip(tmp_path / "main" / "v" / "short", frames=range(11))
    with pytest.raises(UserError, match="under 12 frames"):
        find(tmp_path)
    make_clip(tmp_path / "main" / "v" / "long", frames=range(12))
    make_clip(tmp_path / "main" / "v" / ".half.partial", frames=range(12))
    (tmp_path / "main" / "v" / "long" / "cover.jpg").write_bytes(b"")
    (clip,) = find(tmp_path)
    assert clip.folder.name == "long" and clip.frames.tolist() == list(range(12))


def test_identity_frames_are_six_frames_away(tmp_path):
    frames = [0, 1, 2, 3, 4, 5, 11, 12, 13, 14, 40, 41]
    make_clip(tmp_path / "v" / "c", frames=frames)
    data = data_of(tmp_path)
    rng = np.random.default_rng(0)
    for i, number in enumerate(frames):
        identities = set()
        for _ in range(60):
            sample = data.sample(0, i, rng)
            identities.add(round(float(sample["faces"][0, 0, 0, 0]) * 255))
            assert round(float(sample["targets"][0, 0, 0, 0]) * 255) == number
        assert identities == {n for n in frames if abs(n - number) >= 6}


@pytest.mark.parametrize("sync", [False, True])
def test_frames_that_are_not_shown_are_identity_frames_only(tmp_path, sync):
    for folder in make_root(tmp_path, frames=range(20)).glob("*/*/*"):
        never_show(folder, range(14, 20))
    data = data_of(tmp_path, batch_size=8, sync=sync)
    assert [clip.shown for clip in data.clips] == [14] * 4
    clip = make_clip(tmp_path / "short" / "clip", frames=range(20))
    never_show(clip, range(11, 20))
    with pytest.raises(UserError, match="under 12 frames"):
        find(tmp_path / "short")
    batches = [data.batch(i)[0] for i in range(60)]
    identities, targets = (
        np.concatenate([of(batch) for batch in batches])
        for of in (
            lambda batch: batch["faces"][:, 48, 48, 0],
            lambda batch: batch["targets"][:, 48, 48, 0],
        )
    )
    assert set(targets.tolist()) == set(range(14)) and set(range(14, 20)) < set(identities.tolist())
    if sync:
        mouths = np.concatenate([batch["mouths"] for batch in batches])
        assert mouths.max() < 13.5 / 255


def test_the_lower_half_of_the_target_is_hidden():
    rng = np.random.default_rng(0)
    identity, target = rng.integers(1, 256, (2, 96, 96, 3), dtype="uint8")
    faces, truth = regions.assemble(identity, target)
    assert faces.shape == (96, 96, 6) and faces.dtype == truth.dtype == np.float32
    np.testing.assert_allclose(faces[..., :3] * 255, identity, rtol=1e-6)
    np.testing.assert_allclose(truth * 255, target, rtol=1e-6)
    assert np.array_equal(faces[:48, :, 3:], truth[:48]) and not faces[48:, :, 3:].any()


def equal(a, b):
    return all(np.array_equal(a[0][name], b[0][name]) for name in a[0].keys() | b[0].keys())


def test_batches_depend_on_seed_and_number_alone(tmp_path):
    make_root(tmp_path)
    alone = [data_of(tmp_path, seed=3).batch(i) for i in (5, 17)]
    data = data_of(tmp_path, seed=3, cache_bytes=0)
    for start, workers in ((0, 1), (0, 3), (5, 2)):
        with Loader(data, start, workers) as loader:
            batches = dict(zip(range(start, 18), loader, strict=False))
        assert equal(batches[5], alone[0]) and equal(batches[17], alone[1])
    assert not equal(data_of(tmp_path, seed=4).batch(5), alone[0])
    assert not equal(data.batch(6), alone[0])


@pytest.mark.slow
def test_batches_do_not_depend_on_what_is_kept(tmp_path):
    """With everything that is drawn, and whatever has been made before: a resumed run begins with nothing."""
    make_root(tmp_path, frames=range(20))
    options = {
        "sync": True,
        "augmentation": augment.NAMES,
        "sound": Sound(augment.NAMES),
        "seed": 3,
        "batch_size": 10,
    }
    with threadpool_limits(1, "blas"):  # as the loader has it: with more threads sums have other roundings
        alone = data_of(tmp_path, **options).batch(3)
    for cache_bytes in (0, 700_000, 1 << 30):
        with Loader(data_of(tmp_path, cache_bytes=cache_bytes, **options), 0, 3) as loader:
            batches = list(itertools.islice(loader, 4))
        assert equal(batches[3], alone) and not equal(batches[2], alone)


def test_an_epoch_has_every_frame_once(tmp_path):
    make_root(tmp_path, clips=2, frames=range(12))
    data = data_of(tmp_path, batch_size=4)
    seen = [data._target(i) for i in range(3 * len(data))]
    epochs = [seen[i : i + 24] for i in (0, 24, 48)]
    assert all(sorted(epoch) == list(itertools.product(range(2), range(12))) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_speakers_are_drawn_equally_often(tmp_path):
    for speaker, clips in (("a", 5), ("b", 1)):
        for i in range(clips):
            make_clip(tmp_path / speaker / f"{i}", seed=i, frames=range(12))
    data = data_of(tmp_path, batch_size=4, balance="speakers")
    seen = [data._target(i) for i in range(2 * len(data))]
    speakers = [data.clips[clip].speaker for clip, _ in seen]
    for epoch in (speakers[: len(data)], speakers[len(data) :]):
        assert epoch.count("a") == epoch.count("b") == len(data) / 2
        assert all({*pair} == {"a", "b"} for pair in zip(epoch[::2], epoch[1::2], strict=True))
    assert len({target for target, who in zip(seen, speakers, strict=True) if who == "a"}) > 45  # of 60
    assert {frame for (_, frame), who in zip(seen, speakers, strict=True) if who == "b"} == set(range(12))
    assert [data._target(i) for i in range(len(data), 2 * len(data))] == seen[len(data) :]  # without those before
    drawn = [data.clips[data._any(np.random.default_rng(i))[0]].speaker for i in range(400)]
    assert 150 < drawn.count("b") < 250


@pytest.mark.parametrize("size", [*range(2, 13), 20])
def test_unsynced_pairs_are_never_in_sync(tmp_path, size):
    """Not even where half of the sound is silence, and neighbours of a clip share a batch."""
    root = make_root(tmp_path, clips=2, frames=range(12), seconds=0.6)
    silent = make_clip(root / "main" / "video" / "silent", frames=range(24), click=0.0)
    assert silent.exists()
    data = data_of(root, batch_size=size)
    coins = set()
    for number in range(40):
        (batch,) = data.batch(number)
        sounds = batch["audio"].reshape(size, -1)
        assert not np.isclose(sounds, sounds[batch["unsynced"]], atol=1e-3).all(axis=1).any()
        coins.add(float(batch["train_on_fakes"][0]))
    assert coins == {0.0, 1.0}


def test_neighbours_are_not_called_unsynced(tmp_path):
    make_root(tmp_path, clips=1, frames=range(14))
    data = data_of(tmp_path, batch_size=4)
    for number in range(50):
        (batch,) = data.batch(number)
        frames = batch["targets"][:, 0, 0, 0].astype(int)
        assert (np.abs(frames - frames[batch["unsynced"]]) >= dataset.SAME_SOUND).all()


def test_batch_sizes_and_sounds_without_unsynced_pairs(tmp_path):
    root = make_root(tmp_path / "a")
    with pytest.raises(UserError, match="batch_size 1 "):
        data_of(root, batch_size=1)
    (batch,) = data_of(root, batch_size=1, pairs=False).batch(0)
    assert set(batch) == {"faces", "audio", "targets", "masks"} and batch["audio"].shape == (1, 80, 27, 1)
    make_clip(tmp_path / "b" / "v" / "silent", frames=range(24), click=0.0, seconds=0.1)
    np.savez(tmp_path / "b" / "v" / "silent" / "mels.npz", spec=np.full((80, 80), -4.0))
    with pytest.raises(UserError, match="no unsynced pair"):
        data_of(tmp_path / "b").batch(0)


def brightness(images):
    return images[..., 40, 40, 0].astype(int)


def test_runs_go_across_no_gap(tmp_path):
    """T consecutive frames, with one identity frame that is far from all of them."""
    frames = [*range(10), *range(12, 15), *range(20, 27)]
    make_clip(tmp_path / "v" / "a", frames=frames)
    data = data_of(tmp_path, batch_size=40, sync=True, pairs=False)  # half of it in runs
    starts = {(number, number + 4) for number in [*range(6), *range(20, 23)]}
    seen = set()
    for number in range(12):
        (batch,) = data.batch(number)
        assert batch["faces"].shape == (40, 96, 96, 6) and batch["audio"].shape == (40, 80, 27, 1)
        runs = brightness(batch["targets"][:20]).reshape(4, 5)
        identities = brightness(batch["faces"][:20, ..., :3]).reshape(4, 5)
        singles = brightness(batch["targets"][20:]) - brightness(batch["faces"][20:, ..., :3])
        assert (np.abs(singles) >= 6).all() and len(set(brightness(batch["targets"][20:]))) > 5
        assert (np.diff(runs, axis=1) == 1).all() and (identities == identities[:, :1]).all()
        assert (np.abs(identities - runs) >= 6).all()
        seen |= {(int(run[0]), int(run[-1])) for run in runs}
    assert seen == starts


def test_runs_go_across_no_cut(tmp_path):
    folder = make_clip(tmp_path / "v" / "a", frames=range(30))
    for n in range(13, 30):  # another scene
        cv2.imwrite(str(folder / f"{n}.jpg"), np.full((96, 96, 3), 100 + n, "uint8"))
    data = data_of(tmp_path, batch_size=40, sync=True, pairs=False)
    for number in range(12):
        runs = brightness(data.batch(number)[0]["targets"][:20]).reshape(4, 5)
        assert (np.diff(runs, axis=1) == 1).all()


@pytest.mark.real
@pytest.mark.slow
def test_talking_people_are_no_cuts(real_clips):
    """Neither a moving face nor a moving mouth looks like one; another person does."""
    clips = []
    for name in ("bbaf2n.mpg", "portrait_700p30.mp4"):
        seen = tracking.follow(itertools.islice(video_reader.read_frames(real_clips / name), 60))
        clips.append([cropping.extract(frame.image, one.box) for frame, one in seen])
    for crops in clips:
        assert not any(clip_folder.is_cut(a, b) for a, b in itertools.pairwise(crops))
    assert clip_folder.is_cut(clips[0][0], clips[1][0])


@pytest.mark.slow
def test_what_the_lip_sync_discriminator_compares(tmp_path):
    """Its own sound, its clip's at other times, and other clips' sound: never one that is in sync."""
    make_root(tmp_path, clips=3, frames=range(20))
    data = data_of(tmp_path, batch_size=20, sync=True, pairs=False, sync_runs=6)
    for number in range(20):
        (batch,) = data.batch(number)
        assert batch["mouths"].shape == (6, 48, 48, 15) and batch["sounds"].shape == (6 * 3, 80, 27, 5)
        own = batch["relation"] == 1
        assert np.array_equal(own, np.eye(6, 18)) and (batch["relation"] == -1).any(axis=1).all()
        # The generator's own runs come first.
        generated = np.moveaxis(batch["audio"][:10].reshape(2, 5, 80, 27), 1, -1)
        assert np.array_equal(batch["sounds"][:2], generated)
        for i, j in np.argwhere(batch["relation"] == -1):
            heard, right = batch["sounds"][j], batch["sounds"][i]
            for shift in range(-2, 3):  # within two frames it would be in sync
                a, b = (heard[..., max(0, shift) : 5 + min(0, shift)], right[..., max(0, -shift) : 5 - max(0, shift)])
                assert not np.allclose(a, b, atol=1e-4)


def test_clips_that_share_a_soundtrack_are_in_sync(tmp_path):
    """As are two pauses; judged by the sound before noise is mixed in."""
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        make_clip(tmp_path / "v" / name, frames=range(20), seed=seed)
    data = data_of(tmp_path, batch_size=10, sync=True, pairs=False, sound=Sound(("gain", "noise")))
    same = data._in_sync([(0, 4), (1, 5), (1, 9), (2, 4)], 5)
    assert same.tolist() == [
        [True, True, False, False],
        [True, True, False, False],
        [False, False, True, False],
        [False] * 3 + [True],
    ]
    make_clip(tmp_path / "s" / "silent", frames=range(60), click=0.0, seconds=3.0)
    data = data_of(tmp_path / "s", batch_size=10, sync=True, pairs=False, sound=Sound(("noise",)))
    assert data._in_sync([(0, 20), (0, 40)], 5).all()


def test_hard_negatives_are_near_but_not_in_sync(tmp_path):
    make_clip(tmp_path / "v" / "a", frames=range(80), seconds=3.4)
    data = data_of(tmp_path, batch_size=10, sync=True, pairs=False)
    rng = np.random.default_rng(0)
    distances = {abs(data.shifted(0, 40, rng) - 40) for _ in range(300)}
    assert min(distances) == dataset.SAME_SOUND and max(distances) == FPS


def test_clips_shorter_than_a_run(tmp_path):
    make_root(tmp_path, frames=range(14))
    config = ModelConfig("basic", "mel", sync_frames=9)
    with pytest.raises(UserError, match="--sync_frames 9: no clip .* has 14"):
        Dataset(find(tmp_path), config, 18, sync=True)
    with pytest.raises(UserError, match="batch_size 4 holds no run of 5"):
        data_of(tmp_path, batch_size=4, sync=True)


@pytest.mark.parametrize("layout, default", [("lipgan_keras", False), ("wav2lip", True), ("lipgan_mel", True)])
def test_masks_lie_on_the_landmarks_or_a_default_region(tmp_path, layout, default):
    make_root(tmp_path, layout=layout)
    (batch,) = data_of(tmp_path).batch(0)
    points = regions.default_landmarks(96, "dlib") if default else POINTS
    assert batch["masks"].shape == (4, 96, 96, 1)
    assert all(np.array_equal(mask[..., 0], regions.lip_mask(points)) for mask in batch["masks"])


def test_augmentation_changes_both_frames_and_the_mask_alike(tmp_path):
    folder = make_clip(tmp_path / "v" / "a", frames=range(14))
    image = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype="uint8")
    for n in range(14):
        cv2.imwrite(str(folder / f"{n}.jpg"), image)  # all frames are one image
    data = data_of(tmp_path, batch_size=8, pairs=False, augmentation=("flip", "crop", "colour"))
    plain = data_of(tmp_path, batch_size=8, pairs=False).batch(0)[0]
    (batch,) = data.batch(0)
    together = data_of(tmp_path, batch_size=8, pairs=False, augmentation=("flip", "colour")).batch(0)[0]
    assert np.array_equal(together["faces"][..., :3], together["targets"])  # identity and target
    assert not np.array_equal(batch["faces"][..., :3], batch["targets"])  # crops move the identity on its own
    assert np.array_equal(batch["faces"][:, :48, :, 3:], batch["targets"][:, :48])
    assert batch["targets"].dtype == np.uint8 and np.abs(batch["targets"].astype(int) - plain["targets"]).mean() > 12
    assert not np.array_equal(batch["masks"], plain["masks"])
    assert np.array_equal(batch["audio"], plain["audio"])


def test_upper_halves_of_other_moments(tmp_path):
    """Of a clip whose head is held in two ways, from a frame that is held alike, in input and target."""
    folder = make_clip(tmp_path / "v" / "a", frames=range(40))
    with np.load(folder / "landmarks.npz") as saved:
        arrays = dict(saved)
    arrays["landmarks"] = arrays["landmarks"] + (np.arange(40) % 2 * [[3.0], [0]]).T[:, None]
    np.savez(folder / "landmarks.npz", **arrays)
    options = {"batch_size": 12, "pairs": False, "sync": True}
    plain, data = (data_of(tmp_path, augmentation=names, **options) for names in ((), ("upper",)))
    elsewhere = 0
    for number in range(4):
        (batch,) = data.batch(number)
        assert np.array_equal(batch["faces"][:, :48, :, 3:], batch["targets"][:, :48])
        assert not batch["faces"][:, 48:, :, 3:].any()
        above, below = (batch["targets"][:, row].mean((1, 2)).round().astype(int) for row in (0, 95))
        moved = above != below
        elsewhere += moved.sum()
        assert ((above - below)[moved] % 2 == 0).all() and (np.abs(above - below)[moved] >= dataset.SAME_SOUND).all()
    assert elsewhere > 0.75 * 48
    targets = plain.batch(0)[0]["targets"]
    assert (targets[:, 0] == targets[:, 95]).all()


def test_noise_reaches_the_windows(tmp_path):
    make_root(tmp_path)
    plain, noisy = (
        data_of(tmp_path, batch_size=10, sync=True, pairs=False, sound=sound).batch(0)[0]
        for sound in (None, Sound(("noise", "gain")))
    )
    different = np.abs(plain["sounds"] - noisy["sounds"]).max(axis=(1, 2, 3)) > 0.05
    assert different.mean() > 0.5


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


def flip(path):
    data = bytearray(path.read_bytes())
    inside = max(data.find(b"landmarks.npy"), data.find(b"spec.npy")) + 300
    data[inside : inside + 8] = b"\xa5" * 8
    path.write_bytes(data)


def objects(path):
    np.savez(path, frames=np.array([{}, None]), spec=np.array([{}, None]))


def short(path):
    np.savez(
        path, frames=np.arange(14), landmarks=np.zeros((9, 5, 2)), time=np.zeros(14), duration=np.zeros(14), spec=0
    )


@pytest.mark.parametrize("name", ["landmarks.npz", "mels.npz"])
@pytest.mark.parametrize("damage", [truncate, flip, objects, short, lambda path: path.write_text("text")])
def test_damaged_arrays_are_named(tmp_path, name, damage):
    folder = make_root(tmp_path, clips=1) / "main" / "video" / "clip0"
    damage(folder / name)
    with pytest.raises(UserError, match=rf"clip0/{name}: ") as error:
        data_of(tmp_path).batch(0)
    assert "\n" not in str(error.value)


def test_damaged_images_and_sounds_are_named(tmp_path):
    folder = make_root(tmp_path, clips=1, layout="wav2lip") / "main" / "video" / "clip0"
    shutil.copy(folder / "audio.wav", folder / "kept")
    (folder / "audio.wav").write_text("text")
    with pytest.raises(UserError, match="clip0/audio.wav"):
        data_of(tmp_path).batch(0)
    shutil.move(folder / "kept", folder / "audio.wav")
    for n in range(14):
        (folder / f"{n}.jpg").write_text("text")
    with pytest.raises(UserError, match=r"clip0/\d+.jpg"):
        data_of(tmp_path).batch(0)
    mfcc = make_clip(tmp_path / "mfcc" / "v" / "c", "lipgan_mfcc")
    for n in range(14):
        np.savez(mfcc / f"{n}.npz", mfcc=np.zeros((13, 35)))
    with pytest.raises(UserError, match=r"c/\d+.npz: mfcc has shape \(13, 35\)"):
        data_of(tmp_path / "mfcc", "mfcc").batch(0)


def test_what_keeps_a_loader_from_a_batch_comes_out(tmp_path):
    make_root(tmp_path)
    data = data_of(tmp_path)
    for image in tmp_path.rglob("*.jpg"):
        image.write_text("text")
    with pytest.raises(UserError, match=r"\.jpg: cannot be read"), Loader(data) as loader:
        try:
            for _ in loader:
                pass
        except UserError as error:
            raise RuntimeError("as TensorFlow has it: " + repr(error)) from None


def test_threads_read_arrays_at_once(tmp_path, monkeypatch):
    """Python 3.11's `ast`, which numpy reads headers with, fails now and then beside another thread's:
    it is asked again.
    """
    np.savez(tmp_path / "mels.npz", spec=np.ones((80, 9), np.float32))
    load, inside, failed = np.lib.format.read_array_header_1_0, [], []

    def fragile(*args, **kwargs):
        inside.append(1)
        time.sleep(0.002)
        alone = len(inside) == 1
        inside.pop()
        if not alone or len(failed) < 2:
            failed.append(alone)
            raise SystemError("AST constructor recursion depth mismatch")
        return load(*args, **kwargs)

    monkeypatch.setattr(np.lib.format, "read_array_header_1_0", fragile)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for found, _ in pool.map(lambda _: npz.read(tmp_path / "mels.npz", ["spec"]), range(40)):
            assert found["spec"].shape == (80, 9)
    assert failed == [True, True]  # made to fail, never two at once
