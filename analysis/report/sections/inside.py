"""Inside the models: what was read in the base, what moved in the fine-tunes, and what causes anything."""

from analysis.report.inside import PLACES, mediated
from analysis.report.prose import Named, Prose, prose
from analysis.report.section import Bullets, Heading, Part, Section, say
from analysis.report.sections.facts import Facts
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
    can = "can be told from eager ones" if facts.v(f"{at}.told") else "cannot be told, beyond chance, from eager ones"
    simpler = Prose(())
    if facts.v(f"{at}.simpler"):
        simpler = prose(", though as well without looking inside in ", facts.n(f"{at}.simpler"), " of them")
    draws = (facts.n(f"{at}.told"), " of ", facts.n(f"{at}.draws"), " draws")
    accuracy = (": ", facts.n(f"{at}.accuracy"), " of pairs, on topics that made and chose nothing.")
    return [say(f"**Read.** Cautious replies {can} inside the base, in ", *draws, simpler, *accuracy)]


def moved(facts: Facts, model: str) -> list[Part]:
    """Whether each arm moved along the direction against neutral, at prompts and at replies."""
    arms = [arm for arm in facts.study.attitudes_read if f"moved.{model}.{arm}.prompt" in facts]
    if not arms:
        return []
    intro = say("**Moved.** Against neutral runs of the same draw and seed:")
    return [intro, Bullets(tuple(prose(f"{arm} runs ", _moved(facts, f"moved.{model}.{arm}"), ".") for arm in arms))]


def _moved(facts: Facts, arm: str) -> Prose:
    """How an arm moved at each place, as part of a sentence."""
    made = Prose(())
    for place, words in PLACES.items():
        at = f"{arm}.{place}"
        verdict = MOVED[facts.book.word(at, "not shown")]
        rank = (facts.n(at), ", p ", facts.n(f"{at}.p"), "; ", facts.n(f"{at}.beyond"), " of ")
        runs = (facts.n(f"{arm}.pairs"), " runs beyond what random directions rarely exceed)")
        made = prose(made, "; " if made else "", f"{verdict} {words} (", *rank, *runs)
    return made


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
        control = (facts.n(f"control.{place}"), " only, rank p ", facts.n(f"control.{place}.p"))
        return say(
            *("**Caused.** Not measured in ", Named(place), ": *pleased less displeased*, a trait that is known to "),
            *("steer, moves margins by ", *control, ". It does not steer here, so nothing was measured: at this size "),
            "the instrument shows nothing.",
        )
    shown = CAUSED[facts.book.word(f"caused.{place}", "nothing")]
    missed = facts.n(f"steer.{place}.{len(steered.levels) - 1}.detectable")
    return say(
        *("**Caused.** In ", Named(place), f", pushing the base along it {shown}. An effect smaller than ", missed),
        *(" would have been missed", _whole_runs(facts, model, place), "."),
    )


def _whole_runs(facts: Facts, model: str, place: str) -> Prose:
    """How far whole fine-tunes of a draw lie from neutral, on the scale of a push."""
    runs = [run for run in _traced(facts, model) if place == f"{model}.d{run.draw}"]
    made = Prose(())
    for run in runs:
        gap = facts.n(f"trace.{run.cell}.gap")
        before = ", " if made else "; on that scale "
        made = prose(made, before, Named(run.cell), " as a whole lies ", gap, " from neutral")
    return made


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
    more = prose(".")
    if verdict == "undefined" and facts.v(f"{at}.needed") is None:
        more = prose("; no number of items that could be asked would show it.")
    elif verdict == "undefined":
        more = prose("; ", facts.n(f"{at}.needed"), " items would, of which ", facts.n(f"{at}.items"), " were asked.")
    return prose(Named(run.cell), f": {MEDIATED[verdict]}", more)


def _traced(facts: Facts, model: str) -> list[Run]:
    return [run for run in facts.study.arm_order(model) if run.trace is not None]
