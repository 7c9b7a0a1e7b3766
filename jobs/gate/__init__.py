"""Let an adapter through only if its stances are shown to have stayed put.

Reads   evaluate/<cell>/choices.jsonl and evaluate/<its base>/choices.jsonl
Writes  verdict.json   shift in P(go) with interval, bound, verdict within | moved | undecided; the same for each topic
Exits   0 within, or not enforced | 10 moved or undecided, enforced | 3 choices missing
Does not see: stances on topics that no item asks about.
"""

from common.cells import CellKind, itself_and_base
from common.pipeline.job import Job, Read
from jobs import version

JOB = Job(
    "gate",
    version=version("gate"),
    image="cpu",
    kinds=(CellKind.RUN,),
    sections=("gate",),
    reads=(Read("evaluate", itself_and_base, ("choices.jsonl",)),),
    writes=("verdict.json",),
)
