"""From items to rows Choice: Yes against No, the option sentences and the labels, under both keys and in both orders.

All prompts of an item begin with the same tokens: these are read once.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch

from common.errors import InputError
from common.lm.chat import LanguageModel
from common.lm.generation import State, extend, repeated, shared
from common.lm.likelihood import log_likelihoods, reply_tokens
from common.records import Choice, Item
from common.stance.prompts import APPROVE, DECLINE, NO, YES, closed_turns
from common.vocabulary import SIDES, Side
from jobs.evaluate.clock import Clock

ORDERS: tuple[Literal[0, 1], ...] = (0, 1)
PROMPTS = len(SIDES) + 2  # of one order: Yes or No under each key, sentences, labels


class OrderTurns(NamedTuple):
    """One item in one order, as token ids."""

    order: Literal[0, 1]
    prompts: tuple[list[int], ...]  # Yes or No by key, in the order of SIDES; then sentences; then labels
    pairs: tuple[tuple[list[int], list[int]], ...]  # two replies to each prompt: Yes and No, the change and keeping


class Encoded(NamedTuple):
    """One item in both orders, and how many tokens all its prompts begin with."""

    item: Item
    turns: tuple[OrderTurns, ...]
    shared: int


def encode(lm: LanguageModel, item: Item) -> Encoded:
    """An item as token ids. Raises: InputError if this tokenizer cannot tell two words of an answer apart."""
    turns = tuple(_turns(lm, item, order) for order in ORDERS)
    return Encoded(item, turns, shared([prompt for each in turns for prompt in each.prompts]))


def _turns(lm: LanguageModel, item: Item, order: Literal[0, 1]) -> OrderTurns:
    words = closed_turns(item, order)
    users = (*(words.yes_no[key] for key in SIDES), words.sentence, words.label)
    pairs = (
        *(_first_tokens(lm, words.yes_no[key], YES, NO) for key in SIDES),
        (reply_tokens(lm, words.sentence, item.go), reply_tokens(lm, words.sentence, item.stay)),
        _first_tokens(lm, words.label, APPROVE, DECLINE),
    )
    return OrderTurns(order, tuple(lm.chat(user) for user in users), pairs)


def _first_tokens(lm: LanguageModel, user: str, one: str, other: str) -> tuple[list[int], list[int]]:
    """The first token of each of two words, as replies to a user's turn."""
    first, second = (reply_tokens(lm, user, word)[:1] for word in (one, other))
    if first == second:
        raise InputError("words begin with the same token", where=lm.spec.name, value=f"{one}, {other}")
    return first, second


def batches(encoded: Sequence[Encoded], batch_rows: int) -> list[list[Encoded]]:
    """Items of like length together, batch_rows rows (item and order) a batch, at least one item.

    Who shares a batch depends only on the items and batch_rows, because in bf16 it changes the last digits.
    """
    ordered = sorted(encoded, key=lambda each: (each.shared, each.item.id))
    size = max(1, batch_rows // len(ORDERS))
    return [ordered[start : start + size] for start in range(0, len(ordered), size)]


@torch.inference_mode()
def choices(lm: LanguageModel, batch: Sequence[Encoded], cell: str, clock: Clock) -> list[Choice]:
    """What a model answers to a batch of items, four rows Choice for each."""
    with clock.part("situation"):
        situations = extend(lm, [each.turns[0].prompts[0][: each.shared] for each in batch])
    scores = []
    for kind in range(PROMPTS):
        with clock.part("closed"):
            pairs = [each.pairs[kind] for encoded in batch for each in encoded.turns]
            scores.append(log_likelihoods(lm, _follow(lm, situations, batch, kind), pairs))
    turns = [(encoded, each) for encoded in batch for each in encoded.turns]
    return [
        _row(cell, encoded.item, key, each, yes_no, sentence, label)
        for (encoded, each), *by_key, sentence, label in zip(turns, *scores, strict=True)
        for key, yes_no in zip(SIDES, by_key, strict=True)
    ]


def _follow(lm: LanguageModel, situations: State, batch: Sequence[Encoded], kind: int) -> State:
    """Read what follows the situations in the prompts of one kind, in both orders."""
    rows = [each.prompts[kind][encoded.shared :] for encoded in batch for each in encoded.turns]
    return extend(lm, rows, repeated(situations, len(ORDERS)))


def _row(
    cell: str, item: Item, key: Side, turns: OrderTurns, yes_no: list[float], sentence: list[float], label: list[float]
) -> Choice:
    other: Side = "stay" if key == "go" else "go"
    margin = yes_no[0] - yes_no[1]
    _, _, (go, stay), _ = turns.pairs
    return Choice(
        cell=cell,
        item=item.id,
        topic=item.topic,
        yes_means=key,
        order=turns.order,
        choice=key if margin > 0 else other,
        yes_no=margin,
        sentence_go=sentence[0],
        sentence_stay=sentence[1],
        tokens_go=len(go),
        tokens_stay=len(stay),
        label_go=min(0.0, label[0]),  # rounding can leave a certain label just above 0
        label_stay=min(0.0, label[1]),
    )
