"""What evaluate.py finds, measures, keeps and says."""

import csv
import functools
import json
import os
import shutil

import cv2
import numpy as np
import pytest

from helpers.checks import assert_one_line
from helpers.synthetic import beeps, call, detect, number, numbered_image, steady, write
from lipgan_keras import audio, checkpoints, networks
from lipgan_keras.config import ModelConfig
from lipgan_keras.data import splits
from lipgan_keras.data.clip_folder import Clip
from lipgan_keras.data.dataset import Dataset
from lipgan_keras.evaluation import discriminator, fid, find, generated_clips, loaded, paired_videos
from lipgan_keras.evaluation import jobs as evaluation_jobs
from lipgan_keras.evaluation import kept as evaluation_kept
from lipgan_keras.evaluation import measure as evaluation_measure
from lipgan_keras.evaluation.config import EvalConfig
from lipgan_keras.evaluation.jobs import Job, Settings
from lipgan_keras.evaluation.metrics import images
from lipgan_keras.face import detector, regions
from lipgan_keras.media import audio_file
from lipgan_keras.utils import terminal
from lipgan_keras.utils.errors import UserError

CONFIG = ModelConfig("basic", "mel", 0.125, sync_frames=3, sync_width=0.125)
SOME = ["--metrics", "psnr", "lip_mae", "spurious_motion", "spurious_motion_worst", "opening_correlation"]


def talking(i, size=(128, 128), face=True, late=0, shade=0):
    """`synthetic.numbered_image` with a mouth that opens and shuts."""
    image = numbered_image(i % 256, size, face)
    x, y = size[0] // 2, round(0.62 * size[1])
    cv2.ellipse(image, (x, y), (12, 3 + round(4 + 4 * np.sin(i - late))), 0, 0, 360, (20, 20, 40 + shade), -1)
    return image


def video_of(path, count=40, fps=25, sound=True, draw=talking, **how):
    path.parent.mkdir(parents=True, exist_ok=True)
    sound = (beeps([(0.4, 0.9)], count / fps), 16000) if sound else None
    return write(path, steady(fps, count / fps), count / fps, draw=draw, audio=sound, **how)


@pytest.fixture
def quick(monkeypatch, capfd, tmp_path):
    """A function: run evaluate.py in this process, with a detector that is exact and fast."""
    monkeypatch.setattr(detector, "detect", detect)

    def run(*flags):
        return call("evaluate.py", *flags, "--out", tmp_path / "out", "--num_workers", 1, capfd=capfd)

    return run


def results_of(folder):
    results = json.loads((folder / "results.json").read_text())
    rows = list(csv.DictReader((folder / "results.csv").read_text().splitlines()))
    assert [row["name"] for row in rows] == [video["name"] for video in results["videos"]]
    return results, {video["name"]: video for video in results["videos"]}


# ------------------------------------------------------------------------------------------------- folders of videos


def test_pairs_and_what_is_wrong_with_some(quick, tmp_path):
    truth, generated = tmp_path / "truth", tmp_path / "generated"
    video_of(truth / "a" / "same.mp4")
    video_of(generated / "a" / "same.mp4")
    video_of(truth / "short.mp4", count=40)
    video_of(generated / "short.mp4", count=25, fps=12.5, size=(256, 256), draw=lambda i: talking(2 * i, (256, 256)))
    video_of(truth / "faceless.mp4")
    video_of(generated / "faceless.mp4", draw=lambda i: numbered_image(i, face=False))
    video_of(truth / "blank.mp4", draw=lambda i: numbered_image(i, face=False))
    video_of(generated / "blank.mp4")
    video_of(truth / "broken.mp4")
    (generated / "broken.mp4").write_bytes((generated / "a" / "same.mp4").read_bytes()[:3000])
    video_of(truth / "lonely.mp4")
    video_of(generated / "stray.mp4")
    (truth / "stray.avi").write_text("")
    (truth / "stray.mov").write_text("")
    done = quick("--generated", generated, "--truth", truth, *SOME, "--report")
    assert done.returncode == 1 and done.stderr.strip().splitlines()[-1].count("5 of 7 could not be measured") == 1
    results, found = results_of(tmp_path / "out")
    assert results["counts"] == {"pairs": 7, "ok": 2, "failed": 5, "noted": 1}
    assert (tmp_path / "out" / "report.html").is_file()
    for name, words in {
        "faceless": ("generated/faceless.mp4", "no face"),
        "blank": ("truth/blank.mp4", "no face"),
        "broken": ("broken.mp4",),
        "lonely": ("generated", "no video of that name"),
        "stray": ("truth", "2 videos of that name"),
    }.items():
        assert found[name]["status"] == "failed" and set(found[name]["values"].values()) == {None}
        assert all(word in found[name]["reason"] for word in words) and f"failed: {name}" in done.stderr
    assert found["a/same"]["values"]["psnr"] == images.MOST_PSNR and found["a/same"]["values"]["spurious_motion"] == 0
    assert found["a/same"]["values"]["opening_correlation"] == pytest.approx(1)
    assert found["a/same"]["frames"] == found["a/same"]["faces"] == 40
    notes = " ".join(found["short"]["notes"])
    assert all(words in notes for words in ("1.60", "12.50 frames/s", "256x256")) and found["short"]["frames"] == 20
    assert results["summary"]["psnr"]["n"] == 2 and found["short"]["values"]["psnr"] < 50


