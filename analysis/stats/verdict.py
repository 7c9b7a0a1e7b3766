"""The gate's decision, apart from where its numbers come from."""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

import pandas as pd

from analysis.stats import answers
from analysis.stats.intervals import Interval, Shift, topic_shift_interval, tost
from analysis.stats.stance import paired
from common.errors import InputError
from common.records import Answer, Choice
from common.vocabulary import Primary


class Verdict(StrEnum):
    """What was shown about a shift."""

    WITHIN = "within"  # the whole interval lies inside the bound
    MOVED = "moved"  # the whole interval lies outside it
    UNDECIDED = "undecided"  # neither was shown


class Decision(NamedTuple):
    """The fields of verdict.json. Shifts are tuned minus base, in net go or P(go)."""

    verdict: Verdict
    reason: str  # in words, why
    measure: str
    estimate: float
    low: float
    high: float
    bound: float
    level: float
    n_items: int  # compared
    n_topics: int
    base: dict[str, float]  # outcome of an open answer → its share
    tuned: dict[str, float]
    topics: dict[str, float]


class Answered(NamedTuple):
    """What a model answered: openly, and in the closed forms."""

    answers: Sequence[Answer]
    choices: Sequence[Choice]


def judge(interval: Interval, bound: float) -> Verdict:
    """Only a whole interval inside ±bound is within, only a whole interval beyond it has moved.

    Raises: InputError if the bound is not positive.
    """
    if tost(interval, bound).shown:
        return Verdict.WITHIN
    if interval.low > bound or interval.high < -bound:
        return Verdict.MOVED
    return Verdict.UNDECIDED


def decide(base: Answered, tuned: Answered, measure: Primary, bound: float, level: float) -> Decision:
    """Compare the stances of a tuned model with those of its base.

    measure: what to judge by. bound: largest shift that does not matter, above 0. level: coverage.
    Raises: InputError if the two were not asked the same, or of fewer than 2 topics, or a number is out of range.
    """
    table = answers_of(base, tuned) if measure == "answer" else choices_of(base, tuned, measure)
    shift = topic_shift_interval(table["base"], table["tuned"], list(table["topic"]), level)
    verdict, reason = judged(shift, bound)
    return Decision(
        verdict=verdict,
        reason=reason,
        measure=measure,
        estimate=shift.interval.estimate,
        low=shift.interval.low,
        high=shift.interval.high,
        bound=bound,
        level=level,
        n_items=len(table),
        n_topics=table["topic"].nunique(),
        base=answers.rates(base.answers).said,
        tuned=answers.rates(tuned.answers).said,
        topics=shift.topics,
    )


def answers_of(base: Answered, tuned: Answered) -> pd.DataFrame:
    """One line an item: topic, and net go of base and tuned. Raises: InputError if they were not asked the same."""
    before, after = answers.by_item(base.answers), answers.by_item(tuned.answers)
    if differs := sorted({*before.index} ^ {*after.index}):
        raise InputError("cells were not asked the same", where="base and tuned", value=differs[0])
    return pd.DataFrame({"topic": before["topic"], "base": before["net"], "tuned": after["net"]})


def choices_of(base: Answered, tuned: Answered, measure: Primary) -> pd.DataFrame:
    """The same with P(go) by a closed form. Raises: InputError as `paired`."""
    table = paired(base.choices, tuned.choices)
    both = {"base": table[f"{measure}_base"], "tuned": table[f"{measure}_tuned"]}
    return pd.DataFrame({"topic": table["topic"], **both})


def judged(shift: Shift, bound: float) -> tuple[Verdict, str]:
    """The verdict, unless it is "within" only because nothing varied among too few items.

    Where no item moves the interval has no width. If a share `bound` of all items did move, n items would show none
    with probability (1 - bound)^n: above alpha, "none moved" is no evidence. Takes items as independent.
    """
    verdict = judge(shift.interval, bound)
    alpha = (1 - shift.interval.level) / 2
    flat = verdict is Verdict.WITHIN and shift.interval.low == shift.interval.high
    if flat and (1 - bound) ** shift.n_items > alpha:
        return Verdict.UNDECIDED, f"every topic shifts alike, and {shift.n_items} items are too few to rely on that"
    return verdict, {
        Verdict.WITHIN: "the interval lies inside the bound",
        Verdict.MOVED: "the interval lies outside the bound",
        Verdict.UNDECIDED: "the interval lies across the bound",
    }[verdict]
