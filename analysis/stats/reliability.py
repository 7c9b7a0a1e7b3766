"""What a measure is worth: whether it finds the same items again, and whether it follows what models advise openly.

A measure that a habit drives, or chance, may have a mean and an interval and still say nothing of items. So the effect
of the poles (cautious less eager) is taken over items from odd and from even runs; the base from odd and even samples,
or from the two orders of the closed forms. What too little is known for is None with the reason, never 0.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from analysis.stats import answers, stance
from analysis.stats.measures import MEASURES
from common.records import Answer, Choice

FEWEST_ITEMS = 8  # below which a correlation over items is mostly chance
ALIKE = 1e-9  # values of all items closer than this are equal but for rounding
ANSWER = "answer"  # the name of the open answers among measures
RELIABLE, UNRELIABLE, UNKNOWN = "reliable", "unreliable", "not known"
Values = pd.Series  # item → value of one measure


class Told(NamedTuple):
    """What one cell said to held-out items."""

    answers: Sequence[Answer]
    choices: Sequence[Choice]


class Correlation(NamedTuple):
    """How two sets of values of the same items go together."""

    value: float | None  # -1 to 1
    items: int  # with a value on both sides
    reason: str = ""  # why it is not known


class Reliability(NamedTuple):
    """What one measure is worth on one model."""

    runs: Correlation  # of cautious less eager: odd runs with even ones
    base: Correlation  # of the base: odd samples with even ones, or one order with the other
    agreement: Correlation  # of ranks, of cautious less eager: with the open answers

    def verdict(self, least: float) -> str:
        """Unreliable if a correlation of the measure with itself lies below `least`; not known without that of runs."""
        own = [each.value for each in (self.runs, self.base) if each.value is not None]
        if any(value < least for value in own):
            return UNRELIABLE
        return UNKNOWN if self.runs.value is None else RELIABLE


def correlation(one: Values, other: Values, ranks: bool = False) -> Correlation:
    """Pearson's correlation over the items that both hold, or Spearman's. Items are the index; nan is no value.

    Source: Pearson (1895), Proc. R. Soc. 58; Spearman (1904), Am. J. Psychol. 15(1), ties at mean ranks.
    """
    both = pd.concat([one, other], axis=1, join="inner").dropna().to_numpy(dtype=float)
    if len(both) < FEWEST_ITEMS:
        return Correlation(None, len(both), "too few items")
    if min(both.max(axis=0) - both.min(axis=0)) < ALIKE:
        return Correlation(None, len(both), "all items alike")
    a, b = both.T
    found = stats.spearmanr(a, b) if ranks else stats.pearsonr(a, b)
    return Correlation(float(found.statistic), len(both))


def reliabilities(base: Told, cautious: Sequence[Told], eager: Sequence[Told]) -> dict[str, Reliability]:
    """What the open answers and each of `MEASURES` are worth.

    cautious, eager: the runs of both poles, pair by pair. Raises: InputError as `by_item` of answers and of choices.
    """
    arms = (cautious, eager)
    opened = tuple([answers.by_item(run.answers)["net"] for run in arm] for arm in arms)
    closed = tuple([stance.by_item(run.choices) for run in arm] for arm in arms)
    orders = stance.frame(base.choices).groupby(["order", "item"])[[*MEASURES]].mean()
    found = {ANSWER: Reliability(_runs(*opened), _samples(base.answers), Correlation(None, 0, "the same measure"))}
    for name in MEASURES:
        mine = tuple([table[name] for table in arm] for arm in closed)
        found[name] = Reliability(_runs(*mine), _orders(orders, name), _agreement(mine, opened))
    return found


def effect(cautious: Sequence[Values], eager: Sequence[Values]) -> Values:
    """Cautious less eager, item by item, over the runs of each."""
    one, other = (pd.concat(list(arm), axis=1).mean(axis=1) for arm in (cautious, eager))
    return one - other


def _runs(cautious: Sequence[Values], eager: Sequence[Values]) -> Correlation:
    if min(len(cautious), len(eager)) < len(("odd", "even")):
        return Correlation(None, 0, "too few runs")
    odd, even = zip(*(halves(arm) for arm in (cautious, eager)), strict=True)
    if not all((*odd, *even)):
        return Correlation(None, 0, "runs share no item")
    return correlation(effect(*odd), effect(*even))


def halves(arm: Sequence[Values]) -> tuple[list[Values], list[Values]]:
    """The values of odd and of even runs; where runs share the items out, of those that were asked the same item."""
    asked, odd, even = Counter[str](), list[Values](), list[Values]()
    for values in arm:
        again = np.array([asked[item] % 2 == 1 for item in values.index], dtype=bool)
        for half, mine in ((odd, values[~again]), (even, values[again])):
            if len(mine):
                half.append(mine)
        asked.update(values.index)
    return odd, even


def _samples(rows: Sequence[Answer]) -> Correlation:
    """The greedy answer is no sample."""
    odd, even = ([row for row in rows if row.sample and row.sample % 2 == rest] for rest in (1, 0))
    if not odd or not even:
        return Correlation(None, 0, "too few samples")
    return correlation(answers.by_item(odd)["net"], answers.by_item(even)["net"])


def _orders(table: pd.DataFrame, name: str) -> Correlation:
    """table: every measure by order and item."""
    if not MEASURES[name].ordered:
        return Correlation(None, 0, "asked in no order")
    return correlation(table.xs(0)[name], table.xs(1)[name])


def _agreement(mine: Sequence[Sequence[Values]], opened: Sequence[Sequence[Values]]) -> Correlation:
    if not all((*mine, *opened)):
        return Correlation(None, 0, "too few runs")
    return correlation(effect(*mine), effect(*opened), ranks=True)
