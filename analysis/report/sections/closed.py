"""The closed forms: what each measure says, what it is worth, and where an effect sits. Exploratory."""

from analysis.report.bound_numbers import Shown
from analysis.report.chart_data import curve_rows, stance_rows
from analysis.report.charts import curve, dots
from analysis.report.prose import Named, Prose, listed, prose
from analysis.report.reliability import heading, is_unreliable, titles
from analysis.report.section import Figure, Fold, Heading, Paragraph, Part, Section, row, say, table
from analysis.report.sections.closed_numbers import (
    Band,
    BaseLean,
    Habit,
    Levels,
    OnControls,
    Orders,
    Parts,
    Shifts,
    Threshold,
    Varied,
    Worth,
)
from analysis.report.sections.facts import BASE, GAP, Facts, OfArm, model_name
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
BY_POLE = tuple(f"{pole}, {SHORT[measure]}" for pole in POLES for measure in ("choice", "sentence"))
AGREES = 0.5  # share of items below which the orders of a choice say little
SHIFTS = {"shift": "", "added": ", from neutral", "overruns": ", from base, runs as a sample too"}
NONE_ASKED = "none asked"


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
    found = BaseLean(
        items=facts.n(f"items.{model}"),
        topics=facts.n(f"topics.{model}"),
        choice=facts.n(f"lean.choice.{model}"),
        sentence=facts.n(f"lean.sentence.{model}"),
    )
    return leaning(found)


def leaning(found: BaseLean) -> Paragraph:
    """Which way the base leans, by the interval of each measure."""

    def way(measure: str, lean: Shown) -> Prose:
        low, high = lean.number.low, lean.number.high
        words = "is not shown to lean"
        if low is None or high is None:
            words = "says too little"
        elif low > 0 or high < 0:
            words = f"leans {'towards' if low > 0 else 'against'} change"
        return prose(f"by {measure} it {words}, ", lean, " from even")

    items = prose(found.items, " items in ", found.topics, " topics")
    ways = (way("choice", found.choice), "; ", way("sentence", found.sentence))
    return say("**The base** was asked ", items, ": ", *ways, ".")


def shared(facts: Facts, model: str) -> list[Part]:
    """That each run was asked a part of the items; and the arms that together were not asked all."""
    if not facts.study.rotated(model):
        return []
    whole = facts.v(f"items.{model}")
    fewer = tuple(
        OfArm(arm, facts.n(at))
        for arm in facts.study.attitudes
        if (at := f"shared.items.{model}.{arm}") in facts and facts.v(at) != whole
    )
    return [in_parts(Parts(fewer))]


def in_parts(asked: Parts) -> Part:
    """That runs share the items out, and what that leaves out."""
    told: Prose = prose("Together the runs of each arm were asked all of them.")
    if asked.fewer:
        fewer = listed([each.told() for each in asked.fewer])
        told = prose("Not all of them were asked, because runs are missing: of ", fewer, ".")
    return say(
        *("**Each run was asked a part of these items**, the base all: an arm counts each item once, and a shift "),
        *("is taken on the items that both sides were asked. A single run says little here. ", told),
    )


def cautions(facts: Facts, model: str) -> list[Part]:
    """A habit of saying yes, and answers that follow the order of the options: neither is a stance."""
    made = [assent(habit) for habit in habits(facts, model)]
    agree = facts.v(f"consistency.{model}.{BASE}")
    if agree is not None and agree < AGREES:
        made.append(by_order(Orders(agree=facts.n(f"consistency.{model}.{BASE}"))))
    return made


def habits(facts: Facts, model: str) -> list[Habit]:
    """Each word that arms say more often than the base, under both keys."""
    found: dict[str, list[OfArm]] = {}  # word → the arms that say it more often
    for arm in facts.study.attitudes:
        at, was = f"choice.{model}.{arm}", f"choice.{model}.{BASE}"
        if at not in facts:
            continue
        go, stay, go_was, stay_was = (facts.v(f"{of}.yes_means.{key}") for of in (at, was) for key in ("go", "stay"))
        if go is None or stay is None or go_was is None or stay_was is None:
            continue
        if (go - go_was) * (stay - stay_was) < 0:
            word = "yes" if go > go_was else "no"
            found.setdefault(word, []).append(OfArm(arm, facts.n(f"p_yes.{model}.{arm}")))
    return [Habit(word, tuple(arms), base=facts.n(f"p_yes.{model}.{BASE}")) for word, arms in found.items()]


