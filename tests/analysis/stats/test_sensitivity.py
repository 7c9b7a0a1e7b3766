"""Only a model that could have shown an effect is asked for one."""

import pytest

from analysis.stats.sensitivity import able, coherent, moves, readable
from tests.analysis.stats.rows import answers

ITEMS = [f"{topic}{number}" for topic in "abcd" for number in range(4)]


@pytest.mark.parametrize("runs", [1, 4])
def test_poles_that_stand_apart_move(runs: int) -> None:
    eager = [answers(f"e{seed}", dict.fromkeys(ITEMS, "go")) for seed in range(runs)]
    cautious = [answers(f"c{seed}", dict.fromkeys(ITEMS, "stay")) for seed in range(runs)]
    assert moves("source", eager, cautious, 0.2)[1:5] == (2.0, 2.0, 2.0, True)
    assert not moves("source", cautious, eager, 0.2).passed, "towards the wrong side"
    assert not moves("source", eager, eager, 0.2).passed


def test_a_difference_within_chance_or_below_the_least_does_not_move() -> None:
    few = {item: "go" if item == "a0" else "both sides" for item in ITEMS}
    one, other = [answers("e", few)], [answers("c", dict.fromkeys(ITEMS, "both sides"))]
    found = moves("source", one, other, 0.01)
    assert found.value == pytest.approx(1 / 16) and found.low is not None and found.low < 0 and not found.passed
    every = [answers("e", dict.fromkeys(ITEMS, "go"))]
    assert not moves("source", every, other, 1.1).passed


def test_what_was_not_measured_fails() -> None:
    assert moves("positive control", [], [], 0.2)[1:5] == (None, None, None, False)


def test_coherence_is_bounded_in_each_arm_and_between_arms() -> None:
    fine = answers("a", dict.fromkeys(ITEMS, "go"))
    two, three = (answers("b", dict.fromkeys(ITEMS, "go") | dict.fromkeys(ITEMS[:n], "incoherent")) for n in (2, 3))
    assert not coherent({"base": fine, "eager": two}, 0.15, 0.10).passed, "12.5 points apart"
    assert coherent({"base": two, "eager": two}, 0.15, 0.10).passed
    assert not coherent({"base": three, "eager": three}, 0.15, 0.10).passed
    assert able([coherent({"base": two}, 0.15, 0.1)]) and not able([coherent({"base": three}, 0.15, 0.1)])


@pytest.mark.parametrize(("kappa", "passed"), [(None, False), (0.1, False), (0.79, False), (0.8, True)])
def test_a_reader_that_labels_contradict_measures_nothing(kappa: float | None, passed: bool) -> None:
    assert readable(kappa, 0.8).passed is passed and readable(kappa, 0.8).value == kappa
