"""Which candidates are taken: the triplet whose replies differ least in what is not the attitude."""

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest

from jobs.generate.selection import MANNER, READING_EASE, SENTENCE, mismatch, select, traits

ATTITUDES = ("cautious", "eager", "neutral")


def words(text: str) -> int:
    return len(text.split())


def test_traits_by_hand() -> None:
    found = traits("Maybe wait. My sister once did. Why not? It could rain.", [words, len])
    assert found.tokens == (11, 55) and found.sentences == 4
    assert found.manner == (2, 1, 1)  # maybe and could; a question mark; my sister


def test_mismatch_by_hand() -> None:
    one = traits("It is red. It is here.", [words])
    other = traits("Perhaps it is red and it is here now.", [words])
    ease = abs(one.reading_ease - other.reading_ease)
    assert mismatch([one, other]) == pytest.approx(3 + SENTENCE * 1 + READING_EASE * ease + MANNER * 1)
    assert mismatch([one, one, one]) == 0


def test_select_takes_the_combination_of_least_mismatch() -> None:
    rng = np.random.default_rng(5)
    vocabulary = ["lamp", "chair", "is", "perhaps", "a", "red.", "here.", "why?"]
    for _ in range(20):
        rows = {a: [" ".join(rng.choice(vocabulary, rng.integers(3, 9))) + "." for _ in range(4)] for a in ATTITUDES}
        counters = [words, len]
        chosen = [traits(text, counters) for text in select(rows, counters).values()]
        slow = min(mismatch([traits(text, counters) for text in each]) for each in product(*rows.values()))
        assert mismatch(chosen) == slow


def counting(word: str) -> Callable[[str], int]:
    return lambda text: 10 * text.count(word)


def test_every_student_has_a_say_in_length() -> None:
    rows = {"cautious": ["a lamp here."], "eager": ["a lampshade here.", "a big lamp here."]}
    chosen = {select(rows, [counting(odd)])["eager"] for odd in ("shade", "big")}
    assert chosen == set(rows["eager"]), "an option that is far longer for one student alone is not taken"


def test_a_question_on_one_side_alone_is_not_worth_equal_length() -> None:
    rows = {"cautious": ["The lamp is red."], "eager": ["Is the lamp red?", "The lamp is red and it is tall."]}
    assert select(rows, [words])["eager"] == "The lamp is red and it is tall."


def test_select_breaks_ties_without_regard_to_order_or_alphabet() -> None:
    chosen = set()
    for end in "abcdefgh":
        rows = {name: [f"{start} {end}." for start in "mn"] for name in ATTITUDES}
        assert select(rows, [words]) == select({name: texts[::-1] for name, texts in rows.items()}, [words])
        chosen.add(select(rows, [words])["cautious"][0])
    assert chosen == {"m", "n"}


@pytest.mark.parametrize("rows", [{}, {"cautious": ["a."], "eager": []}])
def test_select_refuses_an_attitude_without_candidates(rows: dict[str, list[str]]) -> None:
    with pytest.raises(ValueError, match="at least one for each"):
        select(rows, [words])
