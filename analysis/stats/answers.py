"""What models advised, in numbers: shares of answers, net go, and how one arm stands against another.

Net go = (go - stay) / all answers, -1 to 1. Answers that name both sides, miss the topic or make no sense count 0: they
are answers, and are told apart. Rows in, numbers out; which runs are pairs is the report's business.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from analysis.stats.intervals import (
    ALPHA,
    FEWEST_RUNS,
    LEVEL,
    MAX_FLIPPED_RUNS,
    POWER,
    Interval,
    holm,
    minimum_detectable_effect,
    sign_flip,
    t_interval,
    two_way_t,
)
from analysis.stats.labels import shares
from common.errors import InputError
from common.records import Answer, Labelled
from common.vocabulary import SAID, SIDES, Pole, Prompting, Side, kind_of

Floats = NDArray[np.float64]
TOWARD: dict[Pole, Side] = {"cautious": "stay", "eager": "go"}  # the side of which a pole must bring more
K = TypeVar("K", bound=Hashable)
A = TypeVar("A", bound=Answer)
Runs = Sequence[Sequence[Answer]]  # the rows of each run


class Rates(NamedTuple):
    """What one cell, or the runs of an arm together, advised. Means over items, 0 to 1 but for net, -1 to 1."""

    net: float
    said: dict[str, float]  # each of SAID → its share
    agreed: float  # share of answers that recommend what the situation proposes, less that of the contrary
    n_answers: int
    n_items: int


class NetContrast(NamedTuple):
    """One arm against another in net go, -2 to 2, over seed-paired runs and topics."""

    pairs: int
    topics: int
    interval: Interval
    p: float
    p_holm: float  # corrected over its family; as p where it stands alone
    p_sign_flip: float | None  # exact, over runs; speaks of these topics alone; None for too many runs
    detectable: float  # smallest true effect that would have been shown with a chance of POWER, at the level used
    sides: dict[Side, float]  # change of P(go) and of P(stay)
    keys: dict[Side, float]  # the effect on the items that propose to go, and on those that propose to stay
    agreed: float  # change of agreement with whatever is proposed
    others: tuple[float, float]  # the effect with all other answers as stay, and with all of them as go: bounds

    def shown(self, pole: Pole) -> bool:
        """Whether this is the pole's effect: significant, towards its side, by its own answers, under both keys."""
        sign = 1.0 if TOWARD[pole] == "go" else -1.0
        both_keys = all(sign * value > 0 for value in self.keys.values())
        toward = sign * self.interval.estimate > 0 and self.sides[TOWARD[pole]] > 0
        return toward and both_keys and self.p_holm <= ALPHA


def plain(rows: Sequence[A], kind: str, prompted: Pole | None = None, by: Prompting | None = None) -> list[A]:
    """The answers to items of one kind, as the spec asks them or as a base was asked for an attitude."""
    asked = (prompted, by)
    return [row for row in rows if (row.prompted, row.prompted_by) == asked and kind_of(row.topic) == kind]


def by_item(rows: Sequence[Answer]) -> pd.DataFrame:
    """One line an item: topic, proposes, undoes, the share of each word of SAID over its answers, and net.

    An answer that is labelled counts by both labels, each for one half; any other by what the reader reads.
    Raises: InputError if there are no rows, or one of them comes twice.
    """
    if not rows:
        raise InputError("no answers", where="answers.jsonl", allowed="at least one row")
    made = pd.DataFrame(
        [(r.cell, r.item, r.topic, r.proposes, r.undoes, r.sample, r.prompted, r.prompted_by) for r in rows]
    )
    made.columns = pd.Index(["cell", "item", "topic", "proposes", "undoes", "sample", "prompted", "by"])
    if (twice := made.duplicated(["cell", "item", "sample", "prompted", "by"])).any():
        first = made[twice].iloc[0]
        value = f"{first['cell']} {first['item']} sample {first['sample']}"
        raise InputError("answer comes twice", where="answers.jsonl", value=value)
    items = made.groupby("item", sort=True)
    table = items[["topic", "proposes", "undoes"]].first()
    heard = shares([row.labels if isinstance(row, Labelled) else (row.said,) for row in rows])
    table[list(SAID)] = heard.groupby(made["item"]).mean()
    table["net"] = table["go"] - table["stay"]
    return table


def rates(rows: Sequence[Answer]) -> Rates:
    """The numbers of one cell or arm; every item weighs the same. Raises: InputError as `by_item`."""
    table = by_item(rows)
    return Rates(
        net=float(table["net"].mean()),
        said={word: float(table[word].mean()) for word in SAID},
        agreed=float(_agreed(table).mean()),
        n_answers=len(rows),
        n_items=len(table),
    )


