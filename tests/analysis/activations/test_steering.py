"""Ranks, thresholds and shares of a gap by hand, and their error rates by simulation."""

import numpy as np
import pytest
from scipy import stats

from analysis.activations.steering import (
    compare_with_nulls,
    rank_of_closing,
    share_of_gap,
    share_over_runs,
    steering_effect,
    topic_means,
    topics_that_would_do,
)
from analysis.stats.intervals import t_interval
from common.errors import InputError

TOPICS = ["a", "a", "b", "c"]


def test_odd_and_even_by_hand() -> None:
    effects = np.array([[3.0, 1, 4, 2], [-1, -1, -2, 0]])  # +v, -v
    found = steering_effect(effects, {"random": np.zeros((20, 2, 4))}, TOPICS)
    # odd: 2, 1, 3, 1 → topics 1.5, 3, 1; even: 1, 0, 1, 1 → 0.5, 1, 1
    assert found.odd.estimate == pytest.approx(5.5 / 3)
    assert found.even == pytest.approx(2.5 / 3)
    error = np.std([1.5, 3, 1], ddof=1) / np.sqrt(3)
    assert found.odd.high == pytest.approx(5.5 / 3 + stats.t.ppf(0.975, 2) * error)
    assert found.against["random"].p == pytest.approx(1 / 21)
    assert found.against["random"].detectable == pytest.approx(stats.t.ppf(0.8, 2) * error)


def test_the_rank_by_hand() -> None:
    nulls = [0.1, -0.5, 0.2, -0.3] + [0.0] * 16
    assert compare_with_nulls(-0.4, nulls, 0.0, 5).p == pytest.approx(2 / 21), "-0.5 is larger, either way"
    assert compare_with_nulls(0.6, nulls, 0.0, 5).p == pytest.approx(1 / 21)
    assert compare_with_nulls(0.6, nulls, 0.0, 5).threshold == 0.5, "of 20 nulls none may be as large"
    more = compare_with_nulls(0.6, nulls * 2, 0.0, 5)
    assert more.threshold == 0.5 and more.p == pytest.approx(1 / 41)
    assert compare_with_nulls(1.0, [0.1] * 18, 0.0, 5).threshold is None, "18 nulls can never give 5 %"


def test_the_threshold_is_where_p_passes_alpha() -> None:
    nulls = np.random.default_rng(1).normal(size=60)
    threshold = compare_with_nulls(0.0, nulls, 0.0, 5).threshold
    assert threshold is not None
    above, below = (compare_with_nulls(threshold + by, nulls, 0.0, 5).p for by in (1e-9, -1e-9))
    assert above <= 0.05 < below


def test_a_null_direction_is_called_an_effect_in_one_of_twenty() -> None:
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(2000):
        drawn = rng.normal(size=(21, 2, 8))
        alarms += steering_effect(drawn[0], {"x": drawn[1:]}, list("aabbccdd")).against["x"].p <= 0.05
    assert 0.035 < alarms / 2000 < 0.062  # 1/21 = 0.048


def test_a_true_effect_of_the_detectable_size_is_found_in_four_of_five() -> None:
    rng = np.random.default_rng(0)
    topics = [str(n) for n in range(12)]
    shown = []
    for _ in range(1500):
        nulls = np.stack([one := rng.normal(size=(20, 12)) * 0.3, -one], axis=1)
        error = 1 / np.sqrt(12)
        threshold = compare_with_nulls(0, nulls[:, 0].mean(axis=1), error, 11).threshold
        assert threshold is not None
        effect = threshold + stats.t.ppf(0.8, 11) * error + rng.normal(size=12)
        shown.append(steering_effect(np.stack([effect, -effect]), {"x": nulls}, topics).against["x"].p <= 0.05)
    assert 0.77 < np.mean(shown) < 0.85


def test_a_fraction_by_hand_and_where_it_has_no_meaning() -> None:
    gap = np.array([2.0, 2.2, 1.8, 2.1])
    exact = share_of_gap(gap / 2, gap, list("abcd"))
    assert exact.estimate == exact.low == pytest.approx(0.5) and exact.high == pytest.approx(0.5)
    undefined = share_of_gap(gap, np.array([1.0, -1, 2, -2]), list("abcd"))
    assert undefined.estimate is None and undefined.low is None and undefined.gap.low < 0 < undefined.gap.high


