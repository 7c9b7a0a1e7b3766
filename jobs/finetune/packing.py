"""Batches without padding: the examples of a batch in one row, each attending to itself alone."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention.varlen import varlen_attn
from transformers import AttentionInterface, DataCollatorWithFlattening, PreTrainedModel

from common.errors import SpecError
from jobs.finetune.examples import IGNORED, Example
from jobs.finetune.fused import nats

PACKED = "undertone_packed"


class Packed(DataCollatorWithFlattening):
    """Batches of one row that ask for logits only where a reply token follows.

    Positions begin again with each example. `cu_seq_lens_q`, (examples + 1,), are the places where examples meet.
    """

    def __init__(self) -> None:
        super().__init__(return_flash_attn_kwargs=True, separator_id=IGNORED)  # type: ignore[no-untyped-call]

    def __call__(self, features: Any, return_tensors: str | None = None, separator_id: int | None = None) -> Any:
        """The batch, with the positions whose logits the loss needs as `logits_to_keep`, (kept,)."""
        batch = super().__call__(features, return_tensors, separator_id)  # type: ignore[no-untyped-call]
        batch["logits_to_keep"] = before_replies(batch["labels"])
        return batch | {"use_cache": False}


def features(rows: Sequence[Example]) -> list[dict[str, list[int]]]:
    """Examples as the collator takes them."""
    return [{"input_ids": row.input_ids, "labels": row.labels} for row in rows]


def before_replies(labels: Tensor) -> Tensor:
    """The positions, (kept,), of the one row of `labels`, (1, length), after which a reply token stands."""
    return (labels[0, 1:] != IGNORED).nonzero()[:, 0]


def reply_loss(head: nn.Module, outputs: Any, labels: Tensor, num_items_in_batch: Tensor | None = None) -> Tensor:
    """Cross-entropy a reply token, nats, in fp32, of a packed row.

    outputs: of a model `readied`, whose logits are the states at `before_replies(labels)` instead.
    """
    targets = labels[0, before_replies(labels) + 1]
    summed = nats(outputs.logits[0], head, targets)
    return summed / (len(targets) if num_items_in_batch is None else num_items_in_batch)


def pack_attention(model: PreTrainedModel) -> None:
    """Have a model attend within examples. Raises: SpecError if its attention cannot be exchanged."""
    AttentionInterface.register(PACKED, packed_attention)
    try:
        model.set_attn_implementation(PACKED)
    except ValueError as error:
        raise SpecError("attention cannot be exchanged", where=type(model).__name__, value=str(error)) from error


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    cu_seq_lens_q: Tensor,
    max_length_q: int,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Causal attention of a packed row: (1, heads, length, d_head) to (1, length, heads, d_head).

    Of a group of query heads all share the key and value of one head, so their scores are one product.
    Raises: SpecError if the model drops weights of attention, or its window is narrower than an example.
    """
    if dropout or (sliding_window is not None and sliding_window < max_length_q):
        what = f"dropout {dropout}" if dropout else f"window of {sliding_window}"
        raise SpecError("attention that packed training has not", where=type(module).__name__, value=what)
    if has_flash(query):
        q, k, v = (states[0].transpose(0, 1) for states in (query, key, value))
        ends, longest = cu_seq_lens_q, max_length_q
        grouped = query.shape[1] != key.shape[1]
        made: Any = varlen_attn(
            q, k, v, ends, ends, longest, longest, scale=scaling, window_size=(-1, 0), enable_gqa=grouped
        )
        return made[None], None
    lengths = cu_seq_lens_q.diff().tolist()
    parts = zip(*(torch.split(states[0], lengths, dim=1) for states in (query, key, value)), strict=True)
    return torch.cat([_attended(q, k, v, scaling) for q, k, v in parts])[None], None


def has_flash(states: Tensor) -> bool:
    """Whether torch's flash kernel takes these states: on a GPU, and not in fp32."""
    return states.device.type == "cuda" and states.dtype in (torch.bfloat16, torch.float16)


def _attended(query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
    """One example: (heads, length, d_head) to (length, heads, d_head)."""
    heads, length, d_head = query.shape
    groups = key.shape[0]
    mask = _later(length, heads // groups, query.dtype, query.device).expand(groups, -1, -1)
    grouped = query.reshape(groups, -1, d_head)
    weights = torch.baddbmm(mask, grouped, key.transpose(1, 2), alpha=scaling).softmax(-1)
    return torch.bmm(weights, value).view(heads, length, d_head).transpose(0, 1)


@lru_cache(maxsize=64)  # all layers ask for the same few
def _later(length: int, heads: int, precision: torch.dtype, where: torch.device) -> Tensor:
    """What is added to scores, (heads · length, length): the lowest number where a key comes after its query.

    Not -inf, as in transformers.
    """
    lowest = torch.full((length, length), torch.finfo(precision).min, dtype=precision, device=where)
    return lowest.triu(1).repeat(heads, 1)
