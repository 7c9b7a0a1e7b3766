"""Poles against neutral: against the pieces they are made of, by hand, and their family error by simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from analysis.stats.contrasts import PairedRuns, enough, family, pole_contrast, share_of_headroom
from analysis.stats.intervals import LEVEL, minimum_detectable_effect, sign_flip, two_way_t
from common.errors import InputError


def runs(pole: str, effect: float, n_runs: int = 4, n_topics: int = 6, seed: int = 0) -> PairedRuns:
    rng = np.random.default_rng(seed)
    control = rng.uniform(0.3, 0.5, (n_runs, n_topics))
    return PairedRuns(pole, control + effect + rng.normal(0, 0.05, control.shape), control)


def test_one_contrast_by_hand() -> None:
    # differences [[0, 2], [2, 4], [1, 3]] / 10: mean 0.2, runs 0.1, 0.3, 0.2, topics 0.1, 0.3, no rest
    control = np.full((3, 2), 0.4)
    found = pole_contrast(PairedRuns("eager", control + np.array([[0, 2], [2, 4], [1, 3]]) / 10, control))
    error = math.sqrt((2 * 0.01 + 3 * 0.02) / 6)  # MS of runs: 2 topics * 0.01; of topics: 3 runs * 0.02
    assert (found.pairs, found.interval.df) == (3, 1)
    assert found.interval.estimate == pytest.approx(0.2)
    assert found.p == found.p_holm == pytest.approx(2 * stats.t.sf(0.2 / error, 1))
    assert found.p_sign_flip == 2 / 8
    assert found.detectable == pytest.approx(error * (stats.t.ppf(0.975, 1) + stats.t.ppf(0.8, 1)))
    assert found.share_of_headroom == pytest.approx(0.2 / 0.6)


def test_a_contrast_is_made_of_the_tests_of_its_pairs() -> None:
    made = runs("cautious", -0.1)
    found, slow = pole_contrast(made), two_way_t(made.tuned, made.control, LEVEL)
    error = (slow.interval.high - slow.interval.estimate) / stats.t.ppf(0.975, slow.interval.df)
    assert (found.interval, found.p) == (slow.interval, slow.p)
    assert found.p_sign_flip == sign_flip((made.tuned - made.control).mean(axis=1))
    assert found.detectable == pytest.approx(minimum_detectable_effect(error, slow.interval.df, 0.95, 0.8))


@pytest.mark.parametrize(
    ("effect", "neutral", "pole", "share"),
    [
        (0.2, 0.6, "eager", 0.5),
        (-0.3, 0.6, "cautious", 0.5),
        (0.3, 0.6, "cautious", -0.5),
        (-0.1, 0.6, "eager", -0.25),
        (0.0, 1.0, "eager", None),
        (0.0, 0.0, "cautious", None),
    ],
)
def test_headroom_is_the_share_of_the_way_to_the_poles_end(
    effect: float, neutral: float, pole: str, share: float | None
) -> None:
    assert share_of_headroom(effect, neutral, pole) == (None if share is None else pytest.approx(share))


def test_a_family_is_corrected_together_and_in_its_order() -> None:
    pairs = {
        (m, pole): runs(pole, e, seed=s)
        for s, (m, pole, e) in enumerate(
            [("a", "cautious", -0.2), ("a", "eager", 0.01), ("b", "cautious", 0.0), ("b", "eager", 0.06)]
        )
    }
    found = family(pairs)
    assert list(found) == list(pairs)
    ranked, largest = sorted(found.values(), key=lambda each: each.p), 0.0
    for rank, each in enumerate(ranked):
        largest = max(largest, min(1.0, (4 - rank) * each.p))
        assert each.p_holm == largest
    assert {key: each._replace(p_holm=each.p) for key, each in found.items()} == {
        key: pole_contrast(each) for key, each in pairs.items()
    }


def test_pairs_that_tell_too_little_are_left_out_of_the_family() -> None:
    gap = runs("eager", 0.1)
    gap.tuned[1, 2] = np.nan
    bad = {"two runs": runs("eager", 0.1, n_runs=2), "one topic": runs("eager", 0.1, n_topics=1), "gap": gap}
    good = runs("eager", 0.1)
    assert [enough(each) for each in bad.values()] == [False] * 3 and enough(good)
    assert family({**bad, "good": good}) == {"good": pole_contrast(good)}
    assert family(bad) == {} == family({})


def test_many_runs_have_no_exact_sign_flip() -> None:
    assert pole_contrast(runs("eager", 0.1, n_runs=20)).p_sign_flip is not None
    assert pole_contrast(runs("eager", 0.1, n_runs=21)).p_sign_flip is None


def test_what_is_no_pole_is_refused() -> None:
    with pytest.raises(InputError, match=r"no such pole, pole_contrast: neutral; allowed: cautious, eager"):
        pole_contrast(runs("neutral", 0.0))


def test_a_family_without_effects_seldom_shows_one() -> None:
    rng, alarms = np.random.default_rng(8), 0
    for _ in range(400):
        pairs = {}
        for pole in ("cautious", "eager"):
            control = 0.5 + rng.normal(0, 0.05, (4, 1)) + rng.normal(0, 0.1, (4, 8))
            moved = rng.normal(0, 0.05, (4, 1)) + rng.normal(0, 0.05, (1, 8)) + rng.normal(0, 0.1, (4, 8))
            pairs[pole] = PairedRuns(pole, control + moved, control)
        alarms += min(each.p_holm for each in family(pairs).values()) < 0.05
    assert alarms / 400 <= 0.07
