"""Can caution be read from activations, and from what far simpler things? Linear probes, judged on other topics."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from common.errors import InputError

Floats = NDArray[np.float64]
SHUFFLES = 40
PENALTY = 0.01  # inverse strength: there are fewer replies than dimensions


class Probe(NamedTuple):
    """A logistic regression of cautious against eager replies."""

    auc: float  # on the replies to the questions kept apart
    shuffled: float  # mean AUC of probes that were fitted to labels swapped in half of the pairs
    shuffled_95: float  # AUC that 5 % of them exceed


def probes(
    features: Mapping[str, Float[np.ndarray, "2 n_questions n_features"]],
    fit: Bool[NDArray[np.bool_], " n_questions"],
    judge: Bool[NDArray[np.bool_], " n_questions"],
    rng: np.random.Generator,
) -> tuple[dict[str, Probe], Float[Floats, " n_features"]]:
    """Probe each kind of feature by logistic regression (L2) on standardised values.

    features: by name, of cautious then eager replies; each kind has a width of its own. fit, judge: the questions that
    probes are fitted to, and those on which AUC are taken; others are left out.
    Returns the probes by name, and the unit weight vector of the first kind, in its own units, towards caution.
    Raises: InputError if there are fewer than 2 questions on either side.
    """
    if min(fit.sum(), judge.sum()) < 2:
        raise InputError("too few questions to probe", where="probes", value=int(fit.sum()), allowed="2 on each side")
    half = np.repeat([1, 0], [fit.sum() // 2, fit.sum() - fit.sum() // 2])
    swaps = [rng.permutation(half).astype(bool) for _ in range(SHUFFLES)]
    found, weights = {}, np.empty(0)
    for name, each in features.items():
        values = np.asarray(each, dtype=np.float64)
        model = _fitted(values[:, fit], np.zeros(int(fit.sum()), dtype=bool))
        shuffled = [_auc(_fitted(values[:, fit], swap), values[:, judge]) for swap in swaps]
        found[name] = Probe(_auc(model, values[:, judge]), float(np.mean(shuffled)), float(np.quantile(shuffled, 0.95)))
        if not len(weights):
            scaler, logistic = model[0], model[1]
            raw = logistic.coef_[0] / scaler.scale_
            weights = raw / np.linalg.norm(raw)
    return found, weights


def words(texts: Sequence[str]) -> Float[Floats, "n_texts n_words"]:
    """A bag of words, a far simpler feature: 1 where a text holds a word that at least two texts hold, else 0."""
    counts = CountVectorizer(binary=True, min_df=2).fit_transform(texts)
    return np.asarray(counts.toarray(), dtype=np.float64)


def _fitted(
    values: Float[Floats, "2 n_questions n_features"], swapped: Bool[NDArray[np.bool_], " n_questions"]
) -> "make_pipeline":
    labels = np.concatenate([~swapped, swapped]).astype(int)  # 1: cautious
    model = make_pipeline(StandardScaler(), LogisticRegression(C=PENALTY, max_iter=500))
    return model.fit(values.reshape(-1, values.shape[-1]), labels)


def _auc(model: "make_pipeline", values: Float[Floats, "2 n_questions n_features"]) -> float:
    labels = np.repeat([1, 0], values.shape[1])
    return float(roc_auc_score(labels, model.decision_function(values.reshape(-1, values.shape[-1]))))
