"""What stands behind the page: places in the line, files that go, limits, words, and the command's bad input."""

import threading
import time
import zlib

import cv2
import numpy as np
import pytest

from helpers.checks import ROOT, assert_one_line
from lipgan_keras.app import words
from lipgan_keras.app.desk import Desk
from lipgan_keras.app.faces import Seen
from lipgan_keras.app.limits import Limits
from lipgan_keras.app.visitors import Visitors
from lipgan_keras.config import SAMPLE_RATE
from lipgan_keras.media import audio_file
from lipgan_keras.utils.errors import UserError


def test_one_works_and_the_others_know_their_place():
    desk, go_on = Desk(waiting=2), threading.Event()
    jobs = [desk.join(lambda job: go_on.wait(30))]
    while desk.place(jobs[0]):
        time.sleep(0.01)
    jobs += [desk.join(lambda job: job.stop.is_set()) for _ in range(2)]
    assert [desk.place(job) for job in jobs] == [0, 1, 2]
    with pytest.raises(UserError, match="the line is full"):
        desk.join(print)
    desk.end(jobs[1])
    assert jobs[1].over.is_set() and jobs[1].result is None and desk.place(jobs[2]) == 1
    go_on.set()
    assert jobs[2].over.wait(30) and jobs[2].result is False and desk.place(jobs[2]) == 0


def test_work_that_fails_stops_no_other():
    desk = Desk(waiting=2)
    first, second = desk.join(lambda job: 1 / 0), desk.join(lambda job: "made")
    assert second.over.wait(30) and second.result == "made" and isinstance(first.error, ZeroDivisionError)


def test_time_left():
    desk = Desk(waiting=1)
    job = desk.join(lambda job: None)
    assert job.left is None
    job.progress(1, 9)
    time.sleep(0.2)
    job.progress(5, 9)
    assert 0.15 < job.left < 5 and (job.done, job.total) == (5, 9)


def upload(root, name):
    """A file as Gradio keeps it."""
    path = root / name / "face.png"
    path.parent.mkdir()
    path.write_bytes(b"1")
    return path


def test_files_go_with_their_visitor(tmp_path):
    visitors = Visitors(tmp_path, Desk(waiting=1))
    one, other = visitors.of("one"), visitors.of("other")
    assert visitors.of("one") is one and one.folder != other.folder
    alone, shared, elsewhere = upload(tmp_path, "alone"), upload(tmp_path, "shared"), tmp_path.parent / "elsewhere.png"
    elsewhere.touch()
    for path in (alone, shared, elsewhere):
        visitors.give(one, str(path))
    visitors.give(other, str(shared))
    one.result("video.mp4").touch()
    visitors.leave("one")
    assert not one.folder.exists() and not alone.parent.exists() and shared.exists() and elsewhere.exists()
    visitors.leave("other")
    assert not list(tmp_path.iterdir())


def test_a_visitor_who_goes_amid_the_work_leaves_nothing(tmp_path):
    """The work is told to stop, and what it writes until then goes too."""
    desk, began = Desk(waiting=1), threading.Event()
    visitors = Visitors(tmp_path, desk)
    visitor = visitors.of("one")

    def work(job):
        began.set()
        assert job.stop.wait(30)
        visitor.result("late.mp4").touch()

    visitor.job = desk.join(work)
    assert began.wait(30)
    visitors.leave("one")
    assert visitor.job.over.wait(30)
    end = time.monotonic() + 30
    while list(tmp_path.iterdir()) and time.monotonic() < end:
        time.sleep(0.01)
    assert not list(tmp_path.iterdir())


def test_uploads_that_nobody_has_are_swept(tmp_path):
    visitors = Visitors(tmp_path, Desk(waiting=1))
    visitor, theirs, orphan = visitors.of("one"), upload(tmp_path, "theirs"), upload(tmp_path, "orphan")
    (tmp_path / "examples").mkdir()
    visitors.give(visitor, str(theirs))
    visitors.sweep(age=3600)
    assert orphan.exists()
    visitors.sweep(age=-1)
    assert not orphan.exists() and theirs.exists() and visitor.folder.exists() and (tmp_path / "examples").exists()


def test_limits_are_said(tmp_path):
    limits = Limits(seconds=2, megabytes=1, megapixels=0.5)
    cv2.imwrite(str(tmp_path / "small.png"), np.zeros((500, 900, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "wide.png"), np.zeros((800, 900, 3), np.uint8))
    audio_file.save_wav(tmp_path / "short.wav", np.zeros(2 * SAMPLE_RATE))
    audio_file.save_wav(tmp_path / "long.wav", np.zeros(4 * SAMPLE_RATE))
    (tmp_path / "heavy.png").write_bytes(bytes(1_100_000))
    (tmp_path / "text.png").write_text("words " * 10)
    limits.check_face(tmp_path / "small.png")
    limits.check_sound(tmp_path / "short.wav")
    for check, name, said in (
        (limits.check_face, "wide.png", "has 900x800 pixels, 1 million, and 0.5 million are the most here"),
        (limits.check_face, "heavy.png", "has 1 MB, and 1 MB are the most here"),
        (limits.check_face, "text.png", "is a text file"),
        (limits.check_face, "gone.png", "is no longer here; give it again"),
        (limits.check_sound, "long.wav", "lasts 4 seconds, and 2 are the most here"),
        (limits.check_sound, "small.png", "is not a file with sound"),
        (limits.check_sound, "text.png", "is not a file with sound"),
    ):
        with pytest.raises(UserError, match=f"{name}: {said}"):
            check(tmp_path / name)


def test_a_picture_is_measured_before_it_is_decoded(tmp_path):
    """A bomb is one by what its beginning says."""
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 8, 3), np.uint8))
    data = bytearray((tmp_path / "a.png").read_bytes())
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    (tmp_path / "bomb.png").write_bytes(data)
    with pytest.raises(UserError, match="and 25 million are the most here"):
        Limits().check_face(tmp_path / "bomb.png")


def test_errors_in_words(capsys):
    face = "/tmp/lipgan_page_x/0f/photo.jpg"
    error = UserError(f"{face}: no face found; give a picture of a face that looks at the camera, or its --box")
    assert (
        words.told(error, face, None) == "photo.jpg: no face found; give a picture of a face that looks at the camera."
    )
    assert (
        words.told(UserError("--pads 9 9 0 0: exceeds the picture")) == "The room around the face exceeds the picture."
    )
    assert not capsys.readouterr().err
    assert "(RuntimeError)" in words.told(RuntimeError("secret"))
    assert "secret" in capsys.readouterr().err  # for the server's owner alone


def test_the_face_nearest_to_a_click():
    seen = Seen(np.zeros((100, 300, 3), np.uint8), np.array([[10, 10, 50, 50], [200, 0, 290, 90.0]]), True)
    assert seen.largest == 1 and [seen.at(*point) for point in ((30, 90), (160, 20), (299, 99))] == [0, 1, 1]
    drawn = [seen.drawn(chosen) for chosen in (0, 1, "all")]
    assert len({image.tobytes() for image in drawn}) == 3 and not seen.image.any()


def test_a_missing_extra_names_what_installs_it(script, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as u\nfind = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'gradio' else find(name, *a)\n"
    )
    done = script("app.py", env={"PYTHONPATH": f"{tmp_path}:{ROOT}"})
    assert_one_line(done, "the page needs gradio", "run: pip install -r requirements-app.txt", '"lipgan-keras[app]"')
    assert done.stdout == ""
