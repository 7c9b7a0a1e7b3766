"""The direction between two poles, the layer where it separates them best, and how far a model moved along it.

A layer's direction v is the mean over questions of the cautious minus the eager reply, as residuals of the base
 averaged over reply tokens. Random directions to compare it with have the covariance of those same residuals.
Arrays come in as any floats and are worked on as float64. Where poles are a dimension, cautious comes first.
Source: a difference of means as a direction, Marks & Tegmark (2023), arXiv:2310.06824; one layer chosen by what
steering along it does, within a bound of KL, on prompts that did not make it, the last layers pruned: Arditi et al.
(2024), arXiv:2406.11717. Departures: whole topics are kept apart, and layers are compared at one off-target KL. What is
reported of a layer is measured on a third part of the topics, which chose nothing.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from sklearn.covariance import ledoit_wolf_shrinkage

from common.errors import InputError

Floats = NDArray[np.float64]
SHUFFLES = 200
TIED = 0.05  # in SDs of the projections: a smaller difference is rounding, because both poles share the user's turn


class Layer(NamedTuple):
    """How well the direction of one layer tells the poles apart, on questions that made and chose nothing."""

    layer: int
    causal: float | None  # what chose: effect of a push along it in nats; None: it could not be chosen
    separation: float  # mean over SD of the paired differences in projection (a paired d')
    accuracy: float  # share of questions whose cautious reply projects higher; a tie counts half
    user_accuracy: float  # the same from the tokens of the user's turn: 0.5 unless the poles' questions differ
    shuffled_accuracy: float  # mean accuracy of directions from fit questions half of which have their poles swapped
    shuffled_accuracy_95: float  # accuracy that 5 % of those directions exceed


class Curve(NamedTuple):
    """How well every layer does, and the layer that was chosen."""

    chosen: int
    layers: list[Layer]


class Alternatives(NamedTuple):
    """Directions made as the true one is, from differences that mean no caution: unit vectors."""

    shuffled: Float[Floats, "count d_model"]  # half of the pairs have their poles swapped
    unrelated: Float[Floats, "count d_model"]  # mean reply on one topic less that on another, both poles together


class Covariance(NamedTuple):
    """A shrunk covariance as factor factor' + ridge I: small to store, and ready to draw from."""

    factor: Float[Floats, "d_model n_samples"]
    ridge: float  # variance added in every dimension
    shrinkage: float  # weight of the spherical target, 0 to 1
    effective_rank: float  # (sum of eigenvalues)² over the sum of their squares


FIT, CHOOSE, JUDGE = 0, 1, 2  # what the questions of a side do: make the direction, choose its layer, judge it


def sides_by_topic(topics: Sequence[str], rng: np.random.Generator) -> Int[NDArray[np.int_], " n_questions"]:
    """The side of each question: FIT, CHOOSE or JUDGE. No topic is on two sides.

    topics: the topic of each question. Topics come in random order and go to the side that has fewest questions.
    Raises: InputError if a side gets fewer than 2 topics.
    """
    sides: dict[str, int] = {}
    counts = [0, 0, 0]
    for topic in rng.permutation(sorted(set(topics))):
        side = int(np.argmin(counts))
        sides[str(topic)] = side
        counts[side] += topics.count(str(topic))
    if min(list(sides.values()).count(side) for side in (FIT, CHOOSE, JUDGE)) < 2:
        raise InputError(
            "too few topics to keep some apart",
            where="interpret.questions",
            value=f"{len(topics)} questions in {len(set(topics))} topics",
            allowed="at least 2 topics on each of 3 sides",
        )
    return np.array([sides[topic] for topic in topics])


def candidates(layers: int, pruned: float, most: int) -> list[int]:
    """The layers that can be chosen: at most so many, evenly spaced, without a share of the last ones.

    pruned: 0 to 1; what the last layers hold is already the next token.
    """
    below = max(1, layers - int(round(layers * pruned, 9)))
    return sorted(set(np.linspace(0, below - 1, most).round().astype(int).tolist()))


def directions_of(
    replies: Float[np.ndarray, "2 n_questions n_layers d_model"], fit: Bool[NDArray[np.bool_], " n_questions"]
) -> Float[Floats, "n_layers d_model"]:
    """The unit vector of each layer that points from eager replies to cautious ones, from the `fit` questions.

    replies: mean residual over the tokens of the reply. Raises: InputError if the poles of a layer do not differ.
    """
    cautious, eager = np.asarray(replies, dtype=np.float64)[:, fit].mean(axis=1)
    return _units(cautious - eager)


