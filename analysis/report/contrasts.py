"""The registered comparisons: each pole against the neutral arm, paired by draw and seed; runs and topics are samples.

Poles are judged separately. Their family, every model by every pole, is corrected together for each measure.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from analysis.report.bound_numbers import Source
from analysis.report.study import Run, Study
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
from analysis.stats.stance import by_group
from common.vocabulary import POLES

MEASURES = ("choice", "sentence")
FEWEST_RUNS = 3  # from here on a spread over runs tells something about the next run


class Contrast(NamedTuple):
    """One pole against neutral, in P(go)."""

    model: str
    pole: str
    measure: str
    pairs: int  # runs of the pole with a neutral run of the same draw and seed
    interval: Interval
    p: float  # of the two-way t over runs and topics
    p_holm: float  # the same, corrected over the family of its measure
    p_sign_flip: float | None  # exact, over runs; speaks of these topics alone; None for too many runs
    detectable: float  # the smallest true effect that this study would have shown with a chance of POWER
    headroom: float | None  # effect as a share of the way from neutral to the end of the scale on the pole's side
    sources: tuple[Source, ...]


def contrasts(study: "Study") -> list[Contrast]:
    """Every comparison for which there are enough pairs with a value in each topic; others are left out."""
    made = [
        found
        for measure in MEASURES
        for model in study.bases
        for pole in POLES
        if (found := _contrast(study, model, pole, measure)) is not None
    ]
    for measure in MEASURES:
        family = {str(at): each.p for at, each in enumerate(made) if each.measure == measure}
        corrected = holm(family) if family else {}
        for at, p in corrected.items():
            made[int(at)] = made[int(at)]._replace(p_holm=p)
    return made


def _contrast(study: "Study", model: str, pole: str, measure: str) -> Contrast | None:
    pairs = _pairs(study, model, pole)
    if len(pairs) < FEWEST_RUNS:
        return None
    tuned, control = (_by_topic([pair[side] for pair in pairs], measure) for side in (0, 1))
    if tuned.shape[1] < 2 or not np.isfinite(tuned - control).all():
        return None
    found = two_way_t(tuned, control, LEVEL)
    interval = found.interval
    error = (interval.high - interval.low) / 2 / float(stats.t.ppf((1 + LEVEL) / 2, interval.df))
    neutral = float(control.mean())
    room = neutral if pole == "cautious" else 1 - neutral
    toward = -interval.estimate if pole == "cautious" else interval.estimate
    return Contrast(
        model=model,
        pole=pole,
        measure=measure,
        pairs=len(pairs),
        interval=interval,
        p=found.p,
        p_holm=found.p,
        p_sign_flip=sign_flip((tuned - control).mean(axis=1)) if len(pairs) <= MAX_FLIPPED_RUNS else None,
        detectable=minimum_detectable_effect(error, interval.df, LEVEL, POWER),
        headroom=toward / room if room > 0 else None,
        sources=tuple(run.scored.sources[0] for pair in pairs for run in pair if run.scored),
    )


def _pairs(study: "Study", model: str, pole: str) -> "list[tuple[Run, Run]]":
    neutral = {(run.draw, run.seed): run for run in study.arm(model, "neutral") if run.scored}
    mine = [run for run in study.arm(model, pole) if run.scored]
    return [(run, neutral[run.draw, run.seed]) for run in mine if (run.draw, run.seed) in neutral]


def _by_topic(runs: "Sequence[Run]", measure: str) -> NDArray[np.float64]:
    """P(go) by run and topic, (n_runs, n_topics); nan where a topic has no valid answer."""
    columns = [by_group(run.scored.choices, "topic")[measure] for run in runs if run.scored]
    return pd.concat(columns, axis=1).T.to_numpy(dtype=np.float64)
