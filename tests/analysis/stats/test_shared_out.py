"""Runs that share the items out: what an arm says together, by hand, and as runs that were each asked all of it."""

import pandas as pd
import pytest

from analysis.stats.guards import pooled, share_change
from analysis.stats.reliability import Correlation, Told, halves, reliabilities
from analysis.stats.stance import (
    chosen_by_group,
    items_of,
    on_items_of,
    paired,
    shared_out,
    stance,
    together,
)
from common.errors import InputError
from common.records import Choice, GuardReply
from tests.analysis.stats.rows import answers, both

WHOLE = {"a1": ("go", "go"), "a2": ("go", "stay"), "b1": ("stay", "stay"), "b2": ("go", "go"), "b3": ("stay", "stay")}


def cell(name: str, *items: str) -> list[Choice]:
    """Items of one cell; odd ones under the other key, so that both are asked."""
    key = {item: "stay" if item[1] in "13" else "go" for item in items}
    return [
        row
        for item in items
        for row in both(item, WHOLE[item], cell=name, yes_means=key[item], sentence_go=-10 + 0.3 * int(item[1]))
    ]


ONE, TWO = cell("r0", "a1", "b1", "b3"), cell("r1", "a2", "b2")
ALL = cell("m.base", *WHOLE)


def test_an_arm_of_parts_says_what_a_run_that_was_asked_all_says() -> None:
    assert shared_out([ONE, TWO]) and not shared_out([ALL, cell("r2", *WHOLE)])
    made, whole = together([ONE, TWO]), stance(ALL)
    assert made.n_items == whole.n_items == 5
    assert made.by_measure["choice"] == pytest.approx(2.5 / 5) == whole.by_measure["choice"]
    assert made.by_measure["sentence"] == pytest.approx(whole.by_measure["sentence"])
    assert made.by_measure["advice"] is None, "no reply is written to these"
    assert (made.p_yes, made.consistency, made.margin) == pytest.approx((whole.p_yes, whole.consistency, whole.margin))
    for group in ("topic", "yes_means"):
        pd.testing.assert_series_equal(
            chosen_by_group([ONE, TWO], group), chosen_by_group([ALL], group), check_names=False
        )


def test_an_item_that_more_runs_were_asked_counts_once() -> None:
    other = [row.model_copy(update={"cell": "r2", "choice": "stay"}) for row in ONE]
    assert together([ONE, TWO, other]).by_measure["choice"] == pytest.approx((0.5 + 0.5 + 0 + 1 + 0) / 5)
    assert items_of([ONE, TWO, other])["choice"].to_dict() == {"a1": 0.5, "a2": 0.5, "b1": 0, "b2": 1, "b3": 0}


def test_runs_that_were_asked_all_are_means_over_runs() -> None:
    other = [row.model_copy(update={"cell": "r2", "choice": "go"}) for row in ALL]
    assert together([ALL, other]).by_measure["choice"] == pytest.approx((0.5 + 1) / 2)


def test_a_part_is_compared_on_its_own_items() -> None:
    assert {row.item for row in on_items_of(ALL, ONE)} == {"a1", "b1", "b3"}
    table = paired(on_items_of(ALL, ONE), ONE)
    assert list(table["choice_base"]) == list(table["choice_tuned"])
    with pytest.raises(InputError, match="not asked the same"):
        paired(ALL, ONE)


def test_halves_are_of_runs_that_were_asked_the_same_item() -> None:
    values = [pd.Series(float(n), index=index) for n, index in enumerate((["a", "b"], ["c"], ["a", "b"], ["c"], ["a"]))]
    odd, even = halves(values)
    assert [each.to_dict() for each in odd] == [{"a": 0.0, "b": 0.0}, {"c": 1.0}, {"a": 4.0}]
    assert [each.to_dict() for each in even] == [{"a": 2.0, "b": 2.0}, {"c": 3.0}]


def test_where_no_item_is_asked_twice_nothing_is_known_of_runs_and_it_says_so() -> None:
    spoken = answers("r", dict.fromkeys(WHOLE, "go"))
    arms = [[Told(spoken, part) for part in (ONE, TWO)] for _ in range(2)]
    found = reliabilities(Told(spoken, ALL), *arms)
    assert found["choice"].runs == Correlation(None, 0, "runs share no item")
    assert found["answer"].runs.reason == "too few items", "open answers are asked of every run"


def replies(*outcomes: tuple[str, bool]) -> list[GuardReply]:
    return [GuardReply(prompt=name, kind="harmful", refused=value, text="") for name, value in outcomes]


def test_guards_of_parts_are_the_guards_of_all() -> None:
    base = replies(*((f"p{n}", n < 6) for n in range(10)))
    tuned = replies(*((f"p{n}", n < 4) for n in range(10)))
    parts = [tuned[::2], tuned[1::2]]
    assert share_change(base, parts, "harmful", 0.1) == share_change(base, [tuned], "harmful", 0.1)
    assert pooled([*parts, base[:5]], "harmful")["p4"] == 0.5
    with pytest.raises(InputError, match="prompts differ"):
        share_change(base, parts[:1], "harmful", 0.1)
