"""JSON as this project writes and reads it: canonical, strict, one object a line. Errors name file, line and column."""

import json
import math
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from common.errors import InputError

MAX_LINE_BYTES = 1 << 20
DEEPEST = 200  # values within values; a reader that calls itself would fail on more
BOM = b"\xef\xbb\xbf"


R = TypeVar("R", bound=BaseModel)


def to_jsonl(rows: Iterable[BaseModel]) -> bytes:
    """Return the rows as UTF-8 JSON lines."""
    return b"".join(row.model_dump_json().encode() + b"\n" for row in rows)


def parse_jsonl(data: bytes, kind: type[R], where: str) -> list[R]:
    """Parse JSON lines into records of one kind.

    Only LF separates rows (U+2028 does not); CRLF is accepted; a UTF-8 BOM is accepted.
    Raises: InputError naming `where`, line and column, when any line is not exactly one record, or none is there.
    """
    return [row for _, row in numbered_rows(data, kind, where)]


def numbered_rows(data: bytes, kind: type[R], where: str) -> list[tuple[int, R]]:
    """As `parse_jsonl`, each record with the number of its line, from 1: blank lines count, and are no rows."""
    rows = [
        (number, parse_row(line, kind, f"{where}:{number}"))
        for number, line in enumerate(data.removeprefix(BOM).split(b"\n"), start=1)
        if line.strip()
    ]
    if not rows:
        raise InputError("no rows", where=where, value=f"{len(data)} bytes", allowed=f"at least one {kind.__name__}")
    return rows


def read_jsonl(path: Path, kind: type[R]) -> list[R]:
    """The records in a file. Raises: InputError as `parse_jsonl`; OSError."""
    return parse_jsonl(path.read_bytes(), kind, path.name)


def parse_row(line: bytes, kind: type[R], where: str) -> R:
    """Parse one line into a record. Raises: InputError naming `where` and the field."""
    if len(line) > MAX_LINE_BYTES:
        raise InputError("row too long", where=where, value=f"{len(line)} bytes", allowed=f"{MAX_LINE_BYTES} bytes")
    value = parse_json(line, where)
    try:
        # Rows are strict Python values, but JSON has no tuples: validate in JSON mode.
        return kind.model_validate_json(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    except ValidationError as error:
        first = error.errors()[0]
        pointer = "/" + "/".join(map(str, first["loc"]))
        raise InputError(f"row is no {kind.__name__}", where=f"{where}:{pointer}", value=first["msg"]) from None


def parse_json(data: bytes, where: str) -> Any:
    """Parse one JSON value, refusing duplicate keys, NaN, Infinity, numbers too large, and what is nested too deeply.

    A UTF-8 BOM is accepted. Raises: InputError naming `where` and the column.
    """
    data = data.removeprefix(BOM)
    try:
        return strict_json(data)
    except UnicodeDecodeError as error:
        raise InputError(
            "not UTF-8", where=f"{where}:{error.start + 1}", value=f"byte 0x{data[error.start]:02x}"
        ) from None
    except json.JSONDecodeError as error:
        line = f"{error.lineno}:" if b"\n" in data else ""
        raise InputError("malformed JSON", where=f"{where}:{line}{error.colno}", value=error.msg) from None
    except (ValueError, RecursionError) as error:
        raise InputError("malformed JSON", where=where, value=str(error)) from None


def strict_json(data: bytes) -> Any:
    """As `parse_json`, for callers that count what is wrong. Raises: ValueError, RecursionError."""
    text = data.decode("utf-8")
    value = json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_refuse_constant, parse_float=_finite)
    if text.count("[") + text.count("{") > DEEPEST and _too_deep(value):
        raise ValueError(f"nested too deeply; allowed: {DEEPEST} levels")
    return value


def _too_deep(value: Any) -> bool:
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(DEEPEST + 1):
        inner = (held.values() if isinstance(held, dict) else held for held in level)
        level = [each for held in inner for each in held if isinstance(each, dict | list)]
        if not level:
            return False
    return True


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        counts = Counter(name for name, _ in pairs)
        raise ValueError(f"duplicate key {next(name for name in counts if counts[name] > 1)!r}")
    return made


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    if math.isinf(found := float(text)):
        raise ValueError(f"{text[:20]} is too large a number")
    return found


def canonical_json(value: Any) -> bytes:
    """The one byte string for a JSON value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
