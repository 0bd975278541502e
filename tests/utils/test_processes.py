"""Processes that die, and signals that are put off."""

import signal

import pytest

from lipgan_keras.utils import processes


def test_work_that_kills_its_process_is_the_only_one_lost():
    assert dict(processes.run(eval, ["6 * 7", "__import__('os').abort()"], 2)) == {
        "6 * 7": 42,
        "__import__('os').abort()": None,
    }
    assert list(processes.run(str.upper, ["a", "b"], 1)) == [("a", "A"), ("b", "B")]


def test_ctrl_c_amid_an_import_is_heeded_after_it(script):
    code = """
import signal
from lipgan_keras.utils import processes
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    with processes.signals_put_off():
        signal.raise_signal(signal.SIGINT)
        print("imported")
except KeyboardInterrupt:
    print("ended", signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""
    assert script("-c", code).stdout.split() == ["imported", "ended", "True"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("tidied", [False, True])
def test_a_command_ends_amid_an_import_unless_it_has_to_tidy_up(script, tmp_path, number, tidied):
    code = f"""
import contextlib, signal
from lipgan_keras.utils import cli, files, processes

def main():
    with files.replacing({str(tmp_path / "a.txt")!r}) if {tidied} else contextlib.nullcontext():
        with processes.signals_put_off():
            signal.raise_signal({int(number)})
            print("imported", flush=True)

cli.run(main)
"""
    result = script("-c", code)
    assert result.returncode == 128 + number and result.stdout == ("imported\n" if tidied else "")
    assert not result.stderr.strip() and not list(tmp_path.iterdir())
