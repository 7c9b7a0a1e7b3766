"""Rows as they are published beside a report and kept in a repository: gzipped, the same bytes each time."""

import gzip
import io
import zlib
from pathlib import Path

from common.errors import InputError

MOST_BYTES = 20_000_000  # of a study: what a repository can carry
MOST_UNPACKED = 10 * MOST_BYTES  # of one file: a few bytes can be made to unpack to any number
CHUNK = 1 << 20


def packed(data: bytes) -> bytes:
    """Bytes as they are published. Raises: InputError if they are more than would be unpacked again."""
    if len(data) > MOST_UNPACKED:
        raise InputError("too large to be published", value=f"{len(data)} bytes", allowed=f"{MOST_UNPACKED} bytes")
    return gzip.compress(data, 9, mtime=0)


def unpacked(path: Path) -> bytes:
    """What was published in a file. Raises: InputError if it is gone, or as `unzipped`."""
    try:
        return unzipped(path.read_bytes(), str(path))
    except FileNotFoundError as error:
        raise InputError("a published file is gone", where=str(path)) from error


def unzipped(data: bytes, where: str) -> bytes:
    """What is in gzip. Raises: InputError if it is damaged, or more than any file that was published."""
    found = bytearray()
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            while (chunk := file.read(CHUNK)) and len(found) <= MOST_UNPACKED:
                found += chunk
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError("a published file is damaged", where=where, value=str(error)) from error
    if len(found) > MOST_UNPACKED:
        value, allowed = f"{len(data)} bytes, of which it makes more", f"{MOST_UNPACKED} bytes"
        raise InputError("a published file unpacks to too much", where=where, value=value, allowed=allowed)
    return bytes(found)
