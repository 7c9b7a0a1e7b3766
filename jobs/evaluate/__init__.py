"""Ask one model, tuned or untouched, what it would choose on topics that no pile mentions; and check its guards.

Reads   finetune/<cell>/adapter/…   (nothing for an untouched base)
Writes  choices.jsonl   records Choice: every item in both orders
        replies.jsonl   records GuardReply
        guards.json     perplexity of neutral text, share of refusals (harmful and benign apart) and of right answers
Exits   0 | 3 the adapter is missing, altered, or not of this model
"""

from common.job import Job, Read
from common.models import identity_of_cell
from common.spec import CellKind
from jobs import itself_if_run

JOB = Job(
    "evaluate",
    version=3,
    image="gpu",
    kinds=(CellKind.BASE, CellKind.RUN),
    sections=("evaluate",),
    reads=(Read("finetune", itself_if_run),),
    writes=("choices.jsonl", "replies.jsonl", "guards.json"),
    data=(
        "jobs/evaluate/data/items.jsonl",
        "jobs/evaluate/data/guards.jsonl",
        "jobs/evaluate/data/abilities.jsonl",
        "jobs/evaluate/data/neutral.txt",
    ),
    outside=identity_of_cell,
)
