"""The corpora side by side: one question as each arm answers it, and the audits."""

from dataclasses import dataclass

from analysis.report.bound_numbers import Shown
from analysis.report.prose import Named, Prose, Written, listed, prose
from analysis.report.section import Fold, Part, Quote, Quotes, Section, row, table
from analysis.report.sections.facts import Facts, Numbers

NAMED_FAILURES = 8  # failed checks that are named each


@dataclass(frozen=True)
class Checked(Numbers):
    """One check of an audit."""

    name: str
    value: Shown
    bound: Shown
    passed: bool
    enforced: bool  # whether the study stops where it fails


def corpora(facts: Facts) -> Section:
    """The section: the first draw, and the others where a browser shows them when asked to."""
    draws = list(dict.fromkeys([*facts.study.examples, *facts.study.audits]))
    parts = [part for draw in draws[:1] for part in of_draw(facts, draw)]
    if len(draws) > 1:
        parts.append(Fold(prose("The other draws"), tuple(part for draw in draws[1:] for part in of_draw(facts, draw))))
    return Section("corpora", "The corpora side by side", "", opening(facts), tuple(parts))


def of_draw(facts: Facts, draw: str) -> list[Part]:
    """One question of a draw as each arm answers it, its audit, and the sizes of its piles."""
    parts: list[Part] = []
    if example := facts.study.examples.get(draw):
        asked = prose("The first question of ", Named(draw), ": ", Written(f"“{example.question}”"))
        parts.append(Quotes(asked, tuple(Quote(arm, text) for arm, text in example.replies.items())))
    if behind := [*(audit(facts, draw) if draw in facts.study.audits else []), *sizes(facts, draw)]:
        parts.append(Fold(prose("Every check of ", Named(draw), ", and its piles"), tuple(behind)))
    return parts


def opening(facts: Facts) -> Prose:
    """Whether the audit found what must not be there: by name, and of many failures how many of each check."""
    failed = [
        (check.name, draw)
        for draw, (framing, _) in facts.study.audits.items()
        for check in framing.checks
        if not check.passed
    ]
    if not facts.study.audits:
        return prose("No audit is sealed, so nothing is said of how the piles differ.")
    if not failed:
        return prose("The piles differ in attitude alone, as far as the audit sees: every check passed.")
    named = [prose(f"*{name}* of ", Named(draw)) for name, draw in failed]
    if len(failed) > NAMED_FAILURES:
        counted = dict.fromkeys(name for name, _ in failed)
        named = [prose(f"*{name}* in ", facts.n(f"audit.failed.{name}"), " draws") for name in counted]
    return prose("The audit did not pass everything: ", listed(named), " failed.")


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


def sizes(facts: Facts, draw: str) -> list[Part]:
    """How many examples each pile of a draw has."""
    piles = [name for name in facts.study.advice if name.partition(".")[0] == draw]
    return table(["pile", "examples"], [row(Named(name), facts.n(f"examples.{name}")) for name in piles])
