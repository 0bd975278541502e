"""What `pip install .` brings: files, metadata and console scripts of the wheel. Requirements files say the same."""

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import PathDistribution

import pytest
from packaging.requirements import Requirement

import lipgan_keras
from helpers.checks import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest brings it

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
SCRIPTS = {"lipgan-inference", "lipgan-train", "lipgan-preprocess", "lipgan-evaluate", "lipgan-app"}


def normal(requirements):
    """Requirements in one order, spelling and quoting."""
    return sorted(str(Requirement(line)) for line in requirements)


def of_file(name):
    """The requirements that a file holds, without those of the files that it names; and the names of these files."""
    lines = [re.sub(r"(^|\s)#.*", "", line).strip() for line in (ROOT / name).read_text().splitlines()]
    named = [line.removeprefix("-r ") for line in lines if line.startswith("-r ")]
    return normal(line for line in lines if line and not line.startswith("-r ")), named


def test_requirements_files_say_what_pyproject_says():
    assert of_file("requirements.txt") == (normal(PROJECT["dependencies"]), [])
    for extra in ("app", "eval", "puppets", "hf", "export", "lesson", "docs", "test"):
        assert of_file(f"requirements-{extra}.txt") == (normal(EXTRAS[extra]), ["requirements.txt"])


def test_a_difference_in_either_file_is_seen():
    """The comparison above goes by what a requirement says, not by how it is written."""
    written = ["numpy>=1.26,<3", 'tensorflow>=2.18; sys_platform != "linux"']
    assert normal(written) == normal(["tensorflow >= 2.18 ; sys_platform != 'linux'", "numpy<3,>=1.26"])
    for other in (written[:1], [*written, "tqdm"], ["numpy>=1.26,<4", written[1]], [written[0], "tensorflow>=2.18"]):
        assert normal(written) != normal(other)


def test_jax_is_the_same_in_every_extra():
    versions = {}
    for extra, requirements in EXTRAS.items():
        for requirement in map(Requirement, requirements):
            if requirement.name == "jax":
                versions[extra] = (str(requirement.specifier), requirement.extras)
    assert {extra: found[1] for extra, found in versions.items()} == {"jax": set(), "gpu": {"cuda12"}, "test": {"cpu"}}
    assert len({found[0] for found in versions.values()}) == 1


def test_the_version_stands_in_one_place():
    assert "version" not in PROJECT and "version" in PROJECT["dynamic"]
    assert not re.search(r"^version:", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder that holds what the wheel of this checkout would install."""
    if importlib.util.find_spec("setuptools") is None:
        pytest.skip("setuptools is not installed; pip install -r requirements-test.txt brings it")
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    # A copy, as building leaves files in the source; with what must stay out of the wheel.
    left = shutil.ignore_patterns("__pycache__", "golden", "*.openvino")
    for name in ("lipgan_keras", "tests", "benchmarks", "docs"):
        shutil.copytree(ROOT / name, source / name, ignore=left)
    for path in [
        *ROOT.glob("*.py"),
        *ROOT.glob("*.txt"),
        *(ROOT / n for n in ("pyproject.toml", "README.md", "LICENSE")),
    ]:
        shutil.copy(path, source)
    (source / "lipgan_keras" / "weights" / "lipsync.h5.openvino").write_bytes(b"what an engine keeps beside it")
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--quiet"]
    result = subprocess.run([*build, "-w", folder, source], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    (wheel,) = folder.glob("*.whl")
    assert wheel.name == f"lipgan_keras-{lipgan_keras.__version__}-py3-none-any.whl"
    zipfile.ZipFile(wheel).extractall(folder / "site")
    return folder / "site"


@pytest.fixture
def metadata(installed):
    (found,) = installed.glob("*.dist-info")
    return PathDistribution(found)


@pytest.mark.slow
def test_wheel_holds_the_package_its_weights_and_assets_alone(installed):
    package = ROOT / "lipgan_keras"
    wanted = {p.relative_to(ROOT) for pattern in ("**/*.py", "weights/*.h5", "assets/*") for p in package.glob(pattern)}
    found = {path.relative_to(installed) for path in installed.rglob("*") if path.is_file()}
    assert {path for path in found if not path.parts[0].endswith(".dist-info")} == wanted
    for name in ("weights/lipsync.h5", "assets/report.js", "assets/report.css"):
        assert (installed / "lipgan_keras" / name).read_bytes() == (package / name).read_bytes()


@pytest.mark.slow
def test_wheel_says_what_pyproject_says(metadata):
    assert metadata.version == lipgan_keras.__version__
    assert metadata.metadata["Name"] == "lipgan-keras"
    assert metadata.metadata["License-Expression"] == "MIT"
    assert metadata.metadata["Requires-Python"] == "<3.14,>=3.10"
    extras = {"app", "eval", "puppets", "heif", "hf", "export", "lesson", "jax", "gpu", "docs", "test"}
    assert set(metadata.metadata.get_all("Provides-Extra")) == extras
    wanted = PROJECT["dependencies"] + [f'{r}; extra == "{extra}"' for extra, rs in EXTRAS.items() for r in rs]
    assert normal(metadata.requires) == normal(wanted)


@pytest.mark.slow
def test_console_scripts_answer_from_any_folder(installed, metadata, tmp_path):
    """Each by its own name, with the package of the wheel and without that of the checkout."""
    entries = {entry.name: entry.value for entry in metadata.entry_points if entry.group == "console_scripts"}
    assert set(entries) == SCRIPTS
    program = (
        "import importlib, sys\n"
        "sys.argv = sys.argv[1:]\n"
        "module, function = sys.argv.pop().split(':')\n"
        "getattr(importlib.import_module(module), function)()\n"
    )
    environment = os.environ | {"PYTHONPATH": str(installed), "COLUMNS": "200"}
    for name, value in entries.items():
        command = [sys.executable, "-c", program, f"/usr/bin/{name}", "--help", value]
        shown = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
        assert shown.returncode == 0, shown.stderr
        assert shown.stdout.startswith(f"usage: {name} "), shown.stdout[:200]


def test_root_scripts_are_the_console_scripts():
    """They hold nothing but the way to them, so that the wheel needs none of them."""
    targets = {name.removeprefix("lipgan-"): value for name, value in PROJECT["scripts"].items()}
    for name, value in targets.items():
        module, function = value.split(":")
        tree = ast.parse((ROOT / f"{name}.py").read_text())
        imported = {
            (node.module, alias.name)
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }
        assert (module, function) in imported, name
        assert not [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)], name


def test_the_python_api_is_at_the_top_and_its_configurations_load_no_keras():
    code = (
        "import sys, lipgan_keras as l; configs = l.TrainConfig('crops'), l.PreprocessConfig('crops'), l.EvalConfig(); "
        "assert 'keras' not in sys.modules; functions = l.train, l.preprocess, l.evaluate, l.LipSync; "
        "print(*(f.__name__ for f in functions))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["train", "preprocess", "evaluate", "LipSync"], done.stderr
