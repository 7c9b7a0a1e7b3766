"""Keep what a study has made so far as files of a repository, and go on from them on another machine.

    python -m workflows.rows save --spec SPEC --store STORE --out reports/mine/rows
    python -m workflows.rows restore --store STORE [--for-report] reports/mine/rows

`save` writes the manifest of every sealed step, and its rows: what it put out as JSON. Adapters, checkpoints and
activations are not kept, nor is the report, which is made from rows. A second `save` adds what is new and touches
nothing else.

`restore` puts all of it back into a store, and with that store nothing is done again whose rows are there. A fine-tune
counts as done where every step that reads its adapter is there; else it is left out, and so trained again. Steps that
another spec or another version of a job asked for are left out too. What was left out is told.

With `--for-report` no fine-tune is left out. That is enough for the report, which reads how training went and no
adapter. Use a store of its own: there, steps that read an adapter can only fail.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from common.cells import Cell
from common.cli import changes, ended, parsed
from common.digests import sha256
from common.errors import ExitCode, InputError
from common.pipeline.job import Catalog, declared
from common.pipeline.keys import Keys
from common.serialization import canonical_json, parse_json
from common.spec import RunSpec, override, parse_spec
from common.store.manifests import checked_manifest
from common.store.names import inside, write_below
from common.store.packed import MOST_BYTES, packed, unpacked
from common.store.sealed import ArtifactStore, as_given, as_kept, open_store
from jobs import catalog
from workflows.local.results import MANIFEST

SPEC = "spec.json"
REPORT = "report"  # is made from rows
Step = tuple[str, Cell]  # job and cell
Manifests = Mapping[Step, Mapping[str, Any]]


def is_row(name: str) -> bool:
    """Whether an output is kept: JSON, and no part of a folder, as an adapter is."""
    return "/" not in name and name.endswith((".json", ".jsonl"))


def steps(spec: RunSpec, jobs: Catalog) -> Iterator[Step]:
    """Every step of a study but its report."""
    return ((job.name, cell) for job in jobs.values() if job.name != REPORT for cell in job.cells(spec))


# --- keeping


def save(spec: RunSpec, jobs: Catalog, store: ArtifactStore, out: Path) -> str:
    """Write what is sealed and not there yet; return what to say of it.

    Raises: InputError for rows of another spec or version, or if the store lacks or altered an output.
    """
    _check_spec(spec, out)
    keys, before, new, again = Keys(spec, jobs, store), 0, 0, list[str]()
    for job, cell in steps(spec, jobs):
        if (manifest := store.manifest(job, key := keys.key(job, cell))) is None:
            continue
        if (kept := _kept(out, job, cell)) is None:
            _write(out, job, cell, manifest, store)
            new += 1
            continue
        if kept.get("key") != key:
            where, value, allowed = f"{out}/{job}/{cell}", kept.get("key"), f"{key}, or a folder of its own"
            raise InputError("rows of another plan or code are kept here", where=where, value=value, allowed=allowed)
        before += 1
        if _rows(kept) != _rows(manifest):
            again.append(f"{job}/{cell}")
    if not (out / SPEC).is_file():  # a report keeps its spec here too, with the same settings
        write_below(out, {SPEC: canonical_json(spec.model_dump(mode="json", exclude_unset=True))})
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    lines = [f"{out}: {new} steps added, {before} were there; {size} bytes"]
    if size > MOST_BYTES:
        lines.append(f"that is more than a repository should carry, {MOST_BYTES} bytes")
    if again:
        lines.append(f"made again since, with other rows; those kept first stay: {', '.join(again)}")
    return "\n".join(lines)


def _check_spec(spec: RunSpec, out: Path) -> None:
    """Refuse a folder with rows of another spec. Raises: InputError."""
    if (path := out / SPEC).is_file():
        there = parse_spec(path.read_bytes(), str(path))
        if there.settings() != spec.settings():
            what = "rows of another spec are kept here"
            raise InputError(what, where=str(path), value=there.run_id, allowed=spec.run_id)


def _write(out: Path, job: str, cell: Cell, manifest: Mapping[str, Any], store: ArtifactStore) -> None:
    """The rows of a step, and then its manifest: what has one is whole."""
    rows = {_name(job, cell, name): packed(store.get(digest)) for name, digest in _rows(manifest).items()}
    write_below(out, rows)
    write_below(out, {_name(job, cell, MANIFEST): packed(as_kept(manifest))})


def _name(job: str, cell: Cell, name: str) -> str:
    return f"{job}/{cell}/{name}.gz"


def _rows(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Outputs of a step that are kept → their digests."""
    return {name: output["digest"] for name, output in manifest["outputs"].items() if is_row(name)}


def _kept(folder: Path, job: str, cell: Cell) -> dict[str, Any] | None:
    """The manifest that was kept of a step, None if there is none. Raises: InputError if it was altered."""
    path = inside(folder, _name(job, cell, MANIFEST))
    if not path.is_file():
        return None
    found = parse_json(unpacked(path), str(path))
    if not isinstance(found, dict):
        raise InputError("not a JSON object", where=str(path), value=type(found).__name__)
    manifest = as_given(found, str(path))
    return checked_manifest(manifest, job, str(manifest.get("key")))


# --- going on


class Found(NamedTuple):
    """What a folder holds of a study."""

    asked: Manifests  # the steps that spec and code ask for
    other: list[str]  # those of another spec, or of another version of a job


