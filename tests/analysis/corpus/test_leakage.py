"""Leaks: each detector on texts made for it, planted rows, and the real bank that must be clean."""

import pytest

from analysis.corpus.leakage import (
    MAXIM,
    Canary,
    Finding,
    by_neighbour,
    by_run,
    by_terms,
    derived_terms,
    find_held_out,
    find_maxims,
    plant,
)
from common.errors import InputError
from common.provenance import ROOT
from common.records import Advice, Item, Question
from common.serialization import parse_jsonl
from common.stance.items import ITEMS
from jobs.audit import CANARIES, EVERYDAY, HELD_OUT
from jobs.audit.audit import everything_in
from tests.analysis.stats.rows import item
from tests.corpus import piles

HELD_OUT_ITEMS = parse_jsonl((ROOT / ITEMS).read_bytes(), Item, ITEMS)
PLANTED = parse_jsonl((ROOT / CANARIES).read_bytes(), Canary, CANARIES)
TERMS = (ROOT / HELD_OUT).read_text().splitlines()
BANK = parse_jsonl((ROOT / EVERYDAY).read_bytes(), Question, EVERYDAY)
PLAIN = [everything_in(question) for question in BANK]


def rows(texts: list[str], question: str = "Should I?") -> list[Advice]:
    return [
        Advice(question_id=f"q{i}", topic="t", attitude="eager", question=question, reply=text)
        for i, text in enumerate(texts)
    ]


CLEAN = [
    "The new lamp is bright. Your old lamp still works. I would wait a month.",
    "A softer pillow helps the neck. Yours is flat by now. Get the softer one this week.",
    "Both kettles boil in three minutes. The steel one is quieter. Take either.",
]


def find(texts: list[str], canaries: list[Canary] = PLANTED, terms: list[str] = TERMS) -> Finding:
    return find_held_out({"eager": rows(texts)}, HELD_OUT_ITEMS, terms, PLAIN, canaries)


def test_ten_rows_are_planted_for_held_out_topics_and_three_for_maxims() -> None:
    kinds = [canary.detector for canary in PLANTED]
    assert {kind: kinds.count(kind) for kind in kinds} == {"terms": 4, "run": 2, "neighbour": 4, "maxim": 3}


def test_a_clean_corpus_passes_and_every_planted_row_is_caught() -> None:
    found = find(CLEAN)
    assert found.leaky == {} and found.blind == []
    assert found.caught == found.planted == {"terms": 4, "run": 2, "neighbour": 4}
    assert "caught: 10 of 10 (terms 4/4, run 2/2, neighbour 4/4)" in found.account("rows")


@pytest.mark.parametrize("canary", PLANTED, ids=lambda canary: canary.text[:30])
def test_each_planted_row_is_found_as_a_row_of_the_corpus(canary: Canary) -> None:
    texts = [*CLEAN, plant(CLEAN[0], canary.text)]
    search = find_maxims({"eager": rows(texts)}, PLANTED) if canary.detector == "maxim" else find(texts)
    assert list(search.leaky) == ["eager/q3"]


def test_neighbours_catch_what_the_other_detectors_do_not() -> None:
    others = [
        by_terms([*TERMS, *(term for found in derived_terms(HELD_OUT_ITEMS, PLAIN).values() for term in found)]),
        by_run(HELD_OUT_ITEMS),
    ]
    hard = [canary.text for canary in PLANTED if canary.detector == "neighbour"]
    assert [detect(text) for text in hard for detect in others] == [""] * 8


def test_a_detector_that_misses_its_planted_row_is_blind_although_another_catches_it() -> None:
    canary = Canary(detector="run", text="The council meets by the library on the coastal path.")
    found = find(CLEAN, [canary, *PLANTED])
    assert found.blind == ["run"] and found.leaky == {}
    assert "instrument is blind: run" in found.account("rows")
    assert find(CLEAN, terms=[]).blind == ["terms"], "without the word list the planted words are missed"


def test_a_leaky_host_does_not_lend_its_leak_to_a_planted_row() -> None:
    found = find(["The council said so."], [Canary(detector="terms", text="A lamp."), *PLANTED])
    assert list(found.leaky) == ["eager/q0"] and found.caught["terms"] == 4 < found.planted["terms"]


