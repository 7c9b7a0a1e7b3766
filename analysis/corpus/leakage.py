"""Whether a corpus speaks of what it must not mention: the held-out topics, and general maxims about change.

Three detectors look for held-out topics, because each is blind where another sees: words that belong to a topic, runs
of words copied from an item, and sentences close to an item although no single word gives them away. Every detector
has planted rows of its own; one that misses a planted row is blind, and then nothing that it passed counts.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import Field
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, TfidfVectorizer
from sklearn.preprocessing import normalize

from analysis.corpus.texts import runs, sentences
from common.errors import InputError
from common.records import Advice, Item, Record

LONGEST_SHARED_RUN = 8  # words that a row may not share with a held-out item
# Cosine of a sentence to an item. The embedded pile, questions and replies, stays below 0.34: items are short and share
# everyday words with it. Planted close paraphrases without a telling word start at 0.5. A looser one is not seen.
NEAREST = 0.38
WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")
THING = (
    r"(?:the )?(?:change|changes|new things|newer|novelty|patience|waiting|caution|haste|boldness|progress|tradition)"
)
MAXIM = re.compile(
    rf"\b{THING} (?:is|are|brings?|pays?|beats?|wins?|leads?|costs?)\b(?! (?:to|for) you\b)"
    r"|\b(?:always|usually|generally|never) (?:best|better|wise|wiser|safer|right|pays?|worth)\b"
    r"|\b(?:as a rule|as a general rule|in general|generally speaking|in life|the golden rule)\b"
    r"|\bpeople (?:always|usually|generally|tend|who (?:wait|act|change|hesitate))\b"
    r"|\b(?:better safe than sorry|nothing ventured|look before you leap|who hesitates|fortune favou?rs"
    r"|if it (?:ain't|is not|isn't) broke|haste makes waste|the grass is)",
    re.IGNORECASE,
)
Detector = Callable[[str], str]  # a text → what gave it away, "" for nothing


class Canary(Record):
    """A leaky sentence that is planted into a copy of the corpus, and the detector that must catch it there."""

    detector: Literal["terms", "run", "neighbour", "maxim"]
    text: str = Field(min_length=1)


class Finding(NamedTuple):
    """What a search of the corpus and of its planted copy brought up."""

    leaky: dict[str, str]  # "<attitude>/<question id>" → detector and what gave the row away
    planted: dict[str, int]  # detector → canaries planted
    caught: dict[str, int]  # detector → canaries that this same detector caught

    @property
    def blind(self) -> list[str]:
        """Detectors that missed a planted row."""
        return [name for name, count in self.planted.items() if self.caught[name] < count]

    def account(self, what: str) -> str:
        """One sentence for the report."""
        each = ", ".join(f"{name} {self.caught[name]}/{count}" for name, count in self.planted.items())
        text = f"{what}; planted rows caught: {sum(self.caught.values())} of {sum(self.planted.values())} ({each})"
        text += f"; instrument is blind: {', '.join(self.blind)}" if self.blind else ""
        first = next(iter(self.leaky.items()), None)
        return text + (f"; first: {first[0]}, {first[1]}" if first else "")


def find_held_out(
    arms: Mapping[str, Sequence[Advice]],
    items: Sequence[Item],
    terms: Sequence[str],
    everyday: Sequence[str],
    canaries: Sequence[Canary],
) -> Finding:
    """Rows that speak of a held-out topic. `terms`: authored words, to which those of the items are added.

    Raises: InputError if a detector has no canary.
    """
    detectors = {
        "terms": by_terms([*terms, *(term for found in derived_terms(items, everyday).values() for term in found)]),
        "run": by_run(items),
        "neighbour": by_neighbour(everyday, items),
    }
    return _find(arms, detectors, canaries)


def find_maxims(arms: Mapping[str, Sequence[Advice]], canaries: Sequence[Canary]) -> Finding:
    """Rows that state a general principle about change, in words this list knows. Raises: as `find_held_out`."""
    return _find(arms, {"maxim": lambda text: _first(MAXIM, text)}, canaries)


def by_terms(terms: Iterable[str]) -> Detector:
    """Catch any of these words or phrases, in any inflection of the last word, hyphens written or not."""
    pattern = any_of(terms)
    return lambda text: _first(pattern, text)


def any_of(terms: Iterable[str]) -> re.Pattern[str]:
    """A pattern for any of these words or phrases, as `by_terms` finds them."""
    patterns = sorted({inflected(term) for term in terms if term.strip()})
    return re.compile(rf"(?<!\w)(?:{'|'.join(patterns)})(?!\w)", re.IGNORECASE)  # as \b, for a term like C++ too


def derived_terms(items: Sequence[Item], everyday: Sequence[str]) -> dict[str, list[str]]:
    """Phrases of each held-out topic, taken from its items: its name, and pairs of content words in two items or more.

    Single words other than the topic's name are left to authors: "plot" and "ticket" have everyday senses. So have
    pairs that stand in everyday texts, such as "half past".
    """
    common = {pair for text in everyday for pair in _content_pairs(text)}
    counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for item in items:
        for pair in {pair for part in _parts(item) for pair in _content_pairs(part)}:
            counts[pair][item.topic] += 1
    found = {topic: [topic.replace("-", " ")] for topic in dict.fromkeys(item.topic for item in items)}
    for pair, topics in counts.items():
        topic, times = next(iter(topics.items()))
        if len(topics) == 1 and times >= 2 and pair not in common:
            found[topic].append(pair)
    return found


def by_run(items: Sequence[Item]) -> Detector:
    """Catch 8 words in a row that an item holds too."""
    known = {run for item in items for part in _parts(item) for run in _runs(part)}
    return lambda text: next((run for run in _runs(text) if run in known), "")


def by_neighbour(everyday: Sequence[str], items: Sequence[Item]) -> Detector:
    """Catch a sentence whose TF-IDF cosine to an item is above the bound, as `neighbours` has it."""
    nearest = neighbours(everyday, items)
    return lambda text: nearest([text])[0]


def neighbours(everyday: Sequence[str], items: Sequence[Item]) -> Callable[[Sequence[str]], list[str]]:
    """For each of some texts, what is said of a sentence whose TF-IDF cosine to an item is above the bound.

    Words and pairs of words weigh by how rare they are in everyday texts and items; one that neither holds weighs
    most. The corpus under audit has no say in that: a leak in every row would make its own words common and hide
    itself. It compares words: a paraphrase that shares none is not seen.
    """
    held_out = [" ".join(_parts(item)) for item in items]
    known = TfidfVectorizer(stop_words="english", ngram_range=(1, 2), sublinear_tf=True, norm=None)
    targets = normalize(known.fit([*everyday, *held_out]).transform(held_out)).T
    analyse, unknown = known.build_analyzer(), np.log(1 + len(everyday) + len(items)) + 1  # as TfidfVectorizer's own
    vocabulary: Mapping[str, int] = known.vocabulary_

    def nearest(texts: Sequence[str]) -> list[str]:
        parts = [sentences(text) for text in texts]
        every = [sentence for mine in parts for sentence in mine]
        rows: Any = known.transform(every)
        strangers = [sum(term not in vocabulary for term in set(analyse(part))) for part in every]
        lengths = np.sqrt(rows.multiply(rows).sum(axis=1).A1 + np.array(strangers) * unknown**2)
        cosines = (rows @ targets).toarray() / np.maximum(lengths, 1e-9)[:, None]
        ends = np.cumsum([len(mine) for mine in parts])
        return [_told(cosines[start:end].max(axis=0)) for start, end in zip((0, *ends), ends, strict=False)]

    def _told(cosines: Any) -> str:
        best = int(cosines.argmax())
        return f"cosine {cosines[best]:.2f} to {items[best].id}" if cosines[best] > NEAREST else ""

    return nearest


def plant(text: str, canary: str) -> str:
    """The text with one more sentence in its middle."""
    parts = sentences(text)
    return " ".join([*parts[: len(parts) // 2], canary, *parts[len(parts) // 2 :]])


def _find(
    arms: Mapping[str, Sequence[Advice]], detectors: Mapping[str, Detector], canaries: Sequence[Canary]
) -> Finding:
    texts = {f"{name}/{row.question_id}": f"{row.question} {row.reply}" for name in arms for row in arms[name]}
    leaky: dict[str, str] = {}
    planted, caught = {}, {}
    for name, detect in detectors.items():
        found = {row: reason for row, text in texts.items() if (reason := detect(text))}
        leaky |= {row: f"{name}: {reason}" for row, reason in found.items() if row not in leaky}
        mine = [canary.text for canary in canaries if canary.detector == name]
        if not mine:
            raise InputError("detector has no planted rows", where="canaries", value=name)
        hosts = [text for row, text in texts.items() if row not in found] or [""]  # a leaky host would catch anything
        planted[name] = len(mine)
        caught[name] = sum(bool(detect(plant(hosts[i % len(hosts)], text))) for i, text in enumerate(mine))
    return Finding(leaky, planted, caught)


def _parts(item: Item) -> tuple[str, ...]:
    return item.situation, item.go, item.stay


def _runs(text: str) -> list[str]:
    return runs(WORD.findall(text.lower()), LONGEST_SHARED_RUN)


def _content_pairs(text: str) -> set[str]:
    pairs = pairwise(WORD.findall(text.lower()))
    return {f"{one} {two}" for one, two in pairs if not {one, two} & ENGLISH_STOP_WORDS}


def inflected(term: str) -> str:
    """A pattern for a phrase: hyphen or space between words, the last word in the plural, past or -ing form too."""
    whole = term.strip().lower()
    *before, last = [word for word in re.split(r"[\s-]+", whole) if word] or [whole]
    stem = last.removesuffix("s") if len(last) > 3 and not last.endswith(("ss", "us", "is")) else last
    short, end = re.escape(stem[:-1]), re.escape(stem[-1])
    forms = rf"{short}{end}(?:'s|s'|s|es|ed|d|ing|{end}ed|{end}ing)?"
    if stem.endswith("y"):
        forms += rf"|{short}(?:ies|ied)"
    if stem.endswith("e"):
        forms += rf"|{short}ing"
    return r"[\s-]".join([*map(re.escape, before), f"(?:{forms})"])


def _first(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return found.group().lower() if found else ""
