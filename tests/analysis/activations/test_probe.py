"""Probes find what is planted, nothing where nothing is, and are judged on questions they never saw."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from analysis.activations.probe import probes, words
from common.errors import InputError

QUESTIONS, WIDTH = 60, 12
FIT = np.arange(QUESTIONS) < 40


def features(shift: float, seed: int = 0) -> NDArray[np.float64]:
    """Cautious and eager replies, of which only feature 3 knows which is which."""
    drawn = np.random.default_rng(seed).standard_normal((2, QUESTIONS, WIDTH))
    drawn[0, :, 3] += shift
    return drawn


def test_a_planted_feature_is_found_with_the_accuracy_that_it_allows() -> None:
    found, weights = probes({"residual": features(6.0)}, FIT, ~FIT, np.random.default_rng(0))
    assert found["residual"].auc > 0.99
    assert found["residual"].shuffled == pytest.approx(0.5, abs=0.1) and found["residual"].shuffled_95 > 0.6
    assert np.linalg.norm(weights) == pytest.approx(1) and np.argmax(weights) == 3, "it points towards caution"
    single, _ = probes({"one": features(1.0)[..., 3:4]}, FIT, ~FIT, np.random.default_rng(0))
    assert single["one"].auc == pytest.approx(stats.norm.cdf(1 / np.sqrt(2)), abs=0.12), "two normals, one SD apart"


def test_nothing_is_found_where_nothing_is() -> None:
    made = [probes({"r": features(0.0, seed)}, FIT, ~FIT, np.random.default_rng(seed))[0]["r"] for seed in range(12)]
    assert np.mean([each.auc for each in made]) == pytest.approx(0.5, abs=0.08)
    assert sum(each.auc > each.shuffled_95 for each in made) <= 3


def test_what_only_the_fitted_questions_hold_does_not_count() -> None:
    values = features(0.0)
    values[0, FIT, 3] += 6
    found, _ = probes({"residual": values}, FIT, ~FIT, np.random.default_rng(0))
    assert found["residual"].auc < 0.75


def test_weights_are_in_the_units_of_the_features() -> None:
    values = features(6.0)
    values[..., 3] *= 100
    _, weights = probes({"residual": values, "other": features(0.0)}, FIT, ~FIT, np.random.default_rng(0))
    assert abs(weights[3]) < 0.1, "a feature a hundred times as large needs a weight a hundred times as small"


def test_two_questions_a_side_are_needed() -> None:
    with pytest.raises(InputError, match="too few questions to probe"):
        probes({"residual": features(0.0)}, np.arange(QUESTIONS) < 1, FIT, np.random.default_rng(0))


def test_words_that_occur_once_are_left_out() -> None:
    assert words(["wait and wait", "wait now", "go now"]).tolist() == [[0, 1], [1, 1], [1, 0]]
