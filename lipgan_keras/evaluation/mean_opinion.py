"""Mean opinion scores and preferences from the answers of several judges.

The CSV files are what a judging sheet exports: a row for each clip that a judge has seen, with marks from 1 (bad) to 5
(excellent), the absolute category rating of ITU-T P.800, and whether the judge preferred it to the other clip shown.

Judges and pairs are both samples: another judge would mark otherwise, and so would these on other clips. The marks of
one judge are alike, and so are those of one clip, so that an interval over single marks would be too narrow. Here
judges and pairs are both drawn with replacement, independently of each other, and a mark counts as often as its judge
was drawn times its pair (Owen 2007, "The pigeonhole bootstrap": the variance is, if anything, too large). With one
judge, or one pair, only the other of the two is drawn.
"""

import dataclasses
import math
import os
from collections.abc import Iterable

import numpy as np

from ..utils import tables, terminal
from ..utils.errors import UserError

QUESTIONS = ("sync", "quality", "overall")
COLUMNS = (
    *("judge", "pair", "side", "name", *QUESTIONS, "system", "sheet", "position", "answered"),
    *("trial", "preferred"),  # sheets of older releases have neither
)
NEEDED = ("judge", "pair", "name", *QUESTIONS)
NAMES = ("generated", "frozen", "truth")
SCALE = ("bad", "poor", "fair", "good", "excellent")  # 1 to 5


@dataclasses.dataclass
class Answer:
    """What a judge said of one clip.

    Attributes:
        judge: name.
        pair: name of the video.
        name: of NAMES.
        system: what made the generated clip; "" where the file does not say, or a truth belongs to several systems.
        sheet: which judging sheet it was; "" likewise.
        answered: time of the last mark, ISO 8601 in UTC, or "".
        trial: names the two clips that were shown together; "" in files of older releases.
        preferred: whether this clip was said to be the better of the two; None where the judge did not say.
        marks: {question: 1 to 5}; a question that was not answered is absent.
    """

    judge: str
    pair: str
    name: str
    system: str
    sheet: str
    answered: str
    trial: str
    preferred: bool | None
    marks: dict[str, int]

    @property
    def clip(self):
        return self.sheet, self.system, self.pair, self.name

    @property
    def shown(self):
        """The two clips that were shown together."""
        return (self.sheet, self.trial) if self.trial else (self.sheet, self.system, self.pair)


