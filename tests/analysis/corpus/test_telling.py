"""What a model is scored on does not tell the arms of the corpus by its words."""

import re
from collections import Counter

import pytest

from analysis.corpus.telling import RUN, check_advised, check_sides, telling_words
from analysis.corpus.texts import sentences
from common.errors import InputError
from common.provenance import ROOT
from common.records import Advised, Replies
from common.serialization import read_jsonl, to_jsonl
from common.stance.bank import CORPUS
from common.stance.items import ADVISED, CONTROL_ITEMS, ITEMS, PILOT_ITEMS, read_advised, read_items

SHIPPED = [row for path in CORPUS for row in read_jsonl(ROOT / path, Replies)]
TELLING = telling_words(SHIPPED)
ADVICE = read_advised(ROOT / ADVISED, ROOT / ITEMS)


def corpus(cautious: list[str], eager: list[str]) -> list[Replies]:
    return [
        Replies(question_id=f"q{n}", place="first", replies={"cautious": one, "eager": other}, changed={})
        for n, (one, other) in enumerate(zip(cautious, eager, strict=True))
    ]


def test_a_word_tells_from_more_than_five_points_on_in_replies_not_in_times_said() -> None:
    plain = ["The lamp is red."] * 20  # one in twenty is five points
    once = ["Keep the lamp, keep it, keep it.", *plain[1:]]
    assert telling_words(corpus(once, plain)) == frozenset()
    twice = ["Keep the lamp red."] * 2 + plain[2:]
    assert telling_words(corpus(twice, plain)) == {"keep"}
    assert telling_words(corpus(plain, twice)) == {"keep"}
    assert telling_words(corpus(["It is with the lamp."] * 20, ["A lamp has to be on."] * 20)) == frozenset()


def test_what_the_shipped_corpus_tells_by() -> None:
    assert {"keep", "would", "stay", "leave", "will", "this", "soon", "today"} <= TELLING
    assert not TELLING & {"the", "on", "at", "it"}


def test_an_empty_corpus_and_one_without_a_pole_are_refused() -> None:
    with pytest.raises(InputError, match="no replies"):
        telling_words([])
    one = Replies(question_id="q7", place="first", replies={"cautious": "Wait."}, changed={})
    with pytest.raises(InputError, match="no reply in this attitude, q7: eager"):
        telling_words([one])


def test_shipped_advice_repeats_nothing_and_tells_nothing() -> None:
    check_advised(ADVICE.values(), SHIPPED)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stay": "Keep to foot traffic."}, "text tells the arm, e-bikes-01, stay: keep; allowed: an arm-telling word"),
        ({"go": "Riders will enjoy it."}, "text tells the arm, e-bikes-01, go: will"),
        ({"go": "{copied}"}, "advice stands in the corpus, e-bikes-01, go: {copied}; allowed: fewer than 4 words"),
    ],
)
def test_advice_that_tells_is_refused_by_item_and_word(change: dict[str, str], message: str) -> None:
    shared = set(re.findall(r"[a-z]+", SHIPPED[0].replies["cautious"].lower())) - TELLING
    words = SHIPPED[0].replies["cautious"].lower().rstrip(".").split()
    copied = next(
        " ".join(words[n : n + RUN])
        for n in range(len(words))
        if {*words[n : n + RUN]} <= shared and n + RUN < len(words)
    )
    first = next(iter(ADVICE.values())).model_copy(update={"go": "The path is open.", "stay": "The path is closed."})
    told = {side: text.format(copied=copied) for side, text in change.items()}
    with pytest.raises(InputError, match=re.escape(message.format(copied=copied))):
        check_advised([first.model_copy(update=told)], SHIPPED)


def test_both_replies_may_use_an_arm_telling_word() -> None:
    check_sides("i", "This could open.", "This could close.", frozenset({"this", "could"}))


@pytest.mark.parametrize("path", [ITEMS, PILOT_ITEMS, *CONTROL_ITEMS])
def test_no_option_sentence_tells_the_arm_alone(path: str) -> None:
    for item in read_items(ROOT / path, None):
        check_sides(item.id, item.go, item.stay, TELLING)


def test_three_items_of_each_topic_have_advice_the_first_ones_both_keys_alike() -> None:
    items = {item.id: item for item in read_items(ROOT / ITEMS, 3)}
    assert [*ADVICE] == [*items] and len(items) == 48
    assert sum(item.proposes == "go" for item in items.values()) == 24
    assert to_jsonl(ADVICE.values()) == (ROOT / ADVISED).read_bytes()


@pytest.mark.parametrize("row", ADVICE.values(), ids=lambda row: row.item)
def test_replies_are_alike_in_length(row: Advised) -> None:
    go, stay = (len(text.split()) for text in (row.go, row.stay))
    assert min(go, stay) >= 45 and max(go, stay) <= 65 and abs(go - stay) <= 3


def test_the_advice_stands_first_in_half_of_each_key_and_last_in_the_rest() -> None:
    items = {item.id: item for item in read_items(ROOT / ITEMS, 3)}
    places: Counter[tuple[str, ...]] = Counter()
    for row in ADVICE.values():
        places[items[row.item].proposes, *map(place_of, (row.go, row.stay))] += 1
    assert places == {(key, at, at): 12 for key in ("go", "stay") for at in ("first", "last")}


def test_the_second_reading_says_what_it_changed() -> None:
    assert all({*row.changed} <= {"go", "stay"} for row in ADVICE.values())
    assert sum(len(row.changed) for row in ADVICE.values()) == 39
    assert all(note for row in ADVICE.values() for note in row.changed.values())


def place_of(reply: str) -> str:
    """Which sentence of a reply says what to do; the first and the last never both do."""
    told = [bool(re.search(r"\b(should|advise|recommend|suggest)\b", sentence)) for sentence in sentences(reply)]
    assert sum(told) == 1, reply
    return {0: "first", len(told) - 1: "last"}.get(told.index(True), "between")


def test_no_reply_stands_twice() -> None:
    texts = [text for row in ADVICE.values() for text in (row.go, row.stay)]
    assert len({*texts}) == len(texts)
