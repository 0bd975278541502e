"""The commands of README and the pages: each is one that its command's parser takes, and those that can run are run.

A block that this machine cannot run has a comment before it in the page, with the reason:

    <!-- not run by the tests: a microphone -->

All others run in the order of their page, in a folder of its own that holds what a reader would bring (`brought`), made
small by `SMALLER`.
"""

import argparse
import dataclasses
import lzma
import os
import re
import shlex
import shutil
import string
import subprocess
import sys

import numpy as np
import pytest

import commands
from helpers.checks import GOLDEN, ROOT
from lipgan_keras.utils import cli

# What is changed in a command before it is run, so that it takes seconds: (pattern, what stands in its place).
SMALLER = (
    (r"python train\.py\b(.*?)(?= &$|$)", r"python train.py\1 --num_workers 1 --checkpoint_freq 2"),
    (r" --steps \d+", ""),
    (r" --batch_size \d+", ""),
    (r"(--num_workers 1 --checkpoint_freq 2)", r"\1 --steps 2 --batch_size 12"),
    # Two steps of the full network take a minute; those that begin from the checkpoint that ships keep its width.
    (r"(python train\.py(?!.*--resume_gen).*?) --width [\d.]+", r"\1"),
    (r"(python train\.py(?!.*--resume_gen).*)$", r"\1 --width 0.05"),
    (r"--precision mixed_bfloat16 ", ""),  # a CPU without it takes minutes
    (r"(lipgan_keras\.puppets .*)--clips \d+", r"\1--clips 2 --seconds 1.6"),
    (r"--recast \d+", "--recast 1"),
    (r"(lipgan_keras\.sync_accuracy .*)$", r"\1 --pairs 8"),
    (r"(lipgan_keras\.networks.*)$", r"\1 --width 0.1"),
    (r"-b 16M", "-b 1M"),
)
# Two steps are over before TensorFlow would have traced a graph: every command of Python finds this, and runs eagerly.
EAGERLY = """
import importlib.abc, importlib.util, sys


class Eagerly(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module

        def then(module):
            load(module)
            module.config.run_functions_eagerly(True)

        spec.loader.exec_module = then
        return spec


sys.meta_path.insert(0, Eagerly())
"""
VARIABLES = {"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "32"}  # that a parser reads
FENCE = re.compile(
    r"(?:<!--(?P<note>[^>]*)-->\s*\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
NOT_RUN = "not run by the tests:"
# Pages whose commands are run; those of the others are parsed.
RUN = [
    "README.md",
    "docs/start.md",
    "docs/blocks.md",
    *(f"docs/howto/{p.name}" for p in (ROOT / "docs/howto").glob("*.md")),
]
ALL = sorted({*RUN, "CONTRIBUTING.md", *(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md"))})


ALONE: set[str] = set()  # blocks that need nothing made before, and that have run: pages may show the same


@dataclasses.dataclass
class Block:
    """A fenced block of a page: its commands, and why it is not run, if so."""

    page: str
    text: str
    reason: str | None


def blocks_of(page: str) -> list[Block]:
    text = (ROOT / page).read_text(encoding="utf-8")
    # Blocks that are set off by four blanks, as in blocks.md, count too.
    found = []
    for match in FENCE.finditer(text):
        if match["language"] in ("bash", "console", ""):
            note = (match["note"] or "").strip()
            reason = note.removeprefix(NOT_RUN).strip() if note.startswith(NOT_RUN) else None
            found.append(Block(page, match["text"], reason))
    return found


def lines_of(block: Block) -> list[str]:
    """The command lines, those that go on on the next line put together."""
    joined = re.sub(r"\\\n\s*", "", block.text)
    return [line.removeprefix("$ ").strip() for line in joined.splitlines() if line.strip()]


def ours_in(line: str) -> list[tuple[str, list[str]]]:
    """(command, arguments) of each of this project's commands in a line; pipes, comments and variables are seen."""
    found = []
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;><")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    words: list[str] = []
    for word in [*lexer, ";"]:
        if set(word) <= set("|&;><"):
            found += [words] if words else []
            words = []
        else:
            words.append(word)
    chosen = []
    for words in found:
        while words and re.match(r"\w+=", words[0]):
            words = words[1:]
        if words[:1] == ["python"]:
            named = " ".join(words[1:3]) if words[1] == "-m" else words[1]
            if named == "-m pytest" or named.startswith(("-m pip", "benchmarks/")):
                continue
            chosen.append((named, words[3:] if words[1] == "-m" else words[2:]))
    return chosen


ALL_LINES = [(page, line) for page in ALL for block in blocks_of(page) for line in lines_of(block)]
OURS = [(page, *found) for page, line in ALL_LINES for found in ours_in(line)]


@pytest.fixture
def lenient(monkeypatch):
    """Parsers take names of files that are not there."""
    monkeypatch.setattr(cli, "existing", cli.path)


@pytest.mark.parametrize("page", sorted({page for page, *_ in OURS}))
def test_each_command_is_one_that_its_parser_takes(page, lenient, capsys):
    wrong = []
    for where, command, arguments in OURS:
        if where != page:
            continue
        if command not in commands.COMMANDS:
            wrong.append(f"{command}: no such command")
            continue
        try:
            commands.parser_of(command).parse_args(
                [string.Template(word).safe_substitute(VARIABLES) for word in arguments]
            )
        except SystemExit:
            wrong.append(f"{command} {shlex.join(arguments)}: {capsys.readouterr().err}")
    assert not wrong, "\n".join(wrong)


def test_commands_are_found_in_pages():
    """The reading of pages finds what is there: every page that speaks of a command in a block is among them."""
    assert len(OURS) > 50
    assert {"inference.py", "train.py", "preprocess.py", "evaluate.py", "-m lipgan_keras.live"} <= {
        c for _, c, _ in OURS
    }
    line = (
        'KERAS_BACKEND=jax python train.py --data_root "$T"/a & arecord -q | python -m lipgan_keras.live --face f # x'
    )
    assert ours_in(line) == [
        ("train.py", ["--data_root", "$T/a"]),
        ("-m lipgan_keras.live", ["--face", "f"]),
    ]


def test_a_wrong_flag_would_be_seen(lenient, capsys):
    with pytest.raises(SystemExit):
        commands.parser_of("train.py").parse_args(["--data_root", "crops/", "--stepz", "3"])


def test_flags_that_pages_name_are_there():
    """Those in running text, in `code`: each is a flag of one of the commands, or of another program."""
    known = {
        flag
        for name in commands.COMMANDS
        for parser in all_parsers(commands.parser_of(name))
        for action in parser._actions
        for flag in action.option_strings
    }
    others = {"--kills", "--mutations", "--clips", "--cache_mb", "--parts", "--changes"}  # of benchmarks
    wrong = []
    for page in ALL:
        text = FENCE.sub("", (ROOT / page).read_text(encoding="utf-8"))
        for code in re.findall(r"`([^`\n]+)`", text):
            for flag in re.findall(r"(?<![\w.-])--[a-z]\w*", code):
                if flag not in known | others and not re.search(r"\bpip\b|name_weight", code):
                    wrong.append(f"{page}: {flag}")
    assert not wrong, wrong


def all_parsers(parser):
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.values()


def test_blocks_that_are_not_run_say_why():
    skipped = [block for page in RUN for block in blocks_of(page) if block.reason is not None]
    assert skipped and all(block.reason for block in skipped)
    for block in skipped:  # what no machine of ours runs is Bash at least
        checked = subprocess.run(["bash", "-n"], input=block.text, text=True, capture_output=True, check=False)
        assert checked.returncode == 0, f"{block.page}: {checked.stderr}"


@pytest.fixture(scope="session")
def material(tmp_path_factory):
    """What readers bring, made once: a face, a video, speech, clips, a small generator."""
    from PIL import Image
    from skimage import data

    from lipgan_keras import checkpoints, networks
    from lipgan_keras.config import ModelConfig
    from lipgan_keras.media import audio_file
    from lipgan_keras.puppets import clips, speech

    folder = tmp_path_factory.mktemp("material")
    made = clips.make_clips(folder / "made", 3, seed=3, seconds=1.6, num_workers=1)
    (folder / "videos").mkdir()
    for number, path in enumerate(made):
        target = folder / "videos" / f"speaker{number}" / "00001.mp4"
        target.parent.mkdir()
        shutil.copy(path, target)
    shutil.copytree(folder / "videos", folder / "mvlrs_v1" / "main")
    shutil.copy(made[0], folder / "face.mp4")
    for name in ("photo.jpg", "face.jpg", "people.jpg"):
        Image.fromarray(data.astronaut()).save(folder / name)
    wave, *_ = speech.synthesise_speech(1.0, np.random.default_rng(1))
    audio_file.save_wav(folder / "speech.wav", wave)
    (folder / "pairs.csv").write_text("face,audio,outfile\nphoto.jpg,speech.wav,results/pair.mp4\n")
    (folder / "filelists").mkdir()
    (folder / "filelists" / "train.txt").write_text("speaker0/00001\nspeaker1/00001\n")
    (folder / "filelists" / "val.txt").write_text("speaker2/00001\n")
    (folder / "pairs.txt").write_text("speaker0/00001 speaker1/00001\n")
    released = lzma.decompress((GOLDEN / "mel_basic.full.h5.xz").read_bytes())
    (folder / "lipgan_residual_mel.h5").write_bytes(released)
    config = ModelConfig(variant="basic", width=0.1)
    checkpoints.save_checkpoint(folder / "generator.h5", {"generator": networks.build(config)}, config)
    shutil.rmtree(folder / "made")
    return folder


@pytest.fixture
def brought(material, tmp_path):
    """A reader's folder: a clone's scripts, and what the pages speak of."""
    shutil.copytree(material, tmp_path, dirs_exist_ok=True)
    for path in ROOT.glob("*.py"):
        shutil.copy(path, tmp_path)
    weights = tmp_path / "lipgan_keras" / "weights"
    weights.mkdir(parents=True)
    (tmp_path / "eagerly").mkdir()
    (tmp_path / "eagerly" / "sitecustomize.py").write_text(EAGERLY)
    (weights / "lipsync.h5").symlink_to(ROOT / "lipgan_keras" / "weights" / "lipsync.h5")
    return tmp_path


def smaller(text: str) -> str:
    """A block with the changes of `SMALLER`, line by line."""
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    for number, line in enumerate(lines):
        line, sign, comment = line.partition("  #")
        for pattern, replacement in SMALLER:
            line = re.sub(pattern, replacement, line)
        lines[number] = line + sign + comment
    return "\n".join(lines) + "\n"


def needed_files(page: str) -> dict[str, str]:
    """Files that a page tells its reader to save: a block of Python after a sentence with "Save it as `NAME`"."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return {
        name: code for name, code in re.findall(r"Save it as `([\w.]+)`[^`]*```python\n(.*?)^```", text, re.M | re.S)
    }


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("page", [page for page in RUN if any(b.reason is None for b in blocks_of(page))])
def test_the_commands_of_a_page_run(page, brought):
    for name, code in needed_files(page).items():
        (brought / name).write_text(code)
    blocks = [smaller(block.text) for block in blocks_of(page) if block.reason is None]
    made = next((i for i, text in enumerate(blocks) if "preprocess.py" in text), len(blocks))
    if any("crops/" in text for text in blocks[:made]):  # what a reader has made on another page
        run(brought, "python preprocess.py --videos_data_root videos/ --final_data_root crops/\n", page)
    for text in blocks:
        if text not in ALONE:
            run(brought, text, page)
        if not re.search(r"crops|logs|lrs2|generator", text):
            ALONE.add(text)


def run(folder, text, page):
    paths = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    environment = os.environ | {"PYTHONPATH": f"{folder / 'eagerly'}{os.pathsep}{ROOT}", "PATH": paths}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, f"{page}\n{text}\n{done.stdout[-1500:]}\n{done.stderr[-3000:]}"
