"""What the tests of the pages share. `make docs-test` runs them; `make test` does not, as they take minutes."""

from pathlib import Path

import pytest

from helpers import runs
from helpers.checks import ROOT

DOCS = ROOT / "docs"


def pytest_configure(config):
    runs.use_own_cache(config)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """Two at most, as commands have threads of their own."""
    return runs.processes(config, 2)


@pytest.fixture(scope="session")
def docs() -> Path:
    """The folder of the pages."""
    return DOCS
