"""Where the seconds of an evaluation go."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Clock:
    """Wall seconds by named part. Parts may be entered many times; they do not nest."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the time of this block as `name`."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[name] = self._seconds.get(name, 0.0) + time.perf_counter() - began

    def seconds(self) -> dict[str, float]:
        """Seconds by part, to the millisecond."""
        return {name: round(value, 3) for name, value in self._seconds.items()}
