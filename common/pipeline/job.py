"""What a job declares: its cells, what it reads and writes, and what of the spec changes its outputs.

The declaration is closed: a step gets nothing but what its job declares (see common.pipeline.step), and all of that is
in the key of the step. So a result cannot depend on something that does not name it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from common.cells import Cell, CellKind, CellsOf, cells_of
from common.spec import RunSpec

T_co = TypeVar("T_co", covariant=True)
Catalog = Mapping[str, "Job"]


def declared(name: str, known: Sequence[str]) -> bool:
    """Whether a name is among the known ones, or below one that ends in /."""
    return any(name == each or (each.endswith("/") and name.startswith(each)) for each in known)


@dataclass(frozen=True)
class Read:
    """Steps of another job that a job reads. With `optional`, an unsealed step is a gap and not an error."""

    job: str
    cells: CellsOf
    outputs: tuple[str, ...] = ()  # those that may be read; one that ends in / is a folder
    optional: bool = False


@dataclass(frozen=True)
class Fact(Generic[T_co]):
    """What a job needs of the spec beside whole sections, worked out for a cell."""

    name: str
    of: Callable[[RunSpec, Cell], T_co]
    named_by: Callable[[RunSpec, Cell], Mapping[str, str]]  # what enters the key: names of bytes, not where they lie
    quiet: bool = False  # no part of a key where it names nothing: a fact that came later changes no key


@dataclass(frozen=True)
class Job:
    """What a job is. Raise `version` with every change that changes its outputs: old results then no longer match."""

    name: str
    version: int
    image: str  # "cpu" or "gpu"
    kinds: tuple[CellKind, ...]  # of the cells that it accepts
    sections: tuple[str, ...] = ()  # parts of the spec that it may read; "*" is all of it
    reads: tuple[Read, ...] = ()
    writes: tuple[str, ...] = ()  # names; one that ends in / is a folder
    data: tuple[str, ...] = ()  # files of this repository that it may read
    facts: tuple[Fact[Any], ...] = ()  # what it needs of the spec beside its sections
    parameters: tuple[str, ...] = ()  # small outputs for the orchestrator
    shows: tuple[str, ...] = ()  # outputs that it also gets as files, for people to open in its UI
    among: Callable[[RunSpec], tuple[Cell, ...]] | None = None  # those it runs on in a study; None: all of its kinds
    resumes: bool = False  # keeps checkpoints: on SIGTERM it is asked to stop, not stopped

    def cells(self, spec: RunSpec) -> tuple[Cell, ...]:
        """Its steps in a study."""
        if self.among is not None:
            return self.among(spec)
        return tuple(cell for kind in self.kinds for cell in cells_of(spec, kind))
