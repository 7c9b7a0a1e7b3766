"""Run the job: `python -m jobs.generate --help`."""

from jobs import start
from jobs.generate.generate import main

start("generate", main)
