"""How an answer in words is read: what it recommends in the end, given what its item calls going and staying.

A grammar looks for the last plain recommendation, negated or not, of what the item calls going or staying. Where it
finds none, a linear classifier decides. It was fitted to short answers of our own on other topics; their labels follow
`common/stance/data/codebook.md`. What it is worth is measured against labels, never assumed.
"""

import functools
import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from sklearn.feature_extraction.text import CountVectorizer
from sklearn.svm import LinearSVC

from common.errors import InputError
from common.records import Item, Record
from common.serialization import read_jsonl
from common.vocabulary import Said, Side

READER_WORTH = "common/stance/data/reader.json"  # its agreement with labels: python -m benchmarks.reader
READER_FILES = ("common/stance/data/reader_situations.jsonl", "common/stance/data/reader_answers.jsonl")
BEFORE = 8  # words before a verb of doing or keeping among which a negation turns it round
WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")
SENTENCE = re.compile(r"(?<=[.!?])\s+")
NEGATION = re.compile(
    r"not|no|never|nothing|none|neither|nor|without|cannot|[a-z]+n't|dont|hardly|rather|avoid|against|stop|unwise"
)
# Words that stand for one another when advice is given. Each class is a feature; the words of an item are two more.
CLASSES = {
    "keep": "keep keeping kept stay staying stick sticking remain remaining retain maintain leave leaving left "
    "continue continuing preserve hold holding same current currently present existing usual stands today "
    "already",
    "wait": "wait waiting postpone delay delaying later yet hasty hurry rush rushing pause defer until patience "
    "patient",
    "do": "change changing switch switching move moving make making introduce introducing adopt adopting "
    "replace go going ahead proceed begin start starting bring bringing try trying take launch implement "
    "implementing allow new forward now soon away straight",
    "good": "good great excellent wonderful best better benefit benefits beneficial opportunity wise sensible "
    "positive improve improvement helpful useful nice perfect ideal fantastic easier attractive fine fair "
    "lovely pleasant works well worth advantage popular happy love safe safer right",
    "bad": "bad worse risk risky problem problems costly expensive waste difficult unnecessary trouble confusing "
    "harm lose loses losing lost poor wrong mistake pointless slow dirty unfair dangerous disappoint "
    "upset hurt disadvantage",
    "advise": "recommend advise advice suggest suggestion should would i'd opinion think choose opt favour prefer vote",
    "open": "depends depend depending consider considering both either decide decision weigh whether choice "
    "survey ask discuss talk sides hand compromise half some others members meeting",
    "turn": "but however although though still yet despite nevertheless",
}
CLASS_OF = {word: name for name, words in CLASSES.items() for word in words.split()}
DOING, KEEPING = "do", "keep"
VERBS = (DOING, KEEPING, "wait")
ADVICE = re.compile(  # how advice begins
    r"\b(?:i would|i'd|should|recommend|advise|suggest|my advice)\b"
    r"|\b(?:best|better|wise|wiser|sensible|safer) to\b"
    r"|^(?:go ahead|keep|stay|stick|wait|leave|try|start|move|do)\b"
)
CLAUSE = re.compile(  # where the clause that gives it ends
    r"[,;:()]|\band (?:it|they|you|we|the)\b"
    r"|\b(?:because|since|until|unless|if|so that|which|where|when|before|after|than|although|though|but)\b"
)
ENDING = re.compile(r"(?:dropp?|remov|end|stopp?|cancel|scrapp?|abolish|los|clos|cutt?|bann?)(?:ing|e|ed)?|without")
FUNCTION = "the a an to of in on at for and or by with from its their it all each as be is into out up"


class ReadAnswer(Record):
    """A short answer of our own with its label, from which the classifier learns."""

    item: str
    answer: str
    label: Said


class Situation(Record):
    """A situation of the reader's own, on a topic that no model is asked about."""

    id: str
    topic: str
    proposes: Side
    undoes: bool
    situation: str
    going: str
    staying: str


class Sides(NamedTuple):
    """What a situation proposes, and the stems of the words that it has for going and for staying alone."""

    proposes: Side
    go: frozenset[str]
    stay: frozenset[str]


class Reader:
    """Reads answers. Two readers made of the same files read alike."""

    def __init__(self, situations: Sequence[Situation], answers: Sequence[ReadAnswer]) -> None:
        """Fit the classifier. Raises: InputError if an answer belongs to no situation."""
        sides = {each.id: sides_of(each) for each in situations}
        if unknown := next((row.item for row in answers if row.item not in sides), None):
            raise InputError("answer to no situation", where=READER_FILES[1], value=unknown)
        self._vectors = CountVectorizer(analyzer=lambda features: features, min_df=2, binary=True)
        seen = self._vectors.fit_transform([features(row.answer, sides[row.item]) for row in answers])
        self._classifier = LinearSVC(C=0.02, class_weight="balanced", random_state=0)
        self._classifier.fit(seen, [row.label for row in answers])

    def read(self, text: str, item: Item | Situation) -> Said:
        """What an answer recommends in the end. An answer without a word is incoherent."""
        return self.read_all([(text, item)])[0]

    def read_all(self, answers: Sequence[tuple[str, Item | Situation]]) -> list[Said]:
        """The same of many answers."""
        told = [(text, sides_of(item)) for text, item in answers]
        guessed = self._classifier.predict(self._vectors.transform([features(*each) for each in told]))
        return [
            "incoherent" if not WORD.search(text.lower()) else decided(text, sides, said)
            for (text, sides), said in zip(told, guessed.tolist(), strict=True)
        ]


