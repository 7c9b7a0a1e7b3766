"""The corpora side by side: one question as each arm answers it, and the audits."""

from dataclasses import dataclass

from analysis.report.bound_numbers import Shown
from analysis.report.prose import Named, Prose, Written, listed, prose
from analysis.report.section import Part, Quote, Quotes, Section, row, table
from analysis.report.sections.facts import Facts, Numbers


@dataclass(frozen=True)
class Checked(Numbers):
    """One check of an audit."""

    name: str
    value: Shown
    bound: Shown
    passed: bool
    enforced: bool  # whether the study stops where it fails


def corpora(facts: Facts) -> Section:
    """The section."""
    parts: list[Part] = []
    for draw, example in facts.study.examples.items():
        asked = prose("The first question of ", Named(draw), ": ", Written(f"“{example.question}”"))
        parts.append(Quotes(asked, tuple(Quote(arm, text) for arm, text in example.replies.items())))
    for draw in facts.study.audits:
        parts += audit(facts, draw)
    parts += sizes(facts)
    return Section("corpora", "The corpora side by side", "", opening(facts), tuple(parts))


def opening(facts: Facts) -> Prose:
    """Whether the audit found what must not be there."""
    failed = [
        prose(f"*{check.name}* of ", Named(draw))
        for draw, (framing, _) in facts.study.audits.items()
        for check in framing.checks
        if not check.passed
    ]
    if not facts.study.audits:
        return prose("No audit is sealed, so nothing is said of how the piles differ.")
    if not failed:
        return prose("The piles differ in attitude alone, as far as the audit sees: every check passed.")
    return prose("The audit did not pass everything: ", listed(failed), " failed.")


def audit(facts: Facts, draw: str) -> list[Part]:
    """Every check of one draw."""
    rows = []
    for check in facts.study.audits[draw][0].checks:
        at = f"audit.{draw}.{check.name}"
        found = Checked(check.name, facts.n(f"{at}.value"), facts.n(f"{at}.bound"), check.passed, check.enforced)
        rows.append(checked(found))
    return table([prose("check of ", Named(draw)), "value", "bound", "passed", "stops the study"], rows)


def checked(check: Checked) -> tuple[Prose, ...]:
    """One check in a line."""
    passed, stops = ("yes" if check.passed else "**no**"), ("yes" if check.enforced else "no")
    return row(check.name, check.value, check.bound, passed, stops)


def sizes(facts: Facts) -> list[Part]:
    """How many examples each pile has."""
    rows = [row(Named(name), facts.n(f"examples.{name}")) for name in facts.study.advice]
    return table(["pile", "examples"], rows)
