"""The rows of a chat file, one at a time, whatever bytes it holds. Only a Parquet file is read by row groups.

JSON lines; an array of JSON values; JSON objects one after another, over several lines each; Parquet; each in gzip or
not. Which of them it is, its first bytes tell, not its name.
Does not see: a Parquet file that is made to harm the library that reads it.
"""

import gzip
import io
import itertools
import json
import re
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from typing import IO, Any, NamedTuple, TypeAlias

from common.errors import broken_file, disk_full
from common.lm.sources import POINTER
from common.serialization import BOM, strict_json
from jobs.audit.chats.left_out import Reason

LIMIT = 16 << 20  # bytes of a row
PARQUET_RATIO = 100  # Parquet is packed by itself: what gzip makes more of is made to fill the disk
SMALL = 1 << 20  # and so many bytes fill none
CHUNK = 1 << 20
TOKEN = re.compile(rb"\\.|[\"{}\[\]\\]", re.DOTALL)
BETWEEN = b" \t\r\n,]}"  # what may stand between two values, and behind the last
STRAY = b"?"  # no JSON
STARTS = {  # of files that hold no rows that can be read
    POINTER: Reason.POINTER,
    b"\xff\xfe": Reason.NOT_UTF8,
    b"\xfe\xff": Reason.NOT_UTF8,
    b"\0\0\xfe\xff": Reason.NOT_UTF8,
    b"PK\x03\x04": Reason.PACKED,
    b"\x28\xb5\x2f\xfd": Reason.PACKED,
    b"BZh": Reason.PACKED,
    b"\xfd7zXZ": Reason.PACKED,
}
Bytes: TypeAlias = "io.BufferedReader[Any] | gzip.GzipFile"


class Row(NamedTuple):
    """A row of a file, or why there is none."""

    number: int  # from 1; of JSON lines, the line
    value: Any = None
    fault: Reason | None = None
    detail: str = ""


