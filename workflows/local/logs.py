"""The log of a step on this machine. A disk that fills up costs lines of it, and not the step."""

from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from common.errors import TransientError, disk_full


class StepLog:
    """A file that lines are added to for as long as there is room."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._full: OSError | None = None

    def __enter__(self) -> Self:
        """Raises: OSError if it cannot be opened although there is room."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("ab", buffering=0)  # or what did not fit would be written once more on closing
        except OSError as error:
            self._note(error)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, line: str) -> None:
        """Add a line, unless the disk was full before. Raises: OSError for any other reason."""
        if self._file is None or self._full is not None:
            return
        try:
            self._file.write(line.encode(errors="replace"))
        except OSError as error:
            self._note(error)

    def check(self) -> None:
        """Raises: TransientError naming the log if lines are missing."""
        if self._full is not None:
            told = self._full.strerror or str(self._full)
            raise TransientError("disk full", where=f"log {self._path}", value=told, allowed="room, then run again")

    def _note(self, error: OSError) -> None:
        if not disk_full(error):
            raise error
        self._full = error
