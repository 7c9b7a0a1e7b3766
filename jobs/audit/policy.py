"""What a corpus must keep to pass: a policy in TOML, over the default that ships."""

from pathlib import Path
from typing import Any, Self

from pydantic import Field, ValidationError, model_validator

from common.cli import policy_in
from common.frozen import Frozen
from common.provenance import ROOT
from common.spec_errors import spec_error

DEFAULT = ROOT / "jobs/audit/data/policy.toml"


class AxisBound(Frozen):
    """Where an axis may lie: within z, or within low and high."""

    z: float | None = Field(None, gt=0, le=1000, description="SDs of ordinary corpora from their mean, on either side")
    low: float | None = Field(None, description="points for each 100 words")
    high: float | None = Field(None, description="points for each 100 words")

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        absolute = self.low is not None or self.high is not None
        if absolute == (self.z is not None):
            raise ValueError("z, or low and high (one of these will do), and not both kinds")
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError("low below high")
        return self


class Replies(Frozen):
    """How much must be there."""

    fewest: int = Field(ge=10, description="replies below which no axis is decided")


class Language(Frozen):
    """What must be English."""

    english: float = Field(ge=0, le=1, description="least share of replies")


class Leaks(Frozen):
    """What may speak of topics."""

    named: float = Field(ge=0, le=1, description="largest share of replies, of topics that --topics names")
    study: float = Field(ge=0, le=1, description="the same of the study's own held-out topics")


class Share(Frozen):
    """A largest share of replies."""

    share: float = Field(ge=0, le=1, description="of replies")


class Axes(Frozen):
    """The axes that are judged; the others are shown."""

    eagerness: AxisBound | None = None
    hedges: AxisBound | None = None
    certainty: AxisBound | None = None
    sentiment: AxisBound | None = None
    formality: AxisBound | None = None
    refusals: AxisBound | None = None
    disclaimers: AxisBound | None = None

    def bound(self, axis: str) -> AxisBound | None:
        """The bound of one axis, None where it has none."""
        found: AxisBound | None = getattr(self, axis)
        return found


class Policy(Frozen):
    """All bounds of a policy."""

    axes: Axes
    replies: Replies
    language: Language
    leaks: Leaks
    duplicates: Share
    tokens: Share


def read_policy(path: Path | None) -> Policy:
    """The policy of a file over the default, or the default. Raises: SpecError in one line naming file and field."""
    default = policy_in(DEFAULT)
    given = {} if path is None else policy_in(path)
    try:
        return Policy.model_validate(_over(default, given))
    except ValidationError as error:
        raise spec_error(Policy, error, str(path)) from None


def _over(default: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """The default with what is given in its place. A bound of an axis is taken whole: z gives way to low and high."""
    made = dict(default)
    for name, value in given.items():
        before = default.get(name)
        if isinstance(before, dict) and isinstance(value, dict):
            made[name] = before | value
        else:
            made[name] = value
    return made
