"""Run the job: `python -m jobs.distill --help`."""

from jobs import start
from jobs.distill.distill import main

start("distill", main)
