import csv
import json

import numpy as np
import pytest

from helpers.checks import assert_one_line
from helpers.synthetic import call
from lipgan_keras.evaluation import mean_opinion
from lipgan_keras.utils.errors import UserError

NAN = np.nan
HEADER = ",".join(mean_opinion.COLUMNS)


def write(path, *rows, header=HEADER):
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def row(judge, pair, name, sync, quality=3, overall=3, system="model", answered=""):
    return f"{judge},{pair},left,{name},{sync},{quality},{overall},{system},sheet,1,{answered}"


def test_mean_opinion_scores_of_both_sides(tmp_path):
    answers = []
    for judge, less in (("Ann", 0), ("Bob", 1)):
        rows = [row(judge, f"p{i}", "truth", 5 - less, 4, "") for i in range(4)]
        rows += [row(judge, f"p{i}", "generated", 3 - less, 2 + i % 2, 1) for i in range(4)]
        answers += mean_opinion.read(write(tmp_path / f"{judge}.csv", *rows))
    summary = mean_opinion.summarise(answers)
    assert summary["scores"]["truth"]["sync"]["mean"] == 4.5 and summary["scores"]["truth"]["sync"]["n"] == 8
    assert summary["scores"]["generated"]["quality"]["mean"] == 2.5
    assert summary["scores"]["truth"]["overall"] == {"mean": None, "low": None, "high": None, "n": 0}
    assert summary["unanswered"] == 8 and summary["pairs"] == 4
    # Bob is stricter by a constant, so that the difference within pairs is the same for both.
    assert summary["difference"]["generated - truth"]["sync"] == {"mean": -2, "low": -2, "high": -2, "n": 8}
    # By judges
    assert summary["scores"]["truth"]["sync"]["low"] == 4 and summary["scores"]["truth"]["sync"]["high"] == 5
    assert [j["mean"]["sync"] for j in summary["judges"]] == [4, 3]


def test_systems_are_kept_apart(tmp_path):
    path = write(
        tmp_path / "a.csv", row("A", "p", "generated", 1, system="one"), row("A", "p", "generated", 5, system="two")
    )
    scores = mean_opinion.summarise(mean_opinion.read(path))["scores"]
    assert {name: score["sync"]["mean"] for name, score in scores.items()} == {
        "generated (one)": 1,
        "generated (two)": 5,
    }


def trial(judge, number, *clips, video=None):
    """Rows of two clips (name, system, sync, preferred) that were shown together."""
    return [
        row(judge, video or f"v{number}", name, sync, system=system) + f",t{number},{preferred}"
        for name, system, sync, preferred in clips
    ]


def test_preferences_between_systems_and_their_agreement(tmp_path):
    rows = []
    for judge in "ABC":
        for number in range(4):
            one, other = ("generated", "one", 4), ("generated", "two", 2)
            rows += trial(judge, number, (*one, 1), (*other, 0)) if number else trial(judge, 0, (*other, 1), (*one, 0))
        wins = int(judge != "C")
        rows += trial(judge, 5, ("truth", "", 5, wins), ("generated", "one", 3, 1 - wins))
        rows += trial(judge, 6, ("truth", "", 5, ""), ("frozen", "", 1, ""))  # not chosen
        rows += trial(judge, 7, ("generated", "one", 2, ""), video="v1")  # seen before: the mean counts
    summary = mean_opinion.summarise(mean_opinion.read(write(tmp_path / "a.csv", *rows)))
    assert set(summary["scores"]) == {"truth", "frozen", "generated (one)", "generated (two)"}
    preferences = summary["preferences"]
    assert set(preferences) == {"generated (one) over generated (two)", "generated (one) over truth"}
    assert preferences["generated (one) over generated (two)"]["mean"] == 0.75
    assert preferences["generated (one) over generated (two)"]["n"] == 12
    assert preferences["generated (one) over truth"]["mean"] == pytest.approx(1 / 3)
    # By hand: 5 trials of 3 judges, both ways: of 60 ordered pairs, 8 disagree; of all 30 * 29, 2 * 15 * 15.
    assert summary["agreement"]["preferred"] == pytest.approx(1 - (8 / 60) / (450 / 870))
    assert summary["difference"]["generated - truth (one)"]["sync"]["mean"] == -2
    assert summary["scores"]["generated (one)"]["sync"]["mean"] == pytest.approx((4 + 3 + 4 + 4 + 3) / 5)
    assert any(
        "over truth" in line and "0.33" in line and "of 3 choices" in line for line in mean_opinion.lines(summary)
    )


