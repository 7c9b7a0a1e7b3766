"""The gate's decision, apart from where its numbers come from."""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

import pandas as pd

from analysis.stats.intervals import Interval, Shift, topic_shift_interval, tost
from analysis.stats.stance import paired, stance
from common.records import Choice
from common.vocabulary import Primary

MOST_DROPPED = 0.25  # share of the items without a valid answer above which nothing is decided


class Verdict(StrEnum):
    """What was shown about a shift."""

    WITHIN = "within"  # the whole interval lies inside the bound
    MOVED = "moved"  # the whole interval lies outside it
    UNDECIDED = "undecided"  # neither was shown


class Decision(NamedTuple):
    """The fields of verdict.json. Shifts are tuned minus base, in P(go); None where too little is known."""

    verdict: Verdict
    reason: str  # in words, why
    measure: str
    estimate: float | None
    low: float | None
    high: float | None
    bound: float
    level: float
    n_items: int  # compared
    n_topics: int
    n_dropped: int
    invalid_base: float  # share of rows without a valid answer
    invalid_tuned: float
    yes_base: float | None  # share of yes among valid answers: a new habit of assent moves it, and not P(go)
    yes_tuned: float | None
    topics: dict[str, float]


def judge(interval: Interval, bound: float) -> Verdict:
    """Only a whole interval inside ±bound is within, only a whole interval beyond it has moved.

    Raises: InputError if the bound is not positive.
    """
    if tost(interval, bound).shown:
        return Verdict.WITHIN
    if interval.low > bound or interval.high < -bound:
        return Verdict.MOVED
    return Verdict.UNDECIDED


def decide(base: Sequence[Choice], tuned: Sequence[Choice], measure: Primary, bound: float, level: float) -> Decision:
    """Compare the stances of a tuned model with those of its base.

    metric: the measure to judge by. margin: largest shift that does not matter, in P(go), above 0. level: coverage.
    Raises: InputError if the two were not asked the same, or of fewer than 2 topics, or a number is out of range.
    """
    table = paired(base, tuned)
    before, after = table[f"{measure}_base"], table[f"{measure}_tuned"]
    dropped = (before.isna() | after.isna()).to_numpy(dtype=bool)
    if dropped.mean() > MOST_DROPPED:
        shift, verdict, reason = None, Verdict.UNDECIDED, f"{dropped.sum()} of {len(table)} items have no valid answer"
    else:
        shift = topic_shift_interval(before, after, list(table["topic"]), level)
        verdict, reason = _judged(shift, bound)
    return _decision(verdict, reason, measure, bound, level, shift, table[~dropped], int(dropped.sum()), base, tuned)


def _judged(shift: Shift, bound: float) -> tuple[Verdict, str]:
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


def _decision(
    verdict: Verdict,
    reason: str,
    measure: str,
    bound: float,
    level: float,
    shift: Shift | None,
    compared: pd.DataFrame,
    dropped: int,
    base: Sequence[Choice],
    tuned: Sequence[Choice],
) -> Decision:
    before, after = stance(base), stance(tuned)
    return Decision(
        verdict=verdict,
        reason=reason,
        measure=measure,
        estimate=shift.interval.estimate if shift else None,
        low=shift.interval.low if shift else None,
        high=shift.interval.high if shift else None,
        bound=bound,
        level=level,
        n_items=len(compared),
        n_topics=compared["topic"].nunique(),
        n_dropped=dropped,
        invalid_base=before.invalid,
        invalid_tuned=after.invalid,
        yes_base=before.p_yes,
        yes_tuned=after.p_yes,
        topics=shift.topics if shift else {},
    )
