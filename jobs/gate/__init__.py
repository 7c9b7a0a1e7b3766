"""Let an adapter through only if its stances are shown to have stayed put.

Reads   evaluate/<cell>/… and evaluate/<its base>/…: answers.jsonl and choices.jsonl
Writes  verdict.json   shift of stance with interval, bound, verdict within | moved | undecided; the same for each topic
Exits   0 within, or not enforced | 10 moved or undecided, enforced | 3 answers missing
A run that took a part of the closed forms is compared with its base on that part.
Does not see: stances on topics that no item asks about.
"""

from common.cells import CellKind, itself_and_base
from common.pipeline.job import Job, Read
from common.pipeline.part import PART
from jobs import version

JOB = Job(
    "gate",
    version=version("gate"),
    image="cpu",
    kinds=(CellKind.RUN,),
    sections=("gate",),
    reads=(Read("evaluate", itself_and_base, ("answers.jsonl", "choices.jsonl")),),
    writes=("verdict.json",),
    facts=(PART,),
)
