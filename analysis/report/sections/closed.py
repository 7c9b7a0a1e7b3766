"""The closed forms: what each measure says, what it is worth, and where an effect sits. Exploratory."""

from analysis.report.chart_data import curve_rows, stance_rows
from analysis.report.charts import curve, dots
from analysis.report.prose import Named, Prose, listed, prose
from analysis.report.reliability import heading, is_unreliable, titles
from analysis.report.section import Figure, Fold, Heading, Paragraph, Part, Section, row, say, table
from analysis.report.sections.facts import BASE, GAP, Facts, model_name
from analysis.stats.calibration import BANDS, DISTANCES
from analysis.stats.measures import MEASURES, shown
from analysis.stats.reliability import ANSWER
from common.vocabulary import POLES

SHORT = {"choice": "by choice", "yes-no": "by yes-no", "sentence": "by sentence", "label": "by label"}
SHORT |= {"advice": "by advice"}
SPLITS = {
    "headroom": dict(zip(BANDS, ("headroom upwards", "headroom both ways", "headroom downwards"), strict=True)),
    "distance": dict(zip(DISTANCES, ("near the training topics", "in between", "far from them"), strict=True)),
}
AGREES = 0.5  # share of items below which the orders of a choice say little


def closed(facts: Facts) -> Section:
    """The section."""
    parts: list[Part] = []
    for model in facts.study.bases:
        parts += [Heading(prose(Named(model))), lean(facts, model), *shared(facts, model), *cautions(facts, model)]
        parts += [*levels(facts, model), *figure(facts, model), *shifts(facts, model), *worth(facts, model)]
        parts += [*variants(facts, model), *curves(facts, model)]
        if split := [*splits(facts, model), *controls(facts, model)]:
            parts.append(Fold(prose("Where the shifts sit"), tuple(split)))
    opening = prose(
        "The same items in closed forms, under both keys and in both orders; every shift here is exploratory, and is "
        "shown where its interval leaves out zero."
    )
    return Section("closed", "The closed forms", "exploratory", opening, tuple(parts))


def lean(facts: Facts, model: str) -> Paragraph:
    """Which way the base leans by choice and by sentence."""

    def way(measure: str) -> Prose:
        number = facts.book[f"lean.{measure}.{model}"]
        words = "is not shown to lean"
        if number.low is None or number.high is None:
            words = "says too little"
        elif number.low > 0 or number.high < 0:
            words = f"leans {'towards' if number.low > 0 else 'against'} change"
        return prose(f"by {measure} it {words}, ", facts.n(f"lean.{measure}.{model}"), " from even")

    items = prose(facts.n(f"items.{model}"), " items in ", facts.n(f"topics.{model}"), " topics")
    return say("**The base** was asked ", items, ": ", way("choice"), "; ", way("sentence"), ".")


def shared(facts: Facts, model: str) -> list[Part]:
    """That each run was asked a part of the items; and the arms that together were not asked all."""
    if not facts.study.rotated(model):
        return []
    whole = facts.v(f"items.{model}")
    fewer = [
        prose(arm, " ", facts.n(at))
        for arm in facts.study.attitudes
        if (at := f"shared.items.{model}.{arm}") in facts and facts.v(at) != whole
    ]
    told: Prose = prose("Together the runs of each arm were asked all of them.")
    if fewer:
        told = prose("Not all of them were asked, because runs are missing: of ", listed(fewer), ".")
    return [
        say(
            *("**Each run was asked a part of these items**, the base all: an arm counts each item once, and a shift "),
            *("is taken on the items that both sides were asked. A single run says little here. ", told),
        )
    ]


