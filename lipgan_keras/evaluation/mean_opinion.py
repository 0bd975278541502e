"""Mean opinion scores from the answers of several judges.

    python -m lipgan_keras.judging summarise judge1.csv judge2.csv [--json scores.json]

The CSV files are what the judging sheet of `lipgan_keras.report` exports: a row for each clip that a judge has seen,
with marks from 1 (bad) to 5 (excellent), the absolute category rating of ITU-T P.800.

Judges and pairs are both samples: another judge would mark otherwise, and so would these on other clips. The marks of
one judge are alike, and so are those of one clip, so that an interval over single marks would be too narrow. Here
judges and pairs are both drawn with replacement, independently of each other, and a mark counts as often as its judge
was drawn times its pair (Owen 2007, "The pigeonhole bootstrap": the variance is, if anything, too large). With one
judge, or one pair, only the other of the two is drawn.
"""

import dataclasses
import json
import math
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ..utils import cli, files, jsontext, tables, terminal
from ..utils.cli import ArgumentParser
from ..utils.errors import UserError

QUESTIONS = ("sync", "quality", "overall")
COLUMNS = ("judge", "pair", "side", "name", *QUESTIONS, "system", "sheet", "position", "answered")
NEEDED = ("judge", "pair", "name", *QUESTIONS)
SCALE = ("bad", "poor", "fair", "good", "excellent")  # 1 to 5


@dataclasses.dataclass
class Answer:
    """What a judge said of one clip.

    Attributes:
        judge, pair: names.
        name: "generated" or "truth".
        system: what made the generated clip of the pair; "" where the file does not say.
        sheet: which judging sheet it was; "" likewise.
        answered: time of the last mark, ISO 8601 in UTC, or "".
        marks: {question: 1 to 5}; a question that was not answered is absent.
    """

    judge: str
    pair: str
    name: str
    system: str
    sheet: str
    answered: str
    marks: dict[str, int]

    @property
    def key(self):
        return self.judge, self.sheet, self.system, self.pair, self.name


def read(path: str | os.PathLike) -> list[Answer]:
    """The answers in a CSV file, in its order.

    Raises:
        UserError: no table, columns are missing, a line does not fit them, a mark is not 1 to 5, a clip is neither
            generated nor truth, or there are no answers.
    """
    answers = []
    names, rows = tables.rows(path, "give a CSV file in UTF-8, as the judging sheet exports it", strict=True)
    missing = [name for name in NEEDED if name not in names]
    if missing:
        raise UserError(f"{path}: has no column {', '.join(missing)}; give a CSV file that the judging sheet exported")
    for line, row in rows:
        if None in row:
            raise UserError(f"{path}: line {line} has more cells than the first line; quote those that hold commas")
        cell = {name: terminal.text_of(row.get(name) or "").strip() for name in COLUMNS}
        marks = {}
        for question in QUESTIONS:
            if cell[question] not in ("", "1", "2", "3", "4", "5"):
                raise UserError(f"{path}: line {line}: {question} is {cell[question]!r}; marks are 1, 2, 3, 4 or 5")
            if cell[question]:
                marks[question] = int(cell[question])
        if not marks:
            continue
        for name in ("judge", "pair", "name"):
            if not cell[name]:
                raise UserError(f"{path}: line {line} names no {name}; fill it in, or leave the line out")
        if cell["name"] not in ("generated", "truth"):
            raise UserError(f"{path}: line {line}: name is {cell['name']!r}; clips are named generated or truth")
        answers.append(Answer(*(cell[n] for n in ("judge", "pair", "name", "system", "sheet", "answered")), marks))
    if not answers:
        raise UserError(f"{path}: holds no answers; judge some pairs and export them again")
    return answers


def merge(answers: Iterable[Answer]) -> tuple[list[Answer], int]:
    """One answer for each judge and clip, and the number of those given again.

    Of a judge's answers to one clip the last counts: the latest, or, where a time is missing, the one that comes last
    here.
    """
    merged: dict[tuple, Answer] = {}
    again = 0
    for answer in answers:
        before = merged.get(answer.key)
        again += before is not None
        if before and before.answered and answer.answered and before.answered > answer.answered:
            continue
        merged[answer.key] = answer
    return list(merged.values()), again


