"""One step of a run: taken from the store if it is sealed, else run as a process, again if its exit code says so."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from common.cells import Cell, cells_named
from common.errors import JobError
from common.pipeline.job import Catalog
from common.pipeline.keys import Keys
from common.pipeline.parameters import handed_over
from common.spec import RunSpec
from common.store.manifests import OUTCOME
from common.store.sealed import ArtifactStore
from workflows.local.display import Done, Screen, done_of
from workflows.local.logs import StepLog
from workflows.local.processes import Ended, Processes
from workflows.local.slots import Rank, Slots
from workflows.local.template import Phase, Scope, fill, retry_of

Manifests = Sequence[dict[str, Any] | None]


@dataclass(frozen=True)
class Outcome:
    """How a leaf or a whole DAG ended, and its output parameters."""

    phase: Phase
    parameters: Mapping[str, str] = field(default_factory=dict)


class Launch(NamedTuple):
    """What a container template asks for, its variables filled in."""

    template: dict[str, Any]
    command: list[str]
    log: Path
    began: float  # by time.monotonic()

    @property
    def stage(self) -> str:
        """The name of the template."""
        return str(self.template["name"])

    @property
    def job(self) -> str:
        """What runs: jobs.<job>."""
        return self.command[2].rpartition(".")[2]

    @property
    def cell(self) -> str:
        """The name of a cell or of a pack of cells."""
        return self.command[self.command.index("--cell") + 1]


class Steps:
    """Runs steps, and notes how each ended."""

    def __init__(
        self,
        spec: RunSpec,
        jobs: Catalog,
        store: ArtifactStore,
        *,
        selected: set[str],
        slots: Slots,
        processes: Processes,
        screen: Screen,
        folder: Path,
    ) -> None:
        """selected: the stages that may start a process. folder: where logs and small outputs go."""
        self._spec, self._jobs, self._store, self._keys = spec, jobs, store, Keys(spec, jobs, store)
        self._selected, self._slots, self._processes = selected, slots, processes
        self._screen, self._folder = screen, folder
        self.done: list[Done] = []

    def run(self, template: dict[str, Any], scope: Scope, rank: Rank) -> Outcome:
        """Reuse what is sealed of a step, or run it. Raises: SpecError for an unknown variable or cell; InputError."""
        launch = self._launch(template, scope)
        try:
            cells = cells_named(self._spec, launch.cell)  # of a pack, several
            before = self._sealed(launch.job, cells)
            after, ended = before, None
            if None in before and launch.stage in self._selected:
                ended = self._attempts(launch, rank)
                after = self._sealed(launch.job, cells)
        except JobError as error:  # of the store or the log: the rest goes on, and the report lists the gap
            self._note_error(launch, error)
            return Outcome(Phase.ERRORED)
        self._note_cells(launch, cells, before, after, ended)
        return _outcome(self._spec, after, ended)

    def _launch(self, template: dict[str, Any], scope: Scope) -> Launch:
        container, began = template["container"], time.monotonic()
        command = [fill(word, scope) for word in (*container["command"], *container["args"])]
        cell = command[command.index("--cell") + 1]
        return Launch(template, command, self._folder / "logs" / f"{template['name']}.{cell}.log", began)

    def _sealed(self, job: str, cells: Sequence[Cell]) -> Manifests:
        """The manifest of each cell, None where it is not sealed."""
        # A key over optional reads changes as those are sealed, so it is worked out anew each time.
        optional = any(read.optional for read in self._jobs[job].reads)
        keys = Keys(self._spec, self._jobs, self._store) if optional else self._keys
        needs = (*OUTCOME, "provenance")
        return [self._store.manifest(job, keys.key(job, cell), needs) for cell in cells]

    def _attempts(self, launch: Launch, rank: Rank) -> Ended | None:
        """Run a step until its exit code is not to be retried; None if this machine is stopping before it began."""
        retry, ended = retry_of(launch.template), None
        for attempt in range(retry.limit + 1):
            if attempt:
                self._processes.stopping.wait(retry.wait(attempt))
            with self._slots.one(rank):  # a step that waits to be tried again holds no slot
                if (latest := self._attempt(launch)) is None:
                    break
            ended = latest
            if ended.code not in retry.codes:
                break
        return ended

    def _attempt(self, launch: Launch) -> Ended | None:
        child = self._processes.start(launch.command, self._folder / "outputs" / launch.log.stem)
        if child is None:
            return None
        limit = launch.template.get("timeout", "24h")
        return self._processes.follow(child, f"{launch.stage} {launch.cell}", limit, launch.log)

    # --- how it ended

    def _note_cells(
        self, launch: Launch, cells: Sequence[Cell], before: Manifests, after: Manifests, ended: Ended | None
    ) -> None:
        """Note each cell that is sealed, or that a process was started for."""
        for cell, was, manifest in zip(cells, before, after, strict=True):
            if manifest is not None:
                self._note(done_of(launch.stage, cell, manifest, launch.log if was is None else None))
            elif ended is not None:
                self._note_failure(launch, str(cell), ended.code or 1, ended.last)

    def _note_error(self, launch: Launch, error: JobError) -> None:
        with StepLog(launch.log) as file:  # which may be what there was no room for
            file.write(f"error: {error}\n")
        self._note_failure(launch, launch.cell, int(error.exit_code), str(error))

    def _note_failure(self, launch: Launch, cell: str, code: int, last: str) -> None:
        self._note(Done(launch.stage, cell, code, False, time.monotonic() - launch.began, 0, launch.log, last))

    def _note(self, done: Done) -> None:
        self.done.append(done)
        self._screen.finished(done)


def _outcome(spec: RunSpec, manifests: Manifests, ended: Ended | None) -> Outcome:
    sealed = [manifest for manifest in manifests if manifest is not None]
    if len(sealed) < len(manifests):
        return Outcome(Phase.SKIPPED if ended is None else Phase.FAILED)
    failed = any(manifest["exit_code"] for manifest in sealed)
    return Outcome(Phase.FAILED if failed else Phase.SUCCEEDED, handed_over(sealed[0], spec))