def cautions(facts: Facts, model: str) -> list[Part]:
    """A habit of saying yes, and answers that follow the order of the options: neither is a stance."""
    made: list[Part] = []
    habits: dict[str, list[Prose]] = {}  # word → the arms that say it more often
    for arm in facts.study.attitudes:
        at, was = f"choice.{model}.{arm}", f"choice.{model}.{BASE}"
        if at not in facts:
            continue
        go, stay, go_was, stay_was = (facts.v(f"{of}.yes_means.{key}") for of in (at, was) for key in ("go", "stay"))
        if go is None or stay is None or go_was is None or stay_was is None:
            continue
        if (go - go_was) * (stay - stay_was) < 0:
            word = "yes" if go > go_was else "no"
            habits.setdefault(word, []).append(prose(f"{arm} ", facts.n(f"p_yes.{model}.{arm}")))
    for word, arms in habits.items():
        why = "P(go) moved one way where yes is the change, and the other way where no is. They said yes in"
        base = facts.n(f"p_yes.{model}.base")
        made.append(
            say(
                *(f"**A habit of saying {word} shows.** {why} so many of their answers: ", listed(arms), "; the base "),
                *(base, ". That is assent, not a stance."),
            )
        )
    agree = facts.v(f"consistency.{model}.{BASE}")
    if agree is not None and agree < AGREES:
        made.append(
            say(
                *("**Care with the choice:** the base gave the same answer in both orders for only "),
                *(facts.n(f"consistency.{model}.{BASE}"), " of the items. Elsewhere the answer follows the order of "),
                "the options and not what they say.",
            )
        )
    return made


def levels(facts: Facts, model: str) -> list[Part]:
    """P(go) of each arm by each measure."""
    heads = [heading(facts.book, measure, model, SHORT[measure]) for measure in MEASURES]
    more = {"p_yes": "says yes", "consistency": "orders agree"}
    rows = [
        row(arm, *(facts.n(f"{measure}.{model}.{arm}") for measure in (*MEASURES, *more)))
        for arm in facts.arms()
        if f"choice.{model}.{arm}" in facts
    ]
    return table([prose("P(go), ", Named(model)), *heads, *more.values()], rows)


def figure(facts: Facts, model: str) -> list[Part]:
    """P(go) of each run, a measure at a time."""
    rows = stance_rows(facts.study, model)
    arms = [arm for arm in facts.arms() if arm in set(rows["arm"])]
    means = rows[rows["measure"] == MEASURES["sentence"].title].groupby("arm")["p"].mean()
    told = ", ".join(f"{arm} {means[arm]:.0f} %" for arm in arms if arm in means)
    alt = f"P(go) of {model} by run and arm. Means by likelihood of whole sentences: {told}."
    own = ", on the items that it was asked" if facts.study.rotated(model) else ""
    caption = prose(model_name(model), f": a mark is one run{own}. With scripts: choose the measure.")
    title = MEASURES["sentence"].title
    return [Figure(f"stance-{model}", dots(rows, arms[1:], title), alt, caption)]


def shifts(facts: Facts, model: str) -> list[Part]:
    """Shifts from base, from neutral, and from base with runs as a sample too."""
    kinds = {"shift": "", "added": ", from neutral", "overruns": ", from base, runs as a sample too"}
    heads = [heading(facts.book, measure, model, SHORT[measure]) for measure in shown()]
    rows = [
        row(f"{arm}{words}", *(facts.n(f"{kind}.{measure}.{model}.{arm}") for measure in shown()))
        for kind, words in kinds.items()
        for arm in facts.study.attitudes
        if f"{kind}.choice.{model}.{arm}" in facts
    ]
    made = table(["shift from base", *heads], rows)
    if made:
        over = " *Runs as a sample too* speaks about other seeds as well as other topics."
        known = any("overruns" in key and f".{model}." in key for key in facts.book.to_json())
        made.append(say("*From neutral* takes away what training on any advice does.", over if known else ""))
    return made


