"""How many steps run at once, and which of those that wait goes first."""

import contextlib
import heapq
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

Rank = tuple[int, ...]  # the place of a step in the listed order, level by level


class Slots:
    """At most so many steps at once; the one listed first goes first."""

    def __init__(self, count: int) -> None:
        self._free, self._waiting, self._changed = count, list[Rank](), threading.Condition()
        self._seen: set[Rank] = set()  # every beginning of a rank that has asked

    @contextlib.contextmanager
    def one(self, rank: Rank) -> Iterator[None]:
        """Wait for a slot, and hold it while the block runs."""
        self._take(rank)
        try:
            yield
        finally:
            with self._changed:
                self._free += 1
                self._changed.notify_all()

    def _take(self, rank: Rank) -> None:
        with self._changed:
            heapq.heappush(self._waiting, rank)
            self._seen.update(rank[:length] for length in range(1, len(rank)))
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._free and self._waiting[0] == rank)
            heapq.heappop(self._waiting)
            self._free -= 1
            self._changed.notify_all()

    def arrival(self, place: Rank, end: Future[Any]) -> None:
        """Wait until a step whose rank begins with `place` has asked for a slot, or none of them will."""
        end.add_done_callback(lambda _: self._wake())
        with self._changed:
            self._changed.wait_for(lambda: place in self._seen or end.done())

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()
