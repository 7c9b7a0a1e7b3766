"""A contrast is ranked among random directions run by run, and an arm is said to have moved only where all agree."""

import numpy as np
import pytest

from analysis.activations.movement import moved, pair
from common.errors import InputError

NULLS = np.linspace(-1, 1, 201)


def test_a_pair_by_hand() -> None:
    found = pair(3.0, 2.5, NULLS + 5, np.full(201, 5.0))  # what training does to both is no part of the contrast
    assert found.shift == 0.5
    assert found.up == pytest.approx((1 + 51) / 202) and found.down == pytest.approx((1 + 151) / 202)
    assert (found.null_low, found.null_high) == pytest.approx((-0.95, 0.95))


def test_what_any_training_does_moves_no_contrast() -> None:
    rng = np.random.default_rng(0)
    verdicts = []
    for _ in range(400):
        common, own = rng.normal(0, 10, 1001), rng.normal(0, 1, (2, 1001))
        both = common + own
        verdicts.append(moved([pair(both[0, 0], both[1, 0], both[0, 1:], both[1, 1:])]).verdict != "not shown")
    assert 0.03 < np.mean(verdicts) < 0.075


@pytest.mark.parametrize(
    ("shifts", "verdict"),
    [
        ([2.0, 2.0, 2.0], "towards caution"),
        ([-2.0, -2.0], "towards eagerness"),
        ([2.0, -2.0], "not shown"),  # opposite signs of two draws are no effect of the arm
        ([2.0, 0.0], "not shown"),
        ([0.1], "not shown"),
    ],
)
def test_an_arm_moved_only_where_its_runs_agree(shifts: list[float], verdict: str) -> None:
    rng = np.random.default_rng(1)
    found = moved([pair(shift, 0.0, rng.normal(0, 0.3, 1000), np.zeros(1000)) for shift in shifts])
    assert found.verdict == verdict and found.shift == pytest.approx(np.mean(shifts))
    assert (found.p <= 0.05) == (verdict != "not shown")


def test_the_p_of_several_runs_holds_where_they_share_all_their_chance() -> None:
    rng = np.random.default_rng(2)
    alarms = []
    for _ in range(400):
        drawn = rng.normal(size=201)
        alarms.append(moved([pair(drawn[0], 0.0, drawn[1:], np.zeros(200))] * 4).verdict != "not shown")
    assert np.mean(alarms) < 0.05


def test_too_little_evidence_is_refused() -> None:
    with pytest.raises(InputError, match="random directions"):
        pair(1.0, 0.0, NULLS[:50], NULLS[:50])
    with pytest.raises(InputError, match="random directions"):
        pair(1.0, 0.0, NULLS, NULLS[:150])
    with pytest.raises(InputError, match="not finite"):
        pair(np.nan, 0.0, NULLS, NULLS)
    with pytest.raises(InputError, match="no pairs"):
        moved([])