class Scorer:
    """In place of SyncNet."""

    def score(self, path, crop):
        if "bad" in str(path):
            raise UserError(f"{path}: is too short")
        return {"lse_d": 7.0 + crop, "lse_c": 2.5, "offset": -1, "distances": [9.5] * 30 + [7.0 + crop]}


def test_sync_by_syncnet(quick, tmp_path, monkeypatch):
    """Scores stand in the record; where there are none, it says why."""
    monkeypatch.setattr(loaded, "syncnet", lambda path: Scorer())
    for name, sound in (("good", True), ("bad", True), ("silent", False)):
        for side in ("truth", "generated"):
            video_of(tmp_path / side / f"{name}.mp4", 10, sound=sound)
    flags = ["--generated", tmp_path / "generated", "--truth", tmp_path / "truth", "--syncnet", tmp_path]
    assert quick(*flags, "--metrics", "lse_d", "lse_c", "av_offset", "psnr").returncode == 0
    results, found = results_of(tmp_path / "out")
    assert found["good"]["values"] == {"lse_d": 8.0, "lse_c": 2.5, "av_offset": -1.0, "psnr": images.MOST_PSNR}
    assert len(found["good"]["curves"]["lse_distances"]) == 31 and results["summary"]["lse_d"]["n"] == 1
    for name, words in (("bad", "is too short"), ("silent", "no sound")):
        assert found[name]["values"]["lse_d"] is None and words in found[name]["notes"][0]
    assert results["counts"] == {"pairs": 3, "ok": 3, "failed": 0, "noted": 2}


def test_frames_are_paired_by_time(tmp_path, monkeypatch):
    monkeypatch.setattr(detector, "detect", detect)
    truth = video_of(tmp_path / "truth.mp4", 30, 25, draw=numbered_image)
    generated = video_of(tmp_path / "generated.mp4", 24, 12.5, draw=lambda i: numbered_image(100 + i))
    both = [
        (number(pair.generated.image) - 100, number(pair.truth.image)) for pair in paired_videos.pairs(generated, truth)
    ]
    # Each in the middle of its time, of two the earlier; the truth ends there
    assert both == [(i, 2 * i) for i in range(15)]
    generated = video_of(tmp_path / "faster.mp4", 48, 40, draw=lambda i: numbered_image(100 + i))
    both = [
        (number(pair.generated.image) - 100, number(pair.truth.image)) for pair in paired_videos.pairs(generated, truth)
    ]
    assert both == [(i, int((i + 0.5) / 1.6 - 0.05)) for i in range(48)]


def test_chunks_go_on_but_not_across_a_gap(tmp_path, monkeypatch):
    """The same figures whatever the size of a chunk, and no movement measured from before a gap to after it."""
    monkeypatch.setattr(detector, "detect", detect)

    def draw(i):
        return numbered_image(i, face=False) if i in (20, 21) else talking(i)

    truth, found = video_of(tmp_path / "truth.mp4", draw=draw), []
    generated = video_of(tmp_path / "generated.mp4", draw=lambda i: cv2.convertScaleAbs(draw(i), beta=3 * (i % 2)))
    job = Job("one", truth, generated)
    settings = Settings("generated", tmp_path, ("psnr", "spurious_motion", "spurious_motion_worst"))
    for size in (7, 100):
        monkeypatch.setattr(evaluation_jobs, "CHUNK", size)
        found.append(evaluation_measure.measure(settings, job))
    assert found[0] == found[1] and found[0]["status"] == "ok" and found[0]["faces"] == 38
    assert "2 of 40" in found[0]["notes"][0]
    chunks = list(paired_videos.chunks(enumerate(paired_videos.pairs(generated, truth))))
    assert [(chunk[0][0], chunk[-1][0], overlap) for chunk, overlap in chunks] == [(0, 19, 0), (22, 39, 0)]


