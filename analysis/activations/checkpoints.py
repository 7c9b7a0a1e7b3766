"""Where a checkpoint of anybody's training stands: along a named direction, and in general, each beside chance.

What is followed is how the mean residual over some texts moved from the base, (d_model,). With a control run, its own
movement is taken off first, for what any training does is in both. Along the direction, the unit is the SD of the base
over those texts, as in `analysis.activations.direction.shifts`; the same is done along random directions with the
covariance of the base's residuals. In general, the unit is the root of the base's total variance over those texts.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from analysis.activations.direction import spread
from analysis.activations.drift import rank
from common.errors import InputError

Floats = NDArray[np.float64]


class Standing(NamedTuple):
    """Where one checkpoint stands along the direction, less its control where there is one; SDs of the base."""

    shift: float  # along the direction
    null_low: float  # between these lies the share `level` of the shifts along random directions
    null_high: float
    rank: float  # share of the random directions along which it moved less, either way


def standing(
    moved: Float[np.ndarray, " d_model"],
    base: Float[np.ndarray, "n_texts d_model"],
    directions: Float[np.ndarray, "1+n_nulls d_model"],
    level: float,
) -> Standing:
    """Judge how a mean residual moved. directions: unit vectors, the named one first, then random ones.

    Raises: InputError if shapes do not fit, a value is not finite, there are fewer than 100 random directions, or as
    `spread` does.
    """
    each = np.asarray(moved, dtype=np.float64)
    if each.shape != base.shape[1:] or each.shape != directions.shape[1:]:
        value = (each.shape, base.shape, directions.shape)
        raise InputError("shapes differ", where="standing", value=value, allowed="one d_model")
    along = directions @ each / spread(base, directions)
    low, high = np.quantile(along[1:], [(1 - level) / 2, (1 + level) / 2])
    place = rank(float(along[0]), along[1:])
    return Standing(float(along[0]), float(low), float(high), place)


def distance(moved: Float[np.ndarray, " d_model"], base: Float[np.ndarray, "n_texts d_model"]) -> float:
    """How far a mean residual moved in general, in roots of the base's total variance. Raises: as `chance_distance`."""
    return float(np.linalg.norm(np.asarray(moved, dtype=np.float64))) / _length(base)


def chance_distance(
    base: Float[np.ndarray, "n_texts d_model"], level: float, draws: int, rng: np.random.Generator
) -> float:
    """How far apart the means of two samples of as many texts lie, in a share `level` of draws: the unit of `distance`.

    Draws are Gaussian with the covariance of the base over the texts. A model that moved no further than this moved no
    further than other texts would have moved the mean.
    Raises: InputError if there are fewer than 2 texts, or they do not vary.
    """
    sample = np.asarray(base, dtype=np.float64)
    number = len(sample)
    centred = sample - sample.mean(axis=0)
    root = centred / np.sqrt(max(number - 1, 1))
    drawn = rng.standard_normal((draws, number)) @ root * np.sqrt(2 / number)
    return float(np.quantile(np.linalg.norm(drawn, axis=1), level)) / _length(sample)


def nearest(steps: list[int], to: int) -> int:
    """The step of a control run that stands for this one: the nearest, of two as near the earlier.

    Raises: InputError if there is none.
    """
    if not steps:
        raise InputError("no checkpoints", where="control", value=0, allowed=">= 1")
    return min(steps, key=lambda step: (abs(step - to), step))


def _length(base: Float[np.ndarray, "n_texts d_model"]) -> float:
    """The root of the total variance."""
    variance = float(np.asarray(base, dtype=np.float64).var(axis=0, ddof=1).sum()) if len(base) > 1 else 0.0
    if not variance > 0:
        raise InputError("the base reads every text alike", where="distance", value=len(base), allowed=">= 2 texts")
    return float(np.sqrt(variance))
