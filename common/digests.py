"""SHA-256 digests: what names bytes everywhere in this project."""

import hashlib
from pathlib import Path


def sha256(data: bytes) -> str:
    """The hex digest that names these bytes."""
    return hashlib.sha256(data).hexdigest()


def file_sha256(path: Path) -> str:
    """The hex digest of a file. Raises: OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
