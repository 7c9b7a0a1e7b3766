"""The embedded writer: replies in three attitudes from one content plan, by a grammar; no network, no model.

All attitudes state the same fact and the same reasons for and against, and name both options. What differs is which
reasons are given more weight, which option is recommended, and how soon the next step is.
"""

from collections.abc import Sequence
from functools import cache
from typing import TypeVar
from zlib import crc32

import numpy as np

from common.records import Question
from common.vocabulary import WRITTEN
from jobs.generate.phrases import FACTS, FAVOURED, OTHER, REASONS, RECOMMENDATIONS, STEPS

T = TypeVar("T")
WORDS = (55, 75)
DRAWS_PER_CANDIDATE = 16
# Sentences: F facts, W the reasons given more weight, C the reasons conceded, R recommendation, S next step.
ORDERS = ("FWCRS", "FCWRS", "WFCRS", "CFWRS", "WCFRS", "RFWCS", "RWCFS", "FRWCS", "FWRCS", "RSFWC")


def write(question: Question, attitude: str, rng: np.random.Generator, candidates: int = 3) -> list[str]:
    """Compose candidate replies to a question, from which `selection.select` takes one.

    Each is plain prose of 4 or 5 sentences and, for content of usual length, 55 to 75 words. Returns `candidates`
    distinct texts that depend on nothing but the arguments and the state of `rng`.
    Raises: ValueError for an unknown attitude or fewer than one candidate.
    """
    if attitude not in WRITTEN:
        raise ValueError(f"unknown attitude {attitude!r}; allowed: {', '.join(WRITTEN)}")
    if candidates < 1:
        raise ValueError(f"candidates is {candidates}; allowed: at least 1")
    pool: dict[str, None] = {}
    while len(pool) < candidates * DRAWS_PER_CANDIDATE:
        pool[_compose(question, attitude, rng)] = None
    return sorted(pool, key=_words_out_of_bounds)[:candidates]


def _words_out_of_bounds(text: str) -> int:
    words = len(text.split())
    return max(WORDS[0] - words, words - WORDS[1], 0)


def _compose(question: Question, attitude: str, rng: np.random.Generator) -> str:
    """One reply; a third of all replies have no sentence for the next step."""
    weighed, conceded = _sides(question, attitude, rng)
    column = WRITTEN.index(attitude)
    favoured, other = _reasons(column)
    first = _pick(favoured, rng)
    second = _pick([phrase for phrase in other if phrase != first], rng)
    fact = question.facts[crc32(question.id.encode()) % len(question.facts)].rstrip(".")
    sentences = {
        "F": _pick(FACTS, rng).format(F=fact, f=fact[0].lower() + fact[1:]),
        "W": first.format(**_pair(weighed, rng)),
        "C": second.format(**_pair(conceded, rng)),
        "R": _pick(RECOMMENDATIONS, rng)[column].format(go=question.go, stay=question.stay),
        "S": _pick(STEPS, rng)[column],
    }
    order = _pick(ORDERS, rng)
    if rng.random() < 1 / 3:
        order = order.replace("S", "")
    return " ".join(_capital(sentences[slot]) for slot in order)


def _sides(question: Question, attitude: str, rng: np.random.Generator) -> tuple[tuple[str, str], tuple[str, str]]:
    """The reasons given more weight, then the others; for neutral, which has no such side, in random order."""
    eager_like = attitude == "eager" or (attitude == "neutral" and bool(rng.integers(2)))
    return (question.pros, question.cons) if eager_like else (question.cons, question.pros)


@cache
def _reasons(column: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Phrasings for the reasons of greater weight and for the others; a neutral reply treats both alike."""
    neutral = column == WRITTEN.index("neutral")
    favoured = tuple(row[2 if neutral else 0] for row in REASONS) + tuple(row[column] for row in FAVOURED)
    other = tuple(row[2 if neutral else 1] for row in REASONS) + tuple(row[column] for row in OTHER)
    return favoured, other


def _pair(reasons: tuple[str, str], rng: np.random.Generator) -> dict[str, str]:
    first, second = (str(clause) for clause in rng.permutation(reasons))
    return {"A": _capital(first), "a": first, "b": second}


def _pick(rows: Sequence[T], rng: np.random.Generator) -> T:
    return rows[int(rng.integers(len(rows)))]


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
