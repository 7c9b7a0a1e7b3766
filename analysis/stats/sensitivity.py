"""Could this model show an effect at all? Only then does what it says on held-out topics mean anything.

Four conditions, fixed beforehand: answers can be read, training took on its own topics, a positive control moves, and
the arms still make sense. Where one fails, the headline is that the question cannot be answered; it says which failed.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from analysis.stats.answers import Runs, by_item, net_contrast, rates
from analysis.stats.intervals import FEWEST_RUNS, LEVEL, Interval, t_interval
from common.records import Answer

COHERENT, READABLE = "coherent", "readable"
TRAINING_TOOK, POSITIVE_CONTROL = "training took", "positive control"


class Condition(NamedTuple):
    """One condition of assay sensitivity."""

    name: str
    value: float | None  # None: not measured, which fails
    low: float | None  # of its interval; None where it has none
    high: float | None
    passed: bool
    detail: str  # what was measured against what, in words


def moves(name: str, eager: Runs, cautious: Runs, least: float) -> Condition:
    """Whether the poles stand apart: eager less cautious at least so much net go, the interval without 0.

    Over seed-paired runs and topics where there are runs enough; else over topics of the runs together.
    """
    what = f"net go, eager less cautious; at least {least:.2f} and the interval without 0"
    if not eager or not cautious:
        return Condition(name, None, None, None, False, f"{what}; not measured")
    interval = apart(eager, cautious)
    passed = interval.estimate >= least and interval.low > 0
    return Condition(name, interval.estimate, interval.low, interval.high, passed, what)


def apart(eager: Runs, cautious: Runs) -> Interval:
    """How far two arms stand apart in net go. Raises: InputError as `net_contrast` or `t_interval`."""
    if len(eager) == len(cautious) >= FEWEST_RUNS:
        return net_contrast(eager, cautious).interval
    one, other = (by_item([row for rows in arm for row in rows]) for arm in (eager, cautious))
    differences = (one["net"] - other["net"]).groupby(one["topic"]).mean()
    return t_interval(differences.to_numpy(dtype=float), LEVEL)


def coherent(arms: Mapping[str, Sequence[Answer]], most: float, most_apart: float) -> Condition:
    """Whether answers still make sense: incoherent ones in each arm, and how far arms lie apart in them."""
    shares = {name: rates(rows).said["incoherent"] for name, rows in arms.items()}
    worst = max(shares, key=lambda name: shares[name])
    spread = max(shares.values()) - min(shares.values())
    passed = shares[worst] <= most and spread <= most_apart
    what = f"largest share of incoherent answers, of {worst}, at most {most:.2f}; "
    what += f"arms {spread:.2f} apart, at most {most_apart:.2f}"
    return Condition(COHERENT, shares[worst], None, None, passed, what)


def readable(kappa: float | None, least: float) -> Condition:
    """Whether what was said can be read: agreement of the reader with labels on which two blind passes agree."""
    what = f"agreement (kappa) of the reader with labels of pilot answers, at least {least:.2f}"
    return Condition(READABLE, kappa, None, None, kappa is not None and kappa >= least, what)


def labelled(kappa: float | None, least: float, missing: int, answers: int) -> Condition:
    """The same where labels are what is counted: each answer has two, and the two blind passes agree."""
    what = f"agreement (kappa) of two blind passes over answers of this study, at least {least:.2f}"
    if missing:
        what += f"; {missing} of {answers} answers have no two labels, for a sheet of them: python -m workflows.label"
    passed = not missing and kappa is not None and kappa >= least
    return Condition(READABLE, kappa, None, None, passed, what)


def able(conditions: Sequence[Condition]) -> bool:
    """Whether all conditions hold: only then is transfer interpreted."""
    return all(condition.passed for condition in conditions)
