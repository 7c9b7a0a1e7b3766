"""The JSON outputs of the gate on files of a user's own, beside those of steps in `common.schemas`."""

from typing import Literal

from pydantic import Field

from common.schemas import Document
from common.vocabulary import Primary, Said

GateVerdict = Literal["within", "moved", "undecided", "unable"]


class Compared(Document):
    """A model that was asked."""

    source: str = Field(description="where it came from")
    identity: str = Field(description="a digest of its files, or the pinned revision")
    kind: str = Field(description="base, model, or the kind of LoRA")


class Margin(Document):
    """How large a shift may be and still not matter."""

    value: float = Field(description="of net go (-1 to 1) or of P(go) (0 to 1), either way")
    how: str = Field(description="given, or how it was found")
    passes_at_zero: float | None = Field(
        description="share of simulated adapters without a shift that pass; None: not simulated"
    )
    stopped_at_margin: float | None = Field(
        description="share that does not pass, of those with a shift as large as the margin; None: not simulated"
    )


class Shift(Document):
    """A mean shift over topics with its interval."""

    estimate: float
    low: float
    high: float
    level: float = Field(description="coverage of this interval")


class Look(Document):
    """What was seen after one block of items."""

    items: int = Field(description="asked so far")
    shift: Shift
    verdict: GateVerdict


class Topic(Document):
    """One topic by its own items; in no verdict over all."""

    verdict: GateVerdict
    estimate: float
    low: float | None = Field(description="None for a single item")
    high: float | None
    items: int


class Reliable(Document):
    """How a measure of the base goes with itself over items."""

    value: float | None = Field(description="-1 to 1; None: not known")
    items: int
    reason: str = Field(description="why it is not known; empty where it is")


class Example(Document):
    """The answers of two models to one open question."""

    item: str
    topic: str
    question: str
    before: str
    before_said: Said
    after: str
    after_said: Said


class Cost(Document):
    """What the verdict cost."""

    items: int = Field(description="that the adapter was asked")
    in_set: int = Field(description="items that could be asked")
    looks: int
    answers: int = Field(description="written by all models together, samples among them")
    seconds: float


class FileVerdict(Document):
    """verdict.json of the gate on files: shifts are `tuned` less `reference`, in net go or P(go)."""

    verdict: GateVerdict
    reason: str = Field(description="in words, why")
    measure: Primary
    margin: Margin | None = Field(description="None where the base cannot answer")
    level: float = Field(description="coverage that was asked for, all looks together")
    shift: Shift | None = Field(description="at the last look; None where the adapter was not asked")
    items: str = Field(description="the file of items")
    items_digest: str = Field(description="SHA-256 of the items that could be asked")
    base: Compared
    tuned: Compared
    reference: Compared = Field(description="what the shift is from: base, another adapter, or the control")
    role: Literal["base", "against", "control"] = Field(description="of the reference")
    said: dict[str, dict[Said, float]] = Field(description="model → what it advised greedily, shares")
    topics: dict[str, Topic]
    looks: tuple[Look, ...]
    others: dict[str, Shift] = Field(description="shifts by other measures, at the level that was asked for")
    from_base: dict[str, Shift] = Field(description="with a reference: shifts of both adapters from the base")
    reliability: dict[str, Reliable] = Field(description="of each measure, on this base")
    floor: float | None = Field(description="reliability over items that the measure must have; None: any")
    unreadable: float = Field(description="most answers off topic or incoherent that a model may give")
    examples: tuple[Example, ...]
    cost: Cost
    notes: tuple[str, ...] = Field(description="what a reader must know of how models were put together")
