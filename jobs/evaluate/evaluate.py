"""The work of the job; what it reads and writes is declared in jobs.evaluate."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from analysis.corpus.telling import check_advised
from analysis.stats.answers import plain, rates
from analysis.stats.stance import stance
from common.cells import STUDY, CellKind, Part
from common.digests import file_sha256
from common.errors import ExitCode, InputError
from common.lm.answers import WIDER, answers, open_questions
from common.lm.chat import LanguageModel
from common.lm.closed import batches, choices, encode
from common.lm.load import kept
from common.lm.sources import MODEL
from common.lm.templates import Turns
from common.pipeline.part import PART
from common.pipeline.step import Step
from common.provenance import code_digests, differing
from common.records import Answer, Choice, GuardReply, Item, Replies
from common.schemas import Lock
from common.serialization import read_jsonl
from common.stance.bank import BANK_FILES, CORPUS, examples
from common.stance.items import FILES, Questionnaire, read_questionnaire, taken
from common.stance.reading import READER_FILES, read_reader
from common.vocabulary import POLES, Pole, kind_of
from jobs.evaluate.advised import advice, with_advice
from jobs.evaluate.clock import Clock
from jobs.evaluate.guards import guards, neutral_nats, replies

R = TypeVar("R", Answer, Choice)


class Asking:
    """One model under questioning: what it is asked, and how far it is."""

    def __init__(self, step: Step, lm: LanguageModel, questionnaire: Questionnaire, clock: Clock) -> None:
        self.step, self.lm, self.questionnaire, self.clock = step, lm, questionnaire, clock
        self.mine = taken(questionnaire, step.fact(PART))
        self.base = step.cell.kind is CellKind.BASE
        self.items = questionnaire.every
        self.asked = open_questions(lm, self.items, examples_of(step) if self.base else None)
        self.done, self.total = 0, sum(map(len, self.asked)) + len(self.mine.items) + len(self.mine.prompts)

    def open(self) -> list[Answer]:
        """Every item asked openly, in the order of the files; of a prompted base the greedy answers are enough."""
        settings, reader = self.step.spec.evaluate, read_reader([self.step.data(path) for path in READER_FILES])
        samples = settings.base_samples if self.base else settings.samples
        rows: list[Answer] = []
        with self.clock.part("open"):
            for made in answers(self.lm, self.asked, settings, samples, self.step.rng, reader, str(self.step.cell)):
                rows += made
                self._told(1)
        ways = [(each.prompted, each.by) for each, *_ in self.asked]
        rows.sort(key=lambda row: (ways.index((row.prompted, row.prompted_by)), row.sample))
        return in_order(rows, self.items)

    def closed(self) -> list[Choice]:
        """Every item that this model takes, in its closed forms, in the order of the files."""
        items = self.mine.items
        with self.clock.part("encode"):
            grouped = batches([encode(self.lm, item) for item in items], self.step.spec.evaluate.batch_rows)
        rows: list[Choice] = []
        with self.clock.part("closed"):
            for batch in grouped:
                rows += choices(self.lm, batch, str(self.step.cell))
                self._told(len(batch))
        with self.clock.part("advice"):
            found = dict(advice(self.lm, items, self.questionnaire.advised, self.step.spec.evaluate.batch_rows))
        return in_order(with_advice(rows, found), self.items)

    def guards(self) -> list[GuardReply]:
        """The reply to every guard prompt and ability question that this model takes."""
        settings = self.step.spec.evaluate
        found: list[GuardReply] = []
        with self.clock.part("guards"):
            places = WIDER * settings.batch_rows
            for row in replies(self.lm, self.mine.prompts, places, settings.guard_tokens):
                found.append(row)
                self._told(1)
        return sorted(found, key=lambda row: (row.kind, row.prompt))

    def _told(self, more: int) -> None:
        self.done += more
        self.step.progress(self.done, self.total)


def main(step: Step) -> ExitCode:
    """Ask one model everything."""
    clock, lock = Clock(), lock_of(step)
    questionnaire = read_questionnaire([step.data(path) for path in FILES], step.spec.evaluate)
    corpus = [row for path in CORPUS for row in read_jsonl(step.data(path), Replies)]
    check_advised(questionnaire.advised.values(), corpus)
    for number in range(step.spec.evaluate.rotate):  # a base tells it, before anything is trained
        taken(questionnaire, Part(number, step.spec.evaluate.rotate))
    with contextlib.ExitStack() as stack:
        with clock.part("load"):
            lm = stack.enter_context(kept(step.fact(MODEL), adapter=adapter_of(step)))
        asking = Asking(step, lm, questionnaire, clock)
        advised, chosen, declined = asking.open(), asking.closed(), asking.guards()
        with clock.part("perplexity"):
            figures = guards(declined, neutral_nats(lm, questionnaire.neutral))
    step.write_records("answers.jsonl", under(lock, advised))
    for name, held_out in (("choices.jsonl", True), ("controls.jsonl", False)):
        step.write_records(name, under(lock, [r for r in chosen if (kind_of(r.topic) == "held-out") is held_out]))
    step.write_records("replies.jsonl", declined)
    step.write_model("guards.json", figures)
    summarise(step, advised, chosen, lock, clock)
    return ExitCode.OK


def summarise(step: Step, advised: Sequence[Answer], chosen: Sequence[Choice], lock: str | None, clock: Clock) -> None:
    """The line of the log that says what came out."""
    found = rates(plain(advised, "held-out"))
    stands = stance([row for row in chosen if kind_of(row.topic) == "held-out"])
    step.summary(
        items=found.n_items,
        net_go=found.net,
        **{name.replace(" ", "_"): share for name, share in found.said.items()},
        p_yes=stands.p_yes,
        order_consistency=stands.consistency,
        lock=lock,
        seconds_by_part=clock.seconds(),
    )


def examples_of(step: Step) -> dict[Pole, list[Turns]]:
    """Questions with replies in the attitude of each pole, which are shown to a base. They come from the bank."""
    shown = examples([step.data(path) for path in BANK_FILES], POLES)
    return {pole: [Turns(*pair) for pair in shown[pole]] for pole in POLES}


def lock_of(step: Step) -> str | None:
    """The SHA-256 of the lock that a tuned model is scored under; None for a base.

    Raises: InputError if there is no lock, or what is to be asked or read by is not what was locked; under a lock that
    registers a study, also if any code that makes a row or a number is not.
    """
    if step.cell.kind is CellKind.BASE:
        return None
    locked = step.read_model("lock", STUDY, "lock.json", Lock)
    for path in (*FILES, *READER_FILES):
        if (found := file_sha256(step.data(path))) != locked.items.get(path):
            raise InputError("not what was locked", where=path, value=found, allowed=str(locked.items.get(path)))
    if locked.plan.lock.clean:
        check_code(locked)
    return step.digest("lock", STUDY, "lock.json")


def check_code(locked: Lock) -> None:
    """Refuse to score with other code than locked. Raises: InputError naming the first file and the locked commit."""
    if differs := differing(code_digests(), locked.code.files):
        value, allowed = f"{len(differs)} files differ, first {differs[0]}", f"the code of commit {locked.commit}"
        raise InputError("scored with other code than locked", where="lock.json:code", value=value, allowed=allowed)


def adapter_of(step: Step) -> Path | None:
    """The folder of a run's adapter; None for a base. Raises: InputError."""
    if step.cell.kind is CellKind.BASE:
        return None
    return step.read_folder("finetune", step.cell, "adapter/", into=step.workdir / "adapter")


def in_order(rows: Sequence[R], items: Sequence[Item]) -> list[R]:
    """The rows in the order of their items; those of one item as they came."""
    place = {item.id: index for index, item in enumerate(items)}
    return sorted(rows, key=lambda row: place[row.item])


def under(lock: str | None, rows: Sequence[R]) -> list[R]:
    """The rows, with the lock that they were made under."""
    return [row.model_copy(update={"lock": lock}) for row in rows]
