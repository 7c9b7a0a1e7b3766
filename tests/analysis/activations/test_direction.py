"""The direction is the planted one, its layer is chosen on other topics, and random directions are a fair null."""

import numpy as np
import pytest
from numpy.typing import NDArray

from analysis.activations.direction import (
    FIT,
    JUDGE,
    accuracy,
    candidates,
    covariance_of,
    directions_of,
    layer_curve,
    null_directions,
    separation,
    shifts,
    sides_by_topic,
    spread,
)
from analysis.activations.drift import rank
from common.errors import InputError

QUESTIONS, LAYERS, D = 40, 5, 24
Floats = NDArray[np.float64]


def planted(rng: np.random.Generator, strength: list[float]) -> tuple[Floats, Floats, Floats]:
    """Replies whose poles differ along one axis by `strength[layer]`, users' turns that do not differ."""
    axis = rng.standard_normal(D)
    axis /= np.linalg.norm(axis)
    shared = rng.standard_normal((1, QUESTIONS, LAYERS, D))
    replies = shared + 0.3 * rng.standard_normal((2, QUESTIONS, LAYERS, D))
    replies[0] += np.asarray(strength)[None, :, None] * axis
    return replies, np.repeat(shared, 2, axis=0), axis


SIDES = np.arange(QUESTIONS) % 3
CAUSAL = [0.0] * LAYERS


def test_the_layer_that_does_most_is_chosen_and_what_is_told_of_it_comes_from_questions_that_chose_nothing() -> None:
    replies, users, axis = planted(np.random.default_rng(0), [0.0, 1.5, 2.0, 1.0, 5.0])
    replies[:, SIDES == JUDGE, 1] = replies[::-1, SIDES == JUDGE, 1]  # what it says of itself must come from here
    curve = layer_curve(replies, users, SIDES, [None, 0.3, 0.2, -4.0, None], np.random.default_rng(1))
    assert curve.chosen == 1 and [layer.causal for layer in curve.layers] == [None, 0.3, 0.2, -4.0, None]
    assert curve.layers[1].accuracy < 0.5 < curve.layers[2].accuracy == 1.0
    directions = directions_of(replies, SIDES == FIT)
    assert directions[2] @ axis > 0.95 and np.allclose(np.linalg.norm(directions, axis=1), 1)
    unread = layer_curve(replies, users, SIDES, [9.0, 0.3, 0.2, -4.0, None], np.random.default_rng(1))
    assert unread.chosen == 1, "the poles do not differ at layer 0, whatever a push there does"
    with pytest.raises(InputError, match="no layer can be chosen"):
        layer_curve(replies, users, SIDES, [None] * LAYERS, np.random.default_rng(1))


def test_the_last_layers_are_no_candidates_and_the_others_are_evenly_spaced() -> None:
    assert candidates(30, 0.2, 12) == [0, 2, 4, 6, 8, 10, 13, 15, 17, 19, 21, 23]
    assert candidates(5, 0.2, 12) == [0, 1, 2, 3] and candidates(1, 0.9, 12) == [0]


def test_without_a_difference_nothing_separates_beyond_shuffled_poles() -> None:
    found = []
    for seed in range(30):
        replies, users, _ = planted(np.random.default_rng(seed), [0.0] * LAYERS)
        curve = layer_curve(replies, users, SIDES, CAUSAL, np.random.default_rng(seed))
        found += [(layer.accuracy, layer.accuracy > layer.shuffled_accuracy_95) for layer in curve.layers]
    assert np.mean([value for value, _ in found]) == pytest.approx(0.5, abs=0.04)
    assert np.mean([beyond for _, beyond in found]) < 0.1


def test_controls_are_at_chance_beside_a_strong_direction() -> None:
    replies, users, _ = planted(np.random.default_rng(3), [3.0] * LAYERS)
    users[1] += 1e-3 * np.random.default_rng(4).standard_normal(users[1].shape)  # rounding
    for layer in layer_curve(replies, users, SIDES, CAUSAL, np.random.default_rng(5)).layers:
        assert layer.user_accuracy == 0.5
        assert layer.shuffled_accuracy == pytest.approx(0.5, abs=0.1)
        assert layer.accuracy > 0.95


def test_questions_that_betray_the_attitude_show_in_the_users_turn() -> None:
    replies, users, axis = planted(np.random.default_rng(6), [3.0] * LAYERS)
    users[0] += 3 * axis
    assert all(
        row.user_accuracy > 0.9 for row in layer_curve(replies, users, SIDES, CAUSAL, np.random.default_rng()).layers
    )


def test_separation_and_accuracy_by_hand() -> None:
    assert separation(np.array([1.0, 2.0, 3.0])) == pytest.approx(2.0)
    assert accuracy(np.array([1.0, -1.0, 0.0, 2.0])) == pytest.approx(2.5 / 4)


@pytest.mark.parametrize("same", [[2.0, 2.0], [1.0]])
def test_differences_that_do_not_vary_are_no_separation(same: list[float]) -> None:
    with pytest.raises(InputError, match="do not vary"):
        separation(np.array(same))