def test_what_was_measured_is_kept(quick, tmp_path, monkeypatch):
    for name in ("a", "b"):
        for side in ("truth", "generated"):
            video_of(
                tmp_path / side / f"{name}.mp4", 20, draw=lambda i, side=side: talking(i, shade=30 * (side == "truth"))
            )
    flags = ["--generated", tmp_path / "generated", "--truth", tmp_path / "truth"]
    measured, measure = [], evaluation_measure.measure

    def counting(settings, job):
        measured.append(job.name)
        return measure(settings, job)

    monkeypatch.setattr(evaluation_measure, "measure", counting)
    assert quick(*flags, "--metrics", "psnr").returncode == 0
    first = results_of(tmp_path / "out")[0]
    assert quick(*flags, "--metrics", "psnr").returncode == 0
    assert measured == ["a", "b"] and results_of(tmp_path / "out")[0]["videos"] == first["videos"]
    os.utime(tmp_path / "generated" / "a.mp4", (1, 1))  # the content decides
    video_of(tmp_path / "generated" / "b.mp4", 20, draw=lambda i: talking(i, shade=60))
    quick(*flags, "--metrics", "psnr")
    assert measured == ["a", "b", "b"]
    quick(*flags, "--metrics", "psnr", "lip_mae", "--max_videos", 1)
    assert measured == ["a", "b", "b", "a"]


def test_names_that_are_long_or_no_text(quick, tmp_path, monkeypatch):
    """One odd name stops nothing, and what is printed and written stays readable."""
    monkeypatch.setattr(
        evaluation_measure,
        "measure",
        lambda settings, job: evaluation_jobs.empty(settings, job) | {"values": {"psnr": 1.0}},
    )
    names = ["x" * 251, "\u65e5" * 80, "two\nlines\x1b[2J", "\u00e4 'b' \"c\" <i>", os.fsdecode(b"bad\xff")]
    for side in ("truth", "generated"):
        (tmp_path / side).mkdir()
        for name in names:
            (tmp_path / side / f"{name}.mp4").write_text("")
    done = quick("--generated", tmp_path / "generated", "--truth", tmp_path / "truth", "--metrics", "psnr", "--report")
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert (
        sorted(video["name"] for video in results["videos"]) == sorted(names)
        and len(list((tmp_path / "out" / "videos").iterdir())) == 5
    )
    assert "\\udcff" in (tmp_path / "out" / "results.csv").read_text("utf-8")
    assert "<i>" not in (tmp_path / "out" / "report.html").read_text("utf-8")
    for text in ("\x1b\n", "\udcff"):
        assert terminal.printable(text).isprintable()


