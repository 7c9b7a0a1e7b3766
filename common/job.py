"""What a job declares (Job), what one execution of it sees (Step), and the only catch-all (run_job).

A step is named by what was asked: its key is the digest of job, version, its sections of the spec, cell, data files,
outside inputs and the keys of the steps it reads. So keys are known before anything ran and are the same on a laptop
and on a cluster, although training is not bit-repeatable across machines. What a step read and wrote is in its
manifest, by the digest of the bytes.
"""

import argparse
import errno
import gc
import json
import os
import secrets
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import numpy as np

from common import provenance
from common.artifacts import ArtifactStore, file_sha256, open_store, sha256
from common.errors import RETRYABLE, SEALED, ExitCode, InputError, Interrupted, JobError, SpecError
from common.logs import Log
from common.records import Record, parse_json, parse_jsonl, to_jsonl
from common.spec import Cell, CellKind, RunSpec, canonical_json, parse_spec

R = TypeVar("R", bound=Record)
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
        return tuple(cell for kind in self.kinds for cell in spec.cells(kind))


class Keys:
    """The keys of all steps of a spec. Touches the store only for optional reads, to see which are sealed."""

    def __init__(self, spec: RunSpec, catalog: Catalog, store: ArtifactStore) -> None:
        self._spec, self._catalog, self._store = spec, catalog, store
        self._known: dict[tuple[str, str], str] = {}

    def key(self, job: str, cell: Cell) -> str:
        """The key of a step, 64 hex digits."""
        name = (job, str(cell))
        if name not in self._known:
            self._known[name] = sha256(canonical_json(self.asked(job, cell)))
        return self._known[name]

    def asked(self, name: str, cell: Cell) -> dict[str, Any]:
        """Everything that a step's key is the digest of."""
        job = self._catalog[name]
        whole = self._spec.asked()
        return {
            "job": name,
            "version": job.version,
            "cell": str(cell),
            "study_seed": self._spec.study_seed,
            "spec": whole if "*" in job.sections else {section: whole[section] for section in job.sections},
            "data": {path: file_sha256(provenance.ROOT / path) for path in job.data},
            "outside": dict(job.outside(self._spec, cell)),
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


def read_spec(uri: str) -> RunSpec:
    """The spec at a path, at s3://bucket/key, or given inline as a JSON object. Raises: SpecError."""
    if uri.lstrip().startswith("{"):
        return parse_spec(uri.encode(), "--spec")
    if uri.startswith("s3://"):
        parent, _, name = uri.rpartition("/")
        data = open_store(parent).objects.get(name)
        if data is None:
            raise SpecError("no such spec", where="--spec", value=uri)
        return parse_spec(data, uri)
    try:
        return parse_spec(Path(uri).read_bytes(), uri)
    except OSError as error:
        raise SpecError("cannot read the spec", where="--spec", value=uri, allowed=str(error.strerror)) from None


def run_job(job: Job, main: Callable[[Step], ExitCode], catalog: Catalog, argv: Sequence[str] | None = None) -> int:
    """Run a step, or each step of a pack; reuse what is sealed; return the exit code of the contract.

    stdout gets exactly one JSON line a step; everything else, libraries included, goes to stderr. A step of a pack that
    fails does not stop those after it, unless it is to be tried again: then the pack is, and that is its exit code.
    Otherwise it is the first of a step that was not sealed, or else the first that is not 0.
    """
    args = _arguments(job, argv)
    with _quiet_stdout() as say:
        try:
            asked = _asked(job, catalog, args)
        except (Exception, KeyboardInterrupt) as error:
            return _told(error, Log(job.name, args.cell))
        codes = []
        for cell in asked.cells:
            log = Log(job.name, str(cell))
            try:
                codes.append(_run(job, main, asked, cell, log, say))
            except (Exception, KeyboardInterrupt) as error:
                codes.append(_told(error, log))
            if codes[-1] in RETRYABLE:
                break
            gc.collect()  # models and optimizers hold one another in circles: free them for the step after
        return min(codes, key=lambda code: (code not in RETRYABLE, code in SEALED, code == ExitCode.OK))


def _told(error: BaseException, log: Log) -> int:
    """Say in one line why a step ended, with a traceback where it is a bug; return its exit code."""
    code, line = ExitCode.BUG, f"bug: {type(error).__name__}: {error}"
    if isinstance(error, JobError):
        code, line = error.exit_code, str(error)
    elif isinstance(error, KeyboardInterrupt):
        code, line = ExitCode.TRANSIENT, "interrupted from the keyboard; nothing was sealed"
    elif isinstance(error, MemoryError):
        code, line = ExitCode.OUT_OF_MEMORY, "out of memory; nothing was sealed"
    elif isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        code = ExitCode.TRANSIENT
        line = f"disk full, {error.filename or tempfile.gettempdir()}; nothing was sealed"
    if code is ExitCode.BUG:
        traceback.print_exception(error)
    log.error(line)
    return int(code)


@dataclass(frozen=True)
class _Asked:
    """What the command line asks for."""

    spec: RunSpec
    cells: tuple[Cell, ...]
    store: ArtifactStore
    catalog: Catalog
    dry_run: bool


def _asked(job: Job, catalog: Catalog, args: argparse.Namespace) -> _Asked:
    spec = read_spec(args.spec)
    cells = spec.named(args.cell)
    if cells[0].kind not in job.kinds:
        kinds = [str(known) for kind in job.kinds for known in spec.cells(kind)]
        raise SpecError("not a cell of this job", where="--cell", value=args.cell, allowed=", ".join(kinds[:8]))
    return _Asked(spec, cells, open_store(args.store), catalog, args.dry_run)


def _run(job: Job, main: Callable[[Step], ExitCode], asked: _Asked, cell: Cell, log: Log, say: Any) -> int:
    spec, store = asked.spec, asked.store
    keys = Keys(spec, asked.catalog, store)
    standing = store.manifest(job.name, keys.key(job.name, cell))
    if asked.dry_run:
        say(_dry_run(job, cell, spec, keys, store, standing))
        return int(ExitCode.OK)
    reused = standing is not None
    if standing is None:
        standing = _execute(job, main, Step(job, cell, spec, store, keys, log))
    else:
        log.event("reused", key=standing["key"], sealed=standing["started"])
    shown = {name: store.get(standing["outputs"][name]["digest"]) for name in job.shows}
    _hand_over({name: value.encode() for name, value in standing["parameters"].items()} | shown)
    outcome = {name: standing[name] for name in ("job", "cell", "key", "exit_code", "seconds", "summary")}
    store.note_run(spec.run_id, job.name, str(cell), {**outcome, "reused": reused, "when": provenance.started()})
    say({**outcome, "reused": reused})
    return int(standing["exit_code"])


def _execute(job: Job, main: Callable[[Step], ExitCode], step: Step) -> dict[str, Any]:
    began, clock = provenance.started(), time.monotonic()
    os.environ.setdefault("OMP_NUM_THREADS", str(provenance.usable_cores()))
    step.log.event("started", key=step.key, commit=provenance.provenance()["commit"][:12])
    try:
        for read in job.reads:
            for source in read.cells(step.spec, step.cell) if not read.optional else ():
                step.manifest(read.job, source)
        with _stop_signal(step):
            code = main(step)
        if code not in SEALED:
            raise JobError("job returned an exit code that is not sealed", where=job.name, value=int(code))
        standing = step.seal(code, began, time.monotonic() - clock)
    finally:
        step.log.done()
        shutil.rmtree(step.workdir, ignore_errors=True)
    step.log.event("sealed", key=step.key, exit_code=standing["exit_code"], seconds=standing["seconds"])
    return standing


def _dry_run(
    job: Job, cell: Cell, spec: RunSpec, keys: Keys, store: ArtifactStore, standing: dict[str, Any] | None
) -> dict[str, Any]:
    reads = {f"{read.job}/{c}": keys.key(read.job, c) for read in job.reads for c in read.cells(spec, cell)}
    missing = [name for name, key in reads.items() if store.manifest(name.partition("/")[0], key) is None]
    key = keys.key(job.name, cell)
    return {"job": job.name, "cell": str(cell), "key": key, "would_reuse": standing is not None, "missing": missing}


def _arguments(job: Job, argv: Sequence[str] | None) -> argparse.Namespace:
    doc = sys.modules[f"jobs.{job.name}"].__doc__ if f"jobs.{job.name}" in sys.modules else None
    parser = argparse.ArgumentParser(
        prog=f"python -m jobs.{job.name}",
        description=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="exit codes: 0 done | 2 bad spec, command line or credentials | 3 input missing or altered | "
        "10 do not pass | 75 busy or interrupted, run again | 1 bug",
    )
    parser.add_argument("--spec", required=True, help="path, s3://bucket/key, or the JSON itself")
    kinds = f"a cell of kind {', '.join(job.kinds)}"
    packs = ", or with `all` for its attitude: every arm of that seed" if CellKind.RUN in job.kinds else ""
    parser.add_argument("--cell", required=True, help=kinds + packs)
    parser.add_argument("--store", required=True, help="s3://bucket/prefix (usual AWS variables) or a folder")
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be read, reused and missing; change nothing"
    )
    return parser.parse_args(argv)


