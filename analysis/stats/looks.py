"""The gate in blocks of items: what each look may spend, which bound an item set can pass, how often it errs.

The gate looks at the answers after every block and stops when the verdict is clear. Each look more is a chance more to
err, so the looks share one alpha. What an item set can pass depends on how much its answers vary where nothing moved;
a base that is asked twice tells that.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from analysis.stats.intervals import Interval, Shift, t_interval
from analysis.stats.verdict import Verdict, judged
from common.errors import InputError
from common.records import Answer

Floats = NDArray[np.float64]
Places = NDArray[np.int64]
SPENDING = "O'Brien-Fleming-like alpha spending (Lan and DeMets), each look at what it adds"
LEAST_ALPHA = 1e-12  # what a look very early may spend rounds to nothing
PASS = 0.95  # share of zero shifts that the smallest bound lets pass
DRAWS = 4000
STEP = 0.01  # bounds are told in steps of one point


class Layout(NamedTuple):
    """Which items are asked, and when."""

    topics: Sequence[str]  # of each item, (n_items,)
    looks: Sequence[Places]  # places of all items that were asked by each look, the last one of all
    levels: Sequence[float]  # coverage of the interval of each look


class Errs(NamedTuple):
    """What the gate does to many simulated adapters of one shift: shares, 0 to 1."""

    within: float
    moved: float
    undecided: float
    items: float  # asked, on average


class TopicVerdict(NamedTuple):
    """What was shown about one topic by its own items."""

    verdict: Verdict
    estimate: float
    low: float | None  # None for a single item
    high: float | None
    n_items: int


def levels(shares: Sequence[float], level: float) -> list[float]:
    """The coverage of the interval of each look, so that all looks together err no more than one at `level` does.

    shares: of the items that were asked by each look, ascending, the last one 1. An interval of coverage c tests at
    alpha = (1 - c) / 2 to either side. By look t at most 2 - 2 Phi(z / sqrt(t)) of alpha is spent, z that of alpha / 2;
    each look tests at what it adds. That errs no more than alpha whatever the looks have in common (Bonferroni), a
    little less than the exact boundary allows.
    Raises: InputError if the shares do not ascend to 1, or the level is not within (0, 1).
    Source: Lan & DeMets (1983), Biometrika 70(3); O'Brien & Fleming (1979), Biometrics 35(3).
    """
    if not 0 < level < 1:
        raise InputError("level", where="levels", value=level, allowed="above 0, below 1")
    if not shares or list(shares) != sorted({*shares}) or shares[0] <= 0 or shares[-1] != 1:
        raise InputError("looks", where="levels", value=list(shares), allowed="shares of the items, ascending to 1")
    alpha = (1 - level) / 2
    z = float(stats.norm.isf(alpha / 2))
    spent = [0.0, *(2 * float(stats.norm.sf(z / math.sqrt(share))) for share in shares)]
    return [1 - 2 * max(LEAST_ALPHA, after - before) for before, after in pairwise(spent)]


def laid_out(topics: Sequence[Sequence[str]], level: float) -> Layout:
    """The layout of blocks of items. topics: of the items of each block. Raises: InputError as `levels`."""
    counts = np.cumsum([len(block) for block in topics])
    every = [topic for block in topics for topic in block]
    shares = [float(count / counts[-1]) for count in counts]
    return Layout(every, [np.arange(count) for count in counts], levels(shares, level))


def redrawn(rows: Sequence[Answer]) -> "pd.DataFrame":
    """Net go of every sample of a base: a line an item, a column a sample. Greedy answers are left out.

    Raises: InputError if an item has no two samples.
    """
    side = {"go": 1.0, "stay": -1.0}
    made = pd.DataFrame([(r.item, r.sample, side.get(r.said, 0.0)) for r in rows if r.sample])
    table = made.pivot(index=0, columns=1, values=2) if len(made) else made
    if table.shape[1] < 2 or table.isna().to_numpy().any():
        raise InputError("too few samples of the base", where="redrawn", value=table.shape, allowed=">= 2 an item")
    return table


def unmoved(values: Floats, draws: int, rng: np.random.Generator) -> Floats:
    """Shifts of items where nothing moved, (draws, n_items): of each item one sample less another of its own.

    values: net go by item and sample, (n_items, n_samples). The mean of such a shift is 0 and its variance that of two
    answers, as greedy answers of two models vary that differ in nothing that matters.
    """
    items, samples = values.shape
    one = rng.integers(samples, size=(draws, items))
    other = (one + rng.integers(1, samples, size=(draws, items))) % samples
    places = np.arange(items)
    return np.asarray(values[places, one] - values[places, other])


def smallest_bound(shifts: Floats, layout: Layout, share: float = PASS) -> float:
    """The smallest bound, in steps of 0.01, that this share of the simulated adapters passes at some look.

    shifts: (draws, n_items), their true mean 0. Raises: InputError if a look is at fewer than 2 topics.
    """
    means, halves = _intervals(shifts, layout)
    needed = (np.abs(means) + halves).min(axis=1)
    return round((math.floor(float(np.quantile(needed, share, method="higher")) / STEP) + 1) * STEP, 2)


def errs(shifts: Floats, layout: Layout, bound: float) -> Errs:
    """What the gate says of simulated adapters, (draws, n_items), and after how many items."""
    means, halves = _intervals(shifts, layout)
    within, moved = np.abs(means) + halves < bound, np.abs(means) - halves > bound
    decided = within | moved
    ended = decided.any(axis=1)
    first = np.where(ended, decided.argmax(axis=1), len(layout.looks) - 1)
    rows = np.arange(len(shifts))
    asked = np.array([len(look) for look in layout.looks])[first]
    passed, failed = within[rows, first], moved[rows, first]
    return Errs(float(passed.mean()), float(failed.mean()), float((~ended).mean()), float(asked.mean()))


def of_topics(table: "pd.DataFrame", bound: float, level: float) -> dict[str, TopicVerdict]:
    """Each topic by itself, over its items. table: topic, base, tuned, as `answers_of`; nan is no value.

    The intervals are not corrected for how many topics there are, and no verdict over all rests on them.
    """
    shift = (table["tuned"] - table["base"]).dropna()
    groups = shift.groupby(table["topic"].loc[shift.index])
    return {str(topic): _of_topic(values.to_numpy(dtype=float), bound, level) for topic, values in groups}


def _of_topic(values: Floats, bound: float, level: float) -> TopicVerdict:
    if len(values) < 2:
        return TopicVerdict(Verdict.UNDECIDED, float(values.mean()), None, None, len(values))
    interval: Interval = t_interval(values, level)
    verdict, _ = judged(Shift(interval, {}, len(values), 0), bound)
    if interval.low == interval.high and (1 - bound) ** len(values) > (1 - level) / 2:
        verdict = Verdict.UNDECIDED  # a few items that all shift alike have no width to rely on, either way
    return TopicVerdict(verdict, interval.estimate, interval.low, interval.high, len(values))


def _intervals(shifts: Floats, layout: Layout) -> tuple[Floats, Floats]:
    """Means over topics and half widths of their t intervals, (draws, n_looks) each; as `topic_shift_interval`."""
    means, halves = [], []
    for places, level in zip(layout.looks, layout.levels, strict=True):
        names = np.array([layout.topics[place] for place in places])
        topics = np.unique(names)
        if len(topics) < 2:
            raise InputError("too few topics for an interval", where="looks", value=list(topics), allowed=">= 2")
        weights = np.array([(names == topic) / (names == topic).sum() for topic in topics])
        by_topic = shifts[:, places] @ weights.T
        error = by_topic.std(axis=1, ddof=1) / math.sqrt(len(topics))
        means.append(by_topic.mean(axis=1))
        halves.append(error * float(stats.t.ppf((1 + level) / 2, len(topics) - 1)))
    return np.stack(means, axis=1), np.stack(halves, axis=1)
