"""Outputs that hurt nothing: inputs, foreign files, what a killed run leaves, and full discs."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.checks import ROOT
from lipgan_keras.utils import files, jsontext
from lipgan_keras.utils.errors import UserError

OURS = b"made by lipgan_keras"


def refused(words, *arguments, **options):
    with pytest.raises(UserError, match=words):
        files.check_outfile(*arguments, **options)


def test_an_input_is_known_by_any_name(tmp_path):
    source = tmp_path / "a.mp4"
    source.write_bytes(OURS)
    os.link(source, tmp_path / "hard.mp4")
    (tmp_path / "soft.mp4").symlink_to(source)
    (tmp_path / "folder").symlink_to(tmp_path)
    for name in ("a.mp4", "hard.mp4", "soft.mp4", "folder/a.mp4"):
        refused("is an input too", tmp_path / name, None, "elsewhere", source)
    files.check_outfile(tmp_path / "a.mp4", tmp_path / "none.mp4", None)


def test_only_an_earlier_output_is_written_over(tmp_path):
    out = tmp_path / "out.mp4"
    for content in (None, b"", b"in front " + OURS):
        if content is not None:
            out.write_bytes(content)
        files.check_outfile(out)
    out.write_bytes(b"holiday")
    refused("no earlier output", out)
    refused("let its name end in .json", out, suffix=".json")
    files.check_outfile(out, suffix=None, mark=lambda path: path.read_bytes() == b"holiday")
    table = tmp_path / "table.json"
    table.write_text('{"pairs": 1, "clips": 2, "more": 3}')
    files.check_outfile(table, suffix=".json", mark=jsontext.with_keys("pairs", "clips"))
    for text in ('{"pairs": 1}', "[]", "no JSON"):
        table.write_text(text)
        refused("no earlier output", table, suffix=".json", mark=jsontext.with_keys("pairs", "clips"))


def test_what_is_no_file_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    for path, words in ((tmp_path / "pipe.mp4", "is a pipe"), ("/dev/null", "is a device"), (tmp_path, "is a folder")):
        refused(words, path, suffix=None)
        with pytest.raises(UserError, match=words), files.replacing(path):
            pass


def test_a_folder_of_others_is_left_alone(tmp_path):
    folder = tmp_path / "new" / "one"
    files.check_outfolder(folder, ".marker", lambda path: False)
    (folder / "result").write_text("")
    files.check_outfolder(folder, ".marker", lambda path: False)  # its own
    (folder / ".marker").unlink()
    with pytest.raises(UserError, match="holds result, which is no earlier output"):
        files.check_outfolder(folder, ".marker", lambda path: False)
    files.check_outfolder(folder, ".marker", lambda path: (path / "result").exists())


WRITING = """
import os, sys
from lipgan_keras.utils import files, jsontext
with files.replacing(sys.argv[1]) as temporary:
    temporary.write_bytes(b"half")
    print(temporary.name, flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_run_left_is_removed_and_what_a_live_one_writes_is_not(tmp_path):
    out = tmp_path / "a.b.mp4"
    hidden = [
        tmp_path / name
        for name in (".a.12345678.tmp.mp4", ".a.b.c.tmp.mp4", ".a.b.12345678.tmp.png", ".a.b.12345678.mp4")
    ]
    for path in hidden:  # of other outputs
        path.write_text("")
    writers, names = [], []
    for _ in range(2):
        writers.append(
            subprocess.Popen(
                [sys.executable, "-c", WRITING, out],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        names.append(writers[-1].stdout.readline().strip())
    killed, alive = writers
    try:
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
        assert (tmp_path / names[0]).exists() and not out.exists()
        with files.replacing(out) as temporary:
            temporary.write_bytes(b"whole")
            assert not (tmp_path / names[0]).exists() and (tmp_path / names[1]).read_bytes() == b"half"
        assert out.read_bytes() == b"whole" and all(path.exists() for path in hidden)
        alive.communicate("", timeout=60)
        assert alive.returncode == 0 and out.read_bytes() == b"half"
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
    assert {path.name for path in tmp_path.iterdir()} == {out.name, *(path.name for path in hidden)}


def test_where_there_are_no_locks_nothing_is_removed(tmp_path, monkeypatch):
    left = tmp_path / ".a.12345678.tmp.txt"
    left.write_text("another's")

    def none(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(files.fcntl, "flock", none)
    for lacking in (False, True):
        if lacking:
            monkeypatch.setattr(files, "fcntl", None)
        with files.replacing(tmp_path / "a.txt") as temporary:
            temporary.write_text("written")
        assert (tmp_path / "a.txt").read_text() == "written" and left.exists()
    monkeypatch.undo()
    with files.replacing(tmp_path / "a.txt"):
        assert not left.exists()


def test_a_temporary_file_that_another_process_takes_away_is_made_anew(tmp_path, monkeypatch):
    """It may be seen in the moment between its making and its locking."""
    lock, taken = files._lock, []

    def late(handle, wait):
        if wait and not taken:
            taken.extend(Path(tmp_path).glob(".*"))
            files._remove_unlocked(taken[0])
        return lock(handle, wait)

    monkeypatch.setattr(files, "_lock", late)
    with files.replacing(tmp_path / "a.txt") as temporary:
        assert len(taken) == 1 and temporary != taken[0]
        temporary.write_text("whole")
    assert os.listdir(tmp_path) == ["a.txt"] and (tmp_path / "a.txt").read_text() == "whole"


def test_a_folder_is_whole_or_as_it_was(tmp_path, monkeypatch):
    folder = tmp_path / "a"
    for text in ("old", "new"):
        with files.replacing_folder(folder) as temporary:
            assert temporary.parent == tmp_path and not list(temporary.iterdir())
            (temporary / text).write_text(text)
        assert os.listdir(tmp_path) == ["a"] and os.listdir(folder) == [text]
    with pytest.raises(RuntimeError), files.replacing_folder(folder) as temporary:
        (temporary / "half").write_text("half")
        raise RuntimeError
    rename, done = os.rename, []

    def fail_at_the_second(source, target):
        done.append(source)
        if len(done) == 2:
            raise OSError(errno.EIO, "broken", str(source))
        rename(source, target)

    with monkeypatch.context() as patch, pytest.raises(OSError):
        patch.setattr(os, "rename", fail_at_the_second)
        with files.replacing_folder(folder) as temporary:
            (temporary / "other").write_text("other")
    assert os.listdir(tmp_path) == ["a"] and os.listdir(folder) == ["new"] and len(done) == 3
    (tmp_path / ".a.abcdefgh.tmp").mkdir()  # of a process that was killed
    (tmp_path / "file").write_text("")
    with files.replacing_folder(folder):
        pass
    assert sorted(os.listdir(tmp_path)) == ["a", "file"] and not os.listdir(folder)
    (folder / "kept").write_text("kept")
    folder.rename(tmp_path / ".a.abcdefgh.tmp.old")  # of one that was killed between two renames
    with pytest.raises(RuntimeError), files.replacing_folder(folder):
        raise RuntimeError
    assert sorted(os.listdir(tmp_path)) == ["a", "file"] and os.listdir(folder) == ["kept"]
    (tmp_path / ".a.abcdefgh.tmp.old").mkdir()  # of one that was killed after both
    with pytest.raises(RuntimeError), files.replacing_folder(folder):
        raise RuntimeError
    assert sorted(os.listdir(tmp_path)) == ["a", "file"] and os.listdir(folder) == ["kept"]
    with pytest.raises(UserError, match="file: is a file; name a folder"), files.replacing_folder(tmp_path / "file"):
        pass
    with pytest.raises(OSError, match="No space left"):
        files.check_room(tmp_path, 1 << 60)


@pytest.mark.parametrize("name", [None, "temporary"])
def test_a_full_disc_is_said_of_the_file_that_the_user_named(tmp_path, name):
    out = tmp_path / "a.txt"
    with pytest.raises(OSError) as caught, files.replacing(out) as temporary:
        if name is None:
            with open("/dev/full", "wb", buffering=0) as full:
                full.write(b"x")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(temporary))
    assert caught.value.filename == str(out) and os.listdir(tmp_path) == []


def test_pipes_devices_and_sockets_are_no_input(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(UserError, match="is a (pipe|device); give a file"):
            files.regular(path)
    for path in (tmp_path, __file__, tmp_path / "none", "\0"):
        assert files.regular(path) == path
