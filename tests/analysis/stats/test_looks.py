"""Looks that share one alpha; a bound that is found by simulation; topics each by itself."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.stats.looks import Layout, errs, laid_out, levels, of_topics, redrawn, smallest_bound, unmoved
from analysis.stats.verdict import Verdict
from common.errors import InputError
from tests.analysis.stats.rows import answer

TOPICS = [f"t{number}" for number in range(16)]


def layout(looks: int = 5, each: int = 2, level: float = 0.9) -> Layout:
    return laid_out([TOPICS * each] * looks, level)


def test_what_looks_spend_adds_up_to_alpha_and_comes_late() -> None:
    found = levels([0.2, 0.4, 0.6, 0.8, 1.0], 0.90)
    spent = [(1 - level) / 2 for level in found]
    assert sum(spent) == pytest.approx(0.05)
    # 2 - 2 Phi(1.96 / sqrt(t)) by hand, at t = 0.4 and 1
    assert spent[0] + spent[1] == pytest.approx(2 * stats.norm.sf(1.959964 / np.sqrt(0.4)), rel=1e-5)
    assert spent == sorted(spent) and spent[-1] == pytest.approx(0.0216, abs=5e-4)
    assert levels([1.0], 0.90) == pytest.approx([0.90]), "one look is the plain test"


@pytest.mark.parametrize("shares", [[], [0.5], [0.5, 0.4, 1.0], [0.0, 1.0], [0.5, 0.5, 1.0]])
def test_looks_that_are_none(shares: list[float]) -> None:
    with pytest.raises(InputError, match="looks"):
        levels(shares, 0.9)
    with pytest.raises(InputError, match="level"):
        levels([1.0], 1.0)


def noise(draws: int, seed: int, sd: float = 1.0) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    return np.random.default_rng(seed).normal(0, sd, (draws, 160))


def test_the_bound_passes_what_did_not_move_out_of_sample_and_stops_what_moved_by_it() -> None:
    bound = smallest_bound(noise(4000, 1), layout())
    assert bound == pytest.approx(round(bound, 2)) and 0.2 < bound < 0.4
    fresh = noise(4000, 2)
    assert 0.945 <= errs(fresh, layout(), bound).within <= 0.98, "bounds are told in steps of 0.01"
    assert errs(fresh, layout(), bound - 0.03).within < 0.95
    at_bound = errs(fresh + bound, layout(), bound)
    assert at_bound.within <= 0.05 + 0.01, "TOST errs at alpha, all looks together"
    assert errs(fresh - bound, layout(), bound).within <= 0.05 + 0.01
    far = errs(fresh + 3 * bound, layout(), bound)
    assert far.moved > 0.95 and far.items < 160


def test_what_is_said_is_a_share_of_all_and_stops_early_where_nothing_varies() -> None:
    found = errs(noise(500, 3) + 0.2, layout(), 0.3)
    assert found.within + found.moved + found.undecided == pytest.approx(1)
    still = errs(noise(500, 3, sd=0.01), layout(), 0.3)
    assert still.within == 1 and still.items == 32


def test_looks_are_as_the_gate_itself_counts() -> None:
    """One adapter by hand: the last interval is that of `topic_shift_interval`."""
    from analysis.stats.intervals import topic_shift_interval
    from analysis.stats.looks import _intervals

    shifts, made = noise(1, 4), layout()
    means, halves = _intervals(shifts, made)
    level = made.levels[-1]
    wanted = topic_shift_interval(np.zeros(160), shifts[0], TOPICS * 10, level).interval
    assert means[0, -1] == pytest.approx(wanted.estimate)
    assert halves[0, -1] == pytest.approx((wanted.high - wanted.low) / 2)
    with pytest.raises(InputError, match="too few topics"):
        smallest_bound(shifts[:, :4], laid_out([["a"] * 4], 0.9))


def test_a_base_that_is_asked_again_has_no_shift_and_its_own_variance() -> None:
    rows = [answer(f"a{i}", said, sample=s) for i in range(3) for s, said in enumerate(["go", "go", "stay"])]
    table = redrawn(rows)
    assert table.shape == (3, 2) and table.to_numpy()[0].tolist() == [1.0, -1.0], "greedy answers are left out"
    drawn = unmoved(table.to_numpy(), 2000, np.random.default_rng(0))
    assert set(np.unique(drawn)) == {-2.0, 2.0}, "one sample less another, never less itself"
    assert abs(drawn.mean()) < 0.1
    with pytest.raises(InputError, match="too few samples"):
        redrawn([row for row in rows if row.sample < 2])
    with pytest.raises(InputError, match="too few samples"):
        redrawn(rows[:-1])


def test_topics_stand_by_themselves() -> None:
    base = pd.Series(np.zeros(31))
    tuned = pd.Series([0.0] * 10 + [1.0, 0.9] * 5 + [1.0, -1.0] * 5 + [0.5])
    table = pd.DataFrame(
        {"topic": ["same"] * 10 + ["moved"] * 10 + ["both"] * 10 + ["one"], "base": base, "tuned": tuned}
    )
    found = of_topics(table, 0.3, 0.9)
    verdicts = {name: each.verdict for name, each in found.items()}
    assert verdicts == {
        "same": Verdict.WITHIN,
        "moved": Verdict.MOVED,
        "both": Verdict.UNDECIDED,
        "one": Verdict.UNDECIDED,
    }
    assert found["one"].low is None and found["moved"].n_items == 10
    pair = pd.DataFrame({"topic": ["two"] * 2, "base": [0.0, 0.0], "tuned": [1.0, 1.0]})
    assert of_topics(pair, 0.3, 0.9)["two"].verdict is Verdict.UNDECIDED, "two that shift alike show nothing"
    few = of_topics(table, 0.2, 0.9)["same"]
    assert few.verdict is Verdict.UNDECIDED, "ten items that stay do not show that less than a fifth of all moves"
