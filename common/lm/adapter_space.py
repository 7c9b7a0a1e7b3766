"""What of a LoRA adapter writes along a direction, read off its matrices: no text, no forward pass."""

from collections.abc import Iterator
from typing import NamedTuple, cast

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from common.errors import InputError
from common.lm.layers import blocks_of, layout

Floats = NDArray[np.float64]


class Written(NamedTuple):
    """How much a change of weights writes to the residual stream: squared Frobenius norms, by block."""

    along: Float[Floats, "n_blocks n_units"]  # of what it writes along each unit vector
    whole: Float[Floats, " n_blocks"]  # of all that it writes

    @property
    def share(self) -> Float[Floats, " n_units"]:
        """Of all blocks together, 0 to 1; 1 / d_model by chance."""
        return np.asarray(self.along.sum(axis=0) / self.whole.sum())


def written(tuned: PeftModel, pole: str, neutral: str, units: Float[Floats, "n_units d_model"]) -> Written:
    """What one adapter writes less what another does, by block: along unit vectors, and in all.

    Raises: InputError if no module that writes to the residual stream is adapted.
    """
    along, whole, found = [], [], 0
    for number, _ in enumerate(blocks_of(tuned)):
        parts = [_norms(left, right, units) for left, right in _changes(tuned, number, pole, neutral, units.shape[1])]
        along.append(sum((part[0] for part in parts), np.zeros(len(units))))
        whole.append(sum(part[1] for part in parts))
        found += len(parts)
    if not found:
        raise InputError("no adapted module writes to the residual stream", where="adapter", value="lora_B")
    return Written(np.array(along), np.array(whole))


def _changes(
    tuned: PeftModel, block: int, pole: str, neutral: str, width: int
) -> Iterator[tuple[Float[Tensor, "d_model rank"], Float[Tensor, "rank d_in"]]]:
    """The change of each module of a block that writes to the residual stream, as a product of two matrices."""
    names = layout(tuned)
    for name, module in blocks_of(tuned)[block].named_modules():
        if not isinstance(module, LoraLayer) or not name.startswith((names.attention, names.mlp)):
            continue
        if module.out_features != width or name.rpartition(".")[2] in ("q_proj", "k_proj", "v_proj", "gate_proj"):
            continue  # writes to keys, queries, values or gates
        sides = [_scaled(module, adapter, sign) for adapter, sign in ((pole, 1.0), (neutral, -1.0))]
        yield torch.cat([left for left, _ in sides], dim=1), torch.cat([right for _, right in sides], dim=0)


def _scaled(module: LoraLayer, adapter: str, sign: float) -> tuple[Tensor, Tensor]:
    """lora_B with the scale, and lora_A; a bias counts as one more input that is always 1."""
    inner, outer = cast(nn.Linear, module.lora_A[adapter]), cast(nn.Linear, module.lora_B[adapter])
    down, left = inner.weight.double(), sign * module.scaling[adapter] * outer.weight.double()
    if outer.bias is None:
        return left, torch.nn.functional.pad(down, (0, 1))
    bias = sign * module.scaling[adapter] * outer.bias.double()[:, None]
    one = torch.zeros(1, down.shape[1] + 1, dtype=down.dtype, device=down.device)
    one[0, -1] = 1
    return torch.cat([left, bias], dim=1), torch.cat([torch.nn.functional.pad(down, (0, 1)), one])


@torch.no_grad()
def _norms(left: Tensor, right: Tensor, units: Floats) -> tuple[Floats, float]:
    gram = right @ right.T
    rows = torch.tensor(units, dtype=left.dtype, device=left.device) @ left
    along = ((rows @ gram) * rows).sum(dim=1)
    return along.cpu().numpy(), float(((left.T @ left) * gram).sum())