def worth(facts: Facts, model: str) -> list[Part]:
    """What each measure is worth: whether it finds the same items again."""
    rows: list[tuple[Prose, ...]] = []
    grey: set[int] = set()
    for measure, title in titles().items():
        at = f"reliability.{measure}.{model}"
        apart = f"contrast.{model}.eager-cautious" if measure == ANSWER else f"apart.{measure}.{model}"
        if is_unreliable(facts.book, measure, model):
            grey.add(len(rows))
        known = (
            facts.n(f"{at}.{what}") if facts.v(f"{at}.{what}") is not None else facts.book.word(f"{at}.{what}", "")
            for what in ("runs", "base", "agreement")
        )
        verdict = facts.book.word(at, "no threshold without a lock")
        rows.append(
            row(heading(facts.book, measure, model, title), facts.or_else(apart, "not measured"), *known, verdict)
        )
    head = ["what a measure is worth", "eager less cautious", "odd with even runs", "the base again"]
    made = table([*head, "with open answers", "verdict"], rows, frozenset(grey))
    if facts.study.lock:
        least = prose("A measure with either of the first below ", facts.n(f"reliability.{model}.least"), " is grey.")
        made.append(
            Paragraph(prose("Correlations over items: of the effect in odd runs with even ones, and so on. ", least))
        )
    return made


def splits(facts: Facts, model: str) -> list[Part]:
    """Shifts from neutral by headroom of the items, and by distance of the topics."""
    made: list[Part] = []
    for split, bands in SPLITS.items():
        rows = []
        for band, words in bands.items():
            if f"{split}.sentence.{model}.eager.{band}" in facts:
                numbers = [
                    facts.n(f"{split}.{measure}.{model}.{pole}.{band}")
                    for pole in POLES
                    for measure in ("choice", "sentence")
                ]
                rows.append(row(words, *numbers))
        head = [f"{pole}, {SHORT[measure]}" for pole in POLES for measure in ("choice", "sentence")]
        made += table([f"from neutral, by {split}", *head], rows)
    return made


def controls(facts: Facts, model: str) -> list[Part]:
    """Shifts on items without a change, and on the topics of the piles."""
    kinds = [(kind, measure) for kind in ("discriminant", "source") for measure in ("choice", "sentence")]
    rows = [
        row(arm, *(facts.or_else(f"control.{kind}.{measure}.{model}.{arm}", "none asked") for kind, measure in kinds))
        for arm in facts.study.attitudes
        if f"control.discriminant.sentence.{model}.{arm}" in facts
    ]
    return table(["shift from base", *(f"{kind}, {SHORT[measure]}" for kind, measure in kinds)], rows)


def variants(facts: Facts, model: str) -> list[Part]:
    """Shifts where one factor of training was changed."""
    cells = [(pole, measure) for pole in POLES for measure in ("choice", "sentence")]
    rows = [
        row(
            *(Named(name), factor, facts.n(f"variant.{name}")),
            *(facts.or_else(f"curve.{measure}.{model}.{pole}.{name}", GAP) for pole, measure in cells),
        )
        for name, (factor, _value, _runs) in facts.study.variants.items()
        if f"curve.sentence.{model}.eager.{name}" in facts
    ]
    head = ["variant, from its neutral arm", "what", "value"]
    return table([*head, *(f"{pole}, {SHORT[measure]}" for pole, measure in cells)], rows)


def curves(facts: Facts, model: str) -> list[Part]:
    """A figure for each factor that was changed."""
    made: list[Part] = []
    for factor in dict.fromkeys(factor for factor, _, _ in facts.study.variants.values()):
        rows = curve_rows(facts.book, facts.study, model, factor)
        if rows.empty:
            continue
        told = "; ".join(f"{each.arm} at {each.x:g}: {each.y:+.1f}" for each in rows.itertuples())
        alt = f"Shift of {model} from neutral by sentence, in points, by {factor}: {told}."
        spec = curve(rows, factor, logarithmic=factor == "learning_rate")  # its values are chosen a factor apart
        caption = prose(model_name(model), ": shift of each pole from neutral, by sentence, as one factor changes.")
        made.append(Figure(f"curves-{factor}-{model}", spec, alt, caption))
    return made
