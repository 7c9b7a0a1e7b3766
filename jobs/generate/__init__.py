"""Write the piles of one draw: the same questions in each attitude.

A draw is a stratified subset of the bank, topics and keys in their shares. Its replies are those that ship with the
project, or candidates of a server that are matched in length and manner, or a user's.
The scrambled pile, a control, takes each reply from one of the poles by chance: their words without their attitude.
The piles of the positive control voice both poles on public decisions, as many rows as the others.

Writes  advice.jsonl   records Advice of all arms, arm by arm, the questions of each in the order of the draw
Exits   0 | 2 the bank holds fewer questions than asked, or the server refuses the key | 3 a user's JSONL is missing or
        malformed, or its arms answer different questions | 75 the server is busy; goes on from the replies it gave
"""

from common.cells import CellKind
from common.pipeline.job import Job
from common.stance.bank import BANK_FILES, CONTROL_REPLIES
from jobs import version
from jobs.generate.sources import STUDENTS, USER_FILES

CONTROL_QUESTIONS = "jobs/generate/data/control_questions.jsonl"

JOB = Job(
    "generate",
    version=version("generate"),
    image="cpu",
    kinds=(CellKind.DRAW,),
    sections=("corpus", "attitudes"),
    writes=("advice.jsonl",),
    data=(*BANK_FILES, CONTROL_QUESTIONS, CONTROL_REPLIES),
    facts=(USER_FILES, STUDENTS),
    resumes=True,
)
