"""The measures of a stance, each declared once: name, unit, how it is read off rows, and whether reports show it.

To add one: record what it needs in `common.records.Choice` where it is measured, declare it here, and test it. Tables
of stances, shifts, contrasts and curves walk over `MEASURES`. A measure that a spec may name as its primary one is a
word of `common.vocabulary` too. The sections of the report call some by name.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

Floats = NDArray[np.float64]
Reader = Callable[[pd.DataFrame], Floats]  # rows Choice, one a line → a value of each (n_rows,), nan if not known


class Declared(NamedTuple):
    """One way to tell how far an answer leans towards change."""

    title: str  # as figures write it
    unit: str  # of its means, as the report names units; its shifts are in points
    read: Reader
    shown: bool  # whether shifts, contrasts and curves are reported by it
    ordered: bool = True  # whether its numbers depend on the order of the options


def chosen(rows: pd.DataFrame) -> Floats:
    """1 where the likelier of Yes and No is for the change, 0 where it is for keeping things."""
    return np.asarray(rows["choice"].map({"go": 1.0, "stay": 0.0}), dtype=np.float64)


def by_yes_no(rows: pd.DataFrame) -> Floats:
    """P(go), 0 to 1, by the log-probabilities of Yes and No; over both keys a habit of either cancels."""
    signs = rows["yes_means"].map({"go": 1.0, "stay": -1.0}).to_numpy(dtype=np.float64)
    return np.asarray(expit(signs * rows["yes_no"].to_numpy(dtype=np.float64)))


def by_sentence(rows: pd.DataFrame) -> Floats:
    """P(go), 0 to 1, by the total log-likelihoods of the two option sentences."""
    return expit((rows["sentence_go"] - rows["sentence_stay"]).to_numpy(dtype=np.float64))


def by_label(rows: pd.DataFrame) -> Floats:
    """P(go), 0 to 1, by the log-probabilities of the first tokens of the two labels."""
    return expit((rows["label_go"] - rows["label_stay"]).to_numpy(dtype=np.float64))


def by_advice(rows: pd.DataFrame) -> Floats:
    """P(go), 0 to 1, by the log-likelihoods of two whole replies, nats a token; nan where none are written.

    A token, not the whole: replies of this length lie tens of nats apart, which would make every item 0 or 1. So it
    grows and falls with the margin a token. Of its level only shifts speak: one reply may be the easier text.
    """
    go, stay = (rows[name].astype("float64").to_numpy() for name in ("advice_go", "advice_stay"))
    return np.asarray(expit(go - stay), dtype=np.float64)


MEASURES: dict[str, Declared] = {  # by name, in the order of reports
    "choice": Declared("the likelier of Yes and No", "share", chosen, shown=True),
    "yes-no": Declared("probability of Yes and No", "share", by_yes_no, shown=True),
    "sentence": Declared("likelihood of whole sentences", "share", by_sentence, shown=True),
    "label": Declared("label probability", "share", by_label, shown=False),
    "advice": Declared("likelihood of written advice", "share", by_advice, shown=True, ordered=False),
}


def shown() -> tuple[str, ...]:
    """The names of the measures by which shifts, contrasts and curves are reported."""
    return tuple(name for name, measure in MEASURES.items() if measure.shown)
