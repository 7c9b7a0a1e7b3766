"""What steps have sealed, as a job reads it: from a store, or from rows that were published beside a report."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from common.cells import Cell
from common.pipeline.job import Fact
from common.records import Record
from common.serialization import parse_json, parse_jsonl, parse_row
from common.spec import RunSpec
from common.store.manifests import OUTPUTS

R = TypeVar("R", bound=Record)
M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")


class Outputs(ABC):
    """Outputs of other steps, and what a job works with beside them."""

    spec: RunSpec
    cell: Cell

    @abstractmethod
    def sealed(self, job: str, cell: Cell) -> bool:
        """Whether a step is done."""

    @abstractmethod
    def manifest(self, job: str, cell: Cell, needs: Sequence[str] = OUTPUTS) -> dict[str, Any]:
        """The manifest of a sealed step. Raises: InputError if it is not sealed, or lacks what is needed."""

    @abstractmethod
    def digest(self, job: str, cell: Cell, name: str) -> str:
        """The digest of one output: what a number in the report is bound to. Raises: InputError."""

    @abstractmethod
    def read_bytes(self, job: str, cell: Cell, name: str) -> bytes:
        """An output of another step. Raises: InputError if absent or altered."""

    @abstractmethod
    def data(self, path: str) -> Path:
        """A file of this repository."""

    @abstractmethod
    def fact(self, fact: Fact[T]) -> T:
        """What a fact is on this cell."""

    def read_json(self, job: str, cell: Cell, name: str) -> Any:
        """An output of another step, parsed. Raises: InputError."""
        return parse_json(self.read_bytes(job, cell, name), f"{job}/{cell}/{name}")

    def read_model(self, job: str, cell: Cell, name: str, kind: type[M]) -> M:
        """An output of another step, as its model. Raises: InputError naming the output and the field."""
        return parse_row(self.read_bytes(job, cell, name), kind, f"{job}/{cell}/{name}")

    def read_records(self, job: str, cell: Cell, name: str, kind: type[R]) -> list[R]:
        """An output of another step, as rows. Raises: InputError with line and column."""
        return parse_jsonl(self.read_bytes(job, cell, name), kind, f"{job}/{cell}/{name}")
