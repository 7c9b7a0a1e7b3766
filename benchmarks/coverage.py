"""Nominal against actual: how often the intervals of net go cover, and how often the registered family cries wolf.

    python -m benchmarks.coverage [--studies 2000]

Seeded simulation of whole studies. Topics are random, and so are the questions that a run trains on. A question has an
effect of its own on each arm; a run has that of its subset, beside that of its training. Answers fall into the five
outcomes. They are analysed as `analysis.stats.answers.net_contrast` does it: net go by run and topic, arms paired by
seed, `two_way_t`, Holm over both poles. What is covered is the mean over all topics, questions and trainings.
"""

import argparse
import gc
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.special import expit

from analysis.stats.intervals import ALPHA, LEVEL, Floats, holm, sign_flip, two_way_t
from benchmarks.record import record
from common.cli import parsed
from common.vocabulary import POLES, SAID

ARMS = ("neutral", *POLES)
RUNS, TOPICS, ITEMS, ANSWERS = (5, 8), 16, 10, 3  # runs of an arm; topics; items of a topic; greedy and two samples
BANK, QUESTIONS = 657, 120  # questions of the bank, and those of a run
SUBSETS = ("disjoint", "by turns", "at random")
EFFECT = {"cautious": -0.8, "eager": 0.4}  # planted, logits of go among answers for a side
ITEM_SD, TOPIC_SD = 1.0, 0.5  # of how any model leans, logits: the same in all arms, and gone in a contrast
UNLIKE_SD = 0.3  # how unlike topics respond to an attitude, logits
SUBSET_SD = (0.1, 0.4)  # what the questions of a run do to its lean, logits, each arm for itself
SEED_SD, REST_SD = 0.1, 0.2  # what a training does, and a training to a topic, logits
SIDED, SIDED_SD = 0.85, 0.5  # logits of the share of answers for a side (0.70), and its spread over runs
OTHERS = (0.6, 0.25, 0.15)  # both sides, off topic and incoherent, as shares of the other answers
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(60)  # to average over a normal distribution


class Row(NamedTuple):
    """One line of the table: shares of the simulated studies, except where it says what was simulated."""

    subsets: str
    runs: int
    subset_sd: float
    covers_none: float  # intervals of a pole less neutral where there is no effect, nominally 0.95
    covers_planted: float  # the same where there is one
    asymmetry_covers: float  # the interval of the asymmetry where there are effects
    family_alarms: float  # studies without an effect in which Holm rejects for a pole, nominally at most 0.05
    sign_flip_alarms: float  # the same by sign flips; 0 at 5 runs, whose smallest p is 0.0625
    found: float  # studies with effects in which Holm rejects for cautious


