"""From items to rows Answer: what a model advises when it is asked openly, greedily and by samples."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from common.lm.chat import LanguageModel
from common.lm.templates import Turns
from common.lm.writing import Ask, asks, written
from common.records import Answer, Item
from common.spec import EvaluateSpec
from common.stance.prompts import PROMPTED, open_turn
from common.stance.reading import Reader, whole_sentences
from common.vocabulary import PROMPTINGS, Pole, Prompting, Said, kind_of

WIDER = 8  # replies written at once, for each row of a pass that scores: more rows cost little more
Chance = Callable[[str, Pole | None, int], np.random.Generator]  # item, prompted, sample → its generator


class OpenQuestion(NamedTuple):
    """One item with all that is said before it, as token ids."""

    item: Item
    prompted: Pole | None  # the attitude that is asked for, and how
    by: Prompting | None
    prompt: list[int]


def open_questions(
    lm: LanguageModel, items: Sequence[Item], examples: Mapping[Pole, Sequence[Turns]] | None = None
) -> list[list[OpenQuestion]]:
    """Every item as the spec has it; the held-out ones also with each of these attitudes asked for, in both ways.

    By instruction, the attitude is the system prompt; by examples, questions with replies in it stand before the item.
    Those that are asked in one way stand together, the plain ones first; in a group, those of like length do.
    """
    held_out = [item for item in items if kind_of(item.topic) == "held-out"]
    groups = [[OpenQuestion(item, None, None, lm.chat(open_turn(item))) for item in items]]
    for (pole, turns), by in product((examples or {}).items(), PROMPTINGS):
        before: dict[str, Any] = {"told": PROMPTED[pole]} if by == "instruction" else {"earlier": turns}
        groups.append([OpenQuestion(item, pole, by, lm.chat(open_turn(item), **before)) for item in held_out])
    return [sorted(group, key=lambda each: (len(each.prompt), each.item.id)) for group in groups]


def answers(
    lm: LanguageModel,
    groups: Sequence[Sequence[OpenQuestion]],
    settings: EvaluateSpec,
    samples: int,
    chance: Chance,
    reader: Reader,
    cell: str,
) -> Iterator[list[Answer]]:
    """The answers to every question of all groups, question by question: the greedy one, then its samples.

    They come in no order of their own. With an attitude asked for, the greedy answer is enough. What the prompts of a
    group begin with is read once, and a prompt once for all its answers. Samples have a generator each: what is
    written beside one changes it by no more than rounding does.
    """
    asked = [ask for group in groups for ask in _asks(group, samples, chance)]
    questions = [each for group in groups for each in group]
    places = WIDER * settings.batch_rows
    for number, texts in written(lm, asked, settings.answer_tokens, places, settings.temperature):
        item, told = questions[number].item, [whole_sentences(text) for text in texts]
        heard = reader.read_all([(text, item) for text in told])
        yield [_row(questions[number], place, *row, cell) for place, row in enumerate(zip(told, heard, strict=True))]


def _asks(group: Sequence[OpenQuestion], samples: int, chance: Chance) -> list[Ask]:
    drawn = [range(1, samples + 1) if each.prompted is None else () for each in group]
    chances = [
        [None, *(chance(each.item.id, each.prompted, sample) for sample in numbers)]
        for each, numbers in zip(group, drawn, strict=True)
    ]
    return asks([each.prompt for each in group], chances)


def _row(question: OpenQuestion, sample: int, text: str, said: Said, cell: str) -> Answer:
    return Answer.to(question.item, cell, sample, said, text, question.prompted, question.by)
