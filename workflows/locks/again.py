"""What can be made again: piles by the writer that ships with the code, and numbers from sealed rows.

Each is made by the job itself, as it stands at the commit in question, over a store of its own.
"""

import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.errors import SEALED, InputError
from common.serialization import canonical_json, parse_json
from common.store.manifests import digest_of
from common.store.sealed import ArtifactStore, open_store
from workflows.locks.findings import Findings
from workflows.locks.made import Locked, Numbers, Results

CLOSE = 1e-9  # processors round otherwise in the last digits; relative to the value


def check_piles(locked: Locked, findings: Findings) -> None:
    """Write the piles again that need no model and no server. Raises: InputError naming one that is another."""
    corpora = locked.lock.corpora
    draws = [name for name in corpora if name.startswith("generate/")]
    if others := len(corpora) - len(draws):
        findings.unchecked(f"{others} piles of a model's own replies by writing them again", "that takes the model")
    if why := _not_again(locked):
        findings.unchecked(f"{len(draws)} piles by writing them again", why)
        return
    with locked.repository.checked_out(locked.lock.commit) as code, tempfile.TemporaryDirectory() as store:
        for name in draws:
            try:
                found = _run(code, "generate", name.partition("/")[2], locked, Path(store))
            except InputError as error:
                findings.unchecked(f"{len(draws)} piles by writing them again", str(error))
                return
            if (digest := digest_of(found, "advice.jsonl", name)) != corpora[name]:
                raise InputError("not the pile that is locked", where=name, value=digest, allowed=corpora[name])
    findings.checked(f"{len(draws)} piles are what the locked code writes")


def _not_again(locked: Locked) -> str:
    """Why the draws cannot be written again, empty if they can."""
    settings = locked.lock.plan.get("corpus", {})
    if not locked.lock.registered:
        return "the lock does not fix all code"
    return "their writer is no part of the code" if settings.get("path") or settings.get("server") else ""


def check_numbers(results: Results, locked: Locked, store: ArtifactStore, findings: Findings) -> None:
    """Make the numbers again from sealed rows, by the code that made them.

    Raises: InputError naming one that differs, or if they cannot be made.
    """
    if results.made is None or results.made.commit is None:
        findings.unchecked("the numbers", "the results do not say which code made them")
        return
    with locked.repository.checked_out(results.made.commit) as code, tempfile.TemporaryDirectory() as folder:
        _copy(store, open_store(folder))
        sealed = _run(code, "report", "study", locked, Path(folder))
        data = open_store(folder).get(digest_of(sealed, "results.json", "report/study"))
    again = parse_json(data, "results.json made again")["numbers"]
    refuse_differences(results, again, "not what the sealed rows give")
    findings.checked(f"{len(again)} numbers, made again from sealed rows by the code of {results.made.commit[:12]}")


def refuse_differences(results: Results, again: Numbers, what: str) -> None:
    """Compare numbers with those that were made again. Raises: InputError that says what, and names the first."""
    if differing := differences(results.numbers, again):
        first, (said, found) = next(iter(differing.items()))
        where = f"{results.path}: {first}" + (f" and {len(differing) - 1} more" if len(differing) > 1 else "")
        raise InputError(what, where=where, value=said, allowed=found)


def differences(said: Numbers, found: Numbers) -> dict[str, tuple[str, str]]:
    """Names of numbers that are not the same → what is said and what was found."""
    differing = {name for name in said.keys() | found.keys() if not _same(said.get(name), found.get(name))}
    return {name: (_bare(said.get(name)), _bare(found.get(name))) for name in sorted(differing)}


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=CLOSE, abs_tol=CLOSE**2)
    return type(one) is type(other) and bool(one == other)


def _bare(number: Mapping[str, Any] | None) -> str:
    """A number without its sources, unless it has nothing else."""
    if number is None:
        return "no such number"
    return canonical_json({key: value for key, value in number.items() if key != "source"}).decode()


def _copy(store: ArtifactStore, into: ArtifactStore) -> None:
    """Sealed steps with their rows and documents, but no report: that is made again. Whoever reads checks the bytes."""
    for job, key in store.steps():
        if job != "report" and (manifest := store.manifest(job, key)) is not None:
            into.seal(job, key, manifest)
            for output, entry in manifest["outputs"].items():
                blob = f"blobs/sha256/{entry['digest'][:2]}/{entry['digest']}"
                if output.endswith((".json", ".jsonl")) and (kept := store.objects.get(blob)) is not None:
                    into.objects.put(blob, kept, once=True)


def _run(code: Path, job: str, cell: str, locked: Locked, store: Path) -> dict[str, Any]:
    """Run a job of a commit on a cell of the locked plan; return its manifest. Raises: InputError if it fails."""
    plan = canonical_json(locked.lock.plan).decode()
    command = [sys.executable, "-m", f"jobs.{job}", "--spec", plan, "--cell", cell, "--store", str(store)]
    environment = {**os.environ, "UNDERTONE_OUTPUTS": str(store / "outputs")}
    made = subprocess.run(command, cwd=code, env=environment, capture_output=True, text=True, check=False)
    if made.returncode not in SEALED:
        said = made.stderr.strip().splitlines()[-1:]
        raise InputError("cannot be made again", where=f"{job}/{cell}", value=" ".join(said))
    key = parse_json(made.stdout.encode(), f"{job}/{cell}")["key"]
    manifest = open_store(str(store)).manifest(job, key)
    if manifest is None:
        raise InputError("cannot be made again", where=f"{job}/{cell}", value="it sealed nothing")
    return manifest
