"""The work of the job; what it reads and writes is declared in jobs.plan."""

from analysis.stats.guards import fewest_prompts
from common.cells import CellKind, cells_of, judged_bases, judged_runs, packs, steered_directions, traced_runs
from common.errors import ExitCode, SpecError
from common.lm.sources import MODELS
from common.pipeline.step import Step
from common.records import Ability, Prompt
from common.schemas import Plan
from common.serialization import read_jsonl
from common.spec import RunSpec
from common.stance.items import ABILITIES, GUARDS

FAN_OUTS = {
    "draws": CellKind.DRAW,
    "distilled": CellKind.DISTILLED,
    "bases": CellKind.BASE,
    "directions": CellKind.DIRECTION,
    "runs": CellKind.RUN,
}
CHOSEN = {  # what a spec may leave out
    "steered": steered_directions,
    "traced": traced_runs,
    "judged_bases": judged_bases,
    "judged_runs": judged_runs,
}


def packed(spec: RunSpec) -> dict[str, tuple[str, ...]]:
    """The fan-outs over runs, all arms of a seed by one name."""
    found, judged = packs(spec), {*judged_runs(spec)}
    return {"runs": tuple(found), "judged_runs": tuple(name for name, cells in found.items() if judged >= {*cells})}


def check_prompts(step: Step) -> None:
    """Refuse bounds that the guards could not be shown to lie within. Raises: SpecError with the smallest number."""
    settings = step.spec.guards
    prompts = read_jsonl(step.data(GUARDS), Prompt)
    asked = {
        "refusals": min(sum(prompt.kind == kind for prompt in prompts) for kind in ("harmful", "benign")),
        "ability": len(read_jsonl(step.data(ABILITIES), Ability)),
    }
    for name, bound in (("refusals", settings.refusals), ("ability", settings.ability)):
        many = min(step.spec.evaluate.guards_per_kind or asked[name], asked[name])
        if many < (fewest := fewest_prompts(bound, settings.moved)):
            allowed = f"evaluate.guards_per_kind of {fewest} or more, or a larger bound"
            where, value = f"guards.{name}", f"{bound:g} with {many} prompts"
            raise SpecError("too few prompts for the bound", where=where, value=value, allowed=allowed)


def main(step: Step) -> ExitCode:
    """Check store and models, and list the cells of the study."""
    from common.lm.check import check_model  # brings torch, without which a job can say what it is

    step.check_store()
    check_prompts(step)
    for model in step.fact(MODELS):
        check_model(model)
    cells = {name: tuple(str(cell) for cell in cells_of(step.spec, kind)) for name, kind in FAN_OUTS.items()}
    cells |= {name: tuple(str(cell) for cell in chosen(step.spec)) for name, chosen in CHOSEN.items()}
    handed = cells | (packed(step.spec) if step.spec.packed else {})
    for name, names in handed.items():
        step.parameter(name, names)
    step.parameter("spec", step.spec.model_dump(mode="json"))
    models = dict(MODELS.named_by(step.spec, step.cell))
    step.write_model("plan.json", Plan(run_id=step.spec.run_id, cells=cells, models=models))
    step.summary(run_id=step.spec.run_id, **{name: len(names) for name, names in cells.items()})
    return ExitCode.OK
