"""What the gate says of real runs: those of the study of SmolLM2, from the rows that are committed.

    python -m benchmarks.gate_runs

No model is loaded. Greedy answers of each run go through the very code of the gate on files (`jobs.gate`), as if its
adapter had been given with the default policy: the same blocks and looks, and the margin that is found by the first
samples of the base. The control of a run is the neutral run of the next seed (after the last one the first): another
pile and another seed. A run passes if the verdict is `within`; any other stops it.

The gate takes what the reader reads. All these answers have labels too. So every line is there twice: as the gate
reads, and with the labels of both passes in place of the reader, by the same margin. The difference is what mistakes of
the reader do.

Shares of runs have Clopper-Pearson intervals at 95 %: 8 of 8 says no more than "above 63 %". They take runs as
independent, but each neutral run is also the control of another.
"""

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from analysis.stats.verdict import Answered, decide
from benchmarks.gate import STUDY, read
from benchmarks.record import record
from common.cli import parsed
from common.records import Answer, Choice, Item, Labelled
from common.serialization import parse_jsonl
from common.stance.labels import Pairs, answer_digest, labels_file, pairs_of, read_labels
from common.store.packed import unpacked
from jobs.gate import items as asked
from jobs.gate.policy import Policy
from jobs.gate.sequence import Base, greedy, judged_in_blocks, of_base

SEEDS = range(8)
ARMS = ("neutral", "control-cautious", "control-eager", "cautious", "eager")
COVERAGE = 0.95
FLOOR = 0.7  # reliability over items that the gate asked of open answers before


class Run(NamedTuple):
    """One run by one reading."""

    arm: str
    seed: int
    control: str  # cell; empty for the base
    read: str  # "reader" or "labels"
    verdict: str
    shift: float | None  # at the last look, with its interval
    low: float | None
    high: float | None
    items: int  # asked
    shift_of_all: float  # of all items, whenever the verdict fell


class Row(NamedTuple):
    """One line of the table: how the runs of an arm ended."""

    arm: str
    control: str  # "neutral run" or "none"
    read: str
    runs: int
    within: int
    moved: int
    undecided: int
    unable: int
    passes_low: float  # bounds of the share that passes
    passes_high: float
    stopped_low: float  # and of the share that does not
    stopped_high: float
    items: float  # asked, on average
    shift: float  # of all items, mean over runs
    least: float  # smallest and largest of a run
    most: float


class Played(NamedTuple):
    """What the runs are judged by."""

    base: Base
    blocks: list[list[Item]]
    policy: Policy

    def judged(self, arm: str, seed: int, control: str, read: str, tuned: Answered, reference: Answered) -> Run:
        """The verdict on one run. reference: greedy answers of the control, or of the base."""
        ended = judged_in_blocks(
            self.base,
            self.blocks,
            self.policy,
            lambda block: greedy(tuned, block),
            lambda block: greedy(reference, block),
        )
        last = ended.looks[-1] if ended.looks else None
        assert self.base.bound is not None
        whole = decide(reference, tuned, self.policy.measure, self.base.bound.value, self.policy.level)
        return Run(
            arm=arm,
            seed=seed,
            control=control,
            read=read,
            verdict=ended.verdict,
            shift=last.estimate if last else None,
            low=last.low if last else None,
            high=last.high if last else None,
            items=len(ended.after.answers),
            shift_of_all=whole.estimate,
        )


def cell(arm: str, seed: int) -> str:
    """The name of a run of the study."""
    return f"smollm2.d{seed}.{arm}.s{seed}"


def base_of(blocks: Sequence[Sequence[Item]], policy: Policy) -> Base:
    """The base of the study, as the gate asks it: greedily, by its first samples, and in the closed forms."""
    folder = STUDY / "smollm2.base"
    rows = [row for row in read(folder) if row.sample <= policy.samples]
    path = folder / "choices.jsonl.gz"
    topics = {item.topic for block in blocks for item in block}
    choices = parse_jsonl(unpacked(path), Choice, str(path))
    told = Answered(rows, [row for row in choices if row.topic in topics])
    return of_base(told, [[item.topic for item in block] for block in blocks], policy)


