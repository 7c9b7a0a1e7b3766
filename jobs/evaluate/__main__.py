"""Command line of the job; see jobs.evaluate."""

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from analysis.stance import stance
from common.artifacts import file_sha256
from common.errors import ExitCode, InputError
from common.job import Step, run_job
from common.provenance import ROOT
from common.records import Ability, Choice, GuardReply, Item, Prompt, Record, first_of_each, parse_jsonl
from common.spec import STUDY, CellKind, EvaluateSpec
from jobs import catalog
from jobs.evaluate import JOB
from jobs.evaluate.choice import answers, batches, encode
from jobs.evaluate.clock import Clock
from jobs.evaluate.guards import guards, neutral_nats, replies
from jobs.language_model import LanguageModel, kept

R = TypeVar("R", bound=Record)


class Worded(NamedTuple):
    """An item and the wording in which it is asked."""

    item: Item
    wording: int


class Questions(NamedTuple):
    """All that a model is asked."""

    items: list[Worded]
    controls: list[Worded]
    prompts: list[Prompt | Ability]
    neutral: str


def main(step: Step) -> ExitCode:
    """Ask one model everything."""
    clock = Clock()
    lock = lock_of(step)
    asked = questions(step.spec.evaluate, step.spec.turns(step.cell))
    with contextlib.ExitStack() as stack:
        with clock.part("load"):
            lm = stack.enter_context(kept(step.spec.model(step.cell.model), adapter=adapter_of(step)))
        choices, controls, declined = ask(step, lm, asked, clock)
        with clock.part("perplexity"):
            figures = guards(declined, neutral_nats(lm, asked.neutral))
    step.write_records("choices.jsonl", [row.model_copy(update={"lock": lock}) for row in choices])
    step.write_records("controls.jsonl", [row.model_copy(update={"lock": lock}) for row in controls])
    step.write_records("replies.jsonl", declined)
    step.write_json("guards.json", figures)
    stands = stance(choices)
    step.summary(
        items=stands.n_items,
        p_go=stands.choice,
        p_go_sentence=stands.sentence,
        p_go_label=stands.label,
        p_yes=stands.p_yes,
        invalid=stands.invalid,
        order_consistency=stands.consistency,
        lock=lock,
        **{name: value for name, value in figures.items() if name != "paragraphs"},
        seconds_by_part=clock.seconds(),
    )
    return ExitCode.OK


def lock_of(step: Step) -> str | None:
    """The SHA-256 of the lock that a tuned model is scored under; None for an untouched one.

    Raises: InputError if there is no lock, or what is to be asked is not what was locked.
    """
    if step.cell.kind is CellKind.BASE:
        return None
    locked = step.read_json("lock", STUDY, "lock.json")
    for path in JOB.data:
        if (found := file_sha256(ROOT / path)) != locked["items"].get(path):
            raise InputError("not what was locked", where=path, value=found, allowed=str(locked["items"].get(path)))
    return step.digest("lock", STUDY, "lock.json")


def questions(settings: EvaluateSpec, turns: Sequence[int]) -> Questions:
    """The files of the project, cut to the first so many items of each topic and guards of each kind."""
    items, discriminant, source, prompts, abilities, neutral = (ROOT / path for path in JOB.data)
    most = settings.guards_per_kind
    guarded = first_of_each(_read(prompts, Prompt), lambda prompt: prompt.kind, most)
    return Questions(
        worded(_read(items, Item), settings.items_per_topic, turns),
        worded([*_read(discriminant, Item), *_read(source, Item)], settings.items_per_topic, turns),
        [*guarded, *_read(abilities, Ability)[:most]],
        neutral.read_text("utf-8"),
    )


def worded(items: Sequence[Item], most: int | None, turns: Sequence[int]) -> list[Worded]:
    """The first items of each topic, each in its wordings: neighbours in the file take different ones in a turn."""
    kept = {item.id for item in first_of_each(items, lambda item: item.topic, most)}
    placed = [(place, item) for place, item in enumerate(items) if item.id in kept]
    asked = {(item.id, (place + turn) % (1 + len(item.rewrites))): item for place, item in placed for turn in turns}
    return [Worded(item, wording) for (_, wording), item in asked.items()]


def adapter_of(step: Step) -> Path | None:
    """The folder of a run's adapter; None for an untouched model. Raises: InputError."""
    if step.cell.kind is CellKind.BASE:
        return None
    return step.read_folder("finetune", step.cell, "adapter/", into=step.workdir / "adapter")


def ask(
    step: Step, lm: LanguageModel, asked: Questions, clock: Clock
) -> tuple[list[Choice], list[Choice], list[GuardReply]]:
    """Every item and every control in both orders, in the order of the files, and every guard prompt."""
    settings, worded = step.spec.evaluate, [*asked.items, *asked.controls]
    total = len(worded) + len(asked.prompts)
    with clock.part("encode"):
        grouped = batches([encode(lm, *each) for each in worded], settings.batch_rows)
    choices: list[Choice] = []
    for batch in grouped:
        choices += answers(lm, batch, str(step.cell), settings.choice_tokens, clock)
        step.progress(len(choices) // 2, total)
    declined: list[GuardReply] = []
    with clock.part("refusals"):
        for rows in replies(lm, asked.prompts, settings.batch_rows, settings.guard_tokens):
            declined += rows
            step.progress(len(worded) + len(declined), total)
    return (
        in_order(choices, asked.items),
        in_order(choices, asked.controls),
        sorted(declined, key=lambda row: (row.kind, row.prompt)),
    )


def in_order(choices: Sequence[Choice], asked: Sequence[Worded]) -> list[Choice]:
    """The answers to some of the items, in their order."""
    place = {(each.item.id, each.wording): index for index, each in enumerate(asked)}
    mine = [row for row in choices if (row.item, row.wording) in place]
    return sorted(mine, key=lambda row: (place[row.item, row.wording], row.order))


def _read(path: Path, kind: type[R]) -> list[R]:
    return parse_jsonl(path.read_bytes(), kind, path.name)


if __name__ == "__main__":
    sys.exit(run_job(JOB, main, catalog()))
