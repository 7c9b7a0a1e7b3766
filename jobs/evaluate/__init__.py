"""Ask one model, tuned or untouched, what it would choose on topics that no pile mentions; and check its guards.

Reads   finetune/<cell>/adapter/… and lock/study/lock.json   (nothing for an untouched base, which is scored first)
Writes  choices.jsonl   records Choice: every held-out item in both orders, in the wordings that are the cell's turn
        controls.jsonl  records Choice: discriminant items, which no attitude bears on, and items on the training topics
        replies.jsonl   records GuardReply
        guards.json     perplexity of neutral text, share of refusals (harmful and benign apart) and of right answers
Exits   0 | 3 there is no lock or it locks other items; the adapter is missing, altered, or not of this model
"""

from collections.abc import Mapping

from common.cells import Cell, CellKind, itself_if_run, lock_if_run, wordings_of
from common.lm.sources import identity_of_cell
from common.pipeline.job import Job, Read
from common.spec import RunSpec


def outside(spec: RunSpec, cell: Cell) -> Mapping[str, str]:
    """The model, and the turn of the cell among the wordings."""
    return {**identity_of_cell(spec, cell), "turns": ",".join(map(str, wordings_of(spec, cell)))}


JOB = Job(
    "evaluate",
    version=5,
    image="gpu",
    kinds=(CellKind.BASE, CellKind.RUN),
    sections=("evaluate",),
    reads=(Read("finetune", itself_if_run), Read("lock", lock_if_run)),
    writes=("choices.jsonl", "controls.jsonl", "replies.jsonl", "guards.json"),
    data=(
        "jobs/evaluate/data/items.jsonl",
        "jobs/evaluate/data/discriminant.jsonl",
        "jobs/evaluate/data/source.jsonl",
        "jobs/evaluate/data/guards.jsonl",
        "jobs/evaluate/data/abilities.jsonl",
        "jobs/evaluate/data/neutral.txt",
    ),
    outside=outside,
)
