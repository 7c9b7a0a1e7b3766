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
import shlex
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from common.cells import STUDY, Cell, cells_named
from common.digests import file_sha256
from common.errors import ExitCode, InputError, JobError, SpecError
from common.pipeline.keys import Keys
from common.pipeline.parameters import handed_over
from common.provenance import ROOT, usable_cores
from common.spec import RunSpec, override, parse_spec
from common.store.names import write_below
from common.store.sealed import ArtifactStore, open_store
from jobs import catalog
from workflows.local.object_store import FOLDER, object_store
from workflows.local.template import Phase, Scope, dependencies, fill, holds, items, read_template, retry_of, seconds
from workflows.local.warm import Warm, WarmStep

RUNS = ROOT / ".undertone" / "runs"
SECONDS_TO_STOP = 120  # for a checkpoint, after SIGTERM and before SIGKILL; as long as a pod of study.yaml gets
STEPS_TO_TIME = 40  # sealed steps of a job that a forecast looks at
SECONDS_BETWEEN_ASKING = 3  # two signals closer than this are one: `timeout` and some shells send each twice


@dataclass(frozen=True)
class Outcome:
    """How a leaf or a whole DAG ended, and its output parameters."""

    phase: Phase
    parameters: Mapping[str, str] = field(default_factory=dict)


Child = subprocess.Popen[str] | WarmStep


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
        self._seen: set[tuple[int, ...]] = set()

    @contextlib.contextmanager
    def one(self, rank: tuple[int, ...]) -> Iterator[None]:
        """Wait for a slot."""
        with self._changed:
            heapq.heappush(self._waiting, rank)
            self._seen.update(rank[:length] for length in range(1, len(rank)))
            self._changed.notify_all()
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

    def arrival(self, place: tuple[int, ...], end: "Future[Outcome]") -> None:
        """Wait until a step whose rank begins with `place` has asked for a slot, or none of them will."""
        end.add_done_callback(lambda _: self._wake())
        with self._changed:
            self._changed.wait_for(lambda: place in self._seen or end.done())

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()


