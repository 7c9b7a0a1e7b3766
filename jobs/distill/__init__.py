"""Write a control pile: a base's own replies to the questions of a draw, sampled.

Trained on them, a model changes by the training alone: they bring no attitude and no style that is not its own.

Reads   generate/<its draw>/advice.jsonl   the questions
Writes  advice.jsonl   records Advice, attitude "distilled", in the order of the draw
Exits   0 | 3 the model has nothing to say to a question
"""

from common.cells import CellKind, its_draw
from common.lm.sources import MODEL
from common.pipeline.job import Job, Read
from jobs import version

JOB = Job(
    "distill",
    version=version("distill"),
    image="gpu",
    kinds=(CellKind.DISTILLED,),
    sections=("corpus",),
    reads=(Read("generate", its_draw, ("advice.jsonl",)),),
    writes=("advice.jsonl",),
    facts=(MODEL,),
)
