"""Hard items beside the others: their own column, and no number of the report that is not theirs moves."""

import dataclasses

import pytest

from analysis.report.answers import advised, headlines_of, in_words
from analysis.report.bound_numbers import Book
from analysis.report.breakdown import arm_tables, breakdowns
from analysis.report.study import Scored, Study
from common.vocabulary import kind_of
from tests.analysis.report.test_paired_runs import LOCK, study_of
from tests.analysis.stats.rows import answers, both

SAID = {"m.base": "both sides", "cautious": "go", "neutral": "stay", "eager": "incoherent"}  # unlike the held-out ones
ARMS = ("eager", "neutral", "cautious")


def with_hard(scored: Scored) -> Scored:
    """The same evaluation, asked hard items too: two topics, two items each, openly and in closed forms."""
    arm = scored.cell if scored.cell == "m.base" else scored.cell.split(".")[2]
    named = {f"hard-{topic}{number}": f"hard-{topic}" for topic in "ab" for number in (1, 2)}
    told = [
        row.model_copy(update={"topic": named[row.item]})
        for row in answers(scored.cell, dict.fromkeys(named, SAID[arm]))
    ]
    side = "stay" if arm == "eager" else "go"
    closed = [row for item, topic in named.items() for row in both(item, (side, side), cell=scored.cell, topic=topic)]
    return dataclasses.replace(scored, answers=[*scored.answers, *told], controls=[*scored.controls, *closed])


def asked_hard(study: Study) -> Study:
    runs = [dataclasses.replace(run, scored=with_hard(run.scored)) for run in study.runs if run.scored]
    return dataclasses.replace(study, runs=runs, bases={name: with_hard(base) for name, base in study.bases.items()})


def book_of(study: Study) -> Book:
    """The numbers of open answers and of closed forms."""
    book = Book()
    advised(book, study, headlines_of(study))
    breakdowns(book, study, {model: arm_tables(study.runs, model) for model in study.bases})
    return book


def test_a_topic_is_hard_by_its_prefix_and_never_held_out_then() -> None:
    assert [kind_of(topic) for topic in ("hard-e-bikes", "e-bikes", "src-pets", "disc-flags")] == [
        *("hard", "held-out", "source", "discriminant")
    ]


def test_hard_items_move_no_number_but_their_own() -> None:
    plain, more = study_of(*ARMS, lock=LOCK), asked_hard(study_of(*ARMS, lock=LOCK))
    before, after = headlines_of(plain), headlines_of(more)
    assert before == after, "contrasts, conditions and what is told apart are of held-out and source items"
    one, other = book_of(plain).to_json(), book_of(more).to_json()
    own = {f"netgo.m.{arm}.hard" for arm in ("base", *ARMS)}
    assert set(other) - set(one) == own and {name: other[name] for name in one} == one
    assert in_words(plain, book_of(plain), before) == in_words(more, book_of(more), after)


def test_their_net_go_stands_by_arm_with_an_interval_over_topics() -> None:
    study = asked_hard(study_of(*ARMS, lock=LOCK))
    book = book_of(study)
    found = {arm: book[f"netgo.m.{arm}.hard"] for arm in ("base", *ARMS)}
    assert {arm: each.value for arm, each in found.items()} == {"base": 0, "eager": 0, "neutral": -1, "cautious": 1}
    assert found["cautious"].low == found["cautious"].high == pytest.approx(1)
    assert {source.output for source in found["eager"].sources} == {"answers.jsonl"} and len(
        found["eager"].sources
    ) == 4
