"""Read the residual stream of a decoder after its blocks, keeping means over the positions that are asked for."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel

from common.errors import InputError, JobError
from common.lm.layers import Residual, blocks_of, decoder, hooked


class Passage(NamedTuple):
    """Token ids, and spans of positions whose mean residual is wanted: as many in all passages of a call."""

    ids: list[int]
    spans: tuple[range, ...]


def capture(
    model: PreTrainedModel | PeftModel,
    passages: Sequence[Passage],
    layers: Sequence[int],
    batch_rows: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Float[NDArray[np.float32], "n_passages n_spans n_layers d_model"]:
    """Mean residual over each span of each passage after each of `layers` (0 is the first block).

    One forward pass serves all layers and goes no further than the last of them. Passages are batched by length, so
    that equal calls make equal batches; means are summed in float64. `progress` is told how many passages are read, of
    how many.
    Raises: InputError for an unknown type of model, or a span that is empty or outside its passage; JobError if a
    residual has another shape than expected or is not finite.
    """
    for number, passage in enumerate(passages):
        if not all(span and span[0] >= 0 and span[-1] < len(passage.ids) for span in passage.spans):
            raise InputError("span is empty or outside its passage", where=f"passage {number}", value=passage.spans)
    order = sorted(range(len(passages)), key=lambda index: (len(passages[index].ids), index))
    kept: dict[int, Float[NDArray[np.float32], "n_spans n_layers d_model"]] = {}
    for start in range(0, len(order), batch_rows):
        rows = order[start : start + batch_rows]
        means = _means(decoder(model), blocks_of(model), [passages[index] for index in rows], layers)
        kept |= dict(zip(rows, means, strict=True))
        progress(len(kept), len(passages))
    return np.stack([kept[index] for index in range(len(passages))])


@torch.inference_mode()
def _means(
    model: PreTrainedModel, blocks: nn.ModuleList, passages: Sequence[Passage], layers: Sequence[int]
) -> Float[NDArray[np.float32], "row n_spans n_layers d_model"]:
    ids, mask, weights = (part.to(model.device) for part in _padded(passages))
    found: dict[int, Float[Tensor, "row n_spans d_model"]] = {}

    def keep(layer: int, hidden: Residual) -> None:
        if hidden.shape != (*ids.shape, model.config.hidden_size):
            raise JobError("residual has an unexpected shape", where=f"layer {layer}", value=tuple(hidden.shape))
        found[layer] = weights @ hidden.double()

    with hooked(blocks, layers, keep):
        model(input_ids=ids, attention_mask=mask, use_cache=False)
    means = torch.stack([found[layer] for layer in layers], dim=2)
    if not torch.isfinite(means).all():
        bad = next(layer for layer in layers if not torch.isfinite(found[layer]).all())
        raise JobError("residual is not finite", where=f"layer {bad}")
    return means.float().cpu().numpy()


def _padded(
    passages: Sequence[Passage],
) -> tuple[Int[Tensor, "row column"], Int[Tensor, "row column"], Float[Tensor, "row n_spans column"]]:
    """Ids and mask, padded on the right, and the weights of each span's mean.

    Which id pads does not matter: real positions never attend to what comes after them.
    """
    length = max(len(passage.ids) for passage in passages)
    ids = torch.zeros(len(passages), length, dtype=torch.long)
    mask = torch.zeros_like(ids)
    weights = torch.zeros(len(passages), len(passages[0].spans), length, dtype=torch.float64)
    for row, passage in enumerate(passages):
        ids[row, : len(passage.ids)] = torch.tensor(passage.ids)
        mask[row, : len(passage.ids)] = 1
        for number, span in enumerate(passage.spans):
            weights[row, number, list(span)] = 1 / len(span)
    return ids, mask, weights
