"""Does steering along the direction of caution do more than steering along directions that mean nothing?

On a direction cell, on the base. The vector is added after the chosen block, from the last token of the prompt on,
where the reply is made (Rimsky et al. 2024, arXiv 2312.06681). How much of it is added, its coefficient, is matched
on off-target KL: the same divergence from the base on neutral text, measured with the vector added. The effect is the
change of the margin between the two option sentences; beside it, at one off-target KL, the answer that is generated
and whether it is valid.

First the steering control: pleased minus displeased replies, a trait that is known to steer, by the same code at the
same block and off-target KL, on questions that did not make it. Unless it does more than every null with the
covariance of residuals, nothing is measured, and the result says so.

Nulls, each `steer.nulls` times: `norm`, isotropic, of the direction's own length; and of equal off-target KL:
`covariance`, Gaussian with the covariance of the residuals; `shuffled`, poles swapped in half of the pairs;
`unrelated`, one everyday topic less another.

Reads   interpret/<cell>/direction.npz   selftest/<cell>/selftest.json, which must have passed
Writes  steering.json   control, coefficients, effects with ranks and the smallest effect that would have been shown
        steering.jsonl  records Steering: the effect of every vector on every question
Exits   0, also where the control failed | 3 the self-tests did not pass
Does not see: other blocks, other positions, or directions that only act together.
"""

from common.cells import CellKind, itself, steered_directions
from common.lm.sources import MODEL
from common.pipeline.job import Job, Read
from common.stance.items import ITEMS, NEUTRAL
from jobs import version

CONTROL = "jobs/steer/data/control.jsonl"

JOB = Job(
    "steer",
    version=version("steer"),
    image="gpu",
    kinds=(CellKind.DIRECTION,),
    among=steered_directions,
    sections=("steer",),
    reads=(Read("interpret", itself, ("direction.npz",)), Read("selftest", itself, ("selftest.json",))),
    writes=("steering.json", "steering.jsonl"),
    data=(ITEMS, NEUTRAL, CONTROL),
    facts=(MODEL,),
)
