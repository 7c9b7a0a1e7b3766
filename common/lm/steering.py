"""Pushing a model along directions, both ways, at coefficients of equal off-target KL."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from common.lm.doses import matched
from common.lm.margins import NeutralText

Floats = NDArray[np.float64]
SIGNS = np.array([1.0, -1.0])
Steered = Callable[[Float[Floats, "n_vectors d_model"]], Float[Floats, "n_vectors n_questions"]]


class Doses(NamedTuple):
    """How much of each direction is added: its coefficient along and against it, for each off-target KL."""

    coefficients: Float[Floats, "n_directions 2 n_levels"]
    off_target_kl: Float[Floats, "n_directions 2 n_levels"]  # measured there, nats a token

    def level(self, number: int) -> "Doses":
        """One off-target KL of them."""
        return Doses(self.coefficients[..., number, None], self.off_target_kl[..., number, None])


def doses(
    neutral: NeutralText, units: Float[Floats, "n_directions d_model"], targets: Sequence[float], length: float
) -> Doses:
    """Coefficients of equal off-target KL. targets: nats a token, ascending. length: that of a typical residual."""
    flat, reached = matched(neutral.divergence, _signed(units), targets, length)
    shape = (len(units), 2, len(targets))
    return Doses(flat.reshape(shape), reached.reshape(shape))


def effects(
    steered: Steered, units: Float[Floats, "n_directions d_model"], given: Doses
) -> Float[Floats, "n_directions 2 n_levels n_questions"]:
    """What adding each direction at its doses changes, against adding nothing, in the unit of `steered`."""
    coefficients = given.coefficients
    flat = coefficients.reshape(-1, coefficients.shape[-1])
    vectors = (flat[..., None] * _signed(units)[:, None]).reshape(-1, units.shape[1])
    found = steered(np.concatenate([np.zeros((1, units.shape[1])), vectors]))
    return np.asarray((found[1:] - found[0]).reshape(*coefficients.shape, -1))


def _signed(units: Float[Floats, "n_directions d_model"]) -> Float[Floats, "signed d_model"]:
    return np.asarray((units[:, None] * SIGNS[:, None]).reshape(-1, units.shape[1]))
