"""Make what the audit of tone is held against: the scorer of eagerness, and the reference of ordinary texts.

    python -m benchmarks.tone

Writes `jobs/audit/data/axes/eagerness.json` and `reference.json` beside it, and prints how well the scorer does on
questions and topics that it has not seen, and where ordinary texts lie that the reference is not made of.

The scorer is a logistic regression (L2) on counts of words and pairs of words: cautious against eager replies of the
bank and of the positive control; a neutral reply and an ordinary text count half on either side. So words that
ordinary texts use, whatever they are about, weigh little: without them the poles lay at -7 and +4 SDs from ordinary
texts, and with them at -14 and +15. Only terms that stand in many topics of the bank are taken, so that no topic has an
attitude. Its intercept is left out: a score is a rate.
"""

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from analysis.corpus.axes import EAGERNESS, LISTS, PER, Axis, read_list, terms_of
from analysis.corpus.replies import Reply
from analysis.corpus.telling import words_of
from analysis.corpus.tone import Reference, Tone
from benchmarks.ordinary import HELD_OUT, REFERENCE, Ordinary
from common.cli import parsed
from common.provenance import ROOT
from common.records import Question, Replies
from common.serialization import read_jsonl
from common.stance.bank import CONTROL_REPLIES, QUESTIONS, REPLIES

COMMAND = "python -m benchmarks.tone"
DATA = ROOT / "jobs/audit/data/axes"
TOPICS, TIMES = 6, 20  # a term stands in so many topics, and in so many replies
PENALTY = 0.1  # C of the regression
FOLDS = 6
ORDINARY = 150  # paragraphs of each corpus of the reference that the scorer is fitted to
SIDES: Mapping[str, tuple[int, ...]] = {"cautious": (0,), "eager": (1,)}  # all else stands on both
EVERYDAY = 3  # corpora in which a word stands that is an everyday word
Floats = NDArray[np.float64]


class Row(NamedTuple):
    """A reply of the bank."""

    question: str
    topic: str
    attitude: str
    text: str


def bank() -> list[Row]:
    """Every reply of the bank and of the positive control, with its topic and its attitude."""
    topics = {question.id: question.topic for question in read_jsonl(ROOT / QUESTIONS, Question)}
    rows = []
    for path in (REPLIES, CONTROL_REPLIES):
        for row in read_jsonl(ROOT / path, Replies):
            topic = topics.get(row.question_id) or row.question_id.rpartition("-")[0]
            rows += [Row(row.question_id, topic, attitude, text) for attitude, text in row.replies.items()]
    return rows


def ordinary() -> list[Row]:
    """Texts of the reference, but those of the bank itself."""
    return [Row(each.name, each.name, "ordinary", text) for each in REFERENCE[1:] for text in each.texts()[:ORDINARY]]


def vocabulary(rows: Sequence[Row]) -> list[str]:
    """Words and pairs of words that stand in many topics."""
    topics: dict[str, set[str]] = defaultdict(set)
    times: Counter[str] = Counter()
    for row in rows:
        found = set(terms_of(words_of(row.text)))
        times.update(found)
        for term in found:
            topics[term].add(row.topic)
    return sorted(term for term, count in times.items() if count >= TIMES and len(topics[term]) >= TOPICS)


def fitted(rows: Sequence[Row], others: Sequence[Row]) -> dict[str, float]:
    """The weight of each term: positive is eager. What is of no pole stands on both sides with half a weight.

    others: ordinary texts; the terms are those of `rows`, which are of the bank.
    """
    terms = vocabulary(rows)
    texts: list[str] = []
    sides: list[int] = []
    weights: list[float] = []
    for row in (*rows, *others):
        on = SIDES.get(row.attitude, (0, 1))
        texts += [row.text] * len(on)
        sides += on
        weights += [1 / len(on)] * len(on)
    model = LogisticRegression(C=PENALTY, max_iter=5000, tol=1e-8).fit(_counts(texts, terms), sides, weights)
    return {term: round(float(weight), 4) for term, weight in zip(terms, model.coef_[0], strict=True)}


def accuracy(rows: Sequence[Row], others: Sequence[Row], groups: Sequence[str]) -> float:
    """The share of cautious and eager replies on the right side of 0, by models that have seen none of their group.

    0 is where neutral replies lie on average, which the scorer of the other groups says.
    """
    names = sorted(set(groups))
    order = np.random.default_rng(0).permutation(len(names))
    right: list[bool] = []
    for fold in np.array_split(order, FOLDS):
        out = {names[at] for at in fold}
        seen = [row for row, group in zip(rows, groups, strict=True) if group not in out]
        axis = Axis(EAGERNESS, fitted(seen, others), linear=True)
        middle = np.mean([_rate(axis, row.text) for row in seen if row.attitude == "neutral"])
        for row, group in zip(rows, groups, strict=True):
            if group in out and row.attitude in SIDES:
                right.append((_rate(axis, row.text) > middle) == (row.attitude == "eager"))
    return float(np.mean(right))


