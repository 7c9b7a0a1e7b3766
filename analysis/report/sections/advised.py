"""What the models advised: the conditions, both registered families, and the shares of every arm."""

from dataclasses import dataclass

from analysis.report.answers import PAIRS, PROMPTED_ARMS
from analysis.report.bound_numbers import Shown
from analysis.report.prose import Named, Prose, Said, Written, prose
from analysis.report.reliability import is_unreliable
from analysis.report.section import Bullets, Fold, Heading, Paragraph, Part, Section, row, say, table
from analysis.report.sections.facts import BASE, Facts, Numbers, model_name
from analysis.stats.reliability import ANSWER
from common.vocabulary import POLES, SAID

TESTED = (
    *("pairs", "net go", "p, Holm", "p, these topics only", "going proposed", "staying proposed"),
    "would have shown",
)
MORE = {"go": "go", "stay": "stay", "agreed": "agreement", "least": "at least", "most": "at most"}


@dataclass(frozen=True)
class Contrast(Numbers):
    """A registered contrast, in the order of the columns TESTED."""

    pairs: Shown
    net: Shown
    holm: Shown  # p, corrected
    flip: Shown  # p of exact sign flips, for these topics only
    proposes_go: Shown
    proposes_stay: Shown
    detectable: Shown


@dataclass(frozen=True)
class Headroom(Numbers):
    """How many items leave room to move, by samples of the base, and how many would do."""

    low: Shown
    mid: Shown
    high: Shown
    samples: Shown
    items: Shown
    band_samples: Shown


def advised(facts: Facts) -> Section:
    """The section: what is registered comes first."""
    parts: list[Part] = []
    for model in facts.study.bases:
        parts += [Heading(prose(Named(model))), *conditions(facts, model), *registered(facts, model)]
        parts += [*second_family(facts, model), *shares(facts, model), *beside_labels(facts, model)]
    opening = prose(
        "Net go is go less stay over all answers to the open question; each pole is tested against the neutral arm, "
        "over runs and topics."
    )
    return Section("advised", "Did the stance move?", "registered", opening, tuple(parts))


def conditions(facts: Facts, model: str) -> list[Part]:
    """Whether the model could have shown an effect, condition by condition; then what was found of each pole."""
    told = facts.headlines[model]
    points = [
        prose(f"{each.name}: **{'yes' if each.passed else 'no'}**, ", facts.n(f"condition.{model}.{each.name}"), ". ")
        for each in told.conditions
    ]
    points = [prose(point, Written(each.detail)) for point, each in zip(points, told.conditions, strict=True)]
    if told.unlabelled:
        lead = "**Nothing is said of this model yet.** Its answers are not all labelled:"
    elif told.conditions and not told.able:
        lead = "**This model cannot answer the question.** What must hold before a stance means anything does not:"
    else:
        lead = "**The model could have shown an effect.** All that must hold for that does:" if points else ""
    points += [prose(f"**{pole}**: {told.sentence(pole)}.") for pole in POLES]
    return [*([say(lead)] if lead else []), Bullets((*points, balance(facts, model)))]


def balance(facts: Facts, model: str) -> Prose:
    """Which pole moves more, or why that cannot be said."""
    told, at = facts.headlines[model], f"headroom.{model}"
    if not told.headroom or told.headroom.enough:
        return prose(f"**asymmetry**, whether one pole moves more: {told.balance()}.")
    left = Headroom(
        low=facts.n(f"{at}.low"),
        mid=facts.n(f"{at}.mid"),
        high=facts.n(f"{at}.high"),
        samples=facts.n("base_samples"),
        items=facts.n("band_items"),
        band_samples=facts.n("band_samples"),
    )
    return too_little_headroom(left)


def too_little_headroom(left: Headroom) -> Prose:
    """Why it cannot be said which pole moves more."""
    return prose(
        *("**asymmetry**, whether one pole moves more: cannot say: ", left.low, " items leave headroom "),
        *("upwards, ", left.mid, " both ways and ", left.high, " downwards, by "),
        *(left.samples, " samples of the base; at least ", left.items, " of each, by "),
        *(left.band_samples, " samples, are needed."),
    )


def registered(facts: Facts, model: str) -> list[Part]:
    """The first family: each pole less neutral."""
    poles = list(facts.headlines[model].contrasts)
    rows = [row(pole, *contrast(facts, f"net.{model}.{pole}").each()) for pole in poles]
    made = table(["registered: pole less neutral, over runs and topics", *TESTED], rows)
    if made:
        made.append(
            say(
                *("*Would have shown*: the smallest true effect that this study finds with a chance of "),
                *(facts.n("power"), ", at the level of its hardest test; a smaller one may have been missed."),
            )
        )
        more = [row(pole, *_numbers(facts, f"net.{model}.{pole}", MORE)) for pole in poles]
        least = prose("*At least*, *at most*: with all answers for neither side as stay, and as go.")
        made.append(Fold(prose("More of these contrasts"), (*table(["", *MORE.values()], more), Paragraph(least))))
    return made


