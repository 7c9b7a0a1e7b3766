"""Ours beside a peer that runs in the same process: turns, what they tell, and one command line for all of them."""

import argparse
import functools
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import torch

from benchmarks.record import bootstrap_ratio, record
from common.cli import parsed
from common.lm.runtime import device, dtype
from common.pipeline.command import read_spec
from common.provenance import ROOT, provenance
from common.records import Item
from common.spec import RunSpec
from common.stance.items import ITEMS, read_items
from jobs.finetune.speed import gemm_peak

T = TypeVar("T")
Measured = Callable[[RunSpec, torch.dtype, argparse.Namespace], dict[str, Any]]


def arguments(told: str | None, items: int) -> argparse.ArgumentParser:
    """What each of them asks for. told: the docstring of the command. items: how many are read, if none are named."""
    parser = argparse.ArgumentParser(description=told, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spec", default="workflows/specs/demo.json")
    parser.add_argument("--items", type=int, default=items)
    parser.add_argument("--blocks", type=int, default=5)
    return parser


def measure(name: str, parser: argparse.ArgumentParser, measured: Measured, told: Mapping[str, str]) -> None:
    """Measure in fp32, and in the type that studies use where it is another; record both.

    told: argument → what it is called in the result.
    """
    args = parsed(parser)
    spec = read_spec(args.spec)
    results: dict[str, Any] = {}
    for precision in dict.fromkeys((torch.float32, dtype())):
        found = measured(spec, precision, args) | {"GEMM peak, GFLOP/s": peak(precision) / 1e9}
        results |= {f"{str(precision).removeprefix('torch.')}: {what}": value for what, value in found.items()}
    results |= {called: getattr(args, argument) for argument, called in told.items()}
    results |= {"blocks": args.blocks, "threads": torch.get_num_threads()}
    results["largest memory of the process, both models in it, GiB"] = provenance()["peak_memory_bytes"] / 2**30
    record(name, f"python -m benchmarks.{name}", results)


@functools.cache
def peak(precision: torch.dtype) -> float:
    """FLOP/s of a large product, measured once here."""
    return gemm_peak(precision, device())


def some_items(count: int) -> list[Item]:
    """The first held-out items of all topics."""
    return read_items(ROOT / ITEMS, -(-count // 16))[:count]


class Seconds(NamedTuple):
    """What one turn took."""

    wall: float
    processor: float  # of all threads; beside other work it tells more than the wall


class Turns(NamedTuple, Generic[T]):
    """Two sides that took turns: ours, then the peer."""

    found: list[T]
    first: list[Seconds]  # the warm-up
    blocks: list[tuple[Seconds, ...]]

    def seconds(self, side: int) -> float:
        """Median wall seconds of a side."""
        return statistics.median(each[side].wall for each in self.blocks)

    def rates(self, what: str, peer: str, counts: Sequence[int]) -> dict[str, Any]:
        """What each side does a second. counts: of a turn, of either side."""
        return {f"{what}, {side}": counts[at] / self.seconds(at) for at, side in enumerate(("ours", peer))}

    def told(self, what: str, peer: str, counts: Sequence[int]) -> dict[str, Any]:
        """Rates, how many times as fast ours is, and the first turns."""
        first = ", ".join(f"{each.wall:.1f}" for each in self.first)
        return self.rates(what, peer, counts) | times_as_fast(self.blocks) | {f"first turn, ours and {peer}, s": first}


def in_turn(sides: Sequence[Callable[[], T]], blocks: int) -> Turns[T]:
    """Let sides take turns (A B A B …), the first to warm up and `blocks` more."""
    found, first = zip(*map(_timed, sides), strict=True)
    return Turns(list(found), list(first), [tuple(_timed(side)[1] for side in sides) for _ in range(blocks)])


def times_as_fast(blocks: Sequence[tuple[Seconds, ...]]) -> dict[str, float]:
    """How many times as fast the first of two sides is, with a 95 % interval; by processor time too."""
    ratio, low, high = bootstrap_ratio([(theirs.wall, ours.wall) for ours, theirs in blocks])
    by_processor = bootstrap_ratio([(theirs.processor, ours.processor) for ours, theirs in blocks])
    return {
        "times as fast": ratio,
        "times as fast, 95 % low": low,
        "times as fast, 95 % high": high,
        "times as fast, by processor time": by_processor[0],
        "times as fast, by processor time, 95 % low": by_processor[1],
        "times as fast, by processor time, 95 % high": by_processor[2],
    }


def _timed(work: Callable[[], T]) -> tuple[T, Seconds]:
    wall, processor = time.perf_counter(), time.process_time()
    found = work()
    return found, Seconds(time.perf_counter() - wall, time.process_time() - processor)
