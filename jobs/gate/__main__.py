"""Run the job: `python -m jobs.gate --help`."""

from jobs import start
from jobs.gate.gate import main
from jobs.gate.tool import TOOL

start("gate", main, TOOL)
