"""The lesson runs from top to bottom, and the notebook is what its source says."""

import re
import sys
from pathlib import Path

import jupytext
import nbformat
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
from lesson import executed

DOCS = Path(__file__).parent.parent / "docs"
MINUTES = 40  # that a cell may take before it counts as hanging

pytestmark = pytest.mark.timeout(60 * 2 * MINUTES)


def source():
    return jupytext.read(DOCS / "lesson.py")


def kept():
    return nbformat.read(DOCS / "lesson.ipynb", as_version=4)


def test_the_notebook_is_made_of_its_source():
    ours, theirs = ([(cell.cell_type, cell.source) for cell in notebook.cells] for notebook in (source(), kept()))
    assert ours == theirs, "run: python benchmarks/lesson.py"


def test_the_notebook_is_small_and_holds_no_path_and_no_error():
    path = DOCS / "lesson.ipynb"
    assert path.stat().st_size < 1.5 * 2**20
    outputs = [output for cell in kept().cells if cell.cell_type == "code" for output in cell.outputs]
    assert outputs, "is kept without its plots; execute it and store it with them"
    for output in outputs:
        assert output.output_type in ("stream", "display_data"), output
        assert output.get("name") != "stderr"
        assert not re.search(r"/(home|root|tmp|work)/", output.get("text", "")), output["text"]


def test_each_section_ends_with_an_exercise_whose_line_is_there():
    """An exercise names a line to change; the line stands in the code of its section."""
    text = (DOCS / "lesson.py").read_text(encoding="utf-8")
    sections = re.split(r"(?m)^# ## (?=\d\.)", text)[1:]
    assert len(sections) == 7
    for number, section in enumerate(sections, 1):
        assert section.startswith(f"{number}. ")
        (name,) = re.findall(rf"(?m)^(\w+) = .*  # exercise {number}\b", section)
        exercise = section[section.index(f"# **Exercise {number}.**") :]
        assert f"`{name}" in exercise and "<summary>What you should see</summary>" in exercise


@pytest.fixture(scope="module", params=["kept", "run"])
def said(request, tmp_path_factory):
    """All that the cells print: in the notebook that is kept, and in a run of now."""
    notebook = kept() if request.param == "kept" else executed(tmp_path_factory.mktemp("lesson"), MINUTES)
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    plots = [output for output in outputs if {"image/png", "image/jpeg"} & set(output.get("data", {}))]
    assert len(plots) == 14
    assert any("<video" in output.get("data", {}).get("text/html", "") for output in outputs)
    return "\n".join(output.text for output in outputs if output.output_type == "stream")


def numbers(said, pattern):
    """What the groups of a pattern hold, as numbers, where it is printed first."""
    found = re.search(pattern, said)
    assert found, pattern
    return [float(value) for value in found.groups()]


def test_the_mouth_goes_with_the_sound(said):
    assert numbers(said, r"loudness .* correlation (\S+)")[0] > 0.7


def test_a_crop_that_follows_the_jaw_tells_more(said):
    (jaw,) = numbers(said, r"follows the jaw +48 rows tell the opening: correlation (\S+),")
    (steady,) = numbers(said, r"steady +48 rows tell the opening: correlation (\S+),")
    assert jaw > 0.8 and steady < jaw - 0.05


def test_the_three_losses_differ_as_the_text_says(said):
    names = "start", "L1", "Lips", "GAN"
    found = {name: numbers(said, rf"{name} +lip error (\S+), under wrong sound \S+ \((\S+)%\)") for name in names}
    errors, gaps = ({name: values[i] for name, values in found.items()} for i in (0, 1))
    assert abs(gaps["start"]) < 1 < gaps["L1"] < gaps["Lips"] and gaps["GAN"] > 1
    assert errors["Lips"] < errors["L1"] < errors["start"] and errors["Lips"] < errors["GAN"]
    sharp = {name: numbers(said, rf"{name} +detail (\d+)%")[0] for name in names}
    assert sharp["GAN"] > 1.2 * max(sharp["L1"], sharp["Lips"])


def test_the_one_plot_tells_who_listens(said):
    (deaf,) = numbers(said, r"start least error .* costs up to (\S+)%")
    shift, costs = numbers(said, r"Lips +least error at a shift of (\S+) frames; wrong sound costs up to (\S+)%")
    assert deaf < 2 and costs > 5 and abs(shift) <= 2


def test_the_discriminators_know_what_the_text_says(said):
    assert numbers(said, r"sync +tells sound in time .* in (\S+)% of")[0] > 75
    assert numbers(said, r"discriminator +tells sound in time .* in (\S+)% of")[0] < 65  # the text: hardly a guess
    assert numbers(said, r"quality +tells a true frame .* in (\S+)% of")[0] > 75
    assert numbers(said, r"quality +(\d+)% of the map")[0] > 50  # the half that is painted


def test_the_mouth_speaks_at_the_end(said):
    assert numbers(said, r"the mouth in the video .* correlation of (\S+)")[0] > 0.75
