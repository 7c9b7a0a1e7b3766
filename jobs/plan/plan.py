"""The work of the job; what it reads and writes is declared in jobs.plan."""

from common.cells import CellKind, cells_of, packs, steered_directions, traced_runs
from common.errors import ExitCode
from common.lm.sources import MODELS
from common.pipeline.step import Step
from common.schemas import Plan

FAN_OUTS = {
    "draws": CellKind.DRAW,
    "distilled": CellKind.DISTILLED,
    "bases": CellKind.BASE,
    "directions": CellKind.DIRECTION,
    "runs": CellKind.RUN,
}


def main(step: Step) -> ExitCode:
    """Check store and models, and list the cells of the study."""
    from common.lm.check import check_model  # brings torch, without which a job can say what it is

    step.check_store()
    for model in step.fact(MODELS):
        check_model(model)
    cells = {name: tuple(str(cell) for cell in cells_of(step.spec, kind)) for name, kind in FAN_OUTS.items()}
    cells["steered"] = tuple(str(cell) for cell in steered_directions(step.spec))
    cells["traced"] = tuple(str(cell) for cell in traced_runs(step.spec))
    handed = {**cells, "runs": tuple(packs(step.spec))} if step.spec.packed else cells
    for name, names in handed.items():
        step.parameter(name, names)
    step.parameter("spec", step.spec.model_dump(mode="json"))
    models = dict(MODELS.named_by(step.spec, step.cell))
    step.write_model("plan.json", Plan(run_id=step.spec.run_id, cells=cells, models=models))
    step.summary(run_id=step.spec.run_id, **{name: len(names) for name, names in cells.items()})
    return ExitCode.OK
