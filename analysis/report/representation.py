"""The report's numbers on what goes on inside the models: what was read, what moved, what caused anything."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from analysis.report.bound_numbers import Book, Source
from analysis.report.inside import by_pole, caused
from analysis.report.study import Run, Study
from common.schemas import Interval, LayerCurve
from common.steering_schemas import Against, SteeringSummary

NULLS = {  # kinds of null directions
    "isotropic": "isotropic",
    "covariance": "same covariance",
    "shuffled": "shuffled poles",
    "unrelated": "unrelated topics",
}
TESTS = {  # what else the direction is tried on, with the unit of its effect
    "prompt": ("added at the tokens of the prompt", "nats"),
    "options": ("along it at the option for the change, against it at the other", "nats"),
    "ablation": ("taken out of every block, or a share of it", "nats"),
    "trait": ("cautious against eager replies to everyday questions", "nats"),
    "answers": ("net go of answers in words", "points"),
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
    by_pole(book, study)
    for model in study.bases:
        _read(book, study, model)
    for model in study.bases:
        for attitude in study.attitudes_read:
            _from_base(book, study, model, attitude)


def _layer(book: Book, place: str, curve: LayerCurve, source: Source) -> None:
    chosen = curve.layers[curve.chosen]
    book.add(f"layer.{place}", curve.chosen, "count", [source])
    book.add(f"layers.{place}", len(curve.layers), "count", [source])
    book.add(f"causal.{place}", chosen.causal, "nats", [source])
    book.add(f"separation.{place}", chosen.separation, "plain", [source])
    book.add(f"accuracy.{place}", chosen.accuracy, "share", [source])
    book.add(f"user_accuracy.{place}", chosen.user_accuracy, "share", [source])
    book.add(f"shuffled_accuracy_95.{place}", chosen.shuffled_accuracy_95, "share", [source])
    for name, probe in curve.probes.items():
        book.add(f"probe.{place}.{name}", probe.auc, "plain", [source])
        book.add(f"probe.{place}.{name}.shuffled", probe.shuffled_95, "plain", [source])


def _read(book: Book, study: "Study", model: str) -> None:
    """In how many draws caution can be read, and in how many of those as well without looking inside."""
    sealed = [value for place, value in study.layers.items() if place.startswith(f"{model}.")]
    if not sealed:
        return
    sources, chosen = [source for _, source in sealed], [curve.layers[curve.chosen] for curve, _ in sealed]
    told = [
        curve for (curve, _), layer in zip(sealed, chosen, strict=True) if layer.accuracy > layer.shuffled_accuracy_95
    ]
    book.add(f"read.{model}.draws", len(sealed), "count", sources)
    book.add(f"read.{model}.told", len(told), "count", sources)
    book.add(f"read.{model}.simpler", sum(_simpler(curve) for curve in told), "count", sources)
    book.add(f"read.{model}.accuracy", float(np.mean([layer.accuracy for layer in chosen])), "share", sources)


def _simpler(curve: LayerCurve) -> bool:
    """Whether words, embeddings or length tell the poles apart as well as residuals do."""
    others = [probe.auc for name, probe in curve.probes.items() if name != "residual"]
    return max(others) >= curve.probes["residual"].auc


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
    for name, test in told.tests.items():
        at, unit = f"steer.{place}.{name}", TESTS[name][1]
        book.add(at, test.odd.estimate, unit, [source], (test.odd.low, test.odd.high))
        book.add(f"{at}.p", test.against.p, "p", [source])
        book.add(f"{at}.questions", test.questions, "count", [source])
        book.add(f"{at}.detectable", test.against.detectable, unit, [source])
    if told.measured:
        book.say(f"caused.{place}", caused(told))


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


def _from_base(book: Book, study: "Study", model: str, attitude: str) -> None:
    """How far the runs of an arm moved along the direction from their base, and how alike."""
    read = [run for run in study.read(model, attitude) if run.drift is not None]
    if read:
        book.add(f"drift.{model}.{attitude}", float(np.mean([_shift(run) for run in read])), "SD", _sources(read))
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


def _sources(runs: "list[Run]") -> list[Source]:
    return [run.drift[1] for run in runs if run.drift is not None]


def _mean_cosine(vectors: NDArray[np.float64]) -> float:
    """Mean cosine over pairs of rows."""
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    above = np.triu_indices(len(units), 1)
    return float((units @ units.T)[above].mean())


def _nats(book: Book, name: str, made: Interval, source: Source) -> None:
    book.add(name, made.estimate, "nats", [source], (made.low, made.high))
