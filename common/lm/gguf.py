"""The head of a GGUF file, walked before a library reads it: that one believes every count. No torch.

Source: the format, github.com/ggml-org/ggml/blob/master/docs/gguf.md: magic, version, two counts, settings, tensors.
"""

import math
import mmap
import struct
from pathlib import Path

from common.errors import InputError

MAGIC, VERSIONS = b"GGUF", (2, 3)
NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}  # by kind
TEXT, ARRAY = 8, 9
SHORTEST_TEXT = 8  # bytes: its length
SHORTEST_TENSOR = 24  # bytes: length of the name, number of dimensions, kind, offset
MOST_DIMENSIONS = 4
VALUES_PER_BYTE = 8  # of a tensor; the densest kinds have five


def check_gguf(path: Path) -> None:
    """Refuse a file whose counts or sizes are more than it holds, without reading a weight. Raises: InputError."""
    if path.stat().st_size == 0:
        raise InputError("broken GGUF file", where=str(path), value="empty")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        _Walk(data, str(path)).all()


class _Walk:
    """A place in a file, which moves on."""

    def __init__(self, data: mmap.mmap, where: str) -> None:
        self.data, self.where, self.at = data, where, 0

    def all(self) -> None:
        """Walk to the end of the head."""
        if self.taken(4, "its first bytes") != MAGIC:
            raise self.broken("no GGUF", "it begins with GGUF")
        if (version := self.number("I")) not in VERSIONS:
            raise self.broken(f"version {version}", "version 2 or 3")
        tensors, settings = self.number("Q"), self.number("Q")
        self.fits(tensors, SHORTEST_TENSOR, "tensors")
        self.fits(settings, SHORTEST_TEXT, "settings")
        for _ in range(settings):
            name = self.text()
            value = self.value(self.number("I"), name)
            if name.endswith(".block_count") and value > tensors:
                raise self.broken(f"{value} layers", f"at most its {tensors} tensors")
        for _ in range(tensors):
            self.tensor()

    def tensor(self) -> None:
        """What the head says of one tensor."""
        name, count = self.text(), self.number("I")
        if count > MOST_DIMENSIONS:
            raise self.broken(f"{count} dimensions of {name}", f"at most {MOST_DIMENSIONS}")
        sizes = [self.number("Q") for _ in range(count)]
        self.number("I")
        offset = self.number("Q")
        if math.prod(sizes) > VALUES_PER_BYTE * len(self.data) or offset > len(self.data):
            raise self.broken(f"tensor {name} of {sizes} at {offset}", f"what {len(self.data)} bytes can hold")

    def value(self, kind: int, name: str) -> int:
        """Go past a value of this kind; return it where it is a whole number, else 0."""
        if kind == TEXT:
            self.text()
        elif kind == ARRAY:
            self.array(name)
        elif kind in NUMBERS:
            found = self.number(NUMBERS[kind])
            return found if isinstance(found, int) else 0
        else:
            raise self.broken(f"kind {kind} of {name}", "a number, text or an array")
        return 0

    def array(self, name: str) -> None:
        """Go past an array of numbers or texts."""
        kind, count = self.number("I"), self.number("Q")
        if kind != TEXT and kind not in NUMBERS:
            raise self.broken(f"an array of kind {kind}, {name}", "numbers or texts")
        size = SHORTEST_TEXT if kind == TEXT else struct.calcsize(f"<{NUMBERS[kind]}")
        self.fits(count, size, f"values of {name}")
        if kind == TEXT:
            for _ in range(count):
                self.text()
        else:
            self.at += count * size

    def text(self) -> str:
        """The text here."""
        return self.taken(self.number("Q"), "a text").decode("utf-8", "replace")

    def number(self, form: str) -> int:
        """The number here, of a form that `struct` knows."""
        (found,) = struct.unpack(f"<{form}", self.taken(struct.calcsize(f"<{form}"), "a number"))
        return found  # type: ignore[no-any-return]  # or a float, which nobody counts by

    def taken(self, count: int, what: str) -> bytes:
        """So many bytes from here."""
        self.fits(count, 1, f"bytes of {what}")
        self.at += count
        return self.data[self.at - count : self.at]

    def fits(self, count: int, size: int, what: str) -> None:
        """Refuse a count of things, each so many bytes at least, for which there is no room."""
        left = len(self.data) - self.at
        if count * size > left:
            raise self.broken(f"{count} {what} at byte {self.at}", f"what {left} bytes can hold")

    def broken(self, value: str, allowed: str) -> InputError:
        """The error that says so."""
        return InputError("broken GGUF file", where=self.where, value=value, allowed=allowed)
