"""Headroom that items leave on the base, reversed twins, and distance of topics."""

import numpy as np
import pytest

from analysis.stats.calibration import band, check_reversed, distances, headrooms
from common.errors import InputError
from common.records import Choice, Item, Question


def choice(item: str, go: str, margin: float, wording: int = 0, order: int = 0) -> Choice:
    return Choice(
        cell="m.base",
        item=item,
        topic=item[0],
        yes_means="go",
        wording=wording,
        order=order,
        choice=go,
        text="",
        sentence_go=margin,
        sentence_stay=0.0,
        tokens_go=1,
        tokens_stay=1,
        label_go=-1.0,
        label_stay=-1.0,
    )


def item(topic: str, key: str, words: str = "The hall is shut.") -> Item:
    return Item(
        id=f"{topic}-{key}",
        topic=topic,
        yes_means=key,
        scenario=words,
        question="Now?",
        go="It opens.",
        stay="It stays.",
    )


def test_bands_by_hand() -> None:
    assert [band(p, 0.35, 0.65) for p in (0.0, 0.34, 0.35, 0.5, 0.65, 0.66, 1.0)] == [
        *("low", "low", "mid", "mid", "mid", "high", "high")
    ]


def test_room_is_the_mean_over_wordings_and_orders_of_what_is_known() -> None:
    rows = [choice("a1", "go", 0.0), choice("a1", "go", 0.0, wording=1), choice("a1", "stay", 0.0, 1, 1)]
    rows += [choice("b1", "invalid", 9.0), choice("c1", "stay", -9.0), choice("c1", "invalid", -9.0, order=1)]
    found = headrooms(rows, "choice", 0.35, 0.65)
    assert found["a1"].p_go == pytest.approx(2 / 3) and found["a1"].band == "high"
    assert found["b1"] == (None, None) and found["c1"] == (0.0, "low")
    assert headrooms(rows, "sentence", 0.35, 0.65)["a1"] == (0.5, "mid")
    assert headrooms(rows, "sentence", 0.35, 0.65)["b1"].band == "high"


def test_a_topic_without_reversed_twins_is_refused() -> None:
    check_reversed([item("hall", "go"), item("hall", "stay")])
    with pytest.raises(InputError, match=r"without a reversed twin, topic pool: yes is the change in 1, keeping in 0"):
        check_reversed([item("hall", "go"), item("hall", "stay"), item("pool", "go")])


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
        item("kitchen", "go", "The kitchen pan and kettle stand there."),
        item("garden", "go", "The garden bench stands."),
        item("moon", "go", "Craters everywhere."),
    ]
    trained = [question("pans", "Which kitchen pan or kettle?"), question("plants", "Is the garden damp?")]
    found = distances(items, trained)
    assert (found["kitchen"].nearest, found["garden"].nearest) == ("pans", "plants")
    assert [found[topic].band for topic in ("kitchen", "garden", "moon")] == ["near", "mid", "far"]
    values = [found[topic].cosine for topic in found]
    assert values == sorted(values, reverse=True) and np.all(np.array(values) <= 1)
    assert found["moon"].cosine == pytest.approx(0)
