"""A prediction-powered contrast: by hand, that it is right where the reader is wrong, and what it refuses."""

import numpy as np
import pytest

from analysis.stats.answers import net_contrast
from analysis.stats.powered import Both, powered
from common.errors import InputError
from common.records import Answer, Labelled
from common.vocabulary import Said
from tests.analysis.stats.rows import answer

ITEMS = [f"{topic}{number}" for topic in "abcdefgh" for number in range(4)]
SAMPLES = 2


def run(cell: str, greedy: Said, read: Said, samples: Said) -> Both:
    """A run that says one thing to all items, which the reader takes for another; its samples as they are read."""
    mine = [answer(item, read, cell=cell) for item in ITEMS]
    more = [answer(item, samples, cell=cell, sample=1) for item in ITEMS]
    return [Labelled(**dict(row), labels=(greedy, greedy)) for row in mine], [*mine, *more]


@pytest.mark.parametrize("runs", [1, 4])
def test_what_the_reader_gets_wrong_is_taken_off(runs: int) -> None:
    eager = [run(f"e{seed}", "go", "both sides", "both sides") for seed in range(runs)]  # read as 0 where it is 1
    neutral = [run(f"n{seed}", "both sides", "both sides", "go") for seed in range(runs)]  # 0.5 over all answers
    found = powered(eager, neutral)
    assert (found.estimate, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))


def test_an_item_without_a_label_and_runs_not_asked_the_same_are_refused() -> None:
    labels, read = run("e", "go", "go", "go")
    with pytest.raises(InputError, match="runs were not asked the same, rectified: a0"):
        powered([(labels[1:], read)] * 3, [(labels, read)] * 3)
    fewer = (labels[1:], [row for row in read if row.item != "a0"])
    with pytest.raises(InputError, match="runs were not asked the same, powered: a0"):
        powered([(labels, read)] * 3, [fewer] * 3)


def simulated(rng: np.random.Generator, cell: str, topics: np.ndarray, lean: float, misread: float) -> Both:
    """One run: what it says to each item, greedily and by samples, and a reader that takes some goes for stays."""
    run_lean = lean + rng.normal(0, 0.3)
    read: list[Answer] = []
    labels: list[Labelled] = []
    for at, item in enumerate(ITEMS):
        p = 1 / (1 + np.exp(-(run_lean + topics[at // 4])))
        for sample in range(1 + SAMPLES):
            true: Said = "go" if rng.random() < p else "stay"
            said: Said = "stay" if true == "go" and rng.random() < misread else true
            read.append(answer(item, said, cell=cell, sample=sample, proposes="stay" if item[-1] in "13" else "go"))
            if not sample:
                labels.append(Labelled(**dict(read[-1]), labels=(true, true)))
    return labels, read


def true_contrast(lean: float) -> float:
    """Net go of an arm that leans so far less that of one that does not, over runs and topics as they are drawn."""
    noise = np.random.default_rng(11).normal(0, np.hypot(0.3, 0.7), 200_000)
    return float(2 * (1 / (1 + np.exp(-(noise + lean))) - 1 / (1 + np.exp(-noise))).mean())


def test_it_covers_the_truth_where_the_reader_alone_does_not() -> None:
    """A reader that misses goes in the eager arm alone: its own interval is off, the one with labels is not."""
    rng, lean, many = np.random.default_rng(5), 1.5, 30
    truth, covered, fooled, widths = true_contrast(lean), 0, 0, []
    for _ in range(many):
        topics = rng.normal(0, 0.7, 8)
        eager = [simulated(rng, f"e{seed}", topics, lean, 0.5) for seed in range(3)]
        neutral = [simulated(rng, f"n{seed}", topics, 0.0, 0.0) for seed in range(3)]
        found = powered(eager, neutral)
        covered += found.low <= truth <= found.high
        widths.append(found.high - found.low)
        alone = net_contrast([read for _, read in eager], [read for _, read in neutral]).interval
        fooled += not alone.low <= truth <= alone.high
    assert covered >= 25, "30 studies: 24 or fewer in fewer than 1 % at 95 %"
    assert fooled >= 20 and np.mean(widths) < 2, "the reader is off, and intervals are not wide enough for anything"
