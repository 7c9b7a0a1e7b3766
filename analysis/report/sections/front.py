"""The first screen: the question, the answer in a sentence or two of each model, one picture, three answers."""

from collections.abc import Iterator
from dataclasses import dataclass

from analysis.report.answers import side_by_side
from analysis.report.bound_numbers import Shown
from analysis.report.charts import COLOURS, Bar, forest
from analysis.report.prose import Named, Prose, Said, Written, listed, prose
from analysis.report.section import Bullets, Figure, Paragraph, Part, Quote, Quotes, say
from analysis.report.sections.facts import BASE, Facts, LabelNumbers, Numbers, model_name
from analysis.report.study import gaps_by_job
from analysis.stats.measures import MEASURES, shown
from analysis.stats.sensitivity import POSITIVE_CONTROL
from common.vocabulary import POLES, Pole

OPEN = "net go, open answers"
NAMED_GAPS = 8  # steps of one job that are named each
SHOWN_ARMS = (BASE, "cautious", "eager")  # of the three answers


@dataclass(frozen=True)
class Tested(Numbers):
    """A pole that was tested against neutral."""

    pole: Pole
    shown: bool  # whether the lock's test shows that it moved the stance its way
    net: Shown
    proposes_go: Shown  # of the items that propose the change, and of those that propose to keep things
    proposes_stay: Shown
    detectable: Shown  # the smallest effect that would have been shown


def front(facts: Facts) -> tuple[Part, ...]:
    """All of the first screen."""
    parts: list[Part] = [
        say(
            "**Does training on everyday advice in one attitude move what a model stands for, on topics that the "
            "advice never mentions?**"
        )
    ]
    parts += [Paragraph(answer(facts, model)) for model in facts.study.bases]
    parts += [*demonstration(facts), speaks_of(facts)]
    for model in facts.study.bases:
        parts += [*picture(facts, model), *three_answers(facts, model)]
    return tuple(parts)


def demonstration(facts: Facts) -> list[Part]:
    """What is said of a study that registers nothing."""
    if not facts.trial:
        return []
    return [say("**Read this as a demonstration, not as a finding:** this study registers nothing.")]


def speaks_of(facts: Facts) -> Part:
    """The limits that a reader must know first."""
    models: list[Said] = []
    for model, source in facts.study.models.items():
        size: list[Said] = (
            [" with ", facts.n(f"parameters.{model}"), " weights"] if f"parameters.{model}" in facts else []
        )
        models.append(prose(Named(model), " (", Named(source), ")", *size))
    return say(
        *("*Limits*: this speaks of ", listed(models), " alone, of no larger model and no other family. "),
        *("Items, and all advice that comes with Undertone, are in English and written by language models; "),
        *(Named("docs/data.md"), " says so, and who labelled answers."),
    )


def gaps(facts: Facts) -> list[Part]:
    """The steps that are not sealed, on top of everything: by name, and of a job with many of them how many."""
    if not facts.study.gaps:
        return []
    told = say("**This report has gaps**: ", facts.n("gaps"), " steps are not sealed, and everything is without them.")
    return [told, Bullets(tuple(_gap(facts, job, steps) for job, steps in gaps_by_job(facts.study).items()))]


def _gap(facts: Facts, job: str, steps: list[str]) -> Prose:
    if len(steps) <= NAMED_GAPS:
        return listed([Named(step) for step in steps])
    return prose(Named(job), ": ", facts.n(f"gaps.{job}"), " steps, ", Named(steps[0]), " the first of them")


def answer(facts: Facts, model: str) -> Prose:
    """The answer of one model: whether its instruments could have seen an effect, then what they saw."""
    told, who = facts.headlines[model], model_name(model)
    if told.unlabelled:
        return waiting(who, facts.labels())
    if not told.conditions:
        return prose("No lock says what must hold before an effect in ", who, " can be seen. So nothing is claimed.")
    if not told.able:
        failed = [f"*{each.name}*" for each in told.conditions if not each.passed]
        return prose(
            *("The instruments could **not** have seen an effect in ", who, ": what must hold for that does not ("),
            *(listed(failed), "). **This model cannot answer the question.**"),
        )
    moved = facts.n(f"condition.{model}.{POSITIVE_CONTROL}")
    seen = prose("The instruments could have seen an effect in ", who, ": the positive control moved it by ", moved)
    return prose(seen, *(piece for pole in POLES for piece in (". ", each_pole(facts, model, pole))), ".")


