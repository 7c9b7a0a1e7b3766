"""The work of the job; what it reads and writes is declared in jobs.monitor."""

from analysis.activations.drift import drift
from common.errors import ExitCode
from common.pipeline.step import Step
from common.schemas import Drift, Reading, RunReadout


def main(step: Step) -> ExitCode:
    """Judge every checkpoint of a run."""
    checkpoints = step.read_model("interpret", step.cell, "readout.json", RunReadout).checkpoints
    found = drift(
        [point.optimizer_step for point in checkpoints],
        [point.shift for point in checkpoints],
        [point.nulls for point in checkpoints],
        step.spec.monitor.level,
    )
    readings = tuple(Reading.of(reading) for reading in found.checkpoints)
    step.write_model("drift.json", Drift(level=found.level, checkpoints=readings, drifted_at=found.drifted_at))
    last = readings[-1]
    step.summary(drifted_at=found.drifted_at, shift=last.shift, rank=last.rank, drifted=last.drifted)
    return ExitCode.OK
