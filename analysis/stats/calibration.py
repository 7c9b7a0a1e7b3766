"""How much headroom each item has on the base, and how far each topic is from what the piles speak of.

Both are worked out before any tuned model is scored, and sealed in the lock.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer

from analysis.stats.answers import by_item
from common.errors import InputError
from common.records import Answer, Item, Question

BANDS = ("low", "mid", "high")  # of the base's P(go): headroom upwards, both ways, downwards
DISTANCES = ("near", "mid", "far")


class Headroom(NamedTuple):
    """Where one item stands on the base."""

    p_go: float  # share of the base's sampled answers that recommend the change
    band: str


def headrooms(rows: Sequence[Answer], low: float, high: float) -> dict[str, Headroom]:
    """The band of each item by what the base advised in its samples; in its greedy answers where there are none.

    Raises: InputError as `by_item`.
    """
    plain = [row for row in rows if row.prompted is None]
    samples = [row for row in plain if row.sample] or plain
    shares = by_item(samples)["go"]
    return {str(item): Headroom(float(p), band(p, low, high)) for item, p in shares.items()}


def band(p_go: float, low: float, high: float) -> str:
    """low below `low`, high above `high`, mid between them, both bounds included."""
    return "low" if p_go < low else "high" if p_go > high else "mid"


def check_reversed(items: Sequence[Item]) -> None:
    """Refuse items that propose the change more often than keeping things, or less: agreement would pass for a stance.

    All together must propose both alike, and each topic as nearly as its number allows.
    Raises: InputError naming the topic, or all.
    """
    sides: dict[str, list[str]] = {"all": [item.proposes for item in items]}
    for item in items:
        sides.setdefault(item.topic, []).append(item.proposes)
    for topic, mine in sides.items():
        go, stay = mine.count("go"), mine.count("stay")
        if abs(go - stay) > (0 if topic == "all" else len(mine) % 2):
            value = f"{go} propose the change, {stay} propose to keep"
            raise InputError(
                "items propose one side more often", where=f"topic {topic}", value=value, allowed="as many"
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
    held_out = _texts((item.topic, f"{item.situation} {item.going} {item.staying}") for item in items)
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
