"""One execution of a job on a cell: the only way in and out of the store. What the job does not declare, it refuses.

What a step read and wrote is in its manifest, by the digest of the bytes.
"""

import contextlib
import json
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from pydantic import BaseModel

from common import provenance
from common.cells import Cell
from common.errors import ExitCode, InputError, JobError, TransientError
from common.logs import Log
from common.pipeline.job import Fact, Job, Read, declared
from common.pipeline.keys import Keys
from common.pipeline.outputs import Outputs
from common.records import Record
from common.secrets import redacted_value
from common.serialization import canonical_json, to_jsonl
from common.spec import RunSpec
from common.store.manifests import OUTPUTS, checked_manifest, digest_of
from common.store.names import checked, inside, write_below
from common.store.sealed import ArtifactStore

R = TypeVar("R", bound=Record)
M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")


class DeclaredSpec:
    """The sections of a spec that a job declares, under their names. Any other is refused."""

    def __init__(self, spec: RunSpec, job: Job) -> None:
        self._spec, self._job = spec, job

    def __getattr__(self, name: str) -> Any:
        """A section, or anything of the spec for a job that declares all of it. Raises: JobError."""
        if name in self._job.sections or "*" in self._job.sections:
            return getattr(self._spec, name)
        allowed = ", ".join(self._job.sections) or "nothing"
        raise JobError("job does not declare this part of the spec", where=self._job.name, value=name, allowed=allowed)