class _quiet_stdout:  # noqa: N801 - a context manager, used like a function
    """Send file descriptor 1 to stderr, so that no library can spoil the one line of stdout."""

    def __enter__(self) -> Callable[[Any], None]:
        sys.stdout.flush()
        self._real = os.dup(1)
        os.dup2(2, 1)
        return self._say

    def _say(self, value: Any) -> None:
        os.write(self._real, canonical_json(value) + b"\n")

    def __exit__(self, *_: object) -> None:
        sys.stdout.flush()
        os.dup2(self._real, 1)
        os.close(self._real)


class _stop_signal:  # noqa: N801 - a context manager, used like a function
    """SIGTERM ends a step cleanly: a job that resumes is asked, any other is interrupted where it stands."""

    def __init__(self, step: Step) -> None:
        self._step = step

    def __enter__(self) -> None:
        self._before = signal.signal(signal.SIGTERM, self._stop)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        first, self._step.stopping = not self._step.stopping, True
        if first and not self._step.job.resumes:
            raise Interrupted(
                "stopped by SIGTERM; nothing was sealed", where=f"{self._step.job.name}/{self._step.cell}"
            )

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGTERM, self._before)


def _hand_over(values: Mapping[str, bytes]) -> None:
    """Write output parameters and shown files where the orchestrator looks for them."""
    folder = Path(os.environ.get("UNDERTONE_OUTPUTS", "/tmp/outputs"))
    for name, value in values.items():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(value)


def _files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