def read(path: str | os.PathLike) -> list[Answer]:
    """The answers in a CSV file, in its order.

    Raises:
        UserError: no table, columns are missing, a line does not fit them, a mark is not 1 to 5, a clip has another
            name than NAMES, or there are no answers.
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
        if cell["preferred"] not in ("", "0", "1"):
            raise UserError(f"{path}: line {line}: preferred is {cell['preferred']!r}; it is 1, 0 or empty")
        preferred = cell["preferred"] == "1" if cell["preferred"] else None
        if not marks and preferred is None:
            continue
        for name in ("judge", "pair", "name"):
            if not cell[name]:
                raise UserError(f"{path}: line {line} names no {name}; fill it in, or leave the line out")
        if cell["name"] not in NAMES:
            raise UserError(f"{path}: line {line}: name is {cell['name']!r}; clips are named {', '.join(NAMES)}")
        texts = (cell[n] for n in ("judge", "pair", "name", "system", "sheet", "answered", "trial"))
        answers.append(Answer(*texts, preferred, marks))
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
        key = (answer.judge, answer.shown, answer.clip)
        before = merged.get(key)
        again += before is not None
        if before and before.answered and answer.answered and before.answered > answer.answered:
            continue
        merged[key] = answer
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
    """Scores of every name and question, and preferences.

    Where a judge has marked a clip in several trials, the mean of these marks counts.

    Returns:
        {"judges": [{"name", "clips", "mean": {question: mean mark}}], "pairs": number of pairs of clips,
        "scores": {name: {question: {"mean", "low", "high", "n"}}}, n the number of judges' clips,
        "difference": the same of generated - truth, by videos of which a judge has marked both,
        "preferences": {"one over other": {"mean", "low", "high", "n"}}, the share of the choices for the one,
        "agreement": {question or "preferred": Krippendorff's alpha}, "sheets": number of sheets,
        "unanswered": number of marks missing in `answers`,
        "contradicting": number of trials in which both clips or neither were preferred, which count for nothing}.
        With several systems, names are "generated (system)" and "truth (system)". What is not defined is None.
    """
    judges = sorted({a.judge for a in answers})
    clips = sorted({a.clip for a in answers})
    rows, columns = ({name: i for i, name in enumerate(names)} for names in (judges, clips))
    marks = {q: _marks(answers, q, rows, columns) for q in QUESTIONS}
    label = _labels(answers)
    scores: dict[str, dict] = {}
    for name, system in sorted({(c[3], c[1]) for c in clips}, key=lambda kind: (kind[1], -NAMES.index(kind[0]))):
        of_name = [columns[c] for c in clips if (c[3], c[1]) == (name, system)]
        scores[label(name, system)] = {q: _score(marks[q][:, of_name]) for q in QUESTIONS}
    difference = {}
    for system in sorted({c[1] for c in clips if c[3] == "generated"}):
        pairs = [
            (columns[clip], columns[truth])
            for clip in clips
            if (clip[1], clip[3]) == (system, "generated")
            for truth in ((*clip[:3], "truth"), (clip[0], "", clip[2], "truth"))
            if truth in columns
        ]
        if pairs:
            generated, truth = map(list, zip(*dict(pairs).items(), strict=True))
            difference[label("generated - truth", system)] = {
                q: _score(marks[q][:, generated] - marks[q][:, truth]) for q in QUESTIONS
            }
    preferences, choices, contradicting = _preferences(answers, label, rows)
    return {
        "judges": [
            {
                "name": judge,
                "clips": sum(a.judge == judge for a in answers),
                "mean": {q: _number(_mean(marks[q][rows[judge]])) for q in QUESTIONS},
            }
            for judge in judges
        ],
        "pairs": len({a.shown for a in answers}),
        "scores": scores,
        "difference": difference,
        "preferences": preferences,
        "agreement": {q: _number(agreement(marks[q])) for q in QUESTIONS} | {"preferred": _number(agreement(choices))},
        "sheets": len({a.sheet for a in answers}),
        "unanswered": sum(len(QUESTIONS) - len(a.marks) for a in answers),
        "contradicting": contradicting,
    }


def _marks(answers, question, rows, columns):
    """(judges, clips): mean marks, NaN where there is none."""
    total, count = np.zeros((2, len(rows), len(columns)))
    for answer in answers:
        if question in answer.marks:
            place = rows[answer.judge], columns[answer.clip]
            total[place] += answer.marks[question]
            count[place] += 1
    return np.where(count, total / np.maximum(count, 1), math.nan)


def _labels(answers):
    """How a name and a system are called, which is shorter where there is one system."""
    several = len({a.system for a in answers}) > 1
    # On sheets of several systems the truth belongs to none.
    named = {a.sheet for a in answers if a.name == "generated" and a.system}
    shared = {a.name for a in answers if not a.system and a.sheet in named}

    def label(name, system):
        if not several or (not system and name in shared):
            return name
        return f"{name} ({system or 'no system named'})"

    return label


def _preferences(answers, label, rows):
    """{"one over other": score}; (judges, trials, there and back) 1 where the one was chosen, 0 where the other; and
    how many trials contradict themselves.

    Which of two is "the one" is a matter of names. So each choice counts both ways in the table that agreement is
    measured on: chance is to take either equally often.
    """
    together: dict[tuple, list[Answer]] = {}
    for answer in answers:
        together.setdefault((answer.judge, answer.shown), []).append(answer)
    trials = {shown: i for i, shown in enumerate(sorted({a.shown for a in answers}))}
    chosen: dict[str, np.ndarray] = {}
    contradicting = 0
    for (judge, shown), two in together.items():
        if len(two) != 2 or {a.preferred for a in two} != {False, True}:
            contradicting += len({a.preferred for a in two} - {None}) == 1 and len(two) == 2
            continue
        one, other = sorted(two, key=lambda a: (NAMES.index(a.name), a.system))
        name = f"{label(one.name, one.system)} over {label(other.name, other.system)}"
        table = chosen.setdefault(name, np.full((len(rows), len(trials)), math.nan))
        table[rows[judge], trials[shown]] = one.preferred
    choices = np.full((len(rows), len(trials)), math.nan)
    for table in chosen.values():
        choices = np.where(np.isfinite(table), table, choices)
    return {name: _score(chosen[name]) for name in sorted(chosen)}, np.hstack([choices, 1 - choices]), contradicting


def _score(marks):
    low, high = interval(marks)
    n = int(np.isfinite(marks).sum())
    return {"mean": _number(_mean(marks)), "low": _number(low), "high": _number(high), "n": n}


def _mean(marks):
    return float(np.nanmean(marks)) if np.isfinite(marks).any() else math.nan


def _number(value):
    return value if math.isfinite(value) else None


def lines(summary: dict) -> Iterable[str]:
    """What people read of `summarise`."""
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
    wide = max(map(len, summary["preferences"]), default=0) + 2
    for name, score in summary["preferences"].items():
        yield f"{name:{wide}}{_cell(score)} of {score['n']} choice{'s' * (score['n'] != 1)}"
    if summary["preferences"]:
        alpha = summary["agreement"]["preferred"]
        yield f"shares that preferred the one; agreement (alpha) {'-' if alpha is None else format(alpha, '.2f')}"
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
