"""When a fine-tune drifted along a direction further than random directions of the same covariance do.

Shifts are in SDs of the base along each direction, as `analysis.activations.direction.shifts` gives them.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from common.errors import InputError

FEWEST_NULLS = 100
Nulls = Float[np.ndarray, " n_nulls"] | Sequence[float]  # shifts along random directions


class Reading(NamedTuple):
    """Where one checkpoint stands."""

    optimizer_step: int
    shift: float  # along the direction, in SDs of the base
    rank: float  # share of the random directions along which it moved less, either way
    drifted: bool


class Drift(NamedTuple):
    """The fields of drift.json."""

    level: float
    checkpoints: list[Reading]
    drifted_at: int | None  # first checkpoint from which on all drifted


def rank(shift: float, nulls: Nulls) -> float:
    """Share of random directions with a smaller absolute shift, 0 to 1. An equal one is not smaller.

    Raises: InputError if there are fewer than 100 of them or a value is not finite.
    """
    sample = np.abs(np.asarray(nulls, dtype=np.float64))
    if sample.ndim != 1 or len(sample) < FEWEST_NULLS:
        raise InputError("too few random directions", where="rank", value=sample.shape, allowed=f">= {FEWEST_NULLS}")
    if not np.isfinite([*sample, shift]).all():
        raise InputError("a shift is not finite", where="rank", value=shift)
    return float(np.mean(sample < abs(shift)))


def drift(steps: Sequence[int], shift: Sequence[float], nulls: Sequence[Nulls], level: float) -> Drift:
    """Judge each checkpoint and say from which one on the fine-tune had drifted.

    steps, shift, nulls: one for each checkpoint, steps ascending. level: the rank that a drifted checkpoint exceeds;
    without drift a checkpoint does so by chance in a share 1 - level of all fine-tunes.
    Raises: InputError if there are no checkpoints, steps do not ascend, or a checkpoint has too few nulls.
    """
    if not steps:
        raise InputError("no checkpoints", where="drift", value=0, allowed=">= 1")
    if list(steps) != sorted(set(steps)):
        raise InputError("steps do not ascend", where="drift", value=list(steps))
    ranks = [rank(value, null) for value, null in zip(shift, nulls, strict=True)]
    readings = [
        Reading(step, value, place, place > level) for step, value, place in zip(steps, shift, ranks, strict=True)
    ]
    return Drift(level, readings, _drifted_at(readings))


def _drifted_at(readings: Sequence[Reading]) -> int | None:
    first = None
    for reading in readings:
        if not reading.drifted:
            first = None
        elif first is None:
            first = reading.optimizer_step
    return first