def contrast(facts: Facts, at: str) -> Contrast:
    """The numbers of one contrast."""
    return Contrast(
        pairs=facts.n(f"{at}.pairs"),
        net=facts.n(at),
        holm=facts.n(f"{at}.holm"),
        flip=facts.n(f"{at}.flip"),
        proposes_go=facts.n(f"{at}.proposes.go"),
        proposes_stay=facts.n(f"{at}.proposes.stay"),
        detectable=facts.n(f"{at}.detectable"),
    )


def _numbers(facts: Facts, at: str, names: dict[str, str]) -> list[Said]:
    return [facts.n(f"{at}.{name}" if name else at) for name in names]


def second_family(facts: Facts, model: str) -> list[Part]:
    """Eager less cautious, and which pole moves more, corrected apart."""
    told = facts.headlines[model]
    names = {"pairs": "runs of an arm", "": "points", "holm": "p, Holm", "flip": "p, these topics only"}
    names["detectable"] = "would have shown"
    family = {
        "eager less cautious, net go": f"net.{model}.apart",
        "asymmetry: cautious moves more (+) or eager does (-)": f"asymmetry.{model}",
    }
    rows = [row(words, *_numbers(facts, at, names)) for words, at in family.items() if at in facts]
    made = table(["second family, over runs and topics", *names.values()], rows)
    if told.asymmetry:
        at = f"asymmetry.{model}"
        to_own = prose(facts.n(f"{at}.cautious"), "), less how far eager ones move to theirs (", facts.n(f"{at}.eager"))
        made.append(say("*Asymmetry*: how far cautious runs move from neutral to their side (", to_own, ")."))
    if told.apart is None and (at := f"contrast.{model}.eager-cautious") in facts:
        made.append(say("Eager less cautious, exploratory: ", facts.n(at), "."))
    return made


def shares(facts: Facts, model: str) -> list[Part]:
    """What each arm advised, the base asked for an attitude among them."""
    hard = f"netgo.{model}.{BASE}.hard" in facts
    arms = [BASE, *PROMPTED_ARMS, *facts.study.attitudes]
    rows = []
    for arm in arms:
        if (at := f"{model}.{arm}") and f"netgo.{at}.held-out" in facts:
            cells: list[Said] = [arm, facts.n(f"answers.{at}.held-out"), facts.n(f"netgo.{at}.held-out")]
            cells += [facts.n(f"said.{at}.held-out.{word}") for word in SAID]
            rows.append(row(*cells, *([facts.or_else(f"netgo.{at}.hard", "not asked")] if hard else [])))
    grey = is_unreliable(facts.book, ANSWER, model)
    net = "net go, unreliable" if grey else "net go"
    made = table(["arm", "answers", net, *SAID, *(["hard items"] if hard else [])], rows)
    made.append(
        say(
            "*By instruction*: the base, with the attitude in its system prompt. *By examples*: the base, with replies "
            "of that attitude to questions of the bank as earlier turns."
        )
    )
    if grey:
        means = "What is said of a mean over items has its own interval."
        made.append(say("*Unreliable*: which items move most is not the same in other runs. ", means))
    if hard:
        made.append(say("*Hard items* are long scenarios on the same topics: exploratory, in no test."))
    return made


def beside_labels(facts: Facts, model: str) -> list[Part]:
    """The reader, and both together, where labels are what is counted."""
    if f"reader.netgo.{model}.{BASE}" not in facts:
        return []
    rows = [
        row(arm, facts.n(f"netgo.{model}.{arm}.held-out"), facts.n(f"reader.netgo.{model}.{arm}"), "")
        for arm in facts.arms()
        if f"reader.netgo.{model}.{arm}" in facts
    ]
    for one, other in PAIRS:
        at = f"contrast.{model}.{one}-{other}"
        if f"powered.{at}" in facts:
            numbers = (facts.n(f"{way}.{at}") for way in ("labels", "reader", "powered"))
            rows.append(row(f"{one} less {other}", *numbers))
    head = ["held-out items, exploratory", "by labels", "by the reader, on the same answers", "both together"]
    return [
        say(
            *("Beside the labels of ", model_name(model), ", the reader. *Both together*: the reader on all answers, "),
            "samples too, put right by the labels of the greedy ones (a prediction-powered interval).",
        ),
        *table(head, rows),
    ]
