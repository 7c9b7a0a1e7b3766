"""Replies that repeat an earlier one, word for word or nearly, found in one pass with memory that does not grow.

A reply is remembered as a sketch: 64 bytes that tell how alike two replies are. Replies whose sketches share one of 16
bands are compared. The last REMEMBERED replies are known; a copy of an older one is not seen.
Source: Broder (1997), SEQUENCES (shingles, resemblance); Li and König (2010), WWW (b-bit minwise hashing).
"""

from hashlib import blake2b
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from analysis.corpus.replies import Reply
from analysis.corpus.texts import runs

NEAR = 0.8  # Jaccard similarity of word 5-grams from which two replies count as one, as in a pile
SHINGLE = 5
HASHES, BANDS = 64, 16
REMEMBERED = 1 << 18  # replies; 22 MB of sketches
SLOTS = 1 << 22  # of the table of bands, 16 MB
AT_ONCE = 1 << 16  # runs of words that are hashed at a time: a reply of any length takes no more memory
SHOWN = 10  # pairs that are listed
FEWEST_WORDS = SHINGLE  # shorter replies, such as "Yes.", are no copies of each other
ALIKE_BY_CHANCE = 1 / 256  # that two different hashes have the same last byte
Hashes = NDArray[np.uint64]


class Pair(NamedTuple):
    """A reply and the earlier one that it repeats."""

    file: str
    row: int
    of_file: str
    of_row: int
    similarity: float  # estimated; 1 for the same words


class Repeats:
    """Replies of a corpus, one after another."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)  # of hash functions: no result depends on the seed of a study
        self._odd = rng.integers(1, 2**63, HASHES, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
        self._plus = rng.integers(0, 2**63, HASHES, dtype=np.uint64)
        self._sketches = np.zeros((REMEMBERED, HASHES), dtype=np.uint8)
        self._texts = np.zeros(REMEMBERED, dtype=np.uint64)
        self._places = np.zeros((REMEMBERED, 2), dtype=np.uint32)  # file, row
        self._slots = np.zeros(SLOTS, dtype=np.uint32)  # which reply, from 1
        self._files: list[str] = []
        self._seen = 0
        self.exact, self.near = 0, 0
        self.pairs: list[Pair] = []

    def add(self, reply: Reply) -> None:
        """Compare one reply with those before it, and remember it."""
        words = reply.text.lower().split()
        if len(words) < FEWEST_WORDS:
            return
        lowest = self._lowest(words)
        sketch, slots = (lowest & np.uint64(255)).astype(np.uint8), _bands(lowest)
        text = np.uint64(hash_of(" ".join(words)))
        self._compare(reply, sketch, slots, text)
        at = self._seen % REMEMBERED
        self._sketches[at], self._texts[at], self._places[at] = sketch, text, (self._file(reply.file), reply.row)
        self._slots[slots] = at + 1
        self._seen += 1

    def _lowest(self, words: list[str]) -> Hashes:
        shingles = np.array([hash_of(run) for run in runs(words, SHINGLE)], dtype=np.uint64)
        parts = [shingles[start : start + AT_ONCE] for start in range(0, len(shingles), AT_ONCE)]
        hashed = [((self._odd[:, None] * part + self._plus[:, None]) >> np.uint64(32)).min(axis=1) for part in parts]
        lowest: Hashes = np.min(hashed, axis=0)
        return lowest

    def _compare(self, reply: Reply, sketch: NDArray[np.uint8], slots: NDArray[np.int64], text: np.uint64) -> None:
        """Count the reply if one that is remembered is near enough."""
        known = np.unique(self._slots[slots])
        known = known[known > 0] - 1
        if not len(known):
            return
        same = (self._sketches[known] == sketch).mean(axis=1)
        alike = np.where(self._texts[known] == text, 1.0, (same - ALIKE_BY_CHANCE) / (1 - ALIKE_BY_CHANCE))
        best = int(alike.argmax())
        if alike[best] < NEAR:
            return
        exact = bool(self._texts[known[best]] == text)
        self.exact, self.near = self.exact + exact, self.near + (not exact)
        if len(self.pairs) < SHOWN:
            file, row = self._places[known[best]]
            similarity = 1.0 if exact else float(min(alike[best], 1.0))
            self.pairs.append(Pair(reply.file, reply.row, self._files[file], int(row), similarity))

    def _file(self, name: str) -> int:
        if not self._files or self._files[-1] != name:
            self._files.append(name)
        return len(self._files) - 1


def hash_of(text: str) -> int:
    """64 bits of a text, the same on every machine."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest())


def _bands(lowest: Hashes) -> NDArray[np.int64]:
    """The slot of each band."""
    rows = lowest.reshape(BANDS, -1)
    mixed = np.arange(1, BANDS + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    for column in rows.T:
        mixed = (mixed ^ column) * np.uint64(0xBF58476D1CE4E5B9)
        mixed ^= mixed >> np.uint64(31)
    return (mixed % np.uint64(SLOTS)).astype(np.int64)
