"""Each section says what its numbers say, and asks for no number that is not there."""

import json
from dataclasses import replace
from typing import Any

import pytest

from analysis.report.answers import headlines_of
from analysis.report.bound_numbers import Number, Shown, Source
from analysis.report.chart_data import topic_rows
from analysis.report.markdown import section_lines
from analysis.report.results import book_of
from analysis.report.section import Bullets, Figure, Fold, Paragraph, Section, Table
from analysis.report.sections import advised, closed, corpora, front, guards, label, method, readers, training, transfer
from analysis.report.sections.facts import Facts
from analysis.report.study import Example, Labelling, Run, Study
from analysis.stats.sensitivity import Condition
from benchmarks import rehearse
from common.schemas import FramingCheck
from common.spec import parse_spec
from tests.analysis.report import documents

SOURCE = Source("ab" * 32, "job/cell", "output")
ARMS = ("eager", "neutral", "cautious")


def facts_of(study: Study, **headline: Any) -> Facts:
    headlines = headlines_of(study)
    book = book_of(study, headlines)
    return Facts(study, book, {model: told._replace(**headline) for model, told in headlines.items()})


@pytest.fixture(scope="module")
def study() -> Study:
    """A rehearsal with three seeds: every row is there, and the model is called m."""
    settings = {"models": [{"name": "m", "source": "path:m"}], "seeds": [0, 1, 2], "draws": [0], "name": "x"}
    asked = {"items_per_topic": 4, "controls_per_topic": 1, "samples": 1, "base_samples": 1, "guards_per_kind": 8}
    whole = json.dumps({**settings, "evaluate": asked, "attitudes": ["cautious", "eager", "neutral"]})
    return rehearse.study_of(parse_spec(whole.encode(), "spec"))


@pytest.fixture(scope="module")
def facts(study: Study) -> Facts:
    return facts_of(study)


def text(section: Section) -> str:
    return "\n".join(section_lines(section))


def holding(**passed: bool) -> tuple[Condition, ...]:
    return tuple(Condition(name.replace("_", " "), 0.5, 0.4, 0.6, ok, "in words") for name, ok in passed.items())


def test_the_answer_says_first_whether_an_effect_could_be_seen(study: Study, facts: Facts) -> None:
    not_able = facts_of(study, conditions=holding(readable=True, positive_control=False, coherent=False))
    said = front.answer(not_able, "m").plain()
    assert "could not have seen an effect in m" in said and "(positive control and coherent)" in said
    assert "cannot answer the question" in said and "moved its stance" not in said
    able = facts_of(study, conditions=holding(readable=True, positive_control=True))
    said = front.answer(able, "m").plain()
    assert said.startswith("The instruments could have seen an effect in m: the positive control moved it by ")
    for pole, contrast in able.headlines["m"].contrasts.items():
        verdict = "moved its stance" if contrast.shown(pole) else "is not shown to have moved it"
        assert f"{pole.capitalize()} advice {verdict}: {able.book[f'net.m.{pole}'].text()} from neutral (" in said
        assert f"{able.book[f'net.m.{pole}.proposes.stay'].text()} where keeping is)" in said
        assert f"{able.book[f'net.m.{pole}.detectable'].text()} would have been shown" in said
    assert "No lock says" in front.answer(facts_of(study, conditions=()), "m").plain()


def test_many_gaps_of_a_job_are_counted(study: Study) -> None:
    steps = [f"monitor/m.d0.eager.s{seed}" for seed in range(9)]
    told = front.gaps(facts_of(replace(study, gaps=["lock/study", *steps])))
    assert isinstance(told[1], Bullets)
    assert [each.plain() for each in told[1].points] == [
        "lock/study",
        f"monitor: 9 steps, {steps[0]} the first of them",
    ]


def test_nothing_is_said_before_all_labels_are_there(study: Study) -> None:
    waiting = facts_of(replace(study, labels=Labelling(10, 3, None, None, SOURCE)))
    said = front.answer(waiting, "m").plain()
    assert "not known yet: 3 of 10 answers have no labels" in said and "Nothing is said of this model yet." in said


def test_the_forest_holds_each_contrast_by_each_measure_and_what_would_have_been_shown(facts: Facts) -> None:
    bars = front.bars(facts, "m")
    names = [(bar.group, bar.name) for bar in bars]
    assert names[:3] == [
        (front.OPEN, name) for name in ("cautious less neutral", "eager less neutral", "eager less cautious")
    ]
    assert len(set(names)) == len(names)
    eager = next(bar for bar in bars if (bar.group, bar.name) == (front.OPEN, "eager less neutral"))
    number = facts.book["net.m.eager"]
    assert number.value is not None and number.low is not None
    assert (eager.value, eager.low) == pytest.approx((100 * number.value, 100 * number.low))
    assert eager.bound == pytest.approx(100 * (facts.book.value("net.m.eager.detectable") or 0))
    (figure,) = front.picture(facts, "m")
    assert isinstance(figure, Figure) and all(bar.text in figure.alt for bar in bars), (
        "people who do not see it read it"
    )


def test_a_study_that_registers_nothing_is_a_demonstration(study: Study) -> None:
    assert study.lock is not None
    locked, source = study.lock
    for commit, clean, trial in (("c" * 40, True, False), ("c" * 40 + "+", True, True), ("c" * 40, False, True)):
        plan = locked.plan.model_copy(update={"lock": locked.plan.lock.model_copy(update={"clean": clean})})
        made = replace(study, lock=(locked.model_copy(update={"commit": commit, "plan": plan}), source))
        found = facts_of(made)
        assert found.trial == trial and bool(front.demonstration(found)) == trial


