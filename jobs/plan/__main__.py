"""Command line of the job; see jobs.plan."""

import sys

from common.errors import ExitCode
from common.job import Step, run_job
from common.models import identities
from common.spec import CellKind
from jobs import catalog
from jobs.plan import JOB

FAN_OUTS = {
    "draws": CellKind.DRAW,
    "distilled": CellKind.DISTILLED,
    "bases": CellKind.BASE,
    "directions": CellKind.DIRECTION,
    "runs": CellKind.RUN,
}


def main(step: Step) -> ExitCode:
    """List the cells of the study."""
    step.check_store()
    cells = {name: [str(cell) for cell in step.spec.cells(kind)] for name, kind in FAN_OUTS.items()}
    cells["steered"] = [str(cell) for cell in step.spec.steered]
    cells["traced"] = [str(cell) for cell in step.spec.traced]
    handed = {**cells, "runs": list(step.spec.packs())} if step.spec.packed else cells
    for name, names in handed.items():
        step.parameter(name, names)
    step.parameter("spec", step.spec.model_dump(mode="json"))
    models = dict(identities(step.spec, step.cell))
    step.write_json("plan.json", {"run_id": step.spec.run_id, "cells": cells, "models": models})
    step.summary(run_id=step.spec.run_id, **{name: len(names) for name, names in cells.items()})
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(run_job(JOB, main, catalog()))
