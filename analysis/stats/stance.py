"""From rows Choice to numbers: how far one cell leans towards change by the closed forms, and how its measures agree.

All P are shares, 0 to 1, of the side "go" whatever yes means for an item. A number that nothing supports is None
(nan in arrays and frames), never 0.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from analysis.stats.measures import MEASURES
from common.errors import InputError
from common.records import Choice

FEWEST_RANKED = 3  # two points always lie on a line


class Stance(NamedTuple):
    """One cell in numbers: means over items."""

    by_measure: dict[str, float | None]  # P(go), over the items with a value; in the order of `MEASURES`
    margin: float | None  # sentence margin, go minus stay, nats a token
    p_yes: float | None  # share of yes, 0.5 where no answer leans: every item is asked under both keys
    consistency: float | None  # share of items and keys whose two orders agree
    n_items: int


class Disagreement(NamedTuple):
    """How the shifts of one measure follow those of another."""

    rank_correlation: float | None  # Spearman; None below 3 pairs or where one side is constant
    sign_errors: int  # pairs in which both shifts are not 0 and point apart
    n_signed: int  # pairs in which both shifts are not 0
    n: int  # pairs in which both are known


def frame(rows: Sequence[Choice]) -> pd.DataFrame:
    """One line a row: cell, item, topic, yes_means, order, each measure of `MEASURES`, margin (nats a token).

    Raises: InputError if there are no rows, a (cell, item, key, order) comes twice, or cells hold different items.
    """
    if not rows:
        raise InputError("no choices", where="choices.jsonl", allowed="at least one row")
    made = pd.DataFrame([row.model_dump() for row in rows])
    _check_unique(made)
    _check_same_items(made)
    return pd.DataFrame(
        {
            **{name: made[name] for name in ("cell", "item", "topic", "yes_means", "order")},
            **{name: measure.read(made) for name, measure in MEASURES.items()},
            "margin": made["sentence_go"] / made["tokens_go"] - made["sentence_stay"] / made["tokens_stay"],
        }
    )


def by_item(rows: Sequence[Choice]) -> pd.DataFrame:
    """One line an item of one cell, by item id: topic, each measure and margin (means over keys and orders), agree
    (share of keys whose two orders agree).

    Raises: InputError as `frame`, and if the rows are of several cells.
    """
    return _by_item(tuple(rows), tuple(MEASURES)).copy()


@lru_cache(maxsize=64)  # a report asks for the same cells some ten times
def _by_item(rows: tuple[Choice, ...], measures: tuple[str, ...]) -> pd.DataFrame:
    made = frame(rows)
    if (cells := sorted(made["cell"].unique())) != [cells[0]]:
        raise InputError("rows of several cells", where="choices.jsonl", value=cells, allowed="one cell")
    items = made.groupby("item", sort=True)
    table = items[["topic"]].first().join(items[[*measures, "margin"]].mean())
    by_key = made.groupby(["item", "yes_means"])["choice"]
    table["agree"] = (by_key.nunique() == 1).astype(float).groupby("item").mean()
    return table


def stance(rows: Sequence[Choice]) -> Stance:
    """The numbers of one cell. Raises: InputError as `by_item`."""
    table, made = by_item(rows), frame(rows)
    return Stance(
        by_measure={name: _mean(table[name]) for name in MEASURES},
        margin=_mean(table["margin"]),
        p_yes=_mean(_yes(made)),
        consistency=_mean(table["agree"]),
        n_items=len(table),
    )


def by_group(rows: Sequence[Choice], group: str) -> pd.DataFrame:
    """Means of one cell by 'topic' or 'yes_means': a column for each measure, and margin; nan where unknown.

    Raises: InputError for another grouping, or as `by_item`.
    """
    if group not in ("topic", "yes_means"):
        raise InputError("no such grouping", where="by_group", value=group, allowed="topic, yes_means")
    table = by_item(rows) if group == "topic" else frame(rows)
    return table.groupby(group, sort=True)[[*MEASURES, "margin"]].mean()


def on_items_of(rows: Sequence[Choice], others: Sequence[Choice]) -> list[Choice]:
    """The rows on the items that others are on: what a run that was asked a part is compared with."""
    items = {row.item for row in others}
    return [row for row in rows if row.item in items]


def shared_out(cells: Sequence[Sequence[Choice]]) -> bool:
    """Whether the runs of an arm were not asked the same items, but each a part of them."""
    return len({frozenset(row.item for row in rows) for rows in cells}) > 1


def together(cells: Sequence[Sequence[Choice]]) -> Stance:
    """The numbers of an arm: means over its runs; of runs that shared the items out, means over items as `items_of`.

    What one of the runs does not know is not known of the arm, unless the items are shared out.
    Raises: InputError as `by_item`.
    """
    if shared_out(cells):
        items, every = items_of(cells), pd.concat([frame(rows) for rows in cells], ignore_index=True)
        yes = _yes(every).groupby(every["item"]).mean()
        by_measure = {name: _mean(items[name]) for name in MEASURES}
        return Stance(by_measure, _mean(items["margin"]), _mean(yes), _mean(items["agree"]), len(items))
    made = [stance(rows) for rows in cells]
    return Stance(
        by_measure={name: _over_runs([each.by_measure[name] for each in made]) for name in MEASURES},
        margin=_over_runs([each.margin for each in made]),
        p_yes=_over_runs([each.p_yes for each in made]),
        consistency=_over_runs([each.consistency for each in made]),
        n_items=made[0].n_items,
    )


def items_of(cells: Sequence[Sequence[Choice]]) -> pd.DataFrame:
    """As `by_item`, each value the mean over the runs that were asked the item; nan only where none has an answer."""
    items = pd.concat([by_item(rows) for rows in cells]).groupby(level=0, sort=True)
    return items[["topic"]].first().join(items[[*MEASURES, "margin", "agree"]].mean())


def chosen_by_group(cells: Sequence[Sequence[Choice]], group: str) -> "pd.Series[float]":
    """P(go) by choice of an arm, by 'topic' or 'yes_means': means over runs, or over items as `together`."""
    if not shared_out(cells):
        return pd.concat([by_group(rows, group)["choice"] for rows in cells], axis=1).mean(axis=1)
    if group == "topic":
        return items_of(cells).groupby("topic", sort=True)["choice"].mean()
    every = pd.concat([frame(rows) for rows in cells], ignore_index=True)
    return every.groupby([group, "item"])["choice"].mean().groupby(group, sort=True).mean()


def paired(base: Sequence[Choice], tuned: Sequence[Choice]) -> pd.DataFrame:
    """One line an item: topic and, for each measure, <measure>_base and <measure>_tuned.

    Raises: InputError as `by_item`, or if the two were not asked the same.
    """
    one, other = ({(r.item, r.yes_means, r.order, r.topic) for r in rows} for rows in (base, tuned))
    if differs := sorted(one ^ other):
        raise InputError("cells were not asked the same", where="base and tuned", value=differs[0])
    before, after = by_item(base), by_item(tuned).drop(columns=["topic"])
    return before.merge(after, left_index=True, right_index=True, suffixes=("_base", "_tuned"), validate="1:1")


def disagreement(measured: ArrayLike, actual: ArrayLike) -> Disagreement:
    """How shifts by one measure follow the shifts that they stand for: two arrays (n,), nan where unknown.

    Raises: InputError if their lengths differ. Source: Spearman (1904), Am. J. Psychol. 15(1), ties at mean ranks.
    """
    one, other = np.asarray(measured, dtype=np.float64), np.asarray(actual, dtype=np.float64)
    if one.shape != other.shape or one.ndim != 1:
        raise InputError("lengths differ", where="disagreement", value=(one.shape, other.shape))
    known = ~np.isnan(one) & ~np.isnan(other)
    one, other = one[known], other[known]
    signed = (one != 0) & (other != 0)
    ranked = len(one) >= FEWEST_RANKED and np.ptp(one) > 0 and np.ptp(other) > 0
    return Disagreement(
        rank_correlation=float(stats.spearmanr(one, other).statistic) if ranked else None,
        sign_errors=int((np.sign(one[signed]) != np.sign(other[signed])).sum()),
        n_signed=int(signed.sum()),
        n=len(one),
    )


def label_disagreement(base: Sequence[Choice], tuned: Sequence[Choice]) -> Disagreement:
    """Does the label measure tell what the answers did? Shifts of label P(go) against those of the choice, by item.

    Raises: InputError as `paired`.
    """
    table = paired(base, tuned)
    return disagreement(*(table[f"{name}_tuned"] - table[f"{name}_base"] for name in ("label", "choice")))


def _yes(made: pd.DataFrame) -> "pd.Series[float]":
    """1 where an answer is yes, whatever yes means."""
    return made["choice"].where(made["yes_means"] == "go", 1 - made["choice"])


def _over_runs(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None


def _mean(values: "pd.Series[float]") -> float | None:
    known = values.dropna()
    return float(known.mean()) if len(known) else None


def _check_unique(made: pd.DataFrame) -> None:
    twice = made[made.duplicated(["cell", "item", "yes_means", "order"])]
    if len(twice):
        first = twice.iloc[0]
        raise InputError(
            "choice comes twice",
            where="choices.jsonl",
            value=f"{first['cell']} {first['item']} key {first['yes_means']} order {first['order']}",
        )


def _check_same_items(made: pd.DataFrame) -> None:
    asked = {
        str(cell): {*zip(rows["item"], rows["yes_means"], rows["order"], strict=True)}
        for cell, rows in made.groupby("cell")
    }
    (name, first), *others = asked.items()
    for cell, items in others:
        if differs := sorted(first ^ items):
            raise InputError("cells were not asked the same", where=f"{name} and {cell}", value=differs[0])
