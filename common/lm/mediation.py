"""What of the difference between two models goes through a direction: put in, taken out, ablated, patched.

Two models here are one set of weights in two states, such as a base with one adapter or another. *Before* is the one
that is compared with, *after* the one whose margins differ. The gap is after less before, question by question. Every
instrument answers with a part of the gap in nats, (n_units, n_questions): what of it a unit vector closes.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from common.lm.layers import Residual, without
from common.lm.margins import Model, Readout

Floats = NDArray[np.float64]
Parts = Float[Floats, "n_units n_questions"]
State = Callable[[], AbstractContextManager[object]]  # inside, the model is in one of its two states


class Compared:
    """Two states of a model on some questions, and what both make of them."""

    def __init__(self, model: Model, readout: Readout, before: State, after: State, layers: Sequence[int]) -> None:
        """Read both once, at all the layers that are needed. readout: of whole texts."""
        self.model, self.readout, self.before, self.after = model, readout, before, after
        with before():
            self.of_before = readout.residuals(model, layers)
            self.margins_before = readout.under(model, {})
        with after():
            self.of_after = readout.residuals(model, layers)
            self.margins_after = readout.under(model, {})

    @property
    def gap(self) -> Float[Floats, " n_questions"]:
        """After less before, nats."""
        return self.margins_after - self.margins_before

    def differences(self, layer: int) -> Residual:
        """After less before at a layer, in fp32."""
        return self.of_after[layer].float() - self.of_before[layer].float()

    def mean_difference(self, layer: int, rows: Tensor | None = None) -> Float[Floats, " d_model"]:
        """The mean of that over all tokens of these rows; of all rows for None."""
        real = self.readout.own.double()
        if rows is not None:
            real = real * rows.double()[:, None]
        total = (self.differences(layer).double() * real[..., None]).sum(dim=(0, 1))
        return np.asarray((total / real.sum()).cpu().numpy())


def sufficient(compared: Compared, layer: int, units: Float[Floats, "n_units d_model"]) -> Parts:
    """What *before* gains by a constant vector along each unit, as long as the mean difference along it."""
    shift = compared.mean_difference(layer)
    return put_in(compared, layer, (units @ shift)[:, None] * units)


def sufficient_whole(compared: Compared, layer: int) -> Float[Floats, " n_questions"]:
    """The same by the whole mean difference, whatever its direction.

    Cross-fitted: each question gets the mean of the questions of the other half of the topics, in alphabetical order.
    """
    topics = [each.group for each in compared.readout.prompts for _ in each.replies]
    ranks = {topic: rank for rank, topic in enumerate(sorted(set(topics)))}
    odd = torch.tensor([ranks[topic] % 2 == 1 for topic in topics], device=compared.readout.own.device)
    theirs = [torch.tensor(compared.mean_difference(layer, rows)) for rows in (odd, ~odd)]
    vectors = torch.stack(theirs).to(odd.device)[odd.long()][:, None]  # even rows get the mean of odd ones
    return np.asarray(_added(compared, layer, [vectors])[0])


def put_in(compared: Compared, layer: int, vectors: Float[Floats, "n_vectors d_model"]) -> Parts:
    """What *before* gains by each of these vectors, added at every token."""
    return _added(compared, layer, [torch.tensor(vector) for vector in vectors])


def necessary(compared: Compared, layer: int, units: Float[Floats, "n_units d_model"]) -> Parts:
    """What *after* loses when its component along each unit is that of *before*, token by token."""
    after, differences = compared.of_after[layer], compared.differences(layer)
    residuals = [after]
    for unit in units:
        along = torch.tensor(unit, dtype=torch.float32, device=after.device)
        residuals.append((after.float() - (differences @ along)[..., None] * along).to(after.dtype))
    with compared.after():
        found = compared.readout.above(compared.model, layer, residuals)
    return np.asarray(found[0] - found[1:])


def ablated(compared: Compared, units: Float[Floats, "n_units d_model"]) -> Parts:
    """How much of the gap is gone when the component along each unit is taken out of every block of both models."""
    found = []
    for unit in units:
        along = torch.tensor(unit, dtype=torch.float32, device=compared.readout.ids.device)
        margins = []
        for state in (compared.before, compared.after):
            with state(), without(compared.model, along):
                margins.append(compared.readout.under(compared.model, {}))
        found.append(compared.gap - (margins[1] - margins[0]))
    return np.array(found)


def patched(compared: Compared, layer: int, spans: Sequence[Tensor]) -> Float[Floats, "n_spans n_questions"]:
    """What *before* gains when residuals of *after* are put in at a layer, at the positions of each span."""
    before, after = compared.of_before[layer], compared.of_after[layer]
    residuals = [torch.where(span[..., None], after, before) for span in spans]
    with compared.before():
        margins = compared.readout.above(compared.model, layer, residuals)
    return np.asarray(margins - compared.margins_before)


def _added(compared: Compared, layer: int, vectors: Sequence[Tensor]) -> Parts:
    before = compared.of_before[layer]
    residuals = [before + vector.to(device=before.device, dtype=before.dtype) for vector in vectors]
    with compared.before():
        found = compared.readout.above(compared.model, layer, [before, *residuals])
    return np.asarray(found[1:] - found[0])
