"""What fine-tunes did inside: how far they moved against neutral ones, and what of their shift a direction carries."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from analysis.activations.direction import accuracy
from analysis.activations.movement import Moved, Pair, moved, pair
from analysis.activations.steering import GapShare, share_over_runs
from analysis.report.bound_numbers import Book, Source
from analysis.report.study import Run, Study
from analysis.stats.intervals import ALPHA, FEWEST_RUNS, LEVEL, MAX_FLIPPED_RUNS, sign_flip, two_way_t
from common.steering_schemas import Mediated, SteeringSummary, Trace
from common.vocabulary import POLES

Place = Literal["prompt", "reply"]
PLACES: dict[Place, str] = {"prompt": "at the last token of held-out prompts", "reply": "at the tokens of replies"}
PARTS = {  # what of a fine-tune's shift from neutral goes through the direction
    "sufficient": "put into neutral",
    "necessary": "taken from the pole",
    "ablation": "taken out of every block of both",
    "whole": "the whole mean shift, put into neutral",
}


def pairs_of(study: Study, model: str, attitude: str) -> list[tuple[Run, Run]]:
    """The runs of an arm that were read, each with the neutral run of its draw and seed."""
    neutral = {(run.draw, run.seed): run for run in study.read(model, "neutral")}
    mine = study.read(model, attitude)
    return [(run, neutral[run.draw, run.seed]) for run in mine if (run.draw, run.seed) in neutral]


def contrast(run: Run, neutral: Run, place: Place, checkpoint: int = -1) -> Pair:
    """How far a run moved against its neutral run, by a saved checkpoint, beside random directions."""
    assert run.readout is not None and neutral.readout is not None
    one, other = (each.readout[0].checkpoints[checkpoint] for each in (run, neutral) if each.readout is not None)
    if place == "reply":
        return pair(one.reply_shift, other.reply_shift, one.reply_nulls, other.reply_nulls)
    return pair(one.shift, other.shift, one.nulls, other.nulls)


def movements(book: Book, study: Study, model: str, attitude: str) -> None:
    """Enter how an arm moved against neutral: each run's rank, that of all together, and the interval."""
    paired = [] if attitude == "neutral" else pairs_of(study, model, attitude)
    if not paired:
        return
    sources = _sources(paired)
    for place in PLACES:
        found = moved([contrast(*each, place) for each in paired])
        at = f"moved.{model}.{attitude}.{place}"
        book.add(at, found.shift, "SD", sources)
        book.add(f"{at}.p", found.p, "p", sources)
        book.say(at, found.verdict)
        for (run, _), each in zip(paired, found.pairs, strict=True):
            book.add(f"run.{run.cell}.moved.{place}", each.shift, "SD", sources)
            book.add(f"run.{run.cell}.moved.{place}.p", min(1.0, 2 * min(each.up, each.down)), "p", sources)
        book.add(f"{at}.beyond", _beyond(found), "count", sources)
    book.add(f"moved.{model}.{attitude}.pairs", len(paired), "count", sources)
    _over_runs(book, study, f"driftcontrast.{model}.{attitude}", paired)
    _second(book, f"second.{model}.{attitude}", paired)


def mediation(book: Book, study: Study, model: str, pole: str) -> None:
    """Enter what of a pole's shift from neutral the direction carries: each traced run, and all together."""
    runs = [run for run in study.arm_order(model) if run.attitude == pole and run.trace is not None]
    for run in runs:
        assert run.trace is not None
        _traced(book, f"trace.{run.cell}", *run.trace)
    if len(runs) < FEWEST_RUNS:
        return
    traces, sources = zip(*(run.trace for run in runs if run.trace is not None), strict=True)
    for part in PARTS:
        made: list[Mediated] = [getattr(trace, part) for trace in traces]
        closed, gaps = (np.array([_in_order(each) for each in side]) for side in zip(*_sides(made), strict=True))
        found = share_over_runs(closed, gaps, LEVEL)
        _share(book, f"mediated.{model}.{pole}.{part}", found, sources)
        if part == "sufficient":
            gap = found.gap
            book.add(f"mediated.{model}.{pole}.gap", gap.estimate, "nats", sources, (gap.low, gap.high))
    book.add(f"mediated.{model}.{pole}.runs", len(runs), "count", sources)


