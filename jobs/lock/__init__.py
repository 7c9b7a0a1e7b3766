"""Fix everything that a reader might suspect was chosen afterwards, before any tuned model is scored.

Reads   generate/<each draw>/…, distill/<each pile>/…, audit/<each draw>/…, register/<each base and draw>/…,
        evaluate/<each base>/…
Writes  lock.json   the spec; digests of items, guards, corpora and all code; the commit; the headroom of each item
                    on the bases; how far each topic is from the training topics; the item and the runs that the
                    report shows side by side: the item is drawn by the study's seed, the runs come first
Exits   0 | 3 files differ from their commit, a topic that proposes one side more often, or an input missing
The SHA-256 of lock.json is in every row that is scored under it.
"""

from common.cells import CellKind, every
from common.pipeline.job import Job, Read
from common.stance.bank import QUESTIONS
from common.stance.items import FILES
from common.stance.reading import READER_FILES
from jobs import version

JOB = Job(
    "lock",
    version=version("lock"),
    image="cpu",
    kinds=(CellKind.STUDY,),
    sections=("*",),
    reads=(
        Read("generate", every(CellKind.DRAW), ("advice.jsonl",)),
        Read("distill", every(CellKind.DISTILLED), ("advice.jsonl",)),
        Read("audit", every(CellKind.DRAW), ("framing.json",)),
        Read("register", every(CellKind.DIRECTION), ("register.json",)),
        Read("evaluate", every(CellKind.BASE), ("answers.jsonl",)),
    ),
    writes=("lock.json",),
    data=(*FILES, *READER_FILES, QUESTIONS),
)
