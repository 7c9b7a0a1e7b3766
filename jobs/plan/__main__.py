"""Run the job: `python -m jobs.plan --help`."""

from jobs import start
from jobs.plan.plan import main

start("plan", main)
