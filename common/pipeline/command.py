"""The command line of every job: run a step, reuse a sealed one, and end with the exit code of the contract."""

import argparse
import contextlib
import gc
import os
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
from typing import Any

from common import provenance
from common.cells import Cell, CellKind, cells_named, cells_of
from common.cli import parsed, program
from common.errors import (
    RETRYABLE,
    SEALED,
    ExitCode,
    InputError,
    Interrupted,
    JobError,
    SpecError,
    TransientError,
    disk_full,
    out_of_memory,
)
from common.logs import Log
from common.pipeline.job import Catalog, Job
from common.pipeline.keys import Keys
from common.pipeline.parameters import handed_over
from common.pipeline.step import Step
from common.secrets import redacted, redacted_value
from common.serialization import canonical_json
from common.spec import RunSpec, parse_spec
from common.store.manifests import OUTCOME
from common.store.names import write_below
from common.store.sealed import ArtifactStore, open_store

EXIT_CODES = (
    "exit codes: 0 done | 2 bad spec, command line or credentials | 3 input missing or altered | "
    "10 do not pass | 75 busy or interrupted, run again | 1 bug"
)
KEPT = "the step is sealed, and its results were not handed over"


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
    with quiet_stdout() as say:
        try:
            request = _request(job, catalog, args)
        except (Exception, KeyboardInterrupt) as error:
            return told(error, Log(job.name, args.cell))
        codes = []
        for cell in request.cells:
            log = Log(job.name, str(cell))
            try:
                codes.append(_run(job, main, request, cell, log, say))
            except (Exception, KeyboardInterrupt) as error:
                codes.append(told(error, log))
            if codes[-1] in RETRYABLE:
                break
            gc.collect()  # models and optimizers hold one another in circles: free them for the step after
        return min(codes, key=lambda code: (code not in RETRYABLE, code in SEALED, code == ExitCode.OK))


def told(error: BaseException, log: Log, lost: str = "nothing was sealed") -> int:
    """Say in one line why a step ended, with a traceback where it is a bug; return its exit code."""
    try:
        return _told(error, log, lost)
    except MemoryError:  # there is none left for saying so, either: let go of what the step held
        traceback.clear_frames(error.__traceback__)
        os.write(2, f"error: out of memory; {lost}\n".encode())
        return int(ExitCode.OUT_OF_MEMORY)


def _told(error: BaseException, log: Log, lost: str) -> int:
    code, line = ExitCode.BUG, f"bug: {type(error).__name__}: {error}"
    notes = [note for note in getattr(error, "__notes__", ()) if note != KEPT]
    fate = KEPT if KEPT in getattr(error, "__notes__", ()) else lost
    # Asked before what the error is called: a loader takes memory that ran out for a file that is broken.
    if out_of_memory(error):
        code = ExitCode.OUT_OF_MEMORY
        line = f"{JobError('out of memory', where=', '.join(notes), value=str(error) or None)}; {fate}"
    elif isinstance(error, TransientError):
        code, line = error.exit_code, str(error)
    elif disk_full(error):
        where = getattr(error, "filename", None) or tempfile.gettempdir()
        code, line = ExitCode.TRANSIENT, f"{JobError('disk full', where=str(where), value=str(error))}; {fate}"
    elif isinstance(error, JobError):
        code, line = error.exit_code, str(error)
    elif isinstance(error, KeyboardInterrupt):
        code, line = ExitCode.TRANSIENT, f"interrupted from the keyboard; {fate}"
    with contextlib.suppress(OSError):  # stderr itself may stand on the full disk: the exit code tells it then
        if code is ExitCode.BUG:
            sys.stderr.write(redacted("".join(traceback.format_exception(error))))
        log.error(line)
    return int(code)


@dataclass(frozen=True)
class _Request:
    """What the command line asks for."""

    spec: RunSpec
    cells: tuple[Cell, ...]
    store: ArtifactStore
    catalog: Catalog
    dry_run: bool


def _request(job: Job, catalog: Catalog, args: argparse.Namespace) -> _Request:
    spec = read_spec(args.spec)
    cells = cells_named(spec, args.cell)
    if cells[0].kind not in job.kinds:
        kinds = [str(known) for kind in job.kinds for known in cells_of(spec, kind)]
        raise SpecError("not a cell of this job", where="--cell", value=args.cell, allowed=", ".join(kinds[:8]))
    return _Request(spec, cells, open_store(args.store), catalog, args.dry_run)