def assent(habit: Habit) -> Part:
    """That a word is said whichever side it stands for."""
    why = "P(go) moved one way where yes is the change, and the other way where no is. They said yes in"
    arms = listed([each.told() for each in habit.said_yes])
    return say(
        *(f"**A habit of saying {habit.word} shows.** {why} so many of their answers: ", arms, "; the base "),
        *(habit.base, ". That is assent, not a stance."),
    )


def by_order(orders: Orders) -> Part:
    """That the base follows the order of the options."""
    return say(
        *("**Care with the choice:** the base gave the same answer in both orders for only ", orders.agree),
        " of the items. Elsewhere the answer follows the order of the options and not what they say.",
    )


def levels(facts: Facts, model: str) -> list[Part]:
    """P(go) of each arm by each measure."""
    heads = [heading(facts.book, measure, model, SHORT[measure]) for measure in MEASURES]
    rows = [
        row(arm, *levels_of(facts, f"{model}.{arm}").each()) for arm in facts.arms() if f"choice.{model}.{arm}" in facts
    ]
    return table([prose("P(go), ", Named(model)), *heads, "says yes", "orders agree"], rows)


def levels_of(facts: Facts, arm: str) -> Levels:
    """The numbers of one arm."""
    return Levels(
        measures=tuple(facts.n(f"{measure}.{arm}") for measure in MEASURES),
        says_yes=facts.n(f"p_yes.{arm}"),
        orders_agree=facts.n(f"consistency.{arm}"),
    )


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
    heads = [heading(facts.book, measure, model, SHORT[measure]) for measure in shown()]
    rows = [
        row(f"{arm}{words}", *shifts_of(facts, kind, f"{model}.{arm}").each())
        for kind, words in SHIFTS.items()
        for arm in facts.study.attitudes
        if f"{kind}.choice.{model}.{arm}" in facts
    ]
    made = table(["shift from base", *heads], rows)
    if made:
        over = " *Runs as a sample too* speaks about other seeds as well as other topics."
        known = any("overruns" in key and f".{model}." in key for key in facts.book.to_json())
        made.append(say("*From neutral* takes away what training on any advice does.", over if known else ""))
    return made


def shifts_of(facts: Facts, kind: str, arm: str) -> Shifts:
    """One kind of shift of an arm."""
    return Shifts(measures=tuple(facts.n(f"{kind}.{measure}.{arm}") for measure in shown()))


def worth(facts: Facts, model: str) -> list[Part]:
    """What each measure is worth: whether it finds the same items again."""
    rows: list[tuple[Prose, ...]] = []
    grey: set[int] = set()
    for measure, title in titles().items():
        if is_unreliable(facts.book, measure, model):
            grey.add(len(rows))
        rows.append(worth_row(heading(facts.book, measure, model, title), worth_of(facts, measure, model)))
    head = ["what a measure is worth", "eager less cautious", "odd with even runs", "the base again"]
    made = table([*head, "with open answers", "verdict"], rows, frozenset(grey))
    if facts.study.lock:
        made.append(greyed(Threshold(least=facts.n(f"reliability.{model}.least"))))
    return made


def worth_of(facts: Facts, measure: str, model: str) -> Worth:
    """What one measure is worth on a model."""
    at = f"reliability.{measure}.{model}"
    apart = f"contrast.{model}.eager-cautious" if measure == ANSWER else f"apart.{measure}.{model}"

    def known(what: str) -> Shown | str:
        name = f"{at}.{what}"
        return facts.n(name) if facts.v(name) is not None else facts.book.word(name, "")

    return Worth(
        apart=facts.or_else(apart, "not measured"),
        runs=known("runs"),
        base=known("base"),
        agreement=known("agreement"),
        verdict=facts.book.word(at, "no threshold without a lock"),
    )