def test_videos_of_other_results_are_none_of_these(tmp_path):
    """By default results lie below results/, which may be what is measured."""
    for name in (
        "a.mp4",
        "videos/b.mp4",
        "evaluation/other/videos/c.mp4",
        "evaluation/this/videos/d.mp4",
        "e/videos/f.mp4",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    for folder in (tmp_path, tmp_path / "evaluation" / "other"):
        (folder / "results.json").write_text("")
        (folder / "results.csv").write_text("")
    assert set(find._videos(tmp_path, tmp_path / "evaluation" / "this")) == {"a", "videos/b", "e/videos/f"}


def test_one_video_gives_no_interval(quick, tmp_path):
    for side in ("truth", "generated"):
        video_of(tmp_path / side / "a.mp4", 10)
    done = quick("--generated", tmp_path / "generated", "--truth", tmp_path / "truth", "--metrics", "psnr", "--report")
    summed = results_of(tmp_path / "out")[0]["summary"]["psnr"]
    assert summed == {"mean": images.MOST_PSNR, "low": None, "high": None, "n": 1} and "too narrow" in done.stdout


def test_records_depend_on_all_that_made_them(tmp_path, monkeypatch):
    """Any file of a clip, and the code of the measures."""
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.jpg").write_text("picture")
    settings = Settings("checkpoint", tmp_path, ("psnr",))
    job = Job("one", clip=tmp_path / "one", other=tmp_path / "other")
    keys = [evaluation_kept.key_of(*evaluation_kept.files_of(settings, job))]
    with open(tmp_path / "one" / "0.jpg", "a") as file:
        file.write("!")
    keys.append(evaluation_kept.key_of(*evaluation_kept.files_of(settings, job)))
    (tmp_path / "one" / "more").mkdir()
    for text in ("one", "two"):
        (tmp_path / "one" / "more" / "1.jpg").write_text(text)
        keys.append(evaluation_kept.key_of(*evaluation_kept.files_of(settings, job)))
    os.utime(tmp_path / "one" / "more" / "1.jpg", (1, 1))
    assert keys[-1] == evaluation_kept.key_of(*evaluation_kept.files_of(settings, job))  # the content decides
    monkeypatch.setattr(evaluation_kept, "_code", lambda: "another")
    keys.append(evaluation_kept.key_of(*evaluation_kept.files_of(settings, job)))
    assert len(set(keys)) == 5
    root = evaluation_kept.ROOT
    assert all((root / name).exists() for name in evaluation_kept.UNHEARD)
    measures = [*(root / "evaluation" / "metrics").iterdir(), root / "face" / "landmarks68.py"]
    measures += [root / "evaluation" / f"{name}.py" for name in ("paired_videos", "generated_clips", "syncnet", "fid")]
    assert not any(path.relative_to(root).as_posix().startswith(evaluation_kept.UNHEARD) for path in measures)


def test_features_that_are_gone_are_made_anew(quick, tmp_path, monkeypatch):
    """A FID never leaves out a video in silence, nor takes in features of what was there before."""
    monkeypatch.setattr(fid, "FEATURES", 8)
    monkeypatch.setattr(fid, "Statistics", functools.partial(fid.Statistics, 8))
    monkeypatch.setattr(loaded, "inception", lambda _: lambda crops: np.ones((len(crops), 8), "float32"))
    for side in ("truth", "generated"):
        video_of(tmp_path / side / "a.mp4", 11)
    (tmp_path / "weights.h5").write_text("")
    flags = [
        "--generated",
        tmp_path / "generated",
        "--truth",
        tmp_path / "truth",
        "--inception",
        tmp_path / "weights.h5",
    ]
    quick(*flags, "--metrics", "psnr", "fid")
    assert results_of(tmp_path / "out")[0]["set"]["fid"] == pytest.approx(0, abs=1e-3)
    kept = tmp_path / "out" / "videos" / "a.fid.npz"
    assert np.load(kept)["truth"].shape == (3, 8)
    kept.unlink()
    quick(*flags, "--metrics", "psnr", "fid")
    assert kept.is_file() and results_of(tmp_path / "out")[0]["set"]["fid"] is not None


# --------------------------------------------------------------------------------------------------- preprocessed clips


def open_mouth(x):
    """(96,96,3): a face that is nothing but a mouth, open by 0..1."""
    crop = np.full((96, 96, 3), 150, "uint8")
    return cv2.ellipse(crop, (48, 62), (9, 1 + round(6 * float(x))), 0, 0, 360, (20, 20, 30), -1, cv2.LINE_AA)


@pytest.fixture
def clips(tmp_path):
    """Two preprocessed clips whose mouths open with the loudness of their sound."""
    landmarks = regions.default_landmarks(96)
    for seed in range(2):
        folder = tmp_path / "crops" / "main" / "speaker" / f"{seed}"
        folder.mkdir(parents=True)
        rng = np.random.default_rng(seed)
        loud = np.repeat(rng.uniform(0, 1, 12), 4)[:45]
        wave = np.concatenate([rng.standard_normal(640) * 0.2 * 100 ** (x - 1) for x in loud]).astype("float32")
        for i, x in enumerate(loud):
            cv2.imwrite(str(folder / f"{i}.jpg"), open_mouth(x))
        audio_file.save_wav(folder / "audio.wav", wave)
        n = len(loud)
        np.savez(
            folder / "landmarks.npz",
            frames=np.arange(n),
            time=np.arange(n) / 25,
            duration=np.full(n, 0.04),
            img_size=96,
            landmarks=np.tile(landmarks, (n, 1, 1)),
            box=np.tile([0.0, 0, 96, 96], (n, 1)),
        )
    return tmp_path / "crops"


@pytest.fixture(scope="module")
def held():
    """Networks that nobody changes."""
    return {"generator": networks.build(CONFIG), "sync": networks.build(CONFIG, "sync")}


@pytest.fixture
def checkpoint(held, tmp_path):
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "train.txt").write_text("speaker/1\n")
    (lists / "val.txt").write_text("speaker/0\nspeaker/nowhere\n")
    checkpoints.save_checkpoint(tmp_path / "one.h5", held, CONFIG, None, {"filelists": str(lists), "seed": 0})
    return tmp_path / "one.h5"


class Copying:
    """A generator that has learned nothing but to copy the identity frame."""

    config = CONFIG

    def __call__(self, face, window):
        return face[..., :3]


class Hearing:
    """One that opens the mouth as far as its window is loud in the middle."""

    config = CONFIG

    def __call__(self, face, window):
        middle = window.shape[2] // 2
        loud = (window[:, :, middle - 1 : middle + 2, 0].mean(axis=(1, 2)) + 1.5) / 2
        return np.stack([open_mouth(x) for x in np.clip(loud, 0, 1)]).astype("float32") / 255


