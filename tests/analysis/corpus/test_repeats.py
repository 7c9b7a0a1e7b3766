"""Replies that repeat an earlier one: copies, near copies, and what is none, beside all pairs compared."""

import numpy as np
import pytest

from analysis.corpus import repeats
from analysis.corpus.framing import closest
from analysis.corpus.repeats import NEAR, Repeats, hash_of
from analysis.corpus.replies import Reply
from tests.corpus import piles

LONG = (
    "The plain kettle boils in three minutes and fits under the shelf. It has no lamp and no whistle. "
    "You can lift it with one hand when it is full, and the lid stays shut. A filter keeps the chalk out of the cup."
)


def found(*texts: str) -> Repeats:
    made = Repeats()
    for row, text in enumerate(texts, start=1):
        made.add(Reply("chat.jsonl", row, 1, "", text, ""))
    return made


def test_a_copy_is_found_whatever_its_case_and_spaces() -> None:
    made = found(LONG, LONG.upper().replace(" ", "  "), "Something else is said here about a lamp.")
    assert (made.exact, made.near) == (1, 0)
    assert made.pairs[0] == ("chat.jsonl", 2, "chat.jsonl", 1, 1.0)


def test_a_near_copy_is_found_and_a_distant_one_is_not() -> None:
    near = f"{LONG} It is quiet."
    assert 0.8 < closest([LONG, near])[0] < 1
    assert (found(LONG, near).exact, found(LONG, near).near) == (0, 1)
    far = " ".join(LONG.split()[:20]) + " But all that follows is about bread, ovens, flour and the long wait."
    assert closest([LONG, far])[0] < 0.6 and found(LONG, far).near == 0


def test_short_replies_are_no_copies() -> None:
    made = found("Yes, of course.", "Yes, of course.", "Sure!", "Sure!")
    assert (made.exact, made.near) == (0, 0)


def test_the_embedded_piles_hold_no_repeat_as_all_pairs_say() -> None:
    texts = [row.reply for rows in piles(200).values() for row in rows]
    made = found(*texts)
    assert (made.exact, made.near) == (0, 0) and closest(texts)[1] == 0


def test_near_copies_are_found_as_all_pairs_find_them() -> None:
    """Copies of our replies with some words left out: most that all pairs find, and few that they do not."""
    rng, texts = np.random.default_rng(3), [row.reply for row in piles(150)["eager"]]
    right = {True: 0, False: 0}
    for text in texts:
        words = text.split()
        kept = [word for word in words if rng.random() > 0.02]
        near = closest([text, " ".join(kept)])[0] >= NEAR
        right[near] += (found(text, " ".join(kept)).near + found(text, " ".join(kept)).exact > 0) == near
    assert sum(right.values()) > 0.85 * len(texts) and min(right.values()) > 10


def test_what_lies_too_far_back_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeats, "REMEMBERED", 4)
    between = [row.reply for row in piles(6)["neutral"]]
    assert found(LONG, *between[:2], LONG).exact == 1
    assert found(LONG, *between, LONG).exact == 0


def test_a_hash_is_of_all_bits() -> None:
    assert len({hash_of(f"text {number}") % 2**32 for number in range(5000)}) > 4990
    assert hash_of("half \ud800") == hash_of("half \ud800")
