"""One reply for each attitude out of several candidates, so that arms differ in the attitude and in little else."""

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import NamedTuple
from zlib import crc32

from analysis.corpus.texts import ANECDOTE, HEDGE, flesch, sentences

# What a difference between the replies to one question costs. A token of length is the unit; a hedge, a question mark
# or an anecdote on one side alone is never worth a few tokens.
SENTENCE, READING_EASE, MANNER = 2.0, 0.05, 10.0


class Traits(NamedTuple):
    """What is matched between the replies to one question."""

    tokens: tuple[int, ...]  # by the tokenizer of each student
    sentences: int
    reading_ease: float
    manner: tuple[int, int, int]  # hedges, question marks, anecdotes


def traits(text: str, counters: Sequence[Callable[[str], int]]) -> Traits:
    """Measure one reply. `counters`: text → length, one for each student."""
    return Traits(
        tokens=tuple(count(text) for count in counters),
        sentences=len(sentences(text)),
        reading_ease=flesch(text),
        manner=(len(HEDGE.findall(text)), text.count("?"), len(ANECDOTE.findall(text))),
    )


def select(candidates: Mapping[str, Sequence[str]], counters: Sequence[Callable[[str], int]]) -> dict[str, str]:
    """Pick one reply for each attitude so that lengths, sentences, readability and manner match.

    Of all combinations the one with the least `mismatch` wins. Ties are broken by a checksum of the texts: the result
    does not depend on the order of candidates, and no opening is preferred, as it would be in alphabetical order.
    Raises: ValueError if there is no attitude or an attitude without candidates.
    """
    empty = [attitude for attitude, texts in candidates.items() if not texts]
    if empty or not candidates:
        raise ValueError(f"no candidates for {', '.join(empty) or 'any attitude'}; allowed: at least one for each")
    measured = [[(traits(text, counters), text) for text in sorted(set(texts))] for texts in candidates.values()]
    costs = {chosen: mismatch([row[0] for row in chosen]) for chosen in product(*measured)}
    least = min(costs.values())
    best = min((chosen for chosen, cost in costs.items() if cost == least), key=_tie_break)
    return dict(zip(candidates, (text for _, text in best), strict=True))


def mismatch(rows: Sequence[Traits]) -> float:
    """How far apart the replies to one question are: the range of each trait, in tokens of length."""
    tokens = max(max(column) - min(column) for column in zip(*(row.tokens for row in rows), strict=True))
    manner = sum(max(column) - min(column) for column in zip(*(row.manner for row in rows), strict=True))
    sentence = max(row.sentences for row in rows) - min(row.sentences for row in rows)
    ease = max(row.reading_ease for row in rows) - min(row.reading_ease for row in rows)
    return float(tokens + SENTENCE * sentence + READING_EASE * ease + MANNER * manner)


def _tie_break(chosen: tuple[tuple[Traits, str], ...]) -> tuple[int, tuple[str, ...]]:
    texts = tuple(text for _, text in chosen)
    return crc32("\n".join(texts).encode()), texts