def measured(clips, tmp_path, monkeypatch, generator=None, baseline=None, identity="first"):
    names = ("psnr", "lip_mae", "opening_correlation", "murmur", *sorted(evaluation_jobs.SENSITIVITY))
    monkeypatch.setattr(loaded, "generator", lambda *_: generator)
    monkeypatch.setattr(loaded, "generator_config", lambda *_: CONFIG)
    settings = Settings("checkpoint", tmp_path / "out", names, "one.h5", baseline=baseline, identity=identity)
    speaker = clips / "main" / "speaker"
    record = evaluation_measure.measure(settings, Job("one", clip=speaker / "0", other=speaker / "1"))
    assert record["status"] == "ok", record["reason"]
    return record


def test_copying_the_identity_frame_scores_as_a_frozen_mouth(clips, tmp_path, monkeypatch):
    """It is deaf and still, and knows nothing of the truth; who hears is neither."""
    copied = measured(clips, tmp_path, monkeypatch, Copying())
    frozen = measured(clips, tmp_path, monkeypatch, baseline="frozen")
    assert copied == frozen and frozen["values"]["opening_correlation"] == 0
    assert {frozen["values"][name] for name in evaluation_jobs.SENSITIVITY} == {1.0} and frozen["values"][
        "murmur"
    ] is None
    heard = measured(clips, tmp_path, monkeypatch, Hearing())
    assert heard["values"]["opening_correlation"] > 0.7 and heard["values"]["lip_mae"] < frozen["values"]["lip_mae"]
    assert min(heard["values"][name] for name in evaluation_jobs.SENSITIVITY - {"sensitivity_3"}) > 1.2
    assert heard["curves"]["lip_error_by_shift"]["10"] > heard["curves"]["lip_error_by_shift"]["0"]
    assert measured(clips, tmp_path, monkeypatch, baseline="source")["values"]["psnr"] == images.MOST_PSNR


def test_what_a_clip_lacks_is_said(clips, tmp_path, monkeypatch):
    speaker = clips / "main" / "speaker"
    (speaker / "0" / "20.jpg").unlink()
    assert measured(clips, tmp_path, monkeypatch, baseline="frozen")["notes"] == ["no crop of 1 of 33 true frames"]
    (speaker / "0" / "landmarks.npz").unlink()
    np.savez(speaker / "0" / "mels.npz", spec=audio.melspectrogram(audio_file.load_audio(speaker / "0" / "audio.wav")))
    (speaker / "0" / "audio.wav").unlink()
    record = measured(clips, tmp_path, monkeypatch, baseline="frozen")
    assert "no landmarks" in record["notes"][0] and record["notes"][2].startswith("no murmur: ")
    assert record["values"]["murmur"] is None and record["values"]["sensitivity_3"] == 1


def test_frames_that_are_not_shown_are_not_measured(clips, tmp_path, monkeypatch):
    for name in "01":
        path = clips / "main" / "speaker" / name / "landmarks.npz"
        with np.load(path) as saved:
            arrays = dict(saved)
        arrays["duration"][-6:] = 0
        np.savez(path, **arrays)
    heard, windows = set(), Dataset.windows

    def hear(data, clip, indices, *others):
        heard.update(int(i) for i in indices)
        return windows(data, clip, indices, *others)

    monkeypatch.setattr(Dataset, "windows", hear)
    record = measured(clips, tmp_path, monkeypatch, Hearing())
    assert record["frames"] == 45 - 6 - evaluation_jobs.IDENTITY_DISTANCE and not record["notes"]
    assert max(heard) == 45 - 6 - 1  # by the right sound, the wrong ones, and the other clip's


def test_the_network_never_sees_the_mouth_that_is_measured(clips, tmp_path, monkeypatch):
    seen = []

    class Looking(Copying):
        def __call__(self, face, window):
            seen.append(face)
            return face[..., :3]

    record = measured(clips, tmp_path, monkeypatch, Looking())
    first = cv2.imread(str(clips / "main" / "speaker" / "0" / "0.jpg")) / 255
    for face in seen:
        assert np.allclose(face[..., :3], first, atol=1e-6) and not face[:, 48:, :, 3:].any()
    assert record["frames"] == record["faces"] == 45 - evaluation_jobs.IDENTITY_DISTANCE


@pytest.mark.parametrize("identity, frames", [("random", 44), ("far", 45)])
def test_other_identity_frames(clips, tmp_path, monkeypatch, identity, frames):
    """A random one, which alone is not measured; the furthest one, so that of a short clip no frame is left out."""
    seen = []

    class Looking(Copying):
        def __call__(self, face, window):
            seen.append(np.rint(255 * face[..., :3]).astype(np.uint8))
            return face[..., :3]

    record = measured(clips, tmp_path, monkeypatch, Looking(), identity=identity)
    assert record["frames"] == frames and not record["notes"]
    first, last = (cv2.imread(str(clips / "main" / "speaker" / "0" / f"{n}.jpg")).tobytes() for n in (0, 44))
    shown = {image.tobytes() for image in np.concatenate(seen)}
    assert shown == {first, last} if identity == "far" else len(shown) == 1 and first not in shown
    frozen = measured(clips, tmp_path, monkeypatch, baseline="frozen", identity=identity)
    assert frozen["values"]["lip_mae"] == record["values"]["lip_mae"]


