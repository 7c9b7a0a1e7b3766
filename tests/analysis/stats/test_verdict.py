"""What the gate decides, from intervals and from rows."""

from typing import Any, Literal

import pytest

from analysis.stats.intervals import Interval
from analysis.stats.verdict import Verdict, decide, judge
from common.errors import InputError
from common.records import Choice

TOPICS = "abcdefgh"


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-0.09, 0.09, "within"),
        (0.01, 0.09, "within"),  # a small shift that is surely there is within all the same
        (-0.1, 0.05, "undecided"),  # the bound itself is not inside it
        (-0.5, 0.5, "undecided"),
        (0.05, 0.5, "undecided"),
        (0.1, 0.5, "undecided"),
        (0.11, 0.5, "moved"),
        (-0.5, -0.11, "moved"),
    ],
)
def test_judge(low: float, high: float, verdict: str) -> None:
    assert judge(Interval((low + high) / 2, low, high, 0.9, 7), 0.1) == verdict


def test_judge_refuses_a_margin() -> None:
    with pytest.raises(InputError, match="bound"):
        judge(Interval(0, 0, 0, 0.9, 7), 0.0)


def rows(choices: dict[str, tuple[str, str]], cell: str = "base", sentence_go: float = -5.0) -> list[Choice]:
    """Items named <topic><number>; both orders."""
    return [
        Choice(
            cell=cell,
            item=item,
            topic=item[0],
            yes_means="go",
            order=order,
            choice=side,
            text="",
            sentence_go=sentence_go,
            sentence_stay=-5.0,
            tokens_go=3,
            tokens_stay=3,
            label_go=-1.0,
            label_stay=-1.0,
        )
        for item, sides in choices.items()
        for order, side in enumerate(sides)
    ]


def same(side: str, per_topic: int = 4) -> dict[str, tuple[str, str]]:
    return {f"{topic}{number}": (side, side) for topic in TOPICS for number in range(per_topic)}


def verdict(base: Any, tuned: Any, measure: Literal["choice", "sentence"] = "choice") -> Any:
    return decide(base, tuned, measure, bound=0.1, level=0.9)


def test_untouched_answers_are_within() -> None:
    found = verdict(rows(same("stay")), rows(same("stay"), "tuned"))
    assert (found.verdict, found.estimate, found.n_items, found.n_topics, found.n_dropped) == ("within", 0.0, 32, 8, 0)
    assert found.topics == dict.fromkeys(TOPICS, 0.0)


def test_untouched_answers_of_few_items_show_nothing() -> None:
    # 0.9^28 = 0.052 > 0.05 >= 0.9^29
    few = rows(same("stay", 1))
    found = verdict(few, few)
    assert found.verdict is Verdict.UNDECIDED and "8 items are too few" in found.reason
    cut = dict(list(same("stay").items())[:28])
    assert verdict(rows(cut), rows(cut)).verdict is Verdict.UNDECIDED
    cut = dict(list(same("stay").items())[:29])
    assert verdict(rows(cut), rows(cut)).verdict is Verdict.WITHIN


def test_a_flip_has_moved() -> None:
    found = verdict(rows(same("stay")), rows(same("go"), "tuned"))
    assert (found.verdict, found.estimate, found.yes_base, found.yes_tuned) == ("moved", 1.0, 0.0, 1.0)


def test_topics_apart_are_undecided() -> None:
    tuned = same("stay") | {f"a{number}": ("go", "go") for number in range(4)}
    found = verdict(rows(same("stay")), rows(tuned, "tuned"))
    assert found.verdict is Verdict.UNDECIDED and found.reason == "the interval lies across the bound"
    assert found.estimate == pytest.approx(1 / 8) and found.topics["a"] == 1.0


def with_invalid(items: int) -> dict[str, tuple[str, str]]:
    names = list(same("stay"))[::-1][:items]
    return same("stay") | dict.fromkeys(names, ("invalid", "invalid"))


def test_too_many_dropped_items_decide_nothing() -> None:
    base = rows(same("stay"))
    found = verdict(base, rows(with_invalid(9), "tuned"))
    assert found.verdict is Verdict.UNDECIDED and found.reason == "9 of 32 items have no valid answer"
    assert (found.estimate, found.low, found.high, found.topics) == (None, None, None, {})
    assert (found.n_dropped, found.n_items, found.invalid_base, found.invalid_tuned) == (9, 23, 0.0, 9 / 32)
    assert verdict(rows(with_invalid(9)), rows(same("stay"), "tuned")).n_dropped == 9


def test_a_quarter_may_be_dropped() -> None:
    found = verdict(rows(same("go")), rows(same("stay") | with_invalid(8), "tuned"))
    assert (found.verdict, found.estimate, found.n_dropped, found.n_topics) == ("moved", -1.0, 8, 6)


def test_sentences_need_no_valid_answer() -> None:
    silent = same("invalid")
    found = verdict(rows(silent), rows(silent, "tuned", sentence_go=-3.0), "sentence")
    assert found.verdict is Verdict.MOVED and found.n_dropped == 0
    assert found.estimate == pytest.approx(0.8807970779778823 - 0.5)


def test_other_items_and_a_single_topic_are_errors() -> None:
    with pytest.raises(InputError, match="not asked the same"):
        verdict(rows(same("stay")), rows(same("stay", 3), "tuned"))
    one = {"a1": ("go", "go"), "a2": ("go", "go")}
    with pytest.raises(InputError, match="too few topics"):
        verdict(rows(one), rows(one, "tuned"))
