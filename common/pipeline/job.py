"""What a job declares: its cells, what it reads and writes, and the parts of the spec that change its outputs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from common.cells import Cell, CellKind, cells_of
from common.spec import RunSpec

Catalog = Mapping[str, "Job"]


CellsOf = Callable[[RunSpec, Cell], Sequence[Cell]]


@dataclass(frozen=True)
class Read:
    """Steps of another job that a job reads. With `optional`, an unsealed step is a gap and not an error."""

    job: str
    cells: CellsOf
    optional: bool = False


@dataclass(frozen=True)
class Job:
    """What a job is. Raise `version` with every change that changes its outputs: old results then no longer match."""

    name: str
    version: int
    image: str  # "cpu" or "gpu"
    kinds: tuple[CellKind, ...]  # of the cells that it accepts
    sections: tuple[str, ...] = ()  # parts of the spec that change its outputs; "*" is all of it
    reads: tuple[Read, ...] = ()
    writes: tuple[str, ...] = ()  # names; one that ends in / is a folder
    data: tuple[str, ...] = ()  # files of this repository that change its outputs
    outside: Callable[[RunSpec, Cell], Mapping[str, str]] = lambda spec, cell: {}  # name → identity of other inputs
    parameters: tuple[str, ...] = ()  # small outputs for the orchestrator
    shows: tuple[str, ...] = ()  # outputs that it also gets as files, for people to open in its UI
    among: Callable[[RunSpec], tuple[Cell, ...]] | None = None  # those it runs on in a study; None: all of its kinds
    resumes: bool = False  # keeps checkpoints: on SIGTERM it is asked to stop, not stopped

    def cells(self, spec: RunSpec) -> tuple[Cell, ...]:
        """Its steps in a study."""
        if self.among is not None:
            return self.among(spec)
        return tuple(cell for kind in self.kinds for cell in cells_of(spec, kind))
