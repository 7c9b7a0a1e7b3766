"""How much of each vector does the same damage."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
FIRST = 0.03  # of the typical length of a residual: what the search begins with, the dose of a damage in mid-grid
TOLERANCE = 0.05  # of a damage asked for: nearer is near enough
CORRECTIONS = 3  # at most, for each damage


def matched(
    divergence: Callable[[Floats], Floats], units: Floats, targets: Sequence[float], length: float
) -> tuple[Floats, Floats]:
    """The dose of each unit vector that diverges by each target, and the divergence measured there.

    units: (n, d_model); a vector and its negative are two. targets: nats a token, ascending. length: of a residual.
    Returns two (n, n_targets). For small doses the divergence grows with their square, so each correction is the root
    of what is missing; it begins from the dose of the target before, and only vectors still too far off are measured
    again.
    """
    doses = np.full(len(units), FIRST * length)
    measured = divergence(doses[:, None] * units)
    found, reached = [], []
    for target in targets:
        for _ in range(CORRECTIONS):
            off = np.abs(measured / target - 1) > TOLERANCE
            if not off.any():
                break
            doses[off] *= np.clip(np.sqrt(target / np.maximum(measured[off], 1e-12)), 0.1, 10)
            measured[off] = divergence(doses[off, None] * units[off])
        found.append(doses.copy())
        reached.append(measured.copy())
    return np.stack(found, axis=1), np.stack(reached, axis=1)