def test_the_protocol_of_a_paper(quick, clips, checkpoint, tmp_path):
    """It fixes flags, says which, and refuses others."""
    (tmp_path / "lrw" / "BRING").mkdir(parents=True)
    (clips / "main" / "speaker").rename(tmp_path / "lrw" / "BRING" / "test")
    flags = ["--checkpoint", checkpoint, "--data_root", tmp_path / "lrw", "--protocol", "lipgan-lrw"]
    done = quick(*flags)
    assert done.returncode == 0, done.stderr
    assert "lipgan-lrw: table 5 of LipGAN" in done.stdout and "not stated in the paper: how faces" in done.stdout
    results, found = results_of(tmp_path / "out")
    assert set(found) == {"BRING/test/0", "BRING/test/1"} and {one["frames"] for one in found.values()} == {44}
    assert {"psnr", "ssim"} <= set(results["summary"]) and "protocol" in results["settings"]
    assert quick(*flags, "--metrics", "psnr", "ssim", "lmd").returncode == 0  # what it fixes, said in full
    done = quick(*flags, "--identity", "far")
    assert_one_line(done, "--identity far: --protocol lipgan-lrw has random")
    done = quick(*flags[:-1], "wav2lip")
    assert_one_line(done, "--protocol wav2lip: measures a filelist")


@pytest.mark.slow
def test_a_checkpoint_on_the_clips_that_it_held_out(quick, clips, checkpoint, tmp_path):
    """Its clips are made and kept, its own discriminator asked, and a listed clip that is not there is no secret."""
    wanted = ["lip_mae", "sensitivity_5", "sync_accuracy", "lse_d", "fid"]
    done = quick("--checkpoint", checkpoint, "--data_root", clips, "--report", "--metrics", *wanted)
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert done.stdout.count("Sync preference") == 1 and "<dt>Sync preference" in page and "<dt>sync" not in page
    assert done.returncode == 1 and "1 of 2 could not be measured" in done.stderr, done.stderr
    results, found = results_of(tmp_path / "out")
    assert (
        "val.txt names it" in found["speaker/nowhere"]["reason"]
        and "12 frames after" in results["settings"]["identity"]
    )
    assert set(results["missing"]) == {"lse_d", "fid"} and "--syncnet" in results["missing"]["lse_d"]
    one = found["main/speaker/0"]
    named = {"sync_accuracy", "sync_preference"}  # the earlier name, and the one that misleads nobody
    assert one["status"] == "ok" and set(one["values"]) == {"lip_mae", "sensitivity_5", *named}
    for values in (one["values"], results["summary"]):
        assert values["sync_accuracy"] == values["sync_preference"]
    assert results["metrics"]["sync_accuracy"]["same_as"] == "sync_preference"
    assert 0 <= one["values"]["sync_accuracy"] <= 1 and one["values"]["sensitivity_5"] == pytest.approx(1, abs=0.05)
    for side in ("generated", "truth"):
        assert len(audio_file.load_audio(tmp_path / "out" / one["files"][side])) == pytest.approx(33 * 640, abs=1100)
    assert results["summary"]["sensitivity_5"]["mean"] == pytest.approx(one["values"]["sensitivity_5"])


def test_results_of_another_checkpoint_are_not_written_over(quick, clips, checkpoint, tmp_path):
    flags = ["--data_root", clips, "--metrics", "psnr", "--max_videos", 1]
    assert quick("--checkpoint", checkpoint, *flags).returncode == 0
    before = (tmp_path / "out" / "results.json").read_text()
    other = shutil.copy(checkpoint, tmp_path / "other.h5")
    same, lists = ["--checkpoint", checkpoint], tmp_path / "mine"
    lists.mkdir()
    (lists / "val.txt").write_text("speaker/1\n")
    for changed in (["--checkpoint", other], [*same, "--baseline", "frozen"], [*same, "--filelists", lists]):
        assert_one_line(quick(*changed, *flags), "results.json", "another --", "--out")
    assert (tmp_path / "out" / "results.json").read_text() == before
    assert quick(*same, *flags, "--report").returncode == 0
    results = json.loads(before)
    del results["settings"]["of"]["filelists"]  # of before they were named there
    (tmp_path / "out" / "results.json").write_text(json.dumps(results))
    assert quick(*same, *flags, "--filelists", lists).returncode == 0


