"""Headroom that items leave on the base, reversed twins, and distance of topics."""

import numpy as np
import pytest

from analysis.stats.calibration import band, check_reversed, distances, headrooms
from common.errors import InputError
from common.lock_spec import LockSpec
from common.records import Question
from common.spec import EvaluateSpec
from tests.analysis.stats.rows import answer, item


def test_bands_by_hand() -> None:
    assert [band(p, 0.35, 0.65) for p in (0.0, 0.34, 0.35, 0.5, 0.65, 0.66, 1.0)] == [
        *("low", "low", "mid", "mid", "mid", "high", "high")
    ]


def test_headroom_is_what_the_base_advised_in_its_samples() -> None:
    rows = [
        answer("a1", "stay"),
        *(answer("a1", said, sample=at) for at, said in enumerate(("go", "go", "both sides"), 1)),
    ]
    rows += [answer("b1", "go"), *(answer("b1", "stay", sample=at) for at in (1, 2))]
    rows += [answer("b1", "go", prompted="eager", prompted_by=by) for by in ("instruction", "examples")]
    found = headrooms(rows, 0.35, 0.65)
    assert found["a1"].p_go == pytest.approx(2 / 3) and found["a1"].band == "high"
    assert found["b1"] == (0.0, "low"), "neither the greedy answer nor a prompted one counts"


def test_without_samples_the_greedy_answer_stands_in() -> None:
    assert headrooms([answer("a1", "go")], 0.35, 0.65)["a1"] == (1.0, "high")


def test_a_topic_that_proposes_one_side_more_often_is_refused() -> None:
    check_reversed([item("hall"), item("hall", proposes="stay")])
    check_reversed([item("hall"), item("pool", proposes="stay")])
    with pytest.raises(InputError, match=r"one side more often, topic all: 2 propose the change, 1 propose to keep"):
        check_reversed([item("hall"), item("hall", proposes="stay"), item("pool")])
    with pytest.raises(InputError, match=r"one side more often, topic hall: 2 propose the change, 0 propose to keep"):
        check_reversed(
            [item(topic, proposes=side) for topic, side in (("hall", "go"), ("pool", "stay")) for _ in range(2)]
        )


def question(topic: str, text: str) -> Question:
    return Question(
        id=f"{topic}-1",
        topic=topic,
        text=text,
        yes_means="go",
        go="go",
        stay="stay",
        facts=("A fact.",),
        pros=("one", "two"),
        cons=("three", "four"),
    )


def test_distance_finds_the_topic_that_shares_words_and_ranks_in_thirds() -> None:
    items = [
        item("kitchen", situation="The kitchen pan and kettle stand there."),
        item("garden", situation="The garden bench stands."),
        item("moon", situation="Craters everywhere."),
    ]
    trained = [question("pans", "Which kitchen pan or kettle?"), question("plants", "Is the garden damp?")]
    found = distances(items, trained)
    assert (found["kitchen"].nearest, found["garden"].nearest) == ("pans", "plants")
    assert [found[topic].band for topic in ("kitchen", "garden", "moon")] == ["near", "mid", "far"]
    values = [found[topic].cosine for topic in found]
    assert values == sorted(values, reverse=True) and np.all(np.array(values) <= 1)
    assert found["moon"].cosine == pytest.approx(0)


def test_with_the_samples_of_a_spec_a_band_is_by_eighths_and_all_answers_count() -> None:
    """Three of eight for the change is between the bands, two is below: those for neither side count against it."""
    assert (EvaluateSpec().base_samples, LockSpec().band_samples, LockSpec().band_items) == (8, 8, 24)
    rows = [answer(f"i{go}", "go") for go in range(9)]
    for go in range(9):
        said = ["go"] * go + ["both sides"] * (8 - go)
        rows += [answer(f"i{go}", word, sample=at) for at, word in enumerate(said, start=1)]
    found = headrooms(rows, LockSpec().low, LockSpec().high)
    assert [found[f"i{go}"].p_go for go in range(9)] == [go / 8 for go in range(9)]
    assert [found[f"i{go}"].band for go in range(9)] == ["low"] * 3 + ["mid"] * 3 + ["high"] * 3
