"""The numbers behind what is said of the inside of a model: by direction, by arm, by push and by run."""

from dataclasses import dataclass

from analysis.report.bound_numbers import Shown
from analysis.report.inside import PARTS
from analysis.report.prose import Named, Prose, prose
from analysis.report.representation import NULLS, TESTS
from analysis.report.section import Bullets, Heading, Part, row, say, table
from analysis.report.sections.facts import Facts, Numbers
from common.vocabulary import POLES

PROBED = (
    *("can caution be told from eagerness? AUC on topics that chose nothing", "residuals", "bag of words"),
    *("mean embedding", "length", "rarely exceeded with shuffled labels, by residuals", "by words"),
)


@dataclass(frozen=True)
class Direction(Numbers):
    """Where a direction is read, what a push there does, and what controls show."""

    place: str
    layer: Shown
    layers: Shown
    causal: Shown  # what a push moves cautious against eager replies by
    separation: Shown  # paired, on the third part of the topics
    user_accuracy: Shown  # from the user's turn alone; not known where it was not worked out
    shuffled_accuracy: Shown  # what directions from shuffled poles rarely exceed; the same


@dataclass(frozen=True)
class Probes(Numbers):
    """How well the poles are told apart, in the order of the columns PROBED."""

    residual: Shown
    words: Shown
    embeddings: Shown
    length: Shown
    residual_shuffled: Shown
    words_shuffled: Shown


@dataclass(frozen=True)
class AgainstNeutral(Numbers):
    """How far an arm lies from neutral along the direction, over runs and topics."""

    along: Shown
    flip: Shown  # p of exact sign flips


@dataclass(frozen=True)
class SecondVector(Numbers):
    """How often a second vector ranks the cautious reply higher."""

    higher: Shown


@dataclass(frozen=True)
class FromBase(Numbers):
    """Where the runs of an arm end along the direction."""

    end: Shown


@dataclass(frozen=True)
class Alike(Numbers):
    """How alike the seeds of an arm moved in a draw."""

    cosine: Shown  # mean
    direction: Shown  # cosine of what moved with the direction


@dataclass(frozen=True)
class Checks(Numbers):
    """How many checks of the instruments passed."""

    passed: Shown
    checks: Shown


@dataclass(frozen=True)
class Control(Numbers):
    """What the steering control does."""

    off_target_kl: Shown
    margin: Shown
    p: Shown


@dataclass(frozen=True)
class Push(Numbers):
    """The effect of one push, in the order of the columns."""

    off_target_kl: Shown
    effect: Shown
    even: Shown  # the same for both signs
    ranks: tuple[Shown, ...]  # p, for each kind of NULLS
    detectable: Shown


@dataclass(frozen=True)
class Tried(Numbers):
    """What else was tried at the largest push, in the order of the columns."""

    effect: Shown
    p: Shown
    detectable: Shown
    questions: Shown


@dataclass(frozen=True)
class Ranked(Numbers):
    """A share of a run's shift, or of what was written, with its rank among random directions."""

    share: Shown
    p: Shown


@dataclass(frozen=True)
class OfRun(Numbers):
    """What of a run's shift goes through the direction."""

    cell: str
    gap: Shown
    parts: tuple[Ranked, ...]  # for each of PARTS
    written: Ranked


@dataclass(frozen=True)
class OfPole(Numbers):
    """What of a pole's shift goes through the direction, over runs and topics."""

    pole: str
    runs: Shown
    gap: Shown
    parts: tuple[Shown, ...]  # share of it, for each of PARTS; not known where the shift itself is not shown


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
    mine = [place for place in facts.study.layers if place.startswith(f"{model}.")]
    return [say(read_at(direction(facts, place))) for place in mine]


def direction(facts: Facts, place: str) -> Direction:
    """The numbers of one direction."""
    return Direction(
        place,
        layer=facts.n(f"layer.{place}"),
        layers=facts.n(f"layers.{place}"),
        causal=facts.n(f"causal.{place}"),
        separation=facts.n(f"separation.{place}"),
        user_accuracy=facts.n(f"user_accuracy.{place}"),
        shuffled_accuracy=facts.n(f"shuffled_accuracy_95.{place}"),
    )


