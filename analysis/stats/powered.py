"""What labels and a reader tell together: the reader's word on all answers, put right by the labels on some."""

from collections.abc import Sequence

import pandas as pd

from analysis.stats.answers import by_item, by_topic, check_alike
from analysis.stats.intervals import FEWEST_RUNS, LEVEL, Interval, t_interval, two_way_t
from common.records import Answer, Labelled

Both = tuple[Sequence[Labelled], Sequence[Answer]]  # of one run: its labelled answers, and all of them as read


def powered(tuned: Sequence[Both], control: Sequence[Both]) -> Interval:
    """One arm less another in net go over all answers, -2 to 2, with a prediction-powered interval.

    In each run and item, net go is the reader's over all answers, plus labels less reader over the labelled ones: what
    the reader gets wrong there is taken off. That it errs alike on answers without labels is assumed. The weight is the
    classical 1: a poor reader makes the interval wider than that of labels alone, and does not move the estimate.

    The source has labels on independent cases. Ours are answers to the same items as the others, so both parts are
    added up before the spread is taken: over seed-paired runs and topics (`two_way_t`) from FEWEST_RUNS pairs on, else
    over topics of the runs together. What the parts have in common then counts once.
    Raises: InputError as `two_way_t` or `t_interval`, or if not all runs were asked the same, or an item has no label.
    Source: Angelopoulos, Bates, Fannjiang, Jordan & Zrnic (2023), Science 382(6671), the mean.
    """
    tables = [[rectified(*run) for run in arm] for arm in (tuned, control)]
    check_alike([each for arm in tables for each in arm], "powered")
    one, other = (by_topic(arm, "net") for arm in tables)
    if len(one) == len(other) >= FEWEST_RUNS:
        return two_way_t(one, other, LEVEL).interval
    return t_interval(one.mean(axis=0) - other.mean(axis=0), LEVEL)


def rectified(labelled: Sequence[Labelled], read: Sequence[Answer]) -> pd.DataFrame:
    """One line an item: topic, and net go of one run, put right by labels. Raises: InputError as `check_alike`."""
    seen = {(row.item, row.sample) for row in labelled}
    same = by_item([row for row in read if (row.item, row.sample) in seen])
    table, told = by_item(read), by_item(labelled)
    check_alike([table, told, same], "rectified")
    return pd.DataFrame({"topic": table["topic"], "net": table["net"] + told["net"] - same["net"]})
