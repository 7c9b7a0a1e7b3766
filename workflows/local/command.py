"""Run a workflow on this machine: the same YAML that Argo runs, as processes instead of pods.

    python -m workflows.local workflows/study.yaml --spec workflows/specs/demo.json

Sealed steps are reused without starting a process. Stopped with Ctrl-C, it resumes where it was.
"""

import argparse
import contextlib
import json
import math
import os
import signal
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from common.cli import changes, ended, parsed
from common.digests import file_sha256
from common.errors import ExitCode, SpecError
from common.provenance import ROOT, usable_cores
from common.spec import RunSpec, override, parse_spec
from common.store.sealed import ArtifactStore, open_store
from jobs import catalog
from workflows.cost.cuts import over
from workflows.cost.sheet import notes, sheet, table
from workflows.local.display import Screen, explanations, summary
from workflows.local.forecast import Forecast, dry_run, forecast, steps_of
from workflows.local.object_store import FOLDER, object_store
from workflows.local.processes import Processes
from workflows.local.results import fetch
from workflows.local.runner import Runner
from workflows.local.selection import cut, selected
from workflows.local.slots import Slots
from workflows.local.steps import Outcome, Steps
from workflows.local.template import Phase, read_template

RUNS = ROOT / ".undertone" / "runs"


def main(argv: Sequence[str] | None = None) -> int:
    """Run, and return the exit code: 0, or that of the first step that failed."""
    return ended(partial(_main, _arguments(argv)))


def _main(arguments: argparse.Namespace) -> int:
    """Read what to run, serve a store if none was named, and run. Raises: JobError, OSError."""
    workflow = read_template(arguments.workflow)
    if arguments.minutes is not None and not 0 < arguments.minutes < math.inf:
        raise SpecError("not a time", where="--minutes", value=arguments.minutes, allowed="minutes, above 0")
    data = override(arguments.spec.read_bytes(), str(arguments.spec), changes(arguments.set))
    spec = parse_spec(data, str(arguments.spec))
    if arguments.store is not None:
        return _run(workflow, spec, arguments, None)
    with object_store(arguments.data) as served:
        os.environ.update(served.environment)
        arguments.store = served.uri
        return _run(workflow, spec, arguments, arguments.data)


def _run(workflow: dict[str, Any], spec: RunSpec, arguments: argparse.Namespace, served: Path | None) -> int:
    """Run over the store that is there now. served: its folder if it stops with this process."""
    console, clock = Console(), time.monotonic()
    store, at_once = open_store(arguments.store), arguments.jobs or usable_cores()
    if arguments.dry_run:
        console.print(dry_run(spec, catalog(), store))
        expected = forecast(spec, catalog(), store)
        _print_cost(spec, expected, console)
        console.print(expected.line(at_once), soft_wrap=True)
        return int(ExitCode.OK)
    store.manifest("none", "none")  # a store that cannot be asked ends the run here, in one line
    folder = _folder(spec)
    left = forecast(spec, catalog(), store)
    run = _Run(workflow, spec, arguments, store, at_once, folder, left)
    with run.stopped_by_signals(), run.processes.no_longer_than(arguments.minutes):
        console.print(left.line(at_once), soft_wrap=True)
        outcome = run.walk()
    console.print(summary(run.steps.done, time.monotonic() - clock))
    for line in explanations(run.steps.done, folder / "spec.json", arguments.store, served):
        console.print(line, soft_wrap=True)
    if run.processes.stopped:
        why = "" if run.processes.asked_to_stop else f" after {arguments.minutes:g} minutes"
        console.print(f"stopped{why}; the same command goes on from here")
        return int(ExitCode.TRANSIENT)
    _hand_over(spec, store, folder, arguments.out or folder / "report", console)
    # Not the phase of the DAG alone: a report that was made hides, in Argo's terms, that a step before it failed.
    otherwise = ExitCode.OK if outcome.phase is Phase.SUCCEEDED else ExitCode.BUG
    return next((row.code for row in run.steps.done if row.code), int(otherwise))