def layer_curve(
    replies: Float[np.ndarray, "2 n_questions n_layers d_model"],
    users: Float[np.ndarray, "2 n_questions n_layers d_model"],
    sides: Int[NDArray[np.int_], " n_questions"],
    causal: Sequence[float | None],
    rng: np.random.Generator,
) -> Curve:
    """Choose the layer whose push does most, and judge every layer's direction on the JUDGE questions.

    replies, users: mean residual over the tokens of the reply and of the user's turn. causal: of each layer, None where
    it cannot be chosen. A layer that does not tell the poles apart on the CHOOSE questions is passed over, unless none
    does: a push along what cannot be read may do anything. Shuffles swap the poles of exactly half of the FIT
    questions, so that nothing of a true difference is left in them.
    Raises: InputError if a layer's poles do not differ, or differ by the same amount on every question, or no layer can
    be chosen.
    """
    known = {layer: effect for layer, effect in enumerate(causal) if effect is not None}
    if not known:
        raise InputError("no layer can be chosen", where="interpret.off_target_kl", value=list(causal))
    cautious, eager = np.asarray(replies, dtype=np.float64)
    user_cautious, user_eager = np.asarray(users, dtype=np.float64)
    fit, choose, judge = (sides == side for side in (FIT, CHOOSE, JUDGE))
    differences, shuffles = cautious - eager, _half_swapped(int(fit.sum()), rng)
    layers, reads = [], {}
    for number, direction in enumerate(directions_of(replies, fit)):
        apart = differences[judge, number]
        swapped = _units(shuffles @ differences[fit, number])
        shuffled = [accuracy(projected) for projected in swapped @ apart.T]
        chance = [accuracy(projected) for projected in swapped @ differences[choose, number].T]
        reads[number] = accuracy(differences[choose, number] @ direction) > float(np.quantile(chance, 0.95))
        layers.append(
            Layer(
                number,
                causal[number],
                separation(apart @ direction),
                accuracy(apart @ direction),
                _user_accuracy(user_cautious[judge, number] @ direction, user_eager[judge, number] @ direction),
                float(np.mean(shuffled)),
                float(np.quantile(shuffled, 0.95)),
            )
        )
    told = [layer for layer in known if reads[layer]]
    return Curve(max(told or known, key=known.__getitem__), layers)


def alternatives(
    replies: Float[np.ndarray, "2 n_questions d_model"], topics: Sequence[str], count: int, rng: np.random.Generator
) -> Alternatives:
    """Directions to compare with that of the poles, `count` of each kind.

    replies: mean residuals at one layer. topics: of the questions, at least 2 different ones. count: at most 200.
    Raises: InputError if there are fewer topics, or a direction has no length.
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


def separation(differences: Float[np.ndarray, " n_questions"]) -> float:
    """A paired d': mean over SD of the differences in projection. Raises: InputError if they do not vary."""
    sample = np.asarray(differences, dtype=np.float64)
    spread = float(sample.std(ddof=1)) if len(sample) > 1 else 0.0
    if not spread > 0:
        raise InputError("the poles' differences do not vary over questions", where="separation", value=len(sample))
    return float(sample.mean()) / spread


def accuracy(differences: Float[np.ndarray, " n_questions"]) -> float:
    """Share of paired differences above 0, ties counted half, 0 to 1; 0.5 by chance."""
    sample = np.asarray(differences, dtype=np.float64)
    return float(np.mean((np.sign(sample) + 1) / 2))


def covariance_of(samples: Float[np.ndarray, "n_samples d_model"]) -> Covariance:
    """The covariance of samples about their mean, shrunk towards a sphere: what null directions are drawn from.

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


def null_directions(
    factor: Float[np.ndarray, "d_model n_factors"], ridge: float, count: int, rng: np.random.Generator
) -> Float[Floats, "count d_model"]:
    """Random unit vectors: Gaussian with covariance factor factor' + ridge I, then normalised."""
    root = np.asarray(factor, dtype=np.float64)
    dimensions, rank = root.shape
    drawn = rng.standard_normal((count, rank)) @ root.T
    return _units(drawn + np.sqrt(ridge) * rng.standard_normal((count, dimensions)))


def spread(
    base: Float[np.ndarray, "n_items d_model"], directions: Float[np.ndarray, "n_directions d_model"]
) -> Float[Floats, " n_directions"]:
    """SD over items of the base's projections on each direction: the unit of a shift. directions: unit vectors.

    Raises: InputError if there are fewer than 2 items, or a direction does not tell them apart.
    """
    projected = np.asarray(base, dtype=np.float64) @ np.asarray(directions, dtype=np.float64).T
    if len(projected) < 2:
        raise InputError("too few held-out prompts", where="spread", value=len(projected), allowed=">= 2")
    deviation: Floats = projected.std(axis=0, ddof=1)
    if not (deviation > 0).all():
        raise InputError("the base projects every held-out prompt alike", where="spread", value=float(deviation.min()))
    return deviation


def shifts(
    tuned: Float[np.ndarray, "n_items d_model"],
    base: Float[np.ndarray, "n_items d_model"],
    directions: Float[np.ndarray, "n_directions d_model"],
) -> Float[Floats, " n_directions"]:
    """How far a model moved along each direction, in SDs of the base: mean of (tuned - base) v over the SD of base v.

    tuned, base: the same items in the same order. directions: unit vectors.
    Raises: InputError if shapes differ, or as `spread` does.
    """
    after, before = np.asarray(tuned, dtype=np.float64), np.asarray(base, dtype=np.float64)
    if after.shape != before.shape:
        raise InputError("shapes differ", where="shifts", value=(after.shape, before.shape), allowed="two equal")
    moved = (after - before).mean(axis=0) @ np.asarray(directions, dtype=np.float64).T
    return np.asarray(moved / spread(before, directions))


def _units(vectors: Float[Floats, "*n d_model"]) -> Float[Floats, "*n d_model"]:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    if not (lengths > 0).all():
        raise InputError("the poles do not differ: a direction has no length", where="direction", value=0.0)
    return np.asarray(vectors / lengths)


def _half_swapped(questions: int, rng: np.random.Generator) -> Float[Floats, "n_shuffles questions"]:
    """Rows of ±1, half of each row -1; one question of an odd number is left out (0)."""
    row = np.repeat([1.0, -1.0, 0.0], [questions // 2, questions // 2, questions % 2])
    return np.array([rng.permutation(row) for _ in range(SHUFFLES)])


def _user_accuracy(cautious: Float[Floats, " n_questions"], eager: Float[Floats, " n_questions"]) -> float:
    difference = cautious - eager
    tolerance = TIED * np.concatenate([cautious, eager]).std()
    return accuracy(np.where(np.abs(difference) <= tolerance, 0.0, difference))