def test_choices_that_contradict_themselves_count_for_nothing(tmp_path, capfd):
    one, other = ("generated", "one", 4), ("generated", "two", 2)
    rows = (
        trial("A", 0, (*one, 1), (*other, 1))
        + trial("A", 1, (*one, 0), (*other, 0))
        + trial("A", 2, (*one, ""), (*other, ""))
    )
    path = write(tmp_path / "a.csv", *rows, *trial("A", 3, (*one, 1), (*other, 0)))
    result = call("lipgan_keras.judging", "summarise", path, capfd=capfd)
    assert "2 pairs have both clips preferred, or neither" in result.stdout and "of 1 choice\n" in result.stdout


def test_names_of_systems_and_of_answers_without_any(tmp_path):
    """A truth of several systems is one; that of an old file belongs to what the file does not name."""
    old = row("A", "p", "truth", 5, system="").replace("sheet", "old") + ",,"
    rows = [*trial("A", 0, ("generated", "one", 4, 1), ("truth", "", 2, 0)), old]
    scores = mean_opinion.summarise(mean_opinion.read(write(tmp_path / "a.csv", *rows)))["scores"]
    assert set(scores) == {"generated (one)", "truth"}
    old = row("A", "p", "generated", 5, system="").replace("sheet", "old") + ",,"
    scores = mean_opinion.summarise(mean_opinion.read(write(tmp_path / "a.csv", row("B", "q", "truth", 1), old)))[
        "scores"
    ]
    assert set(scores) == {"generated (no system named)", "truth (model)"}


def test_interval_is_as_wide_as_judges_and_pairs_differ():
    rng = np.random.default_rng(1)
    noise = 3 + 0.5 * rng.standard_normal((8, 30))
    judges = noise + 0.8 * rng.standard_normal((8, 1))
    pairs = noise + 0.8 * rng.standard_normal((1, 30))

    def width(marks):
        low, high = mean_opinion.interval(marks)
        assert low < np.nanmean(marks) < high
        return high - low

    # Of a mean over 8 judges whose own means vary by s, the interval is about 2 * 1.96 * s / sqrt(8); bootstrap's is
    # narrower by sqrt(7 / 8). The same of pairs.
    assert width(judges) == pytest.approx(3.92 * judges.mean(axis=1).std() / 8**0.5, rel=0.2)
    assert width(pairs) == pytest.approx(3.92 * pairs.mean(axis=0).std() / 30**0.5, rel=0.35)
    assert width(noise) < 0.6 * width(pairs) < width(judges)
    judges[rng.random(judges.shape) < 0.3] = NAN  # not everyone saw everything
    assert 0.5 < width(judges) < 2
    assert width(judges[:1]) > 0 and width(judges[:, :1]) > 0
    assert np.isnan(mean_opinion.interval(judges[:1, :1])).all()


def test_agreement_of_the_example_in_krippendorff_2011():
    marks = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
        [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
    ]
    assert mean_opinion.agreement(marks) == pytest.approx(0.849, abs=5e-4)
    assert mean_opinion.agreement([[1, 3, 5], [1, 3, 5]]) == 1
    assert mean_opinion.agreement([[1, 5], [5, 1]]) < 0
    assert abs(mean_opinion.agreement(np.random.default_rng(0).integers(1, 6, (3, 2000)))) < 0.05
    assert np.isnan(mean_opinion.agreement([[1, NAN], [NAN, 3]])) and np.isnan(mean_opinion.agreement([[3, 3], [3, 3]]))


