"""Intervals and tests against hand arithmetic, slow definitions and seeded simulation."""

import math
from itertools import product
from typing import Any

import numpy as np
import pytest
from scipy import stats

from analysis.stats.intervals import (
    Interval,
    Spread,
    holm,
    minimum_detectable_effect,
    power,
    sign_flip,
    simulated,
    spread,
    t_interval,
    topic_shift_interval,
    tost,
    two_way_t,
)
from common.errors import InputError

NAN = float("nan")


def test_t_interval_by_hand() -> None:
    # mean 2, SD 1, error 1/sqrt(3); t(2) at 95 % two-sided is 4.3026527
    interval = t_interval([1, 2, 3], 0.95)
    half = 4.302652729911275 / math.sqrt(3)
    assert interval == pytest.approx((2, 2 - half, 2 + half, 0.95, 2))


@pytest.mark.parametrize("values", [[1.0], [], [1.0, NAN], [1.0, math.inf], [[1.0, 2.0]]])
def test_t_interval_refuses_too_little(values: list[float]) -> None:
    with pytest.raises(InputError):
        t_interval(values, 0.95)


@pytest.mark.parametrize("level", [0.0, 1.0, -0.5, NAN])
def test_t_interval_refuses_a_level(level: float) -> None:
    with pytest.raises(InputError, match="level"):
        t_interval([1, 2], level)


def test_topics_weigh_the_same_and_dropped_items_are_counted() -> None:
    base = [0.0, 0.5, 0.0, 0.0, NAN, 0.5]
    tuned = [1.0, 0.5, 1.0, NAN, 0.0, 0.0]
    topic = ["a", "a", "b", "b", "c", "c"]
    shift = topic_shift_interval(base, tuned, topic, 0.9)
    assert shift.topics == {"a": 0.5, "b": 1.0, "c": -0.5}
    assert (shift.n_items, shift.n_dropped) == (4, 2)
    # mean 1/3, SD sqrt(7/12), t(2) at 90 % is 2.9199856
    half = 2.919985580353725 * math.sqrt(7 / 12 / 3)
    assert shift.interval == pytest.approx((1 / 3, 1 / 3 - half, 1 / 3 + half, 0.9, 2))


def test_one_topic_left_is_an_error() -> None:
    with pytest.raises(InputError, match="too few topics"):
        topic_shift_interval([0.0, NAN], [1.0, 1.0], ["a", "b"], 0.9)


def test_lengths_must_agree() -> None:
    with pytest.raises(InputError, match="lengths"):
        topic_shift_interval([0.0, 1.0], [1.0, 1.0], ["a"], 0.9)


def covers(n_topics: int, rng: np.random.Generator, truth: float = 0.1) -> bool:
    """Whether the interval of one simulated study holds the true mean shift: 4 items a topic, two yes/no rows each."""
    topics = np.repeat(np.arange(n_topics), 4)
    moved = truth + rng.normal(0, 0.15, n_topics)[topics]
    leaning = rng.uniform(0.3, 0.6, len(topics))
    base = rng.binomial(2, leaning) / 2
    tuned = rng.binomial(2, np.clip(leaning + moved, 0, 1)) / 2
    interval = topic_shift_interval(base, tuned, list(topics.astype(str)), 0.95).interval
    return interval.low <= truth <= interval.high


@pytest.mark.parametrize("n_topics", [5, 8, 20])
def test_topic_interval_covers(n_topics: int) -> None:
    rng = np.random.default_rng(n_topics)
    share = np.mean([covers(n_topics, rng) for _ in range(4000)])
    print(f"{n_topics} topics: {share:.4f}")
    assert 0.93 <= share <= 0.97


def slow_two_way(difference: np.ndarray) -> tuple[float, float]:
    """Mean and variance of the mean from sums over cells, as in a textbook table."""
    runs, items = difference.shape
    mean = difference.mean()
    ss_run = sum(items * (difference[r].mean() - mean) ** 2 for r in range(runs))
    ss_item = sum(runs * (difference[:, i].mean() - mean) ** 2 for i in range(items))
    ss_rest = ((difference - mean) ** 2).sum() - ss_run - ss_item
    ms_run, ms_item, ms_rest = ss_run / (runs - 1), ss_item / (items - 1), ss_rest / (runs - 1) / (items - 1)
    return mean, max(ms_run, ms_item, ms_run + ms_item - ms_rest) / runs / items


def test_two_way_t_is_the_textbook_one() -> None:
    rng = np.random.default_rng(3)
    control = rng.normal(size=(4, 7))
    tuned = control + 0.4 + rng.normal(size=(4, 1)) + rng.normal(size=(1, 7)) + 0.3 * rng.normal(size=(4, 7))
    mean, variance = slow_two_way(tuned - control)
    contrast = two_way_t(tuned, control, 0.95)
    assert contrast.interval.estimate == pytest.approx(mean)
    assert contrast.t == pytest.approx(mean / math.sqrt(variance))
    assert contrast.interval.df == 3
    assert contrast.p == pytest.approx(2 * stats.t.sf(abs(contrast.t), 3))