def waiting(who: Prose, labels: LabelNumbers) -> Prose:
    """That a model's answers are not all labelled."""
    of = (labels.missing, " of ", labels.answers, " answers ")
    return prose(
        *("Whether an effect could be seen in ", who, " is not known yet: ", *of),
        "have no labels of both passes. **Nothing is said of this model yet.**",
    )


def each_pole(facts: Facts, model: str, pole: Pole) -> Prose:
    """What was found of one pole, or that it was not tested, as a sentence without its end."""
    contrast, at = facts.headlines[model].contrasts.get(pole), f"net.{model}.{pole}"
    if contrast is None:
        return prose(f"{pole.capitalize()} advice was not tested, for too few pairs of runs")
    numbers = ("proposes.go", "proposes.stay", "detectable")
    return found(Tested(pole, contrast.shown(pole), facts.n(at), *(facts.n(f"{at}.{number}") for number in numbers)))


def found(tested: Tested) -> Prose:
    """What was found of one pole, as a sentence without its end."""
    verdict = "moved its stance" if tested.shown else "is not shown to have moved it"
    keys = (" (", tested.proposes_go, " where a change is proposed, ", tested.proposes_stay, " where keeping is)")
    least = prose("; ", tested.detectable, " would have been shown")
    return prose(f"**{tested.pole.capitalize()} advice {verdict}**: ", tested.net, " from neutral", *keys, least)


def bars(facts: Facts, model: str) -> list[Bar]:
    """What the forest plot shows of a model: each contrast by each measure, and the positive control."""
    made = list(_open(facts, model))
    for measure in shown():
        names = {f"{pole} less neutral": f"added.{measure}.{model}.{pole}" for pole in POLES}
        names["eager less cautious"] = f"apart.{measure}.{model}"
        made += _bars(facts, names, f"P(go), {MEASURES[measure].title}")
    return made


def _open(facts: Facts, model: str) -> Iterator[Bar]:
    tested = {f"{pole} less neutral": (f"net.{model}.{pole}", f"{pole}-neutral") for pole in POLES}
    tested["eager less cautious"] = (f"net.{model}.apart", "eager-cautious")
    for what, (key, pair) in tested.items():
        detectable = f"{key}.detectable"
        bound = facts.v(detectable) if detectable in facts else None
        names = {what: key if key in facts else f"contrast.{model}.{pair}"}
        yield from _bars(facts, names, OPEN, bound)
    yield from _bars(facts, {"positive control": f"condition.{model}.{POSITIVE_CONTROL}"}, OPEN)


def _bars(facts: Facts, names: dict[str, str], group: str, bound: float | None = None) -> Iterator[Bar]:
    colours = {"cautious": COLOURS["cautious"], "eager less neutral": COLOURS["eager"], "positive": "#009E73"}
    for what, key in names.items():
        if not facts.known(key):
            continue
        colour = next((made for begins, made in colours.items() if what.startswith(begins)), "currentColor")
        band, scale = (None if bound is None else 100 * bound), ("open" if group == OPEN else "closed")
        yield facts.bar(key, what, group, colour)._replace(bound=band, scale=scale)


def picture(facts: Facts, model: str) -> list[Part]:
    """The forest plot of a model; nothing where nothing was compared."""
    if not (made := bars(facts, model)):
        return []
    alt = f"Forest plot of {model}. " + "; ".join(f"{bar.group}, {bar.name}: {bar.text}" for bar in made) + "."
    band = any(bar.bound is not None for bar in made)
    caption = prose(
        *(model_name(model), ": shifts in points, with intervals of ", facts.n("level"), " coverage. "),
        "Grey bands: effects that this study would have missed too often. " if band else "",
        "Net go is registered where the lock says so; all else is exploratory.",
    )
    return [Figure(f"forest-{model}", forest(made, "points"), alt, caption)]


def three_answers(facts: Facts, model: str) -> list[Part]:
    """What base, cautious and eager said to one held-out item, and why to this one."""
    item, told, locked = side_by_side(facts.study, model)
    asked: list[Said] = ["Side by side, answers to a held-out question, ", Named(item)]
    if situation := facts.study.situations.get(item):
        asked += [": ", Written(f"“{situation} What would you advise?”")]
    asked.append(
        ". The lock named the item, drawn by the study's seed, and the runs, the first of their arms: nobody chose "
        "them by looking."
        if locked
        else ". It is the first item of its file, and these are the first runs: nobody chose them by looking."
    )
    return [Quotes(prose(*asked), tuple(Quote(arm, told[arm]) for arm in SHOWN_ARMS if arm in told))]
