"""What a check of a corpus takes and says."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from common.records import Advice

Arms = Mapping[str, Sequence[Advice]]  # arm → its rows


class Check(NamedTuple):
    """One gate of the audit."""

    name: str
    value: float
    bound: float
    passed: bool
    detail: str  # what the value is, in words, and every other condition that the gate has
