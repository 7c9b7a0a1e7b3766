"""The direction between two poles, the layer where it separates them best, and how far a model moved along it.

A layer's direction v is the mean over questions of the cautious minus the eager reply, as residuals of the
base averaged over reply tokens. Random directions to compare it with have the covariance of those same residuals.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.covariance import ledoit_wolf_shrinkage

from common.errors import InputError

Floats = NDArray[np.float64]
SHUFFLES = 200
TIED = 0.05  # in SDs of the projections: a smaller difference is rounding, because both poles share the user's turn


class Layer(NamedTuple):
    """How well the direction of one layer tells the poles apart on questions that did not make it."""

    layer: int
    separation: float  # mean over SD of the paired differences in projection (a paired d')
    accuracy: float  # share of questions whose cautious reply projects higher; a tie counts half
    user_accuracy: float  # the same from the tokens of the user's turn: 0.5 unless the poles' questions differ
    shuffled_accuracy: float  # mean accuracy of directions from fit questions half of which have their poles swapped
    shuffled_accuracy_95: float  # accuracy that 5 % of those directions exceed


class Curve(NamedTuple):
    """Every layer's direction and how well it does, and the layer that was chosen."""

    chosen: int
    pruned_from: int  # first layer that could not be chosen
    layers: list[Layer]
    directions: Floats  # (n_layers, d_model), unit vectors that point to caution


class Alternatives(NamedTuple):
    """Directions made as the true one is, from differences that mean no caution: unit vectors (count, d_model)."""

    shuffled: Floats  # half of the pairs have their poles swapped
    unrelated: Floats  # mean reply on one topic less that on another, both poles together


class Covariance(NamedTuple):
    """A shrunk covariance as factor factor' + ridge I: small to store, and ready to draw from."""

    factor: Floats  # (d_model, n_samples)
    ridge: float  # variance added in every dimension
    shrinkage: float  # weight of the spherical target, 0 to 1
    effective_rank: float  # (sum of eigenvalues)² over the sum of their squares


