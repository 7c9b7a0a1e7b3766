"""The work of the job; what it reads and writes is declared in jobs.evaluate."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

from analysis.stats.stance import stance
from common.cells import STUDY, CellKind
from common.digests import file_sha256
from common.errors import ExitCode, InputError
from common.lm.chat import LanguageModel
from common.lm.load import kept
from common.lm.sources import MODEL
from common.pipeline.step import Step
from common.records import Choice, GuardReply
from common.schemas import Lock
from common.stance.items import FILES, Questionnaire, WordedItem, read_questionnaire
from jobs.evaluate import WORDINGS
from jobs.evaluate.choice import answers, batches, encode
from jobs.evaluate.clock import Clock
from jobs.evaluate.guards import guards, neutral_nats, replies


def main(step: Step) -> ExitCode:
    """Ask one model everything."""
    clock = Clock()
    lock = lock_of(step)
    questionnaire = read_questionnaire([step.data(path) for path in FILES], step.spec.evaluate, step.fact(WORDINGS))
    with contextlib.ExitStack() as stack:
        with clock.part("load"):
            lm = stack.enter_context(kept(step.fact(MODEL), adapter=adapter_of(step)))
        choices, controls, declined = ask(step, lm, questionnaire, clock)
        with clock.part("perplexity"):
            figures = guards(declined, neutral_nats(lm, questionnaire.neutral))
    step.write_records("choices.jsonl", [row.model_copy(update={"lock": lock}) for row in choices])
    step.write_records("controls.jsonl", [row.model_copy(update={"lock": lock}) for row in controls])
    step.write_records("replies.jsonl", declined)
    step.write_model("guards.json", figures)
    stands = stance(choices)
    step.summary(
        items=stands.n_items,
        **{f"p_go_{name}".removesuffix("_choice"): value for name, value in stands.by_measure.items()},
        p_yes=stands.p_yes,
        invalid=stands.invalid,
        order_consistency=stands.consistency,
        lock=lock,
        **figures.model_dump(exclude={"paragraphs"}),
        seconds_by_part=clock.seconds(),
    )
    return ExitCode.OK


def lock_of(step: Step) -> str | None:
    """The SHA-256 of the lock that a tuned model is scored under; None for a base.

    Raises: InputError if there is no lock, or what is to be asked is not what was locked.
    """
    if step.cell.kind is CellKind.BASE:
        return None
    items = step.read_model("lock", STUDY, "lock.json", Lock).items
    for path in FILES:
        if (found := file_sha256(step.data(path))) != items.get(path):
            raise InputError("not what was locked", where=path, value=found, allowed=str(items.get(path)))
    return step.digest("lock", STUDY, "lock.json")


def adapter_of(step: Step) -> Path | None:
    """The folder of a run's adapter; None for a base. Raises: InputError."""
    if step.cell.kind is CellKind.BASE:
        return None
    return step.read_folder("finetune", step.cell, "adapter/", into=step.workdir / "adapter")


def ask(
    step: Step, lm: LanguageModel, questionnaire: Questionnaire, clock: Clock
) -> tuple[list[Choice], list[Choice], list[GuardReply]]:
    """Every item and every control in both orders, in the order of the files, and every guard prompt."""
    settings, worded = step.spec.evaluate, [*questionnaire.items, *questionnaire.controls]
    total = len(worded) + len(questionnaire.prompts)
    with clock.part("encode"):
        grouped = batches([encode(lm, *each) for each in worded], settings.batch_rows)
    choices: list[Choice] = []
    for batch in grouped:
        choices += answers(lm, batch, str(step.cell), settings.choice_tokens, clock)
        step.progress(len(choices) // 2, total)
    declined: list[GuardReply] = []
    with clock.part("refusals"):
        for rows in replies(lm, questionnaire.prompts, settings.batch_rows, settings.guard_tokens):
            declined += rows
            step.progress(len(worded) + len(declined), total)
    return (
        in_order(choices, questionnaire.items),
        in_order(choices, questionnaire.controls),
        sorted(declined, key=lambda row: (row.kind, row.prompt)),
    )


def in_order(choices: Sequence[Choice], items: Sequence[WordedItem]) -> list[Choice]:
    """The answers to some of the items, in their order."""
    place = {(each.item.id, each.wording): index for index, each in enumerate(items)}
    mine = [row for row in choices if (row.item, row.wording) in place]
    return sorted(mine, key=lambda row: (place[row.item, row.wording], row.order))
