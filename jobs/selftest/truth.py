"""Two planted fine-tunes: one whose shift is carried by a known direction, and one that only moves along another."""

from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from analysis.activations.steering import rank_of_closing, share_of_gap, steering_effect, topic_means
from analysis.stats.intervals import ALPHA
from common.lm.directions import Direction
from common.lm.margins import Model, NeutralText, Readout
from common.lm.mediation import Compared, ablated, necessary, sufficient
from common.lm.planted import planted, that_does_not, that_steers, topic_slopes
from common.lm.steering import doses, effects

Floats = NDArray[np.float64]
BIAS = 0.02  # of the typical length of a residual: small enough that what does nothing at first still does nothing
CARRIED = 0.1  # by which a share may miss the truth
PUSHED = 0.03  # off-target KL of a push, nats a token
Check = tuple[str, float, float]  # name, value, what it may be at most


def planted_truth(
    model: Model, readout: Readout, neutral: NeutralText, direction: Direction, nulls: Floats, length: float
) -> Iterator[Check]:
    """What the instruments of mediation and of steering say of both.

    nulls: unit vectors (n, d_model). length: of a typical residual. The second direction is the one nearest to that of
    caution along which no margin grows.
    """
    layer = direction.layer
    slopes = topic_slopes(readout, layer)
    steers = that_steers(slopes)
    inert = that_does_not(slopes, direction.unit)
    carried = _fine_tune(model, readout, layer, BIAS * length * steers)
    yield from _carried(carried, layer, np.vstack([steers, nulls]))
    decoy = _fine_tune(model, readout, layer, BIAS * length * (steers + inert))
    yield from _decoy(decoy, layer, np.vstack([inert, nulls]), BIAS * length)
    topics = [each.group for each in readout.prompts]
    given = doses(neutral, np.vstack([steers, inert, nulls]), [PUSHED], length)
    pushed = effects(partial(readout.steered, layer), np.vstack([steers, inert, nulls]), given)[:, :, 0]
    for name, number in (("cause-rank", 0), ("inert-rank", 1)):
        p = steering_effect(pushed[number], {"covariance": pushed[2:]}, topics).against["covariance"].p
        yield _ranked(name, p, shown=number == 0)


def _fine_tune(model: Model, readout: Readout, layer: int, bias: Floats) -> Compared:
    """A base, and the same with a bias in its weights."""
    device = readout.ids.device
    after = partial(planted, model, layer, torch.tensor(bias, dtype=torch.float32, device=device))
    return Compared(model, readout, nullcontext, after, [layer])


def _carried(compared: Compared, layer: int, units: Floats) -> Iterator[Check]:
    parts = [sufficient(compared, layer, units), necessary(compared, layer, units), ablated(compared, units)]
    shares, ranks = zip(*(_share_and_rank(compared, part) for part in parts), strict=True)
    yield "carried-share", max(1.0 if share is None else abs(share - 1) for share in shares), CARRIED
    yield _ranked("carried-rank", max(ranks), shown=True)


def _decoy(compared: Compared, layer: int, units: Floats, moved: float) -> Iterator[Check]:
    along = float(compared.mean_difference(layer) @ units[0])
    yield "decoy-moved", abs(along / moved - 1), CARRIED
    parts = [sufficient(compared, layer, units), necessary(compared, layer, units)]
    shares, ranks = zip(*(_share_and_rank(compared, part) for part in parts), strict=True)
    yield "decoy-share", max(1.0 if share is None else abs(share) for share in shares), CARRIED
    yield _ranked("decoy-rank", min(ranks), shown=False)


def _share_and_rank(compared: Compared, parts: Floats) -> tuple[float | None, float]:
    """The share of the first unit, and its rank among the others."""
    topics = [each.group for each in compared.readout.prompts]
    rank = rank_of_closing(topic_means(parts, topics), topic_means(compared.gap, topics))
    return share_of_gap(parts[0], compared.gap, topics).estimate, rank


def _ranked(name: str, p: float, shown: bool) -> Check:
    """A check that a rank shows something, or that it does not."""
    return (name, p, ALPHA) if shown else (name, 1 - p, 1 - ALPHA)