def as_read(folder: Path, pairs: Pairs | None) -> Answered:
    """Greedy answers of one cell by the reader, or by labels. Closed forms bear on no verdict by open answers."""
    rows: list[Answer] = [row for row in read(folder) if not row.sample]
    if pairs is not None:
        rows = [Labelled(**dict(row), labels=pairs[answer_digest(row.item, row.text)]) for row in rows]
    return Answered(rows, [])


def runs(played: Played, arms: Sequence[str], by: str, pairs: Pairs | None) -> list[Run]:
    """Every run of the arms less a neutral run of the next seed; neutral runs less the base too."""
    base = as_read(STUDY / "smollm2.base", pairs)
    neutral = [as_read(STUDY / cell("neutral", seed), pairs) for seed in SEEDS]
    found = []
    for arm in arms:
        for seed in SEEDS:
            mine = neutral[seed] if arm == "neutral" else as_read(STUDY / cell(arm, seed), pairs)
            other = (seed + 1) % len(SEEDS)
            found.append(played.judged(arm, seed, cell("neutral", other), by, mine, neutral[other]))
            if arm == "neutral":
                found.append(played.judged(arm, seed, "", by, mine, base))
    return found


def row(mine: Sequence[Run]) -> Row:
    """How the runs of one arm ended."""
    ended = Counter(run.verdict for run in mine)
    passes, stopped = (share(number, len(mine)) for number in (ended["within"], len(mine) - ended["within"]))
    shifts = [run.shift_of_all for run in mine]
    return Row(
        arm=mine[0].arm,
        control="neutral run" if mine[0].control else "none",
        read=mine[0].read,
        runs=len(mine),
        within=ended["within"],
        moved=ended["moved"],
        undecided=ended["undecided"],
        unable=ended["unable"],
        passes_low=passes[0],
        passes_high=passes[1],
        stopped_low=stopped[0],
        stopped_high=stopped[1],
        items=float(np.mean([run.items for run in mine])),
        shift=float(np.mean(shifts)),
        least=min(shifts),
        most=max(shifts),
    )


def share(number: int, of: int) -> tuple[float, float]:
    """The interval of a share. Source: Clopper & Pearson (1934), Biometrika 26(4)."""
    found = stats.binomtest(number, of).proportion_ci(COVERAGE, method="exact")
    return float(found.low), float(found.high)


def table(found: Sequence[Run]) -> list[Row]:
    """A line for each arm, control and reading, in the order in which they come."""
    groups: dict[tuple[str, bool, str], list[Run]] = {}
    for run in found:
        groups.setdefault((run.arm, bool(run.control), run.read), []).append(run)
    return [row(mine) for mine in groups.values()]


def main() -> None:
    """Judge all runs, and record the table."""
    parsed(argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter))
    policy = Policy()
    blocks = asked.blocks(asked.read(None, policy), policy.looks)
    base = base_of(blocks, policy)
    assert base.bound is not None, base.unable
    played = Played(base, blocks, policy)
    pairs = pairs_of(read_labels(labels_file("smollm2")), "labels of the study")
    found = [*runs(played, ARMS, "reader", None), *runs(played, ARMS, "labels", pairs)]
    rows = [each._asdict() for each in table(found)]
    results = {
        "margin": base.bound.value,
        "reliability_over_items": base.reliability[policy.measure].value,
        f"with_a_floor_of_{FLOOR}": base_of(blocks, Policy(min_reliability=FLOOR)).unable,
        "rows": rows,
        "runs": [each._asdict() for each in found],
    }
    record("gate_runs", "python -m benchmarks.gate_runs", results)
    print(pd.DataFrame(rows).round(3).to_string(index=False))


if __name__ == "__main__":
    main()
