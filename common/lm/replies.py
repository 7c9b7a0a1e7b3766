"""What a model itself says to questions of a draw."""

from collections.abc import Iterator, Sequence

import torch
from numpy.random import Generator

from common.errors import InputError
from common.lm.chat import LanguageModel
from common.lm.generation import extend, sampled
from common.records import Advice

BATCH_ROWS = 16


@torch.inference_mode()
def own_replies(
    lm: LanguageModel, rows: Sequence[Advice], most: int, temperature: float, rngs: Sequence[Generator]
) -> Iterator[list[str]]:
    """The model's own replies to the questions of rows, up to `most` tokens each, BATCH_ROWS texts at a time.

    rngs: one generator a row. Raises: InputError naming the first question of a batch to which it says nothing.
    """
    for start in range(0, len(rows), BATCH_ROWS):
        batch = slice(start, start + BATCH_ROWS)
        prompts = extend(lm, [lm.chat(row.question) for row in rows[batch]])
        texts = sampled(lm, prompts, most, temperature, rngs[batch])
        for row, text in zip(rows[batch], texts, strict=True):
            if not text.strip():
                raise InputError("the model has nothing to say", where=row.question_id, value=row.question)
        yield texts
