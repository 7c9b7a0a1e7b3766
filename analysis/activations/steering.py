"""Does a direction cause anything: steering against null directions of equal off-target KL, and shares of a gap closed.

An effect is a change of log-likelihood margins, nats, question by question. Questions of one topic share chance, so
topics are the sample. Arrays come in as any floats and are worked on as float64.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy import stats

from analysis.stats.intervals import ALPHA, LEVEL, POWER, Interval, t_interval, two_way_t
from common.errors import InputError

Floats = NDArray[np.float64]
WIDEST = 1e6  # a bound of a share is not looked for beyond
MOST_TOPICS = 100_000  # more than anybody would ask about


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


def rank_of_closing(closed: Float[np.ndarray, "n_units n_topics"], gap: Float[np.ndarray, " n_topics"]) -> float:
    """How the first unit closes a gap, beside the others: the share of units that come as near to it, topic by topic.

    The first counts among them, so that this is the p of a test against the others. Size would not do: a direction
    whose ablation breaks both models leaves no difference between them, and so closes about as much in the mean.
    Raises: InputError if the topics are not as many.
    """
    parts, whole = np.asarray(closed, dtype=np.float64), np.asarray(gap, dtype=np.float64)
    if parts.ndim != 2 or whole.shape != parts.shape[1:]:
        raise InputError("parts and a gap do not fit", where="rank_of_closing", value=(parts.shape, whole.shape))
    left = np.abs(parts - whole).mean(axis=-1)
    return float((left <= left[0]).mean())


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


def share_over_runs(
    parts: Float[np.ndarray, "n_runs n_topics"], gaps: Float[np.ndarray, "n_runs n_topics"], level: float = LEVEL
) -> GapShare:
    """As `share_of_gap`, where runs and topics are both samples.

    A share lies in the interval if parts less that share of the gaps are not shown to differ from 0 by `two_way_t`.
    Its bounds are searched for, since that variance is no quadratic in the share.
    Raises: InputError as `two_way_t`.
    """
    part, gap = np.asarray(parts, dtype=np.float64), np.asarray(gaps, dtype=np.float64)
    of_gap = two_way_t(gap, np.zeros_like(gap), level).interval
    if of_gap.low <= 0 <= of_gap.high:
        return GapShare(None, None, None, of_gap)
    estimate = float(part.mean() / gap.mean())

    def beyond(share: float) -> float:
        """Below 0 where the share lies in the interval."""
        left = two_way_t(part - share * gap, np.zeros_like(gap), level).interval
        return abs(left.estimate) - (left.high - left.low) / 2

    bounds = []
    for sign in (-1, 1):
        step = 0.01
        while beyond(estimate + sign * step) < 0 and step < WIDEST:
            step *= 2
        inside, outside = (0.0 if step == 0.01 else step / 2), step
        for _ in range(60):
            middle = (inside + outside) / 2
            inside, outside = (middle, outside) if beyond(estimate + sign * middle) < 0 else (inside, middle)
        bounds.append(estimate + sign * outside)
    return GapShare(estimate, bounds[0], bounds[1], of_gap)


def topics_that_would_do(gap: Float[np.ndarray, " n_topics"], level: float = LEVEL) -> int | None:
    """How many topics like these would show a gap as large as this one, with a chance of POWER; None: too many to say.

    By the usual approximation, with the normal distribution: (z of the level + z of the power)² variance / mean².
    Source: Bloom (1995), Eval. Rev. 19(5).
    """
    sample = np.asarray(gap, dtype=np.float64)
    needed = float(stats.norm.ppf((1 + level) / 2) + stats.norm.ppf(POWER)) ** 2 * float(sample.var(ddof=1))
    squared = float(sample.mean()) ** 2
    return int(np.ceil(needed / squared)) if needed < MOST_TOPICS * squared else None


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
