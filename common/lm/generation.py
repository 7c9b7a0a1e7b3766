"""Forward passes over rows of unequal length with a cache: what scoring and writing are made of.

Rows are padded on the left at every extension, so the last column always holds a token of each row. Padding inside a
row is masked and takes no position, so a row scores as it would alone (to rounding).
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.random import Generator
from torch import Tensor
from transformers import Cache

from common.lm.chat import LanguageModel

FEW = 0.75  # share of the rows of a batch that are not finished, from which on the others are dropped
NextLogits = Float[Tensor, "row vocabulary"]
NextTokens = Int[Tensor, " row"]


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


def greedy(lm: LanguageModel, prompts: State, most: int, finished: Callable[[str], bool]) -> list[str]:
    """The most likely continuation of each row: up to `most` tokens, an end of turn, or `finished(text)`.

    A row ends on its own account, so its text does not depend on the rows beside it. This is not generate(), which
    takes what a call leaves open, such as a repetition penalty, from a file beside the weights. Uses the cache up.
    """
    return _continued(lm, prompts, most, finished, lambda logits, _rows: logits.argmax(dim=-1))


def sampled(lm: LanguageModel, prompts: State, most: int, temperature: float, rngs: Sequence[Generator]) -> list[str]:
    """A continuation of each row drawn at a temperature, each with its own generator. Uses the cache up.

    A row ends after `most` tokens or an end of turn. Drawn by adding Gumbel noise to the logits and taking the largest.
    Source: Gumbel (1954); Maddison et al. (2014).
    """

    def drawn(logits: NextLogits, rows: Sequence[int]) -> NextTokens:
        noise = np.stack([rngs[row].gumbel(size=logits.shape[-1]) for row in rows])
        return (logits.float() / temperature + torch.from_numpy(noise).float().to(logits.device)).argmax(dim=-1)

    return _continued(lm, prompts, most, lambda _text: False, drawn)


def _continued(
    lm: LanguageModel,
    prompts: State,
    most: int,
    finished: Callable[[str], bool],
    pick: Callable[[NextLogits, Sequence[int]], NextTokens],
) -> list[str]:
    stops, state = stop_tokens(lm), prompts
    replies: list[list[int]] = [[] for _ in range(len(prompts.mask))]
    rows = list(range(len(replies)))  # that are still read on: a finished one costs as much as any other
    live = set(rows)
    while True:
        picked = dict(zip(rows, pick(state.logits[:, -1], rows).tolist(), strict=True))
        live -= {row for row in live if picked[row] in stops}
        for row in live:
            replies[row].append(picked[row])
        live -= {row for row in live if len(replies[row]) == most or finished(_text(lm, replies[row]))}
        if not live:
            return [_text(lm, reply) for reply in replies]
        if len(live) <= FEW * len(rows):
            kept = [place for place, row in enumerate(rows) if row in live]
            state, rows = _only(state, kept), [rows[place] for place in kept]
        state = extend(lm, [[picked[row]] for row in rows], state)


def _only(state: State, places: Sequence[int]) -> State:
    """Some rows of a state, whose cache is used up."""
    chosen = torch.tensor(places, device=state.mask.device)
    state.cache.batch_select_indices(chosen)
    return State(state.cache, state.mask[chosen], state.logits[chosen])


def stop_tokens(lm: LanguageModel) -> set[int]:
    """Token ids that end a turn, by the tokenizer and by the model's generation settings."""
    told = lm.model.generation_config.eos_token_id
    listed = told if isinstance(told, list) else [told]
    return {token for token in [lm.tokenizer.eos_token_id, *listed] if token is not None}


def _text(lm: LanguageModel, reply: list[int]) -> str:
    return str(lm.tokenizer.decode(reply, skip_special_tokens=True))