class Step(Outputs):
    """One execution of a job on a cell: the only way in and out of the store."""

    def __init__(self, job: Job, cell: Cell, spec: RunSpec, store: ArtifactStore, keys: Keys, log: Log) -> None:
        self.job, self.cell, self.log = job, cell, log
        # Typed as what it shows the declared part of.
        self.spec = cast(RunSpec, DeclaredSpec(spec, job))
        self._whole = spec
        self.key = keys.key(job.name, cell)
        self.stopping = False  # SIGTERM came: a job that resumes looks here after every unit of work
        self.asks = job.resumes  # whether it does so by now; else SIGTERM ends the step where it stands
        self._store, self._keys = store, keys
        self._outputs: dict[str, dict[str, Any]] = {}
        self._inputs: dict[str, str] = {}
        self._summary: dict[str, Any] = {}
        self._parameters: dict[str, str] = {}
        self._sources: dict[str, tuple[Cell, ...]] = {}
        self._manifests: dict[tuple[str, str], dict[str, Any]] = {}
        self._attempt = secrets.token_hex(4)
        self.workdir = Path(tempfile.mkdtemp(prefix=f"undertone-{job.name}-"))

    # --- chance

    def seed(self, *labels: object) -> int:
        """A seed for this job and these labels. Without labels: for this job and cell."""
        return self._whole.seed(self.job.name, *(labels or (self.cell,)))

    def rng(self, *labels: object) -> np.random.Generator:
        """A generator for this job and these labels. Without labels: for this job and cell."""
        return np.random.default_rng(self.seed(*labels))

    # --- reading

    def fact(self, fact: Fact[T]) -> T:
        """What a declared fact is on this cell. Raises: JobError if the job does not declare it."""
        if fact not in self.job.facts:
            raise self._undeclared("fact", fact.name, [known.name for known in self.job.facts])
        return fact.of(self._whole, self.cell)

    def check_fact(self, fact: Fact[T]) -> None:
        """Compare what a fact names with what the key does, once it was read. Raises: InputError if it changed."""
        self._keys.check_fact(self.job.name, self.cell, fact)

    def data(self, path: str) -> Path:
        """A declared file of this repository.

        Raises: JobError if the job does not declare it; InputError if it is not the one that the key names.
        """
        if path not in self.job.data:
            raise self._undeclared("data file", path, self.job.data)
        self._keys.check_data(self.job.name, self.cell, path)
        return provenance.ROOT / path

    def sources(self, job: str) -> tuple[Cell, ...]:
        """The cells of another job that this step reads. Raises: JobError if the job does not declare it."""
        if job not in self._sources:  # asked for with every output: a report would list its grid thousands of times
            self._sources[job] = tuple(self._read(job).cells(self._whole, self.cell))
        return self._sources[job]

    def sealed(self, job: str, cell: Cell) -> bool:
        """Whether a step that this job may read is done."""
        return self._manifest(job, cell) is not None

    def manifest(self, job: str, cell: Cell, needs: Sequence[str] = OUTPUTS) -> dict[str, Any]:
        """The manifest of a sealed step. Raises: InputError if it is not sealed, or lacks what is needed."""
        found = self._manifest(job, cell)
        if found is None:
            hint = f"python -m jobs.{job} --cell {cell} first"
            raise InputError("step is not sealed", where=f"{job}/{cell}", value=self._keys.key(job, cell), allowed=hint)
        return found if needs == OUTPUTS else checked_manifest(found, job, self._keys.key(job, cell), needs)

    def names(self, job: str, cell: Cell) -> list[str]:
        """Names of the outputs of a sealed step, of those that the job may read."""
        return sorted(name for name in self.manifest(job, cell)["outputs"] if declared(name, self._read(job).outputs))

    def digest(self, job: str, cell: Cell, name: str) -> str:
        """The digest of one output: what a number in the report is bound to. Raises: InputError."""
        manifest = self.manifest(job, cell)
        if not declared(name, self._read(job).outputs):
            raise self._undeclared("output to read", f"{job}/{name}", self._read(job).outputs)
        return digest_of(manifest, name, f"{job}/{cell}")

    def read_bytes(self, job: str, cell: Cell, name: str) -> bytes:
        """An output of another step. Raises: InputError if absent or altered."""
        digest = self.digest(job, cell, name)
        self._inputs[f"{job}/{cell}/{name}"] = digest
        return self._store.get(digest)

    def read_folder(self, job: str, cell: Cell, prefix: str, into: Path) -> Path:
        """Write the outputs below `prefix` (which ends in /) to files below `into`, which is returned.

        Raises: InputError if one is absent or altered, or would lie outside `into`; then none is written.
        """
        names = [name for name in self.names(job, cell) if name.startswith(prefix)]
        write_below(into, {name.removeprefix(prefix): self.read_bytes(job, cell, name) for name in names})
        return into

    def _read(self, job: str) -> Read:
        found = next((read for read in self.job.reads if read.job == job), None)
        if found is None:
            raise self._undeclared("job to read", job, [read.job for read in self.job.reads])
        return found

    def _undeclared(self, what: str, value: str, known: Sequence[str]) -> JobError:
        allowed = ", ".join(known) or "nothing"
        return JobError(f"job does not declare this {what}", where=self.job.name, value=value, allowed=allowed)

    def _manifest(self, job: str, cell: Cell) -> dict[str, Any] | None:
        if cell not in self.sources(job):
            raise self._undeclared("cell to read", f"{job}/{cell}", list(map(str, self.sources(job))))
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
        if not declared(name, self.job.writes):
            raise self._undeclared("output", name, self.job.writes)
        digest = self._store.put(data)
        self._outputs[name] = {"digest": digest, "bytes": len(data)}
        return digest

    def write_json(self, name: str, value: Any) -> str:
        """Store an output as canonical JSON."""
        return self.write_bytes(name, canonical_json(value))

    def write_model(self, name: str, value: BaseModel) -> str:
        """Store an output as canonical JSON; fields that were not set are left out."""
        return self.write_json(name, value.model_dump(mode="json", exclude_unset=True))

    def write_records(self, name: str, rows: Sequence[Record]) -> str:
        """Store an output as JSON lines."""
        return self.write_bytes(name, to_jsonl(rows))

    def write_folder(self, name: str, folder: Path) -> None:
        """Store every file below `folder` as outputs below `name`, which ends in /. Raises: InputError as `_files`."""
        for path, data in _files(folder).items():
            self.write_bytes(name + path, data)

    def summary(self, **facts: Any) -> None:
        """Facts for people, without secrets: kept in the manifest and printed as the result."""
        self._summary |= redacted_value(facts)

    def parameter(self, name: str, value: Any) -> None:
        """A small output for the orchestrator, as JSON."""
        if name not in self.job.parameters:
            raise self._undeclared("parameter", name, self.job.parameters)
        self._parameters[name] = json.dumps(value)

    def progress(self, done: int, total: int, **fields: Any) -> None:
        """Say how far the step is."""
        self.log.progress(done, total, **fields)

    def check_store(self) -> None:
        """Refuse a store on which sealing does not hold. Raises: SpecError."""
        self._store.check_conditional_writes()

    # --- interruption

    @contextlib.contextmanager
    def nothing_to_keep(self) -> Iterator[None]:
        """While the block runs a job that resumes has done no unit of work: SIGTERM ends it where it stands."""
        self.asks = False
        yield
        self.asks = self.job.resumes

    def save_checkpoint(self, folder: Path, *, at: int, **facts: Any) -> None:
        """Keep the files below `folder` so that a later attempt of this step can go on from here.

        at: how far the step is, in whatever unit it counts. The furthest checkpoint counts, whatever clocks say.
        """
        name = f"{at:012d}-{time.time_ns():020d}-{self._attempt}"
        facts |= {"at": at, "key": self.key, "commit": provenance.provenance()["commit"]}
        self._store.put_checkpoint(self.job.name, self.key, name, _files(folder), facts)

    def load_checkpoint(
        self, folder: Path, known: Callable[[str], bool] = lambda name: True, **facts: Any
    ) -> dict[str, Any] | None:
        """Restore the furthest checkpoint below `folder`; return its facts, None if there is none.

        known: whether the job saves a file of this name. facts: what must be as it was when the checkpoint was saved.
        Raises: InputError if checkpoints exist but none is whole, a file is not known or a fact differs;
        TransientError if another worker sealed this step meanwhile.
        """
        found = self._store.newest_checkpoint(self.job.name, self.key)
        if self._store.manifest(self.job.name, self.key) is not None:
            again = "run again to reuse it"
            raise TransientError("another worker sealed this step", where=self.job.name, value=self.key, allowed=again)
        if found is None:
            return None
        files, kept = found
        if (stranger := next((name for name in files if not known(checked(name))), None)) is not None:
            raise InputError("not a file that a checkpoint of this job holds", where=self.job.name, value=stranger)
        self._check_facts(kept, facts | {"key": self.key})
        write_below(folder, files)
        return kept

    def _check_facts(self, kept: dict[str, Any], now: dict[str, Any]) -> None:
        """Compare what a checkpoint says of itself with how things are. Another commit is only said.

        Raises: InputError.
        """
        if type(kept.get("at")) is not int or kept["at"] < 0:
            raise InputError("checkpoint does not say how far it is", where="at", value=kept.get("at"), allowed=">= 0")
        for name, value in now.items():
            if kept.get(name) != value:
                raise InputError("checkpoint of something else", where=name, value=kept.get(name), allowed=value)
        commit = provenance.provenance()["commit"]
        if kept.get("commit") != commit:
            self.log.event("other_commit", checkpoint=str(kept.get("commit")), now=commit)

    # --- the end

    def seal(self, code: ExitCode, began: str, seconds: float) -> dict[str, Any]:
        """Write the manifest, last; return the one that stands."""
        manifest = {
            "schema_version": 1,
            "named_by": self._keys.named_by(self.job.name, self.cell),
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
    """Name → bytes of every file. Raises: InputError for a name that could not come back, or a link that leads out."""
    names = [str(path.relative_to(folder)) for path in sorted(folder.rglob("*")) if path.is_file()]
    return {name: inside(folder, name).read_bytes() for name in names}
