"""Run a workflow on this machine: the same YAML that Argo runs, as processes instead of pods.

    python -m workflows.local workflows/study.yaml --spec workflows/specs/demo.json

Sealed steps are reused without starting a process. Stopped with Ctrl-C, it resumes where it was.
"""

import argparse
import contextlib
import heapq
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from common.artifacts import ArtifactStore, open_store
from common.errors import SEALED, ExitCode, JobError, SpecError
from common.job import Keys
from common.provenance import ROOT, usable_cores
from common.spec import STUDY, RunSpec, override, parse_spec
from jobs import catalog
from workflows.object_store import FOLDER, object_store
from workflows.template import Phase, Retry, Scope, dependencies, fill, holds, items, read_template, retry_of, seconds

RUNS = ROOT / ".undertone" / "runs"


@dataclass(frozen=True)
class Outcome:
    """How a leaf or a whole DAG ended, and its output parameters."""

    phase: Phase
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Done:
    """One finished step, for the summary."""

    stage: str
    cell: str
    code: int
    reused: bool
    seconds: float
    memory: int
    log: Path | None
    last: str = ""


class Slots:
    """At most so many steps at once; the one listed first goes first."""

    def __init__(self, count: int) -> None:
        self._free, self._waiting, self._changed = count, list[tuple[int, ...]](), threading.Condition()

    @contextlib.contextmanager
    def one(self, rank: tuple[int, ...]) -> Iterator[None]:
        """Wait for a slot."""
        with self._changed:
            heapq.heappush(self._waiting, rank)
            self._changed.wait_for(lambda: self._free and self._waiting[0] == rank)
            heapq.heappop(self._waiting)
            self._free -= 1
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._free += 1
                self._changed.notify_all()


class Screen:
    """Progress for people: bars on a terminal, else one line for each finished step."""

    def __init__(self, total: int) -> None:
        self._console = Console(stderr=True, highlight=False)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bars = Progress(*columns, console=self._console, disable=not self._console.is_terminal)
        self._all = self._bars.add_task("all steps", total=total)
        self._running: dict[str, TaskID] = {}

    def __enter__(self) -> "Screen":
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def progress(self, name: str, done: int, total: int) -> None:
        """Show how far a running step is."""
        if name not in self._running:
            self._running[name] = self._bars.add_task(name, total=total)
        self._bars.update(self._running[name], completed=done, total=total)

    def finished(self, done: Done) -> None:
        """Take a step's bar away and say how it ended."""
        name = f"{done.stage} {done.cell}"
        if name in self._running:
            self._bars.remove_task(self._running.pop(name))
        self._bars.advance(self._all)
        how = "reused" if done.reused else f"{done.seconds:.0f} s"
        if done.code:
            how += f", exit {done.code}: {done.last or 'sealed'}"
        if not (done.reused and done.code == 0):  # a second run would only repeat the first
            self._console.print(f"  {name:40} {how}", markup=False)


