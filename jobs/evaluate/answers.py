"""From items to rows Answer: what a model advises when it is asked openly, greedily and by samples."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import torch

from common.lm.chat import LanguageModel
from common.lm.generation import State, extend, greedy, repeated, sampled, shared
from common.lm.templates import Turns
from common.records import Answer, Item
from common.spec import EvaluateSpec
from common.stance.prompts import PROMPTED, open_turn
from common.stance.reading import Reader, whole_sentences
from common.vocabulary import PROMPTINGS, Pole, Prompting, Said, kind_of

WIDER = 3  # a pass that writes reads all weights for a token of each row: more rows cost little more
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


@torch.inference_mode()
def answers(
    lm: LanguageModel,
    questions: Sequence[OpenQuestion],
    settings: EvaluateSpec,
    samples: int,
    chance: Chance,
    reader: Reader,
    cell: str,
) -> Iterator[list[Answer]]:
    """The answers to all of these, batch by batch: of each the greedy one, then its samples.

    What all prompts begin with is read once, and a prompt once for all its answers. Samples have a generator each: who
    shares a batch changes none.
    """
    wider = 1 if questions[0].by == "examples" else WIDER  # those prompts are long, and a cache holds them for each row
    size, common = wider * settings.batch_rows, shared([each.prompt for each in questions])
    before = extend(lm, [questions[0].prompt[:common]]) if common else None
    for start in range(0, len(questions), size):
        batch = questions[start : start + size]
        begun = repeated(before, len(batch)) if before else None
        read = extend(lm, [each.prompt[common:] for each in batch], begun)
        told = [
            (each, sample, whole_sentences(text))
            for sample, texts in enumerate(_texts(lm, batch, read, settings, samples, chance))
            for each, text in zip(batch, texts, strict=True)
        ]
        heard = reader.read_all([(text, each.item) for each, _, text in told])
        yield [_row(*row, said, cell) for row, said in zip(told, heard, strict=True)]


def _texts(
    lm: LanguageModel, batch: Sequence[OpenQuestion], read: State, settings: EvaluateSpec, samples: int, chance: Chance
) -> Iterator[list[str]]:
    yield greedy(lm, repeated(read, 1), settings.answer_tokens, finished=lambda _text: False)
    for sample in range(1, samples + 1):
        rngs = [chance(each.item.id, each.prompted, sample) for each in batch]
        yield sampled(lm, repeated(read, 1), settings.answer_tokens, settings.temperature, rngs)


def _row(question: OpenQuestion, sample: int, text: str, said: Said, cell: str) -> Answer:
    item = question.item
    return Answer(
        cell=cell,
        item=item.id,
        topic=item.topic,
        proposes=item.proposes,
        undoes=item.undoes,
        prompted=question.prompted,
        prompted_by=question.by,
        sample=sample,
        said=said,
        text=text,
    )
