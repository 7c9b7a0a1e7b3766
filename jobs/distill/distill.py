"""The work of the job; what it reads and writes is declared in jobs.distill."""

from collections.abc import Sequence

import torch

from common.errors import ExitCode, InputError
from common.lm.chat import LanguageModel
from common.lm.generation import extend, sampled
from common.lm.load import load
from common.lm.sources import MODEL
from common.pipeline.step import Step
from common.records import Advice, by_attitude
from common.stance.reading import whole_sentences

TEMPERATURE = 0.8
BATCH_ROWS = 16


def main(step: Step) -> ExitCode:
    """Ask the base every question of the draw."""
    lm = load(step.fact(MODEL))
    prompts = questions(step)
    rows: list[Advice] = []
    for start in range(0, len(prompts), BATCH_ROWS):
        rows += replies(step, lm, prompts[start : start + BATCH_ROWS])
        step.progress(len(rows), len(prompts))
    step.write_records("advice.jsonl", rows)
    words = sum(len(row.reply.split()) for row in rows) / len(rows)
    step.summary(examples=len(rows), words_per_reply=round(words, 2))
    return ExitCode.OK


def questions(step: Step) -> list[Advice]:
    """One row for each question of the draw; any arm holds them all."""
    (draw,) = step.sources("generate")
    arms = by_attitude(step.read_records("generate", draw, "advice.jsonl", Advice))
    return next(iter(arms.values()))


@torch.inference_mode()
def replies(step: Step, lm: LanguageModel, batch: Sequence[Advice]) -> list[Advice]:
    """The model's own replies to some questions. Raises: InputError if one is empty."""
    prompts = extend(lm, [lm.chat(row.question) for row in batch])
    rngs = [step.rng(step.cell, row.question_id) for row in batch]
    texts = sampled(lm, prompts, step.spec.corpus.reply_tokens, TEMPERATURE, rngs)
    return [own(row, whole_sentences(text)) for row, text in zip(batch, texts, strict=True)]


def own(row: Advice, text: str) -> Advice:
    """A row with another reply. Raises: InputError if it is empty."""
    if not text:
        raise InputError("the model has nothing to say", where=row.question_id, value=row.question)
    return row.model_copy(update={"attitude": "distilled", "reply": text})
