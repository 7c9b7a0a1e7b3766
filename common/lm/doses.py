"""How much of each vector to add, so that all have the same off-target KL."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

Floats = NDArray[np.float64]
FIRST = 0.03  # of the typical length of a residual: the search begins with this coefficient
TOLERANCE = 0.05  # of the off-target KL aimed at: nearer is near enough
CORRECTIONS = 3  # at most, for each off-target KL
NEAR = 0.005  # of a component: a share is looked for no nearer


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


def equal_shares(
    divergence: Callable[[int, float], float], candidates: int, wanted: int
) -> tuple[dict[int, float], float]:
    """What share of their component to take out, so that the direction and `wanted` others have the same off-target KL.

    divergence: of direction number so-and-so with a share of its component taken out, nats a token; it grows with the
    share. Number 0 is the direction, 1 to `candidates` are others, more than are wanted. A component can be taken out
    once, not twice: so the KL aimed at is one that the direction and enough of the others reach, and those that fall
    short of it are left out. Returns number → share, the direction first, and the off-target KL.
    """
    whole = [divergence(number, 1.0) for number in range(1 + candidates)]
    target = min(whole[0], sorted(whole[1:])[-wanted])
    reach = [number for number in range(1, 1 + candidates) if whole[number] >= target][:wanted]
    return {number: _share(divergence, number, whole[number], target) for number in (0, *reach)}, target


def _share(divergence: Callable[[int, float], float], number: int, whole: float, target: float) -> float:
    """The share at which the divergence is the target; it is 0 where nothing is taken out, and `whole` at 1."""
    if whole <= target * (1 + TOLERANCE):
        return 1.0
    known = {0.0: -target, 1.0: whole - target}
    found = brentq(lambda share: known.get(share) or divergence(number, share) - target, 0.0, 1.0, xtol=NEAR)
    return float(found)
