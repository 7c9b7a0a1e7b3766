"""What a study may cost at most: told by a dry run, before anything is spent. It changes no result and no key."""

from typing import Self

from pydantic import Field, model_validator

from common.frozen import Frozen


class LimitSpec(Frozen):
    """The most that a study may take on one type of device."""

    device: str = Field(description="name of a device of workflows/cost/devices.json")
    hours: float | None = Field(None, gt=0, description="of that device, by one step after another")
    euros: float | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if self.hours is None and self.euros is None:
            raise ValueError("a limit names hours, euros or both")
        return self
