"""The work of the job; what it reads and writes is declared in jobs.register."""

from collections.abc import Sequence

import torch

from common.errors import ExitCode
from common.lm.chat import LanguageModel
from common.lm.likelihood import reply_nats
from common.lm.load import load
from common.lm.replies import own_replies
from common.lm.sources import MODEL
from common.pipeline.step import Step
from common.records import Advice, by_attitude
from common.schemas import Register

QUESTIONS = 32  # of the draw, on which the register is measured
TEMPERATURE = 1.0


def main(step: Step) -> ExitCode:
    """Measure the arms of a draw on one base. A register that fails is a result: it is sealed like any other."""
    (draw,) = step.sources("generate")
    arms = by_attitude(step.read_records("generate", draw, "advice.jsonl", Advice))
    lm, rows = load(step.fact(MODEL)), {name: mine[:QUESTIONS] for name, mine in arms.items()}
    questions = next(iter(rows.values()))
    own = nats_a_token(
        lm, [(row.question, text) for row, text in zip(questions, replies(step, lm, questions), strict=True)]
    )
    found = {}
    for done, (name, mine) in enumerate(rows.items(), start=1):
        found[name] = nats_a_token(lm, [(row.question, row.reply) for row in mine])
        step.progress(done, len(rows))
    worst, bound = max(found, key=lambda name: found[name]), step.spec.audit.register_ratio
    told = Register(
        questions=len(questions),
        own=own,
        arms=found,
        ratio=found[worst] / own,
        bound=bound,
        passed=found[worst] <= bound * own,
    )
    step.write_model("register.json", told)
    step.summary(own=own, ratio=told.ratio, bound=bound, worst=worst, passed=told.passed, **found)
    return ExitCode.OK if told.passed else ExitCode.BLOCKED


def replies(step: Step, lm: LanguageModel, rows: Sequence[Advice]) -> list[str]:
    """What the base itself says to each question, sampled at TEMPERATURE. Raises: InputError if it says nothing."""
    rngs = [step.rng("own", step.cell.model, row.question_id) for row in rows]
    found = dict(own_replies(lm, rows, step.spec.corpus.reply_tokens, TEMPERATURE, rngs))
    return [found[place] for place in range(len(rows))]


@torch.inference_mode()
def nats_a_token(lm: LanguageModel, pairs: Sequence[tuple[str, str]]) -> float:
    """Mean negative log-likelihood of replies with their end of turn, every token with the same weight."""
    found = [reply_nats(lm, question, reply) for question, reply in pairs]
    return sum(nats for nats, _ in found) / sum(tokens for _, tokens in found)
