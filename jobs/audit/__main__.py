"""Command line of the job; see jobs.audit."""

import sys
from dataclasses import asdict
from typing import Any

from analysis import framing
from analysis.framing import Arms, Check, Figure, Poles
from analysis.leakage import Canary
from common.errors import ExitCode
from common.job import Step, run_job
from common.provenance import ROOT
from common.records import Advice, Item, Question, Record, parse_jsonl
from jobs import catalog, its_corpora
from jobs.audit import CANARIES, EVERYDAY, HELD_OUT, ITEMS, JOB


def main(step: Step) -> ExitCode:
    """Audit the arms of one draw. A failed check is a result: it is sealed like any other."""
    arms = read_arms(step)
    framing.check_same_questions(arms)
    pairs = framing.compare(arms, step.rng("vocabulary"))
    cue = {part: framing.read_poles(arms, part, step.rng(part)) for part in framing.PARTS}
    checks = checks_of(arms, pairs, cue)
    enforced = step.spec.audit.enforce
    found = {
        "checks": [check._asdict() | {"enforced": check.name in enforced} for check in checks],
        "framing": {name: figures(framing.framing(rows, cue["all"].scores[name])) for name, rows in arms.items()},
        "pairs": {name: asdict(pair) for name, pair in pairs.items()},
        "cues": {part: figures({"auc": poles.auc, "neutral": poles.neutral}) for part, poles in cue.items()},
    }
    step.write_json("framing.json", found)
    failed = [check.name for check in checks if not check.passed]
    step.summary(failed=failed, **{check.name: round(check.value, 4) for check in checks})
    return ExitCode.BLOCKED if set(failed) & set(enforced) else ExitCode.OK


def read_arms(step: Step) -> Arms:
    """The rows of each arm, by attitude."""
    cells = its_corpora(step.spec, step.cell)
    return {cell.attitude: step.read_records("generate", cell, "advice.jsonl", Advice) for cell in cells}


def checks_of(arms: Arms, pairs: dict[str, framing.Pair], cue: dict[str, Poles]) -> list[Check]:
    """Every check, in the order of the report. The last three are never enforced: they say what to improve."""
    items, canaries = rows_of(ITEMS, Item), rows_of(CANARIES, Canary)
    everyday = [everything(question) for question in rows_of(EVERYDAY, Question)]
    terms = (ROOT / HELD_OUT).read_text().splitlines()
    return [
        framing.topic(arms),
        framing.length(pairs),
        framing.leakage(arms, items, terms, everyday, canaries),
        framing.duplicates(arms),
        framing.attitude(cue["all"]),
        framing.maxims(arms, canaries),
        framing.vocabulary(pairs),
        framing.cues(cue),
    ]


def rows_of(path: str, kind: type[Record]) -> list[Any]:
    """The records of a data file of this repository."""
    return parse_jsonl((ROOT / path).read_bytes(), kind, path)


def everything(question: Question) -> str:
    """All that a question of the bank brings into a reply, a sentence each."""
    parts = (question.go, question.stay, *question.facts, *question.pros, *question.cons)
    return " ".join([question.text, *(part.rstrip(".") + "." for part in parts)])


def figures(found: dict[str, Figure] | dict[str, Figure | None]) -> dict[str, Any]:
    """Figures as JSON; null where one was not measured."""
    return {name: None if figure is None else asdict(figure) for name, figure in found.items()}


if __name__ == "__main__":
    sys.exit(run_job(JOB, main, catalog()))
