"""What a job declares (Job), what one execution of it sees (Step), and the only catch-all (run_job).

A step is named by what was asked: its key is the digest of job, version, its sections of the spec, cell, data files,
outside inputs and the keys of the steps it reads. So keys are known before anything ran and are the same on a laptop
and on a cluster, although training is not bit-repeatable across machines. What a step read and wrote is in its
manifest, by the digest of the bytes.
"""

import json
import secrets
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from common import provenance
from common.cells import Cell
from common.errors import ExitCode, InputError, JobError
from common.logs import Log
from common.pipeline.job import Job
from common.pipeline.keys import Keys
from common.records import Record
from common.serialization import canonical_json, parse_json, parse_jsonl, to_jsonl
from common.spec import RunSpec
from common.store.sealed import ArtifactStore

R = TypeVar("R", bound=Record)


class Step:
    """One execution of a job on a cell: the only way in and out of the store."""

    def __init__(self, job: Job, cell: Cell, spec: RunSpec, store: ArtifactStore, keys: Keys, log: Log) -> None:
        self.job, self.cell, self.spec, self.log = job, cell, spec, log
        self.key = keys.key(job.name, cell)
        self.stopping = False  # SIGTERM came: a job that resumes looks here after every unit of work
        self._store, self._keys = store, keys
        self._outputs: dict[str, dict[str, Any]] = {}
        self._inputs: dict[str, str] = {}
        self._summary: dict[str, Any] = {}
        self._parameters: dict[str, str] = {}
        self._manifests: dict[tuple[str, str], dict[str, Any]] = {}
        self._attempt = secrets.token_hex(4)
        self._saved = 0
        self.workdir = Path(tempfile.mkdtemp(prefix=f"undertone-{job.name}-"))

    # --- chance

    def seed(self, *labels: object) -> int:
        """A seed for this job and these labels. Without labels: for this job and cell."""
        return self.spec.seed(self.job.name, *(labels or (self.cell,)))

    def rng(self, *labels: object) -> np.random.Generator:
        """A generator for this job and these labels. Without labels: for this job and cell."""
        return np.random.default_rng(self.seed(*labels))

    # --- reading

    def sealed(self, job: str, cell: Cell) -> bool:
        """Whether a step that this job may read is done."""
        return self._manifest(job, cell) is not None

    def manifest(self, job: str, cell: Cell) -> dict[str, Any]:
        """The manifest of a sealed step. Raises: InputError if it is not sealed."""
        found = self._manifest(job, cell)
        if found is None:
            hint = f"python -m jobs.{job} --cell {cell} first"
            raise InputError("step is not sealed", where=f"{job}/{cell}", value=self._keys.key(job, cell), allowed=hint)
        return found

    def names(self, job: str, cell: Cell) -> list[str]:
        """Names of the outputs of a sealed step."""
        return sorted(self.manifest(job, cell)["outputs"])

    def digest(self, job: str, cell: Cell, name: str) -> str:
        """The digest of one output: what a number in the report is bound to. Raises: InputError."""
        outputs = self.manifest(job, cell)["outputs"]
        if name not in outputs:
            raise InputError("step has no such output", where=f"{job}/{cell}", value=name, allowed=", ".join(outputs))
        return str(outputs[name]["digest"])

    def read_bytes(self, job: str, cell: Cell, name: str) -> bytes:
        """An output of another step. Raises: InputError if absent or altered."""
        digest = self.digest(job, cell, name)
        self._inputs[f"{job}/{cell}/{name}"] = digest
        return self._store.get(digest)

    def read_json(self, job: str, cell: Cell, name: str) -> Any:
        """An output of another step, parsed. Raises: InputError."""
        return parse_json(self.read_bytes(job, cell, name), f"{job}/{cell}/{name}")

    def read_records(self, job: str, cell: Cell, name: str, kind: type[R]) -> list[R]:
        """An output of another step, as rows. Raises: InputError with line and column."""
        return parse_jsonl(self.read_bytes(job, cell, name), kind, f"{job}/{cell}/{name}")

    def read_folder(self, job: str, cell: Cell, prefix: str, into: Path) -> Path:
        """Write the outputs below `prefix` (which ends in /) to files below `into`, which is returned."""
        for name in [name for name in self.names(job, cell) if name.startswith(prefix)]:
            path = into / name.removeprefix(prefix)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.read_bytes(job, cell, name))
        return into

    def _manifest(self, job: str, cell: Cell) -> dict[str, Any] | None:
        name = (job, str(cell))
        if name not in self._manifests:
            found = self._store.manifest(job, self._keys.key(job, cell))
            if found is None:
                return None
            self._manifests[name] = found
        return self._manifests[name]

    # --- writing

    def write_bytes(self, name: str, data: bytes) -> str:
        """Store an output and return its digest. It counts only once the step is sealed."""
        if not any(name == known or (known.endswith("/") and name.startswith(known)) for known in self.job.writes):
            raise JobError("job does not declare this output", where=self.job.name, value=name)
        digest = self._store.put(data)
        self._outputs[name] = {"digest": digest, "bytes": len(data)}
        return digest

    def write_json(self, name: str, value: Any) -> str:
        """Store an output as canonical JSON."""
        return self.write_bytes(name, canonical_json(value))

    def write_records(self, name: str, rows: Sequence[Record]) -> str:
        """Store an output as JSON lines."""
        return self.write_bytes(name, to_jsonl(rows))

    def write_folder(self, name: str, folder: Path) -> None:
        """Store every file below `folder` as outputs below `name`, which ends in /."""
        for path, data in _files(folder).items():
            self.write_bytes(name + path, data)

    def summary(self, **facts: Any) -> None:
        """Facts for people: kept in the manifest and printed as the result."""
        self._summary |= facts

    def parameter(self, name: str, value: Any) -> None:
        """A small output for the orchestrator, as JSON."""
        if name not in self.job.parameters:
            raise JobError("job does not declare this parameter", where=self.job.name, value=name)
        self._parameters[name] = json.dumps(value)

    def progress(self, done: int, total: int, **fields: Any) -> None:
        """Say how far the step is."""
        self.log.progress(done, total, **fields)

    def check_store(self) -> None:
        """Refuse a store on which sealing does not hold. Raises: SpecError."""
        self._store.check_conditional_writes()

    # --- interruption

    def save_checkpoint(self, folder: Path, **facts: Any) -> None:
        """Keep the files below `folder` so that a later attempt of this step can go on from here."""
        self._saved += 1
        name = f"{time.time_ns():020d}-{self._attempt}"
        self._store.put_checkpoint(self.job.name, self.key, name, _files(folder), facts)

    def load_checkpoint(self, folder: Path) -> dict[str, Any] | None:
        """Restore the newest checkpoint below `folder`; return its facts, None if there is none.

        Raises: InputError if checkpoints exist but none is whole.
        """
        found = self._store.newest_checkpoint(self.job.name, self.key)
        if found is None:
            return None
        files, facts = found
        for name, data in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return facts

    # --- the end

    def seal(self, code: ExitCode, began: str, seconds: float) -> dict[str, Any]:
        """Write the manifest, last; return the one that stands."""
        manifest = {
            "schema_version": 1,
            "asked": self._keys.asked(self.job.name, self.cell),
            "job": self.job.name,
            "cell": str(self.cell),
            "key": self.key,
            "inputs": self._inputs,
            "outputs": self._outputs,
            "summary": self._summary,
            "parameters": self._parameters,
            "exit_code": int(code),
            "started": began,
            "seconds": round(seconds, 3),
            "provenance": provenance.provenance(),
        }
        standing = self._store.seal(self.job.name, self.key, manifest)
        if canonical_json(standing) != canonical_json(manifest):
            self.log.event("adopted", key=self.key, reason="another worker sealed this step first")
        if self.job.resumes:
            self._store.drop_checkpoints(self.job.name, self.key)
        return standing


def _files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
