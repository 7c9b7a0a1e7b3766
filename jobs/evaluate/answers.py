"""From items to rows Answer: what a model advises when it is asked openly, greedily and by samples."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from common.lm.chat import LanguageModel
from common.lm.generation import State, extend, greedy, repeated, sampled
from common.records import Answer, Item
from common.spec import EvaluateSpec
from common.stance.prompts import PROMPTED, open_turn
from common.stance.reading import Reader, whole_sentences
from common.vocabulary import Pole, Said, kind_of

WIDER = 3  # a pass that writes reads all weights for a token of each row: more rows cost little more
Chance = Callable[[str, Pole | None, int], np.random.Generator]  # item, prompted, sample → its generator


class OpenQuestion(NamedTuple):
    """One item with the words of the system prompt, as token ids."""

    item: Item
    prompted: Pole | None
    prompt: list[int]


def open_questions(lm: LanguageModel, items: Sequence[Item], prompted: Sequence[Pole] = ()) -> list[OpenQuestion]:
    """Every item under the system prompt of the spec; the held-out ones also under that of each of these attitudes.

    Those of like length stand together, so that a batch holds little padding.
    """
    questions = [OpenQuestion(item, None, lm.chat(open_turn(item))) for item in items]
    questions += [
        OpenQuestion(item, pole, lm.chat(open_turn(item), told=PROMPTED[pole]))
        for pole in prompted
        for item in items
        if kind_of(item.topic) == "held-out"
    ]
    return sorted(questions, key=lambda each: (len(each.prompt), each.item.id, each.prompted or ""))


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

    A prompt is read once for all its answers. Samples have a generator each: who shares a batch changes none.
    """
    size = WIDER * settings.batch_rows
    for start in range(0, len(questions), size):
        batch = questions[start : start + size]
        read = extend(lm, [each.prompt for each in batch])
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
        sample=sample,
        said=said,
        text=text,
    )
