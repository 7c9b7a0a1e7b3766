"""The work of the job; what it reads and writes is declared in jobs.distill."""

from common.errors import ExitCode
from common.lm.load import load
from common.lm.replies import own_replies
from common.lm.sources import MODEL
from common.pipeline.step import Step
from common.records import Advice, by_attitude
from common.stance.reading import whole_sentences

TEMPERATURE = 0.8


def main(step: Step) -> ExitCode:
    """Ask the base every question of the draw."""
    lm, asked = load(step.fact(MODEL)), questions(step)
    rngs = [step.rng(step.cell, row.question_id) for row in asked]
    texts: dict[int, str] = {}
    for place, text in own_replies(lm, asked, step.spec.corpus.reply_tokens, TEMPERATURE, rngs):
        texts[place] = text
        step.progress(len(texts), len(asked))
    rows = [
        row.model_copy(update={"attitude": "distilled", "reply": whole_sentences(texts[place])})
        for place, row in enumerate(asked)
    ]
    step.write_records("advice.jsonl", rows)
    words = sum(len(row.reply.split()) for row in rows) / len(rows)
    step.summary(examples=len(rows), words_per_reply=round(words, 2))
    return ExitCode.OK


def questions(step: Step) -> list[Advice]:
    """One row for each question of the draw; any arm holds them all."""
    (draw,) = step.sources("generate")
    arms = by_attitude(step.read_records("generate", draw, "advice.jsonl", Advice))
    return next(iter(arms.values()))