def interval(marks: np.ndarray, level: float = 0.95, draws: int = 4000, seed: int = 0) -> tuple[float, float]:
    """Bootstrap interval of the mean mark, over judges and pairs (see the top of this module).

    Args:
        marks: (judges, pairs) floats, NaN where a judge has not seen a pair.

    Returns:
        (low, high); NaN where there is only one judge and one pair, or no mark.
    """
    marks = np.asarray(marks, "float64")
    marks = marks[np.isfinite(marks).any(axis=1)][:, np.isfinite(marks).any(axis=0)]
    if marks.size < 2:
        return math.nan, math.nan
    rng = np.random.default_rng(seed)

    def weights(count):
        return rng.multinomial(count, np.full(count, 1 / count), size=draws).astype("float64")

    judges, pairs = (weights(count) for count in marks.shape)
    there = np.isfinite(marks)
    count = ((judges @ there) * pairs).sum(axis=1)
    total = ((judges @ np.where(there, marks, 0)) * pairs).sum(axis=1)
    means = total[count > 0] / count[count > 0]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def agreement(marks: np.ndarray) -> float:
    """Krippendorff's alpha with the interval metric (Krippendorff 2011, "Computing Krippendorff's alpha-reliability").

    Args:
        marks: (judges, clips) floats, NaN where a judge has not seen a clip.

    Returns:
        1: the judges agree; 0: as if each gave marks at random; below: worse. NaN where no clip has two judges, or all
        marks are the same.
    """
    marks = np.asarray(marks, "float64")
    there = np.isfinite(marks)
    marks, there = marks[:, there.sum(axis=0) > 1], there[:, there.sum(axis=0) > 1]
    values = marks[there]
    if not values.size:
        return math.nan
    count = there.sum(axis=0)
    # The sum of (a - b)^2 over all ordered pairs of n values is 2 (n sum(a^2) - sum(a)^2).
    within = 2 * (count * np.nansum(marks**2, axis=0) - np.nansum(marks, axis=0) ** 2)
    observed = (within / (count - 1)).sum() / values.size
    expected = 2 * (values.size * (values**2).sum() - values.sum() ** 2) / (values.size * (values.size - 1))
    return float(1 - observed / expected) if expected > 1e-12 else math.nan


def summarise(answers: list[Answer]) -> dict:
    """Scores of every name and question.

    Returns:
        {"judges": [{"name", "clips", "mean": {question: mean mark}}], "pairs": number of pairs,
        "scores": {name: {question: {"mean", "low", "high", "n"}}}, n the number of marks,
        "difference": the same of generated - truth, by pairs that a judge has marked both sides of,
        "agreement": {question: Krippendorff's alpha}, "sheets": number of sheets,
        "unanswered": number of marks missing in `answers`}.
        With several systems, names are "generated (system)" and "truth (system)". What is not defined is None.
    """
    systems = sorted({a.system for a in answers})

    def label(name, system):
        return f"{name} ({system or 'no system named'})" if len(systems) > 1 else name

    judges = sorted({a.judge for a in answers})
    clips = sorted({a.key[1:] for a in answers})
    marks = {question: np.full((len(judges), len(clips)), math.nan) for question in QUESTIONS}
    rows, columns = ({name: i for i, name in enumerate(names)} for names in (judges, clips))
    for answer in answers:
        for question, mark in answer.marks.items():
            marks[question][rows[answer.judge], columns[answer.key[1:]]] = mark

    def chosen(name, system):
        return [i for i, clip in enumerate(clips) if (clip[3], clip[1]) == (name, system)]

    scores, difference = {}, {}
    for system in systems:
        for name in sorted({clip[3] for clip in clips if clip[1] == system}, reverse=True):
            of_name = chosen(name, system)
            scores[label(name, system)] = {q: _score(marks[q][:, of_name]) for q in QUESTIONS}
        pairs = [
            (i, columns[(*clips[i][:3], "truth")])
            for i in chosen("generated", system)
            if (*clips[i][:3], "truth") in columns
        ]
        if pairs:
            generated, truth = map(list, zip(*pairs, strict=True))
            difference[label("generated - truth", system)] = {
                q: _score(marks[q][:, generated] - marks[q][:, truth]) for q in QUESTIONS
            }
    return {
        "judges": [
            {
                "name": judge,
                "clips": sum(a.judge == judge for a in answers),
                "mean": {q: _number(_mean(marks[q][rows[judge]])) for q in QUESTIONS},
            }
            for judge in judges
        ],
        "pairs": len({clip[:3] for clip in clips}),
        "scores": scores,
        "difference": difference,
        "agreement": {q: _number(agreement(marks[q])) for q in QUESTIONS},
        "sheets": len({a.sheet for a in answers}),
        "unanswered": sum(len(QUESTIONS) - len(a.marks) for a in answers),
    }


