"""What a lock fixes beside the spec itself, and what a report demands before it interprets anything."""

from typing import Literal

from pydantic import Field

from common.frozen import Frozen
from common.vocabulary import TESTS, Test


class LockSpec(Frozen):
    """What is fixed before any tuned model is scored: beside this, the whole spec, the items, corpora and code."""

    tests: tuple[Test, ...] = Field(TESTS, min_length=1, description="what the report tests; it omits others")
    read_by: Literal["reader", "labels"] = Field(
        "reader",
        description="what the primary is read by: the reader, or labels of all greedy answers from two blind passes",
    )
    reversed: bool = Field(
        True, description="every topic must hold as many items that propose the change as that propose to keep"
    )
    moves: float = Field(
        0.20,
        gt=0,
        lt=2,
        description="eager less cautious in net go that training must bring on source and control items",
    )
    kappa: float = Field(
        0.80,
        gt=0,
        le=1,
        description="agreement that the reader must reach with labels; read by labels, one pass with the other",
    )
    incoherent: float = Field(0.15, gt=0, lt=1, description="share of incoherent answers that an arm may have")
    incoherent_apart: float = Field(0.10, gt=0, lt=1, description="how far arms may lie apart in it")

    reliable: float = Field(0.70, gt=0, lt=1, description="correlation over items below which a measure is greyed")
    clean: bool = Field(True, description="refuse to lock while files differ from their commit, or no commit is known")
    low: float = Field(0.35, gt=0, lt=0.5, description="the base's P(go) below which an item has headroom upwards only")
    high: float = Field(0.65, gt=0.5, lt=1, description="and above which it has headroom downwards only")
    band_items: int = Field(
        24, ge=1, description="items that each band of headroom must hold, or which pole moves more is not said"
    )
    band_samples: int = Field(8, ge=1, description="samples of the base by which bands must be made, or it is not said")
