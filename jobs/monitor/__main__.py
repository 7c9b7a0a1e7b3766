"""Run the job: `python -m jobs.monitor --help`."""

from jobs import start
from jobs.monitor.monitor import main

start("monitor", main)
