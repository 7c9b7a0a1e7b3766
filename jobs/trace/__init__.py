"""What of a fine-tune's shift goes through the direction of caution, and where in the model and the text it arises.

On a run of a pole, beside the neutral run of its seed and draw. The gap is the margin of the pole less that of neutral,
question by question: what any training does is in both. For the first two, items are asked in both orders, for the
others in one of them, by turns.

  sufficient   neutral with a constant vector along the direction, as long as the mean difference along it, at the
               chosen block: the share of the gap that this closes
  necessary    the pole with its component along the direction, at the chosen block, replaced by that of neutral
  ablation     the component taken out of all that blocks read and write, in both: the share of the gap that is gone
  whole        neutral with the whole mean difference of the other half of the topics, whatever its direction: more than
               any one direction closes
  weights      what of the difference of both adapters is written along the direction, by their matrices alone
  patching     residuals of the pole put into neutral, by block and part of the text

All but patching are set beside null directions with the covariance of residuals. A share is the ratio of means over
topics with Fieller's interval, and undefined where the gap's own interval covers 0. Then the number of items is told
that would show a gap of this size.

Reads   interpret/<its direction>/direction.npz   selftest/<its direction>/selftest.json
        finetune/<cell>/adapter/… and that of its neutral run
Writes  trace.json
Exits   0 | 3 the self-tests did not pass, or an adapter is missing, altered, or changes weights of its
        base (PiSSA, OLoRA)
Does not see: answers; the margin alone is followed.
"""

from common.cells import CellKind, its_direction, itself_and_neutral, traced_runs
from common.lm.sources import MODEL
from common.pipeline.job import Job, Read
from common.stance.items import ITEMS, NEUTRAL
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
        Read("finetune", itself_and_neutral, ("adapter/",)),
    ),
    writes=("trace.json",),
    data=(ITEMS, NEUTRAL),
    facts=(MODEL,),
)
