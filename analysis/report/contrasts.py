"""A walk over a study for the registered comparisons: which runs are pairs. `analysis.stats.contrasts` judges them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.report.bound_numbers import Source
from analysis.report.study import Run, Study
from analysis.stats.contrasts import PairedRuns, family
from analysis.stats.intervals import Interval
from analysis.stats.measures import shown
from analysis.stats.stance import by_group
from common.vocabulary import POLES

Pairs = list[tuple[Run, Run]]  # a run of the pole, and the neutral run of the same draw and seed


class Contrast(NamedTuple):
    """One pole against neutral, in P(go): the fields of `PoleContrast`, and what it is of."""

    model: str
    pole: str
    measure: str
    sources: tuple[Source, ...]
    pairs: int
    interval: Interval
    p: float
    p_holm: float
    p_sign_flip: float | None
    detectable: float
    share_of_headroom: float | None


def contrasts(study: Study) -> list[Contrast]:
    """Every comparison for which there are enough pairs with a value in each topic; others are left out."""
    pairs = {(model, pole): _pairs(study, model, pole) for model in study.bases for pole in POLES}
    known = {(model, pole): mine for (model, pole), mine in pairs.items() if mine}
    made = []
    for measure in shown():
        runs = {
            (model, pole): PairedRuns(pole, *(_by_topic([pair[side] for pair in mine], measure) for side in (0, 1)))
            for (model, pole), mine in known.items()
        }
        for (model, pole), found in family(runs).items():
            made.append(Contrast(model, pole, measure, _sources(known[model, pole]), **found._asdict()))
    return made


def _pairs(study: Study, model: str, pole: str) -> Pairs:
    neutral = {(run.draw, run.seed): run for run in study.arm(model, "neutral")}
    return [(run, neutral[run.draw, run.seed]) for run in study.arm(model, pole) if (run.draw, run.seed) in neutral]


def _by_topic(runs: Sequence[Run], measure: str) -> NDArray[np.float64]:
    """P(go) by run and topic, (n_runs, n_topics); nan where a topic has no valid answer."""
    columns = [by_group(run.scored.choices, "topic")[measure] for run in runs if run.scored]
    return pd.concat(columns, axis=1).T.to_numpy(dtype=np.float64)


def _sources(pairs: Pairs) -> tuple[Source, ...]:
    return tuple(run.scored.sources[0] for pair in pairs for run in pair if run.scored)
