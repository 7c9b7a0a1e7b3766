"""Sums over a stream in a bounded number of blocks, and what resampling the blocks says of a ratio of sums.

Neighbours in a file are alike: turns of one conversation, rows of one source. So blocks hold rows that follow one
another, and blocks are what intervals resample. However long the stream, there are at most MOST of them: when they are
full, each two neighbours become one.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
MOST = 512  # blocks; at least half of them are in use once so many rows have come
RESAMPLES = 2000


class Blocks:
    """Sums of some figures, block by block, of rows that come one at a time."""

    def __init__(self, width: int) -> None:
        self._sums = np.zeros((MOST, width))
        self._rows = 0  # in the last block
        self._size = 1  # rows of a block
        self._last = 0  # the block that takes what comes

    def add(self, figures: Floats, same_row: bool = False) -> None:
        """Take in the figures of one reply, (width,). same_row: it is of the row that came last."""
        if not same_row:
            if self._rows == self._size:
                self._next()
            self._rows += 1
        self._sums[self._last] += figures

    def sums(self) -> Floats:
        """(n_blocks, width)."""
        return self._sums[: self._last + 1 if self._rows else 0].copy()

    def _next(self) -> None:
        if self._last + 1 == MOST:
            self._sums[: MOST // 2] = self._sums.reshape(MOST // 2, 2, -1).sum(axis=1)
            self._sums[MOST // 2 :] = 0.0
            self._size, self._last, self._rows = 2 * self._size, MOST // 2 - 1, 2 * self._rows
        self._last, self._rows = self._last + 1, 0


def resampled(sums: Floats, whole: Floats, rng: np.random.Generator) -> Floats:
    """The ratio of sums to `whole` in each resample of the blocks, (RESAMPLES, n_figures).

    sums: (n_blocks, n_figures); whole: (n_blocks,), of which no resample is without. The percentile bootstrap over
    blocks of a ratio. What is alike over more rows than a block holds is not seen: then intervals are too narrow.
    Source: Künsch (1989), Ann. Stat. 17(3); Davison and Hinkley (1997), ch. 8.
    """
    n = len(sums)
    times = rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES).astype(np.float64)
    below = times @ whole
    return (times @ sums) / np.maximum(below, 1e-12)[:, None]
