"""Rows that are published beside a report, from which every number and figure can be made again without a store.

`rows/` holds the spec, the manifests of all steps that were read, and what was read of them, gzipped. What a manifest
names by its digest is refused if its bytes are others.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from common.cells import STUDY, Cell
from common.digests import sha256
from common.errors import InputError
from common.pipeline.job import Fact, declared
from common.pipeline.outputs import Outputs
from common.pipeline.step import Step
from common.provenance import ROOT
from common.serialization import canonical_json, parse_json
from common.spec import parse_spec
from common.store.manifests import OUTPUTS, checked_manifest, digest_of
from common.store.names import inside
from common.store.packed import packed, unpacked
from jobs.report import JOB

T = TypeVar("T")
FOLDER, SPEC, MANIFESTS = "rows", "rows/spec.json", "rows/manifests.json.gz"


def published(step: Step) -> dict[str, bytes]:
    """What a report publishes, by path: all that it read of the store."""
    files, manifests = {}, {}
    for read in JOB.reads:
        for cell in read.cells(step.spec, step.cell):
            if not step.sealed(read.job, cell):
                continue
            manifests[f"{read.job}/{cell}"] = manifest = step.manifest(read.job, cell)
            for name in sorted(name for name in manifest["outputs"] if declared(name, read.outputs)):
                files[_path(read.job, cell, name)] = packed(step.read_bytes(read.job, cell, name))
    files[MANIFESTS] = packed(canonical_json(manifests))
    files[SPEC] = canonical_json(step.spec.model_dump(mode="json", exclude_unset=True))
    return files


def _path(job: str, cell: Cell, name: str) -> str:
    return f"{FOLDER}/{job}/{cell}/{name}.gz"


class Published(Outputs):
    """What lies below a report's folder, read as a step reads the store."""

    def __init__(self, folder: Path, root: Path = ROOT) -> None:
        """A report's folder. root: of the repository. Raises: InputError if it has no rows."""
        self._folder, self._root = folder, root
        if not (folder / MANIFESTS).is_file():
            raise InputError(
                "no rows are published", where=str(folder / FOLDER), allowed="a report that was made with them"
            )
        self.spec = parse_spec(inside(folder, SPEC).read_bytes(), SPEC)
        self.cell = STUDY
        found = parse_json(unpacked(folder / MANIFESTS), MANIFESTS)
        if not (isinstance(found, dict) and all(isinstance(each, dict) for each in found.values())):
            raise InputError("no manifests", where=MANIFESTS, allowed="a JSON object of them")
        self._manifests: dict[str, dict[str, Any]] = found

    def sealed(self, job: str, cell: Cell) -> bool:
        """Whether a step was done when the report was made."""
        return f"{job}/{cell}" in self._manifests

    def manifest(self, job: str, cell: Cell, needs: Sequence[str] = OUTPUTS) -> dict[str, Any]:
        """Its manifest. Raises: InputError if it was not done, or lacks what is needed."""
        if not self.sealed(job, cell):
            raise InputError("no such step is published", where=MANIFESTS, value=f"{job}/{cell}")
        found = self._manifests[f"{job}/{cell}"]
        return checked_manifest(found, job, str(found.get("key")), needs)

    def digest(self, job: str, cell: Cell, name: str) -> str:
        """The digest of one output."""
        return digest_of(self.manifest(job, cell), name, f"{job}/{cell}")

    def read_bytes(self, job: str, cell: Cell, name: str) -> bytes:
        """An output. Raises: InputError if it is gone or altered."""
        path = inside(self._folder, _path(job, cell, name))
        data, digest = unpacked(path), self.digest(job, cell, name)
        if (found := sha256(data)) != digest:
            raise InputError("a row was altered", where=str(path), value=found, allowed=digest)
        return data

    def data(self, path: str) -> Path:
        """A file of the repository."""
        return self._root / path

    def fact(self, fact: Fact[T]) -> T:
        """What a declared fact is."""
        return fact.of(self.spec, self.cell)
