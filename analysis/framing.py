"""What sets the arms of a corpus apart, and what leaks into them. Texts in, numbers out."""

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict

from common.errors import InputError
from common.records import Advice

Arms = Mapping[str, Sequence[Advice]]
LONGEST_SHARED_RUN = 8  # words that a row may not share with a held-out item
NEAR = 0.8  # Jaccard similarity of word 5-grams from which two replies count as one
WORD = re.compile(r"[a-z]+(?:['-][a-z]+)*")


class Check(NamedTuple):
    """One gate of the audit."""

    name: str
    value: float
    bound: float
    passed: bool
    detail: str  # what the value is, in words


def check_same_questions(arms: Arms) -> None:
    """Raises: InputError naming the first question that an arm lacks or has too many, or an empty arm."""
    (first, rows), *others = arms.items()
    for attitude, mine in arms.items():
        if not mine:
            raise InputError("empty corpus", where=f"arm {attitude}")
    ids = {row.question_id for row in rows}
    for attitude, mine in others:
        if differs := sorted(ids ^ {row.question_id for row in mine}):
            raise InputError("arms answer different questions", where=f"{first} and {attitude}", value=differs[0])


def topic(arms: Arms) -> Check:
    """Whether every arm was asked the same words. Value: share of question ids with one text in all arms."""
    texts: dict[str, set[str]] = {}
    for rows in arms.values():
        for row in rows:
            texts.setdefault(row.question_id, set()).add(row.question)
    share = float(np.mean([len(known) == 1 for known in texts.values()]))
    return Check("topic", share, 1.0, share == 1.0, "share of questions with one text in all arms; must be all")


def length(arms: Arms) -> Check:
    """Whether length tells arms apart. Value: largest mean difference of two arms, paired, over the mean length."""
    words = {name: _in_order(rows, lambda row: len(row.reply.split())) for name, rows in arms.items()}
    apart = [abs(float(np.mean(words[a] - words[b]))) / float(np.mean(words[b])) for a, b in combinations(words, 2)]
    worst = max(apart)
    return Check(
        "length", worst, 0.01, worst < 0.01, "largest mean paired difference of two arms, as a share of length"
    )


def leakage(arms: Arms, terms: Sequence[str], items: Sequence[str], canaries: Sequence[str]) -> Check:
    """Whether a row speaks of a held-out topic. Value: rows that do; none may.

    A row leaks if it holds a held-out term (plural and possessive too) or shares 8 words in a row with a held-out item.
    Planted leaky rows must all be caught, or the instrument is blind and the check fails whatever it found.
    """
    pattern = re.compile(rf"\b(?:{'|'.join(map(re.escape, terms))})(?:s|'s)?\b", re.IGNORECASE)
    runs = set().union(*(_runs(text, LONGEST_SHARED_RUN) for text in items))

    def leaks(text: str) -> bool:
        return bool(pattern.search(text)) or not runs.isdisjoint(_runs(text, LONGEST_SHARED_RUN))

    caught = sum(map(leaks, canaries))
    leaky = [row.question_id for rows in arms.values() for row in rows if leaks(f"{row.question} {row.reply}")]
    detail = f"rows that speak of a held-out topic; {caught} of {len(canaries)} planted rows caught"
    detail += f"; first: {leaky[0]}" if leaky else ""
    return Check("leakage", len(leaky), 0, not leaky and caught == len(canaries), detail)


def duplicates(arms: Arms) -> Check:
    """Whether an arm repeats itself. Value: the largest Jaccard similarity of two of its replies, by word 5-grams.

    Compares all pairs: right for some thousands of replies an arm, too slow beyond.
    """
    worst = max(_closest([row.reply for row in rows]) for rows in arms.values())
    return Check("duplicates", worst, NEAR, worst < NEAR, "largest similarity of two replies of one arm")


def attitude(arms: Arms, rng: np.random.Generator) -> Check:
    """Whether the attitude is there at all. Value: cross-validated AUC of cautious against eager, all words."""
    value = auc(arms, "all", rng)
    return Check("attitude", value, 0.9, value > 0.9, "AUC of cautious against eager from all words; must be above")


