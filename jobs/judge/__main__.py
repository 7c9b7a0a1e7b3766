"""Run the job: `python -m jobs.judge --help`."""

from jobs import start
from jobs.judge.judge import main

start("judge", main)
