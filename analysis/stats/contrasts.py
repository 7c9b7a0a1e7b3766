"""The registered comparison as arithmetic: each pole against the neutral arm, where runs and topics are both samples.

Arrays in, numbers out: which runs are pairs, and where they come from, is the report's business. Poles are judged
separately, and the tests of a family, every model by every pole for one measure, are corrected together.
"""

from collections.abc import Hashable, Mapping
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float
from scipy import stats

from analysis.stats.intervals import (
    LEVEL,
    MAX_FLIPPED_RUNS,
    POWER,
    Interval,
    holm,
    minimum_detectable_effect,
    sign_flip,
    two_way_t,
)
from common.errors import InputError
from common.vocabulary import POLES, Pole

FEWEST_RUNS = 3  # from here on a spread over runs tells something about the next run
ENDS: dict[Pole, float] = {"cautious": 0.0, "eager": 1.0}  # of the scale of P(go), on the side of each pole
K = TypeVar("K", bound=Hashable)


class PairedRuns(NamedTuple):
    """The runs of a pole and of neutral, run by run of the same draw and seed, topics in the same order. In P(go)."""

    pole: Pole
    tuned: Float[np.ndarray, "n_runs n_topics"]  # nan where a topic has no valid answer
    control: Float[np.ndarray, "n_runs n_topics"]


class PoleContrast(NamedTuple):
    """One pole against neutral, in P(go)."""

    pairs: int  # runs of the pole with a neutral run of the same draw and seed
    interval: Interval
    p: float  # of the two-way t over runs and topics
    p_holm: float  # the same, corrected over its family
    p_sign_flip: float | None  # exact, over runs; speaks of these topics alone; None for too many runs
    detectable: float  # the smallest true effect that this study would have shown with a chance of POWER
    share_of_headroom: float | None  # effect as a share of the way from neutral to the pole's end of P(go)


def family(pairs: Mapping[K, PairedRuns]) -> dict[K, PoleContrast]:
    """The contrast of each pair, their p corrected together. A pair that tells too little is left out of the family.

    Raises: InputError as `pole_contrast`.
    Source: Holm (1979), Scand. J. Stat. 6(2).
    """
    made = {key: pole_contrast(each) for key, each in pairs.items() if enough(each)}
    corrected = holm({str(at): found.p for at, found in enumerate(made.values())}) if made else {}
    return {key: found._replace(p_holm=p) for (key, found), p in zip(made.items(), corrected.values(), strict=True)}


def enough(runs: PairedRuns) -> bool:
    """Whether there are at least FEWEST_RUNS pairs and 2 topics, each topic with a value in every run."""
    n_runs, n_topics = runs.tuned.shape
    return n_runs >= FEWEST_RUNS and n_topics >= 2 and bool(np.isfinite(runs.tuned - runs.control).all())


def pole_contrast(runs: PairedRuns) -> PoleContrast:
    """One pole against neutral by `two_way_t`, with `p_holm` as if it stood alone.

    The standard error, of which the detectable effect is a multiple, is half the interval over the quantile of t.
    Raises: InputError if the pole is none, or as `two_way_t`.
    """
    if runs.pole not in ENDS:
        raise InputError("no such pole", where="pole_contrast", value=runs.pole, allowed=", ".join(POLES))
    found = two_way_t(runs.tuned, runs.control, LEVEL)
    interval, by_run = found.interval, (runs.tuned - runs.control).mean(axis=1)
    error = (interval.high - interval.low) / 2 / float(stats.t.ppf((1 + LEVEL) / 2, interval.df))
    return PoleContrast(
        pairs=len(by_run),
        interval=interval,
        p=found.p,
        p_holm=found.p,
        p_sign_flip=sign_flip(by_run) if len(by_run) <= MAX_FLIPPED_RUNS else None,
        detectable=minimum_detectable_effect(error, interval.df, LEVEL, POWER),
        share_of_headroom=share_of_headroom(interval.estimate, float(runs.control.mean()), runs.pole),
    )


def share_of_headroom(effect: float, neutral: float, pole: Pole) -> float | None:
    """An effect as a share of the way from neutral to the pole's end of P(go): negative where it points away from it.

    effect: pole minus neutral, -1 to 1. neutral: P(go), 0 to 1. None where neutral stands at that end already.
    """
    headroom = abs(ENDS[pole] - neutral)
    toward = effect if ENDS[pole] else -effect
    return toward / headroom if headroom > 0 else None
