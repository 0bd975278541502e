"""What the tests of the pages share. `make docs-test` runs them; `make test` does not, as they take minutes."""

import os
import tempfile
from pathlib import Path

import pytest

from helpers.checks import ROOT

DOCS = ROOT / "docs"


def pytest_configure(config):
    """Commands neither read nor fill the user's cache of graphs; those of one run share theirs."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        return
    caches = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    os.environ.setdefault("MPLCONFIGDIR", os.path.join(caches, "matplotlib"))  # its list of fonts takes seconds to make
    folder = tempfile.TemporaryDirectory(prefix="lipgan_keras_cache_")
    config.add_cleanup(folder.cleanup)
    os.environ["XDG_CACHE_HOME"] = folder.name


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """Two processes at most, as commands have threads of their own; for tests of a file or two, this one."""
    if any("::" in argument or argument.endswith(".py") for argument in config.args):
        return 0
    cores = len(os.sched_getaffinity(0))
    return min(cores, 2) if cores > 1 else 0


@pytest.fixture(scope="session")
def docs() -> Path:
    """The folder of the pages."""
    return DOCS
