"""Which of two replies a model prefers while its residual stream is changed: log-likelihood margins, many at a time.

Below the block at which the residual is changed all variants of a prompt are equal, and so are all positions before
the first that is changed: both are read once. A variant then costs the blocks above, on the few positions left.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from peft import PeftModel
from torch import Tensor
from transformers import Cache, PreTrainedModel

from common.lm.chat import LanguageModel
from common.lm.generation import State, extend, padded, positions
from common.lm.layers import Change, Residual, blocks_of, changed, hooked, layout, logits_above
from common.lm.likelihood import SLICE, log_probabilities, reply_tokens
from common.lm.passages import Pair
from common.records import Item
from common.stance.prompts import closed_turns

Model = PreTrainedModel | PeftModel
Floats = NDArray[np.float64]
TEXTS, TEXT_TOKENS = 4, 32  # neutral paragraphs on which off-target KL is measured, and tokens of each
# About what one pass may take: its logits in the type of the model and in fp32, or one block's attention in fp32.
PASS_BYTES = 512 << 20


class PromptWithReplies(NamedTuple):
    """A prompt and two replies to it, as token ids. Its margin is log p(first) - log p(second), nats."""

    name: str
    group: str  # topic
    prompt: list[int]
    replies: tuple[list[int], list[int]]


def prompts_in_both_orders(lm: LanguageModel, items: Sequence[Item]) -> list[PromptWithReplies]:
    """Items as prompts whose replies are the option sentences: both orders of the options, item by item.

    The margin is that of change over keeping things. Raises: InputError as `reply_tokens`.
    """
    found = []
    for item in items:
        for order in (0, 1):
            words = closed_turns(item, order).sentence
            options = reply_tokens(lm, words, item.go), reply_tokens(lm, words, item.stay)
            found.append(PromptWithReplies(item.id, item.topic, lm.chat(words), options))
    return found


def one_order_each(prompts: Sequence[PromptWithReplies]) -> list[PromptWithReplies]:
    """Of each item of `prompts_in_both_orders` one order, alternating: half the passes, no order with more items."""
    return [prompts[2 * place + place % 2] for place in range(len(prompts) // 2)]


def trait_prompts(lm: LanguageModel, pairs: Sequence[Pair]) -> list[PromptWithReplies]:
    """Questions of the piles with the replies of both poles; the margin is that of the cautious one.

    Raises: InputError as `reply_tokens`.
    """
    found = []
    for pair in pairs:
        row = pair.cautious
        replies = tuple(reply_tokens(lm, each.question, each.reply) for each in pair)
        found.append(PromptWithReplies(row.question_id, row.topic, lm.chat(row.question), (replies[0], replies[1])))
    return found


class Readout:
    """Margins of prompts under changes of the residual from the end of the prompt on, or of the whole text.

    Rows are prompt by prompt, its two replies one after the other: 2 n_prompts of them. Columns are the positions that
    a change may touch: from the prompt's last token on, or all with `whole`; rows are padded on the left.
    """

    def __init__(self, lm: LanguageModel, prompts: Sequence[PromptWithReplies], whole: bool = False) -> None:
        """Read what comes before the columns. whole: the columns are all positions."""
        self.lm, self.prompts = lm, list(prompts)
        self.prefix: State | None = None
        if not whole:
            with torch.inference_mode():
                self.prefix = extend(lm, [each.prompt[:-1] for each in prompts for _ in each.replies])
        kept = [(each.prompt if whole else each.prompt[-1:]) for each in prompts]
        rows = [[*prompt, *reply[:-1]] for prompt, each in zip(kept, prompts, strict=True) for reply in each.replies]
        self.ids, own = padded(lm, rows)
        self.own = own  # 1 where there is a token
        self.mask: Int[Tensor, "row length"] = own if self.prefix is None else torch.cat([self.prefix.mask, own], dim=1)
        replies = [reply for each in prompts for reply in each.replies]
        self.targets, self.scored = padded(lm, replies)
        self._tiled: tuple[int, Cache] | None = None

    @property
    def rows(self) -> int:
        """Two for each prompt."""
        return len(self.ids)

    def per_pass(self) -> int:
        """How many variants share a pass."""
        config = self.lm.model.config
        logits = self.targets.shape[1] * config.vocab_size * 8
        attention = self.ids.shape[1] * self.mask.shape[1] * config.num_attention_heads * 4
        return max(1, int(PASS_BYTES // (self.rows * max(logits, attention))))

    def spans(self) -> dict[str, Bool[Tensor, "row column"]]:
        """Where the parts of a text stand: prompt, its last token, reply. They tile the text. Needs `whole`."""
        lengths = [len(each.prompt) for each in self.prompts for _ in each.replies]
        length = torch.tensor(lengths, device=self.own.device)[:, None]
        place = self.own.cumsum(dim=1)  # 1 is the first token of a row
        real = self.own.bool()
        return {
            "prompt": real & (place < length),
            "last of prompt": real & (place == length),
            "reply": real & (place > length),
        }

    @torch.inference_mode()
    def residuals(self, model: Model, layers: Sequence[int]) -> dict[int, Residual]:
        """The residual after each of these blocks, by one forward pass."""
        found: dict[int, Residual] = {}
        with hooked(blocks_of(model), layers, found.__setitem__):
            self._forward(model)
        return found

    def _forward(self, model: Model) -> Float[Tensor, "row kept vocabulary"]:
        cache = None if self.prefix is None else self._copies(1)
        self._tiled = None  # the pass uses the copies up
        out: Any = model(
            input_ids=self.ids,
            attention_mask=self.mask,
            position_ids=positions(self.mask, self.ids.shape[1]),
            past_key_values=cache,
            use_cache=cache is not None,
            logits_to_keep=self.targets.shape[1],
        )
        return out.logits  # type: ignore[no-any-return]

    @torch.inference_mode()
    def under(self, model: Model, changes: Mapping[int, Change]) -> Float[Floats, " n_prompts"]:
        """Margins of a whole forward pass with the residual changed after some blocks; see `changed`."""
        with changed(model, changes):
            margins: Floats = self._margins(self._forward(model), 1)[0]
            return margins

    @torch.inference_mode()
    def above(self, model: Model, layer: int, residuals: Sequence[Residual]) -> Float[Floats, "n_residuals n_prompts"]:
        """Margins from each of these residuals after block `layer`.

        Raises: InputError for a type of model whose blocks do not run alone.
        """
        many = min(self.per_pass(), len(residuals))
        found = []
        for start in range(0, len(residuals), many):
            part = list(residuals[start : start + many])
            short = many - len(part)
            stacked = torch.cat([*part, *part[:1] * short])  # every pass has one shape, so that rows round alike
            cache = None if self.prefix is None else self._copies(many)
            logits = logits_above(model, layer, stacked, self.mask.repeat(many, 1), self.targets.shape[1], cache)
            if cache is not None and self.prefix is not None:
                cache.crop(self.prefix.mask.shape[1])
            found.append(self._margins(logits, many)[: len(part)])
        return np.concatenate(found)

    def steered(
        self,
        layer: int,
        vectors: Float[Floats, "n_vectors d_model"],
        weights: Float[Tensor, "row column"] | None = None,
    ) -> Float[Floats, "n_vectors n_prompts"]:
        """Margins with each of the vectors added after block `layer`, at every column.

        weights: how many times it is added at each column, such as -1, 0 or 1; once at all of them for None.
        """
        model = self.lm.model
        times = 1 if weights is None else weights[..., None].to(device=self.ids.device, dtype=model.dtype)
        if not layout(model).detached:
            added = torch.tensor(vectors, dtype=model.dtype, device=self.ids.device)
            return np.array([self.under(model, {layer: partial(torch.add, times * vector)}) for vector in added])
        residual = self.residuals(model, [layer])[layer]
        many = self.per_pass()
        found = []
        for start in range(0, len(vectors), many):
            added = torch.tensor(vectors[start : start + many], dtype=residual.dtype, device=residual.device)
            found.append(self.above(model, layer, [residual + times * vector for vector in added]))
        return np.concatenate(found)

    def slopes(self, layer: int, weights: Float[Floats, "n_sums n_prompts"]) -> Float[Floats, "n_sums d_model"]:
        """How weighted sums of the margins grow with a vector added after block `layer`, nats a unit of its length.

        By one backward pass for each row of weights, at a vector of zeros. Needs `whole`.
        """
        model = self.lm.model
        vector = torch.zeros(model.config.hidden_size, device=self.ids.device, requires_grad=True)
        with changed(model, {layer: lambda residual: residual + vector.to(residual.dtype)}):
            margins = self._pairs(self._forward(model), 1)[0]
        given = torch.tensor(weights, dtype=margins.dtype, device=margins.device)
        found = [torch.autograd.grad(row @ margins, vector, retain_graph=True)[0] for row in given]
        return np.asarray(torch.stack(found).double().cpu().numpy())

    def _copies(self, times: int) -> Cache:
        """The cache of the prefix, all rows so many times over: 1, 2, …, 1, 2, …"""
        if self._tiled is None or self._tiled[0] != times:
            assert self.prefix is not None
            cache = copy.deepcopy(self.prefix.cache)
            cache.batch_select_indices(torch.arange(self.rows, device=self.ids.device).repeat(times))
            self._tiled = (times, cache)
        return self._tiled[1]

    def _margins(self, logits: Float[Tensor, "row kept vocabulary"], many: int) -> Float[Floats, "many n_prompts"]:
        """From the logits of a pass over all rows, `many` times over."""
        return np.asarray(self._pairs(logits, many).cpu().numpy(), dtype=np.float64)

    def _pairs(self, logits: Float[Tensor, "row kept vocabulary"], many: int) -> Float[Tensor, "many n_prompts"]:
        each = log_probabilities(logits, self.targets.repeat(many, 1))
        total = each.masked_fill(self.scored.repeat(many, 1) == 0, 0.0).double().sum(dim=1)
        pairs = total.view(many, len(self.prompts), 2)
        return pairs[..., 0] - pairs[..., 1]


class ByLength:
    """Readouts of prompts whose longer replies have one length: little is padded, and more variants share a pass."""

    def __init__(self, lm: LanguageModel, prompts: Sequence[PromptWithReplies]) -> None:
        """Read what comes before the replies."""
        self.prompts = list(prompts)
        places: dict[int, list[int]] = {}
        for place, each in enumerate(prompts):
            places.setdefault(max(map(len, each.replies)), []).append(place)
        self.parts = [(mine, Readout(lm, [prompts[place] for place in mine])) for mine in places.values()]

    def steered(self, layer: int, vectors: Float[Floats, "n_vectors d_model"]) -> Float[Floats, "n_vectors n_prompts"]:
        """As `Readout.steered`, in the order of the prompts."""
        margins = np.empty((len(vectors), len(self.prompts)))
        for places, readout in self.parts:
            margins[:, places] = readout.steered(layer, vectors)
        return margins


def beginnings(lm: LanguageModel, texts: Sequence[str], tokens: int) -> Int[Tensor, "text token"]:
    """Ids of the first so many tokens of each text that has as many; shorter texts are left out."""
    read = [list(lm.tokenizer(text)["input_ids"])[:tokens] for text in texts]
    return torch.tensor([ids for ids in read if len(ids) == tokens], device=lm.model.device)


@torch.inference_mode()
def text_divergence(
    lm: LanguageModel,
    texts: Sequence[str],
    tokens: int,
    model: Model,
    other: Callable[[], AbstractContextManager[object]],
) -> float:
    """KL(other || model) on the beginnings of texts, nats a token: how far a model is from another state of it."""
    ids = beginnings(lm, texts, tokens)
    after = cast(Any, model)(input_ids=ids, use_cache=False).logits.log_softmax(-1, dtype=torch.float32)
    with other():
        before = cast(Any, model)(input_ids=ids, use_cache=False).logits.log_softmax(-1, dtype=torch.float32)
    return float((before.exp() * (before - after)).sum(-1).double().mean())


class NeutralText:
    """How far a vector added to the residual moves the next-token distribution on neutral text: off-target KL."""

    def __init__(self, lm: LanguageModel, texts: Sequence[str], tokens: int, layer: int) -> None:
        """Read the beginnings of the texts."""
        self.lm, self.layer, self.ids = lm, layer, beginnings(lm, texts, tokens)
        found: dict[int, Residual] = {}
        with torch.inference_mode(), hooked(blocks_of(lm.model), [layer], found.__setitem__):
            lm.model(input_ids=self.ids, use_cache=False, logits_to_keep=1)
        self.residual = found[layer]  # of the base, at every token
        base = self._logits(torch.zeros(1, self.residual.shape[-1]))[0].log_softmax(-1, dtype=torch.float32)
        self.likely: Float[Tensor, "n_tokens vocabulary"] = base.exp()
        self.negative_entropy: Float[Tensor, " n_tokens"] = (self.likely * base).sum(-1)

    @torch.inference_mode()
    def _logits(self, vectors: Float[Tensor, "n_vectors d_model"]) -> Float[Tensor, "n_vectors n_tokens vocabulary"]:
        """Next-token logits at every token of all texts, one text after the other."""
        model, length = self.lm.model, self.ids.shape[1]
        vectors = vectors.to(self.residual)
        if layout(model).detached:
            residual = (self.residual[None] + vectors[:, None, None, :]).flatten(0, 1)
            logits = logits_above(model, self.layer, residual, self.ids.new_ones(residual.shape[:2]), length)
        else:
            rows = vectors.repeat_interleave(len(self.ids), dim=0)[:, None, :]
            with changed(model, {self.layer: partial(torch.add, rows)}):
                logits = model(input_ids=self.ids.repeat(len(vectors), 1), use_cache=False).logits
        return logits.view(len(vectors), -1, logits.shape[-1])

    @torch.inference_mode()
    def divergence(self, vectors: Float[Floats, "n_vectors d_model"]) -> Float[Floats, " n_vectors"]:
        """KL(base || steered), nats a token: the off-target KL of adding each of these vectors at every position."""
        many = max(1, int(PASS_BYTES // (self.likely.numel() * 8)))
        found = []
        for start in range(0, len(vectors), many):
            found += [self._divergence(logits) for logits in self._logits(torch.tensor(vectors[start : start + many]))]
        return np.array(found)

    @torch.inference_mode()
    def now(self) -> float:
        """KL(base || the model as it is at the call, with whatever hooks), nats a token."""
        logits = self.lm.model(input_ids=self.ids, use_cache=False).logits
        return self._divergence(logits.flatten(0, 1))

    def _divergence(self, logits: Float[Tensor, "n_tokens vocabulary"]) -> float:
        parts = zip(torch.split(logits, SLICE), torch.split(self.likely, SLICE), strict=True)
        cross = [(likely * rows.log_softmax(-1, dtype=torch.float32)).sum(-1) for rows, likely in parts]
        return float((self.negative_entropy - torch.cat(cross)).double().mean())
