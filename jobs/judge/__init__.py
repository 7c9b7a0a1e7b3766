"""Have a server judge what one model, base or tuned, recommends in its greedy answers: a second opinion on the reader.

The judge gets the codebook, the item and the answer; not the cell, the arm, or what the reader read. Equal answers to
an item are judged once. A reply that is no label is asked for again; after all attempts the answer is not judged.

Reads   evaluate/<cell>/answers.jsonl
Writes  judged.jsonl   records Judged: every greedy answer, those to a system prompt among them
Exits   0, also where the judge gave no label | 2 the spec names no judge, or the server refuses the key or the request
        3 answers are missing, or the server repeats the key | 75 the server is busy; goes on from what it judged
Does not see: samples, and runs of variants.
"""

from common.cells import CellKind, itself, judged_cells
from common.pipeline.job import Job, Read
from common.stance.items import CONTROL_ITEMS, HARD_ITEMS, ITEMS, PILOT_ITEMS
from common.stance.labels import CODEBOOK
from jobs import version

ASKED = (ITEMS, PILOT_ITEMS, HARD_ITEMS, *CONTROL_ITEMS)  # all that answers may be to

JOB = Job(
    "judge",
    version=version("judge"),
    image="cpu",
    kinds=(CellKind.BASE, CellKind.RUN),
    among=judged_cells,
    sections=("judge",),
    reads=(Read("evaluate", itself, ("answers.jsonl",)),),
    writes=("judged.jsonl",),
    data=(*ASKED, CODEBOOK),
    resumes=True,
)