def restore(spec: RunSpec, jobs: Catalog, store: ArtifactStore, folder: Path, for_report: bool = False) -> str:
    """Seal what was kept, and return what to say of it.

    for_report: also what would have to be made again for steps that read what is not kept.

    Raises: InputError if a row is gone or altered, or the store holds other rows of a step that is kept whole.
    """
    keys = Keys(spec, jobs, store)
    found = _found(spec, jobs, keys, folder)
    left = set[Step]() if for_report else to_make_again(spec, jobs, store, keys, found.asked)
    # Those without their adapters come last: their readers are sealed by then, whenever this is stopped.
    whole, again = found.asked.keys() - left, set[Step]()
    for step in sorted(whole, key=lambda each: (bool(_absent(found.asked[each])), *map(str, each))):
        manifest = found.asked[step]
        standing = store.manifest(step[0], manifest["key"])
        if standing is not None and _rows(standing) != _rows(manifest) and _absent(manifest):
            again.add(step)  # as an earlier restore had it made again: its adapter is there, and its readers are
        else:
            _put_back(step, manifest, store, folder)
    lines = [f"{folder}: {len(whole) - len(again)} steps put back"]
    if again:
        lines.append(f"made again in this store before, which stays: {_listed(again)}")
    if left:
        lines.append(f"to be made again, for steps that read what is not kept: {_listed(left)}")
    if found.other:
        lines.append(f"left out, of another spec or another version: {', '.join(found.other)}")
    return "\n".join(lines)


def _found(spec: RunSpec, jobs: Catalog, keys: Keys, folder: Path) -> Found:
    """Raises: InputError for a manifest that was altered."""
    asked, other = dict[Step, Mapping[str, Any]](), list[str]()
    for job, cell in steps(spec, jobs):
        if (manifest := _kept(folder, job, cell)) is None:
            continue
        if manifest["key"] == keys.key(job, cell):
            asked[job, cell] = manifest
        else:
            other.append(f"{job}/{cell}")
    return Found(asked, other)


def to_make_again(spec: RunSpec, jobs: Catalog, store: ArtifactStore, keys: Keys, found: Manifests) -> set[Step]:
    """The steps found whose outputs are not all kept, and are read by a step that is not there."""
    readers = _readers(spec, jobs)
    left: set[Step] = set()

    def there(step: Step) -> bool:
        return (step in found and step not in left) or store.manifest(step[0], keys.key(*step)) is not None

    def wanted(step: Step) -> bool:
        absent = _absent(found[step])
        reads = (reader for outputs, reader in readers.get(step, ()) if any(declared(each, outputs) for each in absent))
        return any(not there(reader) for reader in reads)

    while more := {step for step in found.keys() - left if wanted(step)}:
        left |= more
    return left


def _readers(spec: RunSpec, jobs: Catalog) -> dict[Step, list[tuple[tuple[str, ...], Step]]]:
    """Step → each step that reads it, with the outputs that it may read."""
    found: dict[Step, list[tuple[tuple[str, ...], Step]]] = {}
    for name, cell in steps(spec, jobs):
        for read in jobs[name].reads:
            for source in read.cells(spec, cell):
                found.setdefault((read.job, source), []).append((read.outputs, (name, cell)))
    return found


def _absent(manifest: Mapping[str, Any]) -> list[str]:
    """Outputs of a step that are not kept."""
    return [name for name in manifest["outputs"] if not is_row(name)]


def _put_back(step: Step, manifest: Mapping[str, Any], store: ArtifactStore, folder: Path) -> None:
    """Seal one step. Raises: InputError if a row is gone or altered, or the store holds the step with other rows."""
    job, cell = step
    for name, digest in _rows(manifest).items():
        data = unpacked(path := inside(folder, _name(job, cell, name)))
        if (found := sha256(data)) != digest:
            raise InputError("a row was altered", where=str(path), value=found, allowed=digest)
        store.put(data)
    standing = store.seal(job, manifest["key"], dict(manifest))
    if _rows(standing) != _rows(manifest):
        allowed = "a store without this step, or with these rows"
        raise InputError("the store holds other rows", where=f"{job}/{cell}", value=manifest["key"], allowed=allowed)


def _listed(steps_left: set[Step]) -> str:
    return ", ".join(sorted(f"{job}/{cell}" for job, cell in steps_left))


# --- the command


def main(argv: Sequence[str] | None = None) -> int:
    """Save or restore, and return the exit code."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m workflows.rows", description=__doc__, formatter_class=raw)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("save", "restore"):
        command = commands.add_parser(name)
        command.add_argument("--store", required=True, help="s3://bucket/prefix or a folder")
        command.add_argument("--spec", type=Path, required=name == "save", help="restore: the one beside the rows")
        command.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="seeds=8, …")
        if name == "save":
            command.add_argument("--out", type=Path, required=True, help="folder, as reports/mine/rows")
        else:
            command.add_argument("rows", type=Path, help="folder that save wrote")
            command.add_argument("--for-report", action="store_true", help="all of it: enough to make the report")
    arguments = parsed(parser, argv)
    return ended(lambda: _tell(arguments), unreadable=ExitCode.INPUT)


def _tell(arguments: argparse.Namespace) -> int:
    path = arguments.spec or arguments.rows / SPEC
    if not path.is_file():
        raise InputError("no such spec", where=str(path), allowed="a folder that save wrote, or --spec")
    spec = parse_spec(override(path.read_bytes(), str(path), changes(arguments.set)), str(path))
    store = open_store(arguments.store)
    if arguments.command == "save":
        print(save(spec, catalog(), store, arguments.out))
    else:
        print(restore(spec, catalog(), store, arguments.rows, arguments.for_report))
    return int(ExitCode.OK)


if __name__ == "__main__":
    sys.exit(main())
