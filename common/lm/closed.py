"""From items to rows Choice: Yes against No, the option sentences and the labels, under both keys and in both orders.

Prompts of an item begin alike: what they have in common is read once.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from common.errors import InputError
from common.lm.chat import LanguageModel
from common.lm.generation import shared
from common.lm.likelihood import reply_tokens
from common.lm.trees import tree_log_likelihoods
from common.records import Choice, Item
from common.stance.prompts import APPROVE, DECLINE, NO, YES, closed_turns
from common.vocabulary import SIDES, Side

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


def choices(lm: LanguageModel, batch: Sequence[Encoded], cell: str) -> list[Choice]:
    """What a model answers to a batch of items, four rows Choice for each: one pass, one row of it for an item."""
    texts = [
        [text for each in encoded.turns for text in zip(each.prompts, each.pairs, strict=True)] for encoded in batch
    ]
    rows = []
    for encoded, found in zip(batch, tree_log_likelihoods(lm, texts), strict=True):
        for each, start in zip(encoded.turns, (0, 2 * PROMPTS), strict=True):
            *by_key, sentence, label = [found[at : at + 2] for at in range(start, start + 2 * PROMPTS, 2)]
            for key, yes_no in zip(SIDES, by_key, strict=True):
                rows.append(_row(cell, encoded.item, key, each, yes_no, sentence, label))
    return rows


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
