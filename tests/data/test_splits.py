"""Which clips are trained on and which are held out, by lists or by lot."""

import pytest

from helpers.clips import find, make_root
from lipgan_keras.data import splits
from lipgan_keras.utils.errors import UserError


def test_list_files(tmp_path):
    clips = find(make_root(tmp_path / "data"))
    lists = tmp_path / "lists"
    lists.mkdir()
    with pytest.raises(UserError, match="train.txt"):
        splits.split_clips(clips, 0.5, 0, lists)
    (lists / "train.txt").write_text("video/clip0 0\nvideo/clip2   9\n\nvideo/elsewhere 1\n")
    train, held_out = splits.split_clips(clips, 0.0, 0, lists)
    assert [c.folder.name for c in train] == ["clip0", "clip2"] and not held_out
    train, held_out = splits.split_clips(clips, 0.5, 0, lists)
    assert sorted(c.folder.name for c in train + held_out) == ["clip0", "clip2"] and len(held_out) == 1
    (lists / "val.txt").write_text("video/clip3\n")
    train, held_out = splits.split_clips(clips, 0.5, 0, lists)
    assert [c.folder.name for c in train] == ["clip0", "clip2"] and [c.folder.name for c in held_out] == ["clip3"]
    # More of the path: of two sets in one root
    (lists / "val.txt").write_text("data/main/video/clip3\nother/main/video/clip1\n")
    assert [c.folder.name for c in splits.split_clips(clips, 0.5, 0, lists)[1]] == ["clip3"]
    (lists / "val.txt").write_text("video/elsewhere\n")
    with pytest.raises(UserError, match="val.txt: names none"):
        splits.split_clips(clips, 0.5, 0, lists)
    (lists / "val.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="val.txt: cannot be read"):
        splits.split_clips(clips, 0.5, 0, lists)


def test_held_out_clips(tmp_path):
    clips = find(make_root(tmp_path))
    for fraction, count in ((0.0, 0), (0.01, 1), (0.5, 2), (0.99, 3)):
        train, held_out = splits.split_clips(clips, fraction, 7)
        assert len(held_out) == count and not set(held_out) & set(train) and len(train) + count == 4
    assert splits.split_clips(clips[:1], 0.5, 0) == (clips[:1], [])
    assert splits.split_clips(clips, 0.5, 7) == splits.split_clips(clips, 0.5, 7)