def test_a_broken_clip_is_counted(quick, clips, checkpoint, tmp_path):
    good = next(folder for folder in clips.rglob("0") if folder.is_dir())
    shutil.copytree(good, good.with_name("2"))
    (good.with_name("2") / "landmarks.npz").write_bytes(b"PK")
    (tmp_path / "train.txt").write_text("speaker/1")
    (tmp_path / "val.txt").write_text("speaker/0\nspeaker/2")
    done = quick("--checkpoint", checkpoint, "--data_root", clips, "--metrics", "psnr", "--filelists", tmp_path)
    assert done.returncode == 1
    results, found = results_of(tmp_path / "out")
    assert results["counts"]["failed"] == 1 and results["counts"]["ok"] == 1
    assert "landmarks.npz" in found["speaker/2"]["reason"]


def test_wrong_sound_is_as_wrong_as_it_says():
    """By the numbers of the frames, of which some may be missing."""
    numbers = np.array([0, 1, 2, 3, 10, 11, 12, 13, 14])
    found = numbers[generated_clips.shifted(numbers, np.arange(9), 3)] - numbers
    assert found.tolist() == [3, 9, 8, 7, 3, 3, -9, -3, -3] and np.abs(found).min() == 3


def test_another_clips_sound_is_not_a_copy_of_its_own(clips, checkpoint, tmp_path):
    speaker = clips / "main" / "speaker"
    zero, one = (Clip(speaker / name) for name in "01")
    assert not find._same_sound(zero, one) and find._same_sound(zero, zero)
    one.source = zero.name  # recast: it says the same in another voice
    assert find._same_sound(zero, one)
    shutil.copytree(speaker / "0", speaker / "0_mirrored")
    (tmp_path / "lists" / "val.txt").write_text("speaker/0\nspeaker/0_mirrored\nspeaker/nowhere\nspeaker/nowhere\n")

    class Flags:
        data_root, filelists, split = str(clips), None, None

    Flags.checkpoint = str(checkpoint)
    (one, mirrored, nowhere), _ = find.held_out_jobs(Flags)
    assert one.other is None and mirrored.other is None and nowhere.problem
    shutil.copytree(speaker / "1", speaker / "2")
    (tmp_path / "lists" / "val.txt").write_text("main/speaker/0\nspeaker/0_mirrored\nmain/speaker/2\n")
    jobs, _ = find.held_out_jobs(Flags)
    assert [job.other and job.other.name for job in jobs] == ["2", "2", "0"]


def test_which_clips_are_measured_and_why(quick, clips, checkpoint, held, tmp_path, capfd):
    """Those that the checkpoint names as held out, of val.txt whatever it names, or all where it knows none."""
    zero, one = (Clip(clips / "main" / "speaker" / name, clips) for name in "01")
    kept = splits.Split.of(([one], [zero]), 0.05).stored()
    held = {"generator": held["generator"]}
    named, unnamed = tmp_path / "named.h5", tmp_path / "unnamed.h5"
    checkpoints.save_checkpoint(tmp_path / "whole.h5", held, CONFIG, training={"seed": 0}, split=kept)
    checkpoints.export(tmp_path / "whole.h5", named)
    checkpoints.save_checkpoint(unnamed, held, CONFIG)

    def measured(checkpoint, data_root, filelists=None):
        options = EvalConfig(checkpoint=str(checkpoint), data_root=str(data_root), filelists=filelists)
        jobs, why = find.held_out_jobs(options)
        assert capfd.readouterr().out == f"{data_root}: measures {why}\n"
        return [job.name for job in jobs if not job.problem], why

    assert measured(named, clips) == (["main/speaker/0"], "1 of 2 clips, those that training held out")
    (tmp_path / "lists" / "val.txt").write_text("speaker/1\n")
    name, why = measured(named, clips, str(tmp_path / "lists"))
    assert name == ["main/speaker/1"] and "val.txt names; training has seen 1 of them" in why
    both, nothing = ["main/speaker/0", "main/speaker/1"], "nothing is known of what"
    assert measured(unnamed, clips) == (both, f"all 2 clips; {nothing} {unnamed} was trained on")
    (clips / "main" / "speaker").rename(clips / "main" / "stranger")
    names, why = measured(named, clips)
    assert len(names) == 2 and why == "all 2 clips, as training knew none of them"
    (clips / "main" / "stranger" / "1" / "landmarks.npz").write_bytes(b"PK")
    done = quick("--checkpoint", named, "--data_root", clips, "--metrics", "psnr")
    results, found = results_of(tmp_path / "out")
    assert done.returncode == 1 and "landmarks.npz" in found["main/stranger/1"]["reason"]
    assert results["settings"]["clips"] == "all 1 clips, as training knew none of them"
    assert f"{clips}: measures {results['settings']['clips']}" in done.stdout


