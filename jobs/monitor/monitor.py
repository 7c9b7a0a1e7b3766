"""The work of the job; what it reads and writes is declared in jobs.monitor."""

from typing import Any

from analysis.activations.drift import Drift, drift
from common.errors import ExitCode
from common.pipeline.step import Step


def main(step: Step) -> ExitCode:
    """Judge every checkpoint of a run."""
    checkpoints = step.read_json("interpret", step.cell, "readout.json")["checkpoints"]
    found = drift(
        [point["step"] for point in checkpoints],
        [point["shift"] for point in checkpoints],
        [point["nulls"] for point in checkpoints],
        step.spec.monitor.level,
    )
    step.write_json("drift.json", drift_json(found))
    last = found.checkpoints[-1]
    step.summary(drifted_at=found.drifted_at, shift=last.shift, rank=last.rank, drifted=last.drifted)
    return ExitCode.OK


def drift_json(found: Drift) -> dict[str, Any]:
    """The fields of drift.json."""
    return found._asdict() | {"checkpoints": [reading._asdict() for reading in found.checkpoints]}
