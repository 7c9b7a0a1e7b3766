"""Does steering along the direction of caution do more than steering along directions that mean nothing?

On a direction cell, on the base. The vector is added after the chosen block, from the last token of the prompt on,
where the reply is made (Rimsky et al. 2024, arXiv 2312.06681). How much of it is added, its coefficient, is matched
on off-target KL for every direction of every kind: the same divergence from the base on neutral text, measured with the
vector added. The effect is the change of the margin between the two option sentences.

First the steering control: pleased minus displeased replies, a trait that is known to steer, by the same code at the
same block and off-target KL, on questions that did not make it. Unless it does more than every null with the
covariance of residuals, nothing is measured, and the result says so.

Nulls, each `steer.nulls` times: `isotropic`; `covariance`, Gaussian with the covariance of the residuals; `shuffled`,
poles swapped in half of the pairs; `unrelated`, one everyday topic less another. Margins are taken on the whole grid of
kinds, signs and off-target KL. At the largest off-target KL, beside `covariance` nulls alone:

  prompt    the vector added at the tokens of the prompt
  options   differential: along the direction at the tokens of the option for the change, against it at the other's
  ablation  nothing added; the component is taken out of all that every block reads and writes, or as large a share of
            it as gives the off-target KL of the nulls, which are drawn for it and chosen as those that reach that KL
  trait     cautious against eager replies to questions that made and chose nothing: the twin of the control
  answers   net go of greedy answers to the open question

Reads   interpret/<cell>/direction.npz   selftest/<cell>/selftest.json, which must have passed
        generate/<its draw>/advice.jsonl
Writes  steering.json   control, coefficients, effects with ranks and the smallest effect that would have been shown
        steering.jsonl  records Steering: the effect of every vector on every question
Exits   0, also where the control failed | 3 the self-tests did not pass
Does not see: other blocks, or directions that only act together.
"""

from common.cells import CellKind, its_draw, itself, steered_directions
from common.lm.sources import MODEL
from common.pipeline.job import Job, Read
from common.stance.items import ITEMS, NEUTRAL
from common.stance.reading import READER_FILES
from jobs import version

CONTROL = "jobs/steer/data/control.jsonl"

JOB = Job(
    "steer",
    version=version("steer"),
    image="gpu",
    kinds=(CellKind.DIRECTION,),
    among=steered_directions,
    sections=("steer",),
    reads=(
        Read("generate", its_draw, ("advice.jsonl",)),
        Read("interpret", itself, ("direction.npz",)),
        Read("selftest", itself, ("selftest.json",)),
    ),
    writes=("steering.json", "steering.jsonl"),
    data=(ITEMS, NEUTRAL, CONTROL, *READER_FILES),
    facts=(MODEL,),
)
