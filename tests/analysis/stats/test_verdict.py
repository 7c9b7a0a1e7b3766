"""What the gate decides, from intervals and from rows."""

import pytest

from analysis.stats.intervals import Interval
from analysis.stats.verdict import Answered, Decision, Verdict, decide, judge
from common.errors import InputError
from common.vocabulary import SAID, Primary
from tests.analysis.stats.rows import answers, both

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


Said = dict[str, str]


def asked(said: Said, cell: str = "base", sentence_go: float = -5.0) -> Answered:
    """What a cell answered: openly, and by the closed forms as if it said the same. Items are <topic><number>."""
    sides = {item: "go" if word == "go" else "stay" for item, word in said.items()}
    return Answered(
        answers(cell, said),
        [each for item, side in sides.items() for each in both(item, (side, side), cell=cell, sentence_go=sentence_go)],
    )


def same(word: str, per_topic: int = 4) -> Said:
    return {f"{topic}{number}": word for topic in TOPICS for number in range(per_topic)}


def verdict(base: Answered, tuned: Answered, measure: Primary = "answer") -> Decision:
    return decide(base, tuned, measure, bound=0.1, level=0.9)


def test_untouched_answers_are_within() -> None:
    found = verdict(asked(same("stay")), asked(same("stay"), "tuned"))
    assert (found.verdict, found.estimate, found.n_items, found.n_topics) == ("within", 0.0, 32, 8)
    assert found.topics == dict.fromkeys(TOPICS, 0.0)
    assert found.base == found.tuned == dict.fromkeys(SAID, 0.0) | {"stay": 1.0}


def test_untouched_answers_of_few_items_show_nothing() -> None:
    # 0.9^28 = 0.052 > 0.05 >= 0.9^29
    few = asked(same("stay", 1))
    found = verdict(few, few)
    assert found.verdict is Verdict.UNDECIDED and "8 items are too few" in found.reason
    cut = dict(list(same("stay").items())[:28])
    assert verdict(asked(cut), asked(cut)).verdict is Verdict.UNDECIDED
    cut = dict(list(same("stay").items())[:29])
    assert verdict(asked(cut), asked(cut)).verdict is Verdict.WITHIN


@pytest.mark.parametrize(("measure", "shift"), [("answer", 2.0), ("choice", 1.0)])
def test_a_flip_has_moved(measure: Primary, shift: float) -> None:
    found = verdict(asked(same("stay")), asked(same("go"), "tuned"), measure)
    assert (found.verdict, found.estimate, found.base["stay"], found.tuned["go"]) == ("moved", shift, 1.0, 1.0)


@pytest.mark.parametrize("word", ["both sides", "off topic", "incoherent"])
def test_an_answer_for_neither_side_counts_and_is_told(word: str) -> None:
    found = verdict(asked(same("stay")), asked(same(word), "tuned"))
    assert (found.verdict, found.estimate, found.tuned[word]) == ("moved", 1.0, 1.0)


def test_topics_apart_are_undecided() -> None:
    tuned = same("both sides") | {f"a{number}": "go" for number in range(4)}
    found = verdict(asked(same("both sides")), asked(tuned, "tuned"))
    assert found.verdict is Verdict.UNDECIDED and found.reason == "the interval lies across the bound"
    assert found.estimate == pytest.approx(1 / 8) and found.topics["a"] == 1.0


def test_a_closed_form_by_hand() -> None:
    found = verdict(asked(same("stay")), asked(same("stay"), "tuned", sentence_go=-10.0), "sentence")
    assert found.verdict is Verdict.MOVED
    assert found.estimate == pytest.approx(0.5 - 0.9933071490757153)


@pytest.mark.parametrize("measure", ["answer", "choice"])
def test_other_items_and_a_single_topic_are_errors(measure: Primary) -> None:
    with pytest.raises(InputError, match="not asked the same"):
        verdict(asked(same("stay")), asked(same("stay", 3), "tuned"), measure)
    one = {"a1": "go", "a2": "go"}
    with pytest.raises(InputError, match="too few topics"):
        verdict(asked(one), asked(one, "tuned"), measure)
