"""Does a direction cause anything: steering against null directions of equal off-target KL, and shares of a gap closed.

An effect is a change of log-likelihood margins, nats, question by question. Questions of one topic share chance, so
topics are the sample. Arrays come in as any floats and are worked on as float64.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy import stats

from analysis.stats.intervals import ALPHA, LEVEL, POWER, Interval, t_interval
from common.errors import InputError

Floats = NDArray[np.float64]


class NullComparison(NamedTuple):
    """An effect beside those of one kind of null direction at equal off-target KL."""

    nulls: int
    p: float  # share of directions, this one among them, with an effect of at least this size, either way
    null_95: float  # size that 5 % of the nulls exceed
    threshold: float | None  # an effect above this size has p <= ALPHA; None: too few nulls for any effect to have
    detectable: float | None  # smallest true effect that would have been shown with a chance of POWER


class SteeringEffect(NamedTuple):
    """One direction at one off-target KL."""

    # Half of (effect of +v less that of -v), mean over topics: what a direction that means something does.
    odd: Interval
    even: float  # half of the sum: what both signs do alike, as any push does
    against: dict[str, NullComparison]  # kind of null → how it compares


class GapShare(NamedTuple):
    """A share of a gap. `estimate` is None where the gap itself is not shown to differ from 0."""

    estimate: float | None
    low: float | None
    high: float | None
    gap: Interval


def steering_effect(
    effects: Float[np.ndarray, "2 n_questions"],
    nulls: Mapping[str, Float[np.ndarray, "n_directions 2 n_questions"]],
    topics: Sequence[str],
) -> SteeringEffect:
    """Judge one direction at one off-target KL beside each kind of null direction at the same off-target KL.

    effects, nulls: of +v, then of -v. topics: of the questions.
    Raises: InputError if shapes do not fit, or there are fewer than 2 topics.
    """
    mine = topic_means(_halves(effects)[0], topics)
    odd = t_interval(mine, LEVEL)
    error = float(mine.std(ddof=1)) / float(np.sqrt(len(mine)))
    against = {}
    for kind, each in nulls.items():
        sizes = topic_means(_halves(each)[0], topics).mean(axis=-1)
        against[kind] = compare_with_nulls(odd.estimate, sizes, error, len(mine) - 1)
    return SteeringEffect(odd, float(topic_means(_halves(effects)[1], topics).mean()), against)


def compare_with_nulls(
    effect: float, nulls: Float[np.ndarray, " n_nulls"] | Sequence[float], error: float, df: int
) -> NullComparison:
    """An effect's rank among null effects by size, and what would have been seen. error: its standard error.

    The p counts the effect among the nulls, so it is never below 1 / (1 + n_nulls).
    Source: Phipson & Smyth (2010), Stat. Appl. Genet. Mol. Biol. 9(1), for p that are never 0.
    """
    sizes = np.sort(np.abs(np.asarray(nulls, dtype=np.float64)))[::-1]
    p = (1 + int((sizes >= abs(effect)).sum())) / (1 + len(sizes))
    allowed = int(np.floor(ALPHA * (1 + len(sizes)) + 1e-9)) - 1  # this many nulls may be as large
    threshold = float(sizes[allowed]) if allowed >= 0 else None
    detectable = None if threshold is None else threshold + float(stats.t.ppf(POWER, df)) * error
    return NullComparison(len(sizes), p, float(np.quantile(sizes, 1 - ALPHA)), threshold, detectable)


def topic_means(values: Float[np.ndarray, "*n n_questions"], topics: Sequence[str]) -> Float[Floats, "*n n_topics"]:
    """Means over the questions of each topic, topics in alphabetical order.

    Raises: InputError if topics are not as many as questions, or fewer than 2 differ.
    """
    array, names = np.asarray(values, dtype=np.float64), np.asarray(topics, dtype=str)
    if array.shape[-1] != len(names) or len(set(topics)) < 2:
        where, value = "topic_means", (array.shape, len(names), len(set(topics)))
        raise InputError("questions and topics do not fit", where=where, value=value, allowed="at least 2 topics")
    return np.stack([array[..., names == name].mean(axis=-1) for name in np.unique(names)], axis=-1)


def share_of_gap(
    parts: Float[np.ndarray, " n_questions"],
    gaps: Float[np.ndarray, " n_questions"],
    topics: Sequence[str],
    level: float = LEVEL,
) -> GapShare:
    """What share of the gap is closed: the ratio of means over topics, with Fieller's interval.

    parts, gaps: what was closed and what there was to close, in one unit. Undefined (None) when the gap's own interval
    covers 0; then Fieller's set is not an interval either.
    Raises: InputError as `topic_means`, or if the level is not within (0, 1).
    Source: Fieller (1954), J. R. Stat. Soc. B 16(2).
    """
    part, gap = topic_means(parts, topics), topic_means(gaps, topics)
    of_gap = t_interval(gap, level)
    if of_gap.low <= 0 <= of_gap.high:
        return GapShare(None, None, None, of_gap)
    number = len(gap)
    cov = np.cov(part, gap, ddof=1) / number
    mean_part, mean_gap = float(part.mean()), float(gap.mean())
    t2 = float(stats.t.ppf((1 + level) / 2, number - 1)) ** 2
    a = mean_gap**2 - t2 * cov[1, 1]
    b = mean_part * mean_gap - t2 * cov[0, 1]
    c = mean_part**2 - t2 * cov[0, 0]
    root = float(np.sqrt(max(0.0, b**2 - a * c)))
    return GapShare(mean_part / mean_gap, float((b - root) / a), float((b + root) / a), of_gap)


def interval_json(found: Interval) -> dict[str, Any]:
    """An interval as JSON."""
    return {"estimate": found.estimate, "low": found.low, "high": found.high}


def share_json(found: GapShare) -> dict[str, Any]:
    """A share of a gap as JSON."""
    return {**found._asdict(), "gap": interval_json(found.gap)}


def _halves(
    effects: Float[np.ndarray, "*n 2 n_questions"],
) -> tuple[Float[Floats, "*n n_questions"], Float[Floats, "*n n_questions"]]:
    """The odd and the even part of effects of both signs."""
    both = np.asarray(effects, dtype=np.float64)
    if both.ndim < 2 or both.shape[-2] != 2:
        raise InputError(
            "effects of both signs are needed", where="steering_effect", value=both.shape, allowed="(…, 2, n)"
        )
    plus, minus = both[..., 0, :], both[..., 1, :]
    return (plus - minus) / 2, (plus + minus) / 2