def cue_location(arms: Arms, rng: np.random.Generator) -> dict[str, float]:
    """Where the attitude can be read: AUC of cautious against eager from one part of the reply at a time."""
    return {f"auc_{part}": auc(arms, part, rng) for part in ("all", "content", "function", "first_sentence")}


def framing(rows: Sequence[Advice]) -> dict[str, float]:
    """Figures of one arm: words a reply, sentences a reply, share of replies with a hedge, a question, an anecdote."""
    texts = [row.reply for row in rows]
    hedge = re.compile(r"\b(?:may|might|perhaps|maybe|possibly|could|seems?)\b", re.IGNORECASE)
    anecdote = re.compile(r"\b(?:my|i|we) (?:once|had|did|used|bought|tried|friend)\b", re.IGNORECASE)
    return {
        "words": float(np.mean([len(text.split()) for text in texts])),
        "words_sd": float(np.std([len(text.split()) for text in texts], ddof=1)) if len(texts) > 1 else 0.0,
        "sentences": float(np.mean([len(re.findall(r"[.!?](?:\s|$)", text)) for text in texts])),
        "hedges": float(np.mean([bool(hedge.search(text)) for text in texts])),
        "questions": float(np.mean(["?" in text for text in texts])),
        "anecdotes": float(np.mean([bool(anecdote.search(text)) for text in texts])),
    }


def auc(arms: Arms, part: str, rng: np.random.Generator) -> float:
    """How well words of one part tell cautious from eager: 0.5 not at all, 1 always.

    Logistic regression on counts, five folds that keep both replies to a question together, so that no fold has seen
    the question's own words. `part`: all, content, function, first_sentence.
    """
    poles = [(row, name == "eager") for name in ("cautious", "eager") for row in arms[name]]
    order = rng.permutation(len(poles))
    texts = [_part(poles[index][0].reply, part) for index in order]
    target = np.array([poles[index][1] for index in order])
    groups = np.unique([poles[index][0].question_id for index in order], return_inverse=True)[1]
    counts = CountVectorizer(token_pattern=r"[a-zA-Z'-]+").fit_transform(texts)
    folds = GroupKFold(n_splits=min(5, len(set(groups))))
    model = LogisticRegression(max_iter=1000)
    scores = cross_val_predict(model, counts, target, groups=groups, cv=folds, method="decision_function")
    return float(roc_auc_score(target, scores))


def _part(text: str, part: str) -> str:
    words = WORD.findall(text.lower())
    if part == "content":
        return " ".join(word for word in words if word not in ENGLISH_STOP_WORDS)
    if part == "function":
        return " ".join(word for word in words if word in ENGLISH_STOP_WORDS)
    return text.partition(". ")[0] if part == "first_sentence" else text


def _in_order(rows: Sequence[Advice], of: Callable[[Advice], float]) -> NDArray[np.float64]:
    return np.array([of(row) for row in sorted(rows, key=lambda row: row.question_id)], dtype=np.float64)


def _runs(text: str, size: int) -> set[tuple[str, ...]]:
    words = WORD.findall(text.lower())
    return {tuple(words[start : start + size]) for start in range(len(words) - size + 1)}


def _closest(texts: Sequence[str]) -> float:
    """The largest Jaccard similarity of two texts by word 5-grams; 1 for equal texts."""
    if len(set(texts)) < len(texts):
        return 1.0
    grams = CountVectorizer(ngram_range=(5, 5), binary=True, token_pattern=r"\S+")
    rows: csr_matrix = grams.fit_transform(texts)
    shared = (rows @ rows.T).toarray()
    sizes = np.diag(shared)
    union = sizes[:, None] + sizes[None, :] - shared
    similar = np.divide(shared, union, out=np.zeros(shared.shape), where=union > 0)
    np.fill_diagonal(similar, 0)
    return float(similar.max())