def test_two_way_t_by_hand() -> None:
    # differences [[0, 2], [2, 4]]: mean 2; MS_run = MS_item = 4, MS_rest = 0; error sqrt(8 / 4)
    contrast = two_way_t([[0, 2], [2, 4]], [[0, 0], [0, 0]], 0.95)
    assert contrast.t == pytest.approx(2 / math.sqrt(2))
    assert contrast.p == pytest.approx(1 - 2 / math.pi * math.atan(math.sqrt(2)))


def test_two_way_t_where_nothing_varies() -> None:
    ones, zeros = np.ones((2, 3)), np.zeros((2, 3))
    assert two_way_t(zeros, zeros, 0.95).p == 1
    assert two_way_t(ones, zeros, 0.95).t == math.inf
    assert two_way_t(zeros, ones, 0.95).p == 0


@pytest.mark.parametrize(("runs", "items", "run_sd"), [(3, 18, 0.4), (3, 18, 0.0), (8, 12, 0.2)])
def test_two_way_t_rarely_cries_wolf(runs: int, items: int, run_sd: float) -> None:
    rng = np.random.default_rng(runs * 100 + items)

    def false_alarm() -> bool:
        run, item = rng.normal(0, run_sd, (runs, 1)), rng.normal(0, 0.5, (1, items))
        return two_way_t(run + item + rng.normal(0, 1, (runs, items)), np.zeros((runs, items)), 0.95).p < 0.05

    share = np.mean([false_alarm() for _ in range(2000)])
    print(f"{runs} x {items}, run SD {run_sd}: {share:.4f}")
    assert share <= 0.065


@pytest.mark.parametrize("shape", [(1, 5), (5, 1), (3,)])
def test_two_way_t_refuses_too_little(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="shape"):
        two_way_t(np.zeros(shape), np.zeros(shape), 0.95)


def test_two_way_t_refuses_gaps_and_other_shapes() -> None:
    with pytest.raises(InputError, match="finite"):
        two_way_t(np.array([[0, NAN], [1, 1]]), np.zeros((2, 2)), 0.95)
    with pytest.raises(InputError, match="shape"):
        two_way_t(np.zeros((2, 3)), np.zeros((3, 2)), 0.95)


def slow_sign_flip(values: list[float]) -> float:
    sums = [
        abs(sum(s * v for s, v in zip(signs, values, strict=True))) for signs in product((1, -1), repeat=len(values))
    ]
    return sum(total >= abs(sum(values)) - 1e-12 for total in sums) / len(sums)


def test_sign_flip_is_its_definition() -> None:
    rng = np.random.default_rng(0)
    for n in range(1, 9):
        values = list(rng.normal(0.3, 1, n).round(1))
        assert sign_flip(values) == slow_sign_flip(values)


def test_sign_flip_by_hand() -> None:
    assert sign_flip([1, 2, 3]) == 2 / 8
    assert sign_flip([1, 2, -3]) == 1.0
    assert sign_flip([0.1] * 8) == 2 / 256
    assert sign_flip([0.1, 0.2, -0.3]) == 1.0  # a sum of 0 up to rounding
    assert sign_flip([5.0]) == 1.0


def test_sign_flip_is_that_of_scipy_but_for_ties_near_zero() -> None:
    def by_scipy(values: list[float]) -> float:
        chance: Any = {"permutation_type": "samples", "n_resamples": np.inf, "vectorized": True}
        return float(stats.permutation_test((values,), lambda x, axis: x.mean(axis=axis), **chance).pvalue)

    rng = np.random.default_rng(1)
    for n in range(2, 9):
        values = list(rng.normal(0.3, 1, n))
        assert sign_flip(values) == by_scipy(values)
    tied = [0.7, 1.1, -1.6, 0.4, -1.1, 0.5]  # a sum of 0 up to rounding
    assert (sign_flip(tied), by_scipy(tied)) == (1.0, 15 / 16), "scipy's slack is relative to the sum itself"


@pytest.mark.parametrize("values", [[], [1.0] * 21, [1.0, NAN]])
def test_sign_flip_refuses(values: list[float]) -> None:
    with pytest.raises(InputError):
        sign_flip(values)


def test_tost_is_two_one_sided_tests() -> None:
    values = np.random.default_rng(1).normal(0.02, 0.05, 9)
    lower = stats.ttest_1samp(values, -0.1, alternative="greater").pvalue
    upper = stats.ttest_1samp(values, 0.1, alternative="less").pvalue
    found = tost(t_interval(values, 0.9), 0.1)
    assert found.p == pytest.approx(max(lower, upper))
    assert found.shown and found.p < 0.05


