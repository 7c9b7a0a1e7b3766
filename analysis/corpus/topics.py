"""Rows of any corpus that speak of a topic which they should not mention, and what gave each away.

The words of a topic are looked for, by themselves and in phrases. An everyday word, such as *library* in a text on
programming, is listed but gives no topic away by itself. Where topics have items, runs of words that an item holds and
sentences close to one count too.
Does not see: a paraphrase that shares no word; a topic in another language.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from analysis.corpus.leakage import any_of, by_terms, inflected
from analysis.corpus.replies import Reply

Detectors = Callable[[Sequence[str]], list[str]]
BETWEEN = re.compile(r"[\s-]+")


class Leak(NamedTuple):
    """A reply, with its prompt, in which a topic stands."""

    file: str
    row: int
    turn: int
    gave_away: tuple[str, ...]  # what was found, each with the detector before it
    speaks: bool  # of the topic; else an everyday word alone was found
    text: str  # around the first of it


class Topics:
    """What must not be mentioned. terms: words and phrases; others: detectors by name, each enough alone.

    A detector takes texts and says of each what gave it away, "" for nothing.
    """

    def __init__(
        self, terms: Iterable[str], everyday: Collection[str], others: Mapping[str, Detectors] | None = None
    ) -> None:
        self.terms = tuple(dict.fromkeys(term.strip().lower() for term in terms if term.strip()))
        self.everyday = tuple(term for term in self.terms if _is_one_word(term) and any_form(term, everyday))
        self._first = by_terms(self.terms)
        self._each = {term: any_of([term]) for term in self.terms}
        self._others = others or {}

    def find(self, replies: Sequence[Reply]) -> list[Leak]:
        """What gives a topic away in these replies and their prompts."""
        texts = [f"{reply.prompt} {reply.text}" for reply in replies]
        others = {name: detect(texts) for name, detect in self._others.items()} if texts else {}
        found = []
        for at, (reply, text) in enumerate(zip(replies, texts, strict=True)):
            said = [f"{name}: {each[at]}" for name, each in others.items() if each[at]]
            if (leak := self._leak(reply, text, said)) is not None:
                found.append(leak)
        return found

    def _leak(self, reply: Reply, text: str, others: Sequence[str]) -> Leak | None:
        terms = self._terms_in(text)
        if not terms and not others:
            return None
        words = [f"{'everyday word' if term in self.everyday else 'term'}: {hit}" for term, hit in terms.items()]
        speaks = bool(others) or any(term not in self.everyday for term in terms)
        around = _around(text, next(iter(terms.values()), ""))
        return Leak(reply.file, reply.row, reply.turn, (*words, *others), speaks, around)

    def _terms_in(self, text: str) -> dict[str, str]:
        """Term → as it stands in the text; one that lies within a longer one that is there counts no second time."""
        if not self._first(text):
            return {}
        found = {term: hit[0].lower() for term, pattern in self._each.items() if (hit := pattern.search(text))}
        whole = sorted(found, key=len, reverse=True)
        within = {term for term in found if any(term != other and found[term] in found[other] for other in whole)}
        return {term: hit for term, hit in found.items() if term not in within}


def any_form(term: str, words: Collection[str]) -> bool:
    """Whether a word stands among these in any inflection that the search would find."""
    pattern = re.compile(inflected(term))
    return term in words or any(pattern.fullmatch(word) for word in words if word[:1] == term[:1])


def _is_one_word(term: str) -> bool:
    return len(BETWEEN.split(term)) == 1


def _around(text: str, hit: str, letters: int = 60) -> str:
    at = max(text.lower().find(hit), 0)
    return " ".join(text[max(0, at - letters) : at + len(hit) + letters].split())


def read_topics(lines: Sequence[str]) -> list[str]:
    """The topics of a user's file: a word or a phrase a line, comments behind #."""
    return [text for line in lines if (text := line.partition("#")[0].strip())]
