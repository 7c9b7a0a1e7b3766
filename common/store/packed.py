"""Rows as they are published beside a report and kept in a repository: gzipped, the same bytes each time."""

import gzip
import zlib
from pathlib import Path

from common.errors import InputError

MOST_BYTES = 20_000_000  # of a study: what a repository can carry


def packed(data: bytes) -> bytes:
    """Bytes as they are published."""
    return gzip.compress(data, 9, mtime=0)


def unpacked(path: Path) -> bytes:
    """What was published in a file. Raises: InputError if it is gone or damaged."""
    try:
        return gzip.decompress(path.read_bytes())
    except FileNotFoundError as error:
        raise InputError("a published file is gone", where=str(path)) from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError("a published file is damaged", where=str(path), value=str(error)) from error
