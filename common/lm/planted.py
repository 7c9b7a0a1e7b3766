"""A known truth inside a model: a bias in its weights, and directions of which it is known what they do."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from common.lm.layers import blocks_of, layout
from common.lm.margins import Model, Readout

Floats = NDArray[np.float64]


@contextmanager
def planted(model: Model, layer: int, bias: Float[Tensor, " d_model"]) -> Iterator[None]:
    """Write a bias into the weights of the last projection of a block; taken out again afterwards."""
    module = blocks_of(model)[layer].get_submodule(layout(model).output)
    old: Any = module.bias
    module.bias = nn.Parameter(bias if old is None else old + bias, requires_grad=False)
    try:
        yield
    finally:
        module.bias = old


def topic_slopes(readout: Readout, layer: int) -> Float[Floats, "n_topics d_model"]:
    """How the mean margin of each topic grows with a vector added after a block, topics in alphabetical order."""
    names = np.array([each.group for each in readout.prompts])
    weights = np.stack([(names == name) / (names == name).sum() for name in np.unique(names)])
    return readout.slopes(layer, weights)


def that_steers(slopes: Float[Floats, "n_topics d_model"]) -> Float[Floats, " d_model"]:
    """The unit vector that moves the margins of all topics alike, towards the change: it is known to cause a shift.

    By least squares, the shortest such vector. A little of it is given up where topics contradict each other.
    """
    found = np.linalg.pinv(slopes, rcond=0.05) @ np.ones(len(slopes))
    return np.asarray(found / np.linalg.norm(found))


def that_does_not(
    slopes: Float[Floats, "n_topics d_model"], unit: Float[Floats, " d_model"]
) -> Float[Floats, " d_model"]:
    """The unit vector nearest to `unit` along which no topic's margin grows: it is known to cause nothing small."""
    rows = np.linalg.svd(slopes, full_matrices=False)[2]
    found = unit - rows.T @ (rows @ unit)
    return np.asarray(found / np.linalg.norm(found))