def test_tost_is_shown_where_its_p_is_below_alpha() -> None:
    rng = np.random.default_rng(2)
    outcomes = [tost(t_interval(rng.normal(0.05, 0.08, 6), 0.9), 0.12) for _ in range(300)]
    assert all(found.shown == (found.p < 0.05) for found in outcomes)
    assert 30 < sum(found.shown for found in outcomes) < 270


def test_tost_without_width() -> None:
    assert tost(Interval(0.0, 0.0, 0.0, 0.9, 3), 0.1) == (True, 0.0)
    assert tost(Interval(0.2, 0.2, 0.2, 0.9, 3), 0.1) == (False, 1.0)
    with pytest.raises(InputError, match="bound"):
        tost(Interval(0.0, 0.0, 0.0, 0.9, 3), 0.0)


def test_holm_by_hand() -> None:
    # Smallest first: 3 * 0.01, then 2 * 0.02, then 0.5, each at least as large as the one before it.
    assert holm({"a": 0.02, "b": 0.01, "c": 0.5}) == pytest.approx({"a": 0.04, "b": 0.03, "c": 0.5})
    assert holm({"a": 0.01, "b": 0.011}) == pytest.approx({"a": 0.02, "b": 0.02})
    assert holm({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0}


def slow_holm(p: dict[str, float]) -> dict[str, float]:
    adjusted, largest = {}, 0.0
    for rank, name in enumerate(sorted(p, key=lambda name: p[name])):
        largest = max(largest, min(1.0, (len(p) - rank) * p[name]))
        adjusted[name] = largest
    return adjusted


def test_holm_is_its_slow_definition_to_the_last_bit() -> None:
    rng = np.random.default_rng(0)
    for number in range(300):
        drawn = rng.random(rng.integers(1, 9)) ** 3
        p = {str(i): float(v) for i, v in enumerate(drawn.round(2) if number % 3 == 0 else drawn)}  # ties too
        assert holm(p) == slow_holm(p) and list(holm(p)) == list(p)


def test_holm_is_its_step_down_definition() -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        p = {str(i): float(v) for i, v in enumerate(rng.random(5) ** 3)}
        alpha, rejected = 0.05, set()
        for rank, name in enumerate(sorted(p, key=lambda name: p[name])):
            if p[name] > alpha / (len(p) - rank):
                break
            rejected.add(name)
        assert {name for name, value in holm(p).items() if value <= alpha} == rejected


def test_holm_holds_the_family_error() -> None:
    rng = np.random.default_rng(2)
    alarms = sum(
        min(holm({str(i): float(v) for i, v in enumerate(rng.random(4))}).values()) < 0.05 for _ in range(4000)
    )
    assert alarms / 4000 == pytest.approx(0.05, abs=0.012)


@pytest.mark.parametrize("p", [{}, {"a": 1.2}, {"a": float("nan")}])
def test_holm_refuses(p: dict[str, float]) -> None:
    with pytest.raises(InputError):
        holm(p)


def test_minimum_detectable_effect_by_hand() -> None:
    # 7 degrees of freedom: t at 97.5 % is 2.3646, at 80 % it is 0.8960.
    assert minimum_detectable_effect(0.02, 7, 0.95, 0.8) == pytest.approx(0.02 * (2.3646 + 0.8960), rel=1e-4)
    with pytest.raises(InputError):
        minimum_detectable_effect(0.02, 7, 0.95, 0.2)


def test_an_effect_of_that_size_is_found_with_that_power() -> None:
    made = Spread(run=0.05, item=0.0, rest=1e-6)
    effect = minimum_detectable_effect(0.05 / np.sqrt(8), 7, 0.95, 0.8)
    assert power(made, effect, 8, 12, 0.95, 2000, 3) == pytest.approx(0.8, abs=0.03)


def test_spread_finds_what_was_put_in() -> None:
    rng = np.random.default_rng(4)
    truth = Spread(run=0.3, item=0.5, rest=0.8)
    studies = [simulated(truth, 0.1, 40, 60, rng) for _ in range(20)]
    made = np.array([spread(study, np.zeros_like(study)) for study in studies])
    assert np.sqrt((made**2).mean(axis=0)) == pytest.approx(truth, rel=0.1)


def test_spread_by_hand() -> None:
    # Means of runs 0 and 2, of items 0 and 2, no rest: between runs and items the variance is 2.
    made = spread(np.array([[-1.0, 1.0], [1.0, 3.0]]), np.zeros((2, 2)))
    assert made == pytest.approx((np.sqrt(2), np.sqrt(2), 0.0))
