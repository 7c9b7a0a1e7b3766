"""Run the job: `python -m jobs.evaluate --help`."""

from jobs import start
from jobs.evaluate.evaluate import main

start("evaluate", main)
