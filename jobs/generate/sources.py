"""A user's own replies as JSONL, and what names everything that comes from outside."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from common.cells import Cell
from common.digests import file_sha256, sha256
from common.errors import InputError
from common.lm.sources import identities
from common.pipeline.job import Fact
from common.records import Advice
from common.serialization import numbered_rows
from common.spec import RunSpec
from common.vocabulary import WRITTEN

FEWEST = 2  # rows of a pile: of one, no spread can be told
_named: dict[Path, str] = {}  # a user's file → its digest in the key of this step


def written(attitudes: Sequence[str]) -> tuple[str, ...]:
    """Those whose replies a writer makes, in a fixed order."""
    return tuple(attitude for attitude in WRITTEN if attitude in attitudes)


def digests_of(spec: RunSpec, cell: Cell) -> Mapping[str, str]:
    """The digests of a user's files. Raises: InputError if one is missing."""
    paths = user_files(spec, cell)
    for path in paths.values():
        if not path.is_file():
            allowed = "records Advice as JSON lines"
            raise InputError("no corpus file", where="corpus.path", value=str(path), allowed=allowed)
    found = {path: file_sha256(path) for path in paths.values()}
    _named.update(found)
    return {path.name: digest for path, digest in found.items()}


def user_files(spec: RunSpec, cell: Cell) -> dict[str, Path]:
    """The user's file for each written arm of a draw; none where a writer of ours writes them."""
    if spec.corpus.path is None:
        return {}
    return {attitude: Path(spec.corpus.path) / f"d{cell.draw}.{attitude}.jsonl" for attitude in written(spec.attitudes)}


USER_FILES = Fact("user files", user_files, digests_of)
STUDENTS = Fact(  # in whose tokens the lengths of written replies are matched
    "students",
    lambda spec, _cell: spec.models,
    lambda spec, cell: {} if user_files(spec, cell) else identities(spec, cell),
)


def read_user_files(paths: Mapping[str, Path]) -> dict[str, list[Advice]]:
    """A user's arms.

    Raises: InputError naming file and line, also for arms that answer different questions, and for a file that is not
    the one that the key of the step names.
    """
    arms = {attitude: _read(path, attitude) for attitude, path in paths.items()}
    (first, rows), *others = arms.items()
    for attitude, mine in others:
        if differs := sorted({row.question_id for row in rows} ^ {row.question_id for row in mine}):
            where = f"{paths[first]} and {paths[attitude]}"
            value = f"{len(differs)} only in one of them, first {differs[0]}"
            raise InputError("arms answer different questions", where=where, value=value)
    return {attitude: _in_order_of(rows, mine) for attitude, mine in arms.items()}


def _in_order_of(first: Sequence[Advice], mine: Sequence[Advice]) -> list[Advice]:
    place = {row.question_id: index for index, row in enumerate(first)}
    return sorted(mine, key=lambda row: place[row.question_id])


def _read(path: Path, attitude: str) -> list[Advice]:
    data = path.read_bytes()
    if (found := sha256(data)) != (before := _named.get(path, found)):
        raise InputError("file changed while the job ran", where=str(path), value=found, allowed=before)
    rows = numbered_rows(data, Advice, str(path))
    first: dict[str, int] = {}
    for number, row in rows:
        if row.attitude != attitude:
            raise InputError("row of another attitude", where=f"{path}:{number}", value=row.attitude, allowed=attitude)
        if row.question_id in first:
            both = f"{path}:{first[row.question_id]} and {path}:{number}"
            raise InputError("question answered twice", where=both, value=row.question_id)
        first[row.question_id] = number
    if len(rows) < FEWEST:
        raise InputError("too few rows", where=str(path), value=len(rows), allowed=f">= {FEWEST} questions")
    return [row for _, row in rows]