class Screen:
    """Progress for people: bars on a terminal, else one line for each finished step."""

    def __init__(self, total: int) -> None:
        self._console = Console(stderr=True, highlight=False)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
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
        if arguments.until:
            self._templates[self._entry] = cut(self._templates[self._entry], arguments.until)
        self._store: ArtifactStore = open_store(arguments.store)
        self._keys = Keys(spec, catalog(), self._store)
        self._jobs: int = arguments.jobs or usable_cores()
        self._threads = max(1, usable_cores() // self._jobs)
        self._selected = selected(list(self._templates), arguments.only, arguments.start)
        self._slots = Slots(self._jobs)
        self._children: set[Child] = set()
        self._libraries: Warm | None = None
        self._warming = threading.Lock()
        self._asked_to_stop = 0.0
        self._parameters = {"spec": str(folder / "spec.json"), "store": arguments.store}
        self._ranks = itertools.count()
        self.stopping = threading.Event()
        self.done: list[Done] = []
        self.screen = Screen(sum(map(len, steps_of(spec).values())))

    def run(self) -> Outcome:
        """Run the entrypoint. No process outlives this, even if it raises."""
        entry = self._templates[self._entry]
        scope = {f"workflow.parameters.{name}": value for name, value in self._parameters.items()}
        for parameter in entry.get("inputs", {}).get("parameters", []):
            if "valueFrom" in parameter:  # checked to be the ConfigMap of specs
                scope[f"inputs.parameters.{parameter['name']}"] = self._parameters["spec"]
        try:
            return self._dag(entry, scope, ())
        except BaseException:
            self.stop()
            for child in list(self._children):
                _end(child)
            raise
        finally:
            if self._libraries is not None:
                self._libraries.close()

    def stop(self) -> None:
        """Ask every running step to stop, so that it keeps what it can; asked again some seconds later, kill it."""
        again = self.stopping.is_set() and time.monotonic() - self._asked_to_stop > SECONDS_BETWEEN_ASKING
        if not self.stopping.is_set():
            self.stopping.set()
            self._asked_to_stop = time.monotonic()
        for child in list(self._children):
            _kill(child) if again else child.terminate()

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
            if skipped := _unanswered(task, before):
                if not self.stopping.is_set():
                    raise SpecError(
                        "needs what a step hands over that is neither sealed nor selected",
                        where=task["name"],
                        value=skipped,
                    )
                end.set_result(Outcome(Phase.SKIPPED))
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
            self._slots.arrival((*rank, index), end)  # so that the item listed first is the first to ask
        if not listed:
            return Outcome(Phase.SKIPPED)
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
        job, name = command[2].rpartition(".")[2], command[command.index("--cell") + 1]
        log, clock = self._folder / "logs" / f"{template['name']}.{name}.log", time.monotonic()
        try:
            cells = cells_named(self._spec, name)  # of a pack, several
            before = [self._sealed(job, cell) for cell in cells]
            after, code, last = before, None, ""
            if None in before and template["name"] in self._selected:
                code, last = self._attempts(template, command, name, log, rank)
                after = [self._sealed(job, cell) for cell in cells]
        except JobError as error:  # the store could not be asked: the rest goes on, and the report lists the gap
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("a") as file:
                file.write(f"error: {error}\n")
            spent, code = time.monotonic() - clock, int(error.exit_code)
            self._note(Done(template["name"], name, code, False, spent, 0, log, str(error)))
            return Outcome(Phase.ERRORED)
        for cell, was, manifest in zip(cells, before, after, strict=True):
            if manifest is not None:
                self._note(done_of(template["name"], cell, manifest, log if was is None else None))
            elif code is not None:
                self._note(Done(template["name"], str(cell), code or 1, False, time.monotonic() - clock, 0, log, last))
        sealed = [manifest for manifest in after if manifest is not None]
        if len(sealed) < len(cells):
            return Outcome(Phase.SKIPPED if code is None else Phase.FAILED)
        failed = any(manifest["exit_code"] for manifest in sealed)
        return Outcome(Phase.FAILED if failed else Phase.SUCCEEDED, handed_over(sealed[0], self._spec))

    def _attempts(
        self, template: dict[str, Any], command: Sequence[str], cell: str, log: Path, rank: tuple[int, ...]
    ) -> tuple[int | None, str]:
        """Run a step until its exit code is not to be retried; None if this machine is stopping before it began."""
        retry, code, last = retry_of(template), None, ""
        for attempt in range(retry.limit + 1):
            if attempt:
                self.stopping.wait(retry.wait(attempt))
            with self._slots.one(rank):  # a step that waits to be tried again holds no slot
                if (child := self._start(command, self._folder / "outputs" / log.stem)) is None:
                    break
                code, last = self._follow(child, template, cell, log)
            if code not in retry.codes:
                break
        return code, last

    def _start(self, command: Sequence[str], outputs: Path) -> Child | None:
        """Start a step's process, or None when stopping."""
        if self.stopping.is_set():
            return None
        env = {**os.environ, "UNDERTONE_OUTPUTS": str(outputs), "OMP_NUM_THREADS": str(self._threads)}
        on_models = catalog()[command[2].rpartition(".")[2]].image == "gpu"
        child = (on_models and self._warm(command[2:], env)) or self._cold(command, env)
        self._children.add(child)
        if self.stopping.is_set():  # the signal came after the first look, and stop() did not see this child
            child.terminate()
        return child

    def _warm(self, words: Sequence[str], env: Mapping[str, str]) -> Child | None:
        """Start a step where its libraries are imported already; None if there is no such process (any more)."""
        with self._warming:
            self._libraries = self._libraries or Warm(env)
        try:
            return self._libraries.start(words, env)
        except OSError:
            return None

    def _cold(self, command: Sequence[str], env: Mapping[str, str]) -> Child:
        """Start a step as a process that imports what it needs."""
        return subprocess.Popen(
            [sys.executable, *command[1:]],
            env=env,
            cwd=ROOT,
            stdout=subprocess.DEVNULL,  # the result is in the manifest
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C goes to this process, which asks its children to stop
        )

    def _follow(self, child: Child, template: dict[str, Any], cell: str, log: Path) -> tuple[int, str]:
        """Follow one attempt to its end; return its exit code (128 + signal if it was killed) and its last word."""
        log.parent.mkdir(parents=True, exist_ok=True)
        limit, late = template.get("timeout", "24h"), threading.Event()

        def time_is_up() -> None:
            late.set()
            _end(child)

        timer = threading.Timer(seconds(limit), time_is_up)
        timer.daemon = True
        timer.start()
        try:
            with child, log.open("a") as file:
                last = self._listen(child.stderr, file, f"{template['name']} {cell}")
                code = child.wait()
        finally:
            timer.cancel()
            self._children.discard(child)
        return (128 - code if code < 0 else code), (f"stopped after its timeout of {limit}" if late.is_set() else last)

    def _listen(self, lines: IO[str] | None, file: IO[str], name: str) -> str:
        """Copy a step's stderr to its log and show its progress; return its error line, or else its last plain line."""
        last = plain = ""
        for line in lines or ():
            file.write(line)
            file.flush()
            if line.startswith("error: "):
                last = line.strip()
            elif '"event": "progress"' in line:
                with contextlib.suppress(ValueError):
                    event = json.loads(line)
                    self.screen.progress(name, event["done"], event["total"])
            elif not line.startswith("{") and line.strip():
                plain = line.strip()
        return last or plain

    def _sealed(self, job: str, cell: Cell) -> dict[str, Any] | None:
        declared = catalog()[job]
        # A key over optional reads changes as those are sealed, so it is worked out anew each time.
        optional = any(read.optional for read in declared.reads)
        keys = Keys(self._spec, catalog(), self._store) if optional else self._keys
        return self._store.manifest(job, keys.key(job, cell))

    def _note(self, done: Done) -> None:
        self.done.append(done)
        self.screen.finished(done)


def done_of(stage: str, cell: Cell, manifest: Mapping[str, Any], log: Path | None) -> Done:
    """A sealed step for the summary; without a log it was reused."""
    memory, seconds = manifest["provenance"]["peak_memory_bytes"], manifest["seconds"]
    return Done(stage, str(cell), manifest["exit_code"], log is None, seconds, memory, log)


def _end(child: Child) -> None:
    """Ask a process to stop, and kill it if it has not in good time."""
    child.terminate()
    try:
        child.wait(SECONDS_TO_STOP)
    except subprocess.TimeoutExpired:
        _kill(child)
        child.wait()


def _kill(child: Child) -> None:
    """Kill a step and the processes that it started: they hold its stderr open."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)


def _unanswered(task: Mapping[str, Any], before: Mapping[str, Outcome]) -> str | None:
    """The first task before this one that was skipped although this one uses its output parameters."""
    text = json.dumps(task)
    return next(
        (
            name
            for name, outcome in before.items()
            if outcome.phase is Phase.SKIPPED and f"tasks.{name}.outputs." in text
        ),
        None,
    )


def selected(stages: list[str], only: str | None, start: str | None) -> set[str]:
    """The stages that may run; others are taken from the store or left out. Raises: SpecError for an unknown one."""
    wanted = only.split(",") if only else [start] if start else []
    if unknown := [name for name in wanted if name not in stages]:
        flag = "--only" if only else "--from"
        raise SpecError("no such stage", where=flag, value=unknown[0], allowed=", ".join(stages))
    if only:
        return set(wanted)
    return set(stages[stages.index(start) :]) if start else set(stages)


def cut(template: dict[str, Any], last: str) -> dict[str, Any]:
    """A DAG up to one of its tasks: that task and those before it. Raises: SpecError if there is none such."""
    tasks = {task["name"]: task for task in template["dag"]["tasks"]}
    if last not in tasks:
        raise SpecError("no such task", where="--until", value=last, allowed=", ".join(tasks))
    kept, waiting = set[str](), [last]
    while waiting:
        kept.add(name := waiting.pop())
        waiting += dependencies(tasks[name]) - kept
    return template | {"dag": template["dag"] | {"tasks": [task for name, task in tasks.items() if name in kept]}}


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
        made[name] = list(range(value)) if name == "seeds" and type(value) is int else value
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


def fetch(spec: RunSpec, store: ArtifactStore, job: str, folder: Path) -> Path | None:
    """Copy what a step over the whole study sealed, as its report, into `folder`; None if it is not sealed."""
    if job not in catalog():
        return None
    manifest = store.manifest(job, Keys(spec, catalog(), store).key(job, STUDY))
    if manifest is None:
        return None
    write_outputs(manifest, store, folder)
    return folder


def write_outputs(manifest: Mapping[str, Any], store: ArtifactStore, folder: Path) -> None:
    """Copy every output of a sealed step into `folder`; nothing if one is missing. Raises: InputError."""
    write_below(folder, {name: store.get(output["digest"]) for name, output in manifest["outputs"].items()})


def dry_run(spec: RunSpec, store: ArtifactStore) -> Table:
    """Every step of a spec: its key, and whether it is sealed."""
    keys = Keys(spec, catalog(), store)
    table = Table("job", "cell", "key", "state", title=f"{spec.run_id}: nothing is run")
    for job, cells in steps_of(spec).items():
        for cell in cells:
            key = keys.key(job, cell)
            table.add_row(job, str(cell), key[:12], "sealed" if store.manifest(job, key) else "to do")
    return table


class Forecast(NamedTuple):
    """What a run will take, judged by steps that this store holds."""

    to_do: dict[str, int]  # job → steps that are not sealed
    each: dict[str, float | None]  # job → median seconds of its sealed steps of any study; None where there is none

    def minutes(self, at_once: int) -> float:
        """Minutes with so many processes, without the jobs that nothing is known of."""
        return sum(count * (self.each[job] or 0) for job, count in self.to_do.items()) / at_once / 60

    def line(self, at_once: int) -> str:
        """For people."""
        if not (waiting := {job: count for job, count in self.to_do.items() if count}):
            return "nothing to do: every step is sealed"
        unknown = [job for job in waiting if self.each[job] is None]
        known = {job: "" if (each := self.each[job]) is None else f" x {each:.0f} s" for job in waiting}
        steps = ", ".join(f"{count} {job}{known[job]}" for job, count in waiting.items())
        time_left = f"{'at least ' if unknown else ''}{self.minutes(at_once):.0f} min with {at_once} at once"
        return f"left: {steps}; {time_left}" + (f" (never timed here: {', '.join(unknown)})" if unknown else "")


def forecast(spec: RunSpec, store: ArtifactStore) -> Forecast:
    """Count what is not sealed, and look up how long such steps took."""
    keys, to_do, each = Keys(spec, catalog(), store), dict[str, int](), dict[str, float | None]()
    for job, cells in steps_of(spec).items():
        to_do[job] = sum(not _is_sealed(store, job, keys.key(job, cell)) for cell in cells)
        times = _times(store, job) if to_do[job] else []
        each[job] = statistics.median(times) if times else None
    return Forecast(to_do, each)


def _is_sealed(store: ArtifactStore, job: str, key: str) -> bool:
    try:
        return store.manifest(job, key) is not None
    except InputError:  # a damaged manifest is told by the step itself
        return False


def _times(store: ArtifactStore, job: str) -> list[float]:
    with contextlib.suppress(InputError):
        return [manifest["seconds"] for manifest in store.manifests(job, STEPS_TO_TIME)]
    return []


def main(argv: Sequence[str] | None = None) -> int:
    """Run, and return the exit code: 0, or that of the first step that failed."""
    arguments = _arguments(argv)
    try:
        workflow = read_template(arguments.workflow)
        data = override(arguments.spec.read_bytes(), str(arguments.spec), changes(arguments.set))
        spec = parse_spec(data, str(arguments.spec))
        with contextlib.ExitStack() as stack:
            arguments.serves = arguments.store is None
            if arguments.serves:
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
        console.print(forecast(spec, store).line(arguments.jobs or usable_cores()), soft_wrap=True)
        return int(ExitCode.OK)
    store.manifest("none", "none")  # a store that cannot be asked ends the run here, in one line
    folder = RUNS / spec.run_id
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "spec.json").write_text(json.dumps(spec.model_dump(mode="json"), indent=1))
    runner = Runner(workflow, spec, arguments, folder)

    def interrupted(*_: object) -> None:
        if not runner.stopping.is_set():
            os.write(2, b"stopping: running steps keep a checkpoint; ask again to end them at once\n")
        runner.stop()

    before = {number: signal.signal(number, interrupted) for number in (signal.SIGINT, signal.SIGTERM)}
    console.print(forecast(spec, store).line(arguments.jobs or usable_cores()), soft_wrap=True)
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
    if (locked := fetch(spec, store, "lock", folder)) is not None:
        console.print(f"lock: {locked / 'lock.json'}, SHA-256 {file_sha256(locked / 'lock.json')}", soft_wrap=True)
    if (report := fetch(spec, store, "report", arguments.out or folder / "report")) is not None:
        console.print(f"report: {report / 'REPORT.md'} and {report / 'report.html'}", soft_wrap=True)
    # Not the phase of the DAG alone: a report that was made hides, in Argo's terms, that a step before it failed.
    otherwise = ExitCode.OK if outcome.phase is Phase.SUCCEEDED else ExitCode.BUG
    return next((row.code for row in runner.done if row.code), int(otherwise))


def _explain(runner: Runner, arguments: argparse.Namespace, folder: Path, console: Console) -> None:
    """Say what was reused, and for each failure where its log is and how to run that step alone."""
    if runner.done and all(row.reused for row in runner.done):
        console.print(f"everything was reused: {len(runner.done)} sealed steps, nothing run")
    for row in (row for row in runner.done if row.code and row.log):
        command = [sys.executable, "-m", f"jobs.{row.stage}", "--spec", str(folder / "spec.json"), "--cell", row.cell]
        alone = shlex.join([*command, "--store", arguments.store])
        # An error line is another program's text: square brackets in it are not markup.
        facts = f"[bold]{row.stage} {row.cell}[/] failed with exit code {row.code}: {escape(row.last)}"
        console.print(f"{facts}\n  log: {escape(str(row.log))}\n  alone: {escape(alone)}", soft_wrap=True)
    if arguments.serves and any(row.code and row.log for row in runner.done):
        serve = shlex.join([sys.executable, "-m", "workflows.local.object_store", "--folder", str(arguments.data)])
        console.print(f"  its store, in another terminal, prints what to export: {escape(serve)}", soft_wrap=True)


def steps_of(spec: RunSpec) -> dict[str, list[Cell]]:
    """Every step of a spec: job → its cells."""
    return {job.name: list(job.cells(spec)) for job in catalog().values()}


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
    parser.add_argument("--jobs", type=int, help="processes at once (default: cores)")
    parser.add_argument("--out", type=Path, help="where to put the report (default: .undertone/runs/<run id>/report)")
    parser.add_argument("--dry-run", action="store_true", help="list the steps, sealed or to do; run nothing")
    return parser.parse_args(argv)
