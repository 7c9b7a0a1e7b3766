"""Write the piles of one draw: the same questions in each attitude, replies matched in all but the attitude.

The scrambled pile, a control, takes each reply from one of the poles by chance: their words without their attitude.

Writes  advice.jsonl   records Advice of all arms, arm by arm, the questions of each in the order of the draw
Exits   0 | 2 the bank holds fewer questions than asked, or the server refuses the key | 3 a user's JSONL is missing or
        malformed, or its arms answer different questions | 75 the server is busy; goes on from the replies it gave
"""

from common.cells import CellKind
from common.pipeline.job import Job
from jobs import version
from jobs.generate.sources import STUDENTS, USER_FILES

QUESTIONS = "jobs/generate/data/questions.jsonl"

JOB = Job(
    "generate",
    version=version("generate"),
    image="cpu",
    kinds=(CellKind.DRAW,),
    sections=("corpus", "attitudes"),
    writes=("advice.jsonl",),
    data=(QUESTIONS,),
    facts=(USER_FILES, STUDENTS),
    resumes=True,
)
