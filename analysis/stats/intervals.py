"""Intervals and tests for stance shifts: topics are the clusters of items, runs the clusters of training chance."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from statsmodels.stats.multitest import multipletests

from common.errors import InputError

Floats = NDArray[np.float64]
LEVEL = 0.95  # coverage of every interval of the report but those of equivalence
ALPHA = 0.05
POWER = 0.80
FEWEST_RUNS = 3  # from here on a spread over runs tells something about the next run
MAX_FLIPPED_RUNS = 20  # 2^20 sign patterns take a second


class Interval(NamedTuple):
    """A mean and its t interval, in the unit of the values."""

    estimate: float
    low: float
    high: float
    level: float  # coverage, 0 to 1
    df: int


class Shift(NamedTuple):
    """A shift of stance, tuned minus base, in P(go), -1 to 1."""

    interval: Interval
    topics: dict[str, float]  # the mean shift of each topic that has an item left
    n_items: int  # items that were compared
    n_dropped: int  # items without a value on either side


class Contrast(NamedTuple):
    """A difference of two arms with its two-sided test."""

    interval: Interval
    t: float  # infinite where nothing varies and the difference is not 0; nan where it is
    p: float


class Equivalence(NamedTuple):
    """Whether an effect was shown to lie within a bound."""

    shown: bool
    p: float


def t_interval(values: ArrayLike, level: float) -> Interval:
    """The mean of independent values with its t interval, n - 1 degrees of freedom. Values: (n,), finite.

    Raises: InputError if there are fewer than 2 values, one is not finite, or the level is not within (0, 1).
    """
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or len(sample) < 2:
        raise InputError("too few values for an interval", where="t_interval", value=sample.shape, allowed=">= 2")
    _check_finite(sample, "t_interval")
    error = float(sample.std(ddof=1)) / float(np.sqrt(len(sample)))
    return _interval(float(sample.mean()), error, len(sample) - 1, level)


def topic_shift_interval(base: ArrayLike, tuned: ArrayLike, topic: Sequence[str], level: float) -> Shift:
    """The mean over topics of the mean shift of their items, with a t interval over topics.

    base, tuned: (n_items,) P(go) of the same items in the same order, nan where an item has no valid answer; an item
    that is nan on either side is dropped from both and counted. Every topic weighs the same. The interval speaks
    about topics of this kind, not only about the topics asked, so it does not shrink with more items a topic alone.

    Simulated coverage of a nominal 95 % (4 items a topic in two orders, yes/no answers, topic effects with SD 0.15,
    4,000 data sets; tests/analysis/test_stats.py): 95.2 % at 5 topics, 94.9 % at 8, 95.2 % at 20.
    Raises: InputError if lengths differ or fewer than 2 topics remain.
    Source: two-stage cluster mean, t on cluster means; Cochran, Sampling Techniques (1977), 9.
    """
    before, after = np.asarray(base, dtype=np.float64), np.asarray(tuned, dtype=np.float64)
    if not before.shape == after.shape == (len(topic),):
        raise InputError("lengths differ", where="topic_shift_interval", value=(before.shape, after.shape, len(topic)))
    shift = after - before
    kept = ~np.isnan(shift)
    names = np.asarray(topic, dtype=str)[kept]
    topics = {str(name): float(shift[kept][names == name].mean()) for name in np.unique(names)}
    if len(topics) < 2:
        raise InputError(
            "too few topics for an interval", where="topic_shift_interval", value=list(topics), allowed=">= 2"
        )
    interval = t_interval(list(topics.values()), level)
    return Shift(interval, topics, int(kept.sum()), int((~kept).sum()))


def two_way_t(tuned: ArrayLike, control: ArrayLike, level: float) -> Contrast:
    """The mean difference of two arms over runs and items, both of which are samples.

    tuned, control: (n_runs, n_items), run i of both arms paired (same seed), items in the same order; put topic
    means in the columns where items of one topic share chance. All finite.

    With differences d[r, i] = mean + run[r] + item[i] + rest[r, i], the variance of the grand mean is
    (MS_run + MS_item - MS_rest) / (n_runs n_items). Departures, both towards caution: the estimate is never below
    the variance that runs alone or items alone give, and the degrees of freedom are the smaller of n_runs - 1 and
    n_items - 1 in place of Satterthwaite's. So it errs on the quiet side where runs are independent: a nominal 95 %
    covers 96 to 99 % of simulated studies of 5 or 8 runs and 16 topics. Runs that were trained on some of the same
    questions are not: then it covers down to 91 % as draws are dealt to 8 runs (benchmarks/coverage.json, 2,000 each).
    Raises: InputError if shapes differ, a value is not finite, or there are fewer than 2 runs or items.
    Source: Cornfield & Tukey (1956), Ann. Math. Stat. 27(4); Clark (1973), J. Verbal Learn. Verbal Behav. 12(4);
    as a two-way cluster variance: Cameron, Gelbach & Miller (2011), J. Bus. Econ. Stat. 29(2).
    """
    difference = _differences(tuned, control)
    runs, items = difference.shape
    mean = float(difference.mean())
    by_run, by_item = difference.mean(axis=1), difference.mean(axis=0)
    rest = difference - by_run[:, None] - by_item[None, :] + mean
    ms_run, ms_item = items * by_run.var(ddof=1), runs * by_item.var(ddof=1)
    ms_rest = float((rest**2).sum()) / ((runs - 1) * (items - 1))
    error = float(np.sqrt(max(ms_run, ms_item, ms_run + ms_item - ms_rest) / (runs * items)))
    df = min(runs, items) - 1
    t = mean / error if error > 0 else (float("nan") if mean == 0 else float(np.copysign(np.inf, mean)))
    p = 1.0 if np.isnan(t) else float(2 * stats.t.sf(abs(t), df))
    return Contrast(_interval(mean, error, df, level), t, p)


def sign_flip(differences: ArrayLike) -> float:
    """Exact two-sided p of the mean of paired run differences: (n_runs,), finite.

    The share of all 2^n sign patterns whose mean is at least as far from 0; the smallest value is 2 / 2^n, and the
    pattern that was seen counts. Holds whatever the distribution, if differences are symmetric about 0 under the null.
    It speaks about the items that were asked and no others: what all runs share because of these topics counts as an
    effect. As a test for topics of this kind it is wrong: simulated false alarms of a nominal 5 % are 6 to 21 % for
    8 runs and 16 topics (benchmarks/coverage.json). Report it beside `two_way_t`, never in its place.
    Not by `scipy.stats.permutation_test`: its slack for ties is relative to the sum that was seen, so it loses ties
    where that sum is near 0 (15/16 for 1 in tests/analysis/stats/test_intervals.py), it refuses a single run, and for
    20 runs it takes ten times as long.
    Raises: InputError if there are no differences or more than 20, or one is not finite.
    Source: Fisher, The Design of Experiments (1935), 21.
    """
    sample = np.asarray(differences, dtype=np.float64)
    if sample.ndim != 1 or not 1 <= len(sample) <= MAX_FLIPPED_RUNS:
        raise InputError("number of runs", where="sign_flip", value=sample.shape, allowed=f"1 to {MAX_FLIPPED_RUNS}")
    _check_finite(sample, "sign_flip")
    signs = np.array(list(product((1, -1), repeat=len(sample) - 1)), dtype=np.float64)
    # The first sign may be held: turning every sign around leaves the distance from 0 as it is.
    sums = np.abs(sample[0] + signs @ sample[1:])
    seen = abs(float(sample.sum()))
    slack = 1e-12 * float(np.abs(sample).sum())  # a tie must not be lost to the order of summation
    return float(np.mean(sums >= seen - slack))


def tost(interval: Interval, bound: float) -> Equivalence:
    """Two one-sided tests that the effect lies within ±bound, at alpha = (1 - level) / 2 of the interval.

    `shown` is the same statement as "the interval lies inside the bound": a 90 % interval tests at 5 %.
    Raises: InputError if the bound is not positive.
    Source: Schuirmann (1987), J. Pharmacokinet. Biopharm. 15(6).
    """
    if not bound > 0:
        raise InputError("bound", where="tost", value=bound, allowed="> 0")
    shown = -bound < interval.low and interval.high < bound
    error = (interval.high - interval.low) / 2 / float(stats.t.ppf((1 + interval.level) / 2, interval.df))
    if error == 0:
        return Equivalence(shown, 0.0 if shown else 1.0)
    distance = bound - abs(interval.estimate)
    return Equivalence(shown, float(stats.t.sf(distance / error, interval.df)))


def holm(p: Mapping[str, float]) -> dict[str, float]:
    """Adjusted p of each test of a family, 0 to 1: below alpha where Holm's step-down procedure rejects at alpha.

    Holds the chance of any false alarm in the family at alpha, however its tests depend on each other.
    Raises: InputError if there is no test or a p is not within 0 and 1.
    Source: Holm (1979), Scand. J. Stat. 6(2), by statsmodels.
    """
    wrong = [name for name, value in p.items() if not 0 <= value <= 1]
    if wrong or not p:
        raise InputError("not a p", where=f"holm:{wrong[0]}" if wrong else "holm", value=p, allowed="0 to 1")
    adjusted = multipletests(list(p.values()), method="holm")[1]
    return dict(zip(p, map(float, adjusted), strict=True))


def minimum_detectable_effect(error: float, df: int, level: float, power: float) -> float:
    """The smallest true effect that a two-sided t test at 1 - level finds with this power; unit of the error.

    error: the standard error of the estimate, >= 0. The usual approximation (t of the level + t of the power) * error.
    Raises: InputError if an argument is out of its range.
    Source: Bloom (1995), Eval. Rev. 19(5).
    """
    if error < 0 or df < 1 or not 0 < level < 1 or not 0.5 <= power < 1:
        raise InputError("out of range", where="minimum_detectable_effect", value=(error, df, level, power))
    return error * float(stats.t.ppf((1 + level) / 2, df) + stats.t.ppf(power, df))


class Spread(NamedTuple):
    """Standard deviations of the paired differences of two arms: what a pilot tells about a study."""

    run: float  # between runs
    item: float  # between items or topics
    rest: float  # what is left, in one run on one item


def spread(tuned: ArrayLike, control: ArrayLike) -> Spread:
    """Method-of-moments standard deviations of the differences, each at least 0; shapes and Raises as `two_way_t`.

    Source: variance components of a two-way layout without replicates; Searle, Casella & McCulloch (1992), 4.
    """
    difference = _differences(tuned, control)
    runs, items = difference.shape
    by_run, by_item = difference.mean(axis=1), difference.mean(axis=0)
    rest = difference - by_run[:, None] - by_item[None, :] + difference.mean()
    noise = float((rest**2).sum()) / ((runs - 1) * (items - 1))
    between = (float(by_run.var(ddof=1)) - noise / items, float(by_item.var(ddof=1)) - noise / runs)
    run, item = (float(np.sqrt(max(0.0, variance))) for variance in between)
    return Spread(run, item, float(np.sqrt(noise)))


def simulated(spread: Spread, effect: float, runs: int, items: int, rng: np.random.Generator) -> Floats:
    """Differences of one simulated study, (runs, items), normal in every part."""
    by_run, by_item = rng.normal(0, spread.run, (runs, 1)), rng.normal(0, spread.item, (1, items))
    return effect + by_run + by_item + rng.normal(0, spread.rest, (runs, items))


def power(spread: Spread, effect: float, runs: int, items: int, level: float, draws: int, seed: int) -> float:
    """The share of simulated studies, 0 to 1, in which `two_way_t` shows the effect: its interval leaves out 0.

    effect: in the unit of the spread. draws: studies to simulate. Raises: InputError as `two_way_t`.
    """
    rng, shown = np.random.default_rng(seed), 0
    for _ in range(draws):
        made = simulated(spread, effect, runs, items, rng)
        interval = two_way_t(made, np.zeros_like(made), level).interval
        shown += not interval.low <= 0 <= interval.high
    return shown / draws


def _interval(mean: float, error: float, df: int, level: float) -> Interval:
    if not 0 < level < 1:
        raise InputError("level", where="interval", value=level, allowed="above 0, below 1")
    half = error * float(stats.t.ppf((1 + level) / 2, df))
    return Interval(mean, mean - half, mean + half, level, df)


def _differences(tuned: ArrayLike, control: ArrayLike) -> Floats:
    one, other = np.asarray(tuned, dtype=np.float64), np.asarray(control, dtype=np.float64)
    if one.shape != other.shape or one.ndim != 2 or min(one.shape) < 2:
        raise InputError(
            "shape", where="two_way_t", value=(one.shape, other.shape), allowed="two equal, >= 2 runs, >= 2 items"
        )
    _check_finite(one - other, "two_way_t")
    return one - other


def _check_finite(values: Floats, where: str) -> None:
    if not np.isfinite(values).all():
        raise InputError("a value is not finite", where=where, value=float(values[~np.isfinite(values)][0]))
