"""The cache of texts that are being written, and the attention that reads it.

A text has a place: its own tokens stand there from column 0 on. What many texts begin with, their head, is kept once
for all of them. Attention reads few columns more than are in use, and each key once for all query heads that share it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from peft import PeftModel
from torch import Tensor, nn
from transformers import AttentionInterface, Cache, PreTrainedModel

from common.errors import InputError
from common.lm.layers import decoder

STEP = 32  # columns that are added at once
NAME = "places"  # of this attention, in the configuration of a model
Keys = Float[Tensor, "row head column size"]
Head = tuple[Cache | None, int]  # what was read of a head, one row, and its length in tokens


class Places(Cache):
    """Keys and values of texts, place by place; the first `len(lengths)` places are in use."""

    def __init__(self, like: Cache, places: int) -> None:
        """Room for so many texts behind their heads. like: a cache that this model has filled.

        Raises: InputError for a model that keeps anything but keys and values.
        """
        super().__init__(layers=[])
        read = [keys_and_values(like, layer) for layer in range(len(like.layers))]
        self.kept = [[part.new_zeros(places, part.shape[1], 0, part.shape[3]) for part in both] for both in read]
        self.columns = 0
        self.lengths: list[int] = []  # of what stands in each place
        self.heads: list[Head] = []  # of each place

    def put(self, read: Cache, row: int, length: int, head: Head, copies: int) -> None:
        """Copy the last `length` tokens of a row that was read into so many further places."""
        self._make_room(length)
        here = slice(len(self.lengths), len(self.lengths) + copies)
        for layer, kept in enumerate(self.kept):
            for mine, theirs in zip(kept, keys_and_values(read, layer), strict=True):
                some = min(length, theirs.shape[2])  # a layer that looks back a little keeps no more than that
                mine[here, :, length - some : length] = theirs[row, :, theirs.shape[2] - some :]
        self.lengths += [length] * copies
        self.heads += [head] * copies

    def _make_room(self, columns: int) -> None:
        """All columns are read at each token, so that none needs copying to be read: there are few more than needed."""
        if columns <= self.columns:
            return
        more = -(-columns // STEP) * STEP - self.columns
        self.columns += more
        self.kept = [[nn.functional.pad(part, (0, 0, 0, more)) for part in both] for both in self.kept]

    def drop(self, place: int) -> None:
        """Free a place: the text in the last one moves there."""
        last = len(self.lengths) - 1
        if place != last:
            for mine in (part for kept in self.kept for part in kept):
                mine[place, :, : self.lengths[last]] = mine[last, :, : self.lengths[last]]
        self.lengths[place], self.heads[place] = self.lengths[last], self.heads[last]
        del self.lengths[last], self.heads[last]

    def begin(self, device: torch.device) -> Int[Tensor, "row 1"]:
        """Make room for one more token in every text; return where in its text that token stands."""
        self.at = torch.tensor(self.lengths, device=device)
        self.rows = torch.arange(len(self.lengths), device=device)
        self.lengths = [length + 1 for length in self.lengths]
        self._make_room(max(self.lengths))
        before = torch.tensor([length for _, length in self.heads], device=device)
        self.before = max(length for _, length in self.heads)
        self.groups: list[tuple[Tensor | slice, Cache]] = []
        for head, which in self._by_head().items():
            if head is not None:
                rows = torch.tensor(which, device=device) if len(which) < len(self.heads) else slice(None)
                self.groups.append((rows, head))
        self.positions = before + self.at
        # Heads end where the texts' own columns begin, so a column further right is a later token.
        own = torch.arange(-self.before, self.columns, device=device)
        self.back = self.at[:, None] - own  # how many tokens ago
        self.hidden = (self.back < 0) | (self.back > self.positions[:, None])
        return self.positions[:, None]

    def _by_head(self) -> dict[Cache | None, list[int]]:
        found: dict[Cache | None, list[int]] = {}
        for place, (head, _) in enumerate(self.heads):
            found.setdefault(head, []).append(place)
        return found

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Columns in use."""
        return self.columns

    def update(self, key_states: Keys, value_states: Keys, layer_idx: int, *_: Any, **__: Any) -> tuple[Keys, Keys]:
        """Write one token's keys and values behind every text; return those of all columns."""
        keys, values = self.kept[layer_idx]
        keys[self.rows, :, self.at] = key_states[:, :, 0]
        values[self.rows, :, self.at] = value_states[:, :, 0]
        return keys[: len(self.lengths)], values[: len(self.lengths)]

    def unseen(self, window: int | None) -> Bool[Tensor, "row 1 1 column"]:
        """Which columns of head and text a row does not look at. window: how many tokens back it looks at most."""
        hidden = self.hidden if window is None else self.hidden | (self.back >= window)
        return hidden[:, None, None]


