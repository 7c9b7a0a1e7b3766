"""Run the job: `python -m jobs.trace --help`."""

from jobs import start
from jobs.trace.trace import main

start("trace", main)