def worth_row(title: str, found: Worth) -> tuple[Prose, ...]:
    """One measure in a line."""
    return row(title, found.apart, found.runs, found.base, found.agreement, found.verdict)


def greyed(threshold: Threshold) -> Part:
    """What the correlations are, and which measures are grey."""
    least = prose("A measure with either of the first below ", threshold.least, " is grey.")
    return say("Correlations over items: of the effect in odd runs with even ones, and so on. ", least)


def splits(facts: Facts, model: str) -> list[Part]:
    """Shifts from neutral by headroom of the items, and by distance of the topics."""
    made: list[Part] = []
    for split, bands in SPLITS.items():
        rows = [
            row(words, *band_of(facts, split, model, band).each())
            for band, words in bands.items()
            if f"{split}.sentence.{model}.eager.{band}" in facts
        ]
        made += table([f"from neutral, by {split}", *BY_POLE], rows)
    return made


def band_of(facts: Facts, split: str, model: str, band: str) -> Band:
    """The numbers of one band."""
    return Band(
        cautious_choice=facts.n(f"{split}.choice.{model}.cautious.{band}"),
        cautious_sentence=facts.n(f"{split}.sentence.{model}.cautious.{band}"),
        eager_choice=facts.n(f"{split}.choice.{model}.eager.{band}"),
        eager_sentence=facts.n(f"{split}.sentence.{model}.eager.{band}"),
    )


def controls(facts: Facts, model: str) -> list[Part]:
    """Shifts on items without a change, and on the topics of the piles."""
    kinds = [(kind, measure) for kind in ("discriminant", "source") for measure in ("choice", "sentence")]
    rows = [
        control_row(arm, on_controls(facts, f"{model}.{arm}"))
        for arm in facts.study.attitudes
        if f"control.discriminant.sentence.{model}.{arm}" in facts
    ]
    return table(["shift from base", *(f"{kind}, {SHORT[measure]}" for kind, measure in kinds)], rows)


def on_controls(facts: Facts, arm: str) -> OnControls:
    """The numbers of one arm."""
    return OnControls(
        discriminant_choice=facts.or_else(f"control.discriminant.choice.{arm}", NONE_ASKED),
        discriminant_sentence=facts.or_else(f"control.discriminant.sentence.{arm}", NONE_ASKED),
        source_choice=facts.or_else(f"control.source.choice.{arm}", NONE_ASKED),
        source_sentence=facts.or_else(f"control.source.sentence.{arm}", NONE_ASKED),
    )


def control_row(arm: str, found: OnControls) -> tuple[Prose, ...]:
    """One arm in a line."""
    discriminant = (found.discriminant_choice, found.discriminant_sentence)
    return row(arm, *discriminant, found.source_choice, found.source_sentence)


def variants(facts: Facts, model: str) -> list[Part]:
    """Shifts where one factor of training was changed."""
    rows = [
        variant_row(varied(facts, model, name, factor))
        for name, (factor, _value, _runs) in facts.study.variants.items()
        if f"curve.sentence.{model}.eager.{name}" in facts
    ]
    head = ["variant, from its neutral arm", "what", "value"]
    return table([*head, *BY_POLE], rows)


def varied(facts: Facts, model: str, name: str, factor: str) -> Varied:
    """The numbers of one variant."""
    return Varied(
        name,
        factor,
        value=facts.n(f"variant.{name}"),
        cautious_choice=facts.or_else(f"curve.choice.{model}.cautious.{name}", GAP),
        cautious_sentence=facts.or_else(f"curve.sentence.{model}.cautious.{name}", GAP),
        eager_choice=facts.or_else(f"curve.choice.{model}.eager.{name}", GAP),
        eager_sentence=facts.or_else(f"curve.sentence.{model}.eager.{name}", GAP),
    )


def variant_row(made: Varied) -> tuple[Prose, ...]:
    """One variant in a line."""
    cautious, eager = (made.cautious_choice, made.cautious_sentence), (made.eager_choice, made.eager_sentence)
    return row(Named(made.name), made.factor, made.value, *cautious, *eager)


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
