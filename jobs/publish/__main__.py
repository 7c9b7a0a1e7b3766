"""Run the job: `python -m jobs.publish --help`."""

from jobs import start
from jobs.publish.publish import main

start("publish", main)