def read_at(found: Direction) -> Prose:
    """Where a direction is read, and what it is worth there."""
    told = prose(
        *(Named(found.place), " is read at layer ", found.layer, " of ", found.layers),
        *(", where a push moves cautious against eager replies by ", found.causal, ", on topics that "),
        *("made no direction. On the third part of the topics its paired separation is ", found.separation, "."),
    )
    if found.user_accuracy.number.value is None or found.shuffled_accuracy.number.value is None:
        return told
    return prose(
        *(told, " Controls: from the user's turn alone, ", found.user_accuracy, " (chance is even odds); "),
        *("directions from shuffled poles rarely exceed ", found.shuffled_accuracy, "."),
    )


def probes(facts: Facts, model: str) -> list[Part]:
    """Whether the poles can be told apart with and without looking inside."""
    rows = [
        row(Named(place), *probed(facts, f"probe.{place}").each())
        for place in facts.study.layers
        if place.startswith(f"{model}.") and f"probe.{place}.residual" in facts
    ]
    return table(PROBED, rows)


def probed(facts: Facts, at: str) -> Probes:
    """The numbers of one direction's probes."""
    return Probes(
        residual=facts.n(f"{at}.residual"),
        words=facts.n(f"{at}.words"),
        embeddings=facts.n(f"{at}.embeddings"),
        length=facts.n(f"{at}.length"),
        residual_shuffled=facts.n(f"{at}.residual.shuffled"),
        words_shuffled=facts.n(f"{at}.words.shuffled"),
    )


def arms(facts: Facts, model: str) -> list[Part]:
    """How each arm moved: against neutral over runs and topics, as a second vector, from the base, and how alike."""
    poles = facts.study.attitudes_read
    points = [
        against_neutral(pole, AgainstNeutral(along=facts.n(at), flip=facts.n(f"{at}.flip")))
        for pole in poles
        if (at := f"driftcontrast.{model}.{pole}") in facts
    ]
    points += [
        second_vector(pole, SecondVector(higher=facts.n(at)))
        for pole in poles
        if (at := f"second.{model}.{pole}") in facts
    ]
    points += [from_base(arm, FromBase(end=facts.n(at))) for arm in poles if (at := f"drift.{model}.{arm}") in facts]
    draws = dict.fromkeys((run.draw, run.attitude) for run in facts.study.runs if run.model == model)
    points += [
        moved_alike(f"d{draw}", arm, Alike(cosine=facts.n(at), direction=facts.n(f"{at}.direction")))
        for draw, arm in draws
        if (at := f"agree.{model}.d{draw}.{arm}") in facts
    ]
    return [Bullets(tuple(points))] if points else []


def against_neutral(pole: str, found: AgainstNeutral) -> Prose:
    """How far an arm lies from neutral."""
    lies = (f"Against neutral, {pole} lies ", found.along, " along the direction, over runs and topics; ")
    return prose(*lies, "exact sign flips p ", found.flip, ".")


def second_vector(pole: str, found: SecondVector) -> Prose:
    """What the way that an arm moved tells of replies."""
    where = f"A second vector, where {pole} runs moved against neutral at reply tokens, ranks the cautious reply "
    return prose(where, "higher in ", found.higher, " of pairs.")


def from_base(arm: str, found: FromBase) -> Prose:
    """Where an arm ends."""
    return prose(f"From the base, {arm} runs end at ", found.end, " along it (up is cautious).")


def moved_alike(draw: str, arm: str, found: Alike) -> Prose:
    """How alike the seeds of an arm moved."""
    alike = ("Draw ", Named(draw), f", {arm}: seeds moved alike (mean cosine ", found.cosine, ")")
    return prose(*alike, "; cosine of what moved with the direction ", found.direction, ".")


def selftests(facts: Facts, model: str) -> list[Part]:
    """How many checks of the instruments passed, by direction."""
    return [
        tested_first(place, Checks(passed=facts.n(f"{at}.passed"), checks=facts.n(f"{at}.checks")))
        for place in facts.study.selftests
        if place.startswith(f"{model}.") and (at := f"selftest.{place}")
    ]


def tested_first(place: str, found: Checks) -> Part:
    """How many checks passed on one direction."""
    where = ("The instruments were tested first on ", Named(place), ", on planted fine-tunes too: ")
    return say(*where, found.passed, " of ", found.checks, " checks passed.")


