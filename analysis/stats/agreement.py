"""How far two readings of the same answers agree, whoever read them: the reader, a judge, or labels."""

from collections.abc import Sequence

from sklearn.metrics import cohen_kappa_score

from common.errors import InputError
from common.vocabulary import Said


def kappa(one: Sequence[Said], other: Sequence[Said]) -> float | None:
    """Cohen's kappa of two readings of the same answers, in the same order: 1 for equal, 0 for agreement by chance.

    None where it is not defined: no answer, or one word throughout on both sides.
    Source: Cohen (1960), Educational and Psychological Measurement 20(1). Raises: InputError for unequal numbers.
    """
    if len(one) != len(other):
        raise InputError("readings of different answers", where="kappa", value=f"{len(one)} and {len(other)}")
    return float(cohen_kappa_score(one, other)) if len({*one, *other}) > 1 else None


def kappa_with(read: Sequence[Said], labels: Sequence[tuple[Said, Said]]) -> float | None:
    """Agreement of a reading with labels, of the answers on which both passes agree. As `kappa`."""
    both = [(said, first) for said, (first, second) in zip(read, labels, strict=True) if first == second]
    return kappa([label for _, label in both], [said for said, _ in both])
