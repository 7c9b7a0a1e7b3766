"""Inside the models: what was read in the base, what moved in the fine-tunes, and what causes anything."""

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.report.bound_numbers import Shown
from analysis.report.inside import PLACES, mediated
from analysis.report.prose import Named, Prose, prose
from analysis.report.section import Bullets, Heading, Part, Section, say
from analysis.report.sections.facts import Facts, Numbers
from analysis.report.sections.inside_figures import layers_figure, moved_figure, patching_figure, steering_figure
from analysis.report.sections.inside_numbers import behind
from analysis.report.study import Run, gaps_by_job

MOVED = {  # by the verdict on an arm
    "towards caution": "moved towards caution",
    "towards eagerness": "moved towards eagerness",
    "not shown": "are not shown to have moved along the direction further than along random ones",
}
CAUSED = {  # by what steering showed
    "caution": "lowers the odds of the change by more than every kind of null direction does: it causes something",
    "contrary": "moves the odds more than every kind of null direction does, but towards change: what is read as "
    "caution does not act as caution",
    "nothing": "does no more than directions that mean nothing: that it causes anything is not shown",
}
MEDIATED = {  # by what a trace showed
    "carries": "the direction carries some of it, more than random ones do",
    "carries nothing": "that the direction carries more of it than random ones do is not shown",
    "undefined": "undefined, since the shift itself is not shown",
}


@dataclass(frozen=True)
class Read(Numbers):
    """Whether cautious replies can be told from eager ones inside the base."""

    told: Shown  # draws in which they can
    draws: Shown
    simpler: Shown  # of those, draws in which they can as well without looking inside
    accuracy: Shown


@dataclass(frozen=True)
class MovedAt(Numbers):
    """How an arm moved against neutral at one place."""

    verdict: str  # one of MOVED
    place: str  # in words
    shift: Shown
    p: Shown
    beyond: Shown  # runs beyond what random directions rarely exceed
    pairs: Shown


@dataclass(frozen=True)
class NotSteered(Numbers):
    """What the steering control showed where it does not steer."""

    place: str
    control: Shown
    p: Shown


@dataclass(frozen=True)
class WholeRun(Numbers):
    """How far a whole fine-tune lies from neutral, on the scale of a push."""

    cell: str
    gap: Shown


@dataclass(frozen=True)
class Pushed(Numbers):
    """What a push along the direction showed."""

    place: str
    verdict: str  # one of CAUSED
    missed: Shown  # a smaller effect would have been
    runs: tuple[WholeRun, ...]


@dataclass(frozen=True)
class Carried(Numbers):
    """Whether a run's shift goes through the direction."""

    cell: str
    verdict: str  # one of MEDIATED
    items: Shown  # that were asked
    needed: Shown  # items that would show a shift; not known where no number that could be asked would


def inside(facts: Facts) -> Section:
    """The section."""
    parts: list[Part] = []
    for model in facts.study.bases:
        parts += [Heading(prose(Named(model))), *told(facts, model)]
    opening = prose(
        "Activations tell apart what can be read in the base, what moved in the fine-tunes, and what causes anything "
        "when it is pushed."
    )
    return Section("inside", "Inside: read, moved, caused", "exploratory", opening, tuple(parts))


def told(facts: Facts, model: str) -> list[Part]:
    """What is said of one model: sentences with their figures, then the numbers behind them."""
    return [
        *(*read(facts, model), *layers_figure(facts, model)),
        *(*moved(facts, model), *moved_figure(facts, model)),
        *(*caused(facts, model), *steering_figure(facts, model)),
        *(*carried(facts, model), *patching_figure(facts, model)),
        *behind(facts, model),
    ]


def read(facts: Facts, model: str) -> list[Part]:
    """Whether cautious replies can be told from eager ones inside the base."""
    at = f"read.{model}"
    if f"{at}.told" not in facts:
        absent = "interpret" in gaps_by_job(facts.study)
        return (
            [say("**Read.** Not measured: its steps are not sealed. So nothing is said of what moved.")]
            if absent
            else []
        )
    found = Read(
        told=facts.n(f"{at}.told"),
        draws=facts.n(f"{at}.draws"),
        simpler=facts.n(f"{at}.simpler"),
        accuracy=facts.n(f"{at}.accuracy"),
    )
    return [can_be_told(found)]


def can_be_told(found: Read) -> Part:
    """In how many draws the poles can be told apart, and how well."""
    can = "can be told from eager ones" if found.told.number.value else "cannot be told, beyond chance, from eager ones"
    simpler = Prose(())
    if found.simpler.number.value:
        simpler = prose(", though as well without looking inside in ", found.simpler, " of them")
    draws = (found.told, " of ", found.draws, " draws")
    accuracy = (": ", found.accuracy, " of pairs, on topics that made and chose nothing.")
    return say(f"**Read.** Cautious replies {can} inside the base, in ", *draws, simpler, *accuracy)


