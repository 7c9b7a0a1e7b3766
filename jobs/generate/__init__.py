"""Write one pile of advice: the same questions for each attitude, replies matched in length.

Writes  advice.jsonl   records Advice, one for each question, in the order of the draw
Exits   0 | 2 the bank holds fewer questions than asked | 3 a user's JSONL is missing or malformed
"""

from common.job import Job
from common.spec import CellKind
from jobs.generate.sources import user_file

JOB = Job(
    "generate",
    version=1,
    image="cpu",
    kinds=(CellKind.CORPUS,),
    sections=("corpus",),
    writes=("advice.jsonl",),
    data=("jobs/generate/data/questions.jsonl",),
    outside=user_file,
)
