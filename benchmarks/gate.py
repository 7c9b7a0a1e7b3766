"""How often the gate errs: neutral-like adapters that it does not pass, and shifted ones that it does.

    python -m benchmarks.gate [--adapters 2000] [--shift 0.5]

Seeded simulation of adapters on 16 topics, by how answers vary in rows that are committed. The margin is the tool's
own: the smallest that the items pass with 95 % at zero shift, by four samples of the base (`jobs.gate`), found anew for
each of 20 bases, which differ in the samples that were drawn. Then adapters are judged look by look, as the tool does.
Where nothing moved, the shifts of items come from one of three sources:

- asked again: a sample of the base less another of the same item, SmolLM2, 160 items
- neutral less base: greedy answers of a run on neutral advice less those of its base, 160 items
- neutral less neutral: those of two neutral runs of the demo, as with a control adapter, 48 items

Of the last two the mean is taken off: it is what any training does. What is left is taken apart into topics, a normal
part by the method of moments, and items, which are drawn with replacement. No answer of another arm is read. A shifted
adapter has the shift on every item besides. That answers cannot go beyond -1 and 1, which would make it vary less, is
left out.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.stats.answers import by_item, plain
from analysis.stats.looks import DRAWS, Errs, Floats, Layout, errs, laid_out, redrawn, smallest_bound, unmoved
from benchmarks.record import record
from common.cli import parsed
from common.provenance import ROOT
from common.records import Answer
from common.serialization import parse_jsonl
from common.store.packed import unpacked
from jobs.gate.policy import Policy

STUDY, DEMO = ROOT / "reports/smollm2/rows/evaluate", ROOT / "reports/archive/demo/rows/evaluate"
TOPICS, BASES = 16, 20
LOOKS, SAMPLES, LEVEL = Policy().looks, Policy().samples, Policy().level  # of the tool, as it is
SIZES = (10, 5)  # items of a topic
SHIFT = 0.5  # about what the cautious run of the pilot moved by labels
Draw = Callable[[int, int, np.random.Generator], Floats]  # adapters, items of a topic → (adapters, n_items)


class Row(NamedTuple):
    """One line of the table: means over bases, and the worst base where it says so."""

    source: str
    items: int
    margin: float
    largest_margin: float
    passes: float  # share of adapters without a shift
    passes_worst: float
    stopped: float  # share of adapters with the shift that do not pass
    stopped_worst: float
    items_at_zero: float  # asked before the verdict
    items_at_shift: float


def read(folder: Path) -> list[Answer]:
    """The answers of one cell on held-out items, as it was asked."""
    path = folder / "answers.jsonl.gz"
    return plain(parse_jsonl(unpacked(path), Answer, str(path)), "held-out")


def base_samples() -> "pd.DataFrame":
    """Net go of every sample of the base of the study, by topic and item."""
    rows = read(STUDY / "smollm2.base")
    table = redrawn(rows)
    topics = pd.Series({row.item: row.topic for row in rows}, name="topic")
    return table.set_index(topics.loc[table.index], append=True)


def between(one: Path, other: Path) -> "pd.Series[float]":
    """Greedy net go of one cell less that of another, the mean taken off, by topic (the index)."""
    before, after = (by_item([row for row in read(folder) if not row.sample]) for folder in (other, one))
    shift = after["net"] - before["net"]
    return (shift - shift.mean()).set_axis(before["topic"])


class Parts(NamedTuple):
    """What shifts around their mean are made of."""

    topic: float  # standard deviation between topics
    items: Floats  # of single items around their topic


def parts(shifts: "pd.Series[float]") -> Parts:
    """Topics and items apart; every topic has as many items. Source: one-way layout by the method of moments."""
    groups = shifts.groupby(level=0)
    many = int(groups.size().iloc[0])
    within = float(groups.var(ddof=1).mean())
    left = (shifts - groups.transform("mean")).to_numpy(dtype=float) * np.sqrt(many / (many - 1))
    return Parts(float(np.sqrt(max(0.0, groups.mean().var(ddof=1) - within / many))), left)


def from_parts(made: Parts) -> Draw:
    """Shifts of topics, normal, and of items, drawn with replacement."""

    def draw(adapters: int, items: int, rng: np.random.Generator) -> Floats:
        topics = rng.normal(0, made.topic, (adapters, 1, TOPICS))
        return np.asarray((topics + rng.choice(made.items, (adapters, items, TOPICS))).reshape(adapters, -1))

    return draw


def asked_again(samples: "pd.DataFrame") -> Draw:
    """Shifts that are one sample of an item less another; of each topic as many items as are asked, by chance."""

    def draw(adapters: int, items: int, rng: np.random.Generator) -> Floats:
        topics = [group.to_numpy(dtype=float) for _, group in samples.groupby(level="topic")]
        shifts = [rng.permuted(unmoved(values, adapters, rng), axis=1)[:, :items] for values in topics]
        return np.asarray(np.stack(shifts, axis=2).reshape(adapters, -1))

    return draw


def layout(items: int) -> Layout:
    """Blocks in which every topic has as many items; items stand block by block, as they are drawn."""
    topics = [f"t{number}" for number in range(TOPICS)]
    return laid_out([[*topics] * (items // LOOKS)] * LOOKS, LEVEL)


def margin(samples: "pd.DataFrame", items: int, rng: np.random.Generator) -> float:
    """The margin that the tool finds on a base of which it has a few samples an item."""
    chosen = samples.groupby(level="topic", group_keys=False).head(items).to_numpy(dtype=float)
    drawn = np.take_along_axis(chosen, rng.permuted(np.tile(np.arange(chosen.shape[1]), (len(chosen), 1)), axis=1), 1)
    ordered = drawn[:, :SAMPLES].reshape(TOPICS, items, SAMPLES).transpose(1, 0, 2).reshape(-1, SAMPLES)
    return smallest_bound(unmoved(ordered, DRAWS, rng), layout(items))


def row(name: str, draw: Draw, samples: "pd.DataFrame", items: int, adapters: int, shift: float) -> Row:
    """One line: the margins of all bases, and what each does to adapters with and without the shift."""
    rng = np.random.default_rng([20261127, items, len(name)])
    margins, zero, moved = list[float](), list[Errs](), list[Errs]()
    for _ in range(BASES):
        margins.append(margin(samples, items, rng))
        zero.append(errs(draw(adapters, items, rng), layout(items), margins[-1]))
        moved.append(errs(draw(adapters, items, rng) + shift, layout(items), margins[-1]))
    passes, stopped = [each.within for each in zero], [1 - each.within for each in moved]
    return Row(
        source=name,
        items=TOPICS * items,
        margin=float(np.mean(margins)),
        largest_margin=max(margins),
        passes=float(np.mean(passes)),
        passes_worst=min(passes),
        stopped=float(np.mean(stopped)),
        stopped_worst=min(stopped),
        items_at_zero=float(np.mean([each.items for each in zero])),
        items_at_shift=float(np.mean([each.items for each in moved])),
    )


def sources(samples: "pd.DataFrame") -> dict[str, Draw]:
    """Where the shifts of adapters that did not move come from."""
    neutral = between(STUDY / "smollm2.d0.neutral.s0", STUDY / "smollm2.base")
    apart = between(DEMO / "smollm2.d0.neutral.s0", DEMO / "smollm2.d1.neutral.s1")
    return {
        "asked again": asked_again(samples),
        "neutral less base": from_parts(parts(neutral)),
        "neutral less neutral": from_parts(parts(apart)),
    }


def main() -> None:
    """Simulate, and record the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adapters", type=int, default=2000, help="simulated for each base and line (%(default)s)")
    parser.add_argument("--shift", type=float, default=SHIFT, help="of the adapters to be stopped (%(default)s)")
    args = parsed(parser)
    samples = base_samples()
    rows = [
        row(name, draw, samples, items, args.adapters, args.shift)._asdict()
        for items in SIZES
        for name, draw in sources(samples).items()
    ]
    record("gate", "python -m benchmarks.gate", {"adapters": args.adapters, "shift": args.shift, "rows": rows})
    print(pd.DataFrame(rows).round(3).to_string(index=False))


if __name__ == "__main__":
    main()
