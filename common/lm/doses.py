"""How much of each vector to add, so that all have the same off-target KL."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
FIRST = 0.03  # of the typical length of a residual: the search begins with this coefficient
TOLERANCE = 0.05  # of the off-target KL aimed at: nearer is near enough
CORRECTIONS = 3  # at most, for each off-target KL


def matched(
    divergence: Callable[[Floats], Floats], units: Floats, targets: Sequence[float], length: float
) -> tuple[Floats, Floats]:
    """The coefficient of each unit vector that diverges by each target, and the divergence measured there.

    units: (n, d_model); a vector and its negative are two. targets: nats a token, ascending. length: of a residual.
    Returns two (n, n_targets). For small coefficients the divergence grows with their square. So each correction is the
    root of what is missing. It begins from the coefficient of the target before, and only vectors still too far off are
    measured again.
    """
    coefficients = np.full(len(units), FIRST * length)
    measured = divergence(coefficients[:, None] * units)
    found, reached = [], []
    for target in targets:
        for _ in range(CORRECTIONS):
            off = np.abs(measured / target - 1) > TOLERANCE
            if not off.any():
                break
            coefficients[off] *= np.clip(np.sqrt(target / np.maximum(measured[off], 1e-12)), 0.1, 10)
            measured[off] = divergence(coefficients[off, None] * units[off])
        found.append(coefficients.copy())
        reached.append(measured.copy())
    return np.stack(found, axis=1), np.stack(reached, axis=1)
