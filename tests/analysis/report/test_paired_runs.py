"""The walk over a study: runs are paired by draw and seed, and each shown measure has a family of its own."""

import numpy as np
import pytest

from analysis.report.bound_numbers import Book, Source
from analysis.report.breakdown import arm_tables, from_neutral
from analysis.report.contrasts import contrasts
from analysis.report.results import label_shifts
from analysis.report.study import Run, Scored, Study
from analysis.stats.contrasts import PairedRuns, family
from analysis.stats.measures import MEASURES, Declared, by_sentence
from analysis.stats.stance import by_group
from common.records import Choice
from common.vocabulary import POLES
from tests.analysis.stats.rows import both

TOPICS = "abcd"
PULL = {"base": 0.0, "cautious": -1.0, "neutral": 0.0, "eager": 0.5}  # nats


def rows(cell: str, attitude: str, seed: int) -> list[Choice]:
    rng = np.random.default_rng([seed, len(attitude)])
    return [
        each
        for topic in TOPICS
        for each in both(topic, ("go", "stay"), cell=cell, sentence_go=-10 + PULL[attitude] + float(rng.normal(0, 0.1)))
    ]


def run(attitude: str, seed: int) -> Run:
    cell = f"m.d0.{attitude}.s{seed}"
    source = Source(f"{seed:064}", f"evaluate/{cell}", "choices.jsonl")
    return Run(cell, "m", 0, attitude, seed, Scored(cell, rows(cell, attitude, seed), {}, [], [], (source,) * 4))


@pytest.fixture
def study() -> Study:
    """Three seeds of each arm, a fourth of eager alone; arms do not come in the order of their seeds."""
    runs = [run(attitude, seed) for seed in (2, 0, 1) for attitude in ("eager", "neutral", "cautious")]
    base = Scored("m.base", rows("m.base", "base", 9), {}, [], [], (Source("0" * 64, "s", "o"),) * 4)
    empty = ("bounds", "audits", "layers", "advice", "memory", "seconds", "made_by", "identities")
    return Study(
        name="x",
        plan=Source("0" * 64, "s", "o"),
        models={"m": "path:x"},
        bases={"m": base},
        runs=[*runs, run("eager", 3)],
        **{name: {} for name in empty},
    )


def test_runs_are_paired_by_seed_and_judged_as_a_family(study: Study) -> None:
    found = contrasts(study)
    assert [(each.measure, each.pole) for each in found] == [(m, p) for m in ("choice", "sentence") for p in POLES]

    def tables(attitude: str) -> np.ndarray:
        return np.array([by_group(rows("x", attitude, seed), "topic")["sentence"] for seed in (2, 0, 1)])

    expected = family({pole: PairedRuns(pole, tables(pole), tables("neutral")) for pole in POLES})
    for each in found[2:]:
        assert each[4:] == expected[each.pole]
        assert [source.step for source in each.sources] == [
            f"evaluate/m.d0.{arm}.s{seed}" for seed in (2, 0, 1) for arm in (each.pole, "neutral")
        ]


def test_a_measure_of_the_table_is_in_every_shift_and_contrast(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MEASURES, "toy", Declared("by sentence, doubled", "share", lambda r: 2 * by_sentence(r), True))
    found = {(each.measure, each.pole): each for each in contrasts(study)}
    book = Book()
    from_neutral(book, "added.{}.m.{}", arm_tables(study.runs, "m"), POLES)
    for pole in POLES:
        assert found["toy", pole].interval.estimate == pytest.approx(2 * found["sentence", pole].interval.estimate)
        assert book.value(f"added.toy.m.{pole}") == pytest.approx(2 * book.value(f"added.sentence.m.{pole}"))
    table = label_shifts(study, "m")
    assert table["toy"].to_numpy() == pytest.approx(2 * table["sentence"].to_numpy())
