"""Run the job: `python -m jobs.register --help`."""

from jobs import start
from jobs.register.register import main

start("register", main)
