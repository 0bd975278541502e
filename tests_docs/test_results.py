"""The page of results says what the kept files of the runs say."""

import json
import sys

import numpy as np
import pytest

from helpers.checks import ROOT


@pytest.fixture(scope="module")
def page():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import ablation_page

        yield ablation_page
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))


def test_the_page_is_of_the_kept_files(page):
    written = page.PAGE.read_text("utf-8")
    for paragraph in page.sections(page.read()):
        assert paragraph in written, paragraph
    for path in page.PAGE.parent.glob("results_*.png"):
        assert path.name in written or path.name == "results_puppets.png"


def test_a_row_is_the_mean_over_seeds_and_clips(page):
    clips = {"s2/a": {"lip_mae": 0.02, "sensitivity_5": 1.1, "sensitivity_other": 1.3}, "s2/b": {"lip_mae": None}}
    seeds = {0: {"clips": clips}, 1: {"clips": {"s2/a": {"lip_mae": 0.04}}}}
    np.testing.assert_allclose(page.marks(seeds, "lip_mae"), [[0.02, np.nan], [0.04, np.nan]])
    np.testing.assert_allclose(page.marks(seeds, "wrong")[0], [1.2, np.nan])
    assert page.figure(page.marks(seeds, "lip_mae"), 3).startswith("0.030 [")
    assert page.figure(page.marks(seeds, "psnr"), 1) == ""


def test_every_kept_file_is_whole_and_of_a_row(page):
    for path in page.KEPT.glob("*.json"):
        run = json.loads(path.read_text("utf-8"))
        assert path.name == f"{run['row']}-{run['seed']}.json" and run["row"] in page.ROWS
        assert run["commit"] and run["seconds"] > 0 and run["flags"][-1] == str(run["steps"])
        assert len({len(values) for values in run["log"].values()}) == 1