class Unreadable(Exception):
    """A file, or the rest of it, cannot be read."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(reason.words)
        self.reason, self.detail = reason, detail


def rows(file: "io.BufferedReader[Any]") -> Iterator[Row]:
    """The rows of a file that can seek. Raises: Unreadable; JobError of a store."""
    try:
        if _begins(file, b"\x1f\x8b"):
            size = file.seek(0, io.SEEK_END)
            file.seek(0)
            with gzip.GzipFile(fileobj=file) as unpacked:  # buffered by itself: little is lost where it is cut off
                yield from _unpacked_rows(unpacked, size)
        else:
            yield from _unpacked_rows(file)
    except (OSError, EOFError, zlib.error) as error:
        if disk_full(error):
            raise
        raise Unreadable(Reason.BROKEN, str(error)) from error


def _unpacked_rows(file: Bytes, packed: int | None = None) -> Iterator[Row]:
    """packed: bytes of the gzip that the file is out of."""
    for start, reason in STARTS.items():
        if _begins(file, start):
            raise Unreadable(reason)
    if file.peek(512)[257:262] == b"ustar":
        raise Unreadable(Reason.PACKED)
    if _begins(file, b"PAR1"):
        return _parquet(file) if packed is None else _seekable(file, max(SMALL, PARQUET_RATIO * packed))
    return _json(file)


def _begins(file: Bytes, start: bytes) -> bool:
    return file.peek(len(start)).startswith(start)


def _seekable(file: Bytes, most: int) -> Iterator[Row]:
    """Parquet is read from its end: out of gzip, that takes a file of its own, of so many bytes at most."""
    with tempfile.TemporaryFile() as copy:
        while chunk := file.read(CHUNK):
            if copy.tell() + len(chunk) > most:
                raise Unreadable(Reason.BOMB, f"more than {most} bytes")
            copy.write(chunk)
        copy.seek(0)
        yield from _parquet(copy)


def _parquet(file: Bytes | IO[bytes]) -> Iterator[Row]:
    try:
        from pyarrow import parquet
    except ImportError:
        raise Unreadable(Reason.NO_PYARROW) from None
    number = itertools.count(1)
    try:
        for batch in parquet.ParquetFile(file).iter_batches(batch_size=256):
            yield from (Row(next(number), value) for value in batch.to_pylist())
    except Exception as error:  # pyarrow has errors of many kinds
        if not broken_file(error):
            raise
        raise Unreadable(Reason.BROKEN, str(error)) from error


def _json(file: Bytes) -> Iterator[Row]:
    """Rows of JSON, in the way that the first line with anything in it tells."""
    skipped, first = 0, file.readline(LIMIT + 1).removeprefix(BOM)
    while first and not first.strip():
        skipped, first = skipped + first.endswith(b"\n"), file.readline(LIMIT + 1)
    text = first.strip()
    if text.startswith(b"[") and not _is_conversation(text):
        inside = first[first.index(b"[") + 1 :]
        return _values(itertools.chain([inside], iter(lambda: file.read1(CHUNK), b"")))
    if text.startswith(b"{") and text.endswith((b"{", b"[", b",")):  # an object that goes on below
        return _values(itertools.chain([first], iter(lambda: file.read1(CHUNK), b"")))
    return _lines(file, first, skipped)


def _is_conversation(line: bytes) -> bool:
    """Whether a line is a list of messages: then each line is a row, and the file no array of rows."""
    if len(line) > LIMIT or not line.endswith(b"]"):
        return False
    found = _parsed(0, line).value
    return isinstance(found, list) and bool(found) and all(isinstance(each, dict) and _speaks(each) for each in found)


def _speaks(message: dict[str, Any]) -> bool:
    return bool({"role", "from"} & message.keys()) and bool({"content", "value"} & message.keys())


def _lines(file: Bytes, line: bytes, skipped: int) -> Iterator[Row]:
    """A row a line, of which `line` is the first. What is longer than LIMIT is read past."""
    number = skipped
    while line:
        number += 1
        if len(line) > LIMIT:
            yield Row(number, fault=Reason.TOO_LONG)
            while line and not line.endswith(b"\n"):
                line = file.readline(LIMIT)
        elif line.strip():
            yield _parsed(number, line)
        line = file.readline(LIMIT + 1)


def _values(chunks: Iterable[bytes]) -> Iterator[Row]:
    """A row a value. Raises: Unreadable where the last of them does not end."""
    cut = Splitter()
    found = itertools.chain.from_iterable(map(cut.feed, chunks))
    for number, value in enumerate(found, start=1):
        yield Row(number, fault=Reason.TOO_LONG) if value is None else _parsed(number, value)
    if cut.open:
        raise Unreadable(Reason.BROKEN, "its last value does not end")


class Splitter:
    """Finds where each object or list ends that stands beside others. Keeps no more than LIMIT of one."""

    def __init__(self) -> None:
        self._held = bytearray()  # of the value that is open
        self._depth, self._quoted, self._escaped = 0, False, False
        self._long, self._stray = False, False

    @property
    def open(self) -> bool:
        """Whether a value has begun and not ended."""
        return self._depth > 0

    def feed(self, chunk: bytes) -> Iterator[bytes | None]:
        """The values that end in this chunk; None for one longer than LIMIT. What is no value comes as STRAY."""
        start = after = 0  # of the value that is open; behind the last one
        begin, self._escaped = int(self._escaped), False
        for token in TOKEN.finditer(chunk, begin):
            what = token[0]
            if what == b"\\":  # the last byte of a chunk: what it escapes comes next
                self._escaped = True
            elif what == b'"':
                self._quoted = self.open and not self._quoted
            elif self._quoted or len(what) == 2:
                continue
            elif what in b"{[":
                if not self.open:
                    start = token.start()
                    yield from self._between(chunk[after:start])
                self._depth += 1
            elif self.open:
                self._depth -= 1
                if not self.open:
                    after = token.end()
                    yield self._ended(chunk[start:after])
        if self.open:
            self._hold(chunk[start:])
        else:
            self._stray = self._stray or bool(chunk[after:].strip(BETWEEN))

    def _between(self, text: bytes) -> Iterator[bytes]:
        if self._stray or text.strip(BETWEEN):
            yield STRAY
        self._stray = False

    def _hold(self, part: bytes) -> None:
        self._long = self._long or len(self._held) + len(part) > LIMIT
        if self._long:
            self._held.clear()
        else:
            self._held += part

    def _ended(self, part: bytes) -> bytes | None:
        self._hold(part)
        value = None if self._long else bytes(self._held)
        self._held.clear()
        self._long = False
        return value


def _parsed(number: int, data: bytes) -> Row:
    try:
        return Row(number, strict_json(data.strip().removeprefix(BOM)))
    except RecursionError:
        return Row(number, fault=Reason.MALFORMED, detail="nested too deeply")
    except json.JSONDecodeError as error:
        return Row(number, fault=Reason.MALFORMED, detail=f"column {error.colno}: {error.msg}")
    except ValueError as error:
        return Row(number, fault=Reason.MALFORMED, detail=str(error))