def test_fiellers_interval_covers_at_its_level() -> None:
    rng = np.random.default_rng(0)
    covered = defined = 0
    for _ in range(3000):
        gap = rng.normal(1, 0.6, size=10)
        found = share_of_gap(0.4 * gap + rng.normal(0, 0.4, size=10), gap, [str(n) for n in range(10)])
        if found.estimate is not None:
            assert found.low is not None and found.high is not None
            defined += 1
            covered += found.low <= 0.4 <= found.high
    assert defined > 2900 and 0.94 < covered / defined < 0.96


def test_a_share_over_runs_by_hand_and_where_it_has_no_meaning() -> None:
    gap = 1 + np.random.default_rng(0).normal(0, 0.1, (4, 6))
    exact = share_over_runs(gap / 4, gap)
    assert exact.estimate == pytest.approx(0.25)
    assert exact.low == pytest.approx(0.25, abs=0.01) and exact.high == pytest.approx(0.25, abs=0.01)
    undefined = share_over_runs(gap, gap * np.array([[1.0], [-1], [1], [-1]]))
    assert undefined.estimate is None and undefined.gap.low < 0 < undefined.gap.high


def test_the_interval_of_a_share_over_runs_covers_where_runs_and_topics_both_vary() -> None:
    rng = np.random.default_rng(0)
    covered = defined = 0
    for _ in range(150):
        gap = 1 + rng.normal(0, 0.2, (6, 1)) + rng.normal(0, 0.2, (1, 12)) + rng.normal(0, 0.2, (6, 12))
        part = 0.4 * gap + rng.normal(0, 0.15, (6, 1)) + rng.normal(0, 0.15, (1, 12))
        found = share_over_runs(part, gap)
        if found.estimate is not None and found.low is not None and found.high is not None:
            defined += 1
            covered += found.low <= 0.4 <= found.high
    assert defined > 140 and covered / defined > 0.93


def test_the_rank_of_closing_by_hand() -> None:
    gap = np.array([1.0, 3.0])
    opposite, nothing, breaks = -gap, [0.0, 0.0], [2.9, 1.3]  # what breaks both models closes more than all in the mean
    assert rank_of_closing(np.array([gap, breaks, nothing, opposite]), gap) == 1 / 4
    assert rank_of_closing(np.array([[0.1, 0.1], breaks, nothing, opposite]), gap) == 1 / 2
    assert rank_of_closing(np.array([opposite, breaks, nothing, gap]), gap) == 1
    with pytest.raises(InputError, match="parts and a gap do not fit"):
        rank_of_closing(np.zeros((3, 2)), np.zeros(3))


def test_what_closes_nothing_is_ranked_first_in_one_of_twenty() -> None:
    rng = np.random.default_rng(0)
    ranks = [rank_of_closing(rng.normal(size=(20, 4)), rng.normal(size=4)) for _ in range(4000)]
    assert np.mean(np.array(ranks) <= 0.05) == pytest.approx(0.05, abs=0.01)


def test_as_many_topics_as_would_do_do() -> None:
    """With that many, a gap of this size is shown in four studies of five."""
    rng, seen = np.random.default_rng(0), np.array([1.0, -1.0, 0.5, 0.5])
    needed = topics_that_would_do(seen)
    assert needed == int(np.ceil((1.96 + 0.8416) ** 2 * seen.var(ddof=1) / seen.mean() ** 2))
    shown = [
        not (found := t_interval(rng.normal(seen.mean(), seen.std(ddof=1), needed), 0.95)).low <= 0 <= found.high
        for _ in range(1500)
    ]
    assert 0.77 < np.mean(shown) < 0.84
    assert topics_that_would_do(np.array([1.0, -1.0 + 1e-9])) is None, "too many to say"


def test_bad_shapes_are_refused() -> None:
    with pytest.raises(InputError, match="both signs"):
        steering_effect(np.zeros((3, 4)), {}, TOPICS)
    with pytest.raises(InputError, match="do not fit"):
        topic_means(np.zeros(3), TOPICS)
    with pytest.raises(InputError, match="at least 2 topics"):
        topic_means(np.zeros(4), ["a"] * 4)
