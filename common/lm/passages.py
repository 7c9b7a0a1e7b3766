"""Texts to token ids with the positions at which residuals are read."""

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import NamedTuple

import numpy as np

from common.errors import InputError, SpecError
from common.lm.activations import Passage
from common.lm.chat import LanguageModel
from common.records import Advice, Advised, Item
from common.spec import InterpretSpec
from common.stance.prompts import open_turn


class Pair(NamedTuple):
    """The replies of both poles to one question."""

    cautious: Advice
    eager: Advice


def pairs_of(
    cautious: Sequence[Advice], eager: Sequence[Advice], settings: InterpretSpec, rng: np.random.Generator
) -> list[Pair]:
    """Draw as many as are asked for of the questions that both poles answer, in the order of the cautious pile.

    Raises: SpecError if there are fewer.
    """
    others = {row.question_id: row for row in eager}
    common = [Pair(row, others[row.question_id]) for row in cautious if row.question_id in others]
    count = settings.questions_of(len(common))
    if count > len(common):
        allowed = f"<= {len(common)}, the questions that both poles answer"
        raise SpecError("too few questions", where="interpret.questions", value=count, allowed=allowed)
    return [common[index] for index in sorted(rng.choice(len(common), size=count, replace=False))]


def reply_passages(lm: LanguageModel, rows: Sequence[Advice]) -> list[Passage]:
    """Question and reply, with two spans: the reply with its end of turn, and the user's turn.

    The user's turn is where the prompts differ from one another: what all have in common (system prompt, marks of the
    template) is the same in every example and would only dilute it.
    Raises: InputError as `LanguageModel.answered`, or if all questions are the same.
    """
    answered = [lm.answered(row.question, row.reply, f"question {row.question_id}") for row in rows]
    prompts = [prompt for prompt, _ in answered]
    before = _shared(prompts)
    after = _shared([prompt[:before:-1] for prompt in prompts])
    return [
        _reply_passage(prompt, reply, range(before, len(prompt) - after), row)
        for (prompt, reply), row in zip(answered, rows, strict=True)
    ]


def prompt_passages(lm: LanguageModel, items: Sequence[Item]) -> list[Passage]:
    """Items asked openly, up to where the reply begins; the span is the last token."""
    prompts = [lm.chat(open_turn(item)) for item in items]
    return [Passage(prompt, (range(len(prompt) - 1, len(prompt)),)) for prompt in prompts]


def advised_passages(lm: LanguageModel, items: Sequence[Item], advised: Mapping[str, Advised]) -> list[Passage]:
    """Items asked openly with the replies that were written for them, two an item; the span is the reply.

    Raises: InputError as `LanguageModel.answered`.
    """
    found = []
    for item in items:
        for reply in (advised[item.id].go, advised[item.id].stay):
            prompt, tail = lm.answered(open_turn(item), reply, f"item {item.id}")
            found.append(Passage(prompt + tail, (range(len(prompt), len(prompt) + len(tail)),)))
    return found


def _shared(rows: Sequence[Sequence[int]]) -> int:
    """How many tokens all rows begin with."""
    columns = zip(*rows, strict=False)  # to the end of the shortest row
    return sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, columns))


def _reply_passage(prompt: list[int], reply: list[int], user: range, row: Advice) -> Passage:
    if not user:
        raise InputError("the questions do not differ", where=row.question_id, value=row.question)
    whole = prompt + reply
    return Passage(whole, (range(len(prompt), len(whole)), user))