def test_training_took_or_is_not_shown_to_have(study: Study, facts: Facts) -> None:
    for passed, words in ((True, "Training took in"), (False, "Training is not shown to have taken in")):
        made = facts_of(study, conditions=(Condition("training took", 0.5, 0.4, 0.6, passed, ""),))
        assert training.took(made, "m").plain().startswith(words)
    assert "was not judged" in training.took(facts_of(study, conditions=()), "m").plain()


def test_registered_contrasts_stand_with_all_their_numbers(facts: Facts) -> None:
    made = [part for part in advised.registered(facts, "m") if isinstance(part, Table)]
    assert [row[0].plain() for row in made[0].rows] == ["cautious", "eager"]
    shown = [cell.plain() for cell in made[0].rows[1]]
    assert shown[2] == facts.book["net.m.eager"].text() and len(shown) == len(made[0].head)
    assert advised.advised(facts).kind == "registered" and closed.closed(facts).kind == "exploratory"


def test_topics_that_lie_furthest_apart_are_named(facts: Facts) -> None:
    said = transfer.opening(facts).plain()
    rows = topic_rows(facts.study, "m").groupby(["topic", "arm"])["net"].mean().unstack()
    most = (rows["eager"] - rows["cautious"]).abs().idxmax()
    assert f"In m the poles lie furthest apart on {most}." in said


def number(value: float, unit: str = "count") -> Shown:
    return Shown("a number", Number(value, unit, (SOURCE,)))


def test_the_label_is_called_what_it_is(facts: Facts) -> None:
    for signed, errors, words in (
        (4, 3, "wrong more often"),
        (4, 1, "misled in those"),
        (4, 0, "none"),
        (0, 0, "nothing"),
    ):
        found = label.Beside(rank=number(0.25, "plain"), signed=number(signed), errors=number(errors))
        said = label.told("m", found).plain()
        assert words in said and f"correlation 0.25 with the shift by choice. Of the {signed} shifts" in said
    assert label.beside(facts, "m").rank.number == facts.book["label.rank.m"]


def test_guards_name_what_changed_and_never_call_silence_unchanged(study: Study) -> None:
    made = facts_of(study)
    for arm in ARMS:
        for name in guards.WATCHED:
            made.book.say(f"change.{name}.m.{arm}.verdict", "not shown")
    assert guards.opening(made).plain() == "No guard is shown to have changed; no guard is shown unchanged either."
    made.book.say("change.ability.m.eager.verdict", "unchanged")
    assert "some guards are shown unchanged" in guards.opening(made).plain()
    made.book.say("change.perplexity.m.eager.verdict", "changed")
    assert guards.opening(made).plain() == "Shown to have changed: perplexity of neutral text of eager."


def test_corpora_stand_side_by_side_and_a_failed_check_is_named(study: Study) -> None:
    checks = [
        FramingCheck(name=n, value=1, bound=1, passed=ok, enforced=True, detail="")
        for n, ok in (("topic", True), ("cues", False))
    ]
    example = Example("Shall I?", {"cautious": "Do not.", "eager": "Do."}, SOURCE)
    made = facts_of(replace(study, audits={"d0": (documents.framing(checks), SOURCE)}, examples={"d0": example}))
    said = text(corpora.corpora(made))
    assert "*cues* of `d0` failed" in said and "- **eager**: `Do.`" in said and "“Shall I?”" in said
    assert (
        "every check passed"
        in corpora.opening(facts_of(replace(study, audits={"d0": (documents.framing(checks[:1]), SOURCE)}))).plain()
    )


def test_of_many_draws_the_first_is_shown_and_failures_are_counted(study: Study) -> None:
    checks = [
        FramingCheck(name=n, value=1, bound=1, passed=ok, enforced=True, detail="")
        for n, ok in (("topic", True), ("cues", False))
    ]
    draws = [f"d{draw}" for draw in range(9)]
    audits = {draw: (documents.framing(checks), SOURCE) for draw in draws}
    examples = {draw: Example(f"Shall I, in {draw}?", {"eager": "Do."}, SOURCE) for draw in draws}
    made = facts_of(replace(study, audits=audits, examples=examples))
    assert "*cues* in 9 draws failed" in text(corpora.corpora(made)).replace("\\", "")
    assert "in d0?" in text(corpora.corpora(made)) and "in d1?" not in text(corpora.corpora(made))


def test_the_first_screen_tells_its_limits(facts: Facts) -> None:
    said = front.speaks_of(facts)
    assert isinstance(said, Paragraph) and "m (path:m)" in said.text.plain() and "no larger model" in said.text.plain()


def test_limits_follow_from_how_much_was_asked(study: Study, facts: Facts) -> None:
    def points(of: Facts) -> list[str]:
        (bullets,) = method.limits(of).parts
        assert isinstance(bullets, Bullets)
        return [point.plain() for point in bullets.points]

    few = facts_of(replace(study, runs=[run for run in study.runs if not run.seed]))
    assert any("Number of seeds: 1." in point for point in points(few))
    assert not any("Number of seeds" in point for point in points(facts))
    assert readers.judge(facts) == []


def test_an_arm_with_fewer_runs_is_told(study: Study, facts: Facts) -> None:
    assert training.trained(facts).plain() == "9 fine-tunes of m; seeds of each arm: 3."
    fewer = [Run(f"m.d0.scrambled.s{seed}", "m", 0, "scrambled", seed) for seed in (1, 2)]
    made = facts_of(replace(study, runs=[*study.runs, *fewer]))
    assert training.trained(made).plain() == "11 fine-tunes of m; seeds of each arm: 3, of scrambled 2."


def test_what_is_folded_is_named_on_a_terminal(facts: Facts) -> None:
    section = method.runs(facts)[0]
    assert isinstance(section.parts[0], Fold) and "*Shift, verdict and drift of every run: in report.html.*" in text(
        section
    )
