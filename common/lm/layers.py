"""The parts of a decoder by name, and changes of the residual stream between its blocks.

Everything here leaves the model as it was: hooks and blocks are put back when a `with` ends, also by an error.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, NamedTuple, cast

import torch
from jaxtyping import Float, Int
from peft import PeftModel
from torch import Tensor, nn
from transformers import Cache, PreTrainedModel

from common.errors import InputError, JobError
from common.lm.generation import positions

Residual = Float[Tensor, "row column d_model"]  # after a block
Change = Callable[[Residual], Residual]  # of the residual, with the same shape and type


class Layout(NamedTuple):
    """Names of the parts of a decoder, as submodules of its causal language model."""

    blocks: str
    embeddings: str
    norm: str
    attention: str  # of a block
    mlp: str  # of a block
    output: str  # of a block, the last projection that is added to the residual
    detached: bool = True  # blocks run alone from a residual: nothing but the blocks stands before the last norm


_LLAMA = Layout("model.layers", "model.embed_tokens", "model.norm", "self_attn", "mlp", "mlp.down_proj")
_SCALED = _LLAMA._replace(detached=False)  # embeddings are scaled on their way in, given ones too
LAYOUTS = {
    "gemma": _SCALED,
    "gemma2": _SCALED,
    "gemma3_text": _SCALED,
    "gpt2": Layout("transformer.h", "transformer.wte", "transformer.ln_f", "attn", "mlp", "mlp.c_proj", detached=False),
    "gpt_neox": Layout(
        "gpt_neox.layers",
        "gpt_neox.embed_in",
        "gpt_neox.final_layer_norm",
        "attention",
        "mlp",
        "mlp.dense_4h_to_h",
        detached=False,
    ),
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "olmo2": _LLAMA,
    "phi3": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "smollm3": _LLAMA._replace(detached=False),  # its blocks know by their place whether they rotate
}


def layout(model: PreTrainedModel | PeftModel) -> Layout:
    """Where the parts of this decoder are. Raises: InputError for a type of model that is not in the table."""
    kind = decoder(model).config.model_type
    if kind not in LAYOUTS:
        raise InputError("unknown type of model", where="model_type", value=kind, allowed=", ".join(LAYOUTS))
    return LAYOUTS[kind]


def decoder(model: PreTrainedModel | PeftModel) -> PreTrainedModel:
    """The causal language model itself; the adapter of a PEFT model acts inside it."""
    return cast(PreTrainedModel, model.get_base_model()) if isinstance(model, PeftModel) else model


def blocks_of(model: PreTrainedModel | PeftModel) -> nn.ModuleList:
    """The decoder layers. Raises: InputError for a type of model that is not in the table."""
    return cast(nn.ModuleList, decoder(model).get_submodule(layout(model).blocks))


class _Enough(Exception):
    """The last wanted block has run; the rest of the forward pass is not needed."""


@contextmanager
def hooked(blocks: nn.ModuleList, layers: Sequence[int], keep: Callable[[int, Residual], None]) -> Iterator[None]:
    """Call `keep(layer, residual after it)` as each of `layers` runs in the forward pass inside, which ends there.

    The hooks are gone afterwards, come what may.
    """
    last = max(layers)

    def hook(layer: int) -> Callable[[nn.Module, object, object], None]:
        def read(_module: nn.Module, _inputs: object, output: object) -> None:
            # Some decoders return the residual alone, others a tuple that begins with it.
            residual = output[0] if isinstance(output, tuple) else output
            assert isinstance(residual, Tensor)
            keep(layer, residual)
            if layer == last:
                raise _Enough

        return read

    with suppress(_Enough), ExitStack() as stack:
        for layer in sorted(set(layers)):
            stack.callback(blocks[layer].register_forward_hook(hook(layer)).remove)
        yield


@contextmanager
def changed(model: PreTrainedModel | PeftModel, changes: Mapping[int, Change]) -> Iterator[None]:
    """Put `changes[layer](residual)` in place of the residual after each of these blocks (0 is the first).

    Raises: JobError if a change returns another shape or type than it got.
    """

    def hook(layer: int) -> Callable[[nn.Module, object, object], object]:
        def put(_module: nn.Module, _inputs: object, output: object) -> object:
            before = output[0] if isinstance(output, tuple) else output
            assert isinstance(before, Tensor)
            after = changes[layer](before)
            if after.shape != before.shape or after.dtype != before.dtype:
                where = f"layer {layer}"
                raise JobError("a change altered the residual's shape or type", where=where, value=tuple(after.shape))
            return (after, *output[1:]) if isinstance(output, tuple) else after

        return put

    with ExitStack() as stack:
        for layer in changes:
            stack.callback(blocks_of(model)[layer].register_forward_hook(hook(layer)).remove)
        yield


@contextmanager
def without(model: PreTrainedModel | PeftModel, unit: Float[Tensor, " d_model"], share: float = 1.0) -> Iterator[None]:
    """Take the component along a unit vector, or a share of it, out of all that a block reads or writes.

    In every block that is its input, the outputs of its attention and of its MLP, and what the last block hands on.
    Source: directional ablation, Arditi et al. (2024), arXiv:2406.11717, 2.4; there it is called `ablation`.
    """

    def less(value: Tensor) -> Tensor:
        along = unit.to(device=value.device, dtype=torch.float32)
        part = share * (value.float() @ along)[..., None] * along
        return (value.float() - part).to(value.dtype)

    def read(_module: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        return (less(given[0]), *given[1:])

    def written(_module: nn.Module, _given: object, output: Any) -> Any:
        return (less(output[0]), *output[1:]) if isinstance(output, tuple) else less(output)

    names, blocks = layout(model), blocks_of(model)
    with ExitStack() as stack:
        for block in blocks:
            stack.callback(block.register_forward_pre_hook(read).remove)
            for name in (names.attention, names.mlp):
                stack.callback(block.get_submodule(name).register_forward_hook(written).remove)
        stack.callback(blocks[-1].register_forward_hook(written).remove)
        yield


@contextmanager
def only_above(model: PreTrainedModel | PeftModel, layer: int) -> Iterator[None]:
    """Leave out the blocks up to and with `layer`: a forward pass takes the residual after it as `inputs_embeds`.

    Raises: InputError for a type of model whose blocks do not run alone.
    """
    names = layout(model)
    if not names.detached:
        kind = decoder(model).config.model_type
        raise InputError("blocks of this type of model do not run alone", where="model_type", value=kind)
    parent, _, name = names.blocks.rpartition(".")
    holder, blocks = decoder(model).get_submodule(parent), blocks_of(model)
    setattr(holder, name, blocks[layer + 1 :])
    try:
        yield
    finally:
        setattr(holder, name, blocks)


@torch.inference_mode()
def logits_above(
    model: PreTrainedModel | PeftModel,
    layer: int,
    residual: Residual,
    mask: Int[Tensor, "row length"],
    keep: int,
    cache: Cache | None = None,
) -> Float[Tensor, "row kept vocabulary"]:
    """Logits after the last `keep` columns, from residuals after block `layer`.

    cache: what was read before by the whole model; it grows by these columns.
    Raises: InputError for a type of model whose blocks do not run alone.
    """
    with only_above(model, layer):
        out: Any = model(
            inputs_embeds=residual,
            attention_mask=mask,
            position_ids=positions(mask, residual.shape[1]),
            past_key_values=cache,
            use_cache=cache is not None,
            logits_to_keep=keep,
        )
    return out.logits  # type: ignore[no-any-return]
