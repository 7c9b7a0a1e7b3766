"""Check a lock, and what was made under it, as a stranger would."""

from pathlib import Path

from common.digests import file_sha256
from common.errors import SpecError
from common.store.sealed import open_store
from workflows.locks import again, kept
from workflows.locks.findings import Findings
from workflows.locks.made import Locked, Results, check_results, check_rows
from workflows.locks.repository import Repository


def verify(path: Path, results: Path | None = None, store: str | None = None) -> str:
    """Check a lock; with results, what they say of themselves; with a store, the rows and every number too.

    Returns what was checked, line by line, and what was not. Raises: InputError naming what does not hold, SpecError,
    OSError.
    """
    if store is not None and results is None:
        allowed = "--results FILE, whose rows and numbers are looked for in it"
        raise SpecError("a store without results", where="--store", value=store, allowed=allowed)
    findings = Findings()
    locked = _locked(path, findings)
    if results is not None:
        made = Results.read(results)
        check_results(made, locked, findings)
        if store is not None:
            check_rows(made, locked, open_store(store), findings)
    again.check_piles(locked, findings)
    if results is None:
        findings.unchecked("rows and numbers", "no --results")
    elif store is None:
        findings.unchecked("rows, and numbers against rows", "no --store")
    else:
        again.check_numbers(made, locked, open_store(store), findings)
    return f"SHA-256 {locked.digest}: {path}\n{findings}"


def _locked(path: Path, findings: Findings) -> Locked:
    """The lock itself, its files, its history and its deviations."""
    lock, repository = kept.Kept.read(path), Repository(path.resolve().parent)
    many = kept.check_files(lock, repository)
    findings.checked(f"{many} files are as locked at commit {lock.commit}")
    added = kept.committed_first(lock, path, repository)
    if added is None:
        findings.unchecked("that the lock was not rewritten", "no commit holds it yet")
    else:
        findings.checked(f"the lock is as commit {added[:12]} brought it")
    many = kept.check_earlier(lock, path, repository)
    findings.checked(
        f"the {len(lock.earlier)} earlier locks that it names, and {many} ever committed beside it, are there"
    )
    heads = kept.check_deviations(path, repository)
    findings.checked(f"{len(heads) - 1} deviations, and all that were ever committed are among them")
    return Locked(path, lock, file_sha256(path), added, heads, repository)
