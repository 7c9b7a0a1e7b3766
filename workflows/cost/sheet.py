"""Adds up what a study takes: by job in tokens and operations, by device in hours and euros."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from rich.box import SIMPLE_HEAD
from rich.table import Table

from common.cells import Cell
from common.errors import SpecError
from common.limit_spec import LimitSpec
from common.pipeline.job import Catalog
from common.spec import RunSpec
from workflows.cost.devices import devices
from workflows.cost.shapes import Shape, shape_of
from workflows.cost.work import WORK, work_of

HOUR = 3600.0


class Line(NamedTuple):
    """All steps of a job."""

    job: str
    steps: int
    trained: float  # tokens
    read: float
    written: float
    flops: float
    hours: dict[str, float]  # by device


class Sheet(NamedTuple):
    """What a whole study takes, whatever of it is sealed."""

    lines: list[Line]
    uncounted: list[str]  # models whose configuration is not known: their steps take nothing here

    def hours(self, device: str) -> float:
        """Of a device, one step after another."""
        return sum(line.hours[device] for line in self.lines)

    def euros(self, device: str) -> float:
        """For these hours."""
        return self.hours(device) * devices()[device].euros_an_hour.value

    def hours_left(self, device: str, to_do: Mapping[str, int]) -> float:
        """Of the steps that are not sealed. to_do: job → how many."""
        return sum(line.hours[device] * to_do.get(line.job, 0) / line.steps for line in self.lines)

    def within(self, limit: LimitSpec) -> bool:
        """Whether a limit is kept. Raises: SpecError for a device that is not in the table."""
        if limit.device not in devices():
            allowed = ", ".join(devices())
            raise SpecError("no such device", where="limit.device", value=limit.device, allowed=allowed)
        hours, euros = self.hours(limit.device), self.euros(limit.device)
        return hours <= (limit.hours or hours) and euros <= (limit.euros or euros)


def sheet(spec: RunSpec, jobs: Catalog) -> Sheet:
    """The cost of a spec. Raises: InputError for a text or a configuration that cannot be read."""
    shapes = {model.name: shape_of(model.source) for model in spec.models}
    lines = [_line(spec, job, cells, shapes) for job in jobs if (cells := jobs[job].cells(spec))]
    return Sheet(lines, [name for name, shape in shapes.items() if shape is None])


def _line(spec: RunSpec, job: str, cells: Sequence[Cell], shapes: Mapping[str, Shape | None]) -> Line:
    rank, hours = spec.train.lora_rank, dict.fromkeys(devices(), 0.0)
    trained = read = written = flops = 0.0
    for cell in cells:
        work, shape = work_of(spec, job, cell), shapes.get(cell.model) if job in WORK else None
        for name, device in devices().items():
            hours[name] += device.seconds(job, work, shape, rank) / HOUR
        if shape is not None:
            trained, read, written = trained + work.trained, read + work.read, written + work.written
            flops += work.trained * shape.trained_flops(rank) + (work.read + work.written) * shape.read_flops
    return Line(job, len(cells), trained, read, written, flops, hours)


def table(found: Sheet, to_do: Mapping[str, int]) -> Table:
    """The sheet for people, tokens in thousands; jobs that run no model share a line. to_do: job → unsealed steps."""
    names = list(devices())
    title = "the whole study: thousands of tokens, operations, hours of each device"
    made = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), title=title)
    made.add_column("job", no_wrap=True)
    for heading in ("steps", "trained", "read", "written", "PFLOP", *names):
        made.add_column(heading, justify="right", no_wrap=True)
    for line in (*(line for line in found.lines if line.flops), _together(found.lines)):
        made.add_row(line.job, str(line.steps), *_figures(line), *(f"{line.hours[name]:.2f}" for name in names))
    made.add_section()
    whole = _sum("all", found.lines)
    made.add_row("all", str(whole.steps), *_figures(whole), *(f"{found.hours(name):.2f}" for name in names))
    steps = str(sum(to_do.values()))
    made.add_row("to do", steps, *[""] * 4, *(f"{found.hours_left(name, to_do):.2f}" for name in names))
    made.add_row("euros", "", *[""] * 4, *(f"{found.euros(name):.2f}" for name in names))
    return made


def _together(lines: Sequence[Line]) -> Line:
    return _sum("no model", [line for line in lines if not line.flops])


def _sum(name: str, lines: Sequence[Line]) -> Line:
    return Line(
        name,
        sum(line.steps for line in lines),
        sum(line.trained for line in lines),
        sum(line.read for line in lines),
        sum(line.written for line in lines),
        sum(line.flops for line in lines),
        {device: sum(line.hours[device] for line in lines) for device in devices()},
    )


def _figures(line: Line) -> tuple[str, ...]:
    tokens = (f"{value / 1000:.0f}" if value else "" for value in (line.trained, line.read, line.written))
    return (*tokens, f"{line.flops / 1e15:.2f}" if line.flops else "")


def notes(found: Sheet) -> Iterator[str]:
    """What the devices are, and which of their numbers nobody measured."""
    for name, device in devices().items():
        assumed = f"; assumed: {', '.join(device.assumed)}" if device.assumed else ""
        yield f"{name}: {device.title}{assumed}"
    for model in found.uncounted:
        yield f"{model}: not counted, for its configuration is neither here nor in workflows/cost/configs.json"
