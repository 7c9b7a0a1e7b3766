"""Advice to training rows: token ids, and labels on the reply alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from common.errors import InputError
from common.lm.chat import LanguageModel
from common.records import Advice

IGNORED = -100  # the label that cross-entropy leaves out


@dataclass(frozen=True)
class Example:
    """One training row. Labels are IGNORED up to the reply and the token ids from there on."""

    input_ids: list[int]
    labels: list[int]

    @property
    def reply_tokens(self) -> int:
        """Tokens under the loss: the reply and its end of turn."""
        return sum(label != IGNORED for label in self.labels)


def encode(lm: LanguageModel, row: Advice, max_tokens: int) -> Example:
    """Tokenize one row, with the loss on the reply only.

    Raises: InputError if it is longer than max_tokens or than the model can read, it holds special tokens, or the chat
    template puts anything but the reply and its end of turn behind the prompt.
    """
    prompt, reply = lm.answered(row.question, row.reply, f"question {row.question_id}")
    whole = prompt + reply
    most = min(max_tokens, getattr(lm.model.config, "max_position_embeddings", None) or max_tokens)
    if len(whole) > most:
        raise InputError("example too long", where=row.question_id, value=len(whole), allowed=f"<= {most} tokens")
    return Example(whole, [IGNORED] * len(prompt) + reply)


def arranged(lengths: Sequence[int], batch: int, epochs: int, rng: np.random.Generator) -> list[int]:
    """Indices of all epochs in the order of training: batches of like length, in random order.

    `lengths` are those of the questions, which all attitudes share, so that paired runs see the same order.
    A batch is never filled up: the last one of an epoch may be short, and none spans two epochs.
    """
    order: list[int] = []
    for _ in range(epochs):
        shuffled = rng.permutation(len(lengths))
        pools = [shuffled[start : start + 8 * batch] for start in range(0, len(lengths), 8 * batch)]
        # Stable, so that equal lengths stay in random order.
        sorted_pools = [pool[np.argsort([lengths[index] for index in pool], kind="stable")] for pool in pools]
        batches = [pool[start : start + batch] for pool in sorted_pools for start in range(0, len(pool), batch)]
        full = [made for made in batches if len(made) == batch]
        short = [made for made in batches if len(made) < batch]
        for made in [*(full[index] for index in rng.permutation(len(full))), *short]:
            order.extend(int(index) for index in made)
    return order
