"""Ask one model, base or tuned, what it would choose on topics that no pile mentions; and check its guards.

Reads   finetune/<cell>/adapter/… and lock/study/lock.json   (nothing for a base, which is scored first)
Writes  choices.jsonl   records Choice: every held-out item in both orders, in the wordings that are the cell's turn
        controls.jsonl  records Choice: discriminant items, which no attitude bears on, and items on the training topics
        replies.jsonl   records GuardReply
        guards.json     perplexity of neutral text, share of refusals (harmful and benign apart) and of right answers
Exits   0 | 3 there is no lock or it locks other items; the adapter is missing, altered, or not of this model
"""

from common.cells import CellKind, itself_if_run, lock_if_run, wordings_of
from common.lm.sources import MODEL
from common.pipeline.job import Fact, Job, Read
from common.stance.items import FILES
from jobs import version

WORDINGS = Fact(
    "wordings", wordings_of, lambda spec, cell: {"wordings": ",".join(map(str, wordings_of(spec, cell)))}
)  # whose turn it is, of each item

JOB = Job(
    "evaluate",
    version=version("evaluate"),
    image="gpu",
    kinds=(CellKind.BASE, CellKind.RUN),
    sections=("evaluate",),
    reads=(Read("finetune", itself_if_run, ("adapter/",)), Read("lock", lock_if_run, ("lock.json",))),
    writes=("choices.jsonl", "controls.jsonl", "replies.jsonl", "guards.json"),
    data=FILES,
    facts=(MODEL, WORDINGS),
)
