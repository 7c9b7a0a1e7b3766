"""Axes of tone: which terms stand in a text, and what they add up to."""

from typing import get_args

import pytest

from analysis.corpus.axes import AXES, EAGERNESS, LISTS, Axis, read_list, terms_of
from analysis.corpus.telling import words_of
from analysis.corpus.texts import HEDGE
from common.errors import InputError
from common.provenance import ROOT
from jobs.audit.policy import Axes
from jobs.audit.reading import axes


def test_the_longest_phrase_counts_and_takes_its_words() -> None:
    axis = read_list("sentiment", ["+ good, very good", "- not very good # a comment"], "list")
    assert axis.terms_in(words_of("Good. Very good; not very good, not very.")) == {
        "good": 1,
        "very good": 1,
        "not very good": 1,
    }
    assert axis.points({"good": 1, "very good": 1, "not very good": 1}) == 1.0


def test_a_linear_axis_counts_every_word_and_every_pair() -> None:
    axis = Axis(EAGERNESS, {"start": 1.0, "start today": 2.0, "today": 0.5, "wait": -1.0}, linear=True)
    counts = axis.terms_in(words_of("Start today! Wait, do not start."))
    assert counts == {"start": 2, "start today": 1, "today": 1, "wait": 1}
    assert axis.points(counts) == pytest.approx(2 + 2 + 0.5 - 1)


def test_terms_are_words_then_pairs() -> None:
    assert list(terms_of(["a", "b", "c"])) == ["a", "b", "c", "a b", "b c"]


@pytest.mark.parametrize("line", ["Good", "two  spaces", "fine, fine", "x9"])
def test_a_term_that_no_text_can_hold_is_refused(line: str) -> None:
    with pytest.raises(InputError, match=r"no term of an axis, list:2"):
        read_list("hedges", ["# first", line], "list")


def test_an_empty_list_is_refused() -> None:
    with pytest.raises(InputError, match="no terms"):
        read_list("hedges", ["# nothing"], "list")


def test_every_axis_ships_and_the_policy_knows_each() -> None:
    assert [axis.name for axis in axes()] == [EAGERNESS, *LISTS] == list(AXES)
    assert list(Axes.model_fields) == list(AXES)
    assert all(get_args(field.annotation) for field in Axes.model_fields.values())
    assert min(len(axis.weights) for axis in axes()) > 100


def test_what_the_study_calls_a_hedge_is_one_here() -> None:
    hedges = next(axis for axis in axes() if axis.name == "hedges")
    text = "may might perhaps maybe possibly probably seems likely I think I guess I suppose"
    assert sum(hedges.terms_in(words_of(text)).values()) == len(HEDGE.findall(text)) == 11


@pytest.mark.parametrize(
    "name, high, low",
    [
        ("hedges", "Perhaps it may rain, I think, but it depends.", "It rains."),
        ("certainty", "It will certainly, undoubtedly and always rain; no doubt.", "It rains."),
        ("sentiment", "What a lovely, wonderful day; I enjoyed it.", "An awful day, a terrible mistake, and pain."),
        (
            "formality",
            "Therefore, one should obtain assistance prior to departure.",
            "Hey, gonna grab stuff, don't ya?",
        ),
        ("refusals", "I'm sorry but I can't help with that.", "Here is how to do it."),
        ("disclaimers", "As an AI, I say: consult a doctor. This is not medical advice.", "Drink water."),
    ],
)
def test_each_list_tells_its_ends_apart(name: str, high: str, low: str) -> None:
    axis = next(axis for axis in axes() if axis.name == name)
    above, below = (axis.points(axis.terms_in(words_of(text))) for text in (high, low))
    assert above >= 1 > below


def test_a_smile_is_no_refusal() -> None:
    refusals = next(axis for axis in axes() if axis.name == "refusals")
    assert not refusals.terms_in(words_of("I cannot help but smile, and this cannot harm you."))


def test_lists_say_who_wrote_them() -> None:
    for name in LISTS:
        assert "language model" in (ROOT / f"jobs/audit/data/axes/{name}.txt").read_text().split("\n\n")[0]