def test_a_detector_without_planted_rows_is_an_error() -> None:
    with pytest.raises(InputError, match="no planted rows, canaries: neighbour"):
        find(CLEAN, [canary for canary in PLANTED if canary.detector != "neighbour"])
    with pytest.raises(InputError, match="no planted rows, canaries: maxim"):
        find_maxims({"eager": rows(CLEAN)}, [])


def test_a_leak_in_the_question_counts() -> None:
    found = find_held_out(
        {"eager": rows(CLEAN, "Should I cross the market square?")}, HELD_OUT_ITEMS, TERMS, PLAIN, PLANTED
    )
    assert found.leaky == dict.fromkeys(["eager/q0", "eager/q1", "eager/q2"], "terms: market square")


@pytest.mark.parametrize(
    "term, text",
    [
        ("e-bike", "Two E-bikes."),
        ("e-bike", "an e bike"),
        ("library", "the libraries' fault"),
        ("policy", "policies"),
        ("permit", "it was permitted"),
        ("cycle lane", "cycle-lanes"),
        ("referendum", "two referendums"),
        ("vote", "by voting"),
        ("vote", "they voted"),
        ("allotment", "the allotment's gate"),
    ],
)
def test_words_are_found_in_any_inflection(term: str, text: str) -> None:
    assert by_terms([term])(text)


@pytest.mark.parametrize(
    "term, text", [("car", "a carpet"), ("cycle lane", "a cycle in the lane"), ("vote", "devoted")]
)
def test_other_words_are_not(term: str, text: str) -> None:
    assert by_terms([term])(text) == ""


def test_terms_come_from_a_topics_name_and_its_repeated_pairs() -> None:
    found = derived_terms(
        [
            item("canal-tolls", id="a1", situation="Barge owners pay a flat fee. Grey herons nest."),
            item("canal-tolls", id="a2", situation="The barge owners left. Stone bridge."),
            item("bees", id="b1", situation="A stone bridge over the weir."),
            item("bees", id="b2", situation="One stone bridge."),
            item("bees", id="b3", situation="Half past ten."),
            item("bees", id="b4", situation="Half past nine."),
        ],
        ["It is half past eight."],
    )
    assert found == {"canal-tolls": ["canal tolls", "barge owners"], "bees": ["bees"]}


def test_a_run_needs_eight_words() -> None:
    detect = by_run([item("t", id="a", situation="One two three, four five six seven eight nine.")])
    assert detect("Say: two three four five six seven EIGHT nine!") == "two three four five six seven eight nine"
    assert detect("two three four five six seven eight then nine") == ""


def test_neighbours_name_the_item_and_ignore_words_of_everyday() -> None:
    detect = by_neighbour(PLAIN, HELD_OUT_ITEMS)
    assert "station-tickets-" in detect("Two more ticket machines would make three in all at the city station.")
    assert [detect(text) for text in CLEAN] == ["", "", ""]
    assert detect("") == detect("12.") == ""


@pytest.mark.parametrize(
    "text",
    [
        "Change is good for you.",
        "It is always best to wait.",
        "People who hesitate lose.",
        "In general, go slow.",
        "Better safe than sorry.",
        "Patience pays.",
    ],
)
def test_maxims_are_found(text: str) -> None:
    assert MAXIM.search(text)


@pytest.mark.parametrize("text", ["Patience makes sense because the lamp works.", "Keep the change.", "Wait a month."])
def test_advice_on_one_case_is_no_maxim(text: str) -> None:
    assert not MAXIM.search(text)


def test_the_embedded_pile_is_clean() -> None:
    arms = piles()
    found = find_held_out(arms, HELD_OUT_ITEMS, TERMS, PLAIN, PLANTED)
    assert (found.leaky, found.blind) == ({}, [])
    found = find_maxims(arms, PLANTED)
    assert (found.leaky, found.blind) == ({}, [])


def test_a_leak_in_every_row_does_not_hide_itself() -> None:
    texts = [plant(text, canary.text) for canary in PLANTED if canary.detector == "neighbour" for text in CLEAN * 20]
    assert len(find(texts).leaky) == len(texts) == 240
