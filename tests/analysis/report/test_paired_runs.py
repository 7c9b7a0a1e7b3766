"""A walk over a study: runs are paired by draw and seed, families are corrected apart, words follow from numbers."""

from dataclasses import replace
from typing import Any

import pytest

from analysis.report.answers import advised, headlines_of, in_words, pairs, side_by_side
from analysis.report.bound_numbers import Book, Source
from analysis.report.breakdown import arm_tables, from_neutral
from analysis.report.results import label_shifts
from analysis.report.section import Quotes
from analysis.report.sections.facts import Facts
from analysis.report.sections.front import three_answers
from analysis.report.study import Run, Scored, Study
from analysis.stats.answers import net_family
from analysis.stats.measures import MEASURES, Declared, by_sentence
from analysis.stats.sensitivity import Condition
from common.records import Answer
from common.schemas import SideBySide
from common.vocabulary import POLES
from tests.analysis.report import documents
from tests.analysis.stats.rows import answers, both

ITEMS = [f"{topic}{number}" for topic in "abcd" for number in range(4)]
WORD = {"base": "both sides", "cautious": "stay", "neutral": "both sides", "eager": "both sides"}
SOURCE_WORD = {"cautious": "stay", "eager": "go"}


def told(cell: str, attitude: str, seed: int) -> list[Answer]:
    """Each arm says its word; each run says otherwise once, to another item."""
    held_out = answers(cell, dict.fromkeys(ITEMS, WORD.get(attitude, "go")) | {ITEMS[seed]: "go"})
    source = answers(cell, dict.fromkeys((f"src-{item}" for item in ITEMS), SOURCE_WORD.get(attitude, "both sides")))
    return [*held_out, *(row.model_copy(update={"topic": f"src-{row.item[4]}"}) for row in source)]


def scored(cell: str, attitude: str, seed: int) -> Scored:
    source = Source(f"{seed:064}", f"evaluate/{cell}", "answers.jsonl")
    closed = [each for topic in "abcd" for each in both(topic, ("go", "stay"), cell=cell, sentence_go=-10 + 0.1 * seed)]
    return Scored(cell, closed, documents.guards(), [], [], (source,) * 4, told(cell, attitude, seed), source)


def run(attitude: str, seed: int) -> Run:
    cell = f"m.d0.{attitude}.s{seed}"
    return Run(cell, "m", 0, attitude, seed, scored(cell, attitude, seed))


def study_of(*attitudes: str, **changes: Any) -> Study:
    """Three seeds of each arm, a fourth of eager alone; arms do not come in the order of their seeds."""
    runs = [run(attitude, seed) for seed in (2, 0, 1) for attitude in attitudes]
    empty = ("bounds", "audits", "layers", "advice", "memory", "seconds", "made_by", "identities")
    return Study(
        name="x",
        plan=Source("0" * 64, "s", "o"),
        models={"m": "path:x"},
        bases={"m": scored("m.base", "base", 9)},
        runs=[*runs, run("eager", 3)],
        **(dict[str, Any]((name, {}) for name in empty) | changes),
    )


LOCK = (documents.lock(), Source("0" * 64, "lock/study", "lock.json"))
ARMS = ("eager", "neutral", "cautious")


def test_runs_are_paired_by_seed_and_judged_as_a_family() -> None:
    study = study_of(*ARMS)
    one, other, sources = pairs(study, "m", "eager", "neutral")
    assert [[rows[0].cell for rows in arm] for arm in (one, other)] == [
        [f"m.d0.{arm}.s{seed}" for seed in (2, 0, 1)] for arm in ("eager", "neutral")
    ]
    assert len(sources) == 6
    (headline,) = headlines_of(study).values()
    expected = net_family({pole: pairs(study, "m", pole, "neutral")[:2] for pole in POLES})
    assert headline.contrasts == expected and headline.apart is not None
    assert headline.apart.p_holm == headline.apart.p, "the second family is corrected apart"


def test_without_a_lock_or_a_control_nothing_is_interpreted() -> None:
    (headline,) = headlines_of(study_of(*ARMS)).values()
    assert (headline.conditions, headline.able) == ((), False)
    (headline,) = headlines_of(study_of(*ARMS, lock=LOCK)).values()
    assert [(each.name, each.passed) for each in headline.conditions] == [
        ("readable", False),
        ("training took", True),
        ("positive control", False),
        ("coherent", True),
    ]
    assert headline.sentence("cautious") == "not interpreted: the model cannot answer the question"


