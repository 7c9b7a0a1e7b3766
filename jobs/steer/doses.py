"""How much of each vector does the same damage."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
FIRST = 0.1  # of the typical length of a residual: what the search begins with
CORRECTIONS = 2  # after which doses of all kinds lay within a few percent of the damage asked for


def matched(
    divergence: Callable[[Floats], Floats], units: Floats, targets: Sequence[float], length: float
) -> tuple[Floats, Floats]:
    """The dose of each unit vector that diverges by each target, and the divergence measured there.

    units: (n, d_model); a vector and its negative are two. targets: nats a token, ascending. length: of a residual.
    Returns two (n, n_targets). For small doses the divergence grows with their square, so each correction is the root
    of what is missing; it begins from the dose of the target before.
    """
    doses = np.full(len(units), FIRST * length)
    measured = divergence(doses[:, None] * units)
    found, reached = [], []
    for target in targets:
        for _ in range(CORRECTIONS):
            doses = doses * np.clip(np.sqrt(target / np.maximum(measured, 1e-12)), 0.1, 10)
            measured = divergence(doses[:, None] * units)
        found.append(doses)
        reached.append(measured)
    return np.stack(found, axis=1), np.stack(reached, axis=1)
