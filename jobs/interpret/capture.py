"""Read the residual stream of a decoder after its blocks, keeping means over the positions that are asked for."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel

from common.errors import InputError, JobError


class Layout(NamedTuple):
    """Names of the parts of a decoder, as submodules of its causal language model."""

    blocks: str
    embeddings: str
    norm: str


_LLAMA = Layout("model.layers", "model.embed_tokens", "model.norm")
LAYOUTS = {
    "gemma": _LLAMA,
    "gemma2": _LLAMA,
    "gemma3_text": _LLAMA,
    "gpt2": Layout("transformer.h", "transformer.wte", "transformer.ln_f"),
    "gpt_neox": Layout("gpt_neox.layers", "gpt_neox.embed_in", "gpt_neox.final_layer_norm"),
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "olmo2": _LLAMA,
    "phi3": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "smollm3": _LLAMA,
}


class Passage(NamedTuple):
    """Token ids, and spans of positions whose mean residual is wanted."""

    ids: list[int]
    spans: tuple[range, ...]


class _Enough(Exception):
    """The last wanted block has run; the rest of the forward pass is not needed."""


def layout(model: PreTrainedModel | PeftModel) -> Layout:
    """Where the parts of this decoder are. Raises: InputError for a type of model that is not in the table."""
    kind = decoder(model).config.model_type
    if kind not in LAYOUTS:
        raise InputError("unknown type of model", where="model_type", value=kind, allowed=", ".join(LAYOUTS))
    return LAYOUTS[kind]


def decoder(model: PreTrainedModel | PeftModel) -> PreTrainedModel:
    """The causal language model itself; the adapter of a PEFT model acts inside it."""
    return model.get_base_model() if isinstance(model, PeftModel) else model


def blocks_of(model: PreTrainedModel | PeftModel) -> nn.ModuleList:
    """The decoder layers. Raises: InputError for a type of model that is not in the table."""
    return decoder(model).get_submodule(layout(model).blocks)


def capture(
    model: PreTrainedModel | PeftModel,
    passages: Sequence[Passage],
    layers: Sequence[int],
    batch_rows: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> NDArray[np.float32]:
    """Mean residual over each span of each passage after each of `layers` (0 is the first block).

    Returns (n_passages, n_spans, n_layers, d_model). One forward pass serves all layers and goes no further than the
    last of them. Passages are batched by length, so that equal calls make equal batches; means are summed in float64.
    Raises: InputError for an unknown type of model, or a span that is empty or outside its passage; JobError if a
    residual has another shape than expected or is not finite.
    """
    for number, passage in enumerate(passages):
        if not all(span and span[0] >= 0 and span[-1] < len(passage.ids) for span in passage.spans):
            raise InputError("span is empty or outside its passage", where=f"passage {number}", value=passage.spans)
    order = sorted(range(len(passages)), key=lambda index: (len(passages[index].ids), index))
    kept: dict[int, NDArray[np.float32]] = {}
    for start in range(0, len(order), batch_rows):
        rows = order[start : start + batch_rows]
        means = _means(decoder(model), blocks_of(model), [passages[index] for index in rows], layers)
        kept |= dict(zip(rows, means, strict=True))
        progress(len(kept), len(passages))
    return np.stack([kept[index] for index in range(len(passages))])


@torch.inference_mode()
def _means(
    model: PreTrainedModel, blocks: nn.ModuleList, passages: Sequence[Passage], layers: Sequence[int]
) -> NDArray[np.float32]:
    ids, mask, weights = (part.to(model.device) for part in _padded(passages))
    found: dict[int, Tensor] = {}

    def keep(layer: int, hidden: Tensor) -> None:
        if hidden.shape != (*ids.shape, model.config.hidden_size):
            raise JobError("residual has an unexpected shape", where=f"layer {layer}", value=tuple(hidden.shape))
        found[layer] = weights @ hidden.double()
        if len(found) == len(set(layers)):
            raise _Enough

    with hooked(blocks, layers, keep), suppress(_Enough):
        model(input_ids=ids, attention_mask=mask, use_cache=False)
    means = torch.stack([found[layer] for layer in layers], dim=2)
    if not torch.isfinite(means).all():
        bad = next(layer for layer in layers if not torch.isfinite(found[layer]).all())
        raise JobError("residual is not finite", where=f"layer {bad}")
    return means.float().cpu().numpy()


@contextmanager
def hooked(blocks: nn.ModuleList, layers: Sequence[int], keep: Callable[[int, Tensor], None]) -> Iterator[None]:
    """Call `keep(layer, residual after it)` as each of `layers` runs; the hooks are gone afterwards, come what may."""

    def hook(layer: int) -> Callable[[nn.Module, object, object], None]:
        # Some decoders return the residual alone, others a tuple that begins with it.
        return lambda module, inputs, output: keep(layer, output[0] if isinstance(output, tuple) else output)

    with ExitStack() as stack:
        for layer in sorted(set(layers)):
            stack.callback(blocks[layer].register_forward_hook(hook(layer)).remove)
        yield


def _padded(passages: Sequence[Passage]) -> tuple[Tensor, Tensor, Tensor]:
    """Ids and mask (rows, length), padded on the right, and the weights (rows, spans, length) of each span's mean.

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
