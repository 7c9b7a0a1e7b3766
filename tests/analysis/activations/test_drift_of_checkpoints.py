"""Where a checkpoint stands beside chance, by hand arithmetic and by simulation."""

import numpy as np
import pytest

from analysis.activations.checkpoints import chance_distance, distance, nearest, standing
from common.errors import InputError

BASE = np.array([[0.0, 0.0, 0.0], [2.0, 4.0, 0.0], [4.0, 2.0, 6.0]])  # SDs 2, 2, 2√3; total variance 20
NULLS = np.eye(3)[np.arange(200) % 3]


def test_a_shift_by_hand() -> None:
    found = standing(np.array([3.0, -4.0, 0.0]), BASE, np.vstack([np.eye(3)[:1], NULLS]), 0.9)
    assert found.shift == pytest.approx(1.5)  # 3 over the SD of the first dimension
    assert (found.null_low, found.null_high) == pytest.approx((-2.0, 1.5))
    assert found.rank == pytest.approx(66 / 200)  # nulls along the third dimension did not move; ties are not smaller
    assert distance(np.array([3.0, -4.0, 0.0]), BASE) == pytest.approx(5 / np.sqrt(20))


def test_chance_is_what_other_texts_would_do() -> None:
    rng = np.random.default_rng(0)
    scale = np.linspace(0.5, 2, 20)
    base = rng.standard_normal((40, 20)) * scale
    said = chance_distance(base, 0.95, 4000, np.random.default_rng(1))
    ones, others = (rng.standard_normal((2000, 40, 20)) * scale for _ in range(2))
    apart = np.linalg.norm(ones.mean(axis=1) - others.mean(axis=1), axis=1) / np.sqrt(base.var(axis=0, ddof=1).sum())
    assert 0.90 < np.mean(apart < said) < 0.99


@pytest.mark.parametrize("steps, to, found", [([10, 20], 14, 10), ([10, 20], 15, 10), ([10, 20], 16, 20), ([5], 99, 5)])
def test_the_nearest_step_stands_for_another(steps: list[int], to: int, found: int) -> None:
    assert nearest(steps, to) == found


def test_what_says_nothing_is_refused() -> None:
    directions = np.vstack([np.eye(3)[:1], NULLS])
    with pytest.raises(InputError, match="too few random directions"):
        standing(np.ones(3), BASE, directions[:50], 0.9)
    with pytest.raises(InputError, match="shapes differ"):
        standing(np.ones(2), BASE, directions, 0.9)
    with pytest.raises(InputError, match="not finite"):
        standing(np.array([np.nan, 0, 0]), BASE, directions, 0.9)
    with pytest.raises(InputError, match="alike"):
        chance_distance(np.ones((3, 2)), 0.9, 10, np.random.default_rng(0))
    with pytest.raises(InputError, match="no checkpoints"):
        nearest([], 3)
