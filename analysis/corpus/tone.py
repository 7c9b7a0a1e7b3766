"""What a corpus scores on each axis of tone, beside ordinary texts: one pass over its replies, memory flat.

A score is the sum of what the terms of an axis add, for each 100 words of the corpus. The reference is a set of
ordinary corpora, each with a score of its own. z says how many of their SDs the corpus lies from their mean, so an
interval of z leaves out the chance of who is in the reference.
"""

import heapq
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from analysis.corpus.axes import PER, Axis
from analysis.corpus.blocks import Blocks, resampled
from analysis.corpus.replies import Reply
from analysis.corpus.telling import words_of
from analysis.stats.intervals import LEVEL
from common.errors import InputError

MOST_TERMS, MOST_ROWS = 12, 10  # that are listed for an axis
EXCERPT = 160  # letters of a reply that are shown
FEWEST_OF_A_ROW = 5  # words from which a reply may be listed


class Reference(NamedTuple):
    """Where ordinary corpora stand on one axis."""

    mean: float  # points for each 100 words, over corpora
    sd: float  # between corpora
    rates: Mapping[str, float]  # term → how often it stands in 100 words, the mean over corpora


class Carrier(NamedTuple):
    """A term, and how much of the distance from the reference is its."""

    term: str
    weight: float
    times: int  # that it stands in the corpus
    rate: float  # for each 100 words
    usual: float  # the same in the reference
    points: float  # what it adds to the distance, in points for each 100 words
    share: float  # of the distance; may be above 1, where other terms pull the other way


class Excerpt(NamedTuple):
    """A reply that carries much of the distance."""

    file: str
    row: int
    turn: int
    score: float  # its own, in points for each 100 words
    share: float  # of the distance of the whole corpus, by its words
    text: str  # its beginning


class Scored(NamedTuple):
    """What a corpus scores on one axis."""

    estimate: float  # points for each 100 words
    low: float  # 95 % interval over blocks
    high: float
    z: float  # SDs of ordinary corpora from their mean
    z_low: float
    z_high: float
    terms: tuple[Carrier, ...]
    rows: tuple[Excerpt, ...]


class Tone:
    """Replies of a corpus, read one after another."""

    def __init__(self, axes: Sequence[Axis], reference: Mapping[str, Reference]) -> None:
        self._axes, self._reference = axes, reference
        self._blocks = Blocks(len(axes) + 1)
        self._terms: list[Counter[str]] = [Counter() for _ in axes]
        self._most: list[dict[float, list[tuple[float, int, Excerpt]]]] = [{1.0: [], -1.0: []} for _ in axes]
        self._last: tuple[str, int] | None = None
        self.replies, self.words = 0, 0

    def add(self, reply: Reply) -> None:
        """Read one reply."""
        words = words_of(reply.text)
        figures = np.zeros(len(self._axes) + 1)
        figures[-1] = len(words)
        for at, axis in enumerate(self._axes):
            counts = axis.terms_in(words)
            self._terms[at].update(counts)
            figures[at] = axis.points(counts)
            self._keep(at, reply, figures[at], len(words))
        row = (reply.file, reply.row)
        self._blocks.add(figures, same_row=row == self._last)
        self._last = row
        self.replies += 1
        self.words += len(words)

    def found(self, rng: np.random.Generator) -> dict[str, Scored]:
        """What the corpus scores on each axis. Raises: InputError if no reply held a word."""
        sums = self._blocks.sums()
        if self.words == 0:
            raise InputError("no reply holds a word", where="corpus", value=self.replies, allowed="replies in English")
        scores = PER * sums[:, :-1].sum(axis=0) / sums[:, -1].sum()
        drawn = PER * resampled(sums[:, :-1], sums[:, -1], rng)
        lows, highs = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
        return {
            axis.name: self._scored(at, float(scores[at]), float(lows[at]), float(highs[at]))
            for at, axis in enumerate(self._axes)
        }

    def rates(self) -> dict[str, dict[str, float]]:
        """How often each term of each axis stands in 100 words: what a reference is made of."""
        return {
            axis.name: {term: PER * count / self.words for term, count in self._terms[at].items()}
            for at, axis in enumerate(self._axes)
        }

    def _keep(self, at: int, reply: Reply, points: float, words: int) -> None:
        """Hold on to a reply that is among those furthest from the reference, on either side."""
        if words < FEWEST_OF_A_ROW:
            return
        beyond = points - words * self._reference[self._axes[at].name].mean / PER
        for side, heap in self._most[at].items():
            far = side * beyond
            if far <= 0 or (len(heap) == MOST_ROWS and far <= heap[0][0]):
                continue
            shown = Excerpt(reply.file, reply.row, reply.turn, PER * points / words, beyond, excerpt(reply.text))
            put = heapq.heappush if len(heap) < MOST_ROWS else heapq.heapreplace
            put(heap, (far, -self.replies, shown))  # of equals, the first that came stays

    def _scored(self, at: int, estimate: float, low: float, high: float) -> Scored:
        reference = self._reference[self._axes[at].name]
        away = estimate - reference.mean
        z, z_low, z_high = ((value - reference.mean) / reference.sd for value in (estimate, low, high))
        rows = sorted(self._most[at][1.0 if away > 0 else -1.0], reverse=True)
        whole = away * self.words / PER
        shown = tuple(each._replace(share=each.share / whole if whole else 0.0) for _, _, each in rows)
        return Scored(estimate, low, high, z, z_low, z_high, self._carriers(at, away), shown)

    def _carriers(self, at: int, away: float) -> tuple[Carrier, ...]:
        """The terms that carry most of the distance from the reference, in its direction."""
        axis, usual = self._axes[at], self._reference[self._axes[at].name].rates
        made = []
        for term in self._terms[at].keys() | usual.keys():
            times, weight = self._terms[at][term], axis.weights[term]
            rate = PER * times / self.words
            points = weight * (rate - usual.get(term, 0.0))
            made.append(
                Carrier(term, weight, times, rate, usual.get(term, 0.0), points, points / away if away else 0.0)
            )
        side = 1.0 if away > 0 else -1.0
        first = sorted(
            (each for each in made if side * each.points > 0), key=lambda each: (-side * each.points, each.term)
        )
        return tuple(first[:MOST_TERMS])


def excerpt(text: str) -> str:
    """The beginning of a text, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= EXCERPT else line[: EXCERPT - 1] + "…"
