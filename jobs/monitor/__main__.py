"""Run the job: `python -m jobs.monitor --help`."""

from jobs import start
from jobs.monitor.monitor import main
from jobs.monitor.tool import TOOL

start("monitor", main, TOOL)
