"""Run the job: `python -m jobs.steer --help`."""

from jobs import start
from jobs.steer.steer import main

start("steer", main)