def test_sound_that_fits_beats_sound_that_does_not():
    rng = np.random.default_rng(0)
    sounds = rng.standard_normal((60, 16))
    sounds /= np.linalg.norm(sounds, axis=1, keepdims=True)
    firsts = np.r_[:30, 40:70]  # with a gap
    assert discriminator.share_in_sync(firsts, sounds, sounds) == 1
    assert discriminator.share_in_sync(firsts, np.roll(sounds, 5, axis=0), sounds) < 0.6  # 5 frames late
    assert discriminator.share_in_sync(firsts, np.ones_like(sounds), np.ones_like(sounds)) == 0.5
    assert np.isnan(discriminator.share_in_sync(firsts[:3], sounds[:3], sounds[:3]))  # too short


# ------------------------------------------------------------------------------------------------------ Wav2Lip's lists


@pytest.mark.slow
def test_a_list_of_sounds_and_faces(quick, checkpoint, tmp_path, monkeypatch):
    from lipgan_keras import lipsync

    made = []

    class Stub:
        def __init__(self, *_, **options):
            pass

        def run(self, face, sound, outfile, **options):
            made.append((face.stem, sound.stem))
            if face.stem == "3":
                raise RuntimeError("what nobody thought of")
            video_of(outfile, draw=lambda i: talking(i, late=2))

    monkeypatch.setattr(lipsync, "LipSync", Stub)
    for name in ("a/1", "b/2", "b/3"):
        video_of(tmp_path / "lrs2" / f"{name}.mp4")
    (tmp_path / "list.txt").write_text("a/1 b/2\nb/2.mp4 a/1.mp4\na/1 a/none\na/1 b/3\n")
    flags = ["--checkpoint", checkpoint, "--data_root", tmp_path / "lrs2", "--filelist", tmp_path / "list.txt"]
    flags += ["--metrics", "spurious_motion", "sharpness_ratio", "sync_accuracy", "psnr"]
    done = quick(*flags)
    assert done.returncode == 1 and "2 of 4" in done.stderr and made == [("2", "1"), ("1", "2"), ("3", "1")]
    results, found = results_of(tmp_path / "out")
    assert set(found) == {"00001_b-2_a-1", "00002_a-1_b-2", "00003_a-none_a-1", "00004_b-3_a-1"}
    assert "RuntimeError: what nobody" in found["00004_b-3_a-1"]["reason"] and "psnr" in results["missing"]
    assert "a/none.mp4: no such file; line 3" in found["00003_a-none_a-1"]["reason"]
    one = found["00001_b-2_a-1"]
    assert one["files"] == {"generated": "videos/00001_b-2_a-1.mp4", "truth": str(tmp_path / "lrs2" / "b" / "2.mp4")}
    assert all(one["values"][name] is not None for name in ("spurious_motion", "sharpness_ratio", "sync_accuracy"))
    quick(*flags)
    assert made[3:] == [("3", "1")]  # the others are kept
    # ReSyncED's lists have the face first, and SyncNet is to see whole frames.
    (tmp_path / "list.txt").write_text("a/1 b/2\n")
    shutil.rmtree(tmp_path / "out")
    done = quick(*flags[:6], "--protocol", "resynced")
    results, found = results_of(tmp_path / "out")
    assert made[4:] == [("1", "2")] and set(found) == {"00001_a-1_b-2"}
    assert set(results["missing"]) == {"lse_d", "lse_c", "fid"} and "resynced: ReSyncED" in done.stdout
    assert "not stated in the paper: as in table 1" in done.stdout


# ------------------------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    "flags, words",
    [
        ([], "--generated and --truth are needed"),
        (["--generated", "."], "go together"),
        (["--generated", ".", "--truth", ".", "--checkpoint", "."], "--checkpoint"),
        (["--generated", "nowhere", "--truth", "."], "no such file"),
        (["--generated", ".", "--truth", "."], "holds no video"),
        (["--generated", ".", "--truth", ".", "--metrics", "beauty"], "psnr"),
        (["--checkpoint", "text.h5", "--data_root", "."], "text.h5: is not an HDF5 file"),
        (
            ["--checkpoint", "text.h5", "--data_root", ".", "--filelist", "text.h5", "--baseline", "frozen"],
            "--baseline",
        ),
    ],
)
def test_bad_flags(quick, tmp_path, monkeypatch, flags, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.h5").write_text("no weights")
    done = quick(*flags)
    assert done.returncode == 2 and words in done.stderr and len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_lists_that_are_none(checkpoint, tmp_path):
    class Flags:
        data_root, filelist, order = str(tmp_path), str(tmp_path / "list.txt"), "sound_face"

    for text, words in (("", "is empty"), ("a b\n\nonly\n", "line 2 has 1 words")):
        (tmp_path / "list.txt").write_text(text)
        with pytest.raises(UserError, match=words):
            find.dubbed_jobs(Flags, tmp_path)