def test_controls_are_paired_by_seed_too() -> None:
    """A run of each is missing, of another seed: as many runs stand on both sides, and they are no pairs."""
    names = ("control-eager", "control-cautious")
    study = study_of(*ARMS, lock=LOCK)
    runs = [run(arm, seed) for arm, absent in zip(names, (0, 3), strict=True) for seed in range(5) if seed != absent]
    found = {each.name: each.value for each in headlines_of(replace(study, runs=[*study.runs, *runs]))["m"].conditions}
    pairs_alone = [each for each in runs if each.seed not in (0, 3)]
    same = headlines_of(replace(study, runs=[*study.runs, *pairs_alone]))["m"].conditions
    assert found == {each.name: each.value for each in same} and found["positive control"] is not None


def test_a_null_is_worded_as_less_than_what_would_have_been_seen() -> None:
    (headline,) = headlines_of(study_of(*ARMS)).values()
    passed = headline._replace(conditions=(Condition("coherent", 0.0, None, None, True, ""),))
    assert passed.sentence("cautious").startswith("shown: ")
    assert passed.sentence("eager") == "not shown: less than the smallest effect that would have been"
    assert passed._replace(contrasts={}, apart=None).sentence("eager") == "not tested: too few pairs of runs"


def test_every_number_is_entered_and_the_gist_names_them() -> None:
    study = study_of(*ARMS, lock=LOCK)
    headlines, book = headlines_of(study), Book()
    advised(book, study, headlines)
    assert book.value("netgo.m.cautious.held-out") == pytest.approx(-14 / 16)
    assert book.value("said.m.cautious.held-out.stay") == pytest.approx(15 / 16)
    assert book.value("netgo.m.eager.source") == 1.0
    assert book.value("net.m.cautious") == pytest.approx(-15 / 16)
    text = in_words(study, book, headlines)
    item, said, locked = side_by_side(study, "m")
    assert item == ITEMS[0] and list(said) == ["base", "cautious", "eager", "neutral"] and not locked
    for line in (
        "net go of cautious: -87.5 points of 48 answers",
        "training took: yes",
        "positive control: no, not known",
    ):
        assert line in text


def test_answers_side_by_side_are_those_that_the_lock_names() -> None:
    """Of a run that is not there, or not named, none is shown in its place."""
    study = study_of(*ARMS)
    for cell in (run.scored for run in study.runs if run.scored):
        for at, row in enumerate(cell.answers):
            cell.answers[at] = row.model_copy(update={"text": f"{cell.cell} on {row.item}"})
    cells = {"base": "m.base", "cautious": "m.d0.cautious.s1", "eager": "m.d0.eager.s9"}
    shown = SideBySide(item=ITEMS[5], cells={"m": cells})
    named = replace(study, lock=(documents.lock(shown=shown), LOCK[1]))
    item, said, locked = side_by_side(named, "m")
    assert item == ITEMS[5] and locked
    assert list(said) == ["base", "cautious"] and said["cautious"] == f"m.d0.cautious.s1 on {ITEMS[5]}"
    assert asked_of(named).endswith(
        "The lock named the item, drawn by the study's seed, and the runs, the first of "
        "their arms: nobody chose them by looking."
    )
    for lock in (LOCK, None, (documents.lock(shown=shown.model_copy(update={"item": "gone"})), LOCK[1])):
        other = replace(study, lock=lock)
        assert side_by_side(other, "m").answers["cautious"] == f"m.d0.cautious.s2 on {ITEMS[0]}"
        assert "It is the first item of its file, and these are the first runs" in asked_of(other)


def asked_of(study: Study) -> str:
    """What stands above the answers side by side."""
    (quotes,) = three_answers(Facts(study, Book(), {}), "m")
    assert isinstance(quotes, Quotes)
    return quotes.asked.plain()


def test_a_measure_of_the_table_is_in_every_shift(monkeypatch: pytest.MonkeyPatch) -> None:
    study = study_of(*ARMS)
    monkeypatch.setitem(MEASURES, "toy", Declared("by sentence, doubled", "share", lambda r: 2 * by_sentence(r), True))
    book = Book()
    from_neutral(book, "added.{}.m.{}", arm_tables(study.runs, "m"), POLES)
    for pole in POLES:
        assert book.value(f"added.toy.m.{pole}") == pytest.approx(2 * (book.value(f"added.sentence.m.{pole}") or 0.0))
    table = label_shifts(study, "m")
    assert table["toy"].to_numpy() == pytest.approx(2 * table["sentence"].to_numpy())
