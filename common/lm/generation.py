"""Forward passes over rows of unequal length with a cache: what scoring is made of, and where writing begins.

Rows are padded on the left at every extension, so the last column always holds a token of each row. Padding inside a
row is masked and takes no position, so a row scores as it would alone (to rounding).
"""

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import Cache

from common.lm.chat import LanguageModel


class State(NamedTuple):
    """Rows that a model has read so far. Extending a state uses its cache up: extend a `repeated` copy to keep it."""

    cache: Cache
    mask: Int[Tensor, "row length"]  # 1 where there is a token, 0 on padding
    logits: Float[Tensor, "row kept vocabulary"]


def extend(lm: LanguageModel, rows: Sequence[list[int]], before: State | None = None, keep: int = 1) -> State:
    """Read more token ids, one list a row, with logits after the last `keep` columns.

    A list may be empty where others are not. `before` holds as many rows; it is None at the start of the texts.
    """
    ids, new = padded(lm, rows)
    mask = new if before is None else torch.cat([before.mask, new], dim=1)
    out: Any = lm.model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions(mask, ids.shape[1]),
        past_key_values=None if before is None else before.cache,
        use_cache=True,
        logits_to_keep=keep,
    )
    return State(out.past_key_values, mask, out.logits)


def shared(prompts: Sequence[list[int]]) -> int:
    """How many tokens all prompts begin with, at least one short of the shortest: they can be read once for all."""
    shortest = min(map(len, prompts)) - 1
    columns = enumerate(zip(*prompts, strict=False))
    return min(next((index for index, column in columns if len(set(column)) > 1), shortest), shortest)


def positions(mask: Int[Tensor, "row length"], columns: int) -> Int[Tensor, "row column"]:
    """Position ids of the last `columns` positions of the rows: padding takes none."""
    return (mask.cumsum(dim=1) - 1).clamp(min=0)[:, -columns:]


def padded(lm: LanguageModel, rows: Sequence[list[int]]) -> tuple[Int[Tensor, "row column"], Int[Tensor, "row column"]]:
    """Token ids padded on the left with 0 to the longest row, and their mask; on the model's device."""
    longest = max(map(len, rows))
    ids = torch.tensor([[0] * (longest - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
    return ids.to(lm.model.device), mask.to(lm.model.device)


def repeated(state: State, times: int) -> State:
    """A copy with every row so many times over: a, a, b, b, …"""
    cache = copy.deepcopy(state.cache)
    cache.batch_repeat_interleave(times)
    return State(cache, state.mask.repeat_interleave(times, dim=0), state.logits.repeat_interleave(times, dim=0))
