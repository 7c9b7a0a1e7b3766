"""The key of a step: the digest of what a result may depend on.

A key is made of job, version, its sections of the spec, cell, data files, facts and the keys of the steps that
it reads. So keys are known before anything ran and are the same on a laptop and on a cluster, although training is not
bit-repeatable across machines.
"""

from typing import Any

from common import provenance
from common.cells import Cell
from common.digests import file_sha256, sha256
from common.errors import InputError
from common.pipeline.job import Catalog, Fact, Read
from common.serialization import canonical_json
from common.spec import RunSpec
from common.store.sealed import ArtifactStore


class Keys:
    """The keys of all steps of a spec. Touches the store only for optional reads, to see which are sealed."""

    def __init__(self, spec: RunSpec, catalog: Catalog, store: ArtifactStore) -> None:
        self._spec, self._catalog, self._store = spec, catalog, store
        self._known: dict[tuple[str, str], str] = {}
        self._fields: dict[tuple[str, str], dict[str, Any]] = {}

    def key(self, job: str, cell: Cell) -> str:
        """The key of a step, 64 hex digits."""
        name = (job, str(cell))
        if name not in self._known:
            self._known[name] = sha256(canonical_json(self.named_by(job, cell)))
        return self._known[name]

    def named_by(self, name: str, cell: Cell) -> dict[str, Any]:
        """Everything that a step's key is the digest of, as it was at the first call."""
        known = (name, str(cell))
        if known not in self._fields:
            self._fields[known] = self._read_fields(name, cell)
        return self._fields[known]

    def check_data(self, name: str, cell: Cell, path: str) -> None:
        """Compare a file of this repository with what a step's key names. Raises: InputError if it changed since."""
        before = self.named_by(name, cell)["data"][path]
        if (found := file_sha256(provenance.ROOT / path)) != before:
            raise InputError("file changed while the job ran", where=path, value=found, allowed=before)

    def check_fact(self, name: str, cell: Cell, fact: Fact[Any]) -> None:
        """Compare a fact of a job with what a step's key names. Raises: InputError if it changed since."""
        before = self.named_by(name, cell)["facts"].get(fact.name, {})
        if (found := dict(fact.named_by(self._spec, cell))) != before:
            raise InputError("file changed while the job ran", where=fact.name, value=found, allowed=str(before))

    def _read_fields(self, name: str, cell: Cell) -> dict[str, Any]:
        job = self._catalog[name]
        whole = self._spec.settings()
        return {
            "job": name,
            "version": job.version,
            "cell": str(cell),
            "study_seed": self._spec.study_seed,
            "spec": whole if "*" in job.sections else {section: whole[section] for section in job.sections},
            "data": {path: file_sha256(provenance.ROOT / path) for path in job.data},
            "facts": {
                fact.name: named
                for fact in job.facts
                if (named := dict(fact.named_by(self._spec, cell))) or not fact.quiet
            },
            "reads": {
                f"{read.job}/{source}": self._read_key(read, source)
                for read in job.reads
                for source in read.cells(self._spec, cell)
            },
        }

    def _read_key(self, read: Read, cell: Cell) -> str | None:
        key = self.key(read.job, cell)
        absent = read.optional and self._store.manifest(read.job, key) is None
        return None if absent else key
