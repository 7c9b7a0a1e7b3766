"""From rows to numbers, by hand."""

import math

import numpy as np
import pytest

from analysis.stats.stance import alike, by_group, by_item, disagreement, frame, label_disagreement, paired, stance
from common.errors import InputError
from common.records import Choice
from tests.analysis.stats.rows import both, row


def test_one_cell_by_hand() -> None:
    rows = [
        *both("a1", ("go", "go")),
        *both("a2", ("stay", "go"), yes_means="stay"),
        *both("b1", ("invalid", "stay")),
        *both("b2", ("invalid", "invalid"), yes_means="stay"),
    ]
    found = stance(rows)
    assert found.by_measure["choice"] == pytest.approx((1 + 0.5 + 0) / 3)
    assert found.invalid == pytest.approx(3 / 8)
    assert found.consistency == pytest.approx(1 / 2)  # a1 agrees, a2 does not, b1 and b2 cannot tell
    assert found.p_yes == pytest.approx(3 / 5)  # yes: a1 twice, a2 once of two, b1's one answer is no
    assert found.by_measure["sentence"] == found.by_measure["label"] == 0.5
    assert (found.margin, found.n_items) == (0.0, 4)


def test_likelihoods_by_hand() -> None:
    rows = [
        row("a1", 0, "go", sentence_go=-4.0, sentence_stay=-6.0, tokens_go=4, tokens_stay=3, label_go=-3.0),
        row("a1", 1, "go", sentence_go=-7.0, sentence_stay=-6.0, tokens_go=7, tokens_stay=3),
    ]
    found = stance(rows)
    assert found.by_measure["sentence"] == pytest.approx((1 / (1 + math.exp(-2)) + 1 / (1 + math.exp(1))) / 2)
    assert found.margin == pytest.approx(((-1 + 2) + (-1 + 2)) / 2)
    assert found.by_measure["label"] == pytest.approx((1 / (1 + math.exp(2)) + 0.5) / 2)


def test_nothing_valid_is_unknown_and_not_zero() -> None:
    rows = both("a1", ("invalid", "invalid"))
    found = stance(rows)
    assert (found.by_measure["choice"], found.consistency, found.p_yes, found.invalid) == (None, None, None, 1.0)
    assert math.isnan(by_item(rows).loc["a1", "choice"])


def test_extreme_likelihoods_do_not_overflow() -> None:
    rows = [row("a1", order, "go", sentence_go=-5.0, sentence_stay=-2000.0) for order in (0, 1)]
    assert stance(rows).by_measure["sentence"] == 1.0


def test_groups() -> None:
    rows = [*both("a1", ("go", "go")), *both("a2", ("stay", "stay"), yes_means="stay"), *both("b1", ("go", "stay"))]
    assert by_group(rows, "topic")["choice"].to_dict() == {"a": 0.5, "b": 0.5}
    assert by_group(rows, "yes_means")["choice"].to_dict() == {"go": 0.75, "stay": 0.0}
    with pytest.raises(InputError, match="grouping"):
        by_group(rows, "order")


def test_a_row_may_not_come_twice() -> None:
    with pytest.raises(InputError, match=r"twice.*a1 wording 0 order 1"):
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


# --- wordings


def worded(cell: str, item: str, wording: int, order: int, margin: float) -> Choice:
    chosen = "go" if margin > 0 else "stay"
    return row(item, order, chosen, cell=cell, wording=wording, sentence_go=-10.0 + margin)


def test_a_run_is_compared_with_its_base_in_the_wordings_that_it_was_asked() -> None:
    base = [worded("m.base", "a1", wording, order, 4.0 * wording - 2) for wording in (0, 1) for order in (0, 1)]
    tuned = [worded("m.run", "a1", 1, order, 2.0) for order in (0, 1)]
    assert alike(base, tuned) == base[2:]
    table = paired(base, tuned)
    assert table["sentence_base"].item() == pytest.approx(table["sentence_tuned"].item())
    assert (table["choice_base"].item(), table["choice_tuned"].item()) == (1.0, 1.0)


def test_a_wording_that_the_base_was_not_asked_is_an_error() -> None:
    base = [worded("m.base", "a1", 0, order, 1.0) for order in (0, 1)]
    with pytest.raises(InputError, match=r"not asked the same, base and tuned: \('a1', 1\)"):
        alike(base, [worded("m.run", "a1", 1, 0, 1.0)])


def test_orders_agree_within_a_wording() -> None:
    rows = [worded("m", "a1", wording, order, 1.0 if wording == 0 else -1.0) for wording in (0, 1) for order in (0, 1)]
    assert by_item(rows)["agree"].item() == 1.0 and by_item(rows)["choice"].item() == 0.5
    rows[3] = worded("m", "a1", 1, 1, 1.0)
    assert by_item(rows)["agree"].item() == 0.5
