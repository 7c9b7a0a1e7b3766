"""The work of the job; what it reads and writes is declared in jobs.gate."""

from analysis.stats.verdict import Verdict, decide
from common import schemas
from common.errors import ExitCode
from common.pipeline.step import Step
from common.records import Choice


def main(step: Step) -> ExitCode:
    """Judge the shift of one run against its base."""
    settings = step.spec.gate
    pair = step.sources("evaluate")  # base and run
    before, after = (step.read_records("evaluate", cell, "choices.jsonl", Choice) for cell in pair)
    decision = decide(before, after, settings.measure, settings.bound, settings.level)
    step.write_model("verdict.json", schemas.Verdict.of(decision))
    facts = ("verdict", "reason", "measure", "estimate", "low", "high", "bound")
    step.summary(**{name: getattr(decision, name) for name in facts})
    blocked = settings.enforce and decision.verdict is not Verdict.WITHIN
    return ExitCode.BLOCKED if blocked else ExitCode.OK
