"""The report's numbers on what goes on inside the models: what was read, what moved, what caused anything."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from analysis.report.bound_numbers import Book, Source
from analysis.report.study import Run, Study
from analysis.stats.intervals import FEWEST_RUNS, LEVEL, MAX_FLIPPED_RUNS, sign_flip, two_way_t
from common.schemas import Interval, LayerCurve
from common.steering_schemas import Against, SteeringSummary
from common.vocabulary import POLES

NULLS = {  # kinds of null directions
    "norm": "equal length",
    "covariance": "same covariance",
    "shuffled": "shuffled poles",
    "unrelated": "unrelated topics",
}
PARTS = {  # what of a fine-tune's shift goes through the direction
    "sufficient": "added to the base",
    "necessary": "taken from the fine-tune",
    "zero_ablation": "taken out after every block",
    "mean_ablation": "held at its mean after every block",
    "weights": "projected out of the adapter's weights",
}


def representation(book: Book, study: "Study") -> None:
    """Enter every number."""
    for place, (curve, source) in study.layers.items():
        _layer(book, place, curve, source)
    for place, (tested, source) in study.selftests.items():
        book.add(f"selftest.{place}.checks", len(tested.checks), "count", [source])
        book.add(f"selftest.{place}.passed", sum(check.passed for check in tested.checks), "count", [source])
    for place, (told, source) in study.steering.items():
        _steering(book, place, told, source)
    for run in study.runs:
        _run(book, run)
    for model in study.bases:
        for attitude in study.attitudes:
            _moved(book, study, model, attitude)


def _layer(book: Book, place: str, curve: LayerCurve, source: Source) -> None:
    chosen = curve.layers[curve.chosen]
    book.add(f"layer.{place}", curve.chosen, "count", [source])
    book.add(f"layers.{place}", len(curve.layers), "count", [source])
    book.add(f"separation.{place}", chosen.separation, "plain", [source])
    book.add(f"accuracy.{place}", chosen.accuracy, "share", [source])
    book.add(f"user_accuracy.{place}", chosen.user_accuracy, "share", [source])
    book.add(f"shuffled_accuracy_95.{place}", chosen.shuffled_accuracy_95, "share", [source])
    for name, probe in curve.probes.items():
        book.add(f"probe.{place}.{name}", probe.auc, "plain", [source])
        book.add(f"probe.{place}.{name}.shuffled", probe.shuffled_95, "plain", [source])


def _steering(book: Book, place: str, told: SteeringSummary, source: Source) -> None:
    control = told.control
    _nats(book, f"control.{place}", control.odd, source)
    book.add(f"control.{place}.p", control.against.p, "p", [source])
    book.add(f"control.{place}.off_target_kl", control.off_target_kl, "setting", [source])
    for number, each in enumerate(told.levels):
        at = f"steer.{place}.{number}"
        _nats(book, at, each.odd, source)
        book.add(f"{at}.off_target_kl", each.off_target_kl, "setting", [source])
        book.add(f"{at}.even", each.even, "nats", [source])
        _against(book, at, each.against, source)
    if told.choices is not None:
        caution, ranks = told.choices.caution, told.choices.ranks
        book.add(f"steer.{place}.choice", caution.odd, "points", [source])
        book.add(f"steer.{place}.choice.p", max(ranks) if ranks else None, "p", [source])


def _against(book: Book, at: str, nulls: Mapping[str, Against], source: Source) -> None:
    for kind, against in nulls.items():
        book.add(f"{at}.{kind}.p", against.p, "p", [source])
        book.add(f"{at}.{kind}.nulls", against.nulls, "count", [source])
    known = [against.detectable for against in nulls.values() if against.detectable is not None]
    book.add(f"{at}.detectable", max(known) if known else None, "nats", [source])


def _run(book: Book, run: "Run") -> None:
    if run.drift is not None:
        drift, source = run.drift
        last = drift.checkpoints[-1]
        book.add(f"run.{run.cell}.drift", last.shift, "SD", [source])
        book.add(f"run.{run.cell}.rank", last.rank, "share", [source])
        book.add(f"run.{run.cell}.drifted_at", drift.drifted_at, "count", [source])
    if run.trace is not None:
        traced, source = run.trace
        _nats(book, f"trace.{run.cell}.gap", Interval(**traced["gap"]), source)
        for part in PARTS:
            share = traced[part]["share"]
            bounds = None if share["estimate"] is None else (share["low"], share["high"])
            book.add(f"trace.{run.cell}.{part}", share["estimate"], "share", [source], bounds)
            book.add(f"trace.{run.cell}.{part}.p", traced[part]["p"], "p", [source])


def _moved(book: Book, study: "Study", model: str, attitude: str) -> None:
    """How far the runs of an arm moved along the direction, against neutral runs of the same draw and seed."""
    read = [run for run in study.arm(model, attitude) if run.drift is not None]
    if not read:
        return
    book.add(f"drift.{model}.{attitude}", float(np.mean([_shift(run) for run in read])), "SD", _sources(read))
    neutral = {(run.draw, run.seed): run for run in study.arm(model, "neutral") if run.drift is not None}
    pairs = [(run, neutral[run.draw, run.seed]) for run in read if (run.draw, run.seed) in neutral]
    if attitude in POLES and len(pairs) >= FEWEST_RUNS:
        apart = [_shift(run) - _shift(other) for run, other in pairs]
        sources = _sources([run for pair in pairs for run in pair])
        tuned, control = ([_by_topic(run) for run in runs] for runs in zip(*pairs, strict=True))
        found = two_way_t(tuned, control, LEVEL).interval
        flips = "sign-flip" in study.tests and len(apart) <= MAX_FLIPPED_RUNS
        p = sign_flip(apart) if flips else None
        at = f"driftcontrast.{model}.{attitude}"
        book.add(at, found.estimate, "SD", sources, (found.low, found.high))
        book.add(f"{at}.flip", p, "p", sources)
    for draw in sorted({run.draw for run in read}):
        mine = [run.readout for run in read if run.draw == draw and run.readout]
        if len(mine) >= 2:
            sources = [source for _, source in mine]
            moved = np.array([readout.moved for readout, _ in mine], dtype=np.float64)
            at = f"agree.{model}.d{draw}.{attitude}"
            book.add(at, _mean_cosine(moved), "plain", sources)
            along = float(np.mean([readout.cosine for readout, _ in mine]))
            book.add(f"{at}.direction", along, "plain", sources)


def _shift(run: "Run") -> float:
    assert run.drift is not None
    return run.drift[0].checkpoints[-1].shift


def _by_topic(run: "Run") -> list[float]:
    """The shift of each topic, in alphabetical order."""
    assert run.readout is not None
    return [shift for _, shift in sorted(run.readout[0].by_topic.items())]


def _sources(runs: "list[Run]") -> list[Source]:
    return [run.drift[1] for run in runs if run.drift is not None]


def _mean_cosine(vectors: NDArray[np.float64]) -> float:
    """Mean cosine over pairs of rows."""
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    above = np.triu_indices(len(units), 1)
    return float((units @ units.T)[above].mean())


def _nats(book: Book, name: str, made: Interval, source: Source) -> None:
    book.add(name, made.estimate, "nats", [source], (made.low, made.high))