class Runner:
    """One run of a workflow: walks its DAGs and starts a process for each step that is not sealed."""

    def __init__(self, workflow: dict[str, Any], spec: RunSpec, arguments: argparse.Namespace, folder: Path) -> None:
        self._templates = {template["name"]: template for template in workflow["templates"]}
        self._entry, self._spec, self._folder = workflow["entrypoint"], spec, folder
        self._store: ArtifactStore = open_store(arguments.store)
        self._keys = Keys(spec, catalog(), self._store)
        self._jobs: int = arguments.jobs or usable_cores()
        self._threads = max(1, usable_cores() // self._jobs)
        self._selected = selected(list(self._templates), arguments.only, arguments.start)
        self._slots = Slots(self._jobs)
        self._children: set[subprocess.Popen[str]] = set()
        self._parameters = {"spec": str(folder / "spec.json"), "store": arguments.store}
        self._ranks = itertools.count()
        self.stopping = threading.Event()
        self.done: list[Done] = []
        self.screen = Screen(_expected_steps(spec))

    def run(self) -> Outcome:
        """Run the entrypoint."""
        scope = {f"workflow.parameters.{name}": value for name, value in self._parameters.items()}
        return self._dag(self._templates[self._entry], scope, ())

    def stop(self) -> None:
        """Ask every running step to stop; those that can keep a checkpoint."""
        self.stopping.set()
        for child in list(self._children):
            with contextlib.suppress(ProcessLookupError):
                child.send_signal(signal.SIGTERM)

    # --- the DAG

    def _dag(self, template: dict[str, Any], scope: Scope, rank: tuple[int, ...]) -> Outcome:
        """Run every task as soon as its dependencies allow. Failed if an end failed or was left out for a failure."""
        tasks: list[dict[str, Any]] = template["dag"]["tasks"]
        ends: dict[str, Future[Outcome]] = {task["name"]: Future() for task in tasks}
        for position, task in enumerate(tasks):
            threading.Thread(target=self._task, args=(task, scope, ends, (*rank, position)), daemon=True).start()
        outcomes = {name: end.result() for name, end in ends.items()}
        waited_for = set().union(*(dependencies(task) for task in tasks))
        bad = (Phase.FAILED, Phase.ERRORED, Phase.OMITTED)
        failed = any(outcome.phase in bad for name, outcome in outcomes.items() if name not in waited_for)
        return Outcome(Phase.FAILED if failed else Phase.SUCCEEDED)

    def _task(
        self, task: dict[str, Any], scope: Scope, ends: Mapping[str, Future[Outcome]], rank: tuple[int, ...]
    ) -> None:
        """Wait for the dependencies of one task, run it, and settle its future whatever happens."""
        end = ends[task["name"]]
        try:
            before = {name: ends[name].result() for name in dependencies(task)}
            phases = {name: outcome.phase for name, outcome in before.items()}
            if task.get("depends") and not holds(task["depends"], phases):
                end.set_result(Outcome(Phase.OMITTED))
                return
            given = dict(scope)
            for name, outcome in before.items():
                given |= {f"tasks.{name}.outputs.parameters.{key}": value for key, value in outcome.parameters.items()}
            end.set_result(self._fan_out(task, given, rank))
        except BaseException as error:
            end.set_exception(error)

    def _fan_out(self, task: dict[str, Any], scope: Scope, rank: tuple[int, ...]) -> Outcome:
        """Run the template of a task once, or once for each item, all at the same time."""
        template = self._templates[task["template"]]
        listed = items(task, scope)
        if listed is None:
            return self._template(template, self._given(task, scope), rank)
        ends: list[Future[Outcome]] = [Future() for _ in listed]

        def one(item: str, end: Future[Outcome], place: tuple[int, ...]) -> None:
            try:
                end.set_result(self._template(template, self._given(task, {**scope, "item": item}), place))
            except BaseException as error:
                end.set_exception(error)

        for index, (item, end) in enumerate(zip(listed, ends, strict=True)):
            threading.Thread(target=one, args=(item, end, (*rank, index)), daemon=True).start()
        phases = [end.result().phase for end in ends]
        worst = next((phase for phase in (Phase.ERRORED, Phase.FAILED, Phase.SKIPPED) if phase in phases), None)
        return Outcome(worst or Phase.SUCCEEDED)

    def _given(self, task: dict[str, Any], scope: Scope) -> Scope:
        """What a template sees: the workflow's parameters and its own inputs."""
        parameters = task.get("arguments", {}).get("parameters", [])
        inputs = {f"inputs.parameters.{p['name']}": fill(p["value"], scope) for p in parameters}
        return {name: value for name, value in scope.items() if name.startswith("workflow.")} | inputs

    def _template(self, template: dict[str, Any], scope: Scope, rank: tuple[int, ...]) -> Outcome:
        if "dag" in template:
            return self._dag(template, scope, rank)
        return self._leaf(template, scope, (*rank, next(self._ranks)))

    # --- a step

    def _leaf(self, template: dict[str, Any], scope: Scope, rank: tuple[int, ...]) -> Outcome:
        """Reuse a sealed step, or run its process, again if its exit code says so."""
        container = template["container"]
        command = [fill(word, scope) for word in (*container["command"], *container["args"])]
        job, cell = command[2].removeprefix("jobs."), command[command.index("--cell") + 1]
        if (standing := self._sealed(job, cell)) is not None:
            return self._finish(template, cell, standing, reused=True)
        if template["name"] not in self._selected or self.stopping.is_set():
            return Outcome(Phase.SKIPPED)
        with self._slots.one(rank):
            if self.stopping.is_set():
                return Outcome(Phase.SKIPPED)
            retry, code, log = retry_of(template), 0, self._folder / "logs" / f"{template['name']}.{cell}.log"
            clock, last = time.monotonic(), ""
            for attempt in range(retry.limit + 1):
                self._pause(retry, attempt)
                code, last = self._process(template, command, cell, log)
                if code not in retry.codes or self.stopping.is_set():
                    break
        standing = self._sealed(job, cell) if code in SEALED else None
        if standing is not None:
            return self._finish(template, cell, standing, reused=False, log=log)
        self._note(Done(template["name"], cell, code or 1, False, time.monotonic() - clock, 0, log, last))
        return Outcome(Phase.FAILED)

    def _pause(self, retry: Retry, attempt: int) -> None:
        if attempt:
            self.stopping.wait(retry.wait(attempt))

    def _process(self, template: dict[str, Any], command: Sequence[str], cell: str, log: Path) -> tuple[int, str]:
        """Run one attempt; return its exit code (128 + signal if it was killed) and its last error line."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as outputs, log.open("a") as file:
            environment = {**os.environ, "UNDERTONE_OUTPUTS": outputs, "OMP_NUM_THREADS": str(self._threads)}
            child = subprocess.Popen(
                [sys.executable, *command[1:]],
                env=environment,
                cwd=ROOT,
                stdout=subprocess.DEVNULL,  # the result is in the manifest
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,  # Ctrl-C goes to this process, which asks its children to stop
            )
            self._children.add(child)
            timer = threading.Timer(seconds(template.get("timeout", "24h")), child.terminate)
            timer.start()
            try:
                last = self._listen(child.stderr, file, f"{template['name']} {cell}")
                code = child.wait()
            finally:
                timer.cancel()
                self._children.discard(child)
        return (128 - code if code < 0 else code), last

    def _listen(self, lines: IO[str] | None, file: IO[str], name: str) -> str:
        """Copy a step's stderr to its log and show its progress; return its last error line."""
        last = ""
        for line in lines or ():
            file.write(line)
            file.flush()
            if line.startswith("error: "):
                last = line.strip()
            elif '"event": "progress"' in line:
                with contextlib.suppress(ValueError):
                    event = json.loads(line)
                    self.screen.progress(name, event["done"], event["total"])
        return last

    def _sealed(self, job: str, cell: str) -> dict[str, Any] | None:
        declared = catalog()[job]
        # A key over optional reads changes as those are sealed, so it is worked out anew each time.
        optional = any(read.optional for read in declared.reads)
        keys = Keys(self._spec, catalog(), self._store) if optional else self._keys
        return self._store.manifest(job, keys.key(job, self._spec.cell(cell)))

    def _finish(
        self, template: dict[str, Any], cell: str, manifest: dict[str, Any], reused: bool, log: Path | None = None
    ) -> Outcome:
        memory = manifest["provenance"]["peak_memory_bytes"]
        code = manifest["exit_code"]
        self._note(Done(template["name"], cell, code, reused, manifest["seconds"], memory, log))
        return Outcome(Phase.FAILED if code else Phase.SUCCEEDED, manifest["parameters"])

    def _note(self, done: Done) -> None:
        self.done.append(done)
        self.screen.finished(done)


def selected(stages: list[str], only: str | None, start: str | None) -> set[str]:
    """The stages that may run; others are taken from the store or left out. Raises: SpecError for an unknown one."""
    wanted = only.split(",") if only else [start] if start else []
    if unknown := [name for name in wanted if name not in stages]:
        flag = "--only" if only else "--from"
        raise SpecError("no such stage", where=flag, value=unknown[0], allowed=", ".join(stages))
    if only:
        return set(wanted)
    return set(stages[stages.index(start) :]) if start else set(stages)


def changes(words: Sequence[str]) -> dict[str, Any]:
    """NAME=VALUE words as overrides of a spec. A value is JSON, else text; seeds=8 stands for seeds 0 to 7.

    Raises: SpecError for a word without '='.
    """
    made: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise SpecError("not an override", where="--set", value=word, allowed="NAME=VALUE, as in train.epochs=2")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        made[name] = list(range(value)) if name == "seeds" and isinstance(value, int) else value
    return made


def summary(done: Sequence[Done], wall: float) -> Table:
    """The table at the end: steps and times by stage."""
    headings = ("stage", "steps", "ran", "reused", "failed", "seconds", "slowest", "peak memory")
    table = Table(*headings, title=f"{len(done)} steps in {wall:.1f} s")
    for stage in dict.fromkeys(row.stage for row in done):
        rows = [row for row in done if row.stage == stage]
        ran = [row for row in rows if not row.reused]
        table.add_row(
            stage,
            str(len(rows)),
            str(len(ran)),
            str(len(rows) - len(ran)),
            str(sum(row.code != 0 for row in rows)),
            f"{sum(row.seconds for row in ran):.0f}",
            f"{max((row.seconds for row in ran), default=0):.0f}",
            f"{max(row.memory for row in rows) / 2**30:.2f} GiB",
        )
    return table


def fetch_report(spec: RunSpec, store: ArtifactStore, folder: Path) -> Path | None:
    """Copy the sealed report into `folder`; None if there is none."""
    manifest = store.manifest("report", Keys(spec, catalog(), store).key("report", STUDY))
    if manifest is None:
        return None
    for name, output in manifest["outputs"].items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(store.get(output["digest"]))
    return folder


def dry_run(spec: RunSpec, store: ArtifactStore) -> Table:
    """Every step of a spec: its key, and whether it is sealed."""
    keys = Keys(spec, catalog(), store)
    table = Table("job", "cell", "key", "state", title=f"{spec.run_id}: nothing is run")
    for job in catalog().values():
        for cell in (cell for kind in job.kinds for cell in spec.cells(kind)):
            key = keys.key(job.name, cell)
            table.add_row(job.name, str(cell), key[:12], "sealed" if store.manifest(job.name, key) else "to do")
    return table


def main(argv: Sequence[str] | None = None) -> int:
    """Run, and return the exit code: 0, or that of the first step that failed."""
    arguments = _arguments(argv)
    try:
        workflow = read_template(arguments.workflow)
        data = override(arguments.spec.read_bytes(), str(arguments.spec), changes(arguments.set))
        spec = parse_spec(data, str(arguments.spec))
        with contextlib.ExitStack() as stack:
            if arguments.store is None:
                served = stack.enter_context(object_store(arguments.data))
                os.environ.update(served.environment)
                arguments.store = served.uri
            return _run(workflow, spec, arguments)
    except JobError as error:
        print(f"error: {error}", file=sys.stderr)
        return int(error.exit_code)
    except OSError as error:
        print(f"error: cannot read {error.filename}: {error.strerror}", file=sys.stderr)
        return int(ExitCode.SPEC)


def _run(workflow: dict[str, Any], spec: RunSpec, arguments: argparse.Namespace) -> int:
    console, clock = Console(), time.monotonic()
    store = open_store(arguments.store)
    if arguments.dry_run:
        console.print(dry_run(spec, store))
        return int(ExitCode.OK)
    folder = RUNS / spec.run_id
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "spec.json").write_text(json.dumps(spec.model_dump(mode="json"), indent=1))
    runner = Runner(workflow, spec, arguments, folder)
    before = {number: signal.signal(number, lambda *_: runner.stop()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with runner.screen:
            outcome = runner.run()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    console.print(summary(runner.done, time.monotonic() - clock))
    _explain(runner, arguments, folder, console)
    if runner.stopping.is_set():
        console.print("stopped; the same command goes on from here")
        return int(ExitCode.TRANSIENT)
    if (report := fetch_report(spec, store, arguments.out or folder / "report")) is not None:
        console.print(f"report: {report / 'REPORT.md'} and {report / 'report.html'}", soft_wrap=True)
    if outcome.phase is Phase.SUCCEEDED:
        return int(ExitCode.OK)
    return next((row.code for row in runner.done if row.code), int(ExitCode.BUG))


def _explain(runner: Runner, arguments: argparse.Namespace, folder: Path, console: Console) -> None:
    """Say what was reused, and for each failure where its log is and how to run that step alone."""
    if runner.done and all(row.reused for row in runner.done):
        console.print(f"everything was reused: {len(runner.done)} sealed steps, nothing run")
    for row in (row for row in runner.done if row.code and row.log):
        console.print(f"[bold]{row.stage} {row.cell}[/] failed with exit code {row.code}: {row.last}", soft_wrap=True)
        command = f"python -m jobs.{row.stage} --spec {folder / 'spec.json'} --cell {row.cell}"
        console.print(f"  log: {row.log}\n  alone: {command} --store {arguments.store}", soft_wrap=True)


def _expected_steps(spec: RunSpec) -> int:
    return sum(len(spec.cells(kind)) for job in catalog().values() for kind in job.kinds)


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
    parser.add_argument("--jobs", type=int, help="processes at once (default: cores)")
    parser.add_argument("--out", type=Path, help="where to put the report (default: .undertone/runs/<run id>/report)")
    parser.add_argument("--dry-run", action="store_true", help="list the steps, sealed or to do; run nothing")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
