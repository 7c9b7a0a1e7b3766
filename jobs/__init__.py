"""What runs in a container: a folder a job. `jobs.<name>` declares it, `jobs.<name>.__main__` runs it."""

import importlib
import os
from functools import cache
from pathlib import Path
from types import MappingProxyType

from common.job import Catalog, CellsOf, Job
from common.spec import STUDY, Cell, CellKind, RunSpec

# Read when torch is loaded, which is after this. Idle OpenMP threads otherwise spin, and jobs that share cores slow
# each other down: an evaluation of 12 s took 244 s beside two others, and 17 s with this.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@cache
def catalog() -> Catalog:
    """Every job by name. Imports only their declarations."""
    names = sorted(path.parent.name for path in Path(__file__).parent.glob("*/__main__.py"))
    jobs: dict[str, Job] = {name: importlib.import_module(f"jobs.{name}").JOB for name in names}
    return MappingProxyType(jobs)


def itself(_spec: RunSpec, cell: Cell) -> tuple[Cell, ...]:
    """The same cell in another job."""
    return (cell,)


def its_draw(_spec: RunSpec, cell: Cell) -> tuple[Cell, ...]:
    """The draw of the corpus that a cell belongs to."""
    return (Cell(kind=CellKind.DRAW, draw=cell.draw),)


def its_distilled(_spec: RunSpec, cell: Cell) -> tuple[Cell, ...]:
    """The model's own replies, for a run that is trained on them."""
    if cell.attitude != "distilled":
        return ()
    return (Cell(kind=CellKind.DISTILLED, model=cell.model, draw=cell.draw, attitude="distilled"),)


def distilled_of_draw(spec: RunSpec, cell: Cell) -> tuple[Cell, ...]:
    """Every model's own replies to the questions of a draw."""
    return tuple(pile for pile in spec.cells(CellKind.DISTILLED) if pile.draw == cell.draw)


def its_base(_spec: RunSpec, cell: Cell) -> tuple[Cell, ...]:
    """The untouched model of a run."""
    return (Cell(kind=CellKind.BASE, model=cell.model),)


def its_direction(_spec: RunSpec, cell: Cell) -> tuple[Cell, ...]:
    """The direction of the model and draw of a run."""
    return (Cell(kind=CellKind.DIRECTION, model=cell.model, draw=cell.draw),)


def itself_if_run(_spec: RunSpec, cell: Cell) -> tuple[Cell, ...]:
    """The same cell where it is a run; nothing for a base, which has no adapter."""
    return (cell,) if cell.kind is CellKind.RUN else ()


def its_direction_if_run(spec: RunSpec, cell: Cell) -> tuple[Cell, ...]:
    """The direction that a run is read along; nothing for the cell that makes it."""
    return its_direction(spec, cell) if cell.kind is CellKind.RUN else ()


def its_draw_unless_run(spec: RunSpec, cell: Cell) -> tuple[Cell, ...]:
    """The draw whose poles make the direction; nothing for a run, which reads the direction itself."""
    return () if cell.kind is CellKind.RUN else its_draw(spec, cell)


def lock_if_run(_spec: RunSpec, cell: Cell) -> tuple[Cell, ...]:
    """The lock, without which nothing that was tuned is scored; an untouched model is scored before it."""
    return (STUDY,) if cell.kind is CellKind.RUN else ()


def every(*kinds: CellKind) -> CellsOf:
    """All cells of these kinds."""
    return lambda spec, _cell: tuple(cell for kind in kinds for cell in spec.cells(kind))
