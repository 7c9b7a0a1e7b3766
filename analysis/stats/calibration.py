"""How much headroom each item has on the base, and how far each topic is from what the piles speak of.

Both are worked out before any tuned model is scored, and sealed in the lock.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer

from analysis.stats.stance import by_item
from common.errors import InputError
from common.records import Choice, Item, Question

BANDS = ("low", "mid", "high")  # of the base's P(go): headroom upwards, both ways, downwards
DISTANCES = ("near", "mid", "far")


class Headroom(NamedTuple):
    """Where one item stands on the base."""

    p_go: float | None  # None where no answer was valid
    band: str | None


def headrooms(rows: Sequence[Choice], measure: str, low: float, high: float) -> dict[str, Headroom]:
    """The band of each item by the base's P(go), the mean over wordings and orders. Raises: as `by_item`."""
    values = by_item(rows)[measure]
    return {
        str(item): Headroom(None, None) if np.isnan(p) else Headroom(float(p), band(p, low, high))
        for item, p in values.items()
    }


def calibrated(
    choices: Mapping[str, Sequence[Choice]], measure: str, low: float, high: float
) -> dict[str, dict[str, dict[str, Any]]]:
    """The headrooms of each base's items, model → item → the fields of Headroom."""
    return {
        model: {item: headroom._asdict() for item, headroom in headrooms(rows, measure, low, high).items()}
        for model, rows in choices.items()
    }


def band(p_go: float, low: float, high: float) -> str:
    """low below `low`, high above `high`, mid between them, both bounds included."""
    return "low" if p_go < low else "high" if p_go > high else "mid"


def check_reversed(items: Sequence[Item]) -> None:
    """Refuse topics in which yes means one side more often than the other: assent would pass for a stance.

    Raises: InputError naming the topic.
    """
    keys: dict[str, list[str]] = {}
    for item in items:
        keys.setdefault(item.topic, []).append(item.yes_means)
    for topic, sides in keys.items():
        if sides.count("go") != sides.count("stay"):
            value = f"yes is the change in {sides.count('go')}, keeping in {sides.count('stay')}"
            raise InputError(
                "items without a reversed twin", where=f"topic {topic}", value=value, allowed="as many of each"
            )


class Distance(NamedTuple):
    """How near a held-out topic is to the training topics."""

    cosine: float  # of its TF-IDF centroid to that of the nearest training topic
    nearest: str
    band: str  # near, mid or far: a third of the topics each


def distances(items: Sequence[Item], questions: Sequence[Question]) -> dict[str, Distance]:
    """Each held-out topic against the training topics, by the words of items and of question plans.

    Words weigh by TF-IDF over all texts of both; English stop words are left out. It compares words, not meanings.
    """
    held_out = _texts((item.topic, f"{item.scenario} {item.question} {item.go} {item.stay}") for item in items)
    trained = _texts(
        (row.topic, " ".join((row.text, row.go, row.stay, *row.facts, *row.pros, *row.cons))) for row in questions
    )
    weights = TfidfVectorizer(stop_words="english", sublinear_tf=True)
    weights.fit([text for mine in (*held_out.values(), *trained.values()) for text in mine])
    ours, theirs = (_centroids(weights, texts) for texts in (held_out, trained))
    cosines = ours @ theirs.T
    order = np.argsort(-cosines.max(axis=1), kind="stable")
    place = {int(topic): rank for rank, topic in enumerate(order)}
    names = list(trained)
    return {
        topic: Distance(
            cosine=float(cosines[index].max()),
            nearest=names[int(cosines[index].argmax())],
            band=DISTANCES[place[index] * len(DISTANCES) // len(held_out)],
        )
        for index, topic in enumerate(held_out)
    }


def _texts(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    made: dict[str, list[str]] = {}
    for topic, text in pairs:
        made.setdefault(topic, []).append(text)
    return made


def _centroids(weights: TfidfVectorizer, texts: Mapping[str, Sequence[str]]) -> NDArray[np.float64]:
    """Unit centroids, (n_topics, n_words)."""
    means = np.vstack([np.asarray(weights.transform(mine).mean(axis=0)) for mine in texts.values()])
    return np.asarray(means / np.linalg.norm(means, axis=1, keepdims=True), dtype=np.float64)
