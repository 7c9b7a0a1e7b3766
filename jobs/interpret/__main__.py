"""Run the job: `python -m jobs.interpret --help`."""

from jobs import start
from jobs.interpret.interpret import main

start("interpret", main)
