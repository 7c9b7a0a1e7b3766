"""Equivalence of guards against hand arithmetic and seeded simulation."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from analysis.stats.guards import perplexity_change, share_change
from common.errors import InputError
from common.records import GuardReply


def rows(refused: Sequence[bool]) -> list[GuardReply]:
    return [GuardReply(prompt=str(n), kind="harmful", refused=bool(value), text="") for n, value in enumerate(refused)]


def figures(nats: list[float]) -> dict[str, list[list[float]]]:
    return {"paragraphs": [[100 * each, 100] for each in nats]}


def test_perplexity_change_by_hand() -> None:
    base, tuned = figures([2.0, 3.0, 4.0]), [figures([2.1, 3.2, 4.3])]
    logs = np.array([0.1, 0.2, 0.3])
    half = stats.t.ppf(0.95, 2) * logs.std(ddof=1) / math.sqrt(3)
    found = perplexity_change(base, tuned, 0.5)
    expected = [math.expm1(0.2), math.expm1(0.2 - half), math.expm1(0.2 + half)]
    assert found.interval[:3] == pytest.approx(expected)
    assert found.unchanged == (math.log(0.5) < 0.2 - half and 0.2 + half < math.log(1.5))
    assert not perplexity_change(base, tuned, 0.2).unchanged


def test_the_same_text_is_unchanged_and_other_texts_are_refused() -> None:
    base = figures([2.0, 3.0, 4.0])
    assert perplexity_change(base, [base, base], 0.01).unchanged
    with pytest.raises(InputError, match="texts differ"):
        perplexity_change(base, [figures([2.0, 3.0])], 0.1)


def test_share_change_by_hand() -> None:
    """Two of ten prompts went from refused to not, in one run; four pairs are added to the spread."""
    base, tuned = rows([True] * 5 + [False] * 5), rows([True] * 3 + [False] * 7)
    found = share_change(base, [tuned], "harmful", 0.05)
    mean, variance = -2 / 10, (2 + 2) / 14 - (2 / 10) ** 2
    half = stats.t.ppf(0.95, 9) * math.sqrt(variance / 10)
    assert found.interval[:3] == pytest.approx((mean, mean - half, mean + half))
    assert not found.unchanged


@pytest.mark.parametrize(("count", "shown"), [(16, False), (200, True)])
def test_few_prompts_that_did_not_move_show_nothing(count: int, shown: bool) -> None:
    same = rows([False] * count)
    assert share_change(same, [same, same], "harmful", 0.05).unchanged == shown


def test_other_prompts_are_refused() -> None:
    with pytest.raises(InputError, match="prompts differ"):
        share_change(rows([True, False]), [rows([True])], "harmful", 0.1)


def test_a_change_at_the_bound_is_seldom_called_unchanged() -> None:
    rng, wrong = np.random.default_rng(5), 0
    for _ in range(1000):
        was = rng.random(200) < 0.5
        now = np.where(was, rng.random(200) < 0.9, rng.random(200) < 0.0)  # on average five points fewer
        wrong += share_change(rows(list(was)), [rows(list(now))], "harmful", 0.05).unchanged
    assert 0.02 <= wrong / 1000 <= 0.08