def test_poles_that_do_not_differ_have_no_direction() -> None:
    replies = np.repeat(np.random.default_rng(0).standard_normal((1, QUESTIONS, LAYERS, D)), 2, axis=0)
    with pytest.raises(InputError, match="do not differ"):
        layer_curve(replies, replies, SIDES, CAUSAL, np.random.default_rng(0))


def test_the_split_keeps_topics_whole_and_sides_even() -> None:
    topics = [f"t{number % 9}" for number in range(54)]
    found = sides_by_topic(topics, np.random.default_rng(0))
    sides = [{topic for topic, side in zip(topics, found, strict=True) if side == which} for which in range(3)]
    assert [len(side) for side in sides] == [3, 3, 3] and len(set.union(*sides)) == 9
    assert np.bincount(found).tolist() == [18, 18, 18]
    assert len({sides_by_topic(topics, np.random.default_rng(seed)).tobytes() for seed in range(10)}) > 5


def test_one_topic_cannot_be_split() -> None:
    with pytest.raises(InputError, match="8 questions in 1 topics"):
        sides_by_topic(["kettles"] * 8, np.random.default_rng(0))


def test_shift_by_hand() -> None:
    base = np.array([[0.0, 1.0], [2.0, 1.0], [4.0, 4.0]])
    tuned = base + np.array([3.0, 1.0])
    found = shifts(tuned, base, np.eye(2))
    assert found == pytest.approx([3 / 2, 1 / np.sqrt(3)])  # SDs of 0, 2, 4 and of 1, 1, 4
    assert spread(base, np.eye(2)) == pytest.approx([2, np.sqrt(3)])


def test_too_little_to_measure_a_shift_is_an_error() -> None:
    with pytest.raises(InputError, match="too few held-out prompts"):
        shifts(np.ones((1, 2)), np.zeros((1, 2)), np.eye(2))
    with pytest.raises(InputError, match="alike"):
        spread(np.array([[0.0, 1.0], [1.0, 1.0]]), np.eye(2))
    with pytest.raises(InputError, match="shapes differ"):
        shifts(np.ones((3, 2)), np.zeros((4, 2)), np.eye(2))


def test_the_shrunk_covariance_is_that_of_scikit_learn() -> None:
    from sklearn.covariance import ledoit_wolf

    samples = np.random.default_rng(0).standard_normal((30, D)) @ np.diag(np.linspace(0.2, 3, D))
    found = covariance_of(samples)
    expected, shrinkage = ledoit_wolf(samples)
    whole = found.factor @ found.factor.T + found.ridge * np.eye(D)
    assert np.allclose(whole, expected) and found.shrinkage == pytest.approx(shrinkage)
    eigenvalues = np.linalg.eigvalsh(expected)
    assert found.effective_rank == pytest.approx(eigenvalues.sum() ** 2 / (eigenvalues**2).sum())


def test_null_directions_are_unit_vectors_with_the_covariance() -> None:
    rng = np.random.default_rng(7)
    factor = rng.standard_normal((200, 150)) / np.sqrt(150)
    drawn = null_directions(factor, 0.25, 20_000, rng)
    assert np.allclose(np.linalg.norm(drawn, axis=1), 1)
    wanted = factor @ factor.T + 0.25 * np.eye(200)
    wanted /= np.trace(wanted)  # so many dimensions that normalising hardly bends the Gaussian
    error = np.linalg.norm(drawn.T @ drawn / len(drawn) - wanted) / np.linalg.norm(wanted)
    isotropic = np.linalg.norm(np.eye(200) / 200 - wanted) / np.linalg.norm(wanted)
    assert error < 0.15 < 0.5 < isotropic


def test_a_direction_from_shuffled_poles_is_called_drifted_at_the_nominal_rate() -> None:
    """The whole path: replies share a covariance, poles mean nothing, the shift of the model is arbitrary."""
    rng = np.random.default_rng(11)
    root = rng.standard_normal((32, 32)) * np.geomspace(3, 0.1, 32)  # a few strong dimensions, as in real residuals
    ranks = []
    for _ in range(300):
        replies = rng.standard_normal((2, 48, 32)) @ root.T
        base = rng.standard_normal((32, 32)) @ root.T
        tuned = base + rng.standard_normal(32) @ root.T
        covariance = covariance_of((replies - replies.mean(axis=1, keepdims=True)).reshape(-1, 32))
        nulls = null_directions(covariance.factor, covariance.ridge, 200, rng)
        direction = (replies[0] - replies[1])[:24].mean(axis=0)
        found = shifts(tuned, base, np.vstack([direction / np.linalg.norm(direction), nulls]))
        ranks.append(rank(found[0], found[1:]))
    assert 0.02 <= np.mean(np.array(ranks) > 0.95) <= 0.09
    assert np.mean(ranks) == pytest.approx(0.5, abs=0.06)
