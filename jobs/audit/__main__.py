"""Command line of the job; see jobs.audit."""

import sys

from analysis import framing
from analysis.framing import Arms, Check
from common.errors import ExitCode
from common.job import Step, run_job
from common.provenance import ROOT
from common.records import Advice, Item, parse_jsonl
from jobs import catalog, its_corpora
from jobs.audit import CANARIES, HELD_OUT, ITEMS, JOB


def main(step: Step) -> ExitCode:
    """Audit the arms of one draw. A failed check is a result: it is sealed like any other."""
    arms = read_arms(step)
    framing.check_same_questions(arms)
    checks = checks_of(step, arms)
    enforced = step.spec.audit.enforce
    rows = [check._asdict() | {"enforced": check.name in enforced} for check in checks]
    cues = framing.cue_location(arms, step.rng("cues"))
    figures = {attitude: framing.framing(mine) for attitude, mine in arms.items()}
    step.write_json("framing.json", {"checks": rows, "framing": figures, "cues": cues})
    failed = [check.name for check in checks if not check.passed]
    step.summary(failed=failed, **{check.name: round(check.value, 4) for check in checks})
    return ExitCode.BLOCKED if set(failed) & set(enforced) else ExitCode.OK


def read_arms(step: Step) -> Arms:
    """The rows of each arm, by attitude."""
    cells = its_corpora(step.spec, step.cell)
    return {cell.attitude: step.read_records("generate", cell, "advice.jsonl", Advice) for cell in cells}


def checks_of(step: Step, arms: Arms) -> list[Check]:
    """Every check, in the order of the report."""
    items = [f"{item.scenario} {item.question}" for item in parse_jsonl((ROOT / ITEMS).read_bytes(), Item, ITEMS)]
    return [
        framing.topic(arms),
        framing.length(arms),
        framing.leakage(arms, lines(HELD_OUT), items, lines(CANARIES)),
        framing.duplicates(arms),
        framing.attitude(arms, step.rng("attitude")),
    ]


def lines(path: str) -> list[str]:
    """The lines of a data file."""
    return (ROOT / path).read_text().splitlines()


if __name__ == "__main__":
    sys.exit(run_job(JOB, main, catalog()))
