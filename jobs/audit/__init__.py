"""Audit all arms of one corpus draw: does anything but the attitude set them apart, does anything leak?

Reads   generate/<each arm>/advice.jsonl
Writes  framing.json   each check: figure, bound, passed; the framing of each arm
Exits   0 all enforced checks pass | 10 one does not | 3 an arm is missing or holds other questions
Does not see: opinions put into other words than the held-out topics' own; tone that no word carries.
"""

from common.job import Job, Read
from common.spec import CellKind
from jobs import its_corpora

ITEMS = "jobs/evaluate/data/items.jsonl"
HELD_OUT = "jobs/audit/data/held_out.txt"  # words of the held-out topics
CANARIES = "jobs/audit/data/canaries.txt"  # leaky rows that the leakage check must catch

JOB = Job(
    "audit",
    version=1,
    image="cpu",
    kinds=(CellKind.DRAW,),
    sections=("audit", "attitudes"),
    reads=(Read("generate", its_corpora),),
    writes=("framing.json",),
    data=(ITEMS, HELD_OUT, CANARIES),
)
