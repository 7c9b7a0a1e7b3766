"""A judge beside the reader, where the spec names one."""

from analysis.report.answers import PROMPTED_ARMS
from analysis.report.judge import EVERY
from analysis.report.prose import Named, prose
from analysis.report.section import Part, Section, row, table
from analysis.report.sections.facts import BASE, Facts


def judge(facts: Facts) -> list[Section]:
    """The section; nothing where nobody judged."""
    parts: list[Part] = []
    for model in facts.study.bases:
        rows = []
        for arm in (BASE, *PROMPTED_ARMS, *facts.study.attitudes, EVERY):
            if f"{(at := f'judge.{model}.{arm}')}.answers" in facts:
                nets = [facts.or_else(f"{at}.{what}", "") for what in ("net", "reader")]
                rows.append(row(arm, *(facts.n(f"{at}.{what}") for what in ("answers", "not_judged", "kappa")), *nets))
        head = [
            "greedy answers",
            "not judged",
            "κ with the reader",
            "net go by the judge",
            "by the reader, same answers",
        ]
        parts += table([prose(Named(model)), *head], rows)
    opening = prose(
        "A server read the greedy answers by the same codebook, blind to arm and reader; nothing is tested by it."
    )
    return [Section("judge", "A judge beside the reader", "exploratory", opening, tuple(parts))] if parts else []