def subset(kind: str, runs: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """The questions of each run, (runs, QUESTIONS).

    disjoint: no question twice, out of a bank as large as that takes. by turns: as a study deals its draws, which go
    through the bank and then begin again. at random: each run for itself.
    """
    if kind == "at random":
        return np.stack([rng.choice(BANK, QUESTIONS, replace=False) for _ in range(runs)])
    size = max(BANK, runs * QUESTIONS) if kind == "disjoint" else BANK
    return rng.permutation(size)[np.arange(runs * QUESTIONS) % size].reshape(runs, QUESTIONS)


def study(
    effects: Mapping[str, float], kind: str, runs: int, subset_sd: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Answers to one simulated study as places in SAID, (arms, runs, topics, items, answers)."""
    chosen = subset(kind, runs, rng)
    shape = (len(ARMS), runs, TOPICS, ITEMS, ANSWERS)
    size = (len(ARMS), max(BANK, runs * QUESTIONS))
    of_question = rng.normal(0, subset_sd * np.sqrt(QUESTIONS), size)  # so that a mean over a subset has subset_sd
    by_run = of_question[:, chosen].mean(axis=2) + rng.normal(0, SEED_SD, shape[:2])
    shift = np.array([effects.get(arm, 0.0) for arm in ARMS])[:, None]
    by_topic = rng.normal(0, UNLIKE_SD, (len(ARMS), 1, TOPICS)) + rng.normal(0, REST_SD, shape[:3])
    by_topic = by_topic + (shift + by_run)[:, :, None]
    items = rng.normal(0, TOPIC_SD, (TOPICS, 1)) + rng.normal(0, ITEM_SD, (TOPICS, ITEMS))
    go = expit(by_topic[:, :, :, None] + items)
    sided = expit(SIDED + rng.normal(0, SIDED_SD, shape[:2]))[:, :, None, None]
    shares = [sided * go, sided * (1 - go), *((1 - sided) * share + 0 * go for share in OTHERS)]
    edges = np.cumsum(shares, axis=0)[:-1, ..., None]
    return np.asarray((rng.random(shape) > edges).sum(axis=0), dtype=np.int64)


def net_go(said: NDArray[np.int64]) -> Floats:
    """Net go by arm, run and topic, (arms, runs, topics), of answers as `study` makes them."""
    score = np.array([{"go": 1.0, "stay": -1.0}.get(word, 0.0) for word in SAID])
    return np.asarray(score[said].mean(axis=(3, 4)), dtype=np.float64)


def truth(effect: float, subset_sd: float) -> float:
    """The mean of an arm's net go over all that is drawn, -1 to 1."""
    sd = np.sqrt(ITEM_SD**2 + TOPIC_SD**2 + UNLIKE_SD**2 + subset_sd**2 + SEED_SD**2 + REST_SD**2)
    weights = WEIGHTS / WEIGHTS.sum()
    sided = float(weights @ expit(SIDED + SIDED_SD * NODES))
    return sided * float(weights @ (2 * expit(effect + sd * NODES) - 1))


class Found(NamedTuple):
    """What the analysis makes of one study."""

    covers: tuple[bool, ...]  # by pole: whether its interval holds the truth
    asymmetry_covers: bool
    rejected: tuple[bool, ...]  # by pole: whether Holm rejects
    flipped: bool  # whether sign flips reject for a pole, Holm over both


def analysed(net: Floats, means: Mapping[str, float]) -> Found:
    """Analyse one study. net: as `net_go`. means: arm → the truth."""
    arms = dict(zip(ARMS, net, strict=True))
    made = {pole: two_way_t(arms[pole], arms["neutral"], LEVEL) for pole in POLES}
    true = {pole: means[pole] - means["neutral"] for pole in POLES}
    covers = tuple(made[p].interval.low <= true[p] <= made[p].interval.high for p in POLES)
    down, up = arms["neutral"] - arms["cautious"], arms["eager"] - arms["neutral"]
    more = two_way_t(down, up, LEVEL).interval
    p = holm({pole: made[pole].p for pole in POLES})
    flips = holm({pole: sign_flip((arms[pole] - arms["neutral"]).mean(axis=1)) for pole in POLES})
    return Found(
        covers,
        more.low <= -true["cautious"] - true["eager"] <= more.high,
        tuple(p[pole] <= ALPHA for pole in POLES),
        min(flips.values()) <= ALPHA,
    )


def simulated(effects: Mapping[str, float], kind: str, runs: int, subset_sd: float, studies: int) -> list[Found]:
    """So many studies of one kind."""
    rng = np.random.default_rng((SUBSETS.index(kind), runs, int(1000 * subset_sd), len(effects)))
    means = {arm: truth(effects.get(arm, 0.0), subset_sd) for arm in ARMS}
    return [analysed(net_go(study(effects, kind, runs, subset_sd, rng)), means) for _ in range(studies)]


def rows(studies: int) -> Iterator[Row]:
    """Every line, in order."""
    for kind, runs, subset_sd in product(SUBSETS, RUNS, SUBSET_SD):
        none, planted = (simulated(effects, kind, runs, subset_sd, studies) for effects in ({}, EFFECT))
        yield Row(
            kind,
            runs,
            subset_sd,
            _share([hit for each in none for hit in each.covers]),
            _share([hit for each in planted for hit in each.covers]),
            _share([each.asymmetry_covers for each in planted]),
            _share([any(each.rejected) for each in none]),
            _share([each.flipped for each in none]),
            _share([each.rejected[POLES.index("cautious")] for each in planted]),
        )


def _share(hits: Sequence[bool]) -> float:
    return float(np.mean(hits))


def main() -> None:
    """Simulate, print, record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=2000, help="simulated studies a line, without effects and with")
    args = parsed(parser)
    gc.freeze()  # statsmodels collects garbage at each correction, which takes longer than all else here together
    made = list(rows(args.studies))
    planted = {pole: truth(effect, SUBSET_SD[0]) - truth(0.0, SUBSET_SD[0]) for pole, effect in EFFECT.items()}
    title = f"{args.studies} studies a line; planted: " + ", ".join(f"{p} {v:+.3f}" for p, v in planted.items())
    table = Table(*(name.replace("_", " ") for name in Row._fields), title=title)
    for row in made:
        table.add_row(*map(str, row[:3]), *(f"{value:.3f}" for value in row[3:]))
    Console().print(table)
    results = {"planted": {**planted}, "rows": [row._asdict() for row in made]}
    record("coverage", f"python -m benchmarks.coverage --studies {args.studies}", results)


if __name__ == "__main__":
    main()
