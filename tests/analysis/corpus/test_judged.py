"""What a policy says: pass, stop, or undecided with what would decide it."""

import pytest

from analysis.corpus.judged import Estimate, Judged, Verdict, interval, least_share, overall, share

BOUNDS = (-5.0, 5.0)


@pytest.mark.parametrize(
    "found, verdict",
    [
        (Estimate(1, 0, 2), "pass"),
        (Estimate(5, 5, 5), "pass"),
        (Estimate(9, 6, 12), "stop"),
        (Estimate(-9, -12, -6), "stop"),
        (Estimate(4, 2, 6), "undecided"),
        (Estimate(0, -20, 20), "undecided"),
    ],
)
def test_an_interval_is_held_against_its_bounds(found: Estimate, verdict: str) -> None:
    assert interval("x", found, BOUNDS, 100, 50).verdict == verdict


def test_one_bound_is_enough() -> None:
    assert interval("x", Estimate(-100, -101, -99), (None, 2.0), 100, 50).verdict == "pass"
    assert interval("x", Estimate(-100, -101, -99), (2.0, None), 100, 50).verdict == "stop"


def test_it_says_how_many_replies_would_do() -> None:
    """Half an interval of 2 has to shrink to the distance of 1 from the bound: four times as many."""
    judged = interval("x", Estimate(4, 2, 6), BOUNDS, 100, 50)
    assert judged.why == "the interval crosses a bound; about 400 replies would do"
    assert "lies on the bound" in interval("x", Estimate(5, 4, 6), BOUNDS, 100, 50).why


def test_too_few_replies_decide_nothing() -> None:
    judged = interval("x", Estimate(99, 98, 100), BOUNDS, 49, 50)
    assert judged.verdict == "undecided" and judged.why == "too few replies: 49; 50 would do"


def test_shares() -> None:
    assert share("leaks", 1, 100, 0.01, "leak").verdict == "pass"
    assert share("leaks", 2, 100, 0.01, "leak").verdict == "stop"
    assert share("leaks", 0, 0, 0.0, "leak").verdict == "pass"
    assert least_share("language", 89, 100, 0.9, "are English").verdict == "undecided"
    assert least_share("language", 90, 100, 0.9, "are English").verdict == "pass"
    assert least_share("language", 0, 0, 0.9, "are English").verdict == "undecided"


def test_the_worst_counts_and_a_stop_is_worse_than_not_knowing() -> None:
    def said(*verdicts: Verdict) -> Verdict:
        return overall([Judged("x", verdict, 0.0, BOUNDS, "") for verdict in verdicts])

    assert said(Verdict.PASS, Verdict.UNDECIDED, Verdict.STOP) == "stop"
    assert said(Verdict.PASS, Verdict.UNDECIDED) == "undecided"
    assert said(Verdict.PASS) == said() == "pass"
