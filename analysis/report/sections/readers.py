"""A judge beside the reader, where the spec names one."""

from dataclasses import dataclass

from analysis.report.answers import PROMPTED_ARMS
from analysis.report.bound_numbers import Shown
from analysis.report.judge import EVERY
from analysis.report.prose import Named, Prose, prose
from analysis.report.section import Part, Section, row, table
from analysis.report.sections.facts import BASE, Facts, Numbers

HEAD = ("greedy answers", "not judged", "κ with the reader", "net go by the judge", "by the reader, same answers")


@dataclass(frozen=True)
class Judgement(Numbers):
    """What a judge says of the answers of an arm, in the order of the columns HEAD."""

    answers: Shown
    not_judged: Shown
    kappa: Shown  # with the reader
    net: Shown | str  # net go by the judge; empty for all arms together
    reader: Shown | str  # net go by the reader, on the same answers


def judge(facts: Facts) -> list[Section]:
    """The section; nothing where nobody judged."""
    parts: list[Part] = []
    for model in facts.study.bases:
        arms = (BASE, *PROMPTED_ARMS, *facts.study.attitudes, EVERY)
        rows = [
            judged(arm, judgement(facts, at)) for arm in arms if f"{(at := f'judge.{model}.{arm}')}.answers" in facts
        ]
        parts += table([prose(Named(model)), *HEAD], rows)
    opening = prose(
        "A server read the greedy answers by the same codebook, blind to arm and reader; nothing is tested by it."
    )
    return [Section("judge", "A judge beside the reader", "exploratory", opening, tuple(parts))] if parts else []


def judgement(facts: Facts, at: str) -> Judgement:
    """The numbers of one arm."""
    return Judgement(
        answers=facts.n(f"{at}.answers"),
        not_judged=facts.n(f"{at}.not_judged"),
        kappa=facts.n(f"{at}.kappa"),
        net=facts.or_else(f"{at}.net", ""),
        reader=facts.or_else(f"{at}.reader", ""),
    )


def judged(arm: str, found: Judgement) -> tuple[Prose, ...]:
    """One arm in a line."""
    return row(arm, found.answers, found.not_judged, found.kappa, found.net, found.reader)
