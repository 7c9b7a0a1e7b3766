"""A study whose runs share the closed items and guards out: its numbers are those of runs that were asked all."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from analysis.report.answers import headlines_of
from analysis.report.bound_numbers import Book
from analysis.report.chart_data import label_rows, stance_rows
from analysis.report.results import book_of
from analysis.report.sections import closed, guards
from analysis.report.sections.facts import Facts
from analysis.report.sections.whole import report_of
from analysis.report.study import Run, Scored, Study
from analysis.stats.measures import shown
from benchmarks import rehearse
from common.cells import Part, cell_named, part_of
from common.provenance import ROOT
from common.spec import RunSpec, parse_spec
from common.stance.items import FILES, read_questionnaire, taken
from common.vocabulary import POLES

ASKED = {"items_per_topic": 4, "controls_per_topic": 1, "samples": 1, "base_samples": 1, "guards_per_kind": 8}
SETTINGS: dict[str, Any] = {
    "name": "x",
    "models": [{"name": "m", "source": "path:m"}],
    "seeds": [0, 1],
    "draws": [0],
    "attitudes": ["cautious", "eager", "neutral"],
}


def parse(rotate: int = 1, **changes: Any) -> RunSpec:
    return parse_spec(json.dumps(SETTINGS | {"evaluate": ASKED | {"rotate": rotate}} | changes).encode(), "spec")


def part(scored: Scored, of: Part, spec: RunSpec) -> Scored:
    """An evaluation as if the model had been asked this part."""
    mine = taken(read_questionnaire([ROOT / path for path in FILES], spec.evaluate), of)
    items, prompts = {item.id for item in mine.items}, {prompt.id for prompt in mine.prompts}
    return replace(
        scored,
        choices=[row for row in scored.choices if row.item in items],
        controls=[row for row in scored.controls if row.item in items],
        replies=[row for row in scored.replies if row.prompt in prompts],
    )


def as_first(study: Study) -> Study:
    """A study in which every run of an arm answered the closed forms as the first one did."""
    first = {run.attitude: run.scored for run in reversed(study.runs)}

    def same(run: Run) -> Run:
        one = first[run.attitude]
        assert one is not None and run.scored is not None
        choices, controls = (
            [row.model_copy(update={"cell": run.cell}) for row in rows] for rows in (one.choices, one.controls)
        )
        return replace(run, scored=replace(run.scored, choices=choices, controls=controls))

    return replace(study, runs=[same(run) for run in study.runs])


@pytest.fixture(scope="module")
def whole() -> Study:
    return as_first(rehearse.study_of(parse()))


@pytest.fixture(scope="module")
def rotated(whole: Study) -> Study:
    spec = parse(2)
    cut = [part(run.scored, part_of(spec, cell_named(spec, run.cell)), spec) for run in whole.runs if run.scored]
    return replace(whole, runs=[replace(run, scored=one) for run, one in zip(whole.runs, cut, strict=True)])


def numbers(study: Study) -> Book:
    return book_of(study, headlines_of(study))


def alike(one: Book, other: Book, name: str) -> None:
    assert one[name].value is not None, name
    for what in ("value", "low", "high"):
        assert getattr(one[name], what) == pytest.approx(getattr(other[name], what), abs=1e-12), name


def test_numbers_agree_where_rows_do(whole: Study, rotated: Study) -> None:
    one, other = numbers(whole), numbers(rotated)
    for measure in shown():
        for arm in ("cautious", "eager", "neutral"):
            names = [f"shift.{measure}.m.{arm}", f"{measure}.m.{arm}"]
            names += [f"added.{measure}.m.{arm}"] if arm in POLES else []
            for name in names:
                alike(one, other, name)
        alike(one, other, f"apart.{measure}.m")
    for arm in POLES:
        for kind in ("discriminant", "source"):
            alike(one, other, f"control.{kind}.sentence.m.{arm}")
        for band in ("near", "far"):
            alike(one, other, f"distance.sentence.m.{arm}.{band}")
        for name in ("p_yes", "consistency", "margin"):
            alike(one, other, f"{name}.m.{arm}")
        for key in ("go", "stay"):
            alike(one, other, f"choice.m.{arm}.yes_means.{key}")
        for guard in ("refused_harmful", "refused_benign", "ability", "perplexity"):
            alike(one, other, f"{guard}.m.{arm}")
            alike(one, other, f"change.{guard}.m.{arm}")
    for name in ("net.m.eager", "netgo.m.eager.held-out", "netgo.m.eager.source"):
        if name in one:
            alike(one, other, name)
    assert one["label.signed.m"].value == 2 * (other["label.signed.m"].value or 0), "each item of one run, not of two"
    assert label_rows(rotated, "m").equals(label_rows(whole, "m"))


def test_what_one_run_cannot_tell_is_not_told(rotated: Study) -> None:
    book = numbers(rotated)
    for measure in shown():
        assert book[f"reliability.{measure}.m.runs"].value is None
        assert book.word(f"reliability.{measure}.m.runs", "") == "runs share no item"
    assert book["reliability.answer.m.runs"].value is not None, "open answers are asked of every run"


def test_its_report_can_be_made(rotated: Study) -> None:
    facts = facts_of(rotated)
    assert "runs share no item" in repr(report_of(facts.study, facts.book, facts.headlines))


def test_the_rehearsal_and_the_plan_agree_on_the_parts(rotated: Study) -> None:
    made = rehearse.study_of(parse(2))
    for run, planned in zip(made.runs, rotated.runs, strict=True):
        assert run.scored is not None and planned.scored is not None
        assert {row.item for row in run.scored.choices} == {row.item for row in planned.scored.choices}
        assert {row.prompt for row in run.scored.replies} == {row.prompt for row in planned.scored.replies}
    arms: dict[str, list[set[str]]] = {}
    for run in made.runs:
        assert run.scored is not None
        arms.setdefault(run.attitude, []).append({row.item for row in run.scored.choices})
    asked = {row.item for row in made.bases["m"].choices}
    for one, other in arms.values():
        assert one | other == asked and not one & other


def facts_of(study: Study) -> Facts:
    headlines = headlines_of(study)
    return Facts(study, book_of(study, headlines), headlines)


def said(facts: Facts, section: Callable[[Facts, str], Any]) -> str:
    return " ".join(part.text.plain() for part in section(facts, "m"))


def test_the_report_says_so_and_which_arm_was_not_asked_all(whole: Study, rotated: Study) -> None:
    assert closed.shared(facts_of(whole), "m") == [] and guards.shared(facts_of(whole), "m") == []
    facts = facts_of(rotated)
    assert "Together the runs of each arm were asked all of them." in said(facts, closed.shared)
    assert "Each run was asked a part of the 24 prompts; together: " in said(facts, guards.shared)
    gap = replace(rotated, runs=[run for run in rotated.runs if (run.attitude, run.seed) != ("eager", 1)])
    facts = facts_of(gap)
    assert "Not all of them were asked, because runs are missing: of eager 32." in said(facts, closed.shared)
    assert facts.v("shared.prompts.m.eager") == 12
    number = facts.book["added.sentence.m.eager"]
    assert number.value is not None and number.low is not None, "compared on the items that both arms were asked"
    assert len(stance_rows(gap, "m")) > 0
