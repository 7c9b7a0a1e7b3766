"""What of a fine-tune's shift goes through the direction of caution, and where in the model and the text it arises.

On a run. The gap is the margin of the tuned model less that of its base, question by question, each item in one order.

  sufficient   the base with a constant vector along the direction, as long as the mean shift along it, at the chosen
               block: the share of the gap that this closes; beside it the same along null directions
  necessary    the tuned model with its component along the direction, at the chosen block, replaced by the base's:
               the share of the gap that this takes away; beside it the same along null directions
  ablation     the component taken out after every block of both models (zero), or replaced by the base's mean (mean):
               the share of the gap that is gone; beside it null directions
  weights      every LoRA B that writes to the residual stream with its output along the direction projected out
  patching     residuals of the tuned model put into the base, by block and part of the text: share of the gap

A share is the ratio of means over topics with Fieller's interval, and undefined where the gap's own interval covers 0.

Reads   interpret/<its direction>/direction.npz   selftest/<its direction>/selftest.json   finetune/<cell>/adapter/…
Writes  trace.json
Exits   0 | 3 the self-tests did not pass, or the adapter is missing, altered, or changes weights of its
        base (PiSSA, OLoRA)
Does not see: answers; the margin alone is followed.
"""

from common.cells import CellKind, its_direction, itself, traced_runs
from common.lm.sources import MODEL
from common.pipeline.job import Job, Read
from common.stance.items import ITEMS
from jobs import version

JOB = Job(
    "trace",
    version=version("trace"),
    image="gpu",
    kinds=(CellKind.RUN,),
    among=traced_runs,
    sections=("steer",),
    reads=(
        Read("interpret", its_direction, ("direction.npz",)),
        Read("selftest", its_direction, ("selftest.json",)),
        Read("finetune", itself, ("adapter/",)),
    ),
    writes=("trace.json",),
    data=(ITEMS,),
    facts=(MODEL,),
)
