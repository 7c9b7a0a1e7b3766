"""Audit all arms of one corpus draw: does anything but the attitude set them apart, does anything leak?

Reads   generate/<the draw>/advice.jsonl, distill/<each model's replies>/advice.jsonl
Writes  framing.json   checks: figure, bound, passed, enforced; framing: each arm's figures with intervals; pairs: arms
                       side by side; cues: where in the reply the attitude can be read, and where neutral stands
Control piles (scrambled, distilled) are searched for leaks and scored like the others, but stop nothing; nor do those
of the positive control, which are searched for the topics of the items alone.
Exits   0 all enforced checks pass | 10 one does not | 3 an arm is missing, repeats a question or holds other questions
It reads English. Where a row is of another language the check `language` fails, and so does every check that looks for
English words, leaks first of all.
Does not see: opinions in words that neither the held-out items nor the word list hold; tone that no word carries.
"""

from common.cells import CellKind, distilled_of_draw, itself
from common.lm.sources import MODELS
from common.pipeline.job import Job, Read
from common.stance.bank import QUESTIONS
from common.stance.items import HARD_ITEMS, ITEMS
from jobs import version

HELD_OUT = "jobs/audit/data/held_out.txt"  # words of the held-out topics, beside those taken from the items
EVERYDAY = QUESTIONS  # how common words are in everyday advice
STANCE = "jobs/audit/data/stance.txt"  # words that carry the attitude, and may differ between arms
CANARIES = "jobs/audit/data/canaries.jsonl"  # leaky sentences that the job plants and must catch

JOB = Job(
    "audit",
    version=version("audit"),
    image="cpu",
    kinds=(CellKind.DRAW,),
    sections=("audit", "attitudes"),
    reads=(Read("generate", itself, ("advice.jsonl",)), Read("distill", distilled_of_draw, ("advice.jsonl",))),
    writes=("framing.json",),
    data=(ITEMS, HARD_ITEMS, HELD_OUT, STANCE, EVERYDAY, CANARIES),
    facts=(MODELS,),
)
