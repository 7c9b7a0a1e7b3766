"""Whether results.json and the rows behind it were made under a lock: what they say of themselves, held against git."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel

from common.deviations import deviations_file
from common.digests import file_sha256
from common.errors import InputError
from common.provenance import CODE, commit_and_dirty, differing
from common.schemas import Made
from common.serialization import canonical_json, parse_json, parse_row
from common.store.names import inside
from common.store.sealed import ArtifactStore
from workflows.local.results import MANIFEST
from workflows.locks.findings import Findings
from workflows.locks.kept import FIRST, Kept
from workflows.locks.repository import Repository

ROWS = ("answers.jsonl", "choices.jsonl", "controls.jsonl")  # those that name the lock
Numbers = Mapping[str, Any]


class Locked(NamedTuple):
    """A lock with what was found of it in git."""

    path: Path
    lock: Kept
    digest: str
    added: str | None  # the commit that brought it
    heads: list[str]  # of its deviations
    repository: Repository


class Results(NamedTuple):
    """results.json, parsed."""

    path: Path
    made: Made | None  # None: of a kind that did not say
    numbers: Numbers

    @classmethod
    def read(cls, path: Path) -> "Results":
        """Results from their file. Raises: InputError, OSError."""
        found = parse_json(path.read_bytes(), str(path))
        if not isinstance(found, dict):
            raise InputError("no results", where=str(path), value=type(found).__name__, allowed="a JSON object")
        if found.keys() != {"made", "numbers"}:
            return cls(path, None, found)
        if not isinstance(found["numbers"], dict):
            raise InputError("no results", where=f"{path}:numbers", allowed="a JSON object")
        return cls(path, parse_row(canonical_json(found["made"]), Made, f"{path}:made"), found["numbers"])

    def sources(self) -> set[tuple[str, str, str]]:
        """Step, output and digest of everything that the numbers were worked out from. Raises: InputError."""
        found = set()
        for name, number in self.numbers.items():
            try:
                found |= {(source["step"], source["output"], source["digest"]) for source in number["source"]}
            except (KeyError, TypeError):
                allowed = "numbers with step, output and digest of each source"
                raise InputError("no results", where=f"{self.path}: {name}", allowed=allowed) from None
        return found


def check_results(results: Results, locked: Locked, findings: Findings) -> None:
    """Hold results against the lock. Raises: InputError naming what does not fit."""
    if results.made is None and locked.lock.schema_version != FIRST:
        raise InputError("results do not say what made them", where=f"{results.path}:made", allowed=locked.digest)
    _check_piles(results, locked, findings)
    if results.made is None:
        findings.unchecked("that the results were made under this lock", "results of this kind do not say it")
        return
    made, where = results.made, str(results.path)
    if made.lock != locked.digest:
        raise InputError("results of another lock", where=f"{where}:made", value=made.lock, allowed=locked.digest)
    _check_head(made.deviations, locked, f"{where}:made")
    _check_commit(made.commit, made.dirty, locked, "the results", findings)
    findings.checked("the results name this lock, and deviations that are still there")
    _tell_code(made, locked, findings)
    check_sealed(results, findings)


def _check_head(head: str | None, locked: Locked, where: str) -> None:
    if head not in locked.heads:
        file, there = deviations_file(locked.path), f"{len(locked.heads) - 1} rows, none ends at this digest"
        allowed = f"the rows that stood in {file.name} then; there are {there}"
        raise InputError("deviations that results name are gone", where=where, value=head, allowed=allowed)


def _check_commit(commit: str | None, dirty: bool | None, locked: Locked, what: str, findings: Findings) -> None:
    """Whether something was made after the lock. Raises: InputError if not."""
    if commit is None:
        findings.unchecked(f"that {what} came after the lock", "they do not know their commit")
        return
    if not locked.repository.descends(commit, locked.lock.commit):
        allowed = f"{locked.lock.commit}, that of the lock, or one after it"
        raise InputError(f"{what} do not come after the lock", where="commit", value=commit, allowed=allowed)
    findings.checked(f"{what} are of commit {commit[:12]}, which the lock's commit came before")
    if dirty:
        findings.unchecked(f"which code made {what}", f"files differed from commit {commit[:12]}")
    if locked.added is None or not locked.repository.descends(commit, locked.added):
        findings.unchecked(f"that the lock was committed before {what} were made", "their commit does not hold it")


def _tell_code(made: Made, locked: Locked, findings: Findings) -> None:
    """Say whether the analysis is the locked one: it may change, but not unsaid."""
    if made.commit is None or made.dirty or not locked.lock.registered:
        return
    if differs := differing(locked.repository.code(made.commit), locked.lock.code.files):
        noted = f"deviations written down by now: {len(locked.heads) - 1}"
        many = f"{len(differs)} files, first {differs[0]}"
        findings.differs(f"code at the results' commit {made.commit[:12]} from that of the lock: {many}; {noted}")
    else:
        findings.checked("the results were made by the locked code")


def _check_piles(results: Results, locked: Locked, findings: Findings) -> None:
    """Whether the numbers come from the piles that were locked. Raises: InputError naming one that is not."""
    piles = {step: digest for step, output, digest in results.sources() if output == "advice.jsonl"}
    for name, digest in piles.items():
        if (then := locked.lock.corpora.get(name, "no such pile")) != digest:
            raise InputError("another pile than locked", where=f"{results.path}: {name}", value=digest, allowed=then)
    findings.checked(f"the results come from {len(piles)} of the {len(locked.lock.corpora)} piles that are locked")


def check_sealed(results: Results, findings: Findings) -> None:
    """Compare what lies beside results with the manifest of their step, if that lies there too. Raises: InputError."""
    path = results.path.with_name(MANIFEST)
    if not path.is_file():
        findings.unchecked("that the results are as they were sealed", f"no {MANIFEST} lies beside them")
        return
    outputs = parse_row(path.read_bytes(), _Manifest, str(path)).outputs
    if results.path.name not in outputs:
        raise InputError("a manifest that does not name the results", where=str(path), allowed=results.path.name)
    there = {name: file for name in outputs if (file := inside(path.parent, name)).is_file()}
    for name, file in there.items():
        if (found := file_sha256(file)) != outputs[name].digest:
            raise InputError("not as it was sealed", where=str(file), value=found, allowed=outputs[name].digest)
    findings.checked(f"{len(there)} files of the report are as its manifest says")


class _Output(BaseModel):
    digest: str


class _Manifest(BaseModel):
    outputs: dict[str, _Output]


# --- rows, which a store holds


def check_rows(results: Results, locked: Locked, store: ArtifactStore, findings: Findings) -> None:
    """Hold every scored row that the results come from against the lock. Raises: InputError naming the output."""
    sealed = _sealed(store)
    wanted = sorted(source for source in results.sources() if source[0].startswith("evaluate/") and source[1] in ROWS)
    rows, made = 0, dict[str, set[str]]()  # commit → cells
    for step, name, digest in wanted:
        where = f"{step}/{name}"
        if (step, name, digest) not in sealed:
            raise InputError("results name rows that are not in the store", where=where, value=digest)
        base = step.endswith(".base")
        rows += _check_locks(store.get(digest), None if base else locked.digest, where)
        for ran in [] if base else sealed[step, name, digest]:
            made.setdefault(ran["commit"], set()).add(step)
            _check_head(ran.get("deviations", {}).get(deviations_file(locked.path).name, locked.digest), locked, where)
    for commit, cells in made.items():
        _check_scoring(commit, locked, f"the rows of {len(cells)} runs", findings)
    findings.checked(f"{rows} rows of {len(wanted)} outputs name this lock, or none where a base was asked")


def _sealed(store: ArtifactStore) -> dict[tuple[str, str, str], list[dict[str, Any]]]:
    """Step, output and digest of every sealed evaluation → what ran."""
    found: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for manifest in store.manifests("evaluate", most=1_000_000, needs=("cell", "provenance")):
        for name, output in manifest["outputs"].items():
            place = (f"evaluate/{manifest['cell']}", name, output["digest"])
            found.setdefault(place, []).append(manifest["provenance"])
    return found


def _check_locks(data: bytes, lock: str | None, where: str) -> int:
    lines = data.splitlines()
    for number, line in enumerate(lines, start=1):
        row = parse_json(line, f"{where}:{number}")
        if not isinstance(row, dict) or (found := row.get("lock")) != lock:
            found = found if isinstance(row, dict) else type(row).__name__
            raise InputError("a row of another lock", where=f"{where}:{number}", value=str(found), allowed=str(lock))
    return len(lines)


def _check_scoring(commit: str, locked: Locked, what: str, findings: Findings) -> None:
    """Whether rows were scored after the lock, and by the code that it names. Raises: InputError naming a file."""
    plain, dirty = commit_and_dirty(commit)
    _check_commit(plain, dirty, locked, what, findings)
    if plain is None or dirty or not locked.lock.registered:
        return
    if differs := differing(locked.repository.code(plain), locked.lock.code.files):
        value, allowed = f"{len(differs)} files differ, first {differs[0]}", f"the code of {locked.lock.commit}"
        raise InputError("scored with other code than locked", where=f"commit {plain}", value=value, allowed=allowed)
    findings.checked(f"{what} were scored by the locked code: {', '.join(CODE)} at {plain[:12]}")
