"""What was done otherwise than locked, as a chain: each row names the digest of all rows before it."""

import hashlib
from pathlib import Path

from common.digests import sha256
from common.errors import InputError
from common.records import Deviation
from common.serialization import parse_row


def deviations_file(lock: Path) -> Path:
    """Where deviations from a lock are written down: beside it."""
    return lock.with_name(f"{lock.stem}.deviations.jsonl")


def parse_chain(data: bytes, where: str) -> list[Deviation]:
    """Parse deviations from a lock. Raises: InputError if a row was altered, taken out or put in between."""
    rows, passed = [], b""
    for number, line in enumerate(data.splitlines(keepends=True), start=1):
        row = parse_row(line, Deviation, f"{where}:{number}")
        expected = hashlib.sha256(passed).hexdigest() if passed else row.lock
        if row.before != expected:
            raise InputError("deviations were altered", where=f"{where}:{number}", value=row.before, allowed=expected)
        rows.append(row)
        passed += line
    return rows


def heads(data: bytes, lock: str) -> list[str]:
    """The head of the chain before its first row and after each: the lock's SHA-256, then that of the rows so far.

    Each row names the head before it. Whoever wrote a head down knows which rows there were.
    """
    found, passed = [lock], b""
    for line in data.splitlines(keepends=True):
        passed += line
        found.append(sha256(passed))
    return found
