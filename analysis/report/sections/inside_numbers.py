"""The numbers behind what is said of the inside of a model: by direction, by arm, by push and by run."""

from analysis.report.inside import PARTS
from analysis.report.prose import Named, Prose, prose
from analysis.report.representation import NULLS, TESTS
from analysis.report.section import Bullets, Heading, Part, row, say, table
from analysis.report.sections.facts import Facts
from common.vocabulary import POLES

PROBES = ("residual", "words", "embeddings", "length")  # what tells the poles apart, in the order of the table
PROBED = (
    *("can caution be told from eagerness? AUC on topics that chose nothing", "residuals", "bag of words"),
    *("mean embedding", "length", "rarely exceeded with shuffled labels, by residuals", "by words"),
)


def behind(facts: Facts, model: str) -> list[Part]:
    """All of them."""
    places = [place for place in facts.study.steering if place.startswith(f"{model}.")]
    parts = [
        *(*directions(facts, model), *probes(facts, model), *arms(facts, model), *selftests(facts, model)),
        *(part for place in places for part in pushes(facts, place)),
        *traces(facts, model),
    ]
    return [Heading(prose("The numbers behind it"), level=4), *parts] if parts else []


def directions(facts: Facts, model: str) -> list[Part]:
    """At which layer each direction is read, what a push there does, and what controls show."""
    return [say(_direction(facts, place)) for place in facts.study.layers if place.startswith(f"{model}.")]


def _direction(facts: Facts, place: str) -> Prose:
    told = prose(
        *(Named(place), " is read at layer ", facts.n(f"layer.{place}"), " of ", facts.n(f"layers.{place}")),
        *(", where a push moves cautious against eager replies by ", facts.n(f"causal.{place}"), ", on topics that "),
        "made no direction. On the third part of the topics its paired separation is ",
        *(facts.n(f"separation.{place}"), "."),
    )
    if facts.v(f"user_accuracy.{place}") is None or facts.v(f"shuffled_accuracy_95.{place}") is None:
        return told
    return prose(
        *(
            told,
            " Controls: from the user's turn alone, ",
            facts.n(f"user_accuracy.{place}"),
            " (chance is even odds); ",
        ),
        *("directions from shuffled poles rarely exceed ", facts.n(f"shuffled_accuracy_95.{place}"), "."),
    )


def probes(facts: Facts, model: str) -> list[Part]:
    """Whether the poles can be told apart with and without looking inside."""
    rows = []
    for place in facts.study.layers:
        at = f"probe.{place}"
        if place.startswith(f"{model}.") and f"{at}.residual" in facts:
            aucs = [facts.n(f"{at}.{name}") for name in PROBES]
            rows.append(row(Named(place), *aucs, *(facts.n(f"{at}.{name}.shuffled") for name in PROBES[:2])))
    return table(PROBED, rows)


def arms(facts: Facts, model: str) -> list[Part]:
    """How each arm moved: against neutral over runs and topics, as a second vector, from the base, and how alike."""
    points = [point for pole in facts.study.attitudes_read for point in _against_neutral(facts, model, pole)]
    points += [point for pole in facts.study.attitudes_read for point in _second(facts, model, pole)]
    points += [point for arm in facts.study.attitudes_read for point in _from_base(facts, model, arm)]
    for draw, arm in dict.fromkeys((run.draw, run.attitude) for run in facts.study.runs if run.model == model):
        points += _alike(facts, f"d{draw}", arm, f"agree.{model}.d{draw}.{arm}")
    return [Bullets(tuple(points))] if points else []


def _against_neutral(facts: Facts, model: str, pole: str) -> list[Prose]:
    at = f"driftcontrast.{model}.{pole}"
    if at not in facts:
        return []
    flips = ("exact sign flips p ", facts.n(f"{at}.flip"), ".")
    return [
        prose(f"Against neutral, {pole} lies ", facts.n(at), " along the direction, over runs and topics; ", *flips)
    ]


def _second(facts: Facts, model: str, pole: str) -> list[Prose]:
    at = f"second.{model}.{pole}"
    if at not in facts:
        return []
    where = f"A second vector, where {pole} runs moved against neutral at reply tokens, ranks the cautious reply "
    return [prose(where, "higher in ", facts.n(at), " of pairs.")]


