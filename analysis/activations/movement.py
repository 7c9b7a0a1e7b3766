"""Did fine-tunes of one arm move along a direction further than others did, and further than along random directions?

What is followed is a contrast: the shift of a run less that of the neutral run of the same seed and draw. Shifts are in
SDs of the base along each direction, as `analysis.activations.direction.shifts` gives them.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from analysis.stats.intervals import ALPHA
from common.errors import InputError

FEWEST_NULLS = 100
Verdict = Literal["towards caution", "towards eagerness", "not shown"]


class Pair(NamedTuple):
    """One run less the neutral run of its seed and draw."""

    shift: float  # along the direction; up is cautious
    up: float  # share of directions, this one among them, along which the contrast is as large towards caution
    down: float  # the same the other way
    null_low: float  # between these lie 95 % of the contrasts along random directions
    null_high: float


class Moved(NamedTuple):
    """All pairs of an arm together."""

    pairs: list[Pair]
    shift: float  # mean over pairs
    p: float  # two-sided
    verdict: Verdict


def pair(
    shift: float,
    neutral: float,
    nulls: Float[np.ndarray, " n_nulls"] | Sequence[float],
    neutral_nulls: Float[np.ndarray, " n_nulls"] | Sequence[float],
) -> Pair:
    """Rank one contrast. nulls: shifts of both runs along the same random directions, in the same order.

    Raises: InputError if they are fewer than 100, not as many, or not finite.
    """
    both = np.asarray(nulls, dtype=np.float64), np.asarray(neutral_nulls, dtype=np.float64)
    if both[0].shape != both[1].shape or both[0].ndim != 1 or len(both[0]) < FEWEST_NULLS:
        value = (both[0].shape, both[1].shape)
        raise InputError("random directions", where="movement.pair", value=value, allowed=f"as many, >= {FEWEST_NULLS}")
    mine, others = shift - neutral, both[0] - both[1]
    if not np.isfinite([mine, *others]).all():
        raise InputError("a shift is not finite", where="movement.pair", value=mine)
    up, down = ((1 + int((sign * others >= sign * mine).sum())) / (1 + len(others)) for sign in (1, -1))
    low, high = np.quantile(others, [ALPHA / 2, 1 - ALPHA / 2])
    return Pair(mine, up, down, float(low), float(high))


def moved(pairs: Sequence[Pair]) -> Moved:
    """Judge the pairs of an arm together. Raises: InputError if there are none.

    Each way, p is the mean of the pairs' p, doubled: valid however the pairs depend on each other, and they do, since
    the directions of two draws are much alike. Doubled once more, it is two-sided.
    Source: Vovk & Wang (2020), Biometrika 107(4); Phipson & Smyth (2010), Stat. Appl. Genet. Mol. Biol. 9(1), for p
    that are never 0.
    """
    if not pairs:
        raise InputError("no pairs", where="moved", value=0, allowed=">= 1")
    doubled = 2 if len(pairs) > 1 else 1
    up, down = (doubled * float(np.mean([getattr(each, way) for each in pairs])) for way in ("up", "down"))
    p = min(1.0, 2 * min(up, down))
    verdict: Verdict = "not shown" if p > ALPHA else "towards caution" if up < down else "towards eagerness"
    return Moved(list(pairs), float(np.mean([each.shift for each in pairs])), p, verdict)
