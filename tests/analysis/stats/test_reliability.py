"""A measure that finds the same items again is told from one that does not; too little is None with the reason."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.stats.measures import MEASURES
from analysis.stats.reliability import (
    RELIABLE,
    UNKNOWN,
    UNRELIABLE,
    Correlation,
    Reliability,
    Told,
    correlation,
    reliabilities,
)
from common.records import Choice
from tests.analysis.stats.rows import answer, row

ITEMS = [f"{topic}{number}" for topic in "abcdef" for number in range(8)]
SAMPLES = 12
UNDER = 0.7


class Planted:
    """Cells whose sentences follow the item and the pole, and whose labels follow chance alone."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.lean = dict(zip(ITEMS, self.rng.normal(0, 1, len(ITEMS)), strict=True))
        self.effect = dict(zip(ITEMS, self.rng.normal(1, 1, len(ITEMS)), strict=True))

    def cell(self, name: str, sign: float = 0.0, samples: int = 1) -> Told:
        margin = {item: self.lean[item] + sign * self.effect[item] for item in ITEMS}
        spoken = [
            answer(item, self.said(margin[item]), cell=name, sample=sample)
            for item in ITEMS
            for sample in range(samples)
        ]
        return Told(spoken, [each for item in ITEMS for each in self.rows(name, item, margin[item])])

    def said(self, margin: float) -> str:
        return "go" if self.rng.random() < 1 / (1 + np.exp(-3 * margin)) else "stay"

    def rows(self, name: str, item: str, margin: float) -> list[Choice]:
        advice = {"advice_go": -3 + 0.1 * margin, "advice_stay": -3.0} if item[1] in "01" else {}  # two of eight items
        facts: dict[str, Any] = {"cell": name, **advice}
        return [
            row(
                item,
                order,
                "go" if margin > 0 else "stay",
                **facts,
                sentence_go=-10 + 0.5 * margin + float(self.rng.normal(0, 0.1)),
                label_go=-5 + float(self.rng.normal(0, 1)),
            )
            for order in (0, 1)
        ]

    def arms(self, runs: int) -> tuple[list[Told], list[Told]]:
        one = [self.cell(f"c{n}", -1, SAMPLES) for n in range(runs)]
        return one, [self.cell(f"e{n}", 1, SAMPLES) for n in range(runs)]


@pytest.fixture(name="found", scope="module")
def planted() -> dict[str, Reliability]:
    study = Planted()
    return reliabilities(study.cell("m.base", samples=17), *study.arms(4))


def test_what_was_planted_is_found_and_noise_is_not(found: dict[str, Reliability]) -> None:
    assert tuple(found) == ("answer", *MEASURES)
    for name in ("answer", "sentence"):
        runs, base = found[name].runs.value, found[name].base.value
        assert runs is not None and runs > 0.8 and base is not None and base > 0.8, name
        assert found[name].verdict(UNDER) == RELIABLE
    agreement = found["sentence"].agreement
    assert agreement.value is not None and agreement.value > 0.8 and agreement.items == len(ITEMS)
    label = found["label"]
    for each in (label.runs, label.base, label.agreement):
        assert each.value is not None and abs(each.value) < 0.5
    assert label.verdict(UNDER) == UNRELIABLE


def test_advice_is_judged_on_the_items_that_have_it_and_has_no_order(found: dict[str, Reliability]) -> None:
    advice = found["advice"]
    assert advice.runs.items == 12 and advice.runs.value == pytest.approx(1.0)
    assert advice.base == Correlation(None, 0, "asked in no order")
    assert advice.verdict(UNDER) == RELIABLE


def test_the_effect_is_cautious_less_eager_of_odd_and_of_even_runs() -> None:
    """Runs of a half are averaged: here odd and even runs have opposite effects, and no two halves mix them."""
    study = Planted()
    cautious = [study.cell(f"c{n}", sign) for n, sign in enumerate((-1, 1, -1, 1))]
    eager = [study.cell(f"e{n}", -sign) for n, sign in enumerate((-1, 1, -1, 1))]
    value = reliabilities(study.cell("m.base"), cautious, eager)["sentence"].runs.value
    assert value is not None and value < -0.8


def test_the_greedy_answer_is_no_sample() -> None:
    study = Planted()
    assert reliabilities(study.cell("m.base", samples=2), [], [])["answer"].base.reason == "too few samples"
    base = study.cell("m.base", samples=3)
    known = reliabilities(base, [], [])["answer"].base.value
    silent = [each.model_copy(update={"said": "go"}) if not each.sample else each for each in base.answers]
    assert known is not None and reliabilities(Told(silent, base.choices), [], [])["answer"].base.value == known


def test_too_little_is_not_known_and_says_why() -> None:
    study = Planted()
    found = reliabilities(study.cell("m.base"), *study.arms(1))
    assert found["sentence"].runs == Correlation(None, 0, "too few runs")
    assert found["sentence"].agreement.value is not None, "one pair of runs is enough to compare two measures"
    assert found["answer"].agreement == Correlation(None, 0, "the same measure")
    assert found["yes-no"].verdict(UNDER) == UNKNOWN
    none = reliabilities(study.cell("m.base"), [], [])
    assert {each.runs.reason for each in none.values()} == {"too few runs"}
    assert none["sentence"].agreement == Correlation(None, 0, "too few runs")
    assert none["label"].verdict(UNDER) == UNRELIABLE, "the base alone tells that orders disagree"


def test_a_correlation_needs_items_that_differ() -> None:
    values = pd.Series(np.arange(9.0), index=[f"i{n}" for n in range(9)])
    for other, ranks, expected in ((2 * values + 1, False, 1.0), (-(values**3), True, -1.0)):
        found = correlation(values, other, ranks=ranks)
        assert found.value == pytest.approx(expected) and (found.items, found.reason) == (9, "")
    assert correlation(values, values * 0 + 0.1) == Correlation(None, 9, "all items alike")
    assert correlation(values, values.where(values > 1)) == Correlation(None, 7, "too few items")
    assert correlation(values, values.iloc[::-1]).value == pytest.approx(1.0), "by item, not by place"
