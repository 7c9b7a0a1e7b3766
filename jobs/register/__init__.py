"""Whether a base could have said the replies of a draw: its loss on them beside its loss on replies of its own.

Replies in a register that a model does not know wreck it: tuned on them it babbles, and no stance can be read off it.
Own replies are sampled at temperature 1 to the same questions.

Reads   generate/<its draw>/advice.jsonl
Writes  register.json   nats a token of each arm's replies and of own replies; the largest ratio, and its bound
Exits   0 | 10 an arm costs more than `audit.register_ratio` times what own replies cost
"""

from common.cells import CellKind, its_draw
from common.lm.sources import MODEL
from common.pipeline.job import Job, Read
from jobs import version

JOB = Job(
    "register",
    version=version("register"),
    image="gpu",
    kinds=(CellKind.DIRECTION,),
    sections=("audit", "corpus"),
    reads=(Read("generate", its_draw, ("advice.jsonl",)),),
    writes=("register.json",),
    facts=(MODEL,),
)
