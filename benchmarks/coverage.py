"""Nominal against actual: how often each interval of the report covers, and how often each test cries wolf.

    python -m benchmarks.coverage [--draws 4000]

Seeded simulation: differences of paired arms, in P(go), with spread between runs, topics and the items of a
topic, and a rest; six items a topic. Spreads are those that the laptop study had or, where larger, a pessimist's.
"""

import argparse
from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from analysis.stats.intervals import Floats, sign_flip, topic_shift_interval, tost, two_way_t
from benchmarks.record import record
from common.cli import parsed

LEVEL, MARGIN, ITEMS_A_TOPIC = 0.95, 0.10, 6
RUNS, ITEMS, RUN_SDS = (3, 5, 8), (18, 72), (0.0, 0.03, 0.10)
TOPIC_SD, ITEM_SD, REST_SD = 0.06, 0.10, 0.15
PLANNED = (8, 72)


class Row(NamedTuple):
    """One line of the table: shares of the simulated studies, except where it says what was simulated."""

    runs: int
    items: int
    run_sd: float
    two_way_covers: float  # nominally 0.95, over runs and topics
    two_way_alarms: float  # nominally 0.05
    sign_flip_alarms: float  # at most 0.05; 0 below 6 runs, whose smallest p is larger
    tost_false_within: float  # the effect lies at the margin: at most 0.05
    topic_covers: float  # the interval of one run over topics, nominally 0.95


def study(effect: float, runs: int, items: int, run_sd: float, rng: np.random.Generator) -> Floats:
    """Differences (runs, topics, items of a topic) of one simulated study."""
    topics = items // ITEMS_A_TOPIC
    between = rng.normal(0, run_sd, (runs, 1, 1)) + rng.normal(0, TOPIC_SD, (1, topics, 1))
    within = rng.normal(0, ITEM_SD, (1, topics, ITEMS_A_TOPIC))
    return effect + between + within + rng.normal(0, REST_SD, (runs, topics, ITEMS_A_TOPIC))


def rows(draws: int) -> Iterator[Row]:
    """Every line, in order."""
    for runs, items, run_sd in product(RUNS, ITEMS, RUN_SDS):
        rng = np.random.default_rng((runs, items, int(1000 * run_sd)))
        cover = alarm = flips = within = one = 0
        for _ in range(draws):
            made = study(0.0, runs, items, run_sd, rng)
            by_topic = made.mean(axis=2)
            contrast = two_way_t(by_topic, np.zeros_like(by_topic), LEVEL)
            cover += contrast.interval.low <= 0 <= contrast.interval.high
            alarm += contrast.p < 1 - LEVEL
            flips += sign_flip(by_topic.mean(axis=1)) < 1 - LEVEL
            moved = two_way_t(by_topic + MARGIN, np.zeros_like(by_topic), 0.90)
            within += tost(moved.interval, MARGIN).shown
            first = study(0.0, 1, items, 0.0, rng).ravel()  # of one run the interval speaks of that run alone
            names = [str(i) for i in range(items // ITEMS_A_TOPIC) for _ in range(ITEMS_A_TOPIC)]
            interval = topic_shift_interval(np.zeros_like(first), first, names, LEVEL).interval
            one += interval.low <= 0 <= interval.high
        yield Row(runs, items, run_sd, *(count / draws for count in (cover, alarm, flips, within, one)))


def main() -> None:
    """Simulate, print, record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=4000, help="simulated studies a line")
    args = parsed(parser)
    made = list(rows(args.draws))
    headings = [name.replace("_", " ") for name in Row._fields]
    table = Table(*headings, title=f"{args.draws} studies a line; the planned size in bold")
    for row in made:
        shares = (f"{value:.3f}" for value in row[3:])
        table.add_row(*map(str, row[:3]), *shares, style="bold" if row[:2] == PLANNED else "")
    Console().print(table)
    record("coverage", f"python -m benchmarks.coverage --draws {args.draws}", {"rows": [row._asdict() for row in made]})


if __name__ == "__main__":
    main()