def _print_cost(spec: RunSpec, expected: Forecast, console: Console) -> None:
    """The cost sheet, and what to cut where the spec names a limit. Raises: SpecError, InputError."""
    found = sheet(spec, catalog())
    console.print(table(found, expected.to_do))
    for line in (*notes(found), *over(spec, catalog(), found)):
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def _folder(spec: RunSpec) -> Path:
    """The folder of a run, with the spec that its steps read."""
    folder = RUNS / spec.run_id
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "spec.json").write_text(json.dumps(spec.model_dump(mode="json"), indent=1))
    return folder


class _Run:
    """The parts of one run, put together."""

    def __init__(
        self,
        workflow: dict[str, Any],
        spec: RunSpec,
        arguments: argparse.Namespace,
        store: ArtifactStore,
        at_once: int,
        folder: Path,
        left: Forecast,
    ) -> None:
        """Raises: SpecError for a stage or a task that is not in the workflow."""
        templates = {template["name"]: template for template in workflow["templates"]}
        self._entry: str = workflow["entrypoint"]
        if arguments.until:
            templates[self._entry] = cut(templates[self._entry], arguments.until)
        self._parameters = {"spec": str(folder / "spec.json"), "store": arguments.store}
        self._screen = Screen({job: len(cells) for job, cells in steps_of(spec, catalog()).items()}, left, at_once)
        self.processes = Processes(catalog(), max(1, usable_cores() // at_once), self._screen)
        slots = Slots(at_once)
        self.steps = Steps(
            spec,
            catalog(),
            store,
            selected=selected(list(templates), arguments.only, arguments.start),
            slots=slots,
            processes=self.processes,
            screen=self._screen,
            folder=folder,
        )
        self._runner = Runner(list(templates.values()), self.steps.run, slots, self.processes.stopping)

    def walk(self) -> Outcome:
        """Run the entrypoint. No step outlives this, even if it raises."""
        with self._screen:
            try:
                return self._runner.run(self._entry, self._parameters)
            except BaseException:
                self.processes.end()
                raise

    @contextlib.contextmanager
    def stopped_by_signals(self) -> Iterator[None]:
        """SIGINT and SIGTERM stop the steps while the block runs."""

        def interrupted(*_: object) -> None:
            if not self.processes.asked_to_stop:
                os.write(2, b"stopping: running steps keep a checkpoint; ask again to end them at once\n")
            self.processes.stop()

        before = {number: signal.signal(number, interrupted) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _hand_over(spec: RunSpec, store: ArtifactStore, folder: Path, out: Path, console: Console) -> None:
    """Put the lock and the report where a person opens them, as far as they are sealed."""
    if (locked := fetch(spec, catalog(), store, "lock", folder)) is not None:
        console.print(f"lock: {locked / 'lock.json'}, SHA-256 {file_sha256(locked / 'lock.json')}", soft_wrap=True)
    if (report := fetch(spec, catalog(), store, "report", out)) is not None:
        if (gist := report / "in_words.txt").is_file():
            console.print(gist.read_text(), soft_wrap=True, highlight=False, markup=False)
        console.print(f"report: {report / 'REPORT.md'} and {report / 'report.html'}", soft_wrap=True)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m workflows.local", description=__doc__, formatter_class=raw)
    parser.add_argument("workflow", type=Path, help="a WorkflowTemplate, as workflows/study.yaml")
    parser.add_argument("--spec", type=Path, required=True, help="what to run, as workflows/specs/demo.json")
    parser.add_argument("--store", help="s3://bucket/prefix or a folder; without it SeaweedFS is started and stopped")
    parser.add_argument("--data", type=Path, default=FOLDER, help="folder of that SeaweedFS (default: %(default)s)")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="seeds=8, train.epochs=2, …")
    parser.add_argument("--only", metavar="STAGE,…", help="run these stages; take the others from the store")
    parser.add_argument("--from", dest="start", metavar="STAGE", help="run this stage and those listed after it")
    parser.add_argument("--until", metavar="TASK", help="stop after this task of the study, as in --until lock")
    parser.add_argument("--minutes", type=float, help="start no step after so long: a study in parts (exit 75)")
    parser.add_argument("--jobs", type=int, help="processes at once (default: cores)")
    parser.add_argument("--out", type=Path, help="where to put the report (default: .undertone/runs/<run id>/report)")
    parser.add_argument("--dry-run", action="store_true", help="list the steps, and what they cost; run nothing")
    return parsed(parser, argv)