def _run(job: Job, main: Callable[[Step], ExitCode], request: _Request, cell: Cell, log: Log, say: Any) -> int:
    spec, store = request.spec, request.store
    keys = Keys(spec, request.catalog, store)
    standing = store.manifest(job.name, keys.key(job.name, cell), OUTCOME)
    if request.dry_run:
        say(_dry_run(job, cell, spec, keys, store, standing))
        return int(ExitCode.OK)
    reused = standing is not None
    if standing is None:
        standing = _execute(job, main, Step(job, cell, spec, store, keys, log))
    else:
        log.event("reused", key=standing["key"], sealed=standing["started"])
        if job.resumes:
            store.drop_checkpoints(job.name, standing["key"])  # a worker killed between its seal and this left them
    try:
        return _hand_out(job, request, cell, standing, reused, say)
    except (Exception, KeyboardInterrupt) as error:
        error.add_note(KEPT)
        raise


def _hand_out(job: Job, request: _Request, cell: Cell, standing: dict[str, Any], reused: bool, say: Any) -> int:
    """Give a sealed step's results to the orchestrator, the run's notes and stdout; return its exit code."""
    spec, store = request.spec, request.store
    if absent := [name for name in job.shows if name not in standing["outputs"]]:
        where = f"{job.name}/{cell}"
        raise InputError("the sealed step lacks an output", where=where, value=absent[0], allowed=", ".join(job.writes))
    shown = {name: store.get(standing["outputs"][name]["digest"]) for name in job.shows}
    _hand_over({name: value.encode() for name, value in handed_over(standing, spec).items()} | shown)
    outcome = {name: standing[name] for name in ("job", "cell", "key", "exit_code", "seconds")}
    outcome["summary"] = redacted_value(standing["summary"])  # whoever sealed it
    store.note_run(spec.run_id, job.name, str(cell), {**outcome, "reused": reused, "when": provenance.started()})
    say({**outcome, "reused": reused})
    return int(standing["exit_code"])


def _execute(job: Job, main: Callable[[Step], ExitCode], step: Step) -> dict[str, Any]:
    began, clock = provenance.started(), time.monotonic()
    os.environ.setdefault("OMP_NUM_THREADS", str(provenance.usable_cores()))
    step.log.event("started", key=step.key, commit=provenance.provenance()["commit"][:12])
    try:
        for read in job.reads:
            for source in step.sources(read.job) if not read.optional else ():
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
        prog=program(job.name),
        description=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=EXIT_CODES,
    )
    parser.add_argument("--spec", required=True, help="path, s3://bucket/key, or the JSON itself")
    kinds = f"a cell of kind {', '.join(job.kinds)}"
    packs = ", or with `all` for its attitude: every arm of that seed" if CellKind.RUN in job.kinds else ""
    parser.add_argument("--cell", required=True, help=kinds + packs)
    parser.add_argument("--store", required=True, help="s3://bucket/prefix (usual AWS variables) or a folder")
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be read, reused and missing; change nothing"
    )
    return parsed(parser, argv)


class quiet_stdout:  # noqa: N801 - a context manager, used like a function
    """Send file descriptor 1 to stderr, so that no library can spoil the one line of stdout."""

    def __enter__(self) -> Callable[[Any], None]:
        sys.stdout.flush()
        self._real = os.dup(1)
        os.dup2(2, 1)
        return self._say

    def _say(self, value: Any) -> None:
        try:
            os.write(self._real, canonical_json(value) + b"\n")
        except OSError as error:
            error.filename = "stdout"
            raise

    def __exit__(self, *_: object) -> None:
        sys.stdout.flush()
        os.dup2(self._real, 1)
        os.close(self._real)


class _stop_signal:  # noqa: N801 - a context manager, used like a function
    """SIGTERM ends a step cleanly: a job that looks for it is asked, any other is interrupted where it stands."""

    def __init__(self, step: Step) -> None:
        self._step = step

    def __enter__(self) -> None:
        self._before = signal.signal(signal.SIGTERM, self._stop)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        first, self._step.stopping = not self._step.stopping, True
        if first and not self._step.asks:
            raise Interrupted(
                "stopped by SIGTERM; nothing was sealed", where=f"{self._step.job.name}/{self._step.cell}"
            )

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGTERM, self._before)


def _hand_over(values: Mapping[str, bytes]) -> None:
    """Write output parameters and shown files where the orchestrator looks for them. Raises: InputError, OSError."""
    folder = Path(os.environ.get("UNDERTONE_OUTPUTS", "/tmp/outputs"))
    if values:
        write_below(folder, values)
