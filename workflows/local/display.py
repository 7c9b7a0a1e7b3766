"""What a person sees of a run: bars while it goes on, a table at the end, and what to do about each failure."""

import shlex
import sys
import threading
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
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from common.cells import Cell
from workflows.local.forecast import Forecast


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


class Learning:
    """How long what is left takes: by the steps of this run once one of a stage has ended, else by earlier ones."""

    def __init__(self, forecast: Forecast, at_once: int) -> None:
        """forecast: what is left at first."""
        self._left, self._at_once = dict(forecast.to_do), at_once
        self._before = forecast.each
        self._took: dict[str, list[float]] = {}  # stage → seconds of its steps in this run

    def ended(self, done: Done) -> None:
        """A step ended, now or before."""
        if done.reused:
            return
        self._left[done.stage] = max(0, self._left.get(done.stage, 0) - 1)
        if not done.code:  # a step that fails tells nothing of the others
            self._took.setdefault(done.stage, []).append(done.seconds)

    def seconds(self, stage: str, under_way: float = 0.0) -> float | None:
        """Seconds that a stage takes yet; None where no such step ever ended. under_way: steps done in part, summed."""
        took = self._took.get(stage)
        each = sum(took) / len(took) if took else self._before.get(stage)
        return None if each is None else max(0.0, self._left.get(stage, 0) - under_way) * each / self._at_once

    def words(self, stage: str, under_way: float = 0.0) -> str:
        """The same for people."""
        if not self._left.get(stage):
            return "done"
        if (left := self.seconds(stage, under_way)) is None:
            return "known after the first"
        return f"{left / 60:.0f} min left" if left >= 90 else f"{left:.0f} s left"


class Lines:
    """What a terminal shows of stages, a line each: a bar, how many of its steps ended, how long it takes yet."""

    def __init__(self, console: Console, *more: ProgressColumn) -> None:
        """more: columns before how long it takes yet. Elsewhere than on a terminal nothing is shown."""
        columns = (TextColumn("{task.description:10}"), BarColumn(), MofNCompleteColumn(), *more)
        left = TextColumn("{task.fields[left]}")
        self._bars = Progress(*columns, left, console=console, disable=not console.is_terminal)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def show(self, stage: str, ended: float, steps: int, left: str) -> None:
        """Bring the line of a stage up to date. ended: steps, with shares of those under way."""
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=steps, left="")
        self._bars.update(self._tasks[stage], completed=min(ended, steps), total=steps, left=left)


class Screen:
    """Progress for people: on a terminal a line for each stage, with a bar and how long it takes yet, and the failures;
    elsewhere a plain line for each finished step."""

    def __init__(self, steps: Mapping[str, int], forecast: Forecast, at_once: int) -> None:
        """steps: stage → how many it has. forecast: what is left of them, and how long such steps took before."""
        self._console = Console(stderr=True, highlight=False)
        self._lines = Lines(self._console, TimeElapsedColumn())
        self._learning = Learning(forecast, at_once)
        self._steps, self._lock = {stage: many for stage, many in steps.items() if many}, threading.Lock()
        self._ended = dict.fromkeys(steps, 0)
        self._running: dict[str, float] = {}  # step → share of it that is done
        for stage, many in self._steps.items():
            self._lines.show(stage, 0, many, "")

    def __enter__(self) -> Self:
        self._lines.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.__exit__()

    def progress(self, name: str, done: int, total: int) -> None:
        """Show how far a running step is. name: stage and cell."""
        with self._lock:
            self._running[name] = done / total if total else 0.0
            self._show(name.partition(" ")[0])

    def finished(self, done: Done) -> None:
        """Count a step that ended, learn from it how long such steps take, and say how it ended if that is news."""
        name = f"{done.stage} {done.cell}"
        with self._lock:
            self._running.pop(name, None)
            self._ended[done.stage] = self._ended.get(done.stage, 0) + 1
            self._learning.ended(done)
            self._show(done.stage)
        # On no terminal each step has a line, but for what was reused: a second run would only repeat it.
        if done.code or not (self._console.is_terminal or done.reused):
            how = "reused" if done.reused else f"{done.seconds:.0f} s"
            how += f", exit {done.code}: {done.last or 'sealed'}" if done.code else ""
            self._console.print(f"  {name:40} {how}", markup=False)

    def _show(self, stage: str) -> None:
        """Bring the line of a stage up to date."""
        if stage in self._steps:
            parts = sum(share for name, share in self._running.items() if name.partition(" ")[0] == stage)
            left = self._learning.words(stage, parts)
            self._lines.show(stage, self._ended[stage] + parts, self._steps[stage], left)


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
