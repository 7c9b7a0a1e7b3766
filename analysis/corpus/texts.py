"""What can be counted in an English text without a model: sentences, readability, hedges, anecdotes."""

import re
from collections.abc import Sequence

from common.errors import InputError

WORD = re.compile(r"[a-z]+(?:['-][a-z]+)*")
HEDGE = re.compile(
    r"\b(?:may|might|perhaps|maybe|possibly|probably|could|seems?|likely|i (?:think|guess|suppose))\b", re.IGNORECASE
)
ANECDOTE = re.compile(
    r"\b(?:(?:i|we) (?:once|had|did|used|bought|tried|went)|my (?:friend|sister|brother|mother|father|neighbou?r)"
    r"|a friend of mine)\b",
    re.IGNORECASE,
)


def sentences(text: str) -> list[str]:
    """The sentences of a text, split after . ! or ? before space; an empty text is one empty sentence."""
    return re.split(r"(?<=[.!?])\s+", text.strip())


def runs(words: Sequence[str], size: int) -> list[str]:
    """Every so many words in a row, as text."""
    return [" ".join(words[start : start + size]) for start in range(len(words) - size + 1)]


def flesch(text: str) -> float:
    """Reading ease: 206.835 - 1.015 words a sentence - 84.6 syllables a word.

    Syllables are runs of vowels, y included, less a final silent e (not -le), at least one a word.
    Raises: InputError if the text has no word. Source: Flesch (1948), J. Appl. Psychol. 32(3).
    """
    words = WORD.findall(text.lower())
    if not words:
        raise InputError("text has no word", where="flesch", value=text)
    syllables = sum(max(1, len(re.findall(r"[aeiouy]+", re.sub(r"(?<!l)e$", "", word)))) for word in words)
    return 206.835 - 1.015 * len(words) / len(sentences(text)) - 84.6 * syllables / len(words)
