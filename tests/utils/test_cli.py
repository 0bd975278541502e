"""What all commands' flags, messages and exit codes have in common."""

import argparse
import errno
import importlib
import os
import signal
import sys
import types

import pytest

from helpers import synthetic
from helpers.checks import ROOT, assert_one_line
from lipgan_keras.utils import cli, errors, terminal
from lipgan_keras.utils.errors import Incomplete, UserError

COMMANDS = ["inference", "train", "preprocess", "evaluate"]
COMMANDS += [f"lipgan_keras.{name}" for name in ("demo", "judging", "report", "sync_accuracy", "syncnet")]
COMMANDS += [f"lipgan_keras.{name}.__main__" for name in ("checkpoints", "live", "puppets")]
EXTREMES = ("1e308", "-1e308", "4294967296", "1" + "0" * 400, "1" + "0" * 5000, "nan", "inf", "-inf", "")


class Stopped(Exception):
    pass


def parsers(monkeypatch):
    """[(command, parser)] of all commands, those of their subcommands in place of their own."""
    found = []

    def stop(parser, *_):
        found.append(parser)
        raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", stop)
        mains = {name: importlib.import_module(name).main for name in COMMANDS}
        blocks = importlib.import_module("lipgan_keras.blocks")
        mains["lipgan_keras.networks"] = lambda: blocks.main(None)
        for main in mains.values():
            with pytest.raises(Stopped):
                main()
    every = []
    for name, parser in zip(mains, found, strict=True):
        inner = [a.choices.values() for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
        every += [(name, one) for one in (inner[0] if inner else [parser])]
    return every


def refuses(action, text):
    if action.choices is not None and action.type is None:
        return text not in action.choices
    try:
        value = action.type(text)
    except (argparse.ArgumentTypeError, ValueError):
        return True
    return action.choices is not None and value not in action.choices


def test_every_flag_has_limits(monkeypatch):
    """A number within bounds, a choice, or a path or name that is not empty: nothing else comes to a command."""
    wrong, numbers = [], 0
    for command, parser in parsers(monkeypatch):
        for action in parser._actions:
            if action.nargs == 0:
                continue
            name = f"{command} {action.dest}"
            if action.type is None and action.choices is None:
                wrong.append(f"{name}: has no type")
            elif not refuses(action, ""):
                wrong.append(f"{name}: may be empty")
            elif action.type and not refuses(action, "96") and isinstance(action.type("96"), int | float):
                numbers += 1
                wrong += [f"{name}: may be {text[:12]}" for text in EXTREMES if not refuses(action, text)]
            elif action.type and not refuses(action, "0.5") and isinstance(action.type("0.5"), float):
                numbers += 1
                wrong += [f"{name}: may be {text[:12]}" for text in EXTREMES if not refuses(action, text)]
    assert not wrong, "\n".join(wrong)
    assert numbers > 50


@pytest.mark.parametrize("text", ["1e308", "nan", "1" + "0" * 400, "x" * 300])
def test_a_number_out_of_bounds_is_one_short_line(capfd, text):
    result = synthetic.call("train.py", "--data_root", "x", "--batch_size", text, capfd=capfd)
    assert_one_line(result, "--batch_size", "at least 1 and at most 8,192")
    assert len(result.stderr) < 250


def test_bounds():
    assert cli.integer(0)("-0") == 0 and cli.integer(-3, 3)("-3") == -3 and cli.at_least(0)("-0.0") == 0
    assert cli.fraction()("0") == 0 and cli.positive(2)("2") == 2 and cli.limited("audio_offset_ms")("-40.5") == -40.5
    for kind, text in (
        (cli.fraction(), "1"),
        (cli.fraction(above=True), "0"),
        (cli.positive(), "0"),
        (cli.integer(1), "0"),
        (cli.integer(1), "1.5"),
        (cli.limited("audio_offset_ms"), "1e9"),
    ):
        with pytest.raises(argparse.ArgumentTypeError):
            kind(text)


# ------------------------------------------------------------------------------------------------- messages and codes


def ended(capfd, error):
    """What a command comes to whose `main` raises an error."""

    def main():
        raise error

    sys.modules["a_command"] = types.SimpleNamespace(main=main)
    try:
        return synthetic.call("a_command", capfd=capfd)
    finally:
        del sys.modules["a_command"]


@pytest.mark.parametrize(
    "error, code, words",
    [
        (Incomplete("3 of 4"), 1, "incomplete: 3 of 4"),
        (UserError("a.mp4: is empty"), 2, "error: a.mp4: is empty"),
        (OSError(errno.ENOSPC, "No space left", "a.mp4"), 2, "error: a.mp4: No space left; free some space"),
        (MemoryError(), 2, "error: there is too little memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), 2, "error: there is too little memory"),
        (RuntimeError("Check 'ptr' failed\nFailed to allocate 3 bytes"), 2, "error: there is too little memory"),
        (UserError("two\nlines\x1b[2J\udcff"), 2, "error: two\\nlines\\x1b[2J\\udcff"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_what_a_command_ends_with(capfd, error, code, words):
    result = ended(capfd, error)
    assert result.returncode == code and result.stdout == ""
    assert result.stderr.rstrip("\n") == (f"a_command: {words}" if words else "") or words in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_too_little_memory_names_the_flags_to_lower(capfd, monkeypatch):
    def refuse(*_):
        raise MemoryError

    monkeypatch.setattr(importlib.import_module("lipgan_keras.lipsync"), "LipSync", refuse)
    result = synthetic.call("inference.py", "--face", __file__, "--audio", __file__, capfd=capfd)
    line = "inference.py: error: there is too little memory; lower --lipgan_batch_size or --max_side\n"
    assert (result.returncode, result.stderr) == (2, line)
    without = ended(capfd, MemoryError()).stderr
    assert without.endswith("too little memory; use smaller files, or close other programs\n")


def test_an_error_of_our_own_has_a_traceback_and_is_not_taken_for_success(capfd):
    result = ended(capfd, ZeroDivisionError("of our own"))
    assert result.returncode == 2 and result.stderr.startswith("Traceback") and "of our own" in result.stderr


def test_an_import_that_ctrl_c_turns_into_another_error_ends_quietly(capfd):
    def main():
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise ImportError("half of it") from None

    sys.modules["a_command"] = types.SimpleNamespace(main=main)
    try:
        result = synthetic.call("a_command", capfd=capfd)
    finally:
        del sys.modules["a_command"]
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "\n")


def test_a_ctrl_c_that_a_library_swallows_is_no_success(capfd):
    def main():
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            pass

    sys.modules["a_command"] = types.SimpleNamespace(main=main)
    try:
        assert synthetic.call("a_command", capfd=capfd).returncode == 130
    finally:
        del sys.modules["a_command"]


def test_flags_with_odd_names(capfd, tmp_path):
    odd = tmp_path / os.fsdecode(b"two\nlines\x1b\xff.mp4")
    result = synthetic.call("inference.py", "--face", odd, "--audio", odd, capfd=capfd)
    assert_one_line(result, "two\\nlines\\x1b\\udcff.mp4: no such file")


def test_names_that_are_no_text_end_nothing(script):
    code = "from lipgan_keras.utils import cli\ncli.run(lambda: print('a\\udcff', '\\u65e5'))"
    result = script("-c", code, env={"PYTHONIOENCODING": "ascii"})
    assert (result.returncode, result.stdout, result.stderr) == (0, "a\\udcff \\u65e5\n", "")


def test_say_and_cells(capsys):
    terminal.say("a\nb", 3, "\x1b[2J\u00e9")
    terminal.say("to the other", error=True)
    said = capsys.readouterr()
    assert said.out == "a\\nb\n3\n\\x1b[2J\u00e9\n" and said.err == "to the other\n"
    for text in ("=1+1", "+a", "-a", "@a", "\ta", "\ra"):
        assert terminal.text_cell(text) == f"'{text}" and terminal.text_of(terminal.text_cell(text)) == text
    for text in ("a=b", "", "'quoted'", "' =x"):
        assert terminal.text_cell(text) == text == terminal.text_of(text)


def test_what_goes_wrong_elsewhere_is_one_line():
    assert errors.describe(RuntimeError("out of\n memory"), "a") == "a: RuntimeError: out of memory"
    assert errors.describe(OSError("3 requested and 0 written"), "a") == "a: OSError: 3 requested and 0 written"


@pytest.mark.parametrize("printing", ["print", "terminal.say"])
def test_standard_output_on_a_full_disc(script, printing):
    code = "import sys; from lipgan_keras.utils import cli, terminal; sys.stdout = open('/dev/full', 'w')\n"
    result = script("-c", f"{code}cli.run(lambda: {printing}(1))")
    assert_one_line(result, "standard output: No space left")


# --------------------------------------------------------------------------------------------- Ctrl-C amid the imports

HEARD = """
import signal
signal.raise_signal(signal.SIGINT)
raise SystemExit("nobody heard Ctrl-C")
"""


@pytest.mark.parametrize(
    "module, command",
    [
        ("argparse", ["inference.py"]),  # what is loaded first
        ("cv2", ["inference.py"]),
        ("h5py", ["inference.py", "--face", ROOT / "README.md", "--audio", ROOT / "README.md"]),  # after the flags
        ("argparse", ["-m", "lipgan_keras.report"]),
        ("tqdm", ["-m", "lipgan_keras.report"]),
    ],
)
def test_ctrl_c_while_a_command_is_loading(script, tmp_path, module, command):
    (tmp_path / f"{module}.py").write_text(HEARD)
    result = script(*command, env={"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])})
    assert (result.returncode, result.stdout, result.stderr.strip()) == (130, "", "")


def test_ctrl_c_while_a_console_script_is_loading(script, tmp_path):
    (tmp_path / "cv2.py").write_text(HEARD)
    (tmp_path / "lipgan-inference").write_text("from lipgan_keras.inference.command import script\nscript()\n")
    result = script(tmp_path / "lipgan-inference", env={"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])})
    assert (result.returncode, result.stdout, result.stderr.strip()) == (130, "", "")


def test_a_program_that_imports_the_package_keeps_its_handler(script):
    code = "import signal, lipgan_keras; assert signal.getsignal(signal.SIGINT) is signal.default_int_handler"
    assert script("-c", code).returncode == 0
