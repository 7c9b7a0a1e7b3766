"""SHA-256 digests: what names bytes everywhere in this project."""

import hashlib
import os
import time
from pathlib import Path


def sha256(data: bytes) -> str:
    """The hex digest that names these bytes."""
    return hashlib.sha256(data).hexdigest()


SETTLED = 2.0  # seconds after which a file system tells a second change of a file from the first
_remembered: dict[tuple[int, ...], str] = {}  # what a file was found to be, by all that a change of it would change


def file_sha256(path: Path) -> str:
    """The hex digest of a file. Raises: OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_sha256_once(path: Path) -> str:
    """As `file_sha256`, but a file that is as it was is read once a process: weights are read for seconds.

    The kernel tells every change by ctime, which nobody can set back. Raises: OSError.
    """
    with path.open("rb") as file:
        before = os.fstat(file.fileno())
        if (known := _remembered.get(_state(before))) is not None:
            return known
        found = hashlib.file_digest(file, "sha256").hexdigest()
        settled = time.time() - before.st_ctime > SETTLED
        if settled and _state(os.fstat(file.fileno())) == _state(before):
            _remembered[_state(before)] = found
    return found


def _state(stat: os.stat_result) -> tuple[int, ...]:
    return (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
