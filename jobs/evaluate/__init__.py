"""Ask one model, base or tuned, what it would advise on topics that no pile mentions; and check its guards.

Reads   finetune/<cell>/adapter/… and lock/study/lock.json   (nothing for a base, which is scored first)
Writes  answers.jsonl   records Answer: every item asked openly, the greedy answer and samples, read by the reader;
                        of a base also when it is asked for each attitude, by its system prompt and by examples
        choices.jsonl   records Choice: every held-out item in its closed forms, both keys, both orders; and
                        how likely the two written replies are, where an item has them
        controls.jsonl  records Choice: discriminant items, in which nothing changes, items on the training topics, and
                        items in which caution means acting; before them the hard items, where the spec asks for them
        replies.jsonl   records GuardReply
        guards.json     perplexity of neutral text, share of refusals (harmful and benign apart) and of right answers
With `evaluate.rotate`, a run is asked its part of the closed forms, of the written replies and of the guards; a base is
asked all. Neutral text is read whole by each.

Exits   0 | 2 a part of `evaluate.rotate` would be empty
          | 3 there is no lock or it locks other items; the adapter is missing, altered, or not of this model; a
              written reply shares words in a row with the corpus, or tells its arm
"""

from common.cells import CellKind, itself_if_run, lock_if_run
from common.lm.sources import MODEL
from common.pipeline.job import Job, Read
from common.pipeline.part import PART
from common.stance.bank import BANK_FILES, CONTROL_REPLIES
from common.stance.items import FILES
from common.stance.reading import READER_FILES
from jobs import version

JOB = Job(
    "evaluate",
    version=version("evaluate"),
    image="gpu",
    kinds=(CellKind.BASE, CellKind.RUN),
    sections=("evaluate",),
    reads=(Read("finetune", itself_if_run, ("adapter/",)), Read("lock", lock_if_run, ("lock.json",))),
    writes=("answers.jsonl", "choices.jsonl", "controls.jsonl", "replies.jsonl", "guards.json"),
    data=(*FILES, *READER_FILES, *BANK_FILES, CONTROL_REPLIES),
    facts=(MODEL, PART),
)