def moved(facts: Facts, model: str) -> list[Part]:
    """Whether each arm moved along the direction against neutral, at prompts and at replies."""
    arms = [arm for arm in facts.study.attitudes_read if f"moved.{model}.{arm}.prompt" in facts]
    if not arms:
        return []
    intro = say("**Moved.** Against neutral runs of the same draw and seed:")
    return [intro, Bullets(tuple(arm_moved(arm, moved_at(facts, f"moved.{model}.{arm}")) for arm in arms))]


def moved_at(facts: Facts, arm: str) -> list[MovedAt]:
    """How an arm moved at each place."""
    return [
        MovedAt(
            verdict=facts.book.word(f"{arm}.{place}", "not shown"),
            place=words,
            shift=facts.n(f"{arm}.{place}"),
            p=facts.n(f"{arm}.{place}.p"),
            beyond=facts.n(f"{arm}.{place}.beyond"),
            pairs=facts.n(f"{arm}.pairs"),
        )
        for place, words in PLACES.items()
    ]


def arm_moved(arm: str, places: Sequence[MovedAt]) -> Prose:
    """How an arm moved, in a sentence."""
    made = prose(f"{arm} runs ")
    for number, at in enumerate(places):
        rank = (at.shift, ", p ", at.p, "; ", at.beyond, " of ", at.pairs)
        runs = " runs beyond what random directions rarely exceed)"
        made = prose(made, "; " if number else "", f"{MOVED[at.verdict]} {at.place} (", *rank, runs)
    return prose(made, ".")


def caused(facts: Facts, model: str) -> list[Part]:
    """Whether pushing the base along the direction does more than null directions do; what would have been missed."""
    if not facts.study.steering:
        asked = "steer" in gaps_by_job(facts.study)
        why = "its steps are not sealed" if asked else "the spec did not ask for steering"
        return [say(f"**Caused.** Not measured: {why}.")]
    places = [place for place in facts.study.steering if place.startswith(f"{model}.")]
    return [_caused(facts, model, place) for place in places]


def _caused(facts: Facts, model: str, place: str) -> Part:
    steered = facts.study.steering[place][0]
    if not steered.measured:
        at = f"control.{place}"
        return does_not_steer(NotSteered(place, control=facts.n(at), p=facts.n(f"{at}.p")))
    mine = [run.cell for run in _traced(facts, model) if place == f"{model}.d{run.draw}"]
    found = Pushed(
        place,
        facts.book.word(f"caused.{place}", "nothing"),
        missed=facts.n(f"steer.{place}.{len(steered.levels) - 1}.detectable"),
        runs=tuple(WholeRun(cell, gap=facts.n(f"trace.{cell}.gap")) for cell in mine),
    )
    return push_caused(found)


def does_not_steer(found: NotSteered) -> Part:
    """That nothing was measured, since the control shows nothing."""
    control = (found.control, " only, rank p ", found.p)
    return say(
        *("**Caused.** Not measured in ", Named(found.place), ": *pleased less displeased*, a trait that is known to "),
        *("steer, moves margins by ", *control, ". It does not steer here, so nothing was measured: at this size "),
        "the instrument shows nothing.",
    )


def push_caused(found: Pushed) -> Part:
    """What a push does, what would have been missed, and where whole fine-tunes of the draw lie on that scale."""
    shown = CAUSED[found.verdict]
    whole = Prose(())
    for run in found.runs:
        before = ", " if whole else "; on that scale "
        whole = prose(whole, before, Named(run.cell), " as a whole lies ", run.gap, " from neutral")
    lead = ("**Caused.** In ", Named(found.place), f", pushing the base along it {shown}. An effect smaller than ")
    return say(*lead, found.missed, " would have been missed", whole, ".")


def carried(facts: Facts, model: str) -> list[Part]:
    """What of each traced run's shift goes through the direction."""
    runs = _traced(facts, model)
    if not runs:
        return []
    intro = say("**Mediated.** What of a run's shift from neutral goes through the direction:")
    return [intro, Bullets(tuple(_carried(facts, run) for run in runs))]


def _carried(facts: Facts, run: Run) -> Prose:
    at = f"trace.{run.cell}"
    traces = [] if run.trace is None else [run.trace[0]]
    verdict = mediated(traces, [facts.v(f"{at}.sufficient"), facts.v(f"{at}.necessary")])
    return goes_through(Carried(run.cell, verdict, items=facts.n(f"{at}.items"), needed=facts.n(f"{at}.needed")))


def goes_through(found: Carried) -> Prose:
    """Whether a run's shift goes through the direction, or what it would take to say."""
    more = prose(".")
    if found.verdict == "undefined" and found.needed.number.value is None:
        more = prose("; no number of items that could be asked would show it.")
    elif found.verdict == "undefined":
        more = prose("; ", found.needed, " items would, of which ", found.items, " were asked.")
    return prose(Named(found.cell), f": {MEDIATED[found.verdict]}", more)


def _traced(facts: Facts, model: str) -> list[Run]:
    return [run for run in facts.study.arm_order(model) if run.trace is not None]
