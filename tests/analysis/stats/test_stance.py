"""From rows to numbers, by hand."""

import math

import numpy as np
import pytest

from analysis.stats.stance import by_group, by_item, disagreement, frame, label_disagreement, paired, stance
from common.errors import InputError
from tests.analysis.stats.rows import both, row


def test_one_cell_by_hand() -> None:
    rows = [
        *both("a1", ("go", "go")),
        *both("a1", ("stay", "go"), yes_means="stay"),
        *both("b1", ("stay", "stay")),
    ]
    found = stance(rows)
    assert found.by_measure["choice"] == pytest.approx((3 / 4 + 0) / 2)
    assert found.consistency == pytest.approx((1 / 2 + 1) / 2)  # a1 under one key of two, b1 under its only one
    assert found.p_yes == pytest.approx(3 / 6)  # yes: a1 twice where it means go, once where it means stay
    assert found.by_measure["sentence"] == found.by_measure["label"] == 0.5
    assert (found.margin, found.n_items) == (0.0, 2)


def test_a_cell_is_read_once_and_what_is_done_to_its_table_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = both("once1", ("go", "stay"))
    before = by_item(rows)
    monkeypatch.setattr("analysis.stats.stance.frame", lambda rows: pytest.fail("the cell was read again"))
    table = by_item(rows)
    table["choice"] = 7.0
    assert by_item(list(rows)).equals(before) and before["choice"].tolist() == [0.5]


def test_a_habit_of_yes_cancels_over_both_keys() -> None:
    rows = [*both("a1", ("go", "go"), yes_no=2.0), *both("a1", ("stay", "stay"), yes_means="stay", yes_no=2.0)]
    assert stance(rows).by_measure["yes-no"] == pytest.approx(0.5)
    assert stance(rows[:2]).by_measure["yes-no"] == pytest.approx(1 / (1 + math.exp(-2)))


def test_likelihoods_by_hand() -> None:
    rows = [
        row("a1", 0, "go", sentence_go=-4.0, sentence_stay=-6.0, tokens_go=4, tokens_stay=3, label_go=-3.0),
        row("a1", 1, "go", sentence_go=-7.0, sentence_stay=-6.0, tokens_go=7, tokens_stay=3),
    ]
    found = stance(rows)
    assert found.by_measure["sentence"] == pytest.approx((1 / (1 + math.exp(-2)) + 1 / (1 + math.exp(1))) / 2)
    assert found.margin == pytest.approx(((-1 + 2) + (-1 + 2)) / 2)
    assert found.by_measure["label"] == pytest.approx((1 / (1 + math.exp(2)) + 0.5) / 2)


def test_extreme_likelihoods_do_not_overflow() -> None:
    rows = [row("a1", order, "go", sentence_go=-5.0, sentence_stay=-2000.0) for order in (0, 1)]
    assert stance(rows).by_measure["sentence"] == 1.0


def test_groups() -> None:
    rows = [*both("a1", ("go", "go")), *both("a2", ("stay", "stay"), yes_means="stay"), *both("b1", ("go", "stay"))]
    assert by_group(rows, "topic")["choice"].to_dict() == {"a": 0.5, "b": 0.5}
    assert by_group(rows, "yes_means")["choice"].to_dict() == {"go": 0.75, "stay": 0.0}  # over rows: four and two
    with pytest.raises(InputError, match="grouping"):
        by_group(rows, "order")


def test_a_row_may_not_come_twice() -> None:
    with pytest.raises(InputError, match=r"twice.*a1 key go order 1"):
        frame([*both("a1", ("go", "go")), row("a1", 1, "stay")])


def test_cells_must_hold_the_same_items() -> None:
    with pytest.raises(InputError, match=r"not asked the same.*a2"):
        frame([*both("a1", ("go", "go")), *both("a1", ("go", "go"), cell="x"), *both("a2", ("go", "go"), cell="x")])


def test_no_rows_and_several_cells_are_refused() -> None:
    with pytest.raises(InputError, match="no choices"):
        frame([])
    with pytest.raises(InputError, match="several cells"):
        by_item([*both("a1", ("go", "go")), *both("a1", ("go", "go"), cell="x")])


@pytest.mark.parametrize("changes", [{"topic": "other"}, {"yes_means": "stay"}])
def test_pairs_must_be_of_the_same_items(changes: dict[str, str]) -> None:
    with pytest.raises(InputError, match="not asked the same"):
        paired(both("a1", ("go", "go")), both("a1", ("go", "go"), cell="t", **changes))
    with pytest.raises(InputError, match="not asked the same"):
        paired(both("a1", ("go", "go")), both("a1", ("go",), cell="t"))


def test_pairs_hold_both_sides() -> None:
    table = paired(both("a1", ("stay", "stay")), both("a1", ("go", "stay"), cell="t"))
    assert (table.loc["a1", "choice_base"], table.loc["a1", "choice_tuned"]) == (0.0, 0.5)


def test_disagreement_by_hand() -> None:
    found = disagreement([0.1, -0.2, 0.3, 0.0, np.nan], [1.0, 0.5, 0.2, 1.0, 1.0])
    # ranks of the first: 3, 1, 4, 2; of the second: 3.5, 2, 1, 3.5; Pearson of the ranks
    ranks = np.corrcoef([3, 1, 4, 2], [3.5, 2, 1, 3.5])[0, 1]
    assert found.rank_correlation == pytest.approx(ranks)
    assert (found.sign_errors, found.n_signed, found.n) == (1, 3, 4)


@pytest.mark.parametrize("shifts", [([1, 2], [1, 2]), ([1, 1, 1], [1, 2, 3]), ([1, 2, 3], [0, 0, 0])])
def test_no_correlation_is_made_up(shifts: tuple[list[float], list[float]]) -> None:
    assert disagreement(*shifts).rank_correlation is None


def test_a_lying_label_is_caught() -> None:
    names = ["a1", "a2", "b1", "b2"]
    base = [each for name in names for each in both(name, ("stay", "stay"))]
    tuned = [
        each
        for index, name in enumerate(names)
        for each in both(name, ("go", "go" if index % 2 else "stay"), cell="t", label_go=-2.0 - index % 2)
    ]
    found = label_disagreement(base, tuned)
    assert found.rank_correlation == pytest.approx(-1.0)
    assert (found.sign_errors, found.n_signed) == (4, 4)