def attend(
    module: nn.Module,
    query: Float[Tensor, "row query 1 size"],
    keys: Keys,
    values: Keys,
    _mask: None,
    scaling: float | None = None,
    places: Places | None = None,
    softcap: float | None = None,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[Float[Tensor, "row 1 query size"], None]:
    """What one more token of every text takes from its head and from the text. As transformers calls it."""
    assert places is not None
    rows, heads, _one, size = query.shape
    grouped = query.reshape(rows, keys.shape[1], -1, size) * (size**-0.5 if scaling is None else scaling)
    scores = grouped.new_zeros(*grouped.shape[:3], places.before + keys.shape[2])
    layer = int(module.layer_idx)  # type: ignore[arg-type]  # a module's attributes have no types
    shared = [(which, *keys_and_values(head, layer)) for which, head in places.groups]
    for which, head_keys, _values in shared:
        start = places.before - head_keys.shape[2]
        scores[which, :, :, start : places.before] = _by_group(grouped[which], head_keys[0].transpose(1, 2))
    scores[..., places.before :] = grouped @ keys.transpose(2, 3)
    if softcap is not None:
        scores = (scores / softcap).tanh() * softcap
    scores.masked_fill_(places.unseen(sliding_window), -torch.inf)
    shares = scores.softmax(-1, dtype=torch.float32).to(query.dtype)
    found = shares[..., places.before :] @ values
    for which, _keys, head_values in shared:
        start = places.before - head_values.shape[2]
        found[which] += _by_group(shares[which][..., start : places.before], head_values[0])
    return found.view(rows, 1, heads, size), None


def keys_and_values(cache: Cache, layer: int) -> tuple[Keys, Keys]:
    """What a layer keeps. Raises: InputError for one that keeps anything else."""
    kept: Any = cache.layers[layer]
    if not isinstance(getattr(kept, "keys", None), Tensor):
        kind = type(kept).__name__
        raise InputError("a model that keeps more than keys and values cannot write", where="cache", value=kind)
    return kept.keys, kept.values


def _by_group(rows: Float[Tensor, "row head query x"], shared: Float[Tensor, "head x y"]) -> Tensor:
    """The product of each row with what all rows share: one product for all of them, by key head."""
    count, heads, queries, _ = rows.shape
    product = rows.transpose(0, 1).reshape(heads, count * queries, -1) @ shared
    return product.view(heads, count, queries, -1).transpose(0, 1)


@contextmanager
def reading_places(model: PreTrainedModel | PeftModel) -> Iterator[None]:
    """Have a model read `Places` inside.

    Raises: InputError for a type of model that takes no attention from outside.
    """
    inner = decoder(model)
    if not inner._supports_attention_backend:
        raise InputError("this type of model cannot write", where="model_type", value=inner.config.model_type)
    before = inner.config._attn_implementation
    inner.config._attn_implementation = NAME
    try:
        yield
    finally:
        inner.config._attn_implementation = before


AttentionInterface.register(NAME, attend)