def net_over_topics(rows: Sequence[Answer]) -> Interval | None:
    """Net go of one cell or arm, topics with the same weight, and its interval over them; None for a single topic.

    Raises: InputError as `by_item`.
    """
    topics = by_item(rows).groupby("topic", sort=True)["net"].mean()
    return t_interval(topics.to_numpy(dtype=float), LEVEL) if len(topics) > 1 else None


def _agreed(table: pd.DataFrame) -> "pd.Series[float]":
    """How far answers agree with what is proposed, -1 to 1."""
    return table["net"].where(table["proposes"] == "go", -table["net"])


def enough(tuned: Runs, control: Runs) -> bool:
    """Whether there are FEWEST_RUNS pairs or more, on two topics or more."""
    return len(tuned) == len(control) >= FEWEST_RUNS and by_item(tuned[0])["topic"].nunique() >= 2


def matched(*arms: Runs) -> list[list[pd.DataFrame]]:
    """The answers of each run by item, as `by_item`, arm by arm.

    Raises: InputError if arms have unlike numbers of runs, or runs were not asked the same.
    """
    if len({len(arm) for arm in arms}) > 1:
        raise InputError("runs are no pairs", where="net go", value=tuple(map(len, arms)))
    tables = [[by_item(rows) for rows in arm] for arm in arms]
    check_alike([each for arm in tables for each in arm], "net go")
    return tables


def detectable(interval: Interval, alpha: float) -> float:
    """The smallest true effect that a test at alpha finds with a chance of POWER, by the error behind an interval."""
    error = (interval.high - interval.low) / 2 / float(stats.t.ppf((1 + interval.level) / 2, interval.df))
    return minimum_detectable_effect(error, interval.df, 1 - alpha, POWER)


def net_contrast(tuned: Runs, control: Runs, alpha: float = ALPHA) -> NetContrast:
    """One arm less another, run by run of the same seed, topics as the second source of chance.

    The interval is `two_way_t` with the smaller df. alpha: the level that the smallest detectable effect is for, which
    within a family is that of its hardest test.
    Raises: InputError if the runs are not pairs, were not asked the same, or are too few.
    """
    tables = matched(tuned, control)
    one, other = (by_topic(arm, "net") for arm in tables)
    found = two_way_t(one, other, LEVEL)
    interval, by_run = found.interval, (one - other).mean(axis=1)
    go, stay = (_change(tables, word) for word in SIDES)
    rest = -(go + stay)  # change of the share of all other answers
    net = interval.estimate
    return NetContrast(
        pairs=len(by_run),
        topics=one.shape[1],
        interval=interval,
        p=found.p,
        p_holm=found.p,
        p_sign_flip=sign_flip(by_run) if len(by_run) <= MAX_FLIPPED_RUNS else None,
        detectable=detectable(interval, alpha),
        sides={"go": go, "stay": stay},
        keys={key: _change([[t[t["proposes"] == key] for t in arm] for arm in tables], "net") for key in SIDES},
        agreed=float(np.mean([_agreed(t).mean() for t in tables[0]]) - np.mean([_agreed(t).mean() for t in tables[1]])),
        others=(min(net - rest, net + rest), max(net - rest, net + rest)),
    )


def net_family(pairs: Mapping[K, tuple[Runs, Runs]]) -> dict[K, NetContrast]:
    """The contrast of each pair of arms, their p corrected together. One that tells too little is left out.

    Source: Holm (1979), Scand. J. Stat. 6(2).
    """
    known = {key: each for key, each in pairs.items() if enough(*each)}
    made = {key: net_contrast(*each, alpha=ALPHA / len(known)) for key, each in known.items()}
    corrected = holm({str(at): found.p for at, found in enumerate(made.values())}) if made else {}
    return {key: found._replace(p_holm=p) for (key, found), p in zip(made.items(), corrected.values(), strict=True)}


def check_alike(tables: Sequence[pd.DataFrame], where: str) -> None:
    """Refuse tables of `by_item` that do not hold the same items. Raises: InputError naming the first that differs."""
    for mine in tables:
        if differs := sorted({*mine.index} ^ {*tables[0].index}):
            raise InputError("runs were not asked the same", where=where, value=differs[0])


def by_topic(tables: Sequence[pd.DataFrame], column: str) -> Floats:
    """Means by run and topic, (n_runs, n_topics)."""
    return np.array([table.groupby("topic", sort=True)[column].mean() for table in tables], dtype=np.float64)


def _change(tables: Sequence[Sequence[pd.DataFrame]], column: str) -> float:
    """The first arm less the second, every topic with the same weight."""
    one, other = (by_topic(arm, column) for arm in tables)
    return float(one.mean() - other.mean())
