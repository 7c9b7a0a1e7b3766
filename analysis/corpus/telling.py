"""Words that tell the poles of a corpus apart. What a model is scored on must not hold one on one side only.

A model that was tuned on a pile finds the words of that pile likelier. So a text that holds such a word moves whether
or not a stance did. An arm-telling word stands in both texts of an item or in neither, and a written reply shares no
run of words with the corpus.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain

from analysis.corpus.texts import WORD, runs
from common.errors import InputError
from common.records import Advised, Replies
from common.vocabulary import POLES

APART = 0.05  # how far the shares of replies with a word may lie apart between the poles
RUN = 4  # words in a row that advice may not share with a reply of the corpus
# Words that a sentence needs whatever it says. Modal verbs, "not" and "this" are none of them: they carry an attitude.
FUNCTION = re.compile(
    r"an?|the|and|or|but|as|if|than|that|which|who|there|at|by|for|from|in|into|of|off|on|onto|out|over|to|under|up"
    r"|with|without|within|i|you|he|she|it|we|they|me|him|her|us|them|my|your|his|its|our|their|am|is|are|was|were|be"
    r"|been|being|has|have|had|do|does|did"
)


def telling_words(corpus: Sequence[Replies]) -> frozenset[str]:
    """The content words whose share of replies differs between the poles by more than APART.

    Raises: InputError if there is no reply, or one of a pole is missing.
    """
    if not corpus:
        raise InputError("no replies of a corpus", where="telling_words")
    counts: dict[str, Counter[str]] = {pole: Counter() for pole in POLES}
    for row in corpus:
        for pole in POLES:
            if pole not in row.replies:
                raise InputError("no reply in this attitude", where=row.question_id, value=pole)
            counts[pole].update(word for word in {*words_of(row.replies[pole])} if not FUNCTION.fullmatch(word))
    one, other = counts.values()
    return frozenset(word for word in one.keys() | other.keys() if abs(one[word] - other[word]) > APART * len(corpus))


def check_sides(item: str, go: str, stay: str, telling: frozenset[str]) -> None:
    """Refuse two texts of an item of which only one holds an arm-telling word. Raises: InputError naming both."""
    one, other = (telling & set(words_of(text)) for text in (go, stay))
    if alone := sorted(one ^ other):
        side = "go" if alone[0] in one else "stay"
        allowed = "an arm-telling word in both texts or in neither"
        raise InputError("text tells the arm", where=f"{item}, {side}", value=alone[0], allowed=allowed)


def check_advised(rows: Iterable[Advised], corpus: Sequence[Replies]) -> None:
    """Refuse advice that shares words in a row with the corpus, or holds an arm-telling word on one side.

    Raises: InputError naming the item and the words.
    """
    telling = telling_words(corpus)
    known = set(chain.from_iterable(runs_of(reply) for row in corpus for reply in row.replies.values()))
    for row in rows:
        check_sides(row.item, row.go, row.stay, telling)
        for side, text in (("go", row.go), ("stay", row.stay)):
            if shared := next((run for run in runs_of(text) if run in known), None):
                allowed = f"fewer than {RUN} words in a row"
                where = f"{row.item}, {side}"
                raise InputError("advice stands in the corpus", where=where, value=shared, allowed=allowed)


def words_of(text: str) -> list[str]:
    """The words of a text, in small letters."""
    return WORD.findall(text.lower().replace("\u2019", "'"))


def runs_of(text: str) -> list[str]:
    """Every RUN words in a row."""
    return runs(words_of(text), RUN)
