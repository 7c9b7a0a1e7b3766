"""What work takes on each type of device, from one table: devices.json."""

import json
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field

from common.frozen import Frozen
from workflows.cost.shapes import Shape
from workflows.cost.work import Work

TABLE = Path(__file__).with_name("devices.json")
PLAIN_SECONDS = {"plan": 4.0, "audit": 2.5, "report": 4.0}  # of jobs that run no model, as the demo's; others take none


class Figure(Frozen):
    """A number with where it comes from."""

    value: float = Field(gt=0)
    known: Literal["measured", "published", "assumed"]
    source: str = Field(min_length=1)


class Device(Frozen):
    """A type of device. Shares are of its peak."""

    title: str
    weight_bytes: int = Field(description="of a weight as it is held")
    peak_flops: Figure = Field(description="operations a second of one large matrix product")
    trained: Figure = Field(description="share, in training")
    read: Figure = Field(description="share, in a forward pass over whole texts")
    written: Figure = Field(description="share, where many replies are written at once")
    weights_a_second: Figure = Field(description="bytes of weights a second that writing reads, where replies are few")
    step_seconds: Figure = Field(description="of a step that runs a model, beside its work")
    euros_an_hour: Figure

    @property
    def assumed(self) -> list[str]:
        """Names of the numbers that nobody measured or published."""
        figures = {name: value for name, value in self if isinstance(value, Figure)}
        return [name.replace("_", " ") for name, figure in figures.items() if figure.known == "assumed"]

    def seconds(self, job: str, work: Work, shape: Shape | None, rank: int) -> float:
        """What a step takes on the whole device. rank: of its LoRA. Without a shape, only what runs no model."""
        if shape is None:
            return PLAIN_SECONDS.get(job, 0.0)
        peak = self.peak_flops.value
        trained = work.trained * shape.trained_flops(rank) / (peak * self.trained.value)
        read = work.read * shape.read_flops / (peak * self.read.value)
        # A step of writing reads all weights once for all replies, and multiplies by them once for each.
        multiplied = work.written * shape.read_flops / (peak * self.written.value)
        bytes_read = work.written / work.at_once * shape.parameters * self.weight_bytes
        written = max(multiplied, bytes_read / self.weights_a_second.value)
        return trained + read + written + self.step_seconds.value


@cache
def devices() -> dict[str, Device]:
    """Every device by name."""
    return {name: Device.model_validate(fields) for name, fields in json.loads(TABLE.read_bytes()).items()}
