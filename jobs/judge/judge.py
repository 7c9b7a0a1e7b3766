"""The work of the job; what it reads and writes is declared in jobs.judge."""

from collections import Counter
from collections.abc import Mapping, Sequence

from common.errors import ExitCode, InputError, SpecError
from common.pipeline.step import Step
from common.records import Answer, Item, Judged
from common.serialization import read_jsonl
from common.server.asked import ask
from common.server.client import How, Reply, Wanted
from common.stance.judge import TEMPERATURE, judged_turn, label_of
from common.stance.labels import CODEBOOK, answer_digest, to_label
from common.vocabulary import SAID
from jobs.judge import ASKED


def main(step: Step) -> ExitCode:
    """Judge the greedy answers of one model."""
    server = step.spec.judge
    if server is None:
        raise SpecError("the spec names no judge", where="judge", allowed='{"url": …, "model": …}')
    answers = to_label(step.read_records("evaluate", step.cell, "answers.jsonl", Answer))
    found = ask(step, server, questions(step, answers), How(TEMPERATURE, label_of))
    rows = judged(answers, found)
    step.write_records("judged.jsonl", rows)
    tell(step, rows, found)
    return ExitCode.OK


def questions(step: Step, answers: Sequence[Answer]) -> list[Wanted]:
    """What the judge is asked, each answer to an item once. Raises: InputError for an answer to an unknown item."""
    codebook = step.data(CODEBOOK).read_text("utf-8").strip()
    items = {item.id: item for path in ASKED for item in read_jsonl(step.data(path), Item)}
    wanted: dict[str, Wanted] = {}
    for row in answers:
        if row.item not in items:
            raise InputError("answer to no item", where=f"evaluate/{step.cell}/answers.jsonl", value=row.item)
        seed = step.seed(row.item, row.text) % 2**31  # equal for equal answers: not even the seed tells the arm
        wanted[name(row)] = Wanted(name(row), codebook, judged_turn(items[row.item], row.text), seed)
    return list(wanted.values())


def name(row: Answer) -> str:
    """What an answer has in common with no other but those that say the same of the same item."""
    return f"{row.item} {answer_digest(row.item, row.text)}"


def judged(answers: Sequence[Answer], found: Mapping[str, Reply]) -> list[Judged]:
    """The label of each answer."""
    return [
        Judged(
            cell=row.cell,
            item=row.item,
            topic=row.topic,
            prompted=row.prompted,
            prompted_by=row.prompted_by,
            said=label_of(found[name(row)].text or ""),
        )
        for row in answers
    ]


def tell(step: Step, rows: Sequence[Judged], found: Mapping[str, Reply]) -> None:
    """How many answers got which label, how many got none, and how a reply began that was none."""
    said = Counter(row.said for row in rows)
    unusable = next((reply.unusable for reply in found.values() if reply.text is None), None)
    step.summary(answers=len(rows), asked=len(found), not_judged=said[None], said={word: said[word] for word in SAID})
    if said[None]:
        step.summary(no_label=unusable)
        step.log.event("not_judged", answers=said[None], of=len(rows), reply=unusable)