def pushes(facts: Facts, place: str) -> list[Part]:
    """The steering control, the effect of each push beside each kind of null, and what else was tried."""
    steered = facts.study.steering[place][0]
    if not steered.measured:
        return []
    at = f"control.{place}"
    control = Control(off_target_kl=facts.n(f"{at}.off_target_kl"), margin=facts.n(at), p=facts.n(f"{at}.p"))
    head = ["off-target KL, nats a token", "effect along the direction, for the change", "same for both signs"]
    head += [f"p, {words}" for words in NULLS.values()]
    rows = [row(*push(facts, f"steer.{place}.{number}").each()) for number in range(len(steered.levels))]
    return [it_steers(place, control), *table([*head, "would have shown"], rows), *_tried(facts, place)]


def it_steers(place: str, control: Control) -> Part:
    """That the steering control shows something."""
    return say(
        *("Steering control in ", Named(place), ": along *pleased less displeased*, at an off-target KL of "),
        *(control.off_target_kl, " nats a token on neutral text, the margin between a pleased and a "),
        *("displeased reply moves by ", control.margin, ", rank p ", control.p, ": it steers, so an effect of "),
        "that size would be seen.",
    )


def push(facts: Facts, at: str) -> Push:
    """The numbers of one push."""
    return Push(
        off_target_kl=facts.n(f"{at}.off_target_kl"),
        effect=facts.n(at),
        even=facts.n(f"{at}.even"),
        ranks=tuple(facts.n(f"{at}.{kind}.p") for kind in NULLS),
        detectable=facts.n(f"{at}.detectable"),
    )


def tried(facts: Facts, at: str) -> Tried:
    """The numbers of one thing that was tried."""
    return Tried(
        effect=facts.n(at),
        p=facts.n(f"{at}.p"),
        detectable=facts.n(f"{at}.detectable"),
        questions=facts.n(f"{at}.questions"),
    )


def _tried(facts: Facts, place: str) -> list[Part]:
    rows = [
        row(words, *tried(facts, at).each())
        for name, (words, _) in TESTS.items()
        if (at := f"steer.{place}.{name}") in facts
    ]
    what = "at the largest off-target KL, beside nulls of the same covariance"
    return table([what, "effect", "p", "would have shown", "questions"], rows)


def traces(facts: Facts, model: str) -> list[Part]:
    """What of each traced run's shift from neutral goes through the direction, and of a pole's runs together."""
    runs = [run.cell for run in facts.study.arm_order(model) if run.trace is not None]
    rows = [run_row(of_run(facts, cell)) for cell in runs]
    poles = [pole for pole in POLES if f"mediated.{model}.{pole}.gap" in facts] if rows else []
    rows += [pole_row(of_pole(facts, model, pole)) for pole in poles]
    head = ["what of a pole's shift from neutral goes through the direction", "shift of the margin", *PARTS.values()]
    made = table([*head, "of what both adapters write"], rows)
    note = say(
        "Shares of the shift with intervals over topics; undefined where the shift itself is not shown. p is the rank "
        "among random directions of the same covariance."
    )
    return [*made, note] if made else []


def of_run(facts: Facts, cell: str) -> OfRun:
    """The numbers of one traced run."""
    at = f"trace.{cell}"

    def ranked(what: str) -> Ranked:
        return Ranked(share=facts.n(f"{at}.{what}"), p=facts.n(f"{at}.{what}.p"))

    return OfRun(cell, facts.n(f"{at}.gap"), tuple(ranked(part) for part in PARTS), ranked("weights"))


def run_row(found: OfRun) -> tuple[Prose, ...]:
    """One run in a line."""
    shares = [prose(_share(part.share), ", p ", part.p) for part in found.parts]
    written = prose(found.written.share, ", p ", found.written.p)
    return row(Named(found.cell), found.gap, *shares, written)


def of_pole(facts: Facts, model: str, pole: str) -> OfPole:
    """The numbers of a pole's runs together."""
    at = f"mediated.{model}.{pole}"
    shares = tuple(facts.n(f"{at}.{part}") for part in PARTS)
    return OfPole(pole, runs=facts.n(f"{at}.runs"), gap=facts.n(f"{at}.gap"), parts=shares)


def pole_row(found: OfPole) -> tuple[Prose, ...]:
    """The runs of a pole in a line."""
    name = prose(f"{found.pole}, over ", found.runs, " runs and topics")
    return row(name, found.gap, *(_share(part) for part in found.parts), "")


def _share(share: Shown) -> Shown | str:
    return "undefined" if share.number.value is None else share
