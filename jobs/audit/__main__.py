"""Run the job: `python -m jobs.audit --help`."""

from jobs import start
from jobs.audit.audit import main
from jobs.audit.tool import TOOL

start("audit", main, TOOL)
