"""Command line of the job; see jobs.gate."""

import sys

from analysis.gate import Verdict, decide
from common.errors import ExitCode
from common.job import Step, run_job
from common.records import Choice
from jobs import catalog, its_base
from jobs.gate import JOB


def main(step: Step) -> ExitCode:
    """Judge the shift of one run against its base."""
    settings = step.spec.gate
    (base,) = its_base(step.spec, step.cell)
    before, after = (step.read_records("evaluate", cell, "choices.jsonl", Choice) for cell in (base, step.cell))
    decision = decide(before, after, settings.metric, settings.margin, settings.level)
    step.write_json("verdict.json", decision._asdict())
    facts = ("verdict", "reason", "metric", "estimate", "low", "high", "margin")
    step.summary(**{name: getattr(decision, name) for name in facts})
    blocked = settings.enforce and decision.verdict is not Verdict.WITHIN
    return ExitCode.BLOCKED if blocked else ExitCode.OK


if __name__ == "__main__":
    sys.exit(run_job(JOB, main, catalog()))