def measured(ordinary: Ordinary, axes: Sequence[Axis]) -> Tone:
    """A corpus read on every axis."""
    tone = Tone(axes, {axis.name: Reference(0.0, 1.0, {}) for axis in axes})
    for number, text in enumerate(ordinary.texts(), start=1):
        tone.add(Reply(ordinary.name, number, 1, "", text, ""))
    return tone


def reference(axes: Sequence[Axis]) -> dict[str, object]:
    """What the reference file holds."""
    found = {each.name: measured(each, axes) for each in REFERENCE}
    rates = {name: tone.rates() for name, tone in found.items()}
    points = {
        axis.name: {
            name: round(sum(axis.weights[t] * r for t, r in rates[name][axis.name].items()), 5) for name in found
        }
        for axis in axes
    }
    return {
        "made_by": COMMAND,
        "corpora": [
            {"name": each.name, "what": each.what, "licence": each.licence, "replies": found[each.name].replies,
             "words": found[each.name].words, "scores": {axis.name: points[axis.name][each.name] for axis in axes}}
            for each in REFERENCE
        ],
        "axes": {axis.name: _spread(axis, points[axis.name], rates) for axis in axes},
        "everyday": everyday(),
    }  # fmt: skip


def everyday() -> list[str]:
    """Words that stand in at least EVERYDAY corpora of the reference: one of them alone gives no topic away."""
    counts: Counter[str] = Counter()
    for each in REFERENCE:
        counts.update({word for text in each.texts() for word in words_of(text)})
    return sorted(word for word, count in counts.items() if count >= EVERYDAY)


def _spread(axis: Axis, points: Mapping[str, float], rates: Mapping[str, Mapping[str, Mapping[str, float]]]) -> object:
    values = np.array(list(points.values()))
    known = sorted({term for mine in rates.values() for term in mine[axis.name]})
    mean = {
        term: round(float(np.mean([mine[axis.name].get(term, 0.0) for mine in rates.values()])), 6) for term in known
    }
    return {"mean": round(float(values.mean()), 5), "sd": round(float(values.std(ddof=1)), 5), "rates": mean}


def _counts(texts: Sequence[str], terms: Sequence[str]) -> csr_matrix:
    counter = CountVectorizer(analyzer=lambda text: terms_of(words_of(text)), vocabulary=list(terms))
    counts: csr_matrix = counter.transform(texts)
    return counts


def _rate(axis: Axis, text: str) -> float:
    words = words_of(text)
    return PER * axis.points(axis.terms_in(words)) / max(1, len(words))


def main() -> None:
    """Fit, measure, write, print."""
    parsed(argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter))
    rows, others = bank(), ordinary()
    weights = fitted(rows, others)
    groups = {"questions": [row.question for row in rows], "topics": [row.topic for row in rows]}
    told = {name: round(accuracy(rows, others, mine), 4) for name, mine in groups.items()}
    scorer = {"made_by": COMMAND, "accuracy": told, "weights": weights}
    (DATA / "eagerness.json").write_text(json.dumps(scorer, indent=0) + "\n")
    lists = [read_list(name, (DATA / f"{name}.txt").read_text().splitlines(), f"{name}.txt") for name in LISTS]
    axes = [Axis(EAGERNESS, weights, linear=True), *lists]
    (DATA / "reference.json").write_text(json.dumps(reference(axes), indent=0) + "\n")
    tell(axes, told)


def tell(axes: Sequence[Axis], told: Mapping[str, float]) -> None:
    """Print the accuracy, and z of the ordinary corpora that no figure was made of."""
    console, spreads = Console(), json.loads((DATA / "reference.json").read_text())["axes"]
    console.print(f"right on questions and topics that the scorer has not seen: {told}")
    for each in HELD_OUT:
        rates = measured(each, axes).rates()
        scores = {axis.name: sum(axis.weights[t] * r for t, r in rates[axis.name].items()) for axis in axes}
        z = {name: (score - spreads[name]["mean"]) / spreads[name]["sd"] for name, score in scores.items()}
        console.print(each.name, {name: round(value, 1) for name, value in z.items()})


if __name__ == "__main__":
    main()