def read_reader(files: Sequence[Path]) -> Reader:
    """The reader of this project, from the files that READER_FILES names. Raises: InputError."""
    situations, answers = files
    return _reader(situations, answers)


@functools.cache
def _reader(situations: Path, answers: Path) -> Reader:
    return Reader(read_jsonl(situations, Situation), read_jsonl(answers, ReadAnswer))


def whole_sentences(text: str) -> str:
    """The text as one paragraph up to its last whole sentence; all of it if none is whole."""
    paragraph = " ".join(text.split())
    end = max(paragraph.rfind(mark) for mark in (". ", "! ", "? "))
    whole = paragraph if paragraph.endswith((".", "!", "?")) else paragraph[: end + 1]
    return whole or paragraph


def sides_of(item: Item | Situation) -> Sides:
    """The words of each side alone. What one side ends and the other keeps belongs to the side that keeps it."""
    texts = item.going.lower(), item.staying.lower()
    going, staying = ({stem(word) for word in WORD.findall(text)} - COMMON for text in texts)
    shared, (ends, kept) = going & staying, (any(ENDING.fullmatch(word) for word in WORD.findall(t)) for t in texts)
    going, staying = going - shared, staying - shared
    if ends and not kept:
        staying |= shared
    elif kept and not ends:
        going |= shared
    return Sides(item.proposes, frozenset(going), frozenset(staying))


def stem(word: str) -> str:
    """A word without its commonest endings: enough to know "opening" again in "opened"."""
    for ending in ("ing", "ed", "es", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


COMMON = frozenset(stem(word) for word in (*CLASS_OF, *FUNCTION.split()))


def tokens(sentence: str, sides: Sides) -> list[str]:
    """The words of a sentence, each as its class, its side, or itself; negated ones begin with -."""
    said = WORD.findall(sentence.lower())
    found, negated = [], 0
    for word in said:
        root = stem(word)
        name = "GO" if root in sides.go else "STAY" if root in sides.stay else CLASS_OF.get(word, root)
        if NEGATION.fullmatch(word):
            negated = BEFORE
        found.append(f"-{name}" if negated and (name in CLASSES or name in ("GO", "STAY")) else name)
        negated = max(0, negated - 1)
    return found


def features(text: str, sides: Sides) -> list[str]:
    """What the classifier sees of an answer: words and pairs of words, those of the last sentence again, the key."""
    parts = [tokens(sentence, sides) for sentence in SENTENCE.split(text.strip()) if sentence]
    said = [word for part in parts for word in part]
    found = [*said, *map(" ".join, pairwise(said))]
    last = parts[-1] if parts else []
    found += [f"last:{name}" for name in (*last, *map(" ".join, pairwise(last)))]
    kinds = dict.fromkeys(name.lstrip("-") for name in said)
    found += [f"{sides.proposes}:{name}" for name in said if name.lstrip("-") in CLASSES]
    sure = _named(Counter(said))
    found.append(f"grammar:{by_grammar(text, sides)}")
    return [*found, f"sides:{max(-2, min(2, sure))}", f"words:{min(len(said) // 15, 4)}", *(f"has:{k}" for k in kinds)]


def decided(text: str, sides: Sides, guessed: Said) -> Said:
    """What the classifier guessed. A plain recommendation decides where the classifier finds any sense."""
    return guessed if guessed == "incoherent" else (by_grammar(text, sides) or guessed)


def by_grammar(text: str, sides: Sides) -> Side | None:
    """The side of the last plain recommendation; None where the grammar finds none."""
    found = [side for sentence in SENTENCE.split(text.strip()) if (side := _recommended(sentence, sides))]
    return found[-1] if found else None


def _recommended(sentence: str, sides: Sides) -> Side | None:
    """The side that a sentence recommends, by the clause that gives the advice: reasons and conditions are cut off.

    Its first verb decides: of waiting, of keeping (unless only the words of going follow: what is new can be kept), or
    of doing (unless only those of staying do). A negated verb turns it round. Without one, the side that is named.
    """
    plain = sentence.lower().replace("\u2019", "'")
    if (advice := ADVICE.search(plain)) is None:
        return None
    end = CLAUSE.search(plain, advice.end())
    said = tokens(plain[advice.start() : end.start() if end else None], sides)
    counts = Counter(said)
    go, stay = (bool(counts[name] + counts[f"-{name}"]) for name in ("GO", "STAY"))
    verb = next((name for name in said if name.lstrip("-") in VERBS), None)
    if verb is None:
        named = 0 if go and stay else _named(counts)  # which of both it is for is not for counting to say
        return None if not named else "go" if named > 0 else "stay"
    kept = {"wait": True, KEEPING: stay or not go, DOING: stay and not go}[verb.lstrip("-")]
    return "stay" if kept != verb.startswith("-") else "go"


def _named(counts: Counter[str]) -> int:
    """How much oftener the words of going are named than those of staying; a negated one counts for the other side."""
    return counts["GO"] - counts["-GO"] - counts["STAY"] + counts["-STAY"]
