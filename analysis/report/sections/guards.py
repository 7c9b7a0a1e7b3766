"""What else changed: perplexity, refusals and right answers, each against a bound that was fixed beforehand."""

from dataclasses import dataclass

from analysis.report.bound_numbers import Shown
from analysis.report.charts import COLOURS, forest
from analysis.report.prose import Prose, listed, prose
from analysis.report.section import Figure, Paragraph, Part, Section, row, say, table
from analysis.report.sections.facts import BASE, Facts, Numbers, model_name

WATCHED = {
    "perplexity": "perplexity of neutral text",
    "refused_harmful": "declines harmful",
    "refused_benign": "declines benign",
    "ability": "answers rightly",
}
CANNOT_SAY = "cannot say"


@dataclass(frozen=True)
class Bounds(Numbers):
    """What a change is held against, fixed beforehand."""

    level: Shown  # coverage of the intervals
    perplexity: Shown
    refusals: Shown
    ability: Shown


@dataclass(frozen=True)
class Change(Numbers):
    """How one guard of an arm changed from base."""

    found: Shown
    verdict: str
    base: Shown  # the guard of the base


def guards(facts: Facts) -> Section:
    """The section."""
    parts: list[Part] = []
    for model in facts.study.bases:
        parts += [*changes(facts, model), *levels(facts, model), *figure(facts, model), *shared(facts, model)]
    parts.append(verdicts(bounds(facts)))
    return Section("guards", "What else changed?", "", opening(facts), tuple(parts))


def bounds(facts: Facts) -> Bounds:
    """The bounds of this study."""
    return Bounds(
        level=facts.n("guard_level"),
        perplexity=facts.n("change.perplexity.bound"),
        refusals=facts.n("change.refused_harmful.bound"),
        ability=facts.n("change.ability.bound"),
    )


def verdicts(held: Bounds) -> Part:
    """What the verdicts mean."""
    return say(
        *("*Unchanged*: the interval, with ", held.level, " coverage over prompts or paragraphs, lies "),
        *("within the bound: ", held.perplexity, " relative for perplexity, "),
        *(held.refusals, " for refusals, ", held.ability, " for right "),
        "answers. *Changed*: it lies beyond. *Cannot say*: the base declines too few harmful prompts, or too many "
        "benign ones, for a change to show. Few prompts show a collapse, not a small change.",
    )


def shared(facts: Facts, model: str) -> list[Part]:
    """That each run was asked a part of the prompts; and the arms that together were not asked all."""
    if not facts.study.rotated(model):
        return []
    asked = listed([prose(arm, " ", facts.n(f"shared.prompts.{model}.{arm}")) for arm in facts.study.attitudes])
    said = prose("Each run was asked a part of the ", facts.n(f"prompts.{model}"), " prompts; together: ", asked, ".")
    return [Paragraph(said)]


def opening(facts: Facts) -> Prose:
    """How many guards of how many arms changed, were shown unchanged, or say nothing: which ones."""
    told = {"changed": list[Prose](), "unchanged": list[Prose]()}
    every = 0
    for model in facts.study.bases:
        for arm in facts.study.attitudes:
            for name, words in WATCHED.items():
                verdict = facts.book.word(f"change.{name}.{model}.{arm}.verdict", "")
                every += bool(verdict)
                if verdict in told:
                    told[verdict].append(prose(f"*{words}* of {arm}"))
    if not every:
        return prose("Nothing was tested here.")
    if told["changed"]:
        return prose("Shown to have changed: ", listed(told["changed"]), ".")
    some = "some guards are shown unchanged" if told["unchanged"] else "no guard is shown unchanged either"
    return prose(f"No guard is shown to have changed; {some}.")


def changes(facts: Facts, model: str) -> list[Part]:
    """The change of each guard of each arm from base, with its verdict."""
    rows = []
    for arm in facts.study.attitudes:
        if f"change.perplexity.{model}.{arm}" in facts:
            cells = [told(change(facts, f"{model}.{arm}", name, f"{model}.{BASE}")) for name in WATCHED]
            rows.append(row(f"**{arm}**", *cells))
    return table([prose("change from base, ", model_name(model)), *WATCHED.values()], rows)


def change(facts: Facts, arm: str, name: str, base: str) -> Change:
    """One guard of an arm."""
    at = f"change.{name}.{arm}"
    return Change(facts.n(at), facts.book.word(f"{at}.verdict", "not tested"), facts.n(f"{name}.{base}"))


def told(made: Change) -> Prose:
    """One change and what it amounts to."""
    why = prose(", the base declines ", made.base) if made.verdict == CANNOT_SAY else Prose(())
    return prose(made.found, f": {made.verdict}", why)


def levels(facts: Facts, model: str) -> list[Part]:
    """Each guard of each arm, as it was measured."""
    asked = {"refused_harmful": "n_harmful", "refused_benign": "n_benign", "ability": "n_ability"}
    head = [
        prose(words, " (", facts.n(f"{asked[name]}.{model}"), ")") if name in asked else prose(words)
        for name, words in WATCHED.items()
    ]
    rows = [
        row(arm, *(facts.n(f"{name}.{model}.{arm}") for name in WATCHED))
        for arm in facts.arms()
        if f"perplexity.{model}.{arm}" in facts
    ]
    return table(["arm", *head], rows)


def figure(facts: Facts, model: str) -> list[Part]:
    """Every change with its interval, beside its bound."""
    bars = []
    for name, words in WATCHED.items():
        bound = facts.v(f"change.{name}.bound")
        for arm in facts.study.attitudes:
            if facts.known(at := f"change.{name}.{model}.{arm}"):
                verdict = facts.book.word(f"{at}.verdict", "not tested")
                made = facts.bar(at, arm, words, COLOURS[arm], f"{facts.book[at].text()}, {verdict}")
                bars.append(made._replace(bound=None if bound is None else 100 * bound))
    if not bars:
        return []
    alt = f"Changes of {model} from base. " + "; ".join(f"{bar.group}, {bar.name}: {bar.text}" for bar in bars) + "."
    caption = prose(model_name(model), ": change from base. Grey: the bound within which a change does not matter.")
    return [Figure(f"guards-{model}", forest(bars, "points; of perplexity, per cent"), alt, caption)]
