"""The work of the job; what it reads and writes is declared in jobs.gate."""

from analysis.stats.answers import plain
from analysis.stats.stance import on_items_of
from analysis.stats.verdict import Answered, Verdict, decide
from common import schemas
from common.cells import Cell
from common.errors import ExitCode
from common.pipeline.part import PART
from common.pipeline.step import Step
from common.records import Answer, Choice


def main(step: Step) -> ExitCode:
    """Judge the shift of one run against its base."""
    settings = step.spec.gate
    before, after = (answered(step, cell) for cell in step.sources("evaluate"))  # base and run
    if step.fact(PART).of > 1:
        before = before._replace(choices=on_items_of(before.choices, after.choices))
    decision = decide(before, after, settings.measure, settings.bound, settings.level)
    step.write_model("verdict.json", schemas.Verdict.of(decision))
    facts = ("verdict", "reason", "measure", "estimate", "low", "high", "bound")
    step.summary(**{name: getattr(decision, name) for name in facts})
    blocked = settings.enforce and decision.verdict is not Verdict.WITHIN
    return ExitCode.BLOCKED if blocked else ExitCode.OK


def answered(step: Step, cell: Cell) -> Answered:
    """What a model advised when it was asked greedily, as a user would, on held-out topics; and its closed forms."""
    rows = step.read_records("evaluate", cell, "answers.jsonl", Answer)
    greedy = [row for row in plain(rows, "held-out") if not row.sample]
    return Answered(greedy, step.read_records("evaluate", cell, "choices.jsonl", Choice))
