"""From items to rows Choice: the generated answer, the option sentences and the labels, in both orders.

The six prompts of an item (three kinds, two orders) begin with the same tokens: these are read once.
"""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import torch

from common.errors import InputError
from common.lm.chat import LanguageModel
from common.lm.generation import State, extend, greedy, repeated
from common.lm.likelihood import log_likelihoods, reply_tokens
from common.records import Choice, Item
from common.stance.prompts import APPROVE, DECLINE, user_turns
from common.stance.reading import answered, read_choice
from jobs.evaluate.clock import Clock

ORDERS: tuple[Literal[0, 1], ...] = (0, 1)


class OrderTurns(NamedTuple):
    """One item in one order, as token ids."""

    order: Literal[0, 1]
    choice: list[int]
    sentence: list[int]
    label: list[int]
    go: list[int]  # the option sentence that endorses change, as a reply to `sentence`
    stay: list[int]
    approve: list[int]  # one token: the first of the label, as a reply to `label`
    decline: list[int]

    @property
    def prompts(self) -> tuple[list[int], ...]:
        """The three prompts."""
        return self.choice, self.sentence, self.label


class Encoded(NamedTuple):
    """One item in one wording and both orders, and how many tokens all its prompts begin with."""

    item: Item
    wording: int
    turns: tuple[OrderTurns, ...]
    shared: int


def encode(lm: LanguageModel, item: Item, wording: int = 0) -> Encoded:
    """A wording of an item as token ids. Raises: InputError if this tokenizer cannot tell the labels apart."""
    turns = tuple(_turns(lm, item.worded(wording), order) for order in ORDERS)
    prompts = [prompt for each in turns for prompt in each.prompts]
    return Encoded(item, wording, turns, _shared(prompts))


def _shared(prompts: Sequence[list[int]]) -> int:
    """How many tokens all prompts begin with, at least one short of the shortest."""
    columns = enumerate(zip(*prompts, strict=False))
    return min(next(index for index, column in columns if len(set(column)) > 1), min(map(len, prompts)) - 1)


def _turns(lm: LanguageModel, item: Item, order: Literal[0, 1]) -> OrderTurns:
    words = user_turns(item, order)
    approve, decline = (reply_tokens(lm, words.label, label)[:1] for label in (APPROVE, DECLINE))
    if approve == decline:
        raise InputError("labels begin with the same token", where=lm.spec.name, value=approve)
    return OrderTurns(
        order=order,
        choice=lm.chat(words.choice),
        sentence=lm.chat(words.sentence),
        label=lm.chat(words.label),
        go=reply_tokens(lm, words.sentence, item.go),
        stay=reply_tokens(lm, words.sentence, item.stay),
        approve=approve,
        decline=decline,
    )


def batches(encoded: Sequence[Encoded], batch_rows: int) -> list[list[Encoded]]:
    """Items of like length together, batch_rows rows (item and order) a batch, at least one item.

    Who shares a batch depends only on the items and batch_rows, because in bf16 it changes the last digits.
    """
    ordered = sorted(encoded, key=lambda each: (each.shared, each.item.id, each.wording))
    size = max(1, batch_rows // len(ORDERS))
    return [ordered[start : start + size] for start in range(0, len(ordered), size)]


@torch.inference_mode()
def answers(lm: LanguageModel, batch: Sequence[Encoded], cell: str, choice_tokens: int, clock: Clock) -> list[Choice]:
    """What a model answers to a batch of items, two rows Choice for each."""
    turns = [each for encoded in batch for each in encoded.turns]
    with clock.part("scenario"):
        scenarios = extend(lm, [each.turns[0].choice[: each.shared] for each in batch])
    with clock.part("choice"):
        texts = greedy(lm, _follow(lm, scenarios, batch, 0), choice_tokens, answered)
    with clock.part("sentence"):
        sentences = log_likelihoods(lm, _follow(lm, scenarios, batch, 1), [(each.go, each.stay) for each in turns])
    with clock.part("label"):
        labels = log_likelihoods(lm, _follow(lm, scenarios, batch, 2), [(a.approve, a.decline) for a in turns])
    whose = (encoded for encoded in batch for _ in encoded.turns)
    return list(_rows(cell, zip(whose, turns, texts, sentences, labels, strict=True)))


def _follow(lm: LanguageModel, scenarios: State, batch: Sequence[Encoded], kind: int) -> State:
    """Read what follows the scenarios in the prompts of one kind, in both orders."""
    rows = [each.prompts[kind][encoded.shared :] for encoded in batch for each in encoded.turns]
    return extend(lm, rows, repeated(scenarios, len(ORDERS)))


def _rows(cell: str, measured: Iterator[tuple[Encoded, OrderTurns, str, list[float], list[float]]]) -> Iterator[Choice]:
    for (item, number, *_), turns, text, (sentence_go, sentence_stay), (label_go, label_stay) in measured:
        yield Choice(
            cell=cell,
            item=item.id,
            topic=item.topic,
            yes_means=item.yes_means,
            wording=number,
            order=turns.order,
            choice=read_choice(text, item.yes_means),
            text=text,
            sentence_go=sentence_go,
            sentence_stay=sentence_stay,
            tokens_go=len(turns.go),
            tokens_stay=len(turns.stay),
            label_go=min(0.0, label_go),  # rounding can leave a certain label just above 0
            label_stay=min(0.0, label_stay),
        )
