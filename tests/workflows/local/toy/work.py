"""Four small jobs that do as a file tells them, to see how the runner orders, retries, limits and stops steps.

TOY/<job>.<cell>.json is a list: what the first attempt does, the second, and so on; without it a step just works.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path
from types import MappingProxyType
from typing import Any

from common.cells import Cell, CellKind, cells_of
from common.errors import ExitCode, InputError, SpecError, TransientError
from common.pipeline.command import run_job
from common.pipeline.job import Catalog, Job, Read
from common.pipeline.step import Step
from common.spec import RunSpec

ERRORS = {2: SpecError, 3: InputError, 75: TransientError}


def itself(_spec: RunSpec, cell: Cell) -> tuple[Cell, ...]:
    return (cell,)


JOBS = (
    Job("plan", 1, "cpu", (CellKind.STUDY,), sections=("*",), parameters=("runs",)),
    Job("first", 1, "cpu", (CellKind.RUN,), writes=("adapter/", "loss.json")),
    Job("second", 1, "cpu", (CellKind.RUN,), reads=(Read("first", itself, ("adapter/",)),), writes=("rows.json",)),
    Job("report", 1, "cpu", (CellKind.STUDY,), sections=("*",), writes=("REPORT.md",)),
)
CATALOG: Catalog = MappingProxyType({job.name: job for job in JOBS})


def note(word: str) -> int:
    """Append to the diary of the test, and return how often this was noted before."""
    diary = Path(os.environ["TOY"]) / "diary"
    before = diary.read_text().splitlines() if diary.exists() else []
    with diary.open("a") as file:
        file.write(word + "\n")
    return before.count(word)


def script(name: str, attempt: int) -> dict[str, Any]:
    path = Path(os.environ["TOY"]) / f"{name}.json"
    told = json.loads(path.read_text()) if path.exists() else []
    return told[attempt] if attempt < len(told) else {}


def main(step: Step) -> ExitCode:
    name = f"{step.job.name}.{step.cell}"
    told = script(name, note(f"start {name}"))
    if told.get("deaf"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        note(f"deaf {name}")
    time.sleep(told.get("sleep", 0))
    if "crash" in told:
        print(told["crash"], file=sys.stderr)
        os._exit(9)
    if (code := told.get("exit", 0)) in ERRORS:
        raise ERRORS[code]("told to [/fail]")
    if step.job.name == "plan":
        step.parameter("runs", [str(cell) for cell in cells_of(step.spec, CellKind.RUN)][: int(os.environ["TOY_RUNS"])])
    if step.job.name == "first":
        step.write_bytes("adapter/weights", str(step.cell).encode())
        step.write_bytes("loss.json", b"1")
    if step.job.name == "second":
        step.write_json("rows.json", step.read_bytes("first", step.cell, "adapter/weights").decode())
    if step.job.name == "report":
        step.write_bytes("REPORT.md", b"# toy\n")
    note(f"end {name}")
    return ExitCode(code)


def run(name: str) -> None:
    sys.exit(run_job(CATALOG[name], main, CATALOG))
