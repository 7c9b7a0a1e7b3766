"""From items to the likelihood of whole replies that were written for them, one for each side."""

from collections.abc import Iterator, Mapping, Sequence

import torch

from common.lm.chat import LanguageModel
from common.lm.generation import extend
from common.lm.likelihood import log_likelihoods, reply_tokens
from common.records import Advised, Choice, Item
from common.stance.prompts import open_turn
from common.vocabulary import SIDES


@torch.inference_mode()
def advice(
    lm: LanguageModel, items: Sequence[Item], advised: Mapping[str, Advised], batch_rows: int
) -> Iterator[tuple[str, tuple[float, float]]]:
    """Items that have written replies → log-likelihoods of going and staying to the open question, nats a token.

    The end of the turn is left out: how long a model would speak is no stance. Items of like length share a batch.
    """
    asked = sorted(
        ((lm.chat(open_turn(item)), item) for item in items if item.id in advised),
        key=lambda each: (len(each[0]), each[1].id),
    )
    size = max(1, batch_rows // len(SIDES))
    for start in range(0, len(asked), size):
        batch = asked[start : start + size]
        pairs = [_pair(lm, item, advised[item.id]) for _, item in batch]
        totals = log_likelihoods(lm, extend(lm, [prompt for prompt, _ in batch]), pairs)
        for (_, item), pair, (go, stay) in zip(batch, pairs, totals, strict=True):
            yield item.id, (go / len(pair[0]), stay / len(pair[1]))


def with_advice(rows: Sequence[Choice], found: Mapping[str, tuple[float, float]]) -> list[Choice]:
    """The rows with what was found of their items; rows of other items as they are."""
    return [
        row.model_copy(update=dict(zip(("advice_go", "advice_stay"), found[row.item], strict=True)))
        if row.item in found
        else row
        for row in rows
    ]


def _pair(lm: LanguageModel, item: Item, told: Advised) -> tuple[list[int], list[int]]:
    """The tokens of both replies."""
    user = open_turn(item)
    return reply_tokens(lm, user, told.go), reply_tokens(lm, user, told.stay)
