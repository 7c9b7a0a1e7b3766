"""Run the job: `python -m jobs.selftest --help`."""

from jobs import start
from jobs.selftest.selftest import main

start("selftest", main)
