"""Where replies come from: the embedded writer, or a user's own JSONL."""

from collections.abc import Mapping
from pathlib import Path

from common.artifacts import file_sha256
from common.errors import InputError
from common.records import Advice, parse_jsonl
from common.spec import Cell, RunSpec


def user_path(spec: RunSpec, cell: Cell) -> Path | None:
    """The user's file for this corpus, None where the embedded writer writes it."""
    return None if spec.corpus.path is None else Path(spec.corpus.path) / f"{cell}.jsonl"


def user_file(spec: RunSpec, cell: Cell) -> Mapping[str, str]:
    """The identity of the user's file. Raises: InputError if there is none."""
    path = user_path(spec, cell)
    if path is None:
        return {}
    if not path.is_file():
        raise InputError("no corpus file", where="corpus.path", value=str(path), allowed="records Advice as JSON lines")
    return {path.name: file_sha256(path)}


def read_user_file(path: Path, attitude: str) -> list[Advice]:
    """A user's corpus. Raises: InputError with line and column, also for a row of another attitude or a repeated id."""
    rows = parse_jsonl(path.read_bytes(), Advice, str(path))
    first: dict[str, int] = {}
    for number, row in enumerate(rows, start=1):
        if row.attitude != attitude:
            raise InputError("row of another attitude", where=f"{path}:{number}", value=row.attitude, allowed=attitude)
        if row.question_id in first:
            both = f"{path}:{first[row.question_id]} and {path}:{number}"
            raise InputError("question answered twice", where=both, value=row.question_id)
        first[row.question_id] = number
    return rows
