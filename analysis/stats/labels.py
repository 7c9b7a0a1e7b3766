"""Labels from two blind passes: how far the passes agree, and what an answer counts by both of them.

The mean of both: where they disagree, each label has one half of the answer.
"""

from collections.abc import Sequence

import pandas as pd
from sklearn.metrics import cohen_kappa_score

from common.vocabulary import SAID, Said


def shares(read: Sequence[tuple[Said, ...]]) -> pd.DataFrame:
    """One line an answer, a column for each word of SAID: the share of its readings that say so, 0 to 1."""
    return pd.DataFrame({word: [each.count(word) / len(each) for each in read] for word in SAID})


def kappa(one: Sequence[Said], other: Sequence[Said]) -> float | None:
    """Agreement of two readings of the same answers beyond chance, -1 to 1.

    None where it is not defined: there is no answer, or both say one and the same word of all.
    Source: Cohen (1960), Educ. Psychol. Meas. 20(1), by scikit-learn.
    """
    return float(cohen_kappa_score(one, other)) if len({*one, *other}) > 1 else None


def kappa_with(read: Sequence[Said], labels: Sequence[tuple[Said, Said]]) -> float | None:
    """Agreement of a reading with labels, of the answers on which both passes agree. As `kappa`."""
    both = [(said, first) for said, (first, second) in zip(read, labels, strict=True) if first == second]
    return kappa([label for _, label in both], [said for said, _ in both])
