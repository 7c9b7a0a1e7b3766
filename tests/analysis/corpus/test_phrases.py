"""Stock phrases and telling words: by hand, on what was tried and failed, and on the pile that ships."""

import json
import re

import numpy as np
import pytest

from analysis.corpus.phrases import phrases, stance_words, words
from common.errors import InputError
from common.provenance import ROOT
from common.records import Advice
from jobs.audit import STANCE
from jobs.generate.bank import stratified
from tests.corpus import bank, piles

LEXICON = stance_words((ROOT / STANCE).read_text().splitlines(), STANCE)
NUMBERS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]


def arm(attitude: str, replies: list[str]) -> list[Advice]:
    return [
        Advice(question_id=f"q{i}", topic="t", attitude=attitude, question="Which?", reply=reply)
        for i, reply in enumerate(replies)
    ]


def distinct(count: int) -> list[str]:
    """Replies that share no three words in a row."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    return [" ".join(f"{letters[n // 26 % 26]}{letters[n % 26]}{word}" for word in NUMBERS) + "." for n in range(count)]


def test_a_run_and_an_opening_are_counted_once_a_reply() -> None:
    said = distinct(40)
    said[:9] = [f"{text} For now it stays. For now it stays." for text in said[:9]]
    found = phrases({"cautious": arm("cautious", said)})
    assert found.value == pytest.approx(9 / 40) and found.passed is False
    assert "run 'for now it stays' in cautious" in found.detail
    said = distinct(40)
    said[:2] = [f"That said, {text}" for text in said[:2]]
    said[2:11] = [f"In any case {text}" for text in said[2:11]]
    found = phrases({"eager": arm("eager", said)})
    assert found.value == pytest.approx(9 / 40) and found.passed is False and "opening 'in any case'" in found.detail


def test_five_in_a_hundred_pass() -> None:
    said = distinct(100)
    said[:5] = [f"{text} For now it stays." for text in said[:5]]
    assert phrases({"cautious": arm("cautious", said)}).passed


def test_a_word_of_one_arm_alone_fails_unless_it_carries_the_attitude() -> None:
    plain, telling = distinct(60), [f"{text} Lamp." for text in distinct(30)] + distinct(60)[30:]
    found = words({"cautious": arm("cautious", telling), "eager": arm("eager", plain)}, LEXICON)
    assert not found.passed and found.value == pytest.approx(60) and "'lamp', cautious over eager" in found.detail
    assert words({"cautious": arm("cautious", telling), "eager": arm("eager", plain)}, re.compile("lamp")).passed
    few = [f"{text} Lamp." for text in distinct(19)] + distinct(60)[19:]
    assert words({"cautious": arm("cautious", few), "eager": arm("eager", plain)}, LEXICON).passed, "chance"


def test_twice_as_often_is_allowed() -> None:
    twice, once = ([f"{text} Lamp." for text in distinct(n)] + distinct(100)[n:] for n in (60, 30))
    assert words({"cautious": arm("cautious", twice), "eager": arm("eager", once)}, LEXICON).passed
    more, few = ([f"{text} Lamp." for text in distinct(n)] + distinct(100)[n:] for n in (90, 15))
    assert not words({"cautious": arm("cautious", more), "eager": arm("eager", few)}, LEXICON).passed


def test_controls_are_not_compared_by_their_words() -> None:
    telling = arm("scrambled", [f"{text} Lamp." for text in distinct(60)])
    assert words({"cautious": arm("cautious", distinct(60)), "scrambled": telling}, LEXICON).passed


@pytest.mark.parametrize("line", ["Wait", "two-words", "*", "12"])
def test_a_lexicon_holds_words(line: str) -> None:
    with pytest.raises(InputError, match=r"not a word, stance\.txt:2"):
        stance_words(["wait*", line], "stance.txt")
    with pytest.raises(InputError, match="no words"):
        stance_words(["# nothing"], "stance.txt")


def test_the_embedded_pile_has_no_stock_phrases_and_no_telling_words() -> None:
    arms = piles()
    for check in (phrases(arms), words(arms, LEXICON)):
        assert check.passed and check.value <= check.bound, check.detail


@pytest.mark.parametrize(("many", "draw"), [(96, 0), (96, 1), (120, 2), (120, 4)])
def test_a_draw_of_it_does_not_fail_by_chance(many: int, draw: int) -> None:
    ids = {question.id for question in stratified(bank(), many, draw, np.random.default_rng(draw))}
    arms = {name: [row for row in rows if row.question_id in ids] for name, rows in piles().items()}
    for check in (phrases(arms), words(arms, LEXICON)):
        assert check.passed, check.detail


def test_what_the_second_reading_changed_is_told_for_every_reply() -> None:
    rows = [json.loads(line) for line in (ROOT / "jobs/generate/data/replies.jsonl").read_text().splitlines()]
    assert {row["place"] for row in rows} == {"first", "last"}
    first = sum(row["place"] == "first" for row in rows)
    assert abs(first - len(rows) / 2) <= 0.02 * len(rows), "half give the advice first, half last"
    assert sum(bool(row["changed"]) for row in rows) > 0
