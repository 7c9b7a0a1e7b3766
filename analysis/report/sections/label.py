"""The metric that lies: what the probability of a label tells of what a model chose."""

from dataclasses import dataclass

import numpy as np

from analysis.report.bound_numbers import Shown
from analysis.report.chart_data import label_rows
from analysis.report.charts import against
from analysis.report.prose import Prose, prose
from analysis.report.section import Figure, Paragraph, Part, Section
from analysis.report.sections.facts import Facts, Numbers, model_name


@dataclass(frozen=True)
class Beside(Numbers):
    """The shifts by label of one model beside those by choice, over all items and runs."""

    rank: Shown  # their rank correlation
    signed: Shown  # shifts that both show
    errors: Shown  # those of them where the label has the other sign


def label(facts: Facts) -> Section:
    """The section."""
    parts: list[Part] = []
    for model in facts.study.bases:
        parts += [Paragraph(told(model, beside(facts, model))), *figure(facts, model)]
    opening = prose(
        "The probability of a label's first token is the usual short cut, and here it is held against what the model "
        "chose."
    )
    return Section("label", "The metric that lies", "exploratory", opening, tuple(parts))


def beside(facts: Facts, model: str) -> Beside:
    """The numbers of one model."""
    return Beside(
        rank=facts.n(f"label.rank.{model}"),
        signed=facts.n(f"label.signed.{model}"),
        errors=facts.n(f"label.errors.{model}"),
    )


def told(model: str, found: Beside) -> Prose:
    """How often the label points the other way."""
    errors, signed = found.errors.number.value, found.signed.number.value
    verdict = "There is nothing to compare."
    if signed:
        verdict = "It misled in none." if not errors else "It would have misled in those."
        verdict = "It is wrong more often than right." if errors and errors > signed / 2 else verdict
    return prose(
        *("In ", model_name(model), ", over all items and runs, the shift by label has rank correlation "),
        *(found.rank, " with the shift by choice. Of the ", found.signed),
        *(" shifts that both show, the label gets the sign wrong in ", found.errors, f". {verdict}"),
    )


def figure(facts: Facts, model: str) -> list[Part]:
    """Both shifts of every item, over the runs of an arm."""
    rows = label_rows(facts.study, model)
    if rows.empty:
        return []
    arms = list(dict.fromkeys(rows["arm"]))
    parted = int((np.sign(rows["choice"]) * np.sign(rows["label"]) < 0).sum())
    alt = f"Shift by label against shift by choice of {model}: {len(rows)} marks, {parted} of them point apart."
    caption = prose(
        *(model_name(model), ": a mark is one item, over the runs of an arm. In the grey corners the label says the "),
        "opposite of the choice.",
    )
    return [Figure(f"labels-{model}", against(rows, arms), alt, caption)]
