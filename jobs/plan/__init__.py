"""Check the spec, the store and the models, and list the cells of a study.

Writes  plan.json   run id, cells by kind, the identity of each model
Hands over  draws, distilled, bases, directions, runs, steered, traced, judged_bases, judged_runs: lists of
            cell names for the fan-outs
            spec: as it was read here
            With `packed`, runs and judged_runs are packs: all arms of a seed by one name.
Exits   0 | 2 the spec or the store cannot be used, or the guards have too few prompts for their bounds | 3 a model file
        is missing, altered or of an unknown type, or its chat template cannot hold the study: it refuses the system
        prompt, or puts text of its own before a reply
"""

from common.cells import CellKind
from common.lm.sources import MODELS
from common.pipeline.job import Fact, Job
from common.stance.items import ABILITIES, GUARDS
from jobs import version

PACKED = Fact("packed", lambda spec, _cell: spec.packed, lambda spec, _cell: {"packed": str(spec.packed)})

JOB = Job(
    "plan",
    version=version("plan"),
    image="cpu",
    kinds=(CellKind.STUDY,),
    sections=("*",),
    writes=("plan.json",),
    data=(GUARDS, ABILITIES),
    facts=(MODELS, PACKED),
    parameters=(
        "draws",
        "distilled",
        "bases",
        "directions",
        "runs",
        "steered",
        "traced",
        "judged_bases",
        "judged_runs",
        "spec",
    ),
)
