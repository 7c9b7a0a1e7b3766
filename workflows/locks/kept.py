"""A lock that is kept: what it fixes, and whether it and its deviations are as they were when they were committed."""

from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, model_validator

from common.deviations import deviations_file, heads, parse_chain
from common.digests import file_sha256, sha256
from common.errors import InputError
from common.serialization import canonical_json, parse_row
from common.store.names import inside
from workflows.locks.repository import Repository, State, known

FIRST = 1  # locks of this kind held analysis/ alone; some were renamed before names were kept


class Code(BaseModel):
    """Files of code by path, and the digest of them all."""

    sha256: str
    files: dict[str, str]


class Kept(BaseModel):
    """What is checked of a lock of any kind, also one that this code would no longer write."""

    model_config = ConfigDict(frozen=True)

    schema_version: int
    commit: str  # without the + of files that differed
    items: dict[str, str]
    code: Code
    corpora: dict[str, str] = {}
    plan: dict[str, Any] = {}
    earlier: dict[str, str] = {}

    @model_validator(mode="before")
    @classmethod
    def _of_the_first_kind(cls, value: Any) -> Any:
        return value | {"code": value["analysis"]} if isinstance(value, dict) and "analysis" in value else value

    @classmethod
    def read(cls, path: Path) -> Self:
        """A lock from its file. Raises: InputError naming the field, OSError."""
        try:
            found = parse_row(path.read_bytes(), cls, str(path))
        except InputError as error:
            raise InputError("not a lock", where=str(path), value=str(error)) from error
        return found.model_copy(update={"commit": known(found.commit.removesuffix("+"), f"{path}:commit")})

    def named(self) -> dict[str, str]:
        """Every file that the lock names, by path in the repository → SHA-256."""
        folder = "analysis/" if self.schema_version == FIRST else ""
        return self.items | {f"{folder}{name}": digest for name, digest in self.code.files.items()}

    @property
    def registered(self) -> bool:
        """Whether nothing tuned may be scored with other code than locked."""
        settings = self.plan.get("lock", {})
        return self.schema_version != FIRST and bool(not isinstance(settings, dict) or settings.get("clean", True))


def deviations_so_far(path: Path) -> bytes:
    """All deviations from a lock, as they stand. Raises: InputError if one was altered, OSError."""
    file = deviations_file(path)
    data = file.read_bytes() if file.exists() else b""
    parse_chain(data, str(file))
    return data


def check_files(lock: Kept, repository: Repository) -> int:
    """Compare every file that a lock names with its commit; return how many. Raises: InputError naming one."""
    named = lock.named()
    for name, data in repository.files(lock.commit, named).items():
        if (found := sha256(data)) != named[name]:
            raise InputError(
                "not what was locked", where=f"{name} at {lock.commit[:12]}", value=found, allowed=named[name]
            )
    if (whole := sha256(canonical_json(lock.code.files))) != lock.code.sha256:
        raise InputError("not what was locked", where="digest of the code", value=whole, allowed=lock.code.sha256)
    return len(named)


def check_earlier(lock: Kept, path: Path, repository: Repository) -> int:
    """Look for the locks that this one names, and for every other one that a commit ever held beside it.

    Returns how many are there. Raises: InputError naming one that is gone or altered.
    """
    for name, digest in lock.earlier.items():
        before = inside(path.parent, f"{name}.json")
        if (found := file_sha256(before) if before.is_file() else "none") != digest:
            raise InputError("an earlier lock is gone or altered", where=str(before), value=found, allowed=digest)
    there = {file_sha256(other) for other in path.parent.glob("*.json")}
    others = [name for name in repository.ever(path.parent, "*.json") if name != repository.name(path)]
    states = [(name, state) for name in others for state in repository.states(name) if _is_lock(state.data)]
    for name, state in states:
        if (digest := sha256(state.data)) not in there:
            where = f"{name}, committed in {state.commit[:12]}"
            raise InputError("a lock is gone or altered", where=where, allowed=f"SHA-256 {digest}, under any name")
    return len({sha256(state.data) for _, state in states} - {file_sha256(path)})


def _is_lock(data: bytes) -> bool:
    try:
        parse_row(data, Kept, "")
    except InputError:
        return False
    return True


def committed_first(lock: Kept, path: Path, repository: Repository) -> str | None:
    """The commit that brought this lock, None if no commit holds it yet.

    Raises: InputError if the file was ever another one, naming the commit that changed it, or if the lock's own commit
    did not come before. A lock of the first kind may have its name from another, which is kept under a new name.
    """
    digest, name = file_sha256(path), repository.name(path)
    states = repository.states(name)
    if lock.schema_version == FIRST:
        others = {file_sha256(other) for other in path.parent.glob("*.json") if other != path}
        states = [state for state in states if sha256(state.data) == digest or sha256(state.data) not in others]
    if not states:
        return None
    first = sha256(states[0].data)
    for state in states[1:]:
        if (found := sha256(state.data)) != first:
            where = f"{name} in commit {state.commit[:12]}"
            raise InputError("the lock was rewritten", where=where, value=found, allowed=f"{first}, as first committed")
    if digest != first:
        raise InputError("the lock was rewritten", where=f"{name}, not committed", value=digest, allowed=first)
    if not repository.descends(states[0].commit, lock.commit):
        where = f"{name}:commit"
        raise InputError("a lock of later code", where=where, value=lock.commit, allowed=f"before {states[0].commit}")
    return states[0].commit


def check_deviations(path: Path, repository: Repository) -> list[str]:
    """Every head of the deviations from a lock, the lock's own digest first.

    Raises: InputError if rows that a commit holds are gone or altered, naming the commit; OSError.
    """
    name = repository.name(deviations_file(path))
    data, digest = deviations_so_far(path), file_sha256(path)
    for state in repository.states(name):
        if not _rows_now(path, state, name, digest, data).startswith(state.data):
            where = f"{name}, committed in {state.commit[:12]}"
            value = f"{len(data.splitlines())} rows"
            allowed = f"the {len(state.data.splitlines())} of that commit, and others after them"
            raise InputError("deviations are gone or altered", where=where, value=value, allowed=allowed)
    return heads(data, digest)


def _rows_now(path: Path, state: State, name: str, digest: str, data: bytes) -> bytes:
    """The present rows of the lock that the rows of a state name: this one, or another that had its name before."""
    rows = parse_chain(state.data, f"{name} in commit {state.commit[:12]}")
    if not rows or rows[0].lock == digest:
        return data
    other = next((each for each in path.parent.glob("*.json") if file_sha256(each) == rows[0].lock), path)
    return deviations_so_far(other)
