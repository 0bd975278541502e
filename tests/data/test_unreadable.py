"""Files that cannot be read are counted and passed over, and a batch stays what its number says."""

import json

import numpy as np
import pytest

from helpers.clips import find, make_root, packed
from lipgan_keras.config import ModelConfig
from lipgan_keras.data import jpegs, look_through
from lipgan_keras.data.dataset import Dataset
from lipgan_keras.utils.errors import UserError

BROKEN = {0: (3, 9), 2: (0, 5, 6)}  # {clip: images}


def cut(path):
    path.write_bytes(path.read_bytes()[:-200])


def spoil(path):
    """Whole by its ends, and broken inside."""
    data = bytearray(path.read_bytes())
    data[4 : len(data) - 64] = bytes(len(data) - 68)
    path.write_bytes(data)


def broken_root(root, damage):
    make_root(root, frames=range(24), seconds=1.5)
    for clip, images in BROKEN.items():
        for image in images:
            damage(root / "main" / "video" / f"clip{clip}" / f"{image}.jpg")
    return root


def data_of(root, **options):
    options = {"sync": True, "seed": 3, "augmentation": ("flip", "upper")} | options
    return Dataset(find(root), ModelConfig("basic", sync_frames=3), 12, **options)


def same(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("damage", [cut, spoil, lambda path: path.write_bytes(b"")])
@pytest.mark.parametrize("cache_bytes", [0, 1 << 30])
def test_a_batch_depends_on_its_number_alone(tmp_path, damage, cache_bytes):
    root = broken_root(tmp_path / "crops", damage)
    data = data_of(root, cache_bytes=cache_bytes)
    unbroken = [data.batch(number)[0] for number in range(6)]
    resumed = data_of(root)
    found, _ = look_through.look_through(resumed.clips, progress=False)
    for clip, images in found.items():  # a run that knew before what is broken
        resumed.images.mark_broken(clip, images)
    assert all(same(resumed.batch(number)[0], unbroken[number]) for number in (5, 2))
    assert f"{sum(map(len, BROKEN.values()))} images could not be read" in data.images.passed_over()


def test_without_broken_files_nothing_is_drawn_again(tmp_path, monkeypatch):
    data = data_of(make_root(tmp_path / "crops", frames=range(24), seconds=1.5))
    before = data.batch(4)[0]
    monkeypatch.setattr(Dataset, "usable", lambda *args: True)
    again = data_of(tmp_path / "crops")
    assert same(again.batch(4)[0], before) and not data.images.passed_over()


def test_a_file_that_breaks_later_is_passed_over(tmp_path):
    root = make_root(tmp_path / "crops", frames=range(24), seconds=1.5)
    data = data_of(root, cache_bytes=0)
    data.batch(0)
    assert data.images.can_read(1, 4)
    cut(root / "main" / "video" / "clip1" / "4.jpg")
    for number in range(1, 8):
        data.batch(number)
    assert "1 images could not be read, as " in data.images.passed_over() and "clip1/4.jpg" in data.images.passed_over()


def test_images_are_looked_through_once(tmp_path, monkeypatch):
    root = broken_root(tmp_path / "crops", cut)
    clips = find(root)
    assert look_through.look_through(clips, tmp_path, progress=False) == ({k: list(v) for k, v in BROKEN.items()}, 4)
    assert look_through.look_through(clips, None, seconds=-1, progress=False) == ({}, 0)
    looked = []
    monkeypatch.setattr(jpegs, "looks_whole", lambda path: looked.append(path) or True)
    assert look_through.look_through(clips, tmp_path, progress=False)[0].keys() == BROKEN.keys() and not looked
    kept = json.loads((tmp_path / look_through.FILE).read_text())
    (tmp_path / look_through.FILE).write_text(json.dumps(kept | {next(iter(kept)): "x"}))  # damaged, or another's
    with pytest.raises(UserError, match="does not say which clips were looked through; remove it"):
        look_through.look_through(clips, tmp_path, progress=False)
    assert json.loads((tmp_path / look_through.FILE).read_text())[next(iter(kept))] == "x" and not looked


def test_packs_are_looked_through(tmp_path):
    root = packed(broken_root(tmp_path / "crops", cut))
    assert look_through.look_through(find(root), progress=False)[0] == {k: list(v) for k, v in BROKEN.items()}


def test_clips_without_a_readable_sound_are_left_out(tmp_path):
    root = make_root(tmp_path / "crops")
    folder = root / "main" / "video"
    (folder / "clip0" / "audio.wav").write_bytes(b"")
    (folder / "clip1" / "mels.npz").write_bytes((folder / "clip1" / "mels.npz").read_bytes()[:-100])
    broken = {}
    fine = look_through.hearable(find(root), broken)
    assert [clip.name for clip in fine] == ["video/clip2", "video/clip3"]
    assert sorted(broken) == [folder / "clip0", folder / "clip1"]


def test_features_that_are_broken_inside_are_passed_over(tmp_path):
    root = make_root(tmp_path / "crops", frames=range(24), seconds=1.5)
    path = root / "main" / "video" / "clip2" / "mels.npz"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    found = data_of(root)
    assert look_through.hearable(found.clips, {}) == found.clips
    batches = [found.batch(number)[0] for number in range(4)]
    assert same(data_of(root).batch(3)[0], batches[3])
    assert "1 clips whose sound could not be read" in found.images.passed_over()


def test_when_nothing_can_be_read_the_last_trouble_is_said(tmp_path):
    root = make_root(tmp_path / "crops")
    for path in root.rglob("*.jpg"):
        path.write_bytes(b"text")
    with pytest.raises(UserError, match=r"jpg: cannot be read as a picture.*hardly anything else"):
        data_of(root, sync=False, augmentation=()).batch(0)


def test_images_that_say_that_they_are_huge_are_not_decoded(tmp_path):
    root = make_root(tmp_path / "crops", clips=1)
    path = root / "main" / "video" / "clip0" / "3.jpg"
    data = bytearray(path.read_bytes())
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    with pytest.raises(UserError, match="3.jpg: .*larger than 4096 pixels"):
        find(root)[0].image(3, 96)
