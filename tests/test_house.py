"""Where things are: which room may use which, how large rooms are, and what a wing says of itself."""

import ast
import collections
import re
from pathlib import Path

import pytest

import lipgan_keras

ROOT = Path(lipgan_keras.__file__).parent
CORE = {"networks", "blocks", "losses", "gan", "unsynced", "audio", "config"}
PAPER = ("networks", "losses", "gan", "audio", "config")
WINGS = {"utils", "media", "face", "data", "training", "inference", "evaluation", "live", "puppets", "app", "exports"}
# The rooms that each may use, besides the core and utils
ARROWS = {
    "core": set(),
    "utils": set(),
    "checkpoints": set(),
    "media": set(),
    "face": {"media"},
    "data": {"face", "media"},
    "training": {"data", "checkpoints"},
    "inference": {"face", "media", "checkpoints"},
    "live": {"inference"},
    "exports": {"checkpoints", "face", "inference"},
    "evaluation": {"data", "face", "media", "inference"},
    "puppets": {"data", "face", "media", "inference"},
    "app": {"inference", "live", "face", "media", "checkpoints", "puppets"},
}
# Modules that only open a wing for `python -m`, or hand on what is in one
DOORS = {
    "checkpoints.__main__": "exports",
    "demo": "puppets",
    "judging": "evaluation",
    "report": "evaluation",
    "sync_accuracy": "evaluation",
    "syncnet": "evaluation",
}
LIPSYNC = "lipsync"  # the public way into inference
# audio.load_audio stays callable for people's scripts.
EXCEPTION = ("audio", "media.audio_file")


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(ROOT.rglob("*.py"))}


def imports(name):
    """Our modules that a module imports, also within functions."""
    path, found = MODULES[name], set()
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    package = [part for part in package if part]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1] + (node.module.split(".") if node.module else [])
            for alias in node.names:
                full = ".".join([*base, alias.name])
                if full in MODULES:
                    found.add(full)
                elif not base and alias.name == "LipSync":
                    found.add(LIPSYNC)
                elif base:
                    found.add(".".join(base))
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module]
            assert not any(known.split(".")[0] == "lipgan_keras" for known in names), f"{name}: imports ours absolutely"
    return found - {name}


def test_load_audio_is_handed_on_for_scripts_alone():
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level and (node.module or "").split(".")[-1] == "audio":
                assert "load_audio" not in [alias.name for alias in node.names], f"{name}: ask media.audio_file"


def room(name):
    first = name.split(".")[0]
    door = DOORS.get(name, DOORS.get(first, first))
    return "core" if first in CORE else "inference" if first == LIPSYNC else door


def test_every_arrow_is_allowed():
    wrong = []
    for name in MODULES:
        for used in imports(name) if name else ():
            here, there = room(name), room(used)
            allowed = {here, "core", "utils"} | ARROWS[here]
            if here in ("core", "utils", "checkpoints"):
                allowed = {here, "utils"} | ({"core"} if here != "utils" else set())
            if there not in allowed and (name, used) != EXCEPTION:
                wrong.append(f"{name} -> {used}: {here} may not use {there}")
    assert not wrong, "\n".join(wrong)
    assert {room(name) for name in MODULES if name} == set(ARROWS)


def test_no_cycle():
    """Imports within functions count too."""
    graph = {name: imports(name) for name in MODULES if name}
    graph[EXCEPTION[0]].discard(EXCEPTION[1])
    state, path = collections.Counter(), []

    def visit(name):
        state[name] = 1
        path.append(name)
        for used in sorted(graph.get(name, ())):
            assert state[used] != 1, " -> ".join([*path[path.index(used) :], used])
            if not state[used]:
                visit(used)
        path.pop()
        state[name] = 2

    for name in graph:
        if not state[name]:
            visit(name)


def test_rooms_are_small():
    """No module above 450 lines, no function above 60, the paper under 1,200, at most 14 modules in front."""
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in MODULES.items()}
    assert not {name: length for name, length in lengths.items() if length > 450}
    long = {}
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno - node.lineno + 1 > 60:
                long[f"{name}.{node.name}"] = node.end_lineno - node.lineno + 1
    assert not long
    assert sum(lengths[name] for name in PAPER) < 1200
    assert lengths["blocks"] < 300
    assert len(list(ROOT.glob("*.py"))) <= 14


@pytest.mark.parametrize("wing", sorted(WINGS))
def test_a_wing_says_what_comes_in_and_out_and_names_its_rooms(wing):
    said = ast.get_docstring(ast.parse((ROOT / wing / "__init__.py").read_text(encoding="utf-8")))
    first, second, rooms = said.split("\n", 2)
    assert first.startswith("In: ") and second.startswith("Out: ") and rooms.startswith("Rooms: ")
    named = set(rooms.removeprefix("Rooms: ").removesuffix(".").replace("\n", " ").replace(",", " ").split())
    there = {path.stem for path in (ROOT / wing).glob("*.py") if not path.stem.startswith("__")}
    there |= {path.parent.name for path in (ROOT / wing).glob("*/__init__.py")}
    assert named == there
    assert not there & {"misc", "helpers", "common", "tools"}


def test_the_architecture_page_names_rooms_that_are_there():
    page = (ROOT.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(rf"\b(?:{'|'.join(WINGS)})\.[a-z_0-9]+\b", page))
    assert len(named) > 20 and named <= set(MODULES), named - set(MODULES)
    drawn = page[page.index("```mermaid") : page.index("```\n", page.index("```mermaid") + 3)]
    arrows = {room: set(used.split(" & ")) for room, used in re.findall(r"(?m)^    (\w+) --> ([\w &]+)$", drawn)}
    assert arrows == {room: used for room, used in ARROWS.items() if used}
