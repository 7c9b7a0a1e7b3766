"""The tone of a corpus: sums by hand, who carries them, and a bounded memory."""

import numpy as np
import pytest

from analysis.corpus.axes import Axis
from analysis.corpus.replies import Reply
from analysis.corpus.tone import EXCERPT, MOST_ROWS, Reference, Scored, Tone, excerpt
from common.errors import InputError

AXIS = Axis("hedges", {"maybe": 1.0, "sure": -1.0})
REFERENCE = {"hedges": Reference(mean=2.0, sd=4.0, rates={"maybe": 3.0, "sure": 1.0})}


def reply(text: str, row: int = 1, turn: int = 1) -> Reply:
    return Reply("chat.jsonl", row, turn, "", text, "")


def found(*texts: str) -> Scored:
    tone = Tone([AXIS], REFERENCE)
    for row, text in enumerate(texts, start=1):
        tone.add(reply(text, row))
    return tone.found(np.random.default_rng(0))["hedges"]


def test_a_score_is_points_for_a_hundred_words_beside_the_reference() -> None:
    scored = found("maybe the blue one fits", "sure the red one fits", "maybe maybe the green one")
    assert scored.estimate == pytest.approx(100 * 2 / 15)
    assert scored.z == pytest.approx((scored.estimate - 2) / 4)
    assert scored.low <= scored.estimate <= scored.high
    assert (scored.z_low, scored.z_high) == pytest.approx(((scored.low - 2) / 4, (scored.high - 2) / 4))


def test_what_the_terms_carry_adds_up_to_the_distance() -> None:
    scored = found("maybe the blue one fits", "maybe the red one fits")
    assert [each.term for each in scored.terms] == ["maybe", "sure"]
    assert sum(each.points for each in scored.terms) == pytest.approx(scored.estimate - 2)
    assert sum(each.share for each in scored.terms) == pytest.approx(1)
    missing = scored.terms[1]
    assert (missing.times, missing.usual, missing.points) == (0, 1.0, 1.0), "a word that is not there carries too"


def test_rows_are_those_that_carry_most_towards_where_the_corpus_lies() -> None:
    scored = found(*["sure sure sure the one fits"] * 3, *[f"maybe number fits and maybe {'x' * k}" for k in range(30)])
    assert len(scored.rows) == MOST_ROWS
    assert all(each.row > 3 for each in scored.rows) and scored.z > 0
    assert scored.rows[0].row == 4, "of equals, the first that came"
    below = found("maybe the one fits", *["sure sure sure the one fits"] * 3)
    assert {each.row for each in below.rows} == {2, 3, 4} and below.z < 0


def test_a_short_reply_is_counted_and_not_listed() -> None:
    assert found("maybe", "maybe maybe", "the one fits there well").rows == ()


def test_turns_of_a_row_are_one_block() -> None:
    tone = Tone([AXIS], REFERENCE)
    for turn in range(50):
        tone.add(reply("maybe the one" if turn % 2 else "sure the one", 1, turn))
    scored = tone.found(np.random.default_rng(0))["hedges"]
    assert scored.low == scored.high == scored.estimate, "one conversation says nothing of the spread between them"


def test_no_word_is_an_error() -> None:
    tone = Tone([AXIS], REFERENCE)
    tone.add(reply("…!"))
    with pytest.raises(InputError, match="no reply holds a word"):
        tone.found(np.random.default_rng(0))


def test_an_excerpt_is_one_short_line() -> None:
    assert excerpt("a\n\tb") == "a b"
    assert len(excerpt("word " * 100)) == EXCERPT and excerpt("word " * 100).endswith("…")
