"""What a person sees of a run: bars while it goes on, a table at the end, and what to do about each failure."""

import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

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

from common.cells import Cell


@dataclass(frozen=True)
class Done:
    """One finished step, for the summary."""

    stage: str
    cell: str
    code: int
    reused: bool
    seconds: float
    memory: int  # bytes at most; 0 where it is not known
    log: Path | None  # None if it was reused
    last: str = ""  # its error line


def done_of(stage: str, cell: Cell, manifest: Mapping[str, Any], log: Path | None) -> Done:
    """A sealed step for the summary; without a log it was reused."""
    memory, seconds = manifest["provenance"]["peak_memory_bytes"], manifest["seconds"]
    return Done(stage, str(cell), manifest["exit_code"], log is None, seconds, memory, log)


class Screen:
    """Progress for people: bars on a terminal, else one line for each finished step."""

    def __init__(self, total: int) -> None:
        self._console = Console(stderr=True, highlight=False)
        times = (TimeElapsedColumn(), TimeRemainingColumn())
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), *times)
        self._bars = Progress(*columns, console=self._console, disable=not self._console.is_terminal)
        self._all = self._bars.add_task("all steps", total=total)
        self._running: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
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


def summary(done: Sequence[Done], wall: float) -> Table:
    """The table at the end: steps and times by stage. wall: seconds."""
    headings = ("stage", "steps", "ran", "reused", "failed", "seconds", "slowest", "peak memory")
    table = Table(*headings, title=f"{len(done)} steps in {wall:.1f} s")
    for stage in dict.fromkeys(row.stage for row in done):
        table.add_row(stage, *_figures([row for row in done if row.stage == stage]))
    return table


def _figures(rows: Sequence[Done]) -> tuple[str, ...]:
    """A line of the summary, after its stage."""
    ran = [row for row in rows if not row.reused]
    return (
        str(len(rows)),
        str(len(ran)),
        str(len(rows) - len(ran)),
        str(sum(row.code != 0 for row in rows)),
        f"{sum(row.seconds for row in ran):.0f}",
        f"{max((row.seconds for row in ran), default=0):.0f}",
        f"{max(row.memory for row in rows) / 2**30:.2f} GiB",
    )


def explanations(done: Sequence[Done], spec: Path, store: str, served: Path | None) -> Iterable[str]:
    """Say what was reused, and for each failure where its log is and how to run that step alone. Lines of markup.

    spec, store: what a step is started with by hand. served: the folder of the store if it stops with this run.
    """
    if done and all(row.reused for row in done):
        yield f"everything was reused: {len(done)} sealed steps, nothing run"
    failed = [row for row in done if row.code and row.log]
    for row in failed:
        command = [sys.executable, "-m", f"jobs.{row.stage}", "--spec", str(spec), "--cell", row.cell, "--store", store]
        # An error line is another program's text: square brackets in it are not markup.
        facts = f"[bold]{row.stage} {row.cell}[/] failed with exit code {row.code}: {escape(row.last)}"
        yield f"{facts}\n  log: {escape(str(row.log))}\n  alone: {escape(shlex.join(command))}"
    if failed and served is not None:
        serve = shlex.join([sys.executable, "-m", "workflows.local.object_store", "--folder", str(served)])
        yield f"  its store, in another terminal, prints what to export: {escape(serve)}"
