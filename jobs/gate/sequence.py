"""The verdict, block by block: first whether the base can answer, then whether the adapter stays within the margin."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import numpy as np

from analysis.stats import answers
from analysis.stats.looks import DRAWS as SIMULATED
from analysis.stats.looks import PASS, Errs, errs, laid_out, redrawn, smallest_bound, unmoved
from analysis.stats.reliability import ANSWER, Correlation, Told, reliabilities
from analysis.stats.verdict import Answered, Decision, Verdict, decide
from common.gate_schemas import GateVerdict
from common.records import Item
from jobs.gate.policy import STUDY, Policy

UNREAD = ("off topic", "incoherent")
FOUND = f"the smallest that these items pass with {PASS:.0%} at zero shift, by how the base varies when asked again"
GIVEN, OF_STUDY = "given", "that of a study: a closed form has no samples to find a smaller one by"
Ask = Callable[[Sequence[Item]], Answered]


class Bound(NamedTuple):
    """The margin, how it came about, and what the items can do by it."""

    value: float
    how: str
    at_zero: Errs | None  # None: not simulated
    at_margin: Errs | None  # the same of adapters with a shift as large as the margin


class Base(NamedTuple):
    """What the base is worth as a place to start from."""

    told: Answered  # greedy answers and samples, and closed forms, on all items
    reliability: dict[str, Correlation]  # of each measure, on the base
    unable: str  # why it cannot answer; empty where it can
    bound: Bound | None  # None where it cannot


class Ended(NamedTuple):
    """What the looks ended with."""

    verdict: GateVerdict
    reason: str
    looks: list[Decision]
    before: Answered
    after: Answered


def of_base(told: Answered, topics: Sequence[Sequence[str]], policy: Policy) -> Base:
    """Whether the base can answer, and the margin. topics: of the items of each block, in the order they are asked."""
    found = {name: each.base for name, each in reliabilities(Told(*told), (), ()).items()}
    unable = _unreadable(told, policy, "the base") or _unreliable(found, policy)
    return Base(told, found, unable, None) if unable else _bounded(told, found, topics, policy)


def _bounded(told: Answered, found: dict[str, Correlation], topics: Sequence[Sequence[str]], policy: Policy) -> Base:
    layout = laid_out(topics, policy.level)
    if policy.measure != ANSWER:
        bound = Bound(policy.margin or STUDY.bound, GIVEN if policy.margin else OF_STUDY, None, None)
        return Base(told, found, "", bound)
    order = list(dict.fromkeys(row.item for row in told.answers))
    values = redrawn(told.answers).loc[order].to_numpy(dtype=float)
    if policy.margin is None and not np.ptp(values, axis=1).any():
        same = "asked again, the base advises the same on each item: no margin can be found by how it varies"
        return Base(told, found, f"{same}; give --margin", None)
    shifts = unmoved(values, SIMULATED, np.random.default_rng([policy.seed, 1]))
    value = policy.margin or smallest_bound(shifts, layout)
    if policy.margin is None and value > policy.max_margin:
        few = f"{len(order)} items are too few: the smallest margin that they pass at zero shift is {value:.2f}"
        return Base(told, found, f"{few}, above {policy.max_margin:.2f} (--max-margin); or give --margin", None)
    how = GIVEN if policy.margin else FOUND
    bound = Bound(value, how, errs(shifts, layout, value), errs(shifts + value, layout, value))
    return Base(told, found, "", bound)


def judged_in_blocks(
    base: Base, blocks: Sequence[Sequence[Item]], policy: Policy, tuned: Ask, reference: Ask | None
) -> Ended:
    """Ask block by block and stop when the verdict is clear. reference: None where the shift is from the base."""
    assert base.bound is not None
    layout = laid_out([[item.topic for item in block] for block in blocks], policy.level)
    before, after, looks = Answered([], []), Answered([], []), list[Decision]()
    for block, level in zip(blocks, layout.levels, strict=True):
        before = joined(before, greedy(base.told, block) if reference is None else reference(block))
        after = joined(after, tuned(block))
        if broken := _unreadable(after, policy, "the tuned model"):
            return Ended("unable", broken, looks, before, after)
        looks.append(decide(before, after, policy.measure, base.bound.value, level))
        if looks[-1].verdict is not Verdict.UNDECIDED:
            break
    return Ended(word(looks[-1].verdict), looks[-1].reason, looks, before, after)


def word(verdict: Verdict) -> GateVerdict:
    """The verdict as outputs have it."""
    return cast(GateVerdict, str(verdict))


def greedy(told: Answered, items: Sequence[Item]) -> Answered:
    """The greedy answers and closed forms of some items."""
    mine = {item.id for item in items}
    return Answered(
        [row for row in told.answers if row.item in mine and not row.sample],
        [row for row in told.choices if row.item in mine],
    )


def joined(one: Answered, other: Answered) -> Answered:
    """What was answered to both sets of items."""
    return Answered([*one.answers, *other.answers], [*one.choices, *other.choices])


def _unreadable(told: Answered, policy: Policy, who: str) -> str:
    """Why a model cannot answer, by its greedy answers; empty where it can."""
    said = answers.rates([row for row in told.answers if not row.sample]).said
    share = sum(said[word] for word in UNREAD)
    if share <= policy.max_unreadable:
        return ""
    told_of = ", ".join(f"{word} {said[word]:.0%}" for word in UNREAD)
    return f"{who} cannot answer: {told_of}, together above {policy.max_unreadable:.0%}"


def _unreliable(found: dict[str, Correlation], policy: Policy) -> str:
    """Why the measure cannot be relied on; empty where it can, or the policy has no floor for it."""
    mine, floor = found[policy.measure], policy.floor()
    if floor is None or (mine.value is not None and mine.value >= floor):
        return ""
    stands = f"not known ({mine.reason})" if mine.value is None else f"{mine.value:.2f}"
    others = [name for name, each in found.items() if each.value is not None and each.value >= floor]
    better = f"; reliable on it: {', '.join(others)}" if others else "; no measure is reliable on it"
    return f"the reliability of the measure {policy.measure} on this base is {stands}, below {floor:.2f}{better}"
