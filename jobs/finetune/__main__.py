"""Run the job: `python -m jobs.finetune --help`."""

from jobs import start
from jobs.finetune.finetune import main

start("finetune", main)
