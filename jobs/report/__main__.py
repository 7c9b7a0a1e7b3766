"""Run the job: `python -m jobs.report --help`."""

from jobs import start
from jobs.report.report import main

start("report", main)