def caused(told: SteeringSummary) -> str:
    """What steering showed at its largest off-target KL: `caution`, `contrary` or `nothing`.

    Something is shown where the direction does more than every kind of null. A push along caution should lower the
    margin for the change.
    """
    last = told.levels[-1]
    if max(each.p for each in last.against.values()) > ALPHA:
        return "nothing"
    return "caution" if last.odd.estimate < 0 else "contrary"


def mediated(traces: Sequence[Trace], shares: Sequence[float | None]) -> str:
    """Whether the direction carries the shift: `carries`, `carries nothing`, or `undefined` where there is no gap.

    shares: of `sufficient` and `necessary`, over runs or of one. It carries where both rank among the largest of the
    null directions in most runs, and both shares are above 0.
    """
    if any(share is None for share in shares):
        return "undefined"
    ranked = [each.sufficient.p <= ALPHA and each.necessary.p <= ALPHA for each in traces]
    most = sum(ranked) > len(ranked) / 2
    return "carries" if most and all(share is not None and share > 0 for share in shares) else "carries nothing"


def _beyond(found: Moved) -> int:
    """In how many pairs the contrast lies beyond those along 95 % of the random directions, the way of the mean."""
    return sum((each.up if found.shift > 0 else each.down) <= ALPHA / 2 for each in found.pairs)


def _over_runs(book: Book, study: Study, at: str, paired: Sequence[tuple[Run, Run]]) -> None:
    """The contrast with its interval over runs and topics, from FEWEST_RUNS pairs on."""
    if len(paired) < FEWEST_RUNS:
        return
    tuned, control = ([_by_topic(run) for run in runs] for runs in zip(*paired, strict=True))
    found = two_way_t(tuned, control, LEVEL).interval
    apart = [contrast(*each, "prompt").shift for each in paired]
    flips = "sign-flip" in study.tests and len(apart) <= MAX_FLIPPED_RUNS
    book.add(at, found.estimate, "SD", _sources(paired), (found.low, found.high))
    book.add(f"{at}.flip", sign_flip(apart) if flips else None, "p", _sources(paired))


def _second(book: Book, at: str, paired: Sequence[tuple[Run, Run]]) -> None:
    """The second vector, where replies moved against neutral: how often it tells cautious from eager replies."""
    told = []
    for run, other in paired:
        assert run.readout is not None and other.readout is not None
        told.append(accuracy(np.array(run.readout[0].apart) - np.array(other.readout[0].apart)))
    book.add(at, float(np.mean(told)), "share", _sources(paired))


def _traced(book: Book, at: str, trace: Trace, source: Source) -> None:
    gap = trace.gap
    book.add(f"{at}.gap", gap.estimate, "nats", [source], (gap.low, gap.high))
    book.add(f"{at}.items", trace.items, "count", [source])
    book.add(f"{at}.needed", trace.items_needed, "count", [source])
    for part in PARTS:
        made: Mediated = getattr(trace, part)
        share = made.share
        _share(book, f"{at}.{part}", GapShare(share.estimate, share.low, share.high, share.gap), [source])  # type: ignore[arg-type]
        book.add(f"{at}.{part}.p", made.p, "p", [source])
    book.add(f"{at}.weights", trace.weights.share, "share", [source])
    book.add(f"{at}.weights.p", trace.weights.p, "p", [source])


def _share(book: Book, at: str, found: GapShare, sources: Sequence[Source]) -> None:
    bounds = None if found.low is None or found.high is None else (found.low, found.high)
    book.add(at, found.estimate, "share", sources, bounds)


def _sides(made: Sequence[Mediated]) -> list[tuple[dict[str, float], dict[str, float]]]:
    """What is closed and what there was to close, of each run."""
    return [(each.by_topic, each.gap_by_topic) for each in made]


def _in_order(by_topic: dict[str, float]) -> list[float]:
    """Topics in alphabetical order."""
    return [value for _, value in sorted(by_topic.items())]


def _by_topic(run: Run) -> list[float]:
    """The shift of each topic, in alphabetical order."""
    assert run.readout is not None
    return _in_order(run.readout[0].by_topic)


def _sources(paired: Sequence[tuple[Run, Run]]) -> list[Source]:
    return [run.readout[1] for each in paired for run in each if run.readout is not None]


def by_pole(book: Book, study: Study) -> None:
    """Enter all of it, model by model."""
    for model in study.bases:
        for attitude in study.attitudes_read:
            movements(book, study, model, attitude)
        for pole in POLES:
            mediation(book, study, model, pole)
