"""The shapes in the signatures are those of the arrays: every name of a dimension means one size in a call."""

import inspect
from collections.abc import Callable
from typing import Any, get_type_hints

import numpy as np
import pytest
from jaxtyping import AbstractArray, jaxtyped

from analysis.activations import direction, drift, movement, probe, steering

RNG = np.random.default_rng(0)
QUESTIONS, LAYERS, D = 12, 3, 5
FIT = np.arange(QUESTIONS) % 2 == 0
TOPICS = [f"t{number % 6}" for number in range(QUESTIONS)]
POLES = RNG.standard_normal((2, QUESTIONS, LAYERS, D))
UNITS = np.eye(D)
CALLS: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
    (direction.sides_by_topic, (TOPICS, RNG)),
    (direction.directions_of, (POLES, FIT)),
    (direction.layer_curve, (POLES, POLES + 1, np.arange(QUESTIONS) % 3, [0.1, None, 0.2], RNG)),
    (direction.alternatives, (POLES[:, :, 0], TOPICS, 7, RNG)),
    (direction.separation, (POLES[0, :, 0, 0],)),
    (direction.accuracy, (POLES[0, :, 0, 0],)),
    (direction.covariance_of, (POLES[0, :, 0],)),
    (direction.null_directions, (UNITS[:, :2], 0.1, 4, RNG)),
    (direction.spread, (POLES[0, :, 0], UNITS)),
    (direction.shifts, (POLES[1, :, 0], POLES[0, :, 0], UNITS[:2])),
    (drift.rank, (0.5, RNG.standard_normal(100))),
    (probe.probes, ({"residual": POLES[:, :, 0]}, FIT, ~FIT, RNG)),
    (probe.words, (["wait now", "go now"],)),
    (steering.steering_effect, (POLES[:, :, 0, 0], {"norm": RNG.standard_normal((20, 2, QUESTIONS))}, TOPICS)),
    (steering.compare_with_nulls, (0.1, RNG.standard_normal(20), 0.1, 3)),
    (steering.topic_means, (RNG.standard_normal((2, 3, QUESTIONS)), TOPICS)),
    (steering.share_over_runs, (RNG.standard_normal((3, 6)), 1 + RNG.random((3, 6)))),
    (steering.topics_that_would_do, (RNG.standard_normal(6),)),
    (movement.pair, (0.5, 0.1, RNG.standard_normal(100), RNG.standard_normal(100))),
    (steering.share_of_gap, (RNG.standard_normal(QUESTIONS), 1 + RNG.random(QUESTIONS), TOPICS)),
]


def is_shape(hint: object) -> bool:
    return isinstance(hint, type) and issubclass(hint, AbstractArray)


def shapes_of(function: Callable[..., Any], arguments: tuple[Any, ...], found: Any) -> list[tuple[Any, Any]]:
    """Every array of a call with its annotation: arguments, what came back, and its fields."""
    hints = get_type_hints(function)
    given = inspect.signature(function).bind(*arguments).arguments
    pairs = [(value, hints[name]) for name, value in given.items()] + [(found, hints["return"])]
    if hasattr(found, "_fields"):
        pairs += [(getattr(found, name), hint) for name, hint in get_type_hints(type(found)).items()]
    return [(value, hint) for value, hint in pairs if is_shape(hint)]


@pytest.mark.parametrize(("function", "arguments"), CALLS, ids=[function.__name__ for function, _ in CALLS])
def test_arrays_have_the_shapes_of_the_signature(function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    found = function(*arguments)
    with jaxtyped("context"):
        for value, hint in shapes_of(function, arguments, found):
            assert isinstance(value, hint), (hint, np.shape(value))


def test_the_check_itself_finds_a_wrong_shape() -> None:
    pairs = shapes_of(direction.shifts, (POLES[1, :, 0], POLES[0, :, 0], UNITS[:2]), np.zeros(3))
    assert len(pairs) == 4
    with jaxtyped("context"):
        assert [isinstance(value, hint) for value, hint in pairs] == [True, True, True, False]
