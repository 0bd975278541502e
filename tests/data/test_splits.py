"""Which clips are trained on and which are held out, by lists or by their names."""

import json
import shutil

import numpy as np
import pytest

from helpers.clips import find, make_root, packed
from lipgan_keras.data import splits
from lipgan_keras.utils.errors import UserError


def test_list_files(tmp_path):
    clips = find(make_root(tmp_path / "data"))
    lists = tmp_path / "lists"
    lists.mkdir()
    with pytest.raises(UserError, match="train.txt"):
        splits.split_clips(clips, 0.5, lists)
    (lists / "train.txt").write_text("video/clip0 0\nvideo/clip2   9\n\nvideo/elsewhere 1\n")
    train, held_out = splits.split_clips(clips, 0.0, lists)
    assert [c.folder.name for c in train] == ["clip0", "clip2"] and not held_out
    train, held_out = splits.split_clips(clips, 0.5, lists)
    assert sorted(c.folder.name for c in train + held_out) == ["clip0", "clip2"] and len(held_out) == 1
    (lists / "val.txt").write_text("video/clip3\n")
    train, held_out = splits.split_clips(clips, 0.5, lists)
    assert [c.folder.name for c in train] == ["clip0", "clip2"] and [c.folder.name for c in held_out] == ["clip3"]
    # More of the path: of two sets in one root
    (lists / "val.txt").write_text("data/main/video/clip3\nother/main/video/clip1\n")
    assert [c.folder.name for c in splits.split_clips(clips, 0.5, lists)[1]] == ["clip3"]
    (lists / "val.txt").write_text("video/clip3.mp4 1\n", encoding="utf-8-sig")  # as for preprocess.py
    assert [c.folder.name for c in splits.split_clips(clips, 0.5, lists)[1]] == ["clip3"]
    (lists / "val.txt").write_text("video/elsewhere\n")
    with pytest.raises(UserError, match="val.txt: names none"):
        splits.split_clips(clips, 0.5, lists)
    (lists / "val.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="val.txt: cannot be read"):
        splits.split_clips(clips, 0.5, lists)


def bare_clip(root, name, source=None):
    """A clip of which nothing is read but the names of its files."""
    folder = root / "main" / name
    folder.mkdir(parents=True)
    for n in range(12):
        (folder / f"{n}.jpg").touch()
    np.savez(folder / "mels.npz", spec=np.zeros((80, 1), "float32"))
    if source:
        (folder / "source.txt").write_text(f"{source}\n")
    return folder


def names(clips):
    return {clip.name for clip in clips}


def resumed(root, kept, fraction=0.25, lists=None):
    """(training names, held-out names, Split, lines) of a run that goes on with its checkpoint "log.h5"."""
    stored = json.loads(json.dumps(kept.stored()))
    sides, split, lines = splits.resumed_split(
        find(root), splits.Split.restored(stored, "log.h5"), fraction, lists, "log.h5"
    )
    return *map(names, sides), split, lines


def test_held_out_clips(tmp_path):
    """At least one source, if one is to be held out at all, and never all."""
    clips = find(make_root(tmp_path))
    for fraction, count in ((0.0, 0), (0.01, 1), (0.5, 2), (0.999, 3)):
        train, held_out = splits.split_clips(clips, fraction)
        assert len(held_out) == count and not set(held_out) & set(train) and len(train) + count == 4
    assert splits.split_clips(clips[:1], 0.5) == (clips[:1], [])


def test_a_clip_that_is_added_moves_no_other(tmp_path):
    for i in range(40):
        bare_clip(tmp_path, f"speaker{i % 3}/{i:03d}")
    train, held_out = map(names, splits.split_clips(find(tmp_path), 0.25))
    assert 3 <= len(held_out) <= 18
    for i in range(40):
        bare_clip(tmp_path, f"speaker{i % 3}/{i:03d}a")
    more_train, more_held_out = map(names, splits.split_clips(find(tmp_path), 0.25))
    assert train < more_train and held_out < more_held_out
    assert more_held_out < names(splits.split_clips(find(tmp_path), 0.5)[1])
    assert names(splits.split_clips(find(tmp_path / "main"), 0.25)[1]) == more_held_out  # wherever the root begins
    assert names(splits.split_clips(find(packed(tmp_path)), 0.25)[1]) == more_held_out


def test_what_is_made_of_a_clip_is_held_out_with_it(tmp_path):
    for i in range(12):
        bare_clip(tmp_path, f"video/{i}")
        bare_clip(tmp_path, f"recast/{i}", f"video/{i}")
        bare_clip(tmp_path, f"mirrored/{i}", f"main/video/{i}/")
    for root in (tmp_path, packed(tmp_path)):
        clips = find(root)
        assert {clip.source for clip in clips} == {f"video/{i}" for i in range(12)}
        _, held_out = splits.split_clips(clips, 0.3)
        assert {name.split("/")[0] for name in names(held_out)} == {"video", "recast", "mirrored"}
        assert len(held_out) == 3 * len({clip.source for clip in held_out})
    alone = [clip for clip in clips if clip.source == "video/3"]
    assert splits.split_clips(alone, 0.5) == (alone, [])
    (tmp_path / "val.txt").write_text("video/2\n")
    (tmp_path / "train.txt").write_text("video/1\nrecast/5\n")
    train, held_out = splits.split_clips(clips, 0.3, tmp_path)
    assert names(held_out) == {"video/2", "recast/2", "mirrored/2"}
    assert names(train) == {"video/1", "recast/1", "mirrored/1", "recast/5"}


def test_clips_directly_below_the_folder(tmp_path, capsys):
    """Their copies are known by any end of the path; so are the clips, from a folder above and in a pack."""
    root = tmp_path / "crops" / "main"
    for i in range(8):
        bare_clip(root.parent, f"{i}")
        bare_clip(root.parent, f"{i}_recast", f"main/{i}")
        bare_clip(root.parent, f"{i}_mirrored", f"{i}")
    sides = splits.split_clips(find(root), 0.25)
    kept, held_out = splits.Split.of(sides, 0.25), names(sides[1])
    assert held_out == {f"{n[0]}{copy}" for n in held_out for copy in ("", "_recast", "_mirrored")}
    for place, front in ((root.parent, "main/"), (packed(root), "")):
        clips = find(place)
        assert len({clip.source for clip in clips}) == 8
        assert names(splits.to_measure(clips, "log.h5", kept.stored(), None)[1]) == {front + n for n in held_out}
        train, same, split, lines = resumed(place, kept)
        assert same == {front + n for n in held_out} == split.held_out.keys() and not lines
    for i in range(8):
        bare_clip(root.parent.parent, f"../other/{i}")  # other clips of these names: only the path tells them
    assert resumed(tmp_path, kept)[1] >= {f"main/{n}" for n in held_out}
    assert capsys.readouterr().out == ""
    (tmp_path / "train.txt").write_text("main/1\n")
    assert names(splits.split_clips(find(root), 0, tmp_path)[0]) == {"1", "1_recast", "1_mirrored"}
    bare_clip(root.parent, "copy", "main/gone")
    find(root)
    assert (
        "1 of the clips that source.txt files name are not there, or are several, as main/gone"
        in capsys.readouterr().out
    )


@pytest.mark.parametrize("text", ["", "\n", "/", "video/1\nvideo/2", b"\xff\xfe"])
def test_a_source_that_names_nothing(tmp_path, text):
    folder = bare_clip(tmp_path, "video/0")
    (folder / "source.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match="source.txt: is to be one line") as error:
        find(tmp_path)
    assert "\n" not in str(error.value)


def test_going_on_with_more_clips(tmp_path):
    """None moves, not even one that is held out for want of others; the new ones go where their hash says."""
    bare_clip(tmp_path, "v/a")
    bare_clip(tmp_path, "v/c")
    kept = splits.Split.of(splits.split_clips(find(tmp_path), 0.01), 0.01)
    assert len(kept.held_out) == 1
    train, held_out, same, lines = resumed(tmp_path, kept, 0.01)
    assert held_out == kept.held_out.keys() and same == kept and lines == []
    for i in range(20):
        bare_clip(tmp_path, f"z/{i}")
    bare_clip(tmp_path, "recast/0", next(iter(held_out)))
    more, others, split, lines = resumed(tmp_path, kept, 0.01)
    assert train < more and held_out | {"recast/0"} < others < held_out | {"recast/0"} | {f"z/{i}" for i in range(20)}
    assert lines == [f"21 clips were added, {len(more - train)} to train on and {len(others - held_out)} held out"]
    assert resumed(tmp_path, split, 0.01)[3] == []


def test_going_on_without_some_clips(tmp_path):
    for i in range(12):
        bare_clip(tmp_path, f"v/{i}")
    train, held_out = splits.split_clips(find(tmp_path), 0.25)
    kept = splits.Split.of((train, held_out), 0.25)
    shutil.move(train[0].folder, tmp_path / ".aside")
    _, others, split, lines = resumed(tmp_path, kept)
    assert others == names(held_out) and lines == [
        f"1 of the {len(train)} clips that it was trained on are no longer there"
    ]
    assert split.has_seen(train[0]) and not split.trains_on(train[0])  # the weights have not forgotten
    shutil.move(tmp_path / ".aside", train[0].folder)
    shutil.move(held_out[0].folder, tmp_path / ".aside")
    with pytest.raises(UserError, match=f"log.h5: {held_out[0].name}, which this run has held out, is no longer there"):
        resumed(tmp_path, kept)
    bare_clip(tmp_path / "other", "w/0")
    bare_clip(tmp_path / "other", "w/1")
    none_held_out = splits.Split.of((train, []), 0.0)
    with pytest.raises(UserError, match=f"log.h5: none of the {len(train)} clips that this run was trained on"):
        resumed(tmp_path / "other", none_held_out, 0.0)


def test_a_clip_that_comes_back_is_still_trained_on(tmp_path):
    """Even where its hash would hold it out, as that of some clips of the split of before; or it is refused."""
    root, lists = tmp_path / "data", tmp_path / "lists"
    for i in range(12):
        bare_clip(root, f"v/{i}")
    clips = find(root)
    below = splits.split_clips(clips, 0.5)[1]
    sides = [clip for clip in clips if clip is not below[1]], below[1:2]
    aside = below[0]
    lists.mkdir()
    for fraction, named in ((0.5, None), (None, lists)):
        if named:
            (lists / "train.txt").write_text("".join(f"{clip.name}\n" for clip in sides[0]))
            (lists / "val.txt").write_text(f"{below[1].name}\n")
        kept = splits.Split.of(sides, fraction, named, None if named else splits.BEFORE)
        shutil.move(aside.folder, tmp_path / "aside")
        _, held_out, once, _ = resumed(root, kept, fraction, named)
        assert held_out == {below[1].name} and once.has_seen(aside) and not once.trains_on(aside)
        shutil.move(tmp_path / "aside", aside.folder)
        train, held_out, twice, _ = resumed(root, once, fraction, named)
        assert held_out == {below[1].name} and aside.name in train and twice.trains_on(aside)
    (lists / "val.txt").write_text(f"{below[1].name}\n{aside.name}\n")
    with pytest.raises(UserError, match=f"{aside.name}, which this run has trained on, would now be held out"):
        resumed(root, once, None, lists)


def test_the_split_of_before_knows_no_sources(tmp_path):
    """It goes on twice, and is measured, though copies of held-out clips are trained on, and the other way round."""
    for i in range(6):
        bare_clip(tmp_path, f"v/{i}")
        bare_clip(tmp_path, f"recast/{i}", f"v/{i}")
    training = {"seed": 0, "val_fraction": 0.4, "filelists": None}
    sides, kept, _ = splits.resumed_before(find(tmp_path), training, 0.4, None, "log.h5")
    train, held_out = map(names, sides)
    torn = [{f"v/{i}", f"recast/{i}"} - held_out for i in range(6)]
    assert {"v", "recast"} == {min(pair).split("/")[0] for pair in torn if len(pair) == 1}
    for _ in range(2):
        *same, kept, lines = resumed(tmp_path, kept, 0.4)
        assert same == [train, held_out] and not lines
    known, chosen, why = splits.to_measure(find(tmp_path), "log.h5", kept.stored(), None)
    assert (names(known), names(chosen)) == (train, held_out) and "training has seen" in why  # their copies
    gone = next(clip for clip in find(tmp_path) if clip.name in train and clip.source in held_out)
    shutil.move(gone.folder, tmp_path / ".aside")
    *_, kept, _ = resumed(tmp_path, kept, 0.4)
    shutil.move(tmp_path / ".aside", gone.folder)
    assert resumed(tmp_path, kept, 0.4)[:2] == (train, held_out)
    bare_clip(tmp_path, "mirrored/0", gone.source)  # what is new follows its source
    assert resumed(tmp_path, kept, 0.4)[1] == held_out | {"mirrored/0"}


def test_going_on_with_other_flags_or_lists(tmp_path):
    for i in range(6):
        bare_clip(tmp_path / "data", f"v/{i}")
    root, lists, moved = tmp_path / "data", tmp_path / "lists", tmp_path / "moved"
    by_hash = splits.Split.of(splits.split_clips(find(root), 0.25), 0.25)
    with pytest.raises(UserError, match="--val_fraction 0.25, not 0.5"):
        resumed(root, by_hash, 0.5)
    for folder in (lists, moved):
        folder.mkdir()
        (folder / "train.txt").write_text("v/0\nv/1\nv/2\n")
        (folder / "val.txt").write_text("v/3\n")
    with pytest.raises(UserError, match="--filelists unset, not .*lists"):
        resumed(root, by_hash, 0.25, lists)
    kept = splits.Split.of(splits.split_clips(find(root), 0.25, lists), 0.25, lists)
    with pytest.raises(UserError, match="--filelists .*lists, not unset"):
        resumed(root, kept)
    assert resumed(root, kept, 0.9, moved)[3] == []  # val.txt decides, wherever it lies
    (moved / "train.txt").write_text("v/0\nv/1\nv/2\nv/5\n")
    assert resumed(root, kept, 0.25, moved)[3] == ["1 clips were added, 1 to train on and 0 held out"]
    (moved / "train.txt").write_text("v/0\nv/1\nv/2\nv/3\n")
    (moved / "val.txt").write_text("v/4\n")
    with pytest.raises(UserError, match="v/3, which this run has held out, would now be trained on"):
        resumed(root, kept, 0.25, moved)
    (moved / "train.txt").write_text("v/0\nv/1\n")
    (moved / "val.txt").write_text("v/2\nv/3\n")
    with pytest.raises(UserError, match="v/2, which this run has trained on, would now be held out"):
        resumed(root, kept, 0.25, moved)


def test_a_damaged_split_is_named():
    good = splits.Split(splits.HASH, 0.1, None, {"v/a": "v/a"}, frozenset([3, 2**64 - 1])).stored()
    assert splits.Split.restored(good, "log.h5").trained == {3, 2**64 - 1}
    for wrong in ({"trained": "AAA"}, {"held_out": ["v/a"]}, {"held_out": {"v/a": 3}}, {"val_fraction": "0.1"}):
        with pytest.raises(UserError, match="log.h5: what it says of held-out clips"):
            splits.Split.restored(good | wrong, "log.h5")


def test_what_is_measured(tmp_path):
    """And whether training has seen it."""
    for i in range(12):
        bare_clip(tmp_path / "data", f"v/{i}")
        bare_clip(tmp_path / "other", f"w/{i}")
    clips, others = find(tmp_path / "data"), find(tmp_path / "other")
    train, held_out = splits.split_clips(clips, 0.5)
    kept = splits.Split.of((train, held_out), 0.5)

    def measured(clips, *arguments, stored=kept.stored(), training=None):  # noqa: B008 - it is not changed
        known, chosen, why = splits.to_measure(clips, "log.h5", stored, training, *arguments)
        return names(known), names(chosen), why

    count = len(held_out)
    assert measured(clips) == (names(train), names(held_out), f"{count} of 12 clips, those that training held out")
    assert measured(find(tmp_path / "data" / "main" / "v"))[2] == measured(clips)[2]  # one speaker alone
    some = [clip for clip in clips if clip is not held_out[0]]
    assert measured(some)[2] == f"{count - 1} of 11 clips, those that training held out (1 more are not there)"
    assert measured(others) == (set(), names(others), "all 12 clips, as training knew none of them")
    without = [clip for clip in [*clips, *others] if clip not in held_out]
    assert measured(without)[1] == names(others)
    assert measured(train)[1] == set()

    (tmp_path / "val.txt").write_text(f"{train[0].name}\n{held_out[0].name}\n")
    _, chosen, why = measured(clips, tmp_path)
    assert chosen == {train[0].name, held_out[0].name} and why.endswith("val.txt names; training has seen 1 of them")
    assert "not known" in measured(clips, tmp_path, stored=None)[2]
    (tmp_path / "val.txt").unlink()
    with pytest.raises(UserError, match="has no val.txt"):
        measured(clips, tmp_path)

    later = splits.Split.of(splits.split_clips(others, 0.5), 0.5).after(kept).stored()  # by --resume_gen
    assert measured(train, stored=later)[1] == set()
    assert measured(clips, stored=later)[1] == names(held_out)
    unknown = kept.after(None).stored()
    assert measured(clips, stored=unknown)[2].endswith("what its weights began with was trained on is not known")

    nothing = "all 12 clips; nothing is known of what log.h5 was trained on"
    assert measured(clips, stored=None) == (set(), names(clips), nothing)
    known, chosen, why = measured(clips, stored=None, training={"seed": 4, "val_fraction": 0.5})
    before = splits.permuted_split(clips, 0.5, 4)
    assert (known, chosen) == tuple(map(names, before)) and len(chosen) == 6 and "split of before" in why


def test_another_split_is_measured(tmp_path):
    """By its list, which needs no train.txt; by its folder, as LRW has it; or all there is."""
    for word in ("BRING", "UNDER"):
        for side in ("train", "test"):
            bare_clip(tmp_path / "test", f"{word}/{side}/{word}_00018")
    clips = find(tmp_path / "test")  # no folder above the data counts

    def measured(lists, split):
        known, chosen, why = splits.to_measure(clips, "log.h5", None, None, lists, split=split)
        return names(known), names(chosen), why

    (tmp_path / "test.txt").write_text("test/BRING_00018\n")
    known, chosen, why = measured(tmp_path, "test")
    assert (known, chosen) == (set(), {"test/BRING_00018"}) and "test.txt names" in why
    train, test = ({f"{side}/{word}_00018" for word in ("BRING", "UNDER")} for side in ("train", "test"))
    assert measured(None, "test")[:2] == (train, test)
    assert measured(tmp_path, "all")[1] == measured(None, "all")[1] == train | test
    with pytest.raises(UserError, match="has no val.txt"):
        measured(tmp_path, None)
    with pytest.raises(UserError, match="--split val: no clip lies in a folder of that name"):
        measured(None, "val")


def test_folders_of_lrs3_and_lists_of_lrs2(tmp_path):
    """LRS3 has test/<video>/<clip>; a line of LRS2's lists is a clip of main/, whatever pretrain/ has."""
    for side in ("pretrain", "trainval", "test"):
        bare_clip(tmp_path / "lrs3", f"{side}/0Fi83BHQsMA/0000{len(side)}")
    clips = find(tmp_path / "lrs3")
    known, chosen, _ = splits.to_measure(clips, "log.h5", None, None, None, split="test")
    assert names(chosen) == {"0Fi83BHQsMA/00004"} and names(known) == {"0Fi83BHQsMA/00008"}
    for side in ("pretrain", "main"):
        bare_clip(tmp_path / "lrs2", f"{side}/6001/00001")
    bare_clip(tmp_path / "lrs2", "pretrain/6002/00001")
    (tmp_path / "test.txt").write_text("6001/00001\n6002/00001\n")
    _, chosen, _ = splits.to_measure(find(tmp_path / "lrs2" / "main"), "log.h5", None, None, tmp_path, split="test")
    assert [clip.above for clip in chosen] == [("main", "6001"), ("pretrain", "6002")]
    (tmp_path / "pretrain.txt").write_text("6001/00001\n")
    (tmp_path / "both.txt").write_text("pretrain/6001/00001\nmain/6001/00001\n")
    for split, sides in (("pretrain", ["pretrain"]), ("both", ["main", "pretrain"])):
        _, chosen, _ = splits.to_measure(find(tmp_path / "lrs2" / "main"), "log.h5", None, None, tmp_path, split=split)
        assert [clip.above[0] for clip in chosen] == sides
