"""Command line of the job; see jobs.evaluate."""

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from analysis.stance import stance
from common.errors import ExitCode
from common.job import Step, run_job
from common.provenance import ROOT
from common.records import Ability, Choice, GuardReply, Item, Prompt, Record, parse_jsonl
from common.spec import CellKind, EvaluateSpec
from jobs import catalog
from jobs.evaluate import JOB
from jobs.evaluate.choice import answers, batches, encode
from jobs.evaluate.clock import Clock
from jobs.evaluate.guards import guards, neutral_nats, replies
from jobs.language_model import LanguageModel, load

R = TypeVar("R", bound=Record)


class Questions(NamedTuple):
    """All that a model is asked."""

    items: list[Item]
    prompts: list[Prompt | Ability]
    neutral: str


def main(step: Step) -> ExitCode:
    """Ask one model everything."""
    clock = Clock()
    asked = questions(step.spec.evaluate)
    with clock.part("load"):
        lm = model_of(step)
    choices, declined = ask(step, lm, asked, clock)
    with clock.part("perplexity"):
        figures = guards(declined, neutral_nats(lm, asked.neutral))
    step.write_records("choices.jsonl", choices)
    step.write_records("replies.jsonl", declined)
    step.write_json("guards.json", figures)
    stands = stance(choices)
    step.summary(
        items=len(asked.items),
        p_go=stands.choice,
        p_go_sentence=stands.sentence,
        p_go_label=stands.label,
        p_yes=stands.p_yes,
        invalid=stands.invalid,
        order_consistency=stands.consistency,
        **{name: value for name, value in figures.items() if name != "paragraphs"},
        seconds_by_part=clock.seconds(),
    )
    return ExitCode.OK


def questions(settings: EvaluateSpec) -> Questions:
    """The files of the project, cut to the first so many items of each topic and guards of each kind."""
    items, prompts, abilities, neutral = (ROOT / path for path in JOB.data)
    most = settings.guards_per_kind
    guarded = first_of_each(_read(prompts, Prompt), lambda prompt: prompt.kind, most)
    asked = first_of_each(_read(items, Item), lambda item: item.topic, settings.items_per_topic)
    return Questions(asked, [*guarded, *_read(abilities, Ability)[:most]], neutral.read_text("utf-8"))


def first_of_each(rows: Sequence[R], group: Callable[[R], str], most: int | None) -> list[R]:
    """The first `most` rows of each group in the order of the file; all of them for None."""
    seen: Counter[str] = Counter()
    kept = []
    for row in rows:
        seen[group(row)] += 1
        if most is None or seen[group(row)] <= most:
            kept.append(row)
    return kept


def model_of(step: Step) -> LanguageModel:
    """The model of the cell, with the adapter of a run. Raises: InputError."""
    spec = step.spec.model(step.cell.model)
    if step.cell.kind is CellKind.BASE:
        return load(spec)
    return load(spec, step.read_folder("finetune", step.cell, "adapter/", into=step.workdir / "adapter"))


def ask(step: Step, lm: LanguageModel, asked: Questions, clock: Clock) -> tuple[list[Choice], list[GuardReply]]:
    """Every item in both orders, in the order of the file, and every guard prompt."""
    settings, total = step.spec.evaluate, len(asked.items) + len(asked.prompts)
    with clock.part("encode"):
        grouped = batches([encode(lm, item) for item in asked.items], settings.batch_rows)
    choices: list[Choice] = []
    for batch in grouped:
        choices += answers(lm, batch, str(step.cell), settings.choice_tokens, clock)
        step.progress(len(choices) // 2, total)
    declined: list[GuardReply] = []
    with clock.part("refusals"):
        for rows in replies(lm, asked.prompts, settings.batch_rows, settings.guard_tokens):
            declined += rows
            step.progress(len(asked.items) + len(declined), total)
    place = {item.id: index for index, item in enumerate(asked.items)}
    choices.sort(key=lambda row: (place[row.item], row.order))
    return choices, sorted(declined, key=lambda row: (row.kind, row.prompt))


def _read(path: Path, kind: type[R]) -> list[R]:
    return parse_jsonl(path.read_bytes(), kind, path.name)


if __name__ == "__main__":
    sys.exit(run_job(JOB, main, catalog()))
