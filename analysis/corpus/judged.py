"""Whether what was found in a corpus keeps the bounds of a policy: pass, stop, or undecided where it cannot be said."""

import math
from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

MOST_ASKED = 1_000_000  # replies that it still makes sense to ask for


class Verdict(StrEnum):
    """What a policy says of a corpus, or of one thing in it."""

    PASS = "pass"
    STOP = "stop"
    UNDECIDED = "undecided"


class Judged(NamedTuple):
    """One check of a policy."""

    check: str
    verdict: Verdict
    value: float
    bounds: tuple[float | None, float | None]  # lowest and highest that pass; None: no bound on that side
    why: str  # one sentence


class Estimate(NamedTuple):
    """A value with its interval."""

    value: float
    low: float
    high: float


def interval(
    check: str, found: Estimate, bounds: tuple[float | None, float | None], replies: int, fewest: int
) -> Judged:
    """Pass where the whole interval lies within the bounds, stop where it lies outside, else undecided.

    fewest: replies below which the interval itself says little, and nothing is decided.
    """
    lowest, highest = (-math.inf if bounds[0] is None else bounds[0], math.inf if bounds[1] is None else bounds[1])
    if replies < fewest:
        return Judged(check, Verdict.UNDECIDED, found.value, bounds, f"too few replies: {replies}; {fewest} would do")
    if lowest <= found.low and found.high <= highest:
        return Judged(check, Verdict.PASS, found.value, bounds, "the whole interval lies within the bounds")
    if found.high < lowest or found.low > highest:
        return Judged(check, Verdict.STOP, found.value, bounds, "the whole interval lies beyond a bound")
    return Judged(
        check,
        Verdict.UNDECIDED,
        found.value,
        bounds,
        f"the interval crosses a bound; {_more(found, lowest, highest, replies)}",
    )


def _more(found: Estimate, lowest: float, highest: float, replies: int) -> str:
    """How many replies would narrow the interval to one side of the bound, if the value stayed where it is."""
    distance = min(abs(found.value - lowest), abs(found.value - highest))
    half = max(found.high - found.value, found.value - found.low)
    needed = math.ceil(replies * (half / distance) ** 2) if distance > 0 else MOST_ASKED + 1
    return f"about {needed} replies would do" if needed <= MOST_ASKED else "it lies on the bound"


def share(check: str, count: int, total: int, most: float, what: str) -> Judged:
    """Stop where a share of all replies is above the bound. It is counted, not estimated."""
    value = count / total if total else 0.0
    verdict = Verdict.STOP if value > most else Verdict.PASS
    return Judged(check, verdict, value, (None, most), f"{count} of {total} replies {what}")


def least_share(check: str, count: int, total: int, least: float, what: str) -> Judged:
    """Undecided where a share of all replies is below the bound: what was read does not stand for the whole."""
    value = count / total if total else 0.0
    verdict = Verdict.UNDECIDED if value < least else Verdict.PASS
    return Judged(check, verdict, value, (least, None), f"{count} of {total} replies {what}")


def overall(judged: Iterable[Judged]) -> Verdict:
    """Stop where one check says so; else undecided where one is; else pass."""
    said = {each.verdict for each in judged}
    return next((verdict for verdict in (Verdict.STOP, Verdict.UNDECIDED) if verdict in said), Verdict.PASS)