def test_the_last_answer_counts(tmp_path, capfd):
    late, early = "2026-01-02T10:00:00Z", "2026-01-02T09:00:00Z"
    # "a (1).csv", the later export, comes first in the shell's order.
    later = write(tmp_path / "a (1).csv", row("A", "p", "generated", 2, answered=late), row("A", "q", "generated", 4))
    earlier = write(tmp_path / "a.csv", row("A", "p", "generated", 5, answered=early), row("A", "q", "generated", 3))
    out = tmp_path / "scores.json"
    result = call("lipgan_keras.judging", "summarise", later, earlier, "--json", out, capfd=capfd)
    assert result.returncode == 0 and not result.stderr
    assert "2 answers were given again" in result.stdout and "one judge" in result.stdout
    scores = json.loads(out.read_text())
    # (2, the later, and 3, the last)
    assert scores["scores"]["generated"]["sync"]["mean"] == 2.5 and scores["given_again"] == 2


def test_answers_to_different_sheets(tmp_path, capfd):
    """The same pair on two sheets is two pairs, which is said."""
    one = write(tmp_path / "a.csv", row("A", "p", "truth", 2))
    other = write(tmp_path / "b.csv", row("B", "p", "truth", 4).replace("sheet", "another"))
    result = call("lipgan_keras.judging", "summarise", one, other, capfd=capfd)
    assert "2 different sheets" in result.stdout and "2 pairs" in result.stdout
    assert "different sheets" not in call("lipgan_keras.judging", "summarise", one, capfd=capfd).stdout


def test_names_with_commas_quotes_and_line_ends(tmp_path):
    with open(tmp_path / "a.csv", "w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows([mean_opinion.NEEDED, ['A, "B"', "x,\ny", "truth", 1, 2, 3]])
    (answer,) = mean_opinion.read(tmp_path / "a.csv")
    assert (answer.judge, answer.pair, answer.marks) == ('A, "B"', "x,\ny", {"sync": 1, "quality": 2, "overall": 3})


@pytest.mark.parametrize(
    "content, words",
    [
        (None, ["no such file"]),
        (b"", ["no column judge, pair"]),
        (b"judge,pair,name,sync,quality\n", ["no column overall"]),
        (HEADER.encode() + b"\n", ["no answers"]),
        (f"{HEADER}\n{row('A', 'p', 'truth', 3)}\n{row('A', 'p', 'truth', 6)}\n".encode(), ["line 3", "sync", "'6'"]),
        (f"{HEADER}\n{row('A', 'p', 'truth', 2.5)}\n".encode(), ["line 2", "2.5"]),
        (f"{HEADER}\n{row('', 'p', 'truth', 2)}\n".encode(), ["line 2", "no judge"]),
        (f"{HEADER}\n{row('A', 'p', 'model', 2)}\n".encode(), ["line 2", "'model'", "truth"]),
        (f"{HEADER}\n{row('A', 'p', 'truth', 2)},t,yes\n".encode(), ["line 2", "preferred", "'yes'"]),
        (
            f"{HEADER}\n{row('A', 'p', 'truth', 2)}\n{row('A, B', 'p', 'truth', 2)},t,1\n".encode(),
            ["line 3", "more cells"],
        ),
        (b"\xff\xfe\x00\x01", ["UTF-8"]),
        (f'{HEADER}\n"A'.encode(), ["CSV"]),
    ],
)
def test_bad_files_are_named(tmp_path, content, words):
    path = tmp_path / "answers.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError) as error:
        mean_opinion.read(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


def test_command_line_ends_with_one_line(tmp_path, capfd):
    good, bad = (
        write(tmp_path / "a.csv", row("A", "p", "truth", 3)),
        write(tmp_path / "b.csv", row("A", "p", "truth", 9)),
    )
    assert_one_line(call("lipgan_keras.judging", "summarise", good, bad, capfd=capfd), bad, "line 2")
    assert_one_line(
        call("lipgan_keras.judging", "summarise", good, "--json", tmp_path / "x.csv", capfd=capfd), "x.csv", ".json"
    )
