import os
import shutil
import wave
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from helpers import synthetic
from helpers.checks import assert_one_line
from helpers.clips import find, make_clip, make_root, packed
from lipgan_keras import audio
from lipgan_keras.config import ModelConfig
from lipgan_keras.data import augment, pack, splits
from lipgan_keras.data.augment_audio import Sound
from lipgan_keras.data.clip_folder import Clip
from lipgan_keras.data.dataset import Dataset
from lipgan_keras.evaluation import find as evaluation_find
from lipgan_keras.evaluation import kept
from lipgan_keras.evaluation.jobs import Job, Settings
from lipgan_keras.media import audio_file
from lipgan_keras.utils.errors import UserError

ALL = {"generator": True, "pairs": True, "sync": True, "augmentation": augment.NAMES}


def tones(folder, seed):
    """Sound that can be compressed, and images that differ."""
    rng = np.random.default_rng(seed)
    audio_file.save_wav(
        folder / "audio.wav",
        0.3 * np.sin(np.cumsum(np.interp(np.arange(25600) / 800, range(33), rng.uniform(0.01, 0.9, 33)))),
    )
    np.savez(folder / "mels.npz", spec=audio.melspectrogram(audio_file.load_audio(folder / "audio.wav")))
    face = rng.integers(0, 200, (9, 9, 3))
    for path in folder.glob("*.jpg"):
        cv2.imwrite(str(path), cv2.resize((face + rng.integers(0, 20, (9, 9, 3))).astype("uint8"), (96, 96)))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder of clips by each program."""
    root = tmp_path_factory.mktemp("clips") / "crops"
    for i, layout in enumerate(("lipgan_keras", "lipgan_keras", "lipgan_mel", "wav2lip", "wav2lip")):
        tones(make_clip(root / "main" / "a" / f"{i}", layout, [*range(3, 12), *range(14, 25)]), i)
    return root


@pytest.mark.parametrize("kind", ["mel", "mfcc"])
@pytest.mark.slow
def test_a_pack_trains_as_its_folder_does(root, kind):
    batches = []
    for place in (root, packed(root)):
        clips, _ = splits.split_clips(find(place, kind), 0.2)
        config = ModelConfig("basic", kind)
        data = Dataset(clips, config, 20, seed=4, sync_runs=6, sound=Sound(augment.NAMES), **ALL)
        batches.append([data.batch(number)[0] for number in (0, 7)])
    for one, other in zip(*batches, strict=True):
        assert one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def test_the_windows_that_the_mfcc_original_saved_are_packed(tmp_path):
    root = make_root(tmp_path / "root", clips=2, layout="lipgan_mfcc")
    one, other = (
        Dataset(find(place, "mfcc"), ModelConfig("basic", "mfcc"), 4).batch(3)[0] for place in (root, packed(root))
    )
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_what_a_pack_holds(root):
    with zipfile.ZipFile(packed(root)) as file:
        names = set(file.namelist())
        assert {name.split("/")[-1] for name in names if "/0/" in name} >= {"landmarks.npz", "audio.flac", "3.jpg"}
        assert file.read("main/a/0/3.jpg") == (root / "main" / "a" / "0" / "3.jpg").read_bytes()
        flac = file.getinfo("main/a/0/audio.flac").file_size
    assert flac < 0.7 * (root / "main" / "a" / "0" / "audio.wav").stat().st_size
    # The sound gives the spectrogram; but who knows what made another program's.
    assert "main/a/0/mels.npz" not in names and "main/a/2/mels.npz" in names and "main/a/0/audio.wav" not in names


def test_a_pack_unzipped_is_a_folder_of_clips(root, tmp_path):
    path = packed(root, tmp_path / "p")
    with zipfile.ZipFile(path) as file:
        file.extractall(tmp_path / "out")
    for one, other in zip(find(path), find(tmp_path / "out"), strict=True):
        assert one.layout == other.layout and np.array_equal(one.wave(), other.wave())
        assert np.array_equal(one.image(2, 96), other.image(2, 96))
    again = packed(tmp_path / "out", tmp_path / "again")
    assert [Clip(folder).layout for folder in pack.clip_folders(again)] == [clip.layout for clip in find(path)]


def test_a_spectrogram_that_the_sound_does_not_give_is_packed(tmp_path):
    folder = make_clip(tmp_path / "root" / "v" / "c")
    spec = np.load(folder / "mels.npz")["spec"] + np.float32(0.01)
    np.savez(folder / "mels.npz", spec=spec)
    (clip,) = find(packed(tmp_path / "root"))
    assert np.array_equal(clip.features("mel"), spec)


def test_sound_that_flac_does_not_hold_stays(tmp_path):
    folder = make_clip(tmp_path / "root" / "v" / "c", "wav2lip")
    with wave.open(str(folder / "audio.wav"), "wb") as file:
        file.setparams((2, 4, 44100, 0, "NONE", ""))  # two channels of 32 bit
        file.writeframes(np.random.default_rng(0).integers(-(2**31), 2**31, 90000, "int32").tobytes())
    (clip,) = find(packed(tmp_path / "root"))
    assert clip.sound_file == "audio.wav" and np.array_equal(clip.wave(), find(tmp_path / "root")[0].wave())


def test_the_folder_that_is_a_clip(tmp_path):
    make_clip(tmp_path / "root", frames=range(13))
    (clip,) = find(packed(tmp_path / "root"))
    assert clip.image(5, 96).mean() == pytest.approx(5, abs=1) and clip.landmarks.shape == (13, 5, 2)
    assert np.array_equal(Clip(clip.folder).frames, clip.frames)


def test_the_command_line(root, tmp_path, capfd):
    def run(*flags):
        return synthetic.call(
            "preprocess.py", "--final_data_root", root, "--pack", tmp_path / "new" / "p", *flags, capfd=capfd
        )

    result = run()
    assert result.returncode == 0 and "p: 5 clips, 0." in result.stdout, result.stderr
    first = (tmp_path / "new" / "p").read_bytes()
    assert run().returncode == 0 and (tmp_path / "new" / "p").read_bytes() == first  # the same clips, the same bytes
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "train.txt").write_text("a/1\na/elsewhere\n")
    (tmp_path / "lists" / "val.txt").write_text("a/3\n")
    (root / "main" / "a" / "4" / "source.txt").write_text("a/elsewhere\n")  # what was made of a clip follows it
    assert "3 clips" in run("--filelists", tmp_path / "lists").stdout
    (root / "main" / "a" / "4" / "source.txt").unlink()
    assert "2 clips" in run("--filelists", tmp_path / "lists").stdout
    train, held_out = splits.split_clips(find(tmp_path / "new" / "p"), 0.5, tmp_path / "lists")
    assert [clip.folder.name for clip in train + held_out] == ["1", "3"]

    size = (tmp_path / "new" / "p").stat().st_size
    assert_one_line(run("--pack_mb", "0.1"), "do not fit into 0.1 MB", "alone are 0.", "--pack_mb", "--filelists")
    needed = len(first) / 1e6
    assert_one_line(run("--pack_mb", f"{needed - 0.001:.4f}"), "they are 0.", "--pack_mb")
    assert (tmp_path / "new" / "p").stat().st_size == size and os.listdir(tmp_path / "new") == ["p"]  # untouched
    (tmp_path / "lists" / "train.txt").write_text("none\n")
    os.remove(tmp_path / "lists" / "val.txt")
    assert_one_line(run("--filelists", tmp_path / "lists"), "lists", "name none of the clips")
    flags = "--final_data_root", tmp_path / "none", "--pack", tmp_path / "q"
    assert_one_line(synthetic.call("preprocess.py", *flags, capfd=capfd), "none", "no such folder")
    flags = "--final_data_root", root, "--pack", tmp_path
    assert_one_line(synthetic.call("preprocess.py", *flags, capfd=capfd), tmp_path, "is a folder")


def test_damaged_clips_are_not_packed(root, tmp_path):
    for name in ("audio.wav", "landmarks.npz"):
        shutil.copytree(root, tmp_path / name)
        (tmp_path / name / "main" / "a" / "1" / name).write_bytes(b"damaged")
        with pytest.raises(UserError, match=f"a/1/{name}"):
            packed(tmp_path / name)
        assert not (tmp_path / f"{name}.pack").exists()


def zipped(path, names, comment=b"lipgan_keras pack 1", kind=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", kind) as file:
        file.comment = comment
        for name in names:
            file.writestr(zipfile.ZipInfo(name), b"content" * 99, kind)


FOREIGN = {
    "text": lambda path: path.write_text("text"),
    "empty": lambda path: path.write_bytes(b""),
    "another ZIP file": lambda path: zipped(path, ["v/0.jpg"], b""),
    "climbs": lambda path: zipped(path, ["../v/0.jpg"]),
    "absolute": lambda path: zipped(path, ["/v/0.jpg"]),
    "holds code": lambda path: zipped(path, ["v/0.jpg", "v/run.py"]),
    "compressed": lambda path: zipped(path, ["v/0.jpg"], kind=zipfile.ZIP_DEFLATED),
    "twice": lambda path: zipped(path, ["v/0.jpg", "v//0.jpg"]),
    "no clip": lambda path: zipped(path, []),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_no_pack(tmp_path, name):
    FOREIGN[name](tmp_path / "p")
    with pytest.raises(UserError, match=f"{tmp_path}/p: ") as error:
        find(tmp_path / "p")
    assert "\n" not in str(error.value)


def test_damage_is_seen(root, tmp_path, capfd):
    """Wherever a byte has changed that decides what is trained on, or the end is missing."""
    whole, path = bytearray(packed(root, tmp_path / "p").read_bytes()), tmp_path / "damaged"
    clips = {
        folder.relative_to(tmp_path / "p"): {n: bytes(b) for n, b in files.items()}
        for folder, files in pack.read(tmp_path / "p").items()
    }
    rng = np.random.default_rng(0)
    end = len(whole) - 100 * sum(map(len, clips.values()))  # where the list of files begins, about
    refused = 0
    for at in [*rng.integers(0, end, 40), *rng.integers(end, len(whole), 160)]:
        damaged = whole.copy()
        damaged[at] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        os.utime(path, ns=(at, at))  # as it would be later
        try:
            read = pack.read(path)
        except UserError:
            refused += 1
        else:  # a date
            assert {
                folder.relative_to(path): {n: bytes(b) for n, b in files.items()} for folder, files in read.items()
            } == clips
    assert refused > 100
    for length in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        os.utime(path, ns=(length, length))
        with pytest.raises(UserError, match="damaged: "):
            find(path)
    result = synthetic.call("train.py", "--data_root", path, "--logdir", tmp_path / "log", capfd=capfd)
    assert_one_line(result, path, "preprocess.py --pack")


def test_folders_below_a_pack_that_it_does_not_hold(root):
    path = packed(root)
    with pytest.raises(UserError, match="no such clip"):
        Clip(path / "main" / "a" / "9")
    with pytest.raises(UserError, match="no such clip"):
        Clip(Path("nowhere") / "a")


def test_clips_of_a_pack_can_be_judged(root):
    """Records depend on the pack, and copies of a sound are known in it."""
    path = packed(root)
    clips = find(path)
    assert evaluation_find._same_sound(clips[0], clips[0]) and not evaluation_find._same_sound(clips[0], clips[1])
    settings = Settings("checkpoint", root, ())
    job = Job("a", clip=clips[0].folder, other=clips[1].folder)
    assert path in list(kept.files_of(settings, job)) and clips[0].folder in list(kept.files_of(settings, job))
    job = Job("a", clip=root / "main" / "a" / "0")
    assert root / "main" / "a" / "0" / "audio.wav" in list(kept.files_of(settings, job))


def test_a_pack_that_may_not_be_read(root, tmp_path, monkeypatch):
    path = packed(root, tmp_path / "a.pack")

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(pack, "open", refuse, raising=False)
    with pytest.raises(UserError, match="a.pack: may not be read"):
        find(path)