def _score(marks):
    low, high = interval(marks)
    n = int(np.isfinite(marks).sum())
    return {"mean": _number(_mean(marks)), "low": _number(low), "high": _number(high), "n": n}


def _mean(marks):
    return float(np.nanmean(marks)) if np.isfinite(marks).any() else math.nan


def _number(value):
    return value if math.isfinite(value) else None


def _lines(summary: dict) -> Iterable[str]:
    sections = summary["scores"] | summary["difference"]
    width = max(len("agreement (alpha)"), *map(len, sections)) + 2
    yield " " * width + "".join(f"{question:22}" for question in QUESTIONS).rstrip()
    for name, scores in sections.items():
        yield f"{name:{width}}" + "".join(f"{_cell(scores[question]):22}" for question in QUESTIONS).rstrip()
    alphas = (summary["agreement"][question] for question in QUESTIONS)
    yield (
        f"{'agreement (alpha)':{width}}"
        + "".join(f"{'-' if a is None else format(a, '.2f'):22}" for a in alphas).rstrip()
    )
    yield (
        "means of marks from 1 (bad) to 5 (excellent), with 95 % intervals over judges and pairs; alpha: Krippendorff's"
    )
    if len(summary["judges"]) == 1:
        yield "one judge: the intervals are over pairs only and say nothing of other judges"
    for judge in summary["judges"]:
        means = ", ".join(
            f"{q} {'-' if judge['mean'][q] is None else format(judge['mean'][q], '.2f')}" for q in QUESTIONS
        )
        yield f"  {judge['name']}: {judge['clips']} clips; mean {means}"


def _cell(score):
    if score["mean"] is None:
        return "-"
    if score["low"] is None:
        return f"{score['mean']:.2f}"
    return f"{score['mean']:.2f} [{score['low']:.2f}, {score['high']:.2f}]"


def main() -> None:
    parser = ArgumentParser(prog="python -m lipgan_keras.judging", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("summarise", help="mean opinion scores, with intervals and the judges' agreement")
    command.add_argument(
        "answers",
        type=cli.path,
        nargs="+",
        metavar="ANSWERS.csv",
        help="what the judging sheet exported, of one judge or several",
    )
    command.add_argument("--json", type=cli.path, help="file to write the scores to")
    args = parser.parse_args()
    if args.json:
        files.check_outfile(args.json, *args.answers, suffix=".json", mark=jsontext.with_keys("judges", "given_again"))
        files.check_writable(Path(args.json).parent)
    answers, again = merge(answer for path in args.answers for answer in read(path))
    summary = summarise(answers) | {"given_again": again}
    number = len(summary["judges"])
    print(f"{number} judge{'s' * (number > 1)}, {summary['pairs']} pairs, {len(answers)} clips marked")
    if again:
        print(f"{again} answers were given again; the last one of each judge and clip counts")
    if summary["sheets"] > 1:
        print(f"{summary['sheets']} different sheets: the same pair on two of them counts as two pairs")
    if summary["unanswered"]:
        print(f"{summary['unanswered']} marks are missing, and left out of the means")
    for line in _lines(summary):
        terminal.say(line)
    if args.json:
        with files.replacing(args.json) as temporary:
            temporary.write_text(json.dumps(summary, indent=2) + "\n")
