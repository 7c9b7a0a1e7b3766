"""Axes of tone that can be counted in English text: which words carry each, and how much each word counts.

Every axis is a sum over words, so what a corpus scores can be taken apart again: a term adds its weight each time it
stands there, and the score is the sum of that for each 100 words. Eagerness is a linear classifier of words and pairs
of words, fitted once to the poles of our own advice. The others are lists of words and phrases.
Does not see: irony, negation beyond the phrases that are listed, what a word means where it stands, other languages.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from analysis.corpus.telling import words_of
from common.errors import InputError

PER = 100  # words for which a score is given
SIDES = {"+": 1.0, "-": -1.0}


class Ends(NamedTuple):
    """What an axis is about, and what its ends are called."""

    title: str
    low: str
    high: str


EAGERNESS = "eagerness"
AXES: Mapping[str, Ends] = {
    EAGERNESS: Ends("Caution to eagerness about change", "cautious", "eager"),
    "hedges": Ends("Hedging", "few hedges", "many hedges"),
    "certainty": Ends("Certainty", "little certainty", "much certainty"),
    "sentiment": Ends("Sentiment", "unpleasant", "pleasant"),
    "formality": Ends("Formality", "informal", "formal"),
    "refusals": Ends("Refusals", "few refusals", "many refusals"),
    "disclaimers": Ends("Disclaimers", "few disclaimers", "many disclaimers"),
}
LISTS = tuple(name for name in AXES if name != EAGERNESS)  # the axes that a list of words makes


@dataclass(frozen=True)
class Axis:
    """The terms of one axis."""

    name: str
    weights: Mapping[str, float]  # term, in small letters with single spaces → what it adds each time
    linear: bool = False  # every word and pair counts; else the longest phrase that stands at a place
    _longest: Mapping[str, tuple[tuple[str, ...], ...]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        starts: dict[str, list[tuple[str, ...]]] = {}
        for term in self.weights:
            first, *_ = words = tuple(term.split(" "))
            starts.setdefault(first, []).append(words)
        found = {first: tuple(sorted(terms, key=len, reverse=True)) for first, terms in starts.items()}
        object.__setattr__(self, "_longest", found)

    def terms_in(self, words: Sequence[str]) -> Counter[str]:
        """How often each term stands in a text. words: those of the text, as `words_of` gives them."""
        if self.linear:
            known = self.weights
            return Counter(term for term in terms_of(words) if term in known)
        return Counter(self._phrases(words))

    def points(self, counts: Mapping[str, int]) -> float:
        """What these terms add up to."""
        return sum(self.weights[term] * count for term, count in counts.items())

    def _phrases(self, words: Sequence[str]) -> Iterable[str]:
        free = 0  # the first place that no phrase has taken yet
        for at, word in enumerate(words):
            if at >= free and word in self._longest:
                for phrase in self._longest[word]:
                    if tuple(words[at : at + len(phrase)]) == phrase:
                        yield " ".join(phrase)
                        free = at + len(phrase)
                        break


def terms_of(words: Sequence[str]) -> Iterable[str]:
    """The words of a text, then its pairs of neighbouring words."""
    yield from words
    yield from (f"{one} {other}" for one, other in pairwise(words))


def read_list(name: str, lines: Iterable[str], where: str) -> Axis:
    """An axis from a list: terms with commas between, comments behind #; a line that begins with - counts against.

    Raises: InputError naming the line for a term that no text can hold, or that stands there twice; for an empty list.
    """
    weights: dict[str, float] = {}
    for number, line in enumerate(lines, start=1):
        text = line.partition("#")[0].strip()
        side, text = (text[0], text[1:]) if text[:1] in SIDES else ("+", text)
        for term in filter(None, (part.strip() for part in text.split(","))):
            if " ".join(words_of(term)) != term or term in weights:
                allowed = "words in small letters with single spaces, each term once"
                raise InputError("no term of an axis", where=f"{where}:{number}", value=term, allowed=allowed)
            weights[term] = SIDES[side]
    if not weights:
        raise InputError("no terms", where=where)
    return Axis(name, weights)