def _from_base(facts: Facts, model: str, arm: str) -> list[Prose]:
    at = f"drift.{model}.{arm}"
    if at not in facts:
        return []
    return [prose(f"From the base, {arm} runs end at ", facts.n(at), " along it (up is cautious).")]


def _alike(facts: Facts, draw: str, arm: str, at: str) -> list[Prose]:
    if at not in facts:
        return []
    cosine = ("; cosine of what moved with the direction ", facts.n(f"{at}.direction"), ".")
    return [prose("Draw ", Named(draw), f", {arm}: seeds moved alike (mean cosine ", facts.n(at), ")", *cosine)]


def selftests(facts: Facts, model: str) -> list[Part]:
    """How many checks of the instruments passed, by direction."""
    return [
        say(
            *("The instruments were tested first on ", Named(place), ", on planted fine-tunes too: "),
            *(facts.n(f"selftest.{place}.passed"), " of ", facts.n(f"selftest.{place}.checks"), " checks passed."),
        )
        for place in facts.study.selftests
        if place.startswith(f"{model}.")
    ]


def pushes(facts: Facts, place: str) -> list[Part]:
    """The steering control, the effect of each push beside each kind of null, and what else was tried."""
    steered = facts.study.steering[place][0]
    if not steered.measured:
        return []
    at = f"control.{place}"
    control = say(
        *("Steering control in ", Named(place), ": along *pleased less displeased*, at an off-target KL of "),
        *(facts.n(f"{at}.off_target_kl"), " nats a token on neutral text, the margin between a pleased and a "),
        *("displeased reply moves by ", facts.n(at), ", rank p ", facts.n(f"{at}.p"), ": it steers, so an effect of "),
        "that size would be seen.",
    )
    head = ["off-target KL, nats a token", "effect along the direction, for the change", "same for both signs"]
    head += [f"p, {words}" for words in NULLS.values()]
    rows = [_level(facts, f"steer.{place}.{number}") for number in range(len(steered.levels))]
    return [control, *table([*head, "would have shown"], rows), *_tried(facts, place)]


def _level(facts: Facts, at: str) -> tuple[Prose, ...]:
    ranks = [facts.n(f"{at}.{kind}.p") for kind in NULLS]
    return row(
        *(facts.n(name) for name in (f"{at}.off_target_kl", at, f"{at}.even")), *ranks, facts.n(f"{at}.detectable")
    )


def _tried(facts: Facts, place: str) -> list[Part]:
    rows = []
    for name, (words, _) in TESTS.items():
        at = f"steer.{place}.{name}"
        if at in facts:
            found = (facts.n(each) for each in (at, f"{at}.p", f"{at}.detectable", f"{at}.questions"))
            rows.append(row(words, *found))
    what = "at the largest off-target KL, beside nulls of the same covariance"
    return table([what, "effect", "p", "would have shown", "questions"], rows)


def traces(facts: Facts, model: str) -> list[Part]:
    """What of each traced run's shift from neutral goes through the direction, and of a pole's runs together."""
    runs = [run.cell for run in facts.study.arm_order(model) if run.trace is not None]
    rows = [_trace(facts, cell, f"trace.{cell}") for cell in runs]
    for pole in POLES if rows else ():
        at = f"mediated.{model}.{pole}"
        if f"{at}.gap" in facts:
            shares = [_share(facts, f"{at}.{part}") for part in PARTS]
            name = prose(f"{pole}, over ", facts.n(f"{at}.runs"), " runs and topics")
            rows.append(row(name, facts.n(f"{at}.gap"), *shares, ""))
    head = ["what of a pole's shift from neutral goes through the direction", "shift of the margin", *PARTS.values()]
    made = table([*head, "of what both adapters write"], rows)
    note = say(
        "Shares of the shift with intervals over topics; undefined where the shift itself is not shown. p is the rank "
        "among random directions of the same covariance."
    )
    return [*made, note] if made else []


def _trace(facts: Facts, cell: str, at: str) -> tuple[Prose, ...]:
    shares = [prose(_share(facts, f"{at}.{part}"), ", p ", facts.n(f"{at}.{part}.p")) for part in PARTS]
    written = prose(facts.n(f"{at}.weights"), ", p ", facts.n(f"{at}.weights.p"))
    return row(Named(cell), facts.n(f"{at}.gap"), *shares, written)


def _share(facts: Facts, at: str) -> Prose:
    return prose("undefined" if facts.v(at) is None else facts.n(at))
