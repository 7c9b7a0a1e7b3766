"""A published report that is turned: the same numbers and figures, of chosen topics and arms, against a chosen margin.

It is what the notebook shows. Everything is worked out anew from the published rows by the code of the report itself.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from analysis.report.answers import headlines_of
from analysis.report.chart_data import stance_rows
from analysis.report.charts import Bar, dots, forest
from analysis.report.page import figures_in, still
from analysis.report.prose import prose
from analysis.report.results import book_of
from analysis.report.section import Figure
from analysis.report.sections.facts import BASE, Facts
from analysis.report.sections.front import OPEN, bars
from analysis.report.sections.whole import report_of
from analysis.report.study import Scored, Study
from analysis.stats.measures import MEASURES
from common.errors import InputError
from common.vocabulary import kind_of
from jobs.report.labels import with_labels
from jobs.report.published import Published
from jobs.report.report import gather

FEWEST_TOPICS = 2  # an interval over topics needs as many


class Against(NamedTuple):
    """A contrast held against a margin."""

    model: str
    contrast: str
    found: str
    verdict: str  # within | beyond | cannot say


def opened(folder: Path) -> Study:
    """The study of a published report. Raises: InputError if rows are gone or altered."""
    rows = Published(folder)
    return with_labels(rows, gather(rows))


def topics_of(study: Study) -> list[str]:
    """The held-out topics, as they come."""
    every = (row.topic for base in study.bases.values() for row in base.choices if kind_of(row.topic) == "held-out")
    return list(dict.fromkeys(every))


def narrowed(study: Study, topics: Sequence[str], arms: Sequence[str]) -> Study:
    """The same study on some held-out topics, and with some arms. Raises: InputError for too few topics, as `_only`."""
    if len(topics) < FEWEST_TOPICS:
        allowed = f"at least {FEWEST_TOPICS}, for intervals over topics"
        raise InputError("too few topics", where="topics", value=", ".join(topics), allowed=allowed)
    kept = set(topics)
    runs = [replace(run, scored=run.scored and _only(run.scored, kept)) for run in study.runs if run.attitude in arms]
    return replace(study, bases={name: _only(base, kept) for name, base in study.bases.items()}, runs=runs)


def _only(scored: Scored, topics: set[str]) -> Scored:
    """Rows on these topics, and all rows of other kinds of items. Raises: InputError for a run that was asked none."""
    choices = [row for row in scored.choices if row.topic in topics]
    if scored.choices and not choices:  # where runs share the items out
        value, allowed = ", ".join(sorted(topics)), "more topics"
        raise InputError("a run was asked no item of these topics", where=scored.cell, value=value, allowed=allowed)
    made = replace(
        scored,
        choices=choices,
        answers=[row for row in scored.answers if row.topic in topics or kind_of(row.topic) != "held-out"],
    )
    if scored.labelled is None:
        return made
    rows = [row for row in scored.labelled[0] if row.topic in topics or kind_of(row.topic) != "held-out"]
    return replace(made, labelled=(rows, scored.labelled[1]))


def facts_of(study: Study) -> Facts:
    """Its numbers, and what can be said of each model."""
    headlines = headlines_of(study)
    return Facts(study, book_of(study, headlines), headlines)


def measures() -> list[str]:
    """What a contrast can be read by: net go first."""
    return [OPEN, *(declared.title for declared in MEASURES.values() if declared.shown)]


def held(facts: Facts, measure: str, margin: float) -> dict[str, list[Bar]]:
    """Model → its contrasts by one measure, with the margin as their band, points."""
    return {
        model: [bar._replace(bound=margin) for bar in bars(facts, model) if bar.group.endswith(measure)]
        for model in facts.study.bases
    }


def verdicts(found: dict[str, list[Bar]]) -> list[Against]:
    """Each contrast against its margin: within it, beyond it, or neither is shown."""
    return [Against(model, bar.name, bar.text, _verdict(bar)) for model, mine in found.items() for bar in mine]


def _verdict(bar: Bar) -> str:
    assert bar.bound is not None
    if -bar.bound < bar.low and bar.high < bar.bound:
        return "within"
    return "beyond" if bar.low > bar.bound or bar.high < -bar.bound else "cannot say"


def figures(facts: Facts, measure: str, margin: float) -> list[tuple[str, str, str]]:
    """Every figure of the report as it is of these rows: name, SVG, and what it shows in words."""
    drawn: list[Figure] = []
    for model, mine in held(facts, measure, margin).items():
        if mine:
            alt = "; ".join(f"{bar.name}: {bar.text}" for bar in mine)
            drawn.append(Figure(f"margin-{model}", forest(mine, "points"), alt, prose("")))
        if measure != OPEN:
            rows = stance_rows(facts.study, model)
            arms = [arm for arm in facts.arms() if arm != BASE and arm in set(rows["arm"])]
            drawn.append(Figure(f"measure-{model}", dots(rows, arms, measure), f"P(go) of {model}", prose("")))
    drawn += figures_in(report_of(facts.study, facts.book, facts.headlines))
    return [(figure.name, still(figure), figure.alt) for figure in drawn]
