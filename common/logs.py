"""What a job says while it runs: JSON lines on stderr, or short lines and a bar where stderr is a terminal.

Progress also goes to the file that Argo names in ARGO_PROGRESS_FILE, as N/M.
"""

import json
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress, TaskID

from common.secrets import redacted, redacted_value

SECONDS_BETWEEN_PROGRESS_LINES = 5.0


class Log:
    """The voice of one job on one cell. Safe to use before the cell is known."""

    def __init__(self, job: str, cell: str) -> None:
        self._names = {"job": job, "cell": cell}
        self._console = Console(stderr=True, highlight=False)
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._last = 0.0

    def event(self, event: str, **fields: Any) -> None:
        """Say that something happened. Field values are numbers, text or lists of them; secrets in them are hidden."""
        fields = redacted_value(fields)
        if self._console.is_terminal:
            facts = " ".join(f"{name}={_plain(value)}" for name, value in fields.items())
            self._console.print(f"{self._names['job']} {self._names['cell']}: {event} {facts}", markup=False)
            return
        now = datetime.now(UTC).isoformat(timespec="seconds")
        print(json.dumps({"time": now, "event": event, **self._names, **fields}), file=sys.stderr, flush=True)

    def error(self, line: str) -> None:
        """Say in one line why the job ends."""
        self.done()
        print(f"error: {redacted(line)}", file=sys.stderr, flush=True)

    def progress(self, done: int, total: int, **fields: Any) -> None:
        """Say how far the job is, in whatever unit it counts."""
        _tell_argo(done, total)
        if self._console.is_terminal:
            if self._bar is None:
                self._bar = Progress(console=self._console, transient=True)
                self._bar.start()
                self._task = self._bar.add_task(" ".join(self._names.values()), total=total)
            self._bar.update(self._task, completed=done, total=total)
        elif done >= total or time.monotonic() - self._last > SECONDS_BETWEEN_PROGRESS_LINES:
            self._last = time.monotonic()
            self.event("progress", done=done, total=total, **fields)

    def done(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _plain(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _tell_argo(done: int, total: int) -> None:
    if path := os.environ.get("ARGO_PROGRESS_FILE"):
        # Argo reads whenever it likes: replace the file, never write it in place.
        fresh = Path(f"{path}.new")
        fresh.write_text(f"{done}/{total}\n")
        fresh.replace(path)