def split_by_topic(topics: Sequence[str], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Mark the questions that fit the direction; the others choose the layer. No topic is on both sides.

    topics: the topic of each question. Topics come in random order and go to the side that has fewer questions.
    Raises: InputError if either side gets fewer than 2 questions.
    """
    sides: tuple[set[str], set[str]] = (set(), set())
    counts = [0, 0]
    for topic in rng.permutation(sorted(set(topics))):
        side = int(counts[1] < counts[0])
        sides[side].add(str(topic))
        counts[side] += topics.count(str(topic))
    if min(counts) < 2:
        raise InputError(
            "too few questions or topics to keep some apart",
            where="interpret.questions",
            value=f"{len(topics)} questions in {len(set(topics))} topics",
            allowed="at least 2 questions on each side of a split by topic",
        )
    return np.array([topic in sides[0] for topic in topics])


def layer_curve(
    replies: ArrayLike, users: ArrayLike, fit: NDArray[np.bool_], pruned: float, rng: np.random.Generator
) -> Curve:
    """Fit a direction for each layer on the `fit` questions and judge it on the others.

    replies, users: (2, n_questions, n_layers, d_model), cautious then eager: mean residual over the tokens of the reply
    and of the user's turn. pruned: share of the last layers that are never chosen, because what they hold is already
    the next token. Shuffles swap the poles of exactly half of the fit questions, so that nothing of a true
    difference is left in them.
    Raises: InputError if a layer's poles do not differ, or differ by the same amount on every question.
    """
    cautious, eager = np.asarray(replies, dtype=np.float64)
    user_cautious, user_eager = np.asarray(users, dtype=np.float64)
    differences = cautious - eager
    directions = _units(differences[fit].mean(axis=0))
    shuffles = _half_swapped(int(fit.sum()), rng)
    layers = []
    for number, direction in enumerate(directions):
        apart = differences[~fit, number]
        swapped = _units(shuffles @ differences[fit, number])
        shuffled = [accuracy(projected) for projected in swapped @ apart.T]
        layers.append(
            Layer(
                number,
                separation(apart @ direction),
                accuracy(apart @ direction),
                _user_accuracy(user_cautious[~fit, number] @ direction, user_eager[~fit, number] @ direction),
                float(np.mean(shuffled)),
                float(np.quantile(shuffled, 0.95)),
            )
        )
    pruned_from = max(1, len(layers) - int(round(len(layers) * pruned, 9)))
    chosen = max(layers[:pruned_from], key=lambda layer: layer.separation).layer
    return Curve(chosen, pruned_from, layers, directions)


def alternatives(replies: ArrayLike, topics: Sequence[str], count: int, rng: np.random.Generator) -> Alternatives:
    """Directions to compare with that of the poles.

    replies: (2, n_questions, d_model), cautious then eager. topics: of the questions, at least 2 different ones.
    Raises: InputError if there are fewer topics.
    """
    both = np.asarray(replies, dtype=np.float64)
    names = np.asarray(topics, dtype=str)
    if len(kinds := np.unique(names)) < 2:
        raise InputError("too few topics to tell apart", where="interpret.questions", value=kinds.tolist())
    differences = both[0] - both[1]
    swaps = _half_swapped(len(names), rng)[:count]
    middle = both.mean(axis=0)
    means = np.stack([middle[names == kind].mean(axis=0) for kind in kinds])
    chosen = [rng.choice(len(kinds), size=2, replace=False) for _ in range(count)]
    unrelated = np.stack([means[one] - means[other] for one, other in chosen])
    return Alternatives(_units(swaps @ differences), _units(unrelated))


def separation(differences: ArrayLike) -> float:
    """Mean over SD of paired differences: (n_questions,). Raises: InputError if they do not vary."""
    sample = np.asarray(differences, dtype=np.float64)
    spread = float(sample.std(ddof=1)) if len(sample) > 1 else 0.0
    if not spread > 0:
        raise InputError("the poles' differences do not vary over questions", where="separation", value=len(sample))
    return float(sample.mean()) / spread


def accuracy(differences: ArrayLike) -> float:
    """Share of paired differences above 0, ties counted half: (n_questions,)."""
    sample = np.asarray(differences, dtype=np.float64)
    return float(np.mean((np.sign(sample) + 1) / 2))


def covariance_of(samples: ArrayLike) -> Covariance:
    """The covariance of centred samples (n_samples, d_model), shrunk towards a sphere.

    Raises: InputError if there are fewer than 2 samples or they do not vary.
    Source: Ledoit & Wolf (2004), J. Multivar. Anal. 88(2), by scikit-learn.
    """
    rows = np.asarray(samples, dtype=np.float64)
    centred = rows - rows.mean(axis=0)
    if len(rows) < 2 or not centred.any():
        raise InputError("too few samples for a covariance", where="covariance_of", value=rows.shape)
    shrinkage = float(ledoit_wolf_shrinkage(centred, assume_centered=True))
    factor = np.sqrt((1 - shrinkage) / len(rows)) * centred.T
    ridge = shrinkage * float((centred**2).sum()) / len(rows) / rows.shape[1]
    gram = factor.T @ factor  # has the eigenvalues of factor factor' that are not 0
    total = float(np.trace(gram)) + ridge * rows.shape[1]
    squares = float((gram**2).sum()) + 2 * ridge * float(np.trace(gram)) + ridge**2 * rows.shape[1]
    return Covariance(factor, ridge, shrinkage, total**2 / squares)


def null_directions(factor: ArrayLike, ridge: float, count: int, rng: np.random.Generator) -> Floats:
    """Random unit vectors (count, d_model): Gaussian with covariance factor factor' + ridge I, then normalised."""
    root = np.asarray(factor, dtype=np.float64)
    dimensions, rank = root.shape
    drawn = rng.standard_normal((count, rank)) @ root.T
    return _units(drawn + np.sqrt(ridge) * rng.standard_normal((count, dimensions)))


def spread(base: ArrayLike, directions: ArrayLike) -> Floats:
    """SD over items of the base's projections on each direction.

    base: (n_items, d_model). directions: (n_directions, d_model), unit vectors.
    Raises: InputError if there are fewer than 2 items, or a direction does not tell them apart.
    """
    projected = np.asarray(base, dtype=np.float64) @ np.asarray(directions, dtype=np.float64).T
    if len(projected) < 2:
        raise InputError("too few held-out prompts", where="spread", value=len(projected), allowed=">= 2")
    deviation: Floats = projected.std(axis=0, ddof=1)
    if not (deviation > 0).all():
        raise InputError("the base projects every held-out prompt alike", where="spread", value=float(deviation.min()))
    return deviation


def shifts(tuned: ArrayLike, base: ArrayLike, directions: ArrayLike) -> Floats:
    """How far a model moved along each direction: mean over items of (tuned - base) v, over the SD of base v.

    tuned, base: (n_items, d_model), the same items in the same order. directions: (n_directions, d_model), unit
    vectors. Returns (n_directions,) in SDs of the base.
    Raises: InputError if shapes differ, or as `spread` does.
    """
    after, before = np.asarray(tuned, dtype=np.float64), np.asarray(base, dtype=np.float64)
    if after.shape != before.shape:
        raise InputError("shapes differ", where="shifts", value=(after.shape, before.shape), allowed="two equal")
    moved = (after - before).mean(axis=0) @ np.asarray(directions, dtype=np.float64).T
    return np.asarray(moved / spread(before, directions))


def _units(vectors: Floats) -> Floats:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    if not (lengths > 0).all():
        raise InputError("the poles do not differ: a direction has no length", where="direction", value=0.0)
    return np.asarray(vectors / lengths)


def _half_swapped(questions: int, rng: np.random.Generator) -> Floats:
    """(SHUFFLES, questions) of ±1, half of each row -1; one question of an odd number is left out (0)."""
    row = np.repeat([1.0, -1.0, 0.0], [questions // 2, questions // 2, questions % 2])
    return np.array([rng.permutation(row) for _ in range(SHUFFLES)])


def _user_accuracy(cautious: Floats, eager: Floats) -> float:
    difference = cautious - eager
    tolerance = TIED * np.concatenate([cautious, eager]).std()
    return accuracy(np.where(np.abs(difference) <= tolerance, 0.0, difference))
