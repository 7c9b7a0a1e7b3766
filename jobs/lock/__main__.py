"""Run the job: `python -m jobs.lock --help`."""

from jobs import start
from jobs.lock.lock import main

start("lock", main)
