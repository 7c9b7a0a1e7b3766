"""What the parts of a spec have in common."""

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """A part of a spec: immutable, no unknown fields, no coercion of types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
