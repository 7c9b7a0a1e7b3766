"""A checkpoint drifted if it moved further than enough random directions; a fine-tune if that lasted to the end."""

import numpy as np
import pytest

from analysis.activations.drift import drift, rank
from common.errors import InputError

HUNDRED = np.arange(100) / 10 * np.where(np.arange(100) % 2, 1, -1)  # absolute values 0.0, 0.1 … 9.9


def test_rank_counts_smaller_shifts_whatever_their_sign() -> None:
    assert rank(9.55, HUNDRED) == pytest.approx(0.96)
    assert rank(-9.55, HUNDRED) == pytest.approx(0.96)
    assert rank(0.0, HUNDRED) == 0.0  # an equal one is not smaller
    assert rank(11.0, HUNDRED) == 1.0


@pytest.mark.parametrize(
    ("shifts", "drifted_at"),
    [
        ([1.0, 9.7, 9.9], 20),
        ([9.7, 1.0, -9.7], 30),  # it came back in between
        ([9.7, 9.8, 1.0], None),  # it came back in the end
        ([1.0, 2.0, 3.0], None),
        ([-9.7, 9.8, 9.9], 10),
    ],
)
def test_drift_begins_where_it_lasts_from(shifts: list[float], drifted_at: int | None) -> None:
    found = drift([10, 20, 30], shifts, [HUNDRED] * 3, 0.95)
    assert found.drifted_at == drifted_at
    assert [reading.drifted for reading in found.checkpoints] == [abs(shift) > 9.5 for shift in shifts]
    assert [(reading.optimizer_step, reading.shift) for reading in found.checkpoints] == list(
        zip([10, 20, 30], shifts, strict=True)
    )


def test_a_rank_equal_to_the_level_is_not_drift() -> None:
    assert not drift([5], [9.45], [HUNDRED], 0.95).checkpoints[0].drifted
    assert drift([5], [9.55], [HUNDRED], 0.95).checkpoints[0].drifted


def test_each_checkpoint_is_ranked_among_its_own_nulls() -> None:
    found = drift([1, 2], [5.0, 5.0], [HUNDRED, HUNDRED / 10], 0.95)
    assert [reading.rank for reading in found.checkpoints] == pytest.approx([0.5, 1.0])


def test_too_little_evidence_is_an_error() -> None:
    with pytest.raises(InputError, match=r"too few random directions.*>= 100"):
        drift([5], [1.0], [HUNDRED[:99]], 0.95)
    with pytest.raises(InputError, match="no checkpoints"):
        drift([], [], [], 0.95)
    with pytest.raises(InputError, match="not finite"):
        rank(float("nan"), HUNDRED)
    with pytest.raises(InputError, match="ascend"):
        drift([5, 5], [1.0, 1.0], [HUNDRED] * 2, 0.95)


def test_false_alarms_come_at_the_nominal_rate() -> None:
    rng = np.random.default_rng(0)
    alarms = [rank(shift, rng.standard_normal(1000)) > 0.95 for shift in rng.standard_normal(2000)]
    assert 0.04 <= np.mean(alarms) <= 0.06
